import numpy as np
import pytest

from bench.lipscore import OPEN, PP, hits, macro_f1, runs, score, shifted, take
from engine.motion.lips import VISEMES
from training.speech.phones import PHONE_INDEX, Span


def sentence(seed: int = 0, phones: int = 60) -> list[Span]:
    rng = np.random.default_rng(seed)
    names = ["SIL", *rng.choice(["M", "AA", "S", "IY", "P", "AE", "T", "UW"], phones), "SIL"]
    edges = np.concatenate([[0], np.cumsum([20, *rng.integers(4, 16, phones), 20])])
    return [Span(int(a), int(b), PHONE_INDEX[n]) for a, b, n in zip(edges, edges[1:], names, strict=False)]


def perfect(spans: list[Span], late: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth sampled at frame centres, ``late`` hops late, as probabilities and a gap."""
    frames = spans[-1].stop // 4
    truth = take(spans, np.eye(15, dtype=np.float32)[[0] * frames], np.zeros(frames, np.float32)).truth
    at = np.clip(np.arange(frames) * 4 + 1 - late, 0, truth.size - 1)
    return np.eye(15, dtype=np.float32)[truth[at]], 12 * OPEN[truth[at]]


def figures(late: int = 0, seed: int = 0) -> dict[str, float]:
    spans = sentence(seed)
    return {k: v for k, (v, _) in score([take(spans, *perfect(spans, late))]).items()}


def test_the_truth_at_25_hz_scores_nearly_full_marks() -> None:
    got = figures()
    assert got["f1_15"] > 0.8 and got["opening_corr"] > 0.85 and abs(got["lag_ms"]) <= 10
    assert got["closure_recall"] > 0.95 and got["closure_precision"] > 0.95


@pytest.mark.parametrize("late", [8, 12])
def test_a_late_mouth_is_found_late_by_as_much(late: int) -> None:
    got = figures(late)
    assert got["lag_ms"] == pytest.approx(10 * late, abs=10)
    assert got["f1_15_at_0"] < 0.6 * got["f1_15"]


def test_a_mouth_that_never_closes_or_never_opens_is_caught() -> None:
    spans = sentence()
    viseme, gap = perfect(spans)
    never = score([take(spans, viseme, gap + 5)])
    assert never["closure_recall"][0] == 0.0 and never["closures_painted"][0] == 0
    always = score([take(spans, viseme, gap * 0)])
    assert always["opening_corr"][0] == 0.0


def test_false_closures_cost_precision() -> None:
    spans = sentence()
    viseme, gap = perfect(spans)
    false = gap.copy()
    false[np.flatnonzero(viseme[:, VISEMES.index("aa")])] = 0.0
    assert score([take(spans, viseme, false)])["closure_precision"][0] < 0.8


def test_rest_in_a_pause_is_neither_right_nor_wrong() -> None:
    spans = [Span(0, 40, 0), Span(40, 80, PHONE_INDEX["AA"]), Span(80, 120, 0)]
    got = score([take(spans, *perfect(spans))])
    assert got["closures_painted"][0] == 0 and got["closures"][0] == 0


def test_shifted_moves_and_fills() -> None:
    x = np.arange(1, 6)
    assert shifted(x, 2).tolist() == [3, 4, 5, 0, 0]
    assert shifted(x, -2).tolist() == [0, 0, 1, 2, 3]
    assert shifted(x, 0).tolist() == x.tolist()


def test_macro_f1_of_known_counts() -> None:
    truth, said = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert macro_f1(truth, said, 3) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_runs_and_hits_allow_two_hops() -> None:
    mask = np.array([0, 1, 1, 0, 0, 0, 0, 0, 1], bool)
    assert runs(mask).tolist() == [[1, 3], [8, 9]]
    near = np.zeros(9, bool)
    near[4] = True
    assert hits(runs(mask), near) == 1
    assert PP == 1


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no prompt"):
        score([])
