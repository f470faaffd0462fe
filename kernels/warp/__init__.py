"""Backward warp: the previous picture, moved to where its surfaces are now.

``out`` at a pixel is ``previous`` at that pixel plus its block's flow, bilinear, in 256ths of a pixel, rounded across
and then down; the border goes on outside; nothing (0) where the block is not seen. A block is 2 x 2 pixels, the
resolution of the flow.

What was painted fades toward what is known: a renderer that paints on its own pictures would keep its errors for ever.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels.jit import F32, U8
from kernels.warp import cpu

FADE: Final = 26  # 256ths: a tenth a frame, half of it in a quarter of a second


def fade(warped: U8, lit: U8) -> U8:
    """Moves ``warped`` (4,H,W) u8, premultiplied, by FADE / 256 of the way to ``lit`` (3,H,W) u8, within its own alpha,
    and returns it. Raises ValueError on other shapes."""
    shape = warped.shape[1:]
    for name, array, wanted in (("warped", warped, (4, *shape)), ("lit", lit, (3, *shape))):
        if array.shape != wanted or array.dtype != np.uint8 or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be {wanted} uint8 and contiguous, got {array.shape} {array.dtype}")
    cpu.fade(warped.reshape(4, -1), lit.reshape(3, -1), np.int32(FADE))
    return warped


def warp(previous: U8, flow: F32, seen: U8, out: U8) -> U8:
    """``previous`` (H,W,4) u8, premultiplied; ``flow`` (2,H/2,W/2) pixels back to it; ``seen`` (H/2,W/2), 0 = not.
    Fills and returns ``out`` (4,H,W). A flow that is not finite counts as not seen. Raises ValueError on other shapes.
    """
    height, width = previous.shape[:2]
    half = (height // 2, width // 2)
    even = (2 * half[0], 2 * half[1])
    shapes: dict[str, tuple[Any, tuple[int, ...], Any]] = {
        "previous": (previous, (*even, 4), np.uint8), "flow": (flow, (2, *half), np.float32),
        "seen": (seen, half, np.uint8), "out": (out, (4, height, width), np.uint8),
    }  # fmt: skip
    for name, (array, shape, kind) in shapes.items():
        if array.shape != shape or array.dtype != kind:
            raise ValueError(f"{name} must be {shape} {np.dtype(kind)}, got {array.shape} {array.dtype}")
    if not previous.flags.c_contiguous:
        raise ValueError("previous must be contiguous")
    cpu.warp(previous.view(np.uint32)[..., 0], flow, seen, out)
    return out
