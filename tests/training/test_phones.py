import numpy as np

from engine.motion.lips import VISEMES
from training.speech.phones import DIPHTHONGS, PHONE_INDEX, PHONE_VISEME, PHONES, Span, paint, shapes


def spans(*rows: tuple[int, int, str]) -> list[Span]:
    return [Span(start, stop, PHONE_INDEX[name]) for start, stop, name in rows]


def test_every_phone_has_a_viseme() -> None:
    for name in PHONES:
        assert name in PHONE_VISEME or name in DIPHTHONGS or name == "HH"
    assert set(PHONE_VISEME.values()) | {v for pair in DIPHTHONGS.values() for v in pair} == set(VISEMES)


def test_a_diphthong_is_two_shapes_and_fills_its_span() -> None:
    first, second = shapes(spans((10, 20, "AY")))
    assert (VISEMES[first.viseme], VISEMES[second.viseme]) == ("aa", "I")
    assert first.start == 10 and first.stop == second.start == 16 and second.stop == 20


def test_h_takes_the_shape_of_what_follows() -> None:
    assert VISEMES[shapes(spans((0, 5, "HH"), (5, 9, "OW")))[0].viseme] == "O"
    assert VISEMES[shapes(spans((0, 5, "HH")))[0].viseme] == "sil"


def test_paint_takes_the_class_at_the_centre_of_a_hop_and_silence_elsewhere() -> None:
    track = paint(spans((2, 4, "P"), (4, 5, "AA")), 7)
    names = [PHONES[i] for i in track]
    assert names == ["SIL", "SIL", "P", "P", "AA", "SIL", "SIL"]
    fractional = paint([Span(0.6, 2.4, PHONE_INDEX["P"])], 4)  # type: ignore[arg-type]
    assert np.array_equal(fractional > 0, [False, True, False, False])


def test_paint_clips_spans_outside() -> None:
    assert np.array_equal(paint(spans((-5, 2, "P"), (3, 99, "AA")), 4) > 0, [True, True, False, True])
