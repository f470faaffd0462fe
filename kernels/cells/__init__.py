"""Cells: a picture's planes as the neural renderer reads them, 4 x 4 pixels a cell, and its answer as pixels again.

A cell holds, channels last: ten planes of full size (kernels/guidance's six, then the warped previous picture's red,
green, blue and alpha), 16 values each, row by row; then fifteen planes of half size, 4 values each: normal x, y, z,
facing, depth, gloss, seen, and one for each of eight classes, 255 where it is that class.
An answer holds, for the 16 pixels of a cell: residual red, green, blue; two shares, cover (alpha) and keep (how much of
the previous picture stays); and for every 2 x 2 cells the gain of the lit surface's red, green, blue.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels.cells import cpu
from kernels.guidance import Guidance
from kernels.jit import F32, U8

__all__ = ["CLASSES", "PACKED", "PATCH", "RESIDUAL", "SHARES", "confine", "pack", "paint"]

PATCH: Final = 8  # pixels of a patch's side: two cells
CLASSES: Final = 8
PACKED: Final = 10 * 16 + (7 + CLASSES) * 4
RESIDUAL: Final = 3 * 16
SHARES: Final = 2 * 16


def pack(guidance: Guidance, warped: U8, out: U8) -> U8:
    """``guidance`` of a picture (H,W), H and W multiples of 8, and the warped previous picture (4,H,W) to cells ``out``
    (H/8,W/8,4,PACKED), all u8: the four cells of a patch of 8 x 8 pixels lie together, row by row.

    Raises ValueError on other shapes.
    """
    height, width = guidance.hi.shape[1:]
    _check("guidance.hi", guidance.hi, (6, height // PATCH * PATCH, width // PATCH * PATCH), np.uint8)
    _check("warped", warped, (4, height, width), np.uint8)
    _check("guidance.lo", guidance.lo, (7, height // 2, width // 2), np.uint8)
    _check("guidance.seen", guidance.seen, (height // 2, width // 2), np.uint8)
    _check("out", out, (height // PATCH, width // PATCH, 4, PACKED), np.uint8)
    cpu.pack(*(plane.view(np.uint32) for plane in (guidance.hi, warped, guidance.lo, guidance.seen, out)))
    return out


def paint(residual: F32, shares: F32, gain: F32, cells: U8, out: U8) -> U8:
    """``residual`` (2h,2w,RESIDUAL), ``shares`` (2h,2w,SHARES) and ``gain`` (h,w,3), f32, with the cells
    (h,w,4,PACKED) they answer, to the picture ``out`` (8h,8w,4) u8: premultiplied sRGB and alpha.

    alpha = cover; rgb = cover ((1 - keep x previous alpha) lit x gain + keep x previous) + residual, in [0, alpha].
    The gain is bilinear between the middles of 2 x 2 cells. Raises ValueError on other shapes.
    """
    height, width = cells.shape[:2]
    _check("cells", cells, (height, width, 4, PACKED), np.uint8)
    _check("residual", residual, (2 * height, 2 * width, RESIDUAL), np.float32)
    _check("shares", shares, (2 * height, 2 * width, SHARES), np.float32)
    _check("gain", gain, (height, width, 3), np.float32)
    _check("out", out, (PATCH * height, PATCH * width, 4), np.uint8)
    cpu.paint(residual, shares, gain, cells.reshape(-1, PACKED), out.view(np.uint32)[..., 0])
    return out


def confine(picture: U8, lit: U8) -> U8:
    """Where ``picture`` (H,W,4) u8, premultiplied, has more alpha than the lit surface (4,H,W) u8 (kernels/guidance's
    hi), it gets the surface's alpha, and no more of a colour than that has. Returns ``picture``.

    Along an outline the network paints about as much colour as the guidance has there; under too much alpha that is a
    black rim. Raises ValueError on other shapes.
    """
    shape = picture.shape[:2]
    _check("picture", picture, (*shape, 4), np.uint8)
    _check("lit", lit, (4, *shape), np.uint8)
    cpu.confine(picture.reshape(-1, 4), lit.reshape(4, -1))
    return picture


def _check(name: str, array: Any, shape: tuple[int, ...], kind: Any) -> None:
    if array.shape != shape or array.dtype != kind or not array.flags.c_contiguous:
        raise ValueError(f"{name} must be {shape} {np.dtype(kind)} and contiguous, got {array.shape} {array.dtype}")
