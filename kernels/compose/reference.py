"""Compositing, the obvious way: NumPy over whole pictures."""

from __future__ import annotations

import numpy as np

from kernels.jit import U8


def over(picture: U8, background: U8) -> U8:
    """``picture`` (H,W,4) premultiplied over ``background`` (H,W,3)."""
    wide = picture.astype(np.int64)
    behind = np.rint(background * (255 - wide[..., 3:]) / 255).astype(np.int64)
    return np.minimum(wide[..., :3] + behind, 255).astype(np.uint8)
