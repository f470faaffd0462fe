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


def even() -> F32:
    """The light (2,3,TERMS) that changes nothing."""
    light = np.zeros((2, 3, TERMS), np.float32)
    light[..., [0, 10, 11]] = 1.0
    return light


@fast
def turn(light: F32, rotation: F32, out: F32) -> None:
    """``light`` (K,3,TERMS) of normals in the world, as ``out`` of normals in view space (rotation (3,3) of it)."""
    half, two = np.float32(0.5), np.float32(2.0)
    a, b = np.empty((3, 3), np.float32), np.empty((3, 3), np.float32)
    for k in range(light.shape[0]):
        for c in range(3):
            row, to = light[k, c], out[k, c]
            to[0], to[10], to[11] = row[0], row[10], row[11]
            a[0, 0], a[1, 1], a[2, 2] = row[4], row[5], row[6]
            a[0, 1] = a[1, 0] = half * row[7]
            a[1, 2] = a[2, 1] = half * row[8]
            a[0, 2] = a[2, 0] = half * row[9]
            for i in range(3):
                to[1 + i] = rotation[i, 0] * row[1] + rotation[i, 1] * row[2] + rotation[i, 2] * row[3]
                for j in range(3):
                    b[i, j] = rotation[i, 0] * a[0, j] + rotation[i, 1] * a[1, j] + rotation[i, 2] * a[2, j]
            for i in range(3):
                for j in range(3):
                    a[i, j] = b[i, 0] * rotation[j, 0] + b[i, 1] * rotation[j, 1] + b[i, 2] * rotation[j, 2]
            to[4], to[5], to[6] = a[0, 0], a[1, 1], a[2, 2]
            to[7], to[8], to[9] = two * a[0, 1], two * a[1, 2], two * a[0, 2]


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
