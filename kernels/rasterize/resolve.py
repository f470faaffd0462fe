"""Visibility buffer to G-buffer on one CPU core (numba): who owns a pixel, and what it looks like there."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.jit import F32, F64, I32, U8, Int, Real, fast, inlined

NEAR_Z = 1e-3  # metres; closer than this to the previous eye, a point has no usable flow


class Buffer(NamedTuple):
    """The visibility buffer: nearness (S*H,W), 0 = background, and winner (S*H,W), -1 = background."""

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


@inlined
def surface(t: Int, x: Real, y: Real, plane: F32) -> tuple[Real, ...]:
    """Surface point of triangle ``t`` at picture point (x, y) inside it: z, unit normal (3), uv (2), flow (2)."""
    dx, dy = x - plane[t, 0, 9], y - plane[t, 0, 10]
    q = plane[t, 0, 0] + dx * plane[t, 1, 0] + dy * plane[t, 2, 0]
    nx = plane[t, 0, 1] + dx * plane[t, 1, 1] + dy * plane[t, 2, 1]
    ny = plane[t, 0, 2] + dx * plane[t, 1, 2] + dy * plane[t, 2, 2]
    nz = plane[t, 0, 3] + dx * plane[t, 1, 3] + dy * plane[t, 2, 3]
    u = plane[t, 0, 4] + dx * plane[t, 1, 4] + dy * plane[t, 2, 4]
    v = plane[t, 0, 5] + dx * plane[t, 1, 5] + dy * plane[t, 2, 5]
    px = plane[t, 0, 6] + dx * plane[t, 1, 6] + dy * plane[t, 2, 6]
    py = plane[t, 0, 7] + dx * plane[t, 1, 7] + dy * plane[t, 2, 7]
    pz = plane[t, 0, 8] + dx * plane[t, 1, 8] + dy * plane[t, 2, 8]
    z = np.float32(1.0) / q
    over = np.float32(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-20))
    # A point that was behind the eye has no place in the previous picture: its flow is zero.
    back = np.float32(1.0) / pz if pz * z > NEAR_Z else np.float32(0.0)
    seen = np.float32(1.0) if pz * z > NEAR_Z else np.float32(0.0)
    return z, nx * over, ny * over, nz * over, u * z, v * z, px * back - x * seen, py * back - y * seen


@fast
def resolve(
    buffer: Buffer, offsets: F64, plane: F32, owner: I32, region: U8, group: U8, tolerance: Real, g: GBuffer
) -> Int:
    """Visibility buffer to G-buffer. A pixel that sees several surfaces keeps the largest one in the G-buffer
    and lists the others as extras with the share of samples each holds. Returns the number of extras.

    Samples are one surface when their ``group`` (F,) is the same and their depths are within ``tolerance``
    (a fraction of the depth). A surface is looked up at the centroid of its first triangle's samples, which lies
    inside that triangle: nothing is ever extrapolated.
    """
    # Arrays taken out of their tuples here, once: inside the loop numba would count a reference for each look.
    depth, winner = buffer
    z, face, kind, normal, uv, flow, coverage, share, more = g
    extra_pixel, extra_share, extra_face, extra_z, extra_normal, extra_uv = more
    height, width = z.shape
    samples = offsets.shape[0]
    extras = 0
    each, zero, half = np.float32(1.0 / samples), np.float32(0.0), np.float32(0.5)
    for y in range(height):
        top = y * samples
        for x in range(width):
            best, q = winner[top, x], depth[top, x]
            same, joined, own = True, best >= 0, 1
            sx, sy = offsets[0], 0.5
            for s in range(1, samples):
                t = winner[top + s, x]
                if t == best:
                    own += 1
                    sx += offsets[s]
                    sy += s + 0.5
                else:
                    same = False
                    joined = joined and t >= 0 and group[owner[t]] == group[owner[best]]
                    joined = joined and abs(depth[top + s, x] - q) <= tolerance * q
            if same and best < 0:
                if face[y, x] == -1:
                    continue  # was background already: all of it is written
                z[y, x], face[y, x], kind[y, x] = np.inf, -1, 0
                normal[0, y, x] = normal[1, y, x] = normal[2, y, x] = zero
                uv[0, y, x] = uv[1, y, x] = flow[0, y, x] = flow[1, y, x] = zero
                coverage[y, x] = share[y, x] = zero
                continue
            best_count, covered = samples, samples
            best_x, best_y = np.float32(x) + half, np.float32(y) + half
            if joined and not same:
                best_x, best_y = np.float32(x + sx / own), np.float32(y + sy / own * each)
            elif not same:
                best, best_count, covered, taken = -1, 0, 0, 0
                for s in range(samples):
                    t = winner[top + s, x]
                    if t < 0 or taken >> s & 1:
                        continue
                    kin, q, count, own = group[owner[t]], depth[top + s, x], 0, 0
                    sx, sy = 0.0, 0.0
                    for r in range(s, samples):
                        other = winner[top + r, x]
                        if other < 0 or taken >> r & 1 or group[owner[other]] != kin:
                            continue
                        if r == s or abs(depth[top + r, x] - q) <= tolerance * q:
                            count += 1
                            taken |= 1 << r
                            if other == t:
                                own += 1
                                sx += x + offsets[r]
                                sy += y + (r + 0.5) * each
                    covered += count
                    spill, spill_count = t, count
                    spill_x, spill_y = np.float32(sx / own), np.float32(sy / own)
                    if count > best_count:
                        spill, spill_count, best, best_count = best, best_count, t, count
                        spill_x, spill_y, best_x, best_y = best_x, best_y, spill_x, spill_y
                    if spill >= 0 and extras < extra_pixel.shape[0]:
                        ez, e0, e1, e2, eu, ev, _, _ = surface(spill, spill_x, spill_y, plane)
                        extra_pixel[extras], extra_face[extras] = y * width + x, owner[spill]
                        extra_share[extras], extra_z[extras] = spill_count * each, ez
                        extra_normal[0, extras], extra_normal[1, extras], extra_normal[2, extras] = e0, e1, e2
                        extra_uv[0, extras], extra_uv[1, extras] = eu, ev
                        extras += 1
            pz, n0, n1, n2, u, v, f0, f1 = surface(best, best_x, best_y, plane)
            z[y, x], face[y, x], kind[y, x] = pz, owner[best], region[owner[best]]
            normal[0, y, x], normal[1, y, x], normal[2, y, x] = n0, n1, n2
            uv[0, y, x], uv[1, y, x] = u, v
            flow[0, y, x], flow[1, y, x] = f0, f1
            coverage[y, x], share[y, x] = covered * each, best_count * each
    return extras
