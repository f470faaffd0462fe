"""Cells on one CPU core (numba): a patch's planes move as words of four bytes, and a cell's 16 pixels are the lanes."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels.jit import F32, U8, Int, fast, inlined
from kernels.vector import any_of, cast, lane, least, load, most, select, shuffle, splat, store, view

WORDS: Final = 55  # of a cell
RUN: Final = 8  # patches whose planes are moved one after another: as many as share a cache line

# Where the pixels of a cell lie between the middles of patches (2 x 2 cells), by the cell's parity, (2,16).
_ALONG = ((np.arange(4) + 0.5) / 8 + np.array([[0.5], [0.0]])).astype(np.float32)
ACROSS = np.tile(_ALONG[:, None, :], (1, 4, 1)).reshape(2, 16)
DOWN = np.repeat(_ALONG, 4, 1)
_one, _two, _four = (shuffle(range(2 * lanes)) for lanes in (1, 2, 4))
_even, _odd = shuffle([0, 2, 4, 6]), shuffle([1, 3, 5, 7])
_quarters = shuffle([8 * y + 4 * i + 2 * x + j for y in (0, 1) for x in (0, 1) for i in (0, 1) for j in (0, 1)])
_row0, _row1, _row2, _row3 = (shuffle(range(4 * row, 4 * row + 4)) for row in range(4))


@fast
def pack(hi: Any, warped: Any, lo: Any, seen: Any, out: Any) -> None:
    """Planes hi (6,H,W/4), warped (4,H,W/4), lo (7,H/2,W/8), seen (H/2,W/8) to cells ``out`` (H/8,W/8,4,WORDS), all as
    words of four bytes (u32)."""
    columns, wide, narrow = out.shape[1], hi.shape[2], seen.shape[1]
    full, half = hi.shape[1] * wide, seen.shape[0] * narrow
    for y in range(out.shape[0]):
        for begin in range(0, columns, RUN):
            end = min(begin + RUN, columns)
            for p in range(6):
                for x in range(begin, end):
                    pixels(hi, p * full + 8 * y * wide + 2 * x, wide, out, 4 * WORDS * (y * columns + x) + 4 * p)
            for p in range(4):
                for x in range(begin, end):
                    cell = 4 * WORDS * (y * columns + x) + 24 + 4 * p
                    pixels(warped, p * full + 8 * y * wide + 2 * x, wide, out, cell)
            for x in range(begin, end):
                cell, at = 4 * WORDS * (y * columns + x) + 40, 4 * y * narrow + x
                for p in range(6):
                    put(out, cell + p, blocks(lo, p * half + at, narrow))
                put(out, cell + 6, blocks(seen, at, narrow))
                mask = view(blocks(lo, 6 * half + at, narrow), np.uint8)
                for k in range(8):
                    one_hot = select(mask == np.uint8(k), splat(np.uint8(255), 16), np.uint8(0))
                    put(out, cell + 7 + k, view(one_hot, np.uint32))


@inlined
def pixels(plane: Any, at: Int, width: Int, out: Any, cell: Int) -> None:
    """A patch of a plane of full size, 8 x 8 bytes, to 16 bytes of each of its cells."""
    for k in range(2):
        row = at + 4 * k * width
        a, b = load(plane, row, 2), load(plane, row + width, 2)
        c, d = load(plane, row + 2 * width, 2), load(plane, row + 3 * width, 2)
        words = _four(_two(a, b), _two(c, d))
        store(out, cell + 2 * WORDS * k, _even(words, words))
        store(out, cell + 2 * WORDS * k + WORDS, _odd(words, words))


@inlined
def blocks(plane: Any, at: Int, width: Int) -> Any:
    """A patch of a plane of half size, 4 x 4 bytes, as one word for each of its cells."""
    a, b = load(plane, at, 1), load(plane, at + width, 1)
    c, d = load(plane, at + 2 * width, 1), load(plane, at + 3 * width, 1)
    rows = view(_two(_one(a, b), _one(c, d)), np.uint8)
    return view(_quarters(rows, rows), np.uint32)


@inlined
def put(out: Any, at: Int, words: Any) -> None:
    """One word to each of the four cells of a patch."""
    for k in range(4):
        store(out, at + WORDS * k, splat(lane(words, k), 1))


@fast
def paint(residual: F32, shares: F32, gain: F32, cells: U8, out: Any) -> None:
    """See kernels/cells/__init__.py. ``cells`` (N,PACKED); ``out`` (8h,8w) u32: red, green, blue, alpha from the lowest
    byte. Of a cell that covers nothing, nothing else is read."""
    rows, columns, width = gain.shape[0] - 1, gain.shape[1] - 1, shares.shape[1]
    for y in range(shares.shape[0]):
        v = (y >> 1) - 1 + (y & 1)
        v0, v1 = max(v, 0), min(v + 1, rows)
        wy = load(DOWN, 16 * (y & 1), 16)
        for x in range(width):
            cell = y * width + x
            cover = least(most(load(shares, 32 * cell, 16), np.float32(0.0)), np.float32(1.0))
            word = to_byte(cover) << np.uint32(24)
            if any_of(word != np.uint32(0)):
                c = 4 * WORDS * (((y >> 1) * (width >> 1) + (x >> 1)) * 4 + 2 * (y & 1) + (x & 1))
                kept = cover * load(shares, 32 * cell + 16, 16)
                fresh = cover - kept * of_byte(cells, c + 144)
                u = (x >> 1) - 1 + (x & 1)
                u0, u1, wx = max(u, 0), min(u + 1, columns), load(ACROSS, 16 * (x & 1), 16)
                for p in range(3):
                    g00 = gain[v0, u0, p]
                    gx, gy = gain[v0, u1, p] - g00, gain[v1, u0, p] - g00
                    gxy = gain[v1, u1, p] - g00 - gx - gy
                    lit = (wx * gx + g00 + wy * gy + wx * wy * gxy) * of_byte(cells, c + 16 * p)
                    before = kept * of_byte(cells, c + 96 + 16 * p)
                    value = fresh * lit + before + load(residual, 48 * cell + 16 * p, 16)
                    word = word | to_byte(least(most(value, np.float32(0.0)), cover)) << np.uint32(8 * p)
            at = 4 * (4 * y * width + x)
            store(out, at, _row0(word, word))
            store(out, at + 4 * width, _row1(word, word))
            store(out, at + 8 * width, _row2(word, word))
            store(out, at + 12 * width, _row3(word, word))


@fast
def confine(picture: U8, lit: U8) -> None:
    """``picture`` (N,4), ``lit`` (4,N). Most pixels are within already, and are not written."""
    for i in range(lit.shape[1]):
        alpha = lit[3, i]
        if picture[i, 3] > alpha:
            picture[i, 3] = alpha
            for p in range(3):
                picture[i, p] = min(picture[i, p], min(lit[p, i], alpha))


@inlined
def of_byte(cells: U8, at: Int) -> Any:
    """Sixteen bytes as numbers in [0, 1]."""
    return cast(load(cells, at, 16), np.float32) * np.float32(1.0 / 255.0)


@inlined
def to_byte(value: Any) -> Any:
    """Numbers in [0, 1] as bytes."""
    return view(cast(value * np.float32(255.0) + np.float32(0.5), np.int32), np.uint32)
