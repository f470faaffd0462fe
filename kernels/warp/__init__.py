"""Backward warp: the previous picture, moved to where its surfaces are now.

``out`` at a pixel is ``previous`` at that pixel plus its block's flow, bilinear, in 256ths of a pixel, rounded across
and then down; the border goes on outside; nothing (0) where the block is not seen. A block is 2 x 2 pixels, the
resolution of the flow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.jit import F32, U8
from kernels.warp import cpu


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
