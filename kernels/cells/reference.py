"""What packing and painting cells is, the boring way: NumPy over whole planes, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.guidance import Guidance
from kernels.jit import F32, F64, U8


def to_cells(planes: Any, side: int) -> Any:
    """(C,H,W) to (H/side,W/side,C side^2): plane, then row, then column."""
    count, height, width = planes.shape
    cut = planes.reshape(count, height // side, side, width // side, side)
    return cut.transpose(1, 3, 0, 2, 4).reshape(height // side, width // side, -1)


def from_cells(cells: Any, side: int) -> Any:
    """The inverse of `to_cells`."""
    height, width, channels = cells.shape
    cut = cells.reshape(height, width, channels // side**2, side, side)
    return cut.transpose(2, 0, 3, 1, 4).reshape(-1, height * side, width * side)


def pack(guidance: Guidance, warped: U8) -> U8:
    """Cells (H/8,W/8,4,220) of the planes."""
    classes = np.where(guidance.lo[6] == np.arange(8)[:, None, None], 255, 0).astype(np.uint8)
    half = np.concatenate([guidance.lo[:6], guidance.seen[None], classes])
    full = np.concatenate([guidance.hi, warped])
    cells = np.concatenate([to_cells(full, 4), to_cells(half, 2)], -1)
    height, width, channels = cells.shape
    patches = cells.reshape(height // 2, 2, width // 2, 2, channels).transpose(0, 2, 1, 3, 4)
    return patches.reshape(height // 2, width // 2, 4, channels)


def bilinear(gain: F64, scale: int) -> F64:
    """(g,g',3) to (3, scale g, scale g'): linear between the middles, constant beyond the outermost ones."""
    for axis in (0, 1):
        count = gain.shape[axis]
        place = np.clip((np.arange(count * scale) + 0.5) / scale - 0.5, 0, count - 1)
        low = np.floor(place).astype(np.int64)
        part = (place - low).reshape([-1 if k == axis else 1 for k in range(3)])
        gain = gain.take(low, axis) * (1 - part) + gain.take(np.minimum(low + 1, count - 1), axis) * part
    return np.moveaxis(gain, 2, 0)


def paint(residual: F32, shares: F32, gain: F32, cells: U8) -> U8:
    """The picture (H,W,4), premultiplied."""
    height, width = cells.shape[:2]
    apart = cells[..., :160].reshape(height, width, 2, 2, 160).transpose(0, 2, 1, 3, 4)
    planes = from_cells(apart.reshape(2 * height, 2 * width, 160), 4) / 255.0
    cover, keep = from_cells(shares.astype(np.float64), 4)
    cover = np.clip(cover, 0, 1)
    rgb = cover * ((1 - keep * planes[9]) * planes[:3] * bilinear(gain.astype(np.float64), 8) + keep * planes[6:9])
    rgb += from_cells(residual.astype(np.float64), 4)
    return np.floor(np.moveaxis(np.stack([*np.clip(rgb, 0, cover), cover]), 0, 2) * 255 + 0.5).astype(np.uint8)


def confine(picture: U8, lit: U8) -> U8:
    """The picture (H,W,4), a new one."""
    most = np.moveaxis(np.minimum(lit, lit[3]), 0, 2)
    return np.where(picture[..., 3:] > most[..., 3:], np.minimum(picture, most), picture)
