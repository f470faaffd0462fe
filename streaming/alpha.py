"""Pictures with transparency for a codec that knows none: the picture over black, and its alpha below it as a grey one.

Over black means premultiplied, so a page that draws (r, g, b, alpha) as it comes blends exactly (web/source.js).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
BLACK, GREY, SPAN = 16, 128, 219  # of limited-range BT.601, as the kernels make it
LUMA: Final = np.rint(BLACK + np.arange(256) * (SPAN / 255)).astype(np.uint8)  # alpha 0..255 as a shade of grey


def stack(i420: U8, alpha: U8) -> U8:
    """``i420`` (H * 3 / 2, W) over black and ``alpha`` (H, W) to one I420 picture of W x 2 H, (3 H, W)."""
    height, width = alpha.shape
    out = np.empty((3 * height, width), np.uint8)
    out[:height] = i420[:height]
    np.take(LUMA, alpha, out=out[height : 2 * height])
    chroma, own = out[2 * height :].reshape(2, -1), i420[height:].reshape(2, -1)
    chroma[:, : own.shape[1]] = own
    chroma[:, own.shape[1] :] = GREY
    return out


def over(i420: U8, alpha: U8, behind: U8) -> U8:
    """``i420`` over black, laid over ``behind``, both (H * 3 / 2, W), by ``alpha`` (H, W); a new picture."""
    height, width = alpha.shape
    out = np.empty_like(i420)
    _lay(i420[:height], 255 - alpha, behind[:height], BLACK, out[:height])
    corners = alpha.reshape(height // 2, 2, width // 2, 2).astype(np.uint16).sum((1, 3))
    clear = (255 - (corners + 2) // 4).astype(np.uint8).ravel()
    for own, other, both in zip(*(plane[height:].reshape(2, -1) for plane in (i420, behind, out)), strict=True):
        _lay(own, clear, other, GREY, both)
    return out


def _lay(own: U8, clear: U8, other: U8, zero: int, out: U8) -> None:
    """``own`` plus what of ``other`` shines through; both count from ``zero``."""
    shine = (other.astype(np.float32) - zero) * (clear * np.float32(1 / 255))
    out[:] = np.clip(np.rint(own + shine), 0, 255)
