"""Compositing on one CPU core (numba); the same integers as reference.py."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import numpy as np

from kernels.jit import U8, Int, fast, inlined


@inlined
def _lay(front: Int, clear: Int, behind: Int) -> Int:
    """front + behind * clear / 255, rounded, at most 255; exact for all bytes (Blinn 1994)."""
    product = np.int32(behind) * clear + np.int32(128)
    return min(front + ((product + (product >> np.int32(8))) >> np.int32(8)), np.int32(255))


@fast
def over(picture: U8, background: U8, rgb: U8, alpha: U8) -> None:
    """See kernels/compose/__init__.py."""
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            clear = np.int32(255) - np.int32(picture[y, x, 3])
            alpha[y, x] = picture[y, x, 3]
            for c in range(3):
                rgb[y, x, c] = _lay(np.int32(picture[y, x, c]), clear, background[y, x, c])
