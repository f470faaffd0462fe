"""Backward warp on one CPU core (numba). Four channels are one word; the same integers as reference.py."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any

import numpy as np

from kernels.jit import F32, U8, Int, fast, inlined

FAR = 16384.0  # pixels; a flow beyond this is not one


@inlined
def _spread(word: Int) -> Int:
    """Four bytes as four fields of 16 bits: then one multiplication scales all four channels."""
    wide = (np.uint64(word) | np.uint64(word) << np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return (wide | wide << np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)


@inlined
def _blend(one: Int, two: Int, share: Int) -> Int:
    """Fields of bytes, ``share`` / 256 of the second; rounded."""
    total = one * (np.uint64(256) - share) + two * share + np.uint64(0x0080008000800080)
    return total >> np.uint64(8) & np.uint64(0x00FF00FF00FF00FF)


@inlined
def _put(out: U8, y: Int, x: Int, fields: Int) -> None:
    out[0, y, x], out[1, y, x] = np.uint8(fields), np.uint8(fields >> np.uint64(16))
    out[2, y, x], out[3, y, x] = np.uint8(fields >> np.uint64(32)), np.uint8(fields >> np.uint64(48))


@inlined
def _clear(out: U8, y: Int, x: Int) -> None:
    for k in range(4):
        for c in range(4):
            out[c, y + (k >> 1), x + (k & 1)] = 0


@fast
def warp(previous: Any, flow: F32, seen: U8, out: U8) -> None:
    """``previous`` (H,W) u32: four bytes a pixel; see __init__.py. A block of 2 x 2 pixels looks at 3 x 3."""
    height, width = previous.shape
    far = np.float32(256.0 * FAR)
    for by in range(seen.shape[0]):
        for bx in range(seen.shape[1]):
            y, x = 2 * by, 2 * bx
            dx, dy = np.rint(flow[0, by, bx] * np.float32(256.0)), np.rint(flow[1, by, bx] * np.float32(256.0))
            if seen[by, bx] == 0 or not (abs(dx) <= far and abs(dy) <= far):
                _clear(out, y, x)
                continue
            ix, iy = np.int64(dx), np.int64(dy)
            fx, fy = np.uint64(ix & 255), np.uint64(iy & 255)
            u, v = x + (ix >> 8), y + (iy >> 8)
            right, below = width - 1, height - 1
            u0, u1, u2 = min(max(u, 0), right), min(max(u + 1, 0), right), min(max(u + 2, 0), right)
            v0, v1, v2 = min(max(v, 0), below), min(max(v + 1, 0), below), min(max(v + 2, 0), below)
            a, b, c = previous[v0, u0], previous[v0, u1], previous[v0, u2]
            d, e, f = previous[v1, u0], previous[v1, u1], previous[v1, u2]
            g, h, i = previous[v2, u0], previous[v2, u1], previous[v2, u2]
            if a | b | c | d | e | f | g | h | i == 0:
                _clear(out, y, x)
                continue
            middle = _spread(b)
            left0, right0 = _blend(_spread(a), middle, fx), _blend(middle, _spread(c), fx)
            middle = _spread(e)
            left1, right1 = _blend(_spread(d), middle, fx), _blend(middle, _spread(f), fx)
            middle = _spread(h)
            left2, right2 = _blend(_spread(g), middle, fx), _blend(middle, _spread(i), fx)
            _put(out, y, x, _blend(left0, left1, fy))
            _put(out, y, x + 1, _blend(right0, right1, fy))
            _put(out, y + 1, x, _blend(left1, left2, fy))
            _put(out, y + 1, x + 1, _blend(right1, right2, fy))
