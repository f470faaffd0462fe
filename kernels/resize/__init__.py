"""Resizing: planes of a picture at another size, by cubic interpolation (Catmull and Rom 1974): sharp, and exact where
nothing changes.

An axis' weights are 7-bit integers that add up to 128; rows are blended first, and rounded once, at the end. Pixels
are squares, not points: the first and the last have their edges on the picture's. Meant for enlarging.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kernels.jit import I32, U8
from kernels.resize import cpu

WHOLE = 128


def resize(plane: U8, out: U8) -> U8:
    """``plane`` (h,w) u8 at the size of ``out`` (H,W) u8, which is filled and returned. Raises ValueError on other
    shapes or types."""
    for name, array in (("plane", plane), ("out", out)):
        if array.ndim != 2 or not array.size or array.dtype != np.uint8 or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be (H,W) uint8 and contiguous, got {array.shape} {array.dtype}")
    cpu.resize(plane, *taps(plane.shape[0], out.shape[0]), *taps(plane.shape[1], out.shape[1]), out)
    return out


def resize_i420(picture: U8, out: U8) -> U8:
    """As `resize`, of the planes of I420 pictures (h*3/2, w) and (H*3/2, W), all sides even."""
    for name, array in (("picture", picture), ("out", out)):
        if array.ndim != 2 or array.shape[0] % 3 or array.shape[1] % 2:
            raise ValueError(f"{name} must be (H*3/2,W) uint8 with even H and W, got {array.shape} {array.dtype}")
    for source, target in zip(_planes(picture), _planes(out), strict=True):
        resize(source, target)
    return out


def _planes(picture: U8) -> tuple[U8, U8, U8]:
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    chroma = picture.reshape(-1)[height * width :].reshape(2, height // 2, width // 2)
    return picture[:height], chroma[0], chroma[1]


@lru_cache(64)
def taps(size: int, wanted: int) -> tuple[I32, I32]:
    """For each of ``wanted`` pixels: which four of ``size`` it is made of, and their weights, both (wanted,4) int32."""
    place = (np.arange(wanted) + 0.5) * size / wanted - 0.5
    first = np.floor(place)
    t = (place - first)[:, None]
    near = np.concatenate([1.5 * t**3 - 2.5 * t**2 + 1, 1.5 * (1 - t) ** 3 - 2.5 * (1 - t) ** 2 + 1], 1)
    far = np.concatenate([-0.5 * t**3 + t**2 - 0.5 * t, -0.5 * (1 - t) ** 3 + (1 - t) ** 2 - 0.5 * (1 - t)], 1)
    weights = np.rint(WHOLE * np.concatenate([far[:, :1], near, far[:, 1:]], 1)).astype(np.int32)
    weights[np.arange(wanted), np.where(t[:, 0] < 0.5, 1, 2)] += WHOLE - weights.sum(1)
    index = np.clip(first.astype(np.int32)[:, None] + np.arange(-1, 3, dtype=np.int32), 0, size - 1)
    return np.ascontiguousarray(index, np.int32), np.ascontiguousarray(weights, np.int32)
