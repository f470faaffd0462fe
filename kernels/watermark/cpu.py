"""Watermark on one CPU core (numba). Marking: eight blocks of 8 x 8 are 64 lanes; the integers of reference.py."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.jit import F32, U8, Int, exact, inlined
from kernels.vector import cast, least, load, most, shuffle, store
from kernels.watermark.reference import BASE, CAP, FLOOR, GAIN, HIGHEST, LOWEST, TOP

STRIPE: Final = 64  # pixels: eight blocks
# The right neighbour in a quarter of 4 x 4; the last of four is its own, and differs from itself by nothing.
_next = shuffle([k if k % 4 == 3 else k + 1 for k in range(64)])
_even64, _odd64 = shuffle(list(range(0, 64, 2))), shuffle(list(range(1, 64, 2)))
_even32, _odd32 = shuffle(list(range(0, 32, 2))), shuffle(list(range(1, 32, 2)))
_even16, _odd16 = shuffle(list(range(0, 16, 2))), shuffle(list(range(1, 16, 2)))
_spread = shuffle([k // 8 for k in range(64)])  # a block's number to its eight columns
I8 = NDArray[np.int8]


@exact
def mark(luma: U8, field: I8) -> None:
    """See kernels/watermark/__init__.py."""
    height, width = luma.shape
    whole = width // STRIPE * STRIPE
    for y in range(0, height, 8):
        if y + 8 <= height:
            for x in range(0, whole, STRIPE):
                at = y * width + x
                quiet = least(_quarters(luma, at, width), _quarters(luma, at + 4 * width, width))
                quiet = least(_even16(quiet, quiet), _odd16(quiet, quiet))
                strong = least((quiet * np.int16(GAIN) >> np.int16(3)) + np.int16(BASE), np.int16(TOP))
                wide = _spread(strong, strong)
                for row in range(8):
                    place = at + row * width
                    step = (wide * cast(load(field, place, 64), np.int16) + np.int16(1024)) >> np.int16(11)
                    told = cast(load(luma, place, 64), np.int16) + step
                    store(luma, place, cast(least(most(told, np.int16(LOWEST)), np.int16(HIGHEST)), np.uint8))
        for x in range(whole if y + 8 <= height else 0, width, 8):
            _block(luma, field, y, x)


@inlined
def _quarters(luma: U8, at: Int, width: Int) -> Any:
    """Activity of the 16 quarters whose first row begins at flat index ``at``."""
    before = load(luma, at, 64)
    turned = _next(before, before)
    total = least(most(before, turned) - least(before, turned), np.uint8(CAP))
    for row in range(1, 4):
        now = load(luma, at + row * width, 64)
        turned = _next(now, now)
        total = total + least(most(now, turned) - least(now, turned), np.uint8(CAP))
        total = total + least(most(now, before) - least(now, before), np.uint8(CAP))  # seven of at most 36 fit a byte
        before = now
    wide = cast(total, np.int16)
    pairs = _even64(wide, wide) + _odd64(wide, wide)
    return _even32(pairs, pairs) + _odd32(pairs, pairs)


@inlined
def _block(luma: U8, field: I8, y: Int, x: Int) -> None:
    """One block, which the picture's edge may cut."""
    height, width = luma.shape
    quiet = np.int64(1 << 20)
    for top in range(y, min(y + 8, height), 4):
        for left in range(x, min(x + 8, width), 4):
            bottom, right, active = min(top + 4, height), min(left + 4, width), np.int64(0)
            for j in range(top, bottom):
                for i in range(left, right):
                    if i + 1 < right:
                        active += min(abs(np.int64(luma[j, i + 1]) - np.int64(luma[j, i])), CAP)
                    if j + 1 < bottom:
                        active += min(abs(np.int64(luma[j + 1, i]) - np.int64(luma[j, i])), CAP)
            quiet = min(quiet, active)
    strong = min(BASE + (GAIN * quiet >> 3), TOP)
    for j in range(y, min(y + 8, height)):
        for i in range(x, min(x + 8, width)):
            told = np.int64(luma[j, i]) + ((strong * np.int64(field[j, i]) + 1024) >> 11)
            luma[j, i] = min(max(told, LOWEST), HIGHEST)


@exact
def gather(luma: U8, radius: int, total: F32) -> None:
    """See kernels/watermark/__init__.py."""
    height, width = luma.shape
    rest = np.empty((height, width), np.float32)
    plane = luma.astype(np.float32)
    _means(plane, radius, rest)
    for y in range(height):
        for x in range(width):
            rest[y, x] = plane[y, x] - rest[y, x]
            plane[y, x] = rest[y, x] * rest[y, x]
    spread = np.empty((height, width), np.float32)
    _means(plane, radius, spread)
    for y in range(height):
        for x in range(width):
            total[y, x] += rest[y, x] / (spread[y, x] + np.float32(FLOOR))


@exact
def _means(plane: F32, radius: int, out: F32) -> None:
    """Means of windows, by running sums of columns and along the row."""
    height, width = plane.shape
    columns = np.zeros(width, np.float64)
    for y in range(min(radius, height)):
        for x in range(width):
            columns[x] += plane[y, x]
    for y in range(height):
        if y + radius < height:
            for x in range(width):
                columns[x] += plane[y + radius, x]
        if y - radius - 1 >= 0:
            for x in range(width):
                columns[x] -= plane[y - radius - 1, x]
        rows = min(y + radius, height - 1) - max(y - radius, 0) + 1
        running = 0.0
        for x in range(min(radius, width)):
            running += columns[x]
        for x in range(width):
            if x + radius < width:
                running += columns[x + radius]
            if x - radius - 1 >= 0:
                running -= columns[x - radius - 1]
            out[y, x] = running / (rows * (min(x + radius, width - 1) - max(x - radius, 0) + 1))
