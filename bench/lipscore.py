"""Scores painted lips against the phones that are spoken.

Time: frame i is painted while the voice samples [640 i, 640 (i + 1)) play, so its values hold for the 10 ms hops
[4 i, 4 i + 4), with no shift. What the viseme recogniser says is scored as classes (F1); what the viewer sees, the
gap between the painted lips, is scored as closures, opening and lag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import HOPS_PER_FRAME
from engine.motion.lips import VISEMES
from training.speech.phones import Span, paint, shapes

Array = NDArray[np.float32]

SHUT_MM: Final = 0.5  # lips nearer than this are shut to the eye: the rest pose leaves 0.2
GRACE: Final = 2  # hops by which a closure may miss
LAGS: Final = range(-20, 41)  # hops searched
PP: Final = VISEMES.index("PP")

# The six classes an onlooker tells apart, and how far each viseme opens the mouth (0-1).
CLASSES_6: Final = ("sil", "closed", "teeth", "narrow", "open", "round")
_SIX: Final = {"sil": 0, "PP": 1, "FF": 2, "E": 4, "aa": 4, "RR": 5, "O": 5, "U": 5}
TO_6: Final = np.array([_SIX.get(name, 3) for name in VISEMES])
OPEN: Final = np.array([0, 0, 0.15, 0.3, 0.3, 0.35, 0.3, 0.2, 0.3, 0.35, 1, 0.6, 0.4, 0.7, 0.35], np.float32)


@dataclass(frozen=True, slots=True)
class Take:
    """One prompt, on the 10 ms grid: true and said viseme (hops,), painted gap in mm (hops,)."""

    truth: NDArray[np.int64]
    said: NDArray[np.int64]
    gap: Array


def take(spans: Sequence[Span], viseme: Array, gap: Array) -> Take:
    """Holds the frame values viseme (T, 15) and gap (T,) for their 40 ms, next to the truth of the same time."""
    hops = HOPS_PER_FRAME * len(gap)
    return Take(paint(shapes(spans), hops), np.repeat(viseme.argmax(1), HOPS_PER_FRAME), np.repeat(gap, HOPS_PER_FRAME))


def shifted(values: NDArray[np.generic], lag: int, fill: float = 0.0) -> NDArray[np.generic]:
    """``values`` (hops,) moved earlier by ``lag`` hops, same length; what is not known is ``fill``."""
    out = np.full_like(values, fill)
    if lag >= 0:
        out[: values.size - lag or None] = values[lag:]
    else:
        out[-lag:] = values[:lag]
    return out


def macro_f1(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> float:
    """Mean over the classes that occur in ``truth`` of 2 TP / (true + said)."""
    true, guess = np.bincount(truth, minlength=classes), np.bincount(said, minlength=classes)
    right = np.bincount(truth[truth == said], minlength=classes)
    there = true > 0
    return float((2 * right[there] / (true + guess)[there]).mean())


def runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Start and end (exclusive) of every run of true values, (n, 2)."""
    return np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))).reshape(-1, 2)


def hits(events: NDArray[np.int64], mask: NDArray[np.bool_]) -> int:
    """How many runs have ``mask`` true within GRACE hops of them."""
    return sum(bool(mask[max(0, start - GRACE) : stop + GRACE].any()) for start, stop in events)


def score(takes: Sequence[Take]) -> dict[str, tuple[float, str]]:
    """Every figure of a set, name -> (value, unit). Raises ValueError for an empty set."""
    if not takes:
        raise ValueError("no prompt to score")
    truth = np.concatenate([t.truth for t in takes])
    opening = OPEN[truth]
    correlation = []
    for lag in LAGS:
        seen = np.concatenate([shifted(np.maximum(t.gap, 0), lag) for t in takes])
        correlation.append(float(np.corrcoef(opening, seen)[0, 1]) if seen.std() > 1e-6 else 0.0)
    lag = LAGS[int(np.argmax(correlation))]
    said, now = (np.concatenate([shifted(t.said, s) for t in takes]).astype(np.int64) for s in (lag, 0))
    return {
        "lag_ms": (10.0 * lag, "ms"),
        "opening_corr": (max(correlation), "r"),
        "f1_15": (macro_f1(truth, said, len(VISEMES)), "F1"),
        "f1_15_at_0": (macro_f1(truth, now, len(VISEMES)), "F1"),
        "f1_6": (macro_f1(TO_6[truth], TO_6[said], len(CLASSES_6)), "F1"),
        **_closures(takes),
    }


def _closures(takes: Sequence[Take]) -> dict[str, tuple[float, str]]:
    """Closures at lag 0. A painted closure that reaches a true pause is rest, neither right nor wrong."""
    found = true = right = painted = said_found = said_right = said = 0
    for t in takes:
        events, shut = runs(t.truth == PP), t.gap <= SHUT_MM
        found, true = found + hits(events, shut), true + len(events)
        pause, closed = t.truth == 0, t.truth == PP
        inside = np.array([r for r in runs(shut) if not pause[max(0, r[0] - GRACE) : r[1] + GRACE].any()]).reshape(
            -1, 2
        )
        right, painted = right + hits(inside, closed), painted + len(inside)
        heard = runs(t.said == PP)
        said_found, said_right, said = (
            said_found + hits(events, t.said == PP),
            said_right + hits(heard, closed),
            said + len(heard),
        )
    return {
        "closure_recall": (found / max(true, 1), "share"),
        "closure_precision": (right / max(painted, 1), "share"),
        "closures": (float(true), "events"),
        "closures_painted": (float(painted), "events"),
        "viseme_closure_recall": (said_found / max(true, 1), "share"),
        "viseme_closure_precision": (said_right / max(said, 1), "share"),
    }
