"""How surfaces lie, at half size, on one CPU core (numba): sixteen blocks of 2 x 2 pixels at a time are the lanes.

A block with blended faces in it goes by itself, afterwards.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from kernels.blend.cpu import CLEAR
from kernels.jit import F32, I32, U8, Int, Real, fast, inlined
from kernels.rasterize.cpu import ROW, SLOT_MASK
from kernels.vector import (
    any_of,
    bits,
    cast,
    fused,
    gather,
    least,
    load,
    lowest,
    most,
    nearest,
    run,
    select,
    shuffle,
    splat,
    store,
)  # fmt: skip

SOLID: Final = 0.4  # of a pixel: blended faces that cover more are its surface
STEP: Final = 16
# The same bits whatever is around it: what a network was trained on, it must see.
steady: Any = numba.njit(nogil=True, error_model="numpy", forceinline=True)
_even, _odd = shuffle(range(0, 32, 2)), shuffle(range(1, 32, 2))


@fast
def lie(
    depth: F32, face: I32, region: U8, normal: F32, flow: F32, winner: I32, plane: F32, slot: I32, layer: F32,
    hair: Int, gloss: U8, span: I32, rotation: F32, near: Real, steps: Real, classes: U8,
    lo: U8, out_flow: F32, z: F32, mask: U8, before: F32,
) -> None:  # fmt: skip
    """How the nearest surface of each 2 x 2 pixels lies; blended faces are all of class ``hair``.

    All outputs are written everywhere, but ``out_flow`` only where ``mask`` is not 0. ``z`` (h,w): view depth, +inf
    without a surface; ``before``: that of the same point a frame ago; ``steps``: of depth a metre.
    """
    rows, columns = mask.shape
    for y in range(rows):
        begin = (min(span[2 * y, 0], span[2 * y + 1, 0]) >> 1) // STEP * STEP
        end = (max(span[2 * y, 1], span[2 * y + 1, 1]) + 1) >> 1
        whole = columns // STEP * STEP
        for x in range(0, whole, STEP):
            if x < begin or x >= end:
                leave(lo, z, mask, before, y, x)
                continue
            sixteen(depth, region, normal, flow, winner, plane, gloss, rotation, near, steps, classes, y, x, lo,
                    out_flow, z, mask, before)  # fmt: skip
            others = veiled(slot, y, x)
            while others != np.uint64(0):
                block = x + lowest(others)
                others &= others - np.uint64(1)
                if hidden(slot, layer, y, block):
                    one(depth, face, region, normal, flow, winner, plane, slot, layer, hair, gloss, rotation, near,
                        steps, classes, y, block, lo, out_flow, z, mask, before)  # fmt: skip
        for x in range(whole, columns):
            one(depth, face, region, normal, flow, winner, plane, slot, layer, hair, gloss, rotation, near, steps,
                classes, y, x, lo, out_flow, z, mask, before)  # fmt: skip


@inlined
def leave(lo: U8, z: F32, mask: U8, before: F32, y: Int, x: Int) -> None:
    """Sixteen blocks without a surface."""
    half, out = mask.size, y * mask.shape[1] + x
    nothing, far = splat(np.uint8(0), 16), splat(np.float32(np.inf), 16)
    for k in range(3):
        store(lo, k * half + out, splat(np.uint8(128), 16))
    for k in range(3, 7):
        store(lo, k * half + out, nothing)
    store(mask, out, nothing)
    store(z, out, far)
    store(before, out, far)


@inlined
def rows_of(plane: Any, y: Int, x: Int, which: Int) -> tuple[Any, Any, Any, Any]:
    """Plane ``which`` of a stack (N,H,W) at the pixels of sixteen blocks: upper left, upper right, lower left and
    lower right."""
    height, width = plane.shape[-2], plane.shape[-1]
    at = (which * height + 2 * y) * width + 2 * x
    a, b, c, d = (
        load(plane, at, 16),
        load(plane, at + 16, 16),
        load(plane, at + width, 16),
        load(plane, at + width + 16, 16),
    )
    return _even(a, b), _odd(a, b), _even(c, d), _odd(c, d)


@inlined
def chosen(plane: Any, y: Int, x: Int, which: Int, upper: Any, lower: Any, below: Any) -> Any:
    """Of each block the pixel at the right where ``upper`` (``lower``) says so of its row, of the row ``below``."""
    a, b, c, d = rows_of(plane, y, x, which)
    return select(below, select(lower, d, c), select(upper, b, a))


@steady
def turned(a: Any, b: Any, c: Any, rotation: F32, k: Int) -> Any:
    """Component ``k`` of a unit vector in the world, of its three in view space: -1..1 as 0..255."""
    world = fused(c, rotation[2, k], fused(b, rotation[1, k], a * rotation[0, k]))
    return fused(world, np.float32(127.5), np.float32(127.5))


@inlined
def to_byte(value: Any, shown: Any, otherwise: Int) -> Any:
    """Numbers of 0..255 as bytes where ``shown``."""
    value = least(most(value, np.float32(0.0)), np.float32(255.0))
    return select(shown, cast(cast(nearest(value), np.int32), np.uint8), otherwise)


@inlined
def sixteen(
    depth: F32, region: U8, normal: F32, flow: F32, winner: I32, plane: F32, gloss: U8, rotation: F32, near: Real,
    steps: Real, classes: U8, y: Int, x: Int, lo: U8, out_flow: F32, z: F32, mask: U8, before: F32,
) -> None:  # fmt: skip
    """Blocks x .. x + STEP of a row, by their opaque surfaces alone. Of equally near ones the first counts."""
    half, out = mask.size, y * mask.shape[1] + x
    one, top = np.float32(1.0), np.float32(255.0)
    a, b, c, d = rows_of(depth, y, x, 0)
    upper, lower = b < a, d < c
    a, c = select(upper, b, a), select(lower, d, c)
    below = c < a
    far = select(below, c, a)
    shown = far < np.float32(np.inf)
    if not any_of(shown):
        leave(lo, z, mask, before, y, x)
        return
    own = gather(classes, cast(chosen(region, y, x, 0, upper, lower, below), np.int32))
    own = select(shown, own, np.uint8(0))
    store(z, out, far)
    store(mask, out, own)
    store(lo, 6 * half + out, own)
    store(lo, 5 * half + out, select(shown, chosen(gloss, y, x, 0, upper, lower, below), np.uint8(0)))
    store(out_flow, out, chosen(flow, y, x, 0, upper, lower, below))
    store(out_flow, half + out, chosen(flow, y, x, 1, upper, lower, below))
    n0, n1 = chosen(normal, y, x, 0, upper, lower, below), chosen(normal, y, x, 1, upper, lower, below)
    n2 = chosen(normal, y, x, 2, upper, lower, below)
    for k in range(3):
        store(lo, k * half + out, to_byte(turned(n0, n1, n2, rotation, k), shown, np.uint8(128)))
    store(lo, 3 * half + out, to_byte(n2 * -top, shown, np.uint8(0)))
    along = least(most((far - near) * steps, np.float32(0.0)), np.float32(254.0)) + one
    store(lo, 4 * half + out, to_byte(along, shown, np.uint8(0)))
    right = cast(select(below, cast(lower, np.uint8), cast(upper, np.uint8)), np.int32)
    px = cast((run(np.int32(x), 16) << np.int32(1)) + right, np.float32) + np.float32(0.5)
    py = cast(cast(below, np.uint8), np.float32) + np.float32(2 * y) + np.float32(0.5)
    t = (chosen(winner, y, x, 0, upper, lower, below) & np.int32(SLOT_MASK)) * np.int32(3 * ROW)
    t = select(shown, t, np.int32(0))
    dx, dy = px - gather(plane, t + np.int32(9)), py - gather(plane, t + np.int32(10))
    then = fused(dx, gather(plane, t + np.int32(ROW + 8)), gather(plane, t + np.int32(8)))
    then = fused(dy, gather(plane, t + np.int32(2 * ROW + 8)), then)
    store(before, out, select(shown, then * far, np.float32(np.inf)))


@inlined
def veiled(slot: I32, y: Int, x: Int) -> Int:
    """Which of sixteen blocks have an entry of the blended layer, as bits."""
    a, b, c, d = rows_of(slot, y, x, 0)
    return bits((a & b & c & d) != np.int32(-1))


@inlined
def hidden(slot: I32, layer: F32, y: Int, x: Int) -> bool:
    """Whether blended faces are the surface of one of a block's pixels."""
    for k in range(4):
        entry = slot[2 * y + (k >> 1), 2 * x + (k & 1)]
        if entry >= 0 and layer[entry, CLEAR] <= np.float32(1.0 - SOLID):
            return True
    return False


@inlined
def one(
    depth: F32, face: I32, region: U8, normal: F32, flow: F32, winner: I32, plane: F32, slot: I32, layer: F32,
    hair: Int, gloss: U8, rotation: F32, near: Real, steps: Real, classes: U8, by: Int, bx: Int, lo: U8,
    out_flow: F32, z: F32, mask: U8, before: F32,
) -> None:  # fmt: skip
    """One block, whatever is in it."""
    half, unit, top, infinite = np.float32(0.5), np.float32(1.0), np.float32(255.0), np.float32(np.inf)
    solid = np.float32(1.0 - SOLID)
    far, ny, nx, nk = infinite, -1, -1, -1
    for k in range(4):
        y, x = 2 * by + (k >> 1), 2 * bx + (k & 1)
        entry = slot[y, x]
        if entry < 0 or layer[entry, CLEAR] > solid:
            if face[y, x] >= 0 and depth[y, x] < far:
                far, ny, nx, nk = depth[y, x], y, x, -1
        elif layer[entry, 14] < far * layer[entry, 13]:
            far, ny, nx, nk = layer[entry, 14] / layer[entry, 13], y, x, entry
    z[by, bx] = far
    if ny < 0:
        lo[0, by, bx] = lo[1, by, bx] = lo[2, by, bx] = 128
        lo[3, by, bx] = lo[4, by, bx] = lo[5, by, bx] = lo[6, by, bx] = mask[by, bx] = 0
        before[by, bx] = infinite
        return
    if nk >= 0:
        over = unit / layer[nk, 13]
        a, b, c = layer[nk, 7], layer[nk, 8], layer[nk, 9]
        length = unit / np.sqrt(a * a + b * b + c * c + np.float32(1e-20))
        a, b, c = a * length, b * length, c * length
        lo[5, by, bx] = np.uint8(np.rint(min(layer[nk, 4] * over, unit) * top))
        mask[by, bx] = hair
        out_flow[0, by, bx], out_flow[1, by, bx] = layer[nk, 10] * over, layer[nk, 11] * over
        before[by, bx] = layer[nk, 12] * over * far
    else:
        a, b, c = normal[0, ny, nx], normal[1, ny, nx], normal[2, ny, nx]
        lo[5, by, bx] = gloss[ny, nx]
        mask[by, bx] = classes[region[ny, nx]]
        out_flow[0, by, bx], out_flow[1, by, bx] = flow[0, ny, nx], flow[1, ny, nx]
        t = winner[ny, nx] & SLOT_MASK
        dx, dy = np.float32(nx) + half - plane[t, 0, 9], np.float32(ny) + half - plane[t, 0, 10]
        before[by, bx] = (plane[t, 0, 8] + dx * plane[t, 1, 8] + dy * plane[t, 2, 8]) * far
    for k in range(3):
        share = min(max(turned(a, b, c, rotation, k), np.float32(0)), top)
        lo[k, by, bx] = np.uint8(np.rint(share))
    lo[3, by, bx] = np.uint8(np.rint(min(max(-c, np.float32(0.0)), unit) * top))
    lo[4, by, bx] = np.uint8(np.rint(unit + min(max((far - near) * steps, np.float32(0)), np.float32(254))))
    lo[6, by, bx] = mask[by, bx]
