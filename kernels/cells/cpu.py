"""Cells on one CPU core (numba): four bytes of a row move as one word, and the 16 pixels of a cell are the lanes."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any

import numpy as np

from kernels.jit import F32, U8, Int, Real, fast, inlined

# Where the pixels of a cell lie between the middles of patches (2 x 2 cells), by the cell's parity, (2,4).
_ALONG = ((np.arange(4) + 0.5) / 8 + np.array([[0.5], [0.0]])).astype(np.float32)
ACROSS = np.tile(_ALONG[:, None, :], (1, 4, 1)).reshape(2, 16)
DOWN = np.repeat(_ALONG, 4, 1)


@fast
def pack(hi: Any, warped: Any, lo: Any, seen: Any, mask: U8, out4: Any, out2: Any, out: U8) -> None:
    """Planes as words: hi (6,H,W/4) and warped (4,H,W/4) u32, lo (7,H/2,W/4) and seen (H/2,W/4) u16, mask (H/2,W/2) u8;
    ``out4``, ``out2`` and ``out`` are the same cells as words of 4, 2 and 1 bytes."""
    for y in range(2 * out.shape[0]):
        for x in range(2 * out.shape[1]):
            v, u, k = y >> 1, x >> 1, 2 * (y & 1) + (x & 1)
            for i in range(4):
                for p in range(6):
                    out4[v, u, k, 4 * p + i] = hi[p, 4 * y + i, x]
                for p in range(4):
                    out4[v, u, k, 24 + 4 * p + i] = warped[p, 4 * y + i, x]
            for p in range(46, 55):
                out4[v, u, k, p] = 0
            for i in range(2):
                for q in range(6):
                    out2[v, u, k, 80 + 2 * q + i] = lo[q, 2 * y + i, x]
                out2[v, u, k, 92 + i] = seen[2 * y + i, x]
                for j in range(2):
                    out[v, u, k, 188 + 4 * np.int64(mask[2 * y + i, 2 * x + j]) + 2 * i + j] = 255


@inlined
def _byte(value: Real) -> Int:
    """A number in [0, 1] as a byte; 0 for one that is not a number."""
    return np.uint32(np.int32(np.float32(255.0) * value + np.float32(0.5))) & np.uint32(255)


@fast
def paint(residual: F32, shares: F32, gain: F32, cells: U8, out: Any) -> None:
    """See kernels/cells/__init__.py. ``cells`` (N,PACKED); ``out`` (8h,8w) u32: red, green, blue, alpha from the lowest
    byte. The loops over 16 pixels are short and plain, so that each becomes a few SIMD instructions."""
    rows, columns, width = gain.shape[0] - 1, gain.shape[1] - 1, shares.shape[1]
    word, cover = np.zeros(16, np.uint32), np.zeros(16, np.float32)
    fresh, kept = np.zeros(16, np.float32), np.zeros(16, np.float32)
    across, down, byte = ACROSS, DOWN, np.float32(1.0 / 255.0)
    one, zero = np.float32(1.0), np.float32(0.0)
    for y in range(shares.shape[0]):
        v = (y >> 1) - 1 + (y & 1)
        v0, v1 = max(v, 0), min(v + 1, rows)
        for x in range(width):
            u = (x >> 1) - 1 + (x & 1)
            u0, u1 = max(u, 0), min(u + 1, columns)
            r, a, c = (
                residual[y, x],
                shares[y, x],
                cells[((y >> 1) * (width >> 1) + (x >> 1)) * 4 + 2 * (y & 1) + (x & 1)],
            )
            wx, wy = across[x & 1], down[y & 1]
            for k in range(16):
                cover[k] = min(max(a[k], zero), one)
                kept[k] = cover[k] * a[16 + k]
                fresh[k] = cover[k] - kept[k] * np.float32(c[144 + k]) * byte
                word[k] = _byte(cover[k]) << np.uint32(24)
            for p in range(3):
                g00 = gain[v0, u0, p]
                gx, gy = gain[v0, u1, p] - g00, gain[v1, u0, p] - g00
                gxy = gain[v1, u1, p] - g00 - gx - gy
                for k in range(16):
                    lit = (g00 + gx * wx[k] + gy * wy[k] + gxy * wx[k] * wy[k]) * np.float32(c[16 * p + k]) * byte
                    before = np.float32(c[96 + 16 * p + k]) * byte
                    value = fresh[k] * lit + kept[k] * before + r[16 * p + k]
                    word[k] |= _byte(min(max(value, zero), cover[k])) << np.uint32(8 * p)
            for i in range(4):
                for j in range(4):
                    out[4 * y + i, 4 * x + j] = word[4 * i + j]
