import numpy as np
import pytest

from bench.cues import OPEN, has_shapes, paint_cues
from bench.lipscore import (
    FALSE_OPEN_MM,
    LATEST,
    Score,
    Take,
    cue_take,
    hits,
    interval,
    lead,
    painted_take,
    runs,
    score,
    shifted,
    unit,
    wins,
)
from engine.motion.lips import VISEMES
from tests.bench import fixture
from training.speech.phones import PHONE_INDEX, Span


def heard(system: str, prompts: int = fixture.PROMPTS) -> Score:
    says = [fixture.SYSTEMS[system](p) for p in range(prompts)]
    true = [paint_cues(fixture.truth(p), fixture.HOPS[p]) for p in range(prompts)]
    return score([cue_take(t, c, has_shapes(says)) for t, c in zip(true, says, strict=True)])


# What another implementation of the method (the project's shared scorer) says of the same files.
SHARED = {
    "late": {"lag_ms": 70, "opening_corr": 0.8551, "f1_15": 0.7524, "f1_8": 0.7375, "f1_6": 0.7880,
             "closure_recall": 1.0, "closure_precision": 0.8571, "closures": 11, "closures_said": 14,
             "f1_15_at_0": 0.2969, "f1_6_at_0": 0.4185},
    "noisy": {"lag_ms": -30, "opening_corr": 0.5014, "f1_15": 0.8106, "f1_8": 0.8840, "f1_6": 0.9144,
              "closure_recall": 1.0, "closure_precision": 1.0, "closures": 11, "closures_said": 11,
              "f1_15_at_0": 0.5936, "f1_6_at_0": 0.7073},
    "shapes": {"lag_ms": 70, "opening_corr": 0.8217, "f1_8": 0.7375, "f1_6": 0.7880, "closure_recall": 1.0,
               "closure_precision": 0.8571, "closures": 11, "closures_said": 14, "f1_6_at_0": 0.4185},
}  # fmt: skip


@pytest.mark.parametrize("system", fixture.SYSTEMS)
def test_figures_are_those_of_the_shared_scorer(system: str) -> None:
    got = heard(system).named()
    assert {name: pytest.approx(number, abs=1e-4) for name, number in SHARED[system].items()} == got


def test_a_system_of_shapes_has_no_score_over_15_visemes() -> None:
    assert "f1_15" not in heard("shapes").removed and "f1_15" in heard("late").removed


def sentence(seed: int = 0, phones: int = 60) -> list[Span]:
    rng = np.random.default_rng(seed)
    names = ["SIL", *rng.choice(["M", "AA", "S", "IY", "P", "AE", "T", "UW"], phones), "SIL"]
    edges = np.concatenate([[0], np.cumsum([40, *rng.integers(4, 16, phones), 40])])
    return [Span(int(a), int(b), PHONE_INDEX[n]) for a, b, n in zip(edges, edges[1:], names, strict=False)]


def painted(spans: list[Span], late: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The truth as 40 ms frames held on the grid, ``late`` hops late: probabilities (hops, 15), gap (hops,)."""
    hops = spans[-1].stop // 4 * 4
    truth = painted_take(spans, np.eye(15, dtype=np.float32)[[0] * hops], np.zeros(hops, np.float32)).truth.said
    frames = np.clip(np.arange(0, hops, 4) + 1 - late, 0, hops - 1)
    held = np.repeat(truth[frames], 4)
    return np.eye(15, dtype=np.float32)[held], 12 * OPEN[held]


def figures(late: int = 0) -> dict[str, float]:
    spans = sentence()
    return score([painted_take(spans, *painted(spans, late))]).named()


def test_the_truth_at_25_hz_scores_nearly_full_marks() -> None:
    got = figures()
    assert got["f1_15"] > 0.8 and got["opening_corr"] > 0.85 and abs(got["lag_ms"]) <= 10
    for kind in ("closure", "painted_closure"):
        assert got[f"{kind}_recall"] > 0.95 and got[f"{kind}_precision"] > 0.95
    assert got["false_open_pct"] == 0.0 and got["silent_frames"] > 5


@pytest.mark.parametrize("late", [8, 12])
def test_a_late_mouth_is_found_late_by_as_much(late: int) -> None:
    got = figures(late)
    assert got["lag_ms"] == pytest.approx(10 * late, abs=10)
    assert got["f1_15_at_0"] < 0.6 * got["f1_15"]


def test_a_mouth_that_never_closes_or_never_opens_is_caught() -> None:
    spans = sentence()
    viseme, gap = painted(spans)
    never = score([painted_take(spans, viseme, gap + 5)]).named()
    assert never["painted_closure_recall"] == 0.0 and never["closures_painted"] == 0 and never["closure_recall"] > 0.9
    assert never["false_open_pct"] == 100.0
    always = score([painted_take(spans, viseme, gap * 0)]).named()
    assert always["painted_opening_corr"] == 0.0 and always["opening_corr"] > 0.85


def test_what_is_said_and_what_is_painted_have_each_their_own_lag() -> None:
    spans = sentence()
    viseme, gap = painted(spans)[0], painted(spans, late=8)[1]
    got = score([painted_take(spans, viseme, gap)]).named()
    assert abs(got["lag_ms"]) <= 10 and got["painted_lag_ms"] == pytest.approx(80, abs=10)
    assert got["painted_opening_corr"] > 0.85 and got["painted_closure_recall"] < got["closure_recall"] - 0.1


def test_the_opening_that_is_said_is_the_expected_one_unless_it_is_given() -> None:
    spans = sentence()
    viseme, gap = painted(spans)
    unsure = 0.5 * viseme + 0.5 * np.eye(15, dtype=np.float32)[0]
    take = painted_take(spans, unsure, gap)
    assert np.allclose(take.guess.opening[: len(gap)], 0.5 * OPEN[viseme.argmax(1)])
    assert np.array_equal(painted_take(spans, unsure, gap, gap).guess.opening[: len(gap)], gap)


def test_false_closures_cost_precision() -> None:
    spans = sentence()
    viseme, gap = painted(spans)
    gap[viseme.argmax(1) == VISEMES.index("aa")] = 0.0
    assert score([painted_take(spans, viseme, gap)]).named()["painted_closure_precision"] < 0.8


def test_rest_in_a_pause_is_neither_right_nor_wrong() -> None:
    spans = [Span(0, 40, 0), Span(40, 80, PHONE_INDEX["AA"]), Span(80, 120, 0)]
    got = score([painted_take(spans, *painted(spans))]).named()
    assert got["closures_painted"] == 0 and got["closures"] == 0


def test_a_mouth_may_move_150_ms_around_speech_and_not_beyond() -> None:
    spans = [Span(0, 40, 0), Span(40, 80, PHONE_INDEX["AA"]), Span(80, 120, 0)]
    viseme, gap = painted(spans)
    silent = 2 * (40 - 14)
    for hop, open_hops in ((26, 0), (25, 1), (93, 0), (94, 1)):
        shown = gap.copy()
        shown[hop] = FALSE_OPEN_MM + 0.1
        got = score([painted_take(spans, viseme, shown)]).named()
        assert got["false_open_pct"] == pytest.approx(100 * open_hops / silent), hop
    assert got["silent_frames"] == silent / 4


def test_shifted_moves_and_fills() -> None:
    x = np.arange(1, 6)
    assert shifted(x, 2, 5).tolist() == [3, 4, 5, 0, 0]
    assert shifted(x, -2, 5).tolist() == [0, 0, 1, 2, 3]
    assert shifted(x, 1, 3).tolist() == [2, 3, 4]


def test_runs_and_hits_allow_two_hops() -> None:
    mask = np.array([0, 1, 1, 0, 0, 0, 0, 0, 1], bool)
    assert runs(mask).tolist() == [[1, 3], [8, 9]]
    near = np.zeros(9, bool)
    near[4] = True
    assert hits(runs(mask), near) == 1


def takes(system: str, prompts: int) -> Score:
    """Many prompts of a system: the three made-up ones over and over, each time with other mistakes."""
    out = []
    for p in range(prompts):
        true = paint_cues(fixture.truth(p % 3), fixture.HOPS[p % 3])
        said = fixture.truth(p % 3) if system == "perfect" else fixture.SYSTEMS[system](p % 3)
        drop = p % (2 + p % 5)
        out.append(cue_take(true, [c for i, c in enumerate(said) if i % 7 != drop]))
    return score(out)


def test_the_interval_of_a_figure_holds_it_and_shrinks_with_prompts() -> None:
    few, many = takes("late", 8), takes("late", 48)
    widths = []
    for got in (few, many):
        low, high = interval(got)["f1_15"]
        assert low < got.removed["f1_15"] < high
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]


def test_a_lead_is_paired_and_a_tie_is_no_win() -> None:
    better, worse = takes("perfect", 24), takes("late", 24)
    leads = lead(better, worse)
    gap, low, high = leads["f1_15"]
    assert low < gap < high and wins(leads, "f1_15") and not wins(lead(worse, better), "f1_15")
    assert lead(worse, worse)["f1_15"] == (0.0, 0.0, 0.0) and not wins(lead(worse, worse), "f1_15")
    with pytest.raises(ValueError, match="same prompts"):
        lead(better, takes("late", 5))


def test_a_lead_over_shapes_leaves_out_what_shapes_do_not_have() -> None:
    leads = lead(heard("late"), heard("shapes"))
    assert "f1_15" not in leads and "f1_6" in leads


def test_nothing_to_score_and_takes_of_the_wrong_length_are_errors() -> None:
    with pytest.raises(ValueError, match="no prompt"):
        score([])
    track = paint_cues([], 10)
    with pytest.raises(ValueError, match=f"is given {10 + LATEST}"):
        Take(track, track)


def test_every_figure_has_a_unit() -> None:
    assert all(unit(name) for name in figures())
