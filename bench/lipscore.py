"""Scores lips against the phones that are spoken, on a grid of 10 ms.

Two things are scored, and named apart. *Said*: the visemes a system gives out and the opening it gives with them
(`f1_*`, `closure_*`, `opening_corr`, `lag_ms`), which is all that most systems have. *Painted*: the gap between the
lips of our pictures in mm (`painted_*`, `false_open_pct`).

Every figure comes from sums over prompts (`tally`), so that prompts can be drawn again for an interval (`lead`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.cues import CLASSES_6, CLASSES_8, EIGHT_TO_6, OPEN, Array, Cue, Labels, Track, of_visemes, paint_cues
from engine.motion.lips import VISEMES
from training.speech.phones import Span, paint, shapes

Sums = NDArray[np.float64]
Kind = TypeVar("Kind", bound=np.generic)

SHUT_MM: Final = 0.5  # lips nearer than this are shut to the eye: the rest pose leaves 0.2
FALSE_OPEN_MM: Final = 1.0  # a mouth open wider than this in silence is seen to be
GRACE: Final = 2  # hops by which a closure may miss
QUIET: Final = 15  # hops that a silence must lie away from speech for the mouth to have no business there
EARLIEST: Final = -20  # lags searched, in hops
LATEST: Final = 40
PP: Final = VISEMES.index("PP")
CLOSED: Final = CLASSES_8.index("closed")
DRAWS: Final = 2000  # of the bootstrap

UNITS: Final = {
    "lag_ms": "ms", "opening_corr": "r", "f1_15": "F1", "f1_8": "F1", "f1_6": "F1", "closure_recall": "share",
    "closure_precision": "share", "closures": "events", "closures_said": "events", "painted_closure_recall": "share",
    "painted_closure_precision": "share", "closures_painted": "events", "painted_opening_corr": "r",
    "painted_lag_ms": "ms", "false_open_pct": "%",
    "silent_frames": "frames",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Take:
    """One prompt: the true track (hops,), and what the system gave (hops + LATEST,), with the painted gap in mm over
    the same hops when the system paints."""

    truth: Track
    guess: Track
    gap: Array | None = None

    def __post_init__(self) -> None:
        if len(self.guess) != len(self.truth) + LATEST or (self.gap is not None and self.gap.size != len(self.guess)):
            raise ValueError(f"a take of {len(self.truth)} hops is given {len(self.truth) + LATEST}")


def true_track(spans: Sequence[Span], hops: int) -> Track:
    """The visemes that were spoken."""
    return of_visemes(paint(shapes(spans), hops))


def painted_take(spans: Sequence[Span], viseme: Array, gap: Array, opening: Array | None = None) -> Take:
    """A take of our own pictures: chances of visemes (hops, 15) and gap (hops,), at the time of the voice they go out
    with. The opening that is said is the one to be expected of the visemes, unless ``opening`` (hops,) says it."""
    said = np.concatenate([viseme.argmax(1), np.full(LATEST, viseme[-1].argmax())])
    opening = viseme @ OPEN if opening is None else opening
    shown, wide = (np.concatenate([x, np.full(LATEST, x[-1], np.float32)]) for x in (gap, opening))
    return Take(true_track(spans, len(gap)), of_visemes(said, wide), shown)


def cue_take(truth: Track, cues: Sequence[Cue], shapes: bool = False) -> Take:
    """A take of a system that says ``cues`` (in Rhubarb's shapes, or visemes)."""
    return Take(truth, paint_cues(cues, len(truth) + LATEST, shapes))


def shifted(values: NDArray[Kind], lag: int, hops: int) -> NDArray[Kind]:
    """``values`` moved earlier by ``lag`` hops and cut to ``hops``; what is not known is 0 (silence)."""
    moved = values[lag:] if lag >= 0 else np.concatenate([np.zeros(-lag, values.dtype), values])
    return np.concatenate([moved[:hops], np.zeros(max(0, hops - moved.size), values.dtype)])


def runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Start and end (exclusive) of every run of true values, (n, 2)."""
    return np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))).reshape(-1, 2)


def hits(events: NDArray[np.int64], mask: NDArray[np.bool_]) -> int:
    """How many runs have ``mask`` true within GRACE hops of them."""
    return sum(bool(mask[max(0, start - GRACE) : stop + GRACE].any()) for start, stop in events)


# Where each group of sums lies in the row of a prompt.
_GROUPS: Final = {
    "f1_15": 3 * len(VISEMES), "f1_8": 3 * len(CLASSES_8), "f1_6": 3 * len(CLASSES_6), "closure": 4, "painted": 3,
    "silent": 2, "moments": 6, "painted_moments": 6,
}  # fmt: skip
_EDGES: Final = dict(zip(_GROUPS, np.cumsum([0, *_GROUPS.values()])[:-1].tolist(), strict=True))


def _group(sums: Sums, name: str) -> Sums:
    return sums[..., _EDGES[name] : _EDGES[name] + _GROUPS[name]]


def tally(take: Take, lag: int, painted_lag: int = 0) -> Sums:
    """The sums of one prompt with ``lag`` hops removed, (D,). Painted closures and rest are taken as they are seen, no
    lag removed; the painted opening with ``painted_lag`` removed."""
    hops = len(take.truth)
    said, eight = shifted(take.guess.said, lag, hops), shifted(take.guess.eight, lag, hops)
    opening = shifted(take.guess.opening, lag, hops)
    row = [_confusion(take.truth.said, said, len(VISEMES)), _confusion(take.truth.eight, eight, len(CLASSES_8)),
           _confusion(EIGHT_TO_6[take.truth.eight], EIGHT_TO_6[eight], len(CLASSES_6))]  # fmt: skip
    closed, shut = take.truth.eight == CLOSED, eight == CLOSED
    events, heard = runs(closed), runs(shut)
    row.append(np.array([hits(events, shut), len(events), hits(heard, closed), len(heard)], np.float64))
    row.append(_painted(take, closed, events))
    row.append(_moments(take.truth.opening, opening))
    row.append(_moments(take.truth.opening, _shown(take, painted_lag)))
    return np.concatenate(row)


def _shown(take: Take, lag: int) -> Array:
    """How far the painted lips stand apart (hops,); lips pressed together are as shut as lips that touch."""
    hops = len(take.truth)
    return np.zeros(hops, np.float32) if take.gap is None else shifted(np.maximum(take.gap, 0), lag, hops)


def _confusion(truth: Labels, said: Labels, classes: int) -> Sums:
    """True positives, true and said hops of every class, one after another. A label below 0 is no answer."""
    right = np.bincount(truth[truth == said], minlength=classes)
    guessed = np.bincount(said[said >= 0], minlength=classes)
    return np.concatenate([right, np.bincount(truth, minlength=classes), guessed]).astype(np.float64)


def _painted(take: Take, closed: NDArray[np.bool_], events: NDArray[np.int64]) -> Sums:
    """Painted closures (found, right, painted; one that reaches a true pause is rest, neither right nor wrong), and
    hops open among hops deep in silence."""
    if take.gap is None:
        return np.zeros(_GROUPS["painted"] + _GROUPS["silent"])
    gap, pause = take.gap[: closed.size], take.truth.eight == 0
    inside = [r for r in runs(gap <= SHUT_MM) if not pause[max(0, r[0] - GRACE) : r[1] + GRACE].any()]
    shut = np.array(inside, np.int64).reshape(-1, 2)
    near = np.convolve(~pause, np.ones(2 * QUIET - 1))[QUIET - 1 :][: pause.size] > 0
    counts = [hits(events, gap <= SHUT_MM), hits(shut, closed), len(shut), (gap[~near] > FALSE_OPEN_MM).sum(),
              (~near).sum()]  # fmt: skip
    return np.array(counts, np.float64)


def _moments(truth: Array, seen: Array) -> Sums:
    x, y = truth.astype(np.float64), seen.astype(np.float64)
    return np.array([x.size, x.sum(), y.sum(), x @ x, y @ y, x @ y])


def _correlation(moments: Sums) -> Sums:
    n, x, y, xx, yy, xy = np.moveaxis(moments, -1, 0)
    spread = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
    flat = spread <= 1e-9 * np.maximum(n * n, 1) ** 2
    return np.where(flat, 0.0, (n * xy - x * y) / np.sqrt(np.where(flat, 1.0, spread)))


def _macro_f1(counts: Sums) -> Sums:
    """Mean over the classes that occur in the truth of 2 TP / (true + said)."""
    right, true, guess = np.moveaxis(counts.reshape(*counts.shape[:-1], 3, -1), -2, 0)
    there = true > 0
    f1 = np.where(there, 2 * right / np.maximum(true + guess, 1), 0.0)
    return np.asarray(f1.sum(-1) / np.maximum(there.sum(-1), 1))


def _ratio(part: Sums, whole: Sums) -> Sums:
    return part / np.maximum(whole, 1)


def figures(sums: Sums) -> dict[str, Sums]:
    """Every figure of summed tallies (..., D), by name, (...) each. What a system does not do is left out."""
    found, true, right, said = np.moveaxis(_group(sums, "closure"), -1, 0)
    out = {"opening_corr": _correlation(_group(sums, "moments"))}
    if _group(sums, "f1_15")[..., 2 * len(VISEMES) :].any():
        out["f1_15"] = _macro_f1(_group(sums, "f1_15"))
    out |= {"f1_8": _macro_f1(_group(sums, "f1_8")), "f1_6": _macro_f1(_group(sums, "f1_6")),
            "closure_recall": _ratio(found, true), "closure_precision": _ratio(right, said), "closures": true,
            "closures_said": said}  # fmt: skip
    shown, exact, painted = np.moveaxis(_group(sums, "painted"), -1, 0)
    gaping, silent = np.moveaxis(_group(sums, "silent"), -1, 0)
    if silent.any() or painted.any():
        out |= {"painted_closure_recall": _ratio(shown, true), "painted_closure_precision": _ratio(exact, painted),
                "closures_painted": painted, "painted_opening_corr": _correlation(_group(sums, "painted_moments")),
                "false_open_pct": 100 * _ratio(gaping, silent),
                "silent_frames": silent / 4}  # fmt: skip
    return out


def best_lag(takes: Sequence[Take], painted: bool = False) -> int:
    """The lag, in hops, at which the mouth opens most as it should: as it says, or as it is painted."""

    def correlation(lag: int) -> float:
        seen = [_shown(t, lag) if painted else shifted(t.guess.opening, lag, len(t.truth)) for t in takes]
        return float(_correlation(np.sum([_moments(t.truth.opening, s) for t, s in zip(takes, seen, strict=True)], 0)))

    return max(range(EARLIEST, LATEST + 1), key=correlation)


@dataclass(frozen=True, slots=True)
class Score:
    """A system on a set: the lag in hops (None painted: it paints nothing), its figures with the lag removed and as it
    comes out, and the sums of every prompt with the lag removed (prompts, D)."""

    lag: int
    painted_lag: int | None
    removed: dict[str, float]
    as_it_comes: dict[str, float]
    sums: Sums

    def named(self) -> dict[str, float]:
        """Figures by the names we publish: with the lag removed, and two of them as they come (``_at_0``)."""
        late = {f"{name}_at_0": self.as_it_comes[name] for name in ("f1_15", "f1_6") if name in self.as_it_comes}
        painted = {} if self.painted_lag is None else {"painted_lag_ms": 10.0 * self.painted_lag}
        return {"lag_ms": 10.0 * self.lag, **self.removed, **painted, **late}


def score(takes: Sequence[Take]) -> Score:
    """Scores a set. Raises ValueError when it is empty."""
    if not takes:
        raise ValueError("no prompt to score")
    lag = best_lag(takes)
    painted_lag = None if any(t.gap is None for t in takes) else best_lag(takes, painted=True)
    sums = np.stack([tally(t, lag, painted_lag or 0) for t in takes])
    now = np.stack([tally(t, 0) for t in takes])
    plain = [{name: float(number) for name, number in figures(rows.sum(0)).items()} for rows in (sums, now)]
    return Score(lag, painted_lag, plain[0], plain[1], sums)


def unit(name: str) -> str:
    """The unit of a figure of ``Score.named``."""
    return UNITS[name.removesuffix("_at_0")]


def drawn(prompts: int, seed: int = 0) -> Sums:
    """How often each prompt is drawn, with replacement, in each of DRAWS samples: (DRAWS, prompts)."""
    return np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), DRAWS).astype(np.float64)


def interval(ours: Score, seed: int = 0) -> dict[str, tuple[float, float]]:
    """The 95% bootstrap interval over prompts of every figure (Efron & Tibshirani 1993, percentile)."""
    return {name: _limits(draws) for name, draws in figures(drawn(len(ours.sums), seed) @ ours.sums).items()}


def lead(ours: Score, theirs: Score, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Ours minus theirs, and its 95% bootstrap interval over prompts, paired: the same prompts are drawn for both.

    Raises ValueError when the two were not scored on the same number of prompts.
    """
    if len(ours.sums) != len(theirs.sums):
        raise ValueError(f"a paired lead needs the same prompts, got {len(ours.sums)} and {len(theirs.sums)}")
    weights = drawn(len(ours.sums), seed)
    mine, yours = figures(weights @ ours.sums), figures(weights @ theirs.sums)
    names = [n for n in mine if n in yours and n in theirs.removed and UNITS[n] in ("F1", "share", "r")]
    return {name: (ours.removed[name] - theirs.removed[name], *_limits(mine[name] - yours[name])) for name in names}


def _limits(draws: Sums) -> tuple[float, float]:
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)


def wins(leads: Mapping[str, tuple[float, float, float]], name: str) -> bool:
    """Whether the lead on ``name`` is larger than chance explains: its interval lies above 0."""
    return leads[name][1] > 0.0


assert OPEN.size == len(VISEMES)
