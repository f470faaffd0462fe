"""Edges of an enlarged picture, smoothed along themselves: a slanted edge of few pixels becomes a line, not stairs.

Where the small picture's gradients agree (its structure tensor: Förstner and Gülch 1987), the enlarged luma is averaged
over five places along the edge, as line integral convolution does (Cabral and Leedom 1993): what lies across stays as
sharp as it was. Weak gradients, and corners, where they disagree, are left alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kernels.edges import cpu
from kernels.jit import F32, U8

WEAK: Final = 6.0  # levels a pixel: below, nothing is smoothed
STRONG: Final = 24.0  # from here on, all of it
SCATTERED: Final = 0.4  # share of the gradients that agree: below, nothing is smoothed
AGREED: Final = 0.8  # from here on, all of it
STEP: Final = 0.75  # of a small pixel: from one place along an edge to the next


class Edges:
    """Static buffers for small pictures of ``size`` (h, w), at least 3 pixels a side, that are shown at ``wanted``
    (H, W). Raises ValueError for other sizes, and for what is not larger."""

    def __init__(self, size: tuple[int, int], wanted: tuple[int, int]) -> None:
        if min(size) < 3 or size[0] > wanted[0] or size[1] > wanted[1]:
            raise ValueError(f"pictures of at least 3 pixels a side are enlarged: got {size} for {wanted}")
        self.size, self.wanted = size, wanted
        self._rows, self._columns = _nearest(size[0], wanted[0]), _nearest(size[1], wanted[1])
        self._along: F32 = np.zeros((*size, 3), np.float32)  # how much, and a step along the edge: down, across

    def smooth(self, small: U8, large: U8, out: U8) -> U8:
        """``large`` (H,W) u8, which is ``small`` (h,w) enlarged, with its edges smoothed, in ``out`` (H,W), another
        array. Raises ValueError on other shapes or types."""
        for name, array, shape in (
            ("small", small, self.size),
            ("large", large, self.wanted),
            ("out", out, self.wanted),
        ):
            if array.shape != shape or array.dtype != np.uint8 or not array.flags.c_contiguous:
                raise ValueError(f"{name} must be {shape} uint8 and contiguous, got {array.shape} {array.dtype}")
        if np.may_share_memory(large, out):
            raise ValueError("out must be another array than large")
        cpu.directions(small, WEAK, STRONG, SCATTERED, AGREED, self._along)
        cpu.smooth(large, self._along, self._rows, self._columns, *self.steps, out)
        return out

    @property
    def steps(self) -> tuple[float, float]:
        """From one place to the next along an edge, in pixels of the large picture: down, across."""
        return STEP * self.wanted[0] / self.size[0], STEP * self.wanted[1] / self.size[1]


def _nearest(size: int, wanted: int) -> np.ndarray:
    """Which of ``size`` pixels each of ``wanted`` lies in, (wanted,) int32."""
    return (((2 * np.arange(wanted) + 1) * size) // (2 * wanted)).astype(np.int32)
