"""Photographs to the texture atlas: which surface lies under each texel, and what the photographs show of it.

Loops over pixels and texels (numba); who calls them and why is engine/render/reference.py. Light is linear here.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from engine.render import material
from kernels.jit import F32, I32, U8, Flags, Real, fast
from kernels.rasterize import Mesh

NEAR_Z: Final = np.float32(0.05)  # metres


class Chart(NamedTuple):
    """What lies under each texel (N,N) of an atlas: face, -1 for none; the weights of its first two corners; and how
    many faces share it (255: or more)."""

    face: I32
    bary: F32
    count: U8


class View(NamedTuple):
    """One photograph, prepared. light (H,W,3) linear; base (H,W,3): what is seen there, in even light; trust (H,W):
    0 where the photograph shows something else than the mesh, 1 well inside; nearest (H,W): depth of the nearest
    surface around, metres; camera as kernels.rasterize.Camera; eye (3,): its place in the world."""

    light: F32
    base: F32
    trust: F32
    nearest: F32
    rotation: F32
    translation: F32
    lens: F32
    eye: F32


def chart(mesh: Mesh, side: int) -> Chart:
    """The faces of ``mesh`` over its atlas, rasterized at ``side`` texels. Texels without a face have -1."""
    face = material.unfolded(mesh, side)
    bary = np.zeros((side, side, 2), np.float32)
    _corners(face, mesh.faces, mesh.uv, bary)
    count = np.zeros((side, side), np.uint8)
    _count(mesh.faces, mesh.uv, count)
    return Chart(face, bary, count)


@fast
def _corners(face: I32, faces: I32, uv: F32, bary: F32) -> None:
    """Weights of the first two corners of each texel's face, kept inside the face."""
    side, zero, one = np.float32(face.shape[0]), np.float32(0.0), np.float32(1.0)
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            if face[y, x] < 0:
                continue
            i, j, k = faces[face[y, x], 0], faces[face[y, x], 1], faces[face[y, x], 2]
            ax, ay = uv[i, 0] - uv[k, 0], uv[i, 1] - uv[k, 1]
            bx, by = uv[j, 0] - uv[k, 0], uv[j, 1] - uv[k, 1]
            area = ax * by - ay * bx
            if abs(area) < np.float32(1e-12):
                continue
            px = (np.float32(x) + np.float32(0.5)) / side - uv[k, 0]
            py = (np.float32(y) + np.float32(0.5)) / side - uv[k, 1]
            u, v = (px * by - py * bx) / area, (ax * py - ay * px) / area
            u, v = max(u, zero), max(v, zero)
            over = one / max(u + v, one)
            bary[y, x, 0], bary[y, x, 1] = u * over, v * over


@fast
def _count(faces: I32, uv: F32, count: U8) -> None:
    """Adds 1 to each texel (N,N) for every face that its centre lies inside of."""
    side = count.shape[0]
    half, zero = np.float32(0.5), np.float32(0.0)
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay = uv[i, 0] * side - half, uv[i, 1] * side - half
        bx, by = uv[j, 0] * side - half, uv[j, 1] * side - half
        cx, cy = uv[k, 0] * side - half, uv[k, 1] * side - half
        turn = np.float32(1.0) if (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) > zero else np.float32(-1.0)
        x0, x1 = max(np.int64(min(ax, bx, cx)), 0), min(np.int64(max(ax, bx, cx)) + 1, side - 1)
        y0, y1 = max(np.int64(min(ay, by, cy)), 0), min(np.int64(max(ay, by, cy)) + 1, side - 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = np.float32(x), np.float32(y)
                u = turn * ((cx - bx) * (py - by) - (cy - by) * (px - bx))
                v = turn * ((ax - cx) * (py - cy) - (ay - cy) * (px - cx))
                w = turn * ((bx - ax) * (py - ay) - (by - ay) * (px - ax))
                if min(u, v, w) > zero and count[y, x] < 255:
                    count[y, x] += 1


@fast
def surface(face: I32, bary: F32, faces: I32, wanted: Flags, values: F32, out: F32) -> None:
    """``values`` (V,3) of the mesh under each ``wanted`` (N,N) texel, (N,N,3); 0 elsewhere."""
    one = np.float32(1.0)
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            f = face[y, x]
            if not wanted[y, x]:
                for c in range(3):
                    out[y, x, c] = np.float32(0.0)
                continue
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            u, v = bary[y, x, 0], bary[y, x, 1]
            w = one - u - v
            for c in range(3):
                out[y, x, c] = u * values[i, c] + v * values[j, c] + w * values[k, c]


@fast
def collect(place: F32, normal: F32, base: F32, ratio: F32, view: View, slack: Real, total: F32, weight: F32) -> None:
    """Adds what one photograph shows of each texel to ``total`` (N,N,3) and ``weight`` (N,N).

    place, normal (N,N,3) of the texels in the world, normal 0 where there are none; base (N,N,3) their own colour in
    even light, ratio (N,N,3) the light they are in: detail finer than the photograph's pixels is the texel's own.
    A texel counts by its facing squared, by ``trust``, and while nothing is nearer by ``slack`` metres.
    """
    light, seen, trust, nearest, rotation, translation, lens, eye = view
    height, width = trust.shape
    zero, half, one, tiny = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(1e-12)
    for y in range(place.shape[0]):
        for x in range(place.shape[1]):
            nx, ny, nz = normal[y, x, 0], normal[y, x, 1], normal[y, x, 2]
            square = nx * nx + ny * ny + nz * nz
            if square == zero:
                continue
            px, py, pz = place[y, x, 0], place[y, x, 1], place[y, x, 2]
            ex, ey, ez = eye[0] - px, eye[1] - py, eye[2] - pz
            facing = nx * ex + ny * ey + nz * ez
            if facing <= zero:
                continue
            z = rotation[2, 0] * px + rotation[2, 1] * py + rotation[2, 2] * pz + translation[2]
            if z < NEAR_Z:
                continue
            sx = rotation[0, 0] * px + rotation[0, 1] * py + rotation[0, 2] * pz + translation[0]
            sy = rotation[1, 0] * px + rotation[1, 1] * py + rotation[1, 2] * pz + translation[1]
            sx, sy = lens[0] * sx / z + lens[1] - half, lens[0] * sy / z + lens[2] - half
            if not (zero <= sx < np.float32(width - 1) and zero <= sy < np.float32(height - 1)):
                continue
            ix, iy = np.int64(sx), np.int64(sy)
            fx, fy = sx - np.float32(ix), sy - np.float32(iy)
            w00, w10, w01, w11 = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
            sure = w00 * trust[iy, ix] + w10 * trust[iy, ix + 1] + w01 * trust[iy + 1, ix]
            sure += w11 * trust[iy + 1, ix + 1]
            if sure <= zero:
                continue
            behind = z - nearest[np.int64(sy + half), np.int64(sx + half)]
            sure *= min(max(np.float32(2.0) - behind / slack, zero), one)
            facing = facing * facing / max(square * (ex * ex + ey * ey + ez * ez), tiny)
            w = sure * facing
            if w <= zero:
                continue
            weight[y, x] += w
            for c in range(3):
                shown = w00 * light[iy, ix, c] + w10 * light[iy, ix + 1, c] + w01 * light[iy + 1, ix, c]
                shown += w11 * light[iy + 1, ix + 1, c]
                coarse = w00 * seen[iy, ix, c] + w10 * seen[iy, ix + 1, c] + w01 * seen[iy + 1, ix, c]
                coarse += w11 * seen[iy + 1, ix + 1, c]
                total[y, x, c] += w * max(shown + ratio[y, x, c] * (base[y, x, c] - coarse), zero)


@fast
def pull(finer: F32, coarser: F32) -> None:
    """Half the resolution: finer (2N,2N,4) holds values (3) times weight, and weight, which saturates at 1."""
    one, quarter = np.float32(1.0), np.float32(0.25)
    for y in range(coarser.shape[0]):
        for x in range(coarser.shape[1]):
            for c in range(4):
                low = finer[2 * y, 2 * x, c] + finer[2 * y, 2 * x + 1, c]
                coarser[y, x, c] = quarter * (low + finer[2 * y + 1, 2 * x, c] + finer[2 * y + 1, 2 * x + 1, c])
            grown = min(np.float32(4.0) * coarser[y, x, 3], one)
            scale = grown / max(coarser[y, x, 3], np.float32(1e-9))
            for c in range(4):
                coarser[y, x, c] *= scale


@fast
def push(coarser: F32, finer: F32) -> None:
    """Fills what is missing in ``finer`` from ``coarser`` (values, weight 1 everywhere), bilinearly, in place."""
    last, half, zero, one = coarser.shape[0] - 1, np.float32(0.5), np.float32(0.0), np.float32(1.0)
    for y in range(finer.shape[0]):
        v = min(max(np.float32(y) * half - np.float32(0.25), zero), np.float32(last))
        j, fy = np.int64(v), v - np.float32(np.int64(v))
        j1 = min(j + 1, last)
        for x in range(finer.shape[1]):
            missing = one - finer[y, x, 3]
            if missing <= zero:
                continue
            u = min(max(np.float32(x) * half - np.float32(0.25), zero), np.float32(last))
            i, fx = np.int64(u), u - np.float32(np.int64(u))
            i1 = min(i + 1, last)
            for c in range(3):
                upper = coarser[j, i, c] + fx * (coarser[j, i1, c] - coarser[j, i, c])
                lower = coarser[j1, i, c] + fx * (coarser[j1, i1, c] - coarser[j1, i, c])
                finer[y, x, c] += missing * (upper + fy * (lower - upper))
            finer[y, x, 3] = one
