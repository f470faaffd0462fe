"""RGB to I420 and NV12, the obvious way: NumPy over whole planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

# Rows Y, U, V of BT.601 for 8-bit limited range (Y 16..235, U and V 16..240), times 65536.
MATRIX = np.array([[16829, 33039, 6416], [-9714, -19071, 28785], [28784, -24103, -4681]], np.int64)


def to_i420(rgb: U8) -> U8:
    """``rgb`` (H,W,3) u8 with even H and W to (H*3/2, W) u8: Y, then U, then V."""
    height, width = rgb.shape[:2]
    wide = rgb.astype(np.int64)
    luma = (wide @ MATRIX[0] + 16 * 65536 + 32768) >> 16
    block = wide.reshape(height // 2, 2, width // 2, 2, 3).sum((1, 3))
    chroma = [(block @ row + 128 * 4 * 65536 + 2 * 65536) >> 18 for row in MATRIX[1:]]
    return np.concatenate([plane.ravel() for plane in (luma, *chroma)]).astype(np.uint8).reshape(-1, width)


def to_nv12(rgb: U8) -> U8:
    """The same with one plane (H/2, W) of U and V in turn."""
    height, width = rgb.shape[:2]
    planar = to_i420(rgb)
    chroma = planar[height:].reshape(2, -1)
    return np.concatenate([planar[:height], chroma.T.reshape(-1, width)])
