"""Smoothing along edges on one CPU core (numba): directions once a small pixel, line by line; then only those pixels
of the large picture are touched that lie on an edge. Within one level of reference.py."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import math

import numpy as np

from kernels.jit import F32, I32, U8, Real, fast


@fast
def directions(small: U8, weak: Real, strong: Real, scattered: Real, agreed: Real, along: F32) -> None:
    """``along`` (h,w,3) of ``small`` (h,w): how much to smooth, 0 to 1, and the edge's direction: down, across."""
    height, width = small.shape
    lines = np.empty((3, 3, width), np.int32)  # of the last three rows: gradients' products, blurred across
    product = np.empty((3, width), np.int32)
    least = np.float32(64 * 16) * np.float32(weak) ** 2  # eight times the gradient squared, and 16 times blurred
    for row in range(height + 1):
        if row < height:
            above, here, below = small[max(row - 1, 0)], small[row], small[min(row + 1, height - 1)]
            for x in range(width):
                left, right = max(x - 1, 0), min(x + 1, width - 1)
                a, b, c = np.int32(above[left]), np.int32(above[x]), np.int32(above[right])
                d, f = np.int32(here[left]), np.int32(here[right])
                g, h, i = np.int32(below[left]), np.int32(below[x]), np.int32(below[right])
                across, down = c - a + 2 * (f - d) + i - g, g - a + 2 * (h - b) + i - c
                product[0, x], product[1, x], product[2, x] = across * across, across * down, down * down
            line = lines[row % 3]
            for k in range(3):
                for x in range(width):
                    line[k, x] = product[k, max(x - 1, 0)] + 2 * product[k, x] + product[k, min(x + 1, width - 1)]
        if row == 0:
            continue
        y = row - 1
        one, two, three = lines[max(y - 1, 0) % 3], lines[y % 3], lines[min(y + 1, height - 1) % 3]
        for x in range(width):
            xx = np.float32(one[0, x] + 2 * two[0, x] + three[0, x])
            yy = np.float32(one[2, x] + 2 * two[2, x] + three[2, x])
            along[y, x, 0] = np.float32(0)
            if xx + yy <= least:  # the larger of the tensor's two sizes is at most their sum
                continue
            xy = np.float32(one[1, x] + 2 * two[1, x] + three[1, x])
            apart = math.sqrt((xx - yy) * (xx - yy) + np.float32(4) * xy * xy)
            size = math.sqrt(np.float32(0.5) * (xx + yy + apart)) * np.float32(1 / 32)
            sure = (apart / (xx + yy) - scattered) / (agreed - scattered)
            weight = min(max((size - weak) / (strong - weak), 0.0), 1.0) * min(max(sure, 0.0), 1.0)
            if weight <= 0:
                continue
            n, m = (xx - yy + apart, 2 * xy) if xx >= yy else (2 * xy, yy - xx + apart)  # across, down the gradient
            length = math.sqrt(n * n + m * m)
            along[y, x, 0], along[y, x, 1], along[y, x, 2] = weight, -n / length, m / length


@fast
def smooth(large: U8, along: F32, rows: I32, columns: I32, down: Real, across: Real, out: U8) -> None:
    """``out`` (H,W): ``large`` (H,W), averaged along ``along`` (h,w,3) where that says so; ``rows`` (H,) and
    ``columns`` (W,) say which of its pixels; ``down`` and ``across``: a step, in pixels of the large picture."""
    height, width = large.shape
    for y in range(height):
        told = along[rows[y]]
        for x in range(width):
            weight = told[columns[x], 0]
            value = large[y, x]
            if weight > 0:
                dy, dx = told[columns[x], 1] * np.float32(down), told[columns[x], 2] * np.float32(across)
                v, u, total = np.float32(y), np.float32(x), np.float32(value)
                total += _at(large, v - dy, u - dx) + _at(large, v + dy, u + dx)
                dy, dx = dy + dy, dx + dx
                total += _at(large, v - dy, u - dx) + _at(large, v + dy, u + dx)
                mean = np.float32(value) + weight * (np.float32(0.2) * total - np.float32(value))
                out[y, x] = np.uint8(mean + np.float32(0.5))
            else:
                out[y, x] = value


@fast
def _at(plane: U8, y: Real, x: Real) -> Real:
    """``plane`` between its pixels; beyond its edge, its edge."""
    height, width = plane.shape
    y, x = min(max(y, np.float32(0)), np.float32(height - 1)), min(max(x, np.float32(0)), np.float32(width - 1))
    top, left = np.int32(y), np.int32(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = y - np.float32(top), x - np.float32(left)
    upper = np.float32(plane[top, left]) + u * (np.float32(plane[top, right]) - np.float32(plane[top, left]))
    lower = np.float32(plane[bottom, left]) + u * (np.float32(plane[bottom, right]) - np.float32(plane[bottom, left]))
    return upper + v * (lower - upper)
