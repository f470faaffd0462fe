"""RGB to I420 (planar YUV 4:2:0) or NV12, BT.601 limited range: what video encoders take in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.yuv import cpu

U8 = NDArray[np.uint8]


def to_i420(rgb: U8, out: U8 | None = None) -> U8:
    """``rgb`` (H,W,3) u8 to ``out`` (H*3/2, W) u8: Y plane, then U and V planes at half size. H and W must be even.

    Chroma is the mean of each 2x2 block (sited in its middle, as JPEG and WebRTC's own converters do).
    Raises ValueError on other shapes or types. Source: ITU-R BT.601-7, section 2.5; 8-bit integer form, rounded.
    """
    out, blue, red = _planes(rgb, out)
    cpu.convert(rgb, out[: len(rgb)], blue, red)
    return out


def to_nv12(rgb: U8, out: U8 | None = None) -> U8:
    """As `to_i420`, with U and V of each block side by side in one plane (H/2, W): what hardware encoders take in."""
    out, _, _ = _planes(rgb, out)
    pairs = out[len(rgb) :].reshape(len(rgb) // 2, -1, 2)
    cpu.convert(rgb, out[: len(rgb)], pairs[..., 0], pairs[..., 1])
    return out


def _planes(rgb: U8, out: U8 | None) -> tuple[U8, U8, U8]:
    """``out``, or a new one, with its U and V planes of I420. Raises ValueError when it or ``rgb`` does not fit."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.shape[0] % 2 or rgb.shape[1] % 2:
        raise ValueError(f"rgb must be (H,W,3) uint8 with even H and W, got {rgb.shape} {rgb.dtype}")
    height, width = rgb.shape[:2]
    shape = (height * 3 // 2, width)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(f"out must be {shape} uint8 and contiguous, got {out.shape} {out.dtype}")
    quarter = height * width // 4
    flat = out.reshape(-1)
    chroma = flat[height * width :]
    size = (height // 2, width // 2)
    return out, chroma[:quarter].reshape(size), chroma[quarter:].reshape(size)
