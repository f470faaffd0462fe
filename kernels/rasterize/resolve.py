"""Visibility buffer to G-buffer on one CPU core (numba): who owns a pixel, and what it looks like there."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels import simd
from kernels.jit import F32, I32, U8, Int, Real, fast, inlined
from kernels.rasterize.cpu import ACROSS, BENT, DOWN, DX, DY, GROUP_SHIFT, ROW, SLOT_MASK

SMOOTH = np.float32(0.85)  # cosine between mean normals; a sharper bend is a crease, anti-aliased like an edge
NEAR_Z = 1e-3  # metres; closer than this to the previous eye, a point has no usable flow


class Buffer(NamedTuple):
    """The visibility buffer: nearness (H,W,S), 0 = background, and winner (H,W,S), -1 = background, else the
    triangle, BENT, and above GROUP_SHIFT the group of its face."""

    nearness: F32
    winner: I32


class Extras(NamedTuple):
    """Surfaces that share a pixel with the G-buffer's own: rows [0, count) are valid.

    pixel (N,) flat index, share (N,) of the pixel's samples, face (N,), depth (N,), normal (3,N), uv (2,N).
    """

    pixel: I32
    share: F32
    face: I32
    depth: F32
    normal: F32
    uv: F32


class GBuffer(NamedTuple):
    """What the camera sees, per pixel. Background: depth +inf, face -1, region 0, the rest 0.

    depth (H,W) view-space z, metres; face (H,W) i32; region (H,W) u8; normal (3,H,W) unit, view space;
    uv (2,H,W); flow (2,H,W) pixels: where this surface point was in the previous picture, minus where it is;
    coverage (H,W) part of the pixel that is covered at all; share (H,W) part held by this pixel's own surface.
    """

    depth: F32
    face: I32
    region: U8
    normal: F32
    uv: F32
    flow: F32
    coverage: F32
    share: F32
    extras: Extras


surface = simd.attributes(ROW, NEAR_Z)
together = simd.together(ROW, DOWN, ACROSS, GROUP_SHIFT, BENT)
# Mean place of the samples in a set, by its bits.
_CHOSEN = np.array([[bits >> s & 1 for s in range(4)] for bits in range(16)], np.float32)
MEAN_X = (_CHOSEN @ DX / np.maximum(_CHOSEN.sum(1), 1)).astype(np.float32)
MEAN_Y = (_CHOSEN @ DY / np.maximum(_CHOSEN.sum(1), 1)).astype(np.float32)


@fast
def resolve(buffer: Buffer, plane: F32, direction: F32, owner: I32, region: U8, tolerance: Real, drawn: I32,
            painted: I32, g: GBuffer) -> Int:  # fmt: skip
    """Visibility buffer to G-buffer. A pixel that sees several surfaces keeps the largest one in the G-buffer
    and lists the others as extras with the share of samples each holds. Returns the number of extras.

    Samples are one surface when their group is the same and each goes on where the plane of the first one's triangle
    does, within ``tolerance`` (a fraction of the depth) and without a crease. A surface is looked up at the centroid
    of its first triangle's samples, which lies inside that triangle: nothing is ever extrapolated. Only columns
    ``drawn`` (H,2) now, or ``painted`` before, are touched; ``painted`` becomes ``drawn``.
    """
    # Arrays taken out of their tuples here, once: inside the loop numba would count a reference for each look.
    depth, winner = buffer
    z, face, kind, normal, uv, flow, coverage, share, more = g
    height, width, samples = winner.shape
    extras = 0
    each, zero, half = np.float32(1.0 / samples), np.float32(0.0), np.float32(0.5)
    for y in range(height):
        begin, end = min(drawn[y, 0], painted[y, 0]), max(drawn[y, 1], painted[y, 1])
        painted[y, 0], painted[y, 1] = drawn[y, 0], drawn[y, 1]
        for x in range(begin, end):
            best = winner[y, x, 0]
            same = True
            for s in range(1, samples):
                same &= winner[y, x, s] == best
            if same and best < 0:
                z[y, x], face[y, x], kind[y, x] = np.inf, -1, 0
                normal[0, y, x] = normal[1, y, x] = normal[2, y, x] = zero
                uv[0, y, x] = uv[1, y, x] = flow[0, y, x] = flow[1, y, x] = zero
                coverage[y, x] = share[y, x] = zero
                continue
            best_count, covered = samples, samples
            best_x, best_y = np.float32(x) + half, np.float32(y) + half
            if not same:
                bits = 0
                if best >= 0:
                    bits = together(
                        depth, winner, samples * (y * width + x), plane, best, best & SLOT_MASK, np.float32(x),
                        np.float32(y), tolerance,
                    )  # fmt: skip
                joined = bits & 16 != 0
                if bits & 48 == 48:
                    for s in range(samples):
                        joined = joined and unbroken(best & SLOT_MASK, winner[y, x, s] & SLOT_MASK, direction)
                if joined:
                    best_x, best_y = np.float32(x) + MEAN_X[bits & 15], np.float32(y) + MEAN_Y[bits & 15]
                else:
                    best, best_count, covered, best_x, best_y, extras = divide(
                        depth, winner, y, x, tolerance, plane, direction, owner, more, extras
                    )
            slot = best & SLOT_MASK
            pz, n0, n1, n2, u, v, f0, f1 = surface(plane, slot, best_x, best_y)
            z[y, x], face[y, x], kind[y, x] = pz, owner[slot], region[owner[slot]]
            normal[0, y, x], normal[1, y, x], normal[2, y, x] = n0, n1, n2
            uv[0, y, x], uv[1, y, x] = u, v
            flow[0, y, x], flow[1, y, x] = f0, f1
            coverage[y, x], share[y, x] = covered * each, best_count * each
    return extras


@fast
def divide(depth: F32, winner: I32, y: Int, x: Int, tolerance: Real, plane: F32, direction: F32, owner: I32,
           more: Extras, extras: Int) -> tuple[Int, Int, Int, Real, Real, Int]:  # fmt: skip
    """The surfaces of a pixel that sees several: (largest, its samples, all samples, its place (2), extras so far)."""
    pixel, share, face, z, normal, uv = more
    width, samples = winner.shape[1], winner.shape[2]
    best, best_count, covered, taken = np.int32(-1), 0, 0, 0
    best_x = best_y = np.float32(0.0)
    for s in range(samples):
        t = winner[y, x, s]
        if t < 0 or taken >> s & 1:
            continue
        count, own, sx, sy = 0, 0, 0.0, 0.0
        for r in range(s, samples):
            other = winner[y, x, r]
            if other < 0 or taken >> r & 1 or (other ^ t) >> GROUP_SHIFT != 0:
                continue
            if other == t or continues(depth, winner, t, y, x, r, samples, tolerance, plane, direction):
                count += 1
                taken |= 1 << r
                if other == t:
                    own += 1
                    sx += across(r, samples)
                    sy += down(r, samples)
        covered += count
        spill, spill_count = t, count
        spill_x, spill_y = np.float32(x + sx / own), np.float32(y + sy / own)
        if count > best_count:
            spill, spill_count, best, best_count = best, best_count, t, count
            spill_x, spill_y, best_x, best_y = best_x, best_y, spill_x, spill_y
        if spill >= 0 and extras < pixel.shape[0]:
            slot = spill & SLOT_MASK
            ez, e0, e1, e2, eu, ev, _, _ = surface(plane, slot, spill_x, spill_y)
            pixel[extras], face[extras] = y * width + x, owner[slot]
            share[extras], z[extras] = np.float32(spill_count) / np.float32(samples), ez
            normal[0, extras], normal[1, extras], normal[2, extras] = e0, e1, e2
            uv[0, extras], uv[1, extras] = eu, ev
            extras += 1
    return best, best_count, covered, best_x, best_y, extras


@inlined
def continues(
    depth: F32,
    winner: I32,
    code: Int,
    y: Int,
    x: Int,
    s: Int,
    samples: Int,
    tolerance: Real,
    plane: F32,
    direction: F32,
) -> Any:
    """Whether sample ``s`` goes on with the plane of triangle ``code``, in depth and in direction."""
    t, other = code & SLOT_MASK, winner[y, x, s]
    dx = np.float32(x) + across(s, samples) - plane[t, 0, 9]
    dy = np.float32(y) + down(s, samples) - plane[t, 0, 10]
    q = depth[y, x, s]
    flat = abs(plane[t, 0, 0] + dx * plane[t, 1, 0] + dy * plane[t, 2, 0] - q) <= tolerance * q
    return flat and ((code | other) & BENT == 0 or unbroken(t, other & SLOT_MASK, direction))


@inlined
def unbroken(t: Int, other: Int, direction: F32) -> Any:
    """Whether two triangles meet without a crease."""
    bend = direction[t, 0] * direction[other, 0] + direction[t, 1] * direction[other, 1]
    return bend + direction[t, 2] * direction[other, 2] >= SMOOTH


@inlined
def across(s: Int, samples: Int) -> Real:
    """x of sample ``s`` within its pixel."""
    return DX[s] if samples == 4 else np.float32(0.5)


@inlined
def down(s: Int, samples: Int) -> Real:
    """y of sample ``s`` within its pixel."""
    return DY[s] if samples == 4 else np.float32(0.5)
