"""Blended layer on one CPU core (numba): every see-through triangle adds its texels to the pixels it covers.

Weighted, order-independent transparency (McGuire & Bavoil 2013): no sorting, so no popping and no order to depend on.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import numpy as np

from kernels.jit import F32, I32, Int, Real, exact, fast
from kernels.rasterize.cpu import EDGE_EPS, SNAP
from kernels.texture import Paint, channel, fetch

# An entry: weighted sums of red, green, blue, occlusion, gloss, subsurface, strand (0..6), normal (7..9),
# tangent (10..12), the weight (13) and weighted depth (14); 15 is the part of the light behind that gets through.
ENTRY = 16
CLEAR = 15
BATCH = 4096  # fragments found before they are textured; plus a row, since a row is never split


@fast
def forget(count: Int, pixel: I32, slot: I32) -> None:
    """Empties ``slot`` where the previous frame used it."""
    width = slot.shape[1]
    for k in range(count):
        slot[pixel[k] // width, pixel[k] % width] = -1


@fast
def add(
    found: Int, fragment: I32, plane: F32, owner: I32, fade: F32, paint: Paint, reference: Real, nearness: F32,
    samples: Int, slot: I32, pixel: I32, layer: F32, count: Int,
) -> Int:  # fmt: skip
    """Adds ``found`` fragments (N,3) = (triangle, x, y) as far as the opaque samples let them be seen; new count."""
    one, zero, half = np.float32(1.0), np.float32(0.0), np.float32(0.5)
    width, detail, tangent = slot.shape[1], paint.detail, paint.tangent
    each = one / np.float32(samples)
    for i in range(found):
        t, x, y = fragment[i, 0], fragment[i, 1], fragment[i, 2]
        dx, dy = np.float32(x) + half - plane[t, 0, 9], np.float32(y) + half - plane[t, 0, 10]
        q = plane[t, 0, 0] + dx * plane[t, 1, 0] + dy * plane[t, 2, 0]
        free = 0
        for s in range(samples):
            free += np.int64(nearness[y, x, s] <= q)
        if free == 0:
            continue
        f, z = owner[t], one / q
        u = (plane[t, 0, 4] + dx * plane[t, 1, 4] + dy * plane[t, 2, 4]) * z
        v = (plane[t, 0, 5] + dx * plane[t, 1, 5] + dy * plane[t, 2, 5]) * z
        even, odd = fetch(paint.texture, u, v, np.int64(max(detail[f] + paint.bias, zero)))
        own = channel(odd, 1)
        alpha = own * fade[t] * np.float32(free) * each
        if alpha < np.float32(1.0 / 256.0):
            continue
        k = slot[y, x]
        if k < 0:
            if count == pixel.shape[0]:
                continue
            k = count
            slot[y, x], pixel[k] = k, y * width + x
            for c in range(ENTRY):
                layer[k, c] = zero
            layer[k, CLEAR] = one
            count += 1
        # Nearer strands hide farther ones: a centimetre in front counts about twice.
        nearer = min(max(q * reference, np.float32(0.25)), np.float32(2.0))
        nearer = nearer * nearer * nearer * nearer
        nearer = nearer * nearer * nearer * nearer
        weight = alpha * nearer * nearer * nearer * nearer
        over = weight / own
        layer[k, 0] += channel(even, 0) * over
        layer[k, 1] += channel(odd, 0) * over
        layer[k, 2] += channel(even, 1) * over
        layer[k, 3] += channel(even, 2) * weight
        layer[k, 4] += channel(odd, 2) * weight
        layer[k, 5] += channel(even, 3) * weight
        layer[k, 6] += channel(odd, 3) * weight
        n0 = plane[t, 0, 1] + dx * plane[t, 1, 1] + dy * plane[t, 2, 1]
        n1 = plane[t, 0, 2] + dx * plane[t, 1, 2] + dy * plane[t, 2, 2]
        n2 = plane[t, 0, 3] + dx * plane[t, 1, 3] + dy * plane[t, 2, 3]
        size = weight / np.sqrt(n0 * n0 + n1 * n1 + n2 * n2 + np.float32(1e-20))
        # Seen from both sides: a normal that points away is mirrored, which is continuous where it turns.
        layer[k, 7] += size * n0
        layer[k, 8] += size * n1
        layer[k, 9] -= size * abs(n2)
        layer[k, 10] += weight * tangent[f, 0]
        layer[k, 11] += weight * tangent[f, 1]
        layer[k, 12] += weight * tangent[f, 2]
        layer[k, 13] += weight
        layer[k, 14] += weight * z
        layer[k, CLEAR] *= one - min(alpha, one)
    return count


@exact
def accumulate(
    xy: I32, plane: F32, triangle: I32, owner: I32, fade: F32, triangles: Int, paint: Paint, reference: Real,
    nearness: F32, fragment: I32, slot: I32, pixel: I32, layer: F32,
) -> Int:  # fmt: skip
    """Draws the see-through triangles at pixel centres. Returns the number of entries (pixels touched).

    ``nearness`` (H,W,S) is that of the opaque samples; ``slot`` (H,W) must be -1 everywhere; ``reference`` is the
    depth at which nearness weighs 1. When ``pixel`` is full, further pixels stay as they are.
    """
    height, width = slot.shape
    samples = nearness.shape[2]
    unit = 1.0 / SNAP
    found = count = 0
    for t in range(triangles):
        if fade[t] <= 0.0:
            continue
        a, b, c = triangle[t, 0], triangle[t, 1], triangle[t, 2]
        if xy[b, 1] < xy[a, 1]:
            a, b = b, a
        if xy[c, 1] < xy[a, 1]:
            a, c = c, a
        if xy[c, 1] < xy[b, 1]:
            b, c = c, b
        first = max((np.int64(xy[a, 1]) + 127) >> 8, 0)
        last = min((np.int64(xy[c, 1]) + 127) >> 8, height)
        if first >= last:
            continue
        ax, ay = xy[a, 0] * unit, xy[a, 1] * unit
        bx, by = xy[b, 0] * unit, xy[b, 1] * unit
        cx, cy = xy[c, 0] * unit, xy[c, 1] * unit
        slope = (cx - ax) / (cy - ay)
        for y in range(first, last):
            line = y + 0.5
            x_long = ax + (line - ay) * slope - 0.5
            if line < by:
                x_short = ax + (line - ay) * ((bx - ax) / (by - ay)) - 0.5
            else:
                x_short = bx + (line - by) * ((cx - bx) / (cy - by)) - 0.5
            left = max(np.int64(np.ceil(min(x_long, x_short) - EDGE_EPS)), 0)
            right = min(np.int64(np.ceil(max(x_long, x_short) - EDGE_EPS)), width)
            for x in range(left, right):
                fragment[found, 0], fragment[found, 1], fragment[found, 2] = t, x, y
                found += 1
            if found >= BATCH:
                count = add(
                    found, fragment, plane, owner, fade, paint, reference, nearness, samples, slot, pixel, layer, count
                )
                found = 0
    return add(found, fragment, plane, owner, fade, paint, reference, nearness, samples, slot, pixel, layer, count)
