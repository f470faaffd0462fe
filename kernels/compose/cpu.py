"""Compositing on one CPU core (numba); the same integers as reference.py. Sixteen pixels at a time."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels.jit import U8, Int, fast, inlined
from kernels.vector import cast, least, load, shuffle, splat, store

STEP: Final = 16
_colour = shuffle([4 * pixel + channel for pixel in range(16) for channel in range(3)])
_alphas = shuffle([4 * pixel + 3 for pixel in range(16) for _ in range(3)])
_alpha = shuffle([4 * pixel + 3 for pixel in range(16)])


@fast
def over(picture: U8, background: U8, rgb: U8, alpha: U8) -> None:
    """See kernels/compose/__init__.py."""
    whole = alpha.size // STEP * STEP
    for at in range(0, whole, STEP):
        front = load(picture, 4 * at, 64)
        store(alpha, at, _alpha(front, front))
        clear = splat(np.uint16(255), 48) - cast(_alphas(front, front), np.uint16)
        product = cast(load(background, 3 * at, 48), np.uint16) * clear + np.uint16(128)
        product = (product + (product >> np.uint16(8))) >> np.uint16(8)
        laid = least(cast(_colour(front, front), np.uint16) + product, np.uint16(255))
        store(rgb, 3 * at, cast(laid, np.uint8))
    width = alpha.shape[1]
    for at in range(whole, alpha.size):
        y, x = at // width, at % width
        alpha[y, x] = picture[y, x, 3]
        for c in range(3):
            rgb[y, x, c] = lay(picture[y, x, c], 255 - np.int64(picture[y, x, 3]), background[y, x, c])


@inlined
def lay(front: Int, clear: Int, behind: Int) -> Any:
    """front + behind * clear / 255, rounded, at most 255; exact for all bytes (Blinn 1994)."""
    product = behind * clear + 128
    return min(front + ((product + (product >> 8)) >> 8), 255)
