"""Filling the visibility buffer on one CPU core (numba): at pixel centres, or with four samples a pixel.

Watertight: every edge is walked from its upper end with the same float64 expression by both triangles that share
it, so a sample belongs to exactly one of them.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, cast

import numpy as np

from kernels import simd
from kernels.jit import F32, I32, U8, Int, exact, inlined
from kernels.rasterize.cpu import ACROSS, BENT, DOWN, DX, DY, GROUP_SHIFT, ROUND_UP, SNAP

HALF_SNAP = SNAP // 2
spans4 = simd.sample_spans(DOWN, ACROSS, ROUND_UP)
nearest4 = cast(Any, simd.nearest4)


@exact
def label(owner: I32, direction: F32, count: Int, group: U8, code: I32) -> None:
    """``code`` (T,): what the visibility buffer says of a sample: the triangle, BENT or not, and its group."""
    for t in range(count):
        bent = BENT if direction[t, 3] != 0.0 else 0
        code[t] = t | bent | np.int32(group[owner[t]]) << GROUP_SHIFT


@exact
def clear(nearness: F32, winner: I32, extent: I32) -> None:
    """Empties the columns ``extent`` (H,2) of ``nearness`` and ``winner`` (H,W,S), and the extent with them."""
    height, width, _ = nearness.shape
    for y in range(height):
        nearness[y, extent[y, 0] : extent[y, 1]] = 0.0
        winner[y, extent[y, 0] : extent[y, 1]] = -1
        extent[y, 0], extent[y, 1] = width, 0


@exact
def fill(xy: I32, plane: F32, triangle: I32, code: I32, count: Int, depth: F32, winner: I32, extent: I32) -> None:
    """Draws triangles at pixel centres into ``depth`` (H,W) nearness and ``winner`` (H,W) code.

    A centre on an edge belongs to the triangle to its right, or below (the top-left rule). ``extent`` (H,2) grows to
    the columns drawn in each row.
    """
    height, width = depth.shape
    unit = 1.0 / SNAP
    for t in range(count):
        a, b, c = top_down(triangle, t, xy)
        first = max((np.int64(xy[a, 1]) + HALF_SNAP - 1) >> 8, 0)
        last = min((np.int64(xy[c, 1]) + HALF_SNAP - 1) >> 8, height)
        if first >= last:
            continue
        ax, ay = xy[a, 0] * unit, xy[a, 1] * unit
        bx, by = xy[b, 0] * unit, xy[b, 1] * unit
        long_slope = (xy[c, 0] * unit - ax) / (xy[c, 1] * unit - ay)
        above, below = (bx - ax) / (by - ay), (xy[c, 0] * unit - bx) / (xy[c, 1] * unit - by)
        q0, gx, gy = plane[t, 0, 0], plane[t, 1, 0], plane[t, 2, 0]
        x0, y0 = plane[t, 0, 9], plane[t, 0, 10]
        for k in range(first, last):
            y = k + 0.5
            x_long = ax + (y - ay) * long_slope - 0.5
            x_short = (ax + (y - ay) * above if y < by else bx + (y - by) * below) - 0.5
            # The ceiling, for what is not clamped to 0 anyway: truncation of the number less than one above.
            left = max(np.int64(min(x_long, x_short) + ROUND_UP), 0)
            right = min(np.int64(max(x_long, x_short) + ROUND_UP), width)
            if left < right:
                extent[k, 0], extent[k, 1] = min(extent[k, 0], left), max(extent[k, 1], right)
                q = q0 + gx * np.float32(left + 0.5 - x0) + gy * np.float32(y - y0)
                for x in range(left, right):
                    if q > depth[k, x]:
                        depth[k, x] = q
                        winner[k, x] = code[t]
                    q += gx


@exact
def fill4(xy: I32, plane: F32, triangle: I32, code: I32, count: Int, nearness: F32, winner: I32, extent: I32) -> None:
    """Draws triangles into four samples a pixel: ``nearness`` and ``winner`` (H,W,4), by the same rule as ``fill``.

    ``extent`` (H,2) grows to the columns drawn in each row.
    """
    height, width, _ = nearness.shape
    unit = 1.0 / SNAP
    for t in range(count):
        a, b, c = top_down(triangle, t, xy)
        first = max((8 * np.int64(xy[a, 1]) + SNAP - 1) >> 11, 0)
        last = min((((8 * np.int64(xy[c, 1]) + SNAP - 1) >> 9) + 3) >> 2, height)
        if first >= last:
            continue
        ax, ay = xy[a, 0] * unit, xy[a, 1] * unit
        bx, by = xy[b, 0] * unit, xy[b, 1] * unit
        cx, cy = xy[c, 0] * unit, xy[c, 1] * unit
        long_slope = (cx - ax) / (cy - ay)
        above, below = (bx - ax) / (by - ay), (cx - bx) / (cy - by)
        gx, gy = plane[t, 1, 0], plane[t, 2, 0]
        origin = plane[t, 0, 0] - gx * plane[t, 0, 9]
        y0, me = plane[t, 0, 10], code[t]
        for k in range(first, last):
            l0, l1, l2, l3, r0, r1, r2, r3 = spans4(
                np.float64(k), np.int32(width), ax, ay, long_slope, bx, by, above, below, cy
            )
            left, right = min(min(l0, l1), min(l2, l3)), max(max(r0, r1), max(r2, r3))
            if left >= right:
                continue
            extent[k, 0], extent[k, 1] = min(extent[k, 0], left), max(extent[k, 1], right)
            row = origin + gy * (np.float32(k) - y0)
            q0, q1 = row + gx * DX[0] + gy * DY[0], row + gx * DX[1] + gy * DY[1]
            q2, q3 = row + gx * DX[2] + gy * DY[2], row + gx * DX[3] + gy * DY[3]
            for x in range(left, right):
                place = 4 * (k * width + x)
                nearest4(nearness, winner, place, np.int32(x), l0, l1, l2, l3, r0, r1, r2, r3, q0, q1, q2, q3, gx, me)


@inlined
def top_down(triangle: I32, t: Int, xy: I32) -> tuple[Int, Int, Int]:
    """Corners of triangle ``t``, topmost first."""
    a, b, c = triangle[t, 0], triangle[t, 1], triangle[t, 2]
    if xy[b, 1] < xy[a, 1]:
        a, b = b, a
    if xy[c, 1] < xy[a, 1]:
        a, c = c, a
    if xy[c, 1] < xy[b, 1]:
        b, c = c, b
    return a, b, c
