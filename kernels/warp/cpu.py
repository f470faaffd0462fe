"""Backward warp on one CPU core (numba). The same integers as reference.py; four blocks of 2 x 2 pixels at a time."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels.jit import F32, U8, Int, fast, inlined
from kernels.vector import any_of, cast, lane, load, nearest, run, select, shuffle, splat, store, view

FAR: Final = 16384.0  # pixels; a flow beyond this is not one
STEP: Final = 4
_two, _four = shuffle(range(8)), shuffle(range(16))
# Of four blocks' rows of four pixels: the first two pixels of each block, and the one right of each.
_left = shuffle([16 * block + byte for block in range(4) for byte in range(8)])
_right = shuffle([16 * block + 4 + byte for block in range(4) for byte in range(8)])
_each = shuffle([block for block in range(4) for _ in range(8)])
_red, _green, _blue, _alpha = (shuffle([4 * pixel + channel for pixel in range(8)]) for channel in range(4))


@fast
def fade(warped: U8, lit: U8, share: Int) -> None:
    """``warped`` (4,N), ``lit`` (3,N)."""
    alpha = warped[3]
    for p in range(3):
        ours, theirs = warped[p], lit[p]
        for i in range(alpha.size):
            was = np.int32(ours[i])
            moved = was + (((np.int32(theirs[i]) - was) * share + np.int32(128)) >> np.int32(8))
            ours[i] = np.uint8(min(moved, np.int32(alpha[i])))


@fast
def warp(previous: Any, flow: F32, seen: U8, out: U8) -> None:
    """``previous`` (H,W) u32: four bytes a pixel; see __init__.py. A block of 2 x 2 pixels looks at 3 x 3."""
    rows, columns = seen.shape
    for by in range(rows):
        bx = 0
        while rows > 1 and bx + STEP <= columns:
            four(previous, flow, seen, by, bx, out)
            bx += STEP
        for x in range(bx, columns):
            one(previous, flow, seen, by, x, out)


@inlined
def four(previous: Any, flow: F32, seen: U8, by: Int, bx: Int, out: U8) -> None:
    """Blocks bx .. bx + STEP of a row. Where one of them looks beyond the border, each goes by itself."""
    height, width = previous.shape
    at, top, plane = by * seen.shape[1] + bx, 2 * by * width + 2 * bx, height * width
    steps, far, none = np.float32(256.0), np.float32(256.0 * FAR), np.int32(0)
    dx, dy = nearest(load(flow, at, 4) * steps), nearest(load(flow, seen.size + at, 4) * steps)
    use = (load(seen, at, 4) != np.uint8(0)) & (dx <= far) & (dx >= -far) & (dy <= far) & (dy >= -far)
    if not any_of(use):
        put(out, top, width, plane, splat(np.uint8(0), 32), splat(np.uint8(0), 32))
        return
    i, j = select(use, cast(dx, np.int32), none), select(use, cast(dy, np.int32), none)
    u = select(use, (run(np.int32(bx), 4) << np.int32(1)) + (i >> np.int32(8)), none)
    v = select(use, (j >> np.int32(8)) + np.int32(2 * by), none)
    if any_of((u < none) | (v < none) | (u > np.int32(width - 4)) | (v > np.int32(height - 3))):
        for x in range(bx, bx + STEP):
            one(previous, flow, seen, by, x, out)
        return
    start = v * np.int32(width) + u
    right, down = cast(i & np.int32(255), np.uint16), cast(j & np.int32(255), np.uint16)
    right, down = _each(right, right), _each(down, down)
    a = across(previous, start, right)
    b = across(previous, start + np.int32(width), right)
    c = across(previous, start + np.int32(2 * width), right)
    shown = cast(use, np.uint8)
    shown = (_each(shown, shown) ^ np.uint8(1)) - np.uint8(1)
    put(out, top, width, plane, cast(blend(a, b, down), np.uint8) & shown, cast(blend(b, c, down), np.uint8) & shown)


@inlined
def across(previous: Any, start: Any, right: Any) -> Any:
    """Two pixels of four blocks, four channels each: those from ``start`` on blended with those right of them."""
    a, b = load(previous, lane(start, 0), 4), load(previous, lane(start, 1), 4)
    c, d = load(previous, lane(start, 2), 4), load(previous, lane(start, 3), 4)
    pixels = view(_four(_two(a, b), _two(c, d)), np.uint8)
    return blend(cast(_left(pixels, pixels), np.uint16), cast(_right(pixels, pixels), np.uint16), right)


@inlined
def blend(one: Any, two: Any, share: Any) -> Any:
    """Bytes in 16 bits, ``share`` / 256 of the second; rounded."""
    return (one * (np.uint16(256) - share) + two * share + np.uint16(128)) >> np.uint16(8)


@inlined
def put(out: U8, at: Int, width: Int, plane: Int, upper: Any, lower: Any) -> None:
    """Eight pixels of two rows, four bytes each, to the four planes."""
    store(out, at, _red(upper, upper))
    store(out, at + width, _red(lower, lower))
    store(out, plane + at, _green(upper, upper))
    store(out, plane + at + width, _green(lower, lower))
    store(out, 2 * plane + at, _blue(upper, upper))
    store(out, 2 * plane + at + width, _blue(lower, lower))
    store(out, 3 * plane + at, _alpha(upper, upper))
    store(out, 3 * plane + at + width, _alpha(lower, lower))


@inlined
def one(previous: Any, flow: F32, seen: U8, by: Int, bx: Int, out: U8) -> None:
    """One block, wherever it looks."""
    far, y, x = np.float32(256.0 * FAR), 2 * by, 2 * bx
    right, below = previous.shape[1] - 1, previous.shape[0] - 1
    dx, dy = np.rint(flow[0, by, bx] * np.float32(256.0)), np.rint(flow[1, by, bx] * np.float32(256.0))
    use = seen[by, bx] != 0 and abs(dx) <= far and abs(dy) <= far
    i, j = (np.int64(dx), np.int64(dy)) if use else (0, 0)
    for k in range(4):
        p, q = y + (k >> 1), x + (k & 1)
        u0, v0 = min(max(q + (i >> 8), 0), right), min(max(p + (j >> 8), 0), below)
        u1, v1 = min(max(q + (i >> 8) + 1, 0), right), min(max(p + (j >> 8) + 1, 0), below)
        for c in range(4):
            shift = np.uint32(8 * c)
            upper = mix(previous[v0, u0] >> shift & 255, previous[v0, u1] >> shift & 255, i & 255)
            lower = mix(previous[v1, u0] >> shift & 255, previous[v1, u1] >> shift & 255, i & 255)
            out[c, p, q] = mix(upper, lower, j & 255) if use else 0


@inlined
def mix(one: Int, two: Int, share: Int) -> Int:
    """``share`` / 256 of the second byte; rounded."""
    return (np.int64(one) * (256 - share) + np.int64(two) * share + 128) >> 8
