"""What marking and gathering are, the boring way: NumPy, one block or one pixel at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FIELD_ONE: Final = 32  # of a field that means 1
STRENGTH_ONE: Final = 64  # of a strength that means 1 step of luma
BASE: Final = 60  # strength on a plain wall: the pattern is rounded to one step of luma, or to none
GAIN: Final = 4  # more of it for each 8 of a quarter's activity
TOP: Final = 160  # never more: 2.5 steps
CAP: Final = 36  # of a difference between neighbours: one hard edge is not a texture
LOWEST: Final = 1  # BT.601 leaves room below black and above white, so that a white wall is marked too
HIGHEST: Final = 254
FLOOR: Final = 1.0  # of the variance when gathering: rounding and coding


def mark(luma: Array, field: Array) -> None:
    """See kernels/watermark/__init__.py."""
    height, width = luma.shape
    for y in range(0, height, 8):
        for x in range(0, width, 8):
            block = luma[y : y + 8, x : x + 8].astype(np.int64)
            quarters = [block[j : j + 4, i : i + 4] for j in (0, 4) for i in (0, 4)]
            quiet = min(_activity(quarter) for quarter in quarters if quarter.size)
            strength = min(BASE + (GAIN * quiet >> 3), TOP)
            one = FIELD_ONE * STRENGTH_ONE
            step = (strength * field[y : y + 8, x : x + 8].astype(np.int64) + one // 2) >> 11
            luma[y : y + 8, x : x + 8] = np.clip(block + step, LOWEST, HIGHEST)


def _activity(quarter: Array) -> int:
    return int(sum(np.minimum(np.abs(np.diff(quarter, axis=axis)), CAP).sum() for axis in (0, 1)))


def gather(luma: Array, radius: int, total: Array) -> None:
    """See kernels/watermark/__init__.py. Float64."""
    rest = luma - _mean(luma.astype(np.float64), radius)
    total += (rest / (_mean(rest * rest, radius) + FLOOR)).astype(np.float32)


def _mean(plane: Array, radius: int) -> Array:
    out = np.empty_like(plane)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            window = plane[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
            out[y, x] = window.mean()
    return out
