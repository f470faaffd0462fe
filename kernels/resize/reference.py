"""Resizing, the obvious way: NumPy, whole rows and columns at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


def resize(plane: U8, size: tuple[int, int]) -> U8:
    """``plane`` (h,w) u8 at ``size`` (H,W)."""
    line = _axis(_axis(plane.astype(np.int64), size[0]).T, size[1]).T
    return np.asarray(np.clip((line + (1 << 13)) >> 14, 0, 255), np.uint8)


def _axis(plane: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """(n,w) to (wanted,w), times 128."""
    out = np.zeros((wanted, plane.shape[1]), np.int64)
    for i in range(wanted):
        place = (i + 0.5) * len(plane) / wanted - 0.5
        first = int(np.floor(place))
        weights = [int(np.rint(128 * _cubic(place - (first + k)))) for k in range(-1, 3)]
        weights[1 if place - first < 0.5 else 2] += 128 - sum(weights)
        for k, weight in zip(range(-1, 3), weights, strict=True):
            out[i] += weight * plane[min(max(first + k, 0), len(plane) - 1)]
    return out


def _cubic(x: float) -> float:
    """Catmull and Rom's kernel."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0
