"""The backward warp, the boring way: NumPy over the whole picture."""

from __future__ import annotations

import numpy as np

from kernels.jit import F32, U8


def warp(previous: U8, flow: F32, seen: U8) -> U8:
    """``previous`` (H,W,4) moved by ``flow`` (2,H/2,W/2); (4,H,W), 0 where ``seen`` (H/2,W/2) is 0."""
    height, width = previous.shape[:2]
    usable = (seen > 0) & (np.abs(np.nan_to_num(flow, nan=np.inf)) <= 16384).all(0)
    steps = np.rint(np.where(usable, flow, 0) * 256).astype(np.int64).repeat(2, 1).repeat(2, 2)
    y, x = np.mgrid[:height, :width]
    column, row = x + (steps[0] >> 8), y + (steps[1] >> 8)
    fx, fy = (steps & 255)[..., None]
    total = np.full(previous.shape, 32768, np.int64)
    for dy, wy in ((0, 256 - fy), (1, fy)):
        for dx, wx in ((0, 256 - fx), (1, fx)):
            i, j = np.clip(row + dy, 0, height - 1), np.clip(column + dx, 0, width - 1)
            total += previous[i, j].astype(np.int64) * wx * wy
    out = np.moveaxis(total >> 16, 2, 0).astype(np.uint8)
    return out * usable.repeat(2, 0).repeat(2, 1)
