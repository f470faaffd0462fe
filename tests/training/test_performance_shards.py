"""Performance shards: whole, reproducible, resumed where they stopped, and true to the speech they are made of."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engine.motion import semantics
from engine.motion.condition import CONDITION, KNOWN_AT, SEMANTIC_AT, SPEAKING_AT
from engine.motion.performance import PERFORMANCE
from training.choreography import make as making
from training.choreography.basis import components
from training.choreography.meaning import Chooser, placed
from training.choreography.sayings import SAYINGS
from training.speech import corpus
from training.speech.corpus import Utterance
from training.speech.phones import PHONE_INDEX, Span, Word

pytestmark = pytest.mark.skipif(find_spec(semantics.PACKAGE) is None, reason="extra `text` is not installed")
TEXT = "I don't know why the whole world is so big?"


@pytest.fixture(scope="module")
def chooser() -> Chooser:
    return Chooser()


def speech(folder: Path) -> Path:
    """A shard of two sentences: bursts of noise that are said to be words."""
    rng = np.random.default_rng(0)
    names = [w.strip("?'").lower() for w in TEXT.replace("'", "").split()]
    words = [Word(20 + 30 * k, 45 + 30 * k, name) for k, name in enumerate(names)]
    spans = [Span(0, 20, 0), *(Span(w.start, w.stop, PHONE_INDEX["AA"]) for w in words)]
    pcm = np.zeros(16000 * 4, np.int16)
    for word in words:
        pcm[word.start * 160 : word.stop * 160] = rng.normal(0, 3000, (word.stop - word.start) * 160)
    stress = np.array([[w.start / 100 + 0.05, 0.8] for w in words], np.float32)
    hops = np.zeros(400, np.float32)
    said = [Utterance("flite_slt", TEXT, pcm, spans, words, hops, hops, stress)] * 2
    folder.mkdir()
    corpus._save(folder / "train-flite_slt-0000.npz", said, dropped=0)
    return folder


def test_shards_are_whole_reproducible_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chooser: Chooser
) -> None:
    monkeypatch.setattr(making, "STREAM", 300)
    monkeypatch.setattr(making, "STREAMS", 2)
    folder, seen = speech(tmp_path / "speech"), []
    hours = 3 * 600 / 25 / 3600

    def report(done: int, whole: int, name: str) -> None:
        seen.append((done, whole, name))

    made = list(making.make(folder, tmp_path / "one", hours, 3, report, chooser))
    assert [path.name for path in made] == [row[2] for row in seen] and seen[-1][0] == seen[-1][1]
    assert {path.name.split("-")[0] for path in made} == {"train"}  # nobody is held out in this corpus
    with np.load(made[0]) as shard:
        data = {name: shard[name] for name in shard.files}
    shapes = {"mel": (2, 1200, 80), "condition": (2, 300, CONDITION), "performance": (2, 300, PERFORMANCE),
              "lips": (2, 300, 52), "emotion": (2, 300)}  # fmt: skip
    for name, shape in shapes.items():
        assert data[name].shape == shape and np.isfinite(data[name].astype(float)).all()
    assert data["stresses"].shape[1] == data["gesture_events"].shape[1] == 4
    known = data["condition"][..., KNOWN_AT] > 0
    assert known.any() and (np.abs(data["condition"][..., SEMANTIC_AT]).sum(-1) > 0)[known].all()
    assert 0.1 < data["condition"][..., SPEAKING_AT].astype(float).mean() < 0.95
    made[0].unlink()
    again = list(making.make(folder, tmp_path / "one", hours, 3, report, chooser))
    assert again == made[:1]
    with np.load(again[0]) as shard:
        for name, values in data.items():
            np.testing.assert_array_equal(shard[name], values)
    assert not list((tmp_path / "one").glob("*.tmp"))


def test_hours_and_speech_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for hours in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="hours"):
            list(making.make(tmp_path, tmp_path / "out", hours, 0, lambda *_: None))
    with pytest.raises(ValueError, match="no train speech"):
        list(making.make(tmp_path, tmp_path / "out", 1.0, 0, lambda *_: None))


def test_speech_is_known_late_and_never_before_it_is_heard() -> None:
    stage = making.Stage.of([making.Script(100, [Span(100, 200, 1)])])
    heard = making.heard(stage)
    ends = np.arange(1, 101) * 0.04
    assert not heard[ends < 1.06].any() and heard[(ends > 1.07) & (ends < 2.23)].all() and not heard[ends > 2.25].any()


def test_every_meaning_is_found_in_one_of_its_own_sayings(chooser: Chooser) -> None:
    for name, phrases in SAYINGS.items():
        found = {match.name for phrase in phrases for match in chooser.matches(phrase.lower().split())}
        assert name in found


def test_phrases_that_are_in_no_example_find_their_meaning(chooser: Chooser) -> None:
    for phrase, name in (("that building is gigantic", "big"), ("nobody has any clue", "unknown"),
                         ("she thanked him politely", "thanks"), ("they came back the day before yesterday", "past"),
                         ("do not go any further stop", "stop"), ("it was a terrible battle", "fight")):  # fmt: skip
        assert name in [match.name for match in chooser.matches(phrase.split())], phrase
    assert chooser.matches(["the", "of", "and", "a"]) == [] == chooser.matches([])


def test_strokes_fall_on_the_stress_inside_the_word_and_do_not_crowd(chooser: Chooser) -> None:
    words = [
        Word(50 * k, 50 * k + 40, name) for k, name in enumerate(["what", "a", "huge", "enormous", "tiny", "world"])
    ]
    stresses = np.array([[1.12, 0.4], [1.21, 0.9], [2.1, 0.8]])
    meant = placed(chooser.matches([w.text for w in words]), words, stresses)
    assert meant and all(b.time - a.time >= 1.3 for a, b in zip(meant, meant[1:], strict=False))
    big = [one.time for one in meant if one.name == "big"]
    assert not big or big[0] == pytest.approx(1.21) or 1.5 <= big[0] <= 1.9


def test_components_are_orthonormal_and_need_enough_sentences() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 384))
    mean, basis, kept = components(rows)
    assert mean.shape == (384,) and 0.0 < kept < 1.0
    np.testing.assert_allclose(basis.T @ basis, np.eye(32), atol=1e-5)
    with pytest.raises(ValueError, match="at least 64 sentences"):
        components(rows[:10])
