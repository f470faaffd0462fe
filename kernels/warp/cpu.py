"""Backward warp on one CPU core (numba). Four channels are one word; the same integers as reference.py."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any

import numpy as np

from kernels.jit import F32, U8, Int, fast, inlined

FAR = 16384.0  # pixels; a flow beyond this is not one


@inlined
def _apart(pair: Int) -> Int:
    """Two bytes that are 16 bits apart, 32 bits apart."""
    return (pair | pair << np.uint64(16)) & np.uint64(0x000000FF000000FF)


@fast
def warp(previous: Any, flow: F32, seen: U8, out: U8) -> None:
    """``previous`` (H,W) u32: four bytes a pixel; see kernels/warp/__init__.py."""
    height, width = previous.shape
    pairs = np.uint64(0x00FF00FF)
    for by in range(seen.shape[0]):
        for bx in range(seen.shape[1]):
            x, y = np.rint(flow[0, by, bx] * np.float32(256.0)), np.rint(flow[1, by, bx] * np.float32(256.0))
            far = np.float32(256.0 * FAR)
            if seen[by, bx] == 0 or not (abs(x) <= far and abs(y) <= far):
                for k in range(4):
                    for c in range(4):
                        out[c, 2 * by + (k >> 1), 2 * bx + (k & 1)] = 0
                continue
            ix, iy = np.int64(x), np.int64(y)
            fx, fy = np.uint64(ix & 255), np.uint64(iy & 255)
            ix, iy = 2 * bx + (ix >> 8), 2 * by + (iy >> 8)
            w11 = fx * fy
            w10, w01 = (fx << np.uint64(8)) - w11, (fy << np.uint64(8)) - w11
            w00 = np.uint64(65536) - w11 - w10 - w01
            for k in range(4):
                i, j = iy + (k >> 1), ix + (k & 1)
                i0, i1 = min(max(i, 0), height - 1), min(max(i + 1, 0), height - 1)
                j0, j1 = min(max(j, 0), width - 1), min(max(j + 1, 0), width - 1)
                a, b = np.uint64(previous[i0, j0]), np.uint64(previous[i0, j1])
                c, d = np.uint64(previous[i1, j0]), np.uint64(previous[i1, j1])
                y, x = 2 * by + (k >> 1), 2 * bx + (k & 1)
                if a | b | c | d == 0:
                    out[0, y, x] = out[1, y, x] = out[2, y, x] = out[3, y, x] = 0
                    continue
                for pair in range(2):
                    shift = np.uint64(8 * pair)
                    # Two channels, 32 bits apart: a weighted sum of bytes needs 24 bits.
                    p, q = _apart(a >> shift & pairs), _apart(b >> shift & pairs)
                    r, s = _apart(c >> shift & pairs), _apart(d >> shift & pairs)
                    total = p * w00 + q * w10 + r * w01 + s * w11 + np.uint64(0x0000800000008000)
                    out[pair, y, x] = np.uint8(total >> np.uint64(16) & np.uint64(255))
                    out[pair + 2, y, x] = np.uint8(total >> np.uint64(48) & np.uint64(255))
