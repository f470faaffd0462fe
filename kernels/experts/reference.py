"""The two mixtures of experts, the boring way: NumPy in float64. B rows, P pixels, C channels, E experts, R inner."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CLASSES: Final = 8  # of the masks
F64 = NDArray[np.float64]
Real = NDArray[Any]


def mix(gate: Real, experts: Real) -> F64:
    """gate (B,E), experts (E,...) -> each row's own mixture (B,...)."""
    return np.tensordot(np.asarray(gate, np.float64), np.asarray(experts, np.float64), 1)


def masked(x: Real, inward: Real, outward: Real, gate: Real | None, level: float) -> F64:
    """x (B,P,C), inward (R,C), outward (C,R), gate (B or 1,P,CLASSES), by default all classes equal -> x + what the
    classes add (B,P,C): each class has R / CLASSES of the inner values, which count ``level`` times its gate."""
    x = np.asarray(x, np.float64)
    gate = np.full((1, 1, CLASSES), 1 / CLASSES) if gate is None else np.asarray(gate, np.float64)
    inner = x @ np.asarray(inward, np.float64).T
    weighed = inner * np.repeat(gate * level, inward.shape[0] // CLASSES, -1)
    return x + weighed @ np.asarray(outward, np.float64).T


def finish(
    x: Real, y: Real, scale: Real, kernel: Real, inward: Real, outward: Real, gate: Real | None, level: float,
    gain: float, keep: float, take: float,
) -> F64:  # fmt: skip
    """The second half of a Block: x, y (B,P,C), y the convolution's answer; scale (B,C); kernel (B,C,C), outputs first.

    keep x + take masked(gain silu((1 + scale) y) kernel^T): (B,P,C).
    """
    lit = np.asarray(y, np.float64) * (1 + np.asarray(scale, np.float64)[:, None])
    lit = gain * lit / (1 + np.exp(-lit))
    turned = lit @ np.asarray(kernel, np.float64).transpose(0, 2, 1)
    return keep * np.asarray(x, np.float64) + take * masked(turned, inward, outward, gate, level)
