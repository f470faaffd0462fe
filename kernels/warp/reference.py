"""The backward warp, the boring way: NumPy over the whole picture."""

from __future__ import annotations

import numpy as np

from kernels.jit import F32, U8


def fade(warped: U8, lit: U8, share: int) -> U8:
    """``warped`` (4,H,W) by ``share`` / 256 of the way to ``lit`` (3,H,W), within its alpha."""
    was = warped.astype(np.int64)
    moved = was[:3] + (((lit - was[:3]) * share + 128) >> 8)
    return np.concatenate([np.minimum(moved, was[3]), was[3:]]).astype(np.uint8)


def warp(previous: U8, flow: F32, seen: U8) -> U8:
    """``previous`` (H,W,4) moved by ``flow`` (2,H/2,W/2); (4,H,W), 0 where ``seen`` (H/2,W/2) is 0."""
    height, width = previous.shape[:2]
    usable = (seen > 0) & (np.abs(np.nan_to_num(flow, nan=np.inf)) <= 16384).all(0)
    steps = np.rint(np.where(usable, flow, 0) * 256).astype(np.int64).repeat(2, 1).repeat(2, 2)
    y, x = np.mgrid[:height, :width]
    column, row = x + (steps[0] >> 8), y + (steps[1] >> 8)
    fx, fy = (steps & 255)[..., None]
    lines = []
    for dy in (0, 1):
        i = np.clip(row + dy, 0, height - 1)
        left, right = (previous[i, np.clip(column + dx, 0, width - 1)].astype(np.int64) for dx in (0, 1))
        lines.append((left * (256 - fx) + right * fx + 128) >> 8)
    out = np.moveaxis((lines[0] * (256 - fy) + lines[1] * fy + 128) >> 8, 2, 0).astype(np.uint8)
    return out * usable.repeat(2, 0).repeat(2, 1)
