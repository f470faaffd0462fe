"""Resizing on one CPU core (numba): each row across once, into four lines that go round; then four lines to a row of
pixels. The same integers as reference.py."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import numpy as np

from kernels.jit import I32, U8, fast


@fast
def resize(plane: U8, rows: I32, down: I32, columns: I32, across: I32, out: U8) -> None:
    """``plane`` (h,w) to ``out`` (H,W), by the pixels and weights (H,4) of its rows and (W,4) of its columns."""
    height, width = out.shape
    lines = np.empty((4, width), np.int32)
    ready = -1
    for y in range(height):
        last = rows[y, 3]
        for row in range(max(ready + 1, last - 3), last + 1):
            source, line = plane[row], lines[row & 3]
            for x in range(width):
                line[x] = (
                    across[x, 0] * np.int32(source[columns[x, 0]])
                    + across[x, 1] * np.int32(source[columns[x, 1]])
                    + across[x, 2] * np.int32(source[columns[x, 2]])
                    + across[x, 3] * np.int32(source[columns[x, 3]])
                )
        ready = last
        a, b, c, d = lines[rows[y, 0] & 3], lines[rows[y, 1] & 3], lines[rows[y, 2] & 3], lines[last & 3]
        p, q, r, s = down[y, 0], down[y, 1], down[y, 2], down[y, 3]
        target = out[y]
        for x in range(width):
            value = (p * a[x] + q * b[x] + r * c[x] + s * d[x] + np.int32(8192)) >> np.int32(14)
            target[x] = min(max(value, np.int32(0)), np.int32(255))
