"""Flow beside the surface on one CPU core (numba): that of the nearest surface."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import numpy as np

from kernels.jit import F32, I32, U8, Int, fast, inlined


@fast
def spread(mask: U8, row: I32, stack: I32, flow: F32) -> None:
    """Gives every place without a surface the flow of the nearest surface (of equals: the leftmost, then the upper);
    0 where there is none at all. ``row`` (h,w) and ``stack`` (2,w) are scratch.

    The exact distance transform of Meijster, Roerdink and Hesselink (2000), which also keeps whose distance it is.
    """
    height, width = mask.shape
    columns(mask, row)
    column, start = stack
    for y in range(height):
        count = 0
        for u in range(width):
            if row[y, u] < 0 or inner(mask, y, u):
                continue
            far = (row[y, u] - y) * (row[y, u] - y)
            begin = 0
            while count > 0:
                i, t = column[count - 1], start[count - 1]
                near = (row[y, i] - y) * (row[y, i] - y)
                if (t - i) * (t - i) + near > (t - u) * (t - u) + far:
                    count -= 1
                    continue
                begin = (u * u - i * i + far - near) // (2 * (u - i)) + 1
                break
            if begin < width:
                column[count], start[count] = u, begin
                count += 1
        end = width
        for k in range(count - 1, -1, -1):
            u, begin = column[k], start[k]
            right, down = flow[0, row[y, u], u], flow[1, row[y, u], u]
            for x in range(begin, end):
                if mask[y, x] == 0:
                    flow[0, y, x], flow[1, y, x] = right, down
            end = min(end, begin)
        if count == 0:
            for x in range(width):
                if mask[y, x] == 0:
                    flow[0, y, x] = flow[1, y, x] = np.float32(0.0)


@inlined
def inner(mask: U8, y: Int, x: Int) -> bool:
    """Whether a place and both beside it have a surface, so that none is nearest to it but in its own column."""
    left, right = max(x - 1, 0), min(x + 1, mask.shape[1] - 1)
    return mask[y, x] != 0 and mask[y, left] != 0 and mask[y, right] != 0


@inlined
def columns(mask: U8, row: I32) -> None:
    """``row``: of the nearest surface in the same column, the upper of equals; -1 where there is none."""
    height, width = mask.shape
    for x in range(width):
        row[0, x] = 0 if mask[0, x] != 0 else -1
    for y in range(1, height):
        for x in range(width):
            row[y, x] = y if mask[y, x] != 0 else row[y - 1, x]
    for y in range(height - 2, -1, -1):
        for x in range(width):
            below = row[y + 1, x]
            if row[y, x] != y and below > y and (row[y, x] < 0 or below - y < y - row[y, x]):
                row[y, x] = below
