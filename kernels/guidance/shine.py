"""The light on the opaque surface, on one CPU core (numba): sixteen pixels at a time.

Light depends on the normal alone, as a polynomial of second degree (Ramamoorthi & Hanrahan 2001, equations 11 and 12),
of what is multiplied with sRGB bytes. A texture holds a surface without it; one that turns is lit anew each frame.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels.jit import F32, I32, U8, Int, Real, fast, inlined
from kernels.vector import any_of, cast, fused, gather, least, load, most, nearest, select, splat, store

STEP: Final = 16
TERMS: Final = 12  # of one channel: 1, x, y, z, x x, y y, z z, x y, y z, x z; the least and the most that it may be
PLACES: Final = ((4, 7, 9), (7, 5, 8), (9, 8, 6))  # of the squares and products, as a symmetric matrix


def even() -> F32:
    """The light (2,3,TERMS) that changes nothing."""
    light = np.zeros((2, 3, TERMS), np.float32)
    light[..., [0, 10, 11]] = 1.0
    return light


@fast
def turn(light: F32, rotation: F32, out: F32) -> None:
    """``light`` (K,3,TERMS) of normals in the world, as ``out`` of normals in view space (rotation (3,3) of it)."""
    half, one = np.float32(0.5), np.float32(1.0)
    for k in range(light.shape[0]):
        for c in range(3):
            row, to = light[k, c], out[k, c]
            to[0], to[10], to[11] = row[0], row[10], row[11]
            for i in range(3):
                to[1 + i] = rotation[i, 0] * row[1] + rotation[i, 1] * row[2] + rotation[i, 2] * row[3]
                for j in range(i, 3):
                    total = np.float32(0.0)
                    for m in range(3):
                        for n in range(3):
                            share = one if m == n else half  # a mixed term stands in two places of the matrix
                            total += share * rotation[i, m] * row[PLACES[m][n]] * rotation[j, n]
                    to[PLACES[i][j]] = total if i == j else total + total


@fast
def lighten(face: I32, region: U8, normal: F32, kinds: U8, light: F32, span: I32, hi: U8) -> None:
    """Multiplies the first three planes of ``hi`` (6,H,W) with ``light`` (2,3,TERMS), of normals in view space:
    ``kinds`` (256,) says which of the two is on a region, 1 or 2; 0: none."""
    height, width = face.shape
    for y in range(height):
        begin, end = span[y, 0] // STEP * STEP, span[y, 1]
        whole = begin
        while whole < end and whole + STEP <= width:
            sixteen(face, region, normal, kinds, light, y * width + whole, hi)
            whole += STEP
        for x in range(whole, end):
            kind = kinds[region[y, x]] if face[y, x] >= 0 else np.uint8(0)
            if kind:
                for c in range(3):
                    p = one(light[kind - 1, c], normal[0, y, x], normal[1, y, x], normal[2, y, x])
                    value = min(np.float32(hi[c, y, x]) * p, np.float32(255.0))
                    hi[c, y, x] = np.uint8(np.rint(value))


@inlined
def of(row: F32, x: Any, y: Any, z: Any) -> Any:
    """One channel's light on normals (x, y, z)."""
    along = fused(x, row[4], fused(y, row[7], fused(z, row[9], row[1])))
    across = fused(y, row[5], fused(z, row[8], row[2]))
    total = fused(x, along, fused(y, across, fused(z, fused(z, row[6], row[3]), row[0])))
    return least(most(total, row[10]), row[11])


@inlined
def one(row: F32, x: Real, y: Real, z: Real) -> Real:
    """The same on one normal."""
    along = x * row[4] + (y * row[7] + (z * row[9] + row[1]))
    across = y * row[5] + (z * row[8] + row[2])
    total = x * along + (y * across + (z * (z * row[6] + row[3]) + row[0]))
    return min(max(total, row[10]), row[11])


@inlined
def sixteen(face: I32, region: U8, normal: F32, kinds: U8, light: F32, at: Int, hi: U8) -> None:
    """Pixels ``at`` .. ``at`` + STEP of a row."""
    plane = face.size
    on = load(face, at, 16) >= np.int32(0)
    if not any_of(on):
        return
    kind = gather(kinds, cast(load(region, at, 16), np.int32))
    kind = select(on, kind, splat(np.uint8(0), 16))
    lit, second = kind > np.uint8(0), kind > np.uint8(1)
    if not any_of(lit):
        return
    some, other = any_of(kind == np.uint8(1)), any_of(second)  # hardly ever both
    x, y, z = load(normal, at, 16), load(normal, plane + at, 16), load(normal, 2 * plane + at, 16)
    for c in range(3):
        p = of(light[0 if some else 1, c], x, y, z)
        if some and other:
            p = select(second, of(light[1, c], x, y, z), p)
        old = load(hi, c * plane + at, 16)
        value = least(cast(cast(old, np.int32), np.float32) * p, np.float32(255.0))
        store(hi, c * plane + at, select(lit, cast(cast(nearest(value), np.int32), np.uint8), old))
