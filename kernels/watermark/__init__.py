"""Watermark: a faint pattern added to luma, stronger where the picture hides it; and what is left of it in a frame.

The picture is cut into blocks of 8 x 8, each into quarters of 4 x 4. A quarter's activity is the sum of the absolute
differences between neighbours in it, each at most CAP. The quietest quarter says how strong its whole block is marked:
an edge beside a plain wall hides nothing on the wall.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.jit import F32, U8
from kernels.watermark import cpu
from kernels.watermark.reference import BASE, CAP, FIELD_ONE, GAIN, STRENGTH_ONE, TOP

__all__ = ["BASE", "CAP", "FIELD_ONE", "GAIN", "STRENGTH_ONE", "TOP", "gather", "mark"]

I8 = NDArray[np.int8]


def mark(luma: U8, field: I8) -> None:
    """Adds ``field`` (H,W) i8, in units of 1 / FIELD_ONE, to ``luma`` (H,W) u8 in place, times the strength of each
    block, rounded; the result stays in 1..254. Raises ValueError on other shapes or types."""
    if luma.ndim != 2 or luma.dtype != np.uint8 or not luma.flags.c_contiguous:
        raise ValueError(f"luma must be (H,W) uint8 and contiguous, got {luma.shape} {luma.dtype}")
    _check("field", field, luma.shape, np.int8)
    cpu.mark(luma, field)


def gather(luma: U8, radius: int, total: F32) -> None:
    """Adds to ``total`` (H,W) f32 what a mark may be in ``luma`` (H,W) u8: each pixel less the mean of the window of
    2 ``radius`` + 1 around it, over the variance of that difference there. Windows are cut at the picture's edges.
    Raises ValueError on other shapes or types, or a radius below 1."""
    if luma.ndim != 2 or luma.dtype != np.uint8 or not luma.flags.c_contiguous or radius < 1:
        raise ValueError(
            f"luma must be (H,W) uint8 and contiguous, radius 1 or more, got {luma.shape} {luma.dtype}, {radius}"
        )
    _check("total", total, luma.shape, np.float32)
    cpu.gather(luma, radius, total)


def _check(name: str, array: Any, shape: tuple[int, ...], kind: Any) -> None:
    if array.shape != shape or array.dtype != kind or not array.flags.c_contiguous:
        raise ValueError(f"{name} must be {shape} {np.dtype(kind)} and contiguous, got {array.shape} {array.dtype}")
