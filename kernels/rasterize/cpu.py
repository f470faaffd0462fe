"""Rasterizer on one CPU core (numba): project, cut at the near plane, prepare triangles for filling and lookup.

The visibility buffer (fill.py) holds, per sample, the nearest triangle and its nearness (1/z, linear in the picture).
Attributes are looked up once a pixel afterwards (resolve.py), so overdraw costs a comparison and not a fetch.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import numpy as np

from kernels.jit import F32, I32, Flags, Int, Real, exact, fast

SNAP = 256  # sub-pixel steps
RECORD = 12  # 1/z, then normal (3), uv (2), previous homogeneous position (3), each over z; padded
ROW = 12  # of an interpolation plane: those nine, the corner's position (2); padded
# A crossing of snapped edges that is not on a sample is farther from it than this, so the ceiling is exact.
EDGE_EPS = 1e-9
ROUND_UP = 1.0 - EDGE_EPS
# The rotated grid: near-vertical and near-horizontal edges both get four steps a pixel.
ACROSS, DOWN = (0.375, 0.875, 0.125, 0.625), (0.125, 0.375, 0.625, 0.875)
DX, DY = np.array(ACROSS, np.float32), np.array(DOWN, np.float32)
GROUP_SHIFT = 24
BENT = 1 << 23  # in a code: the triangle's corners point different ways, so a crease may run along it
SLOT_MASK = BENT - 1
EVEN = 0.99  # cosine: corner normals this close to their mean cannot make a crease with another such triangle
FAR_PIXELS = 2.0e6


@fast
def project(
    vertices: F32,
    normals: F32,
    uv: F32,
    rotation: F32,
    translation: F32,
    focal: Real,
    cx: Real,
    cy: Real,
    near: Real,
    previous: F32,
    place: F32,
    xy: I32,
    record: F32,
) -> None:
    """Vertices to the picture. Writes ``place`` (V,3) = (x z, y z, z), ``xy`` (V,2) snapped, ``record`` (V,12)."""
    for i in range(vertices.shape[0]):
        a, b, c = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x = rotation[0, 0] * a + rotation[0, 1] * b + rotation[0, 2] * c + translation[0]
        y = rotation[1, 0] * a + rotation[1, 1] * b + rotation[1, 2] * c + translation[1]
        z = rotation[2, 0] * a + rotation[2, 1] * b + rotation[2, 2] * c + translation[2]
        px, py = focal * x + cx * z, focal * y + cy * z
        place[i, 0], place[i, 1], place[i, 2] = px, py, z
        a, b, c = normals[i, 0], normals[i, 1], normals[i, 2]
        q = np.float32(1.0) / max(z, near)
        record[i, 0] = q
        record[i, 1] = (rotation[0, 0] * a + rotation[0, 1] * b + rotation[0, 2] * c) * q
        record[i, 2] = (rotation[1, 0] * a + rotation[1, 1] * b + rotation[1, 2] * c) * q
        record[i, 3] = (rotation[2, 0] * a + rotation[2, 1] * b + rotation[2, 2] * c) * q
        record[i, 4] = uv[i, 0] * q
        record[i, 5] = uv[i, 1] * q
        record[i, 6] = previous[i, 0] * q
        record[i, 7] = previous[i, 1] * q
        record[i, 8] = previous[i, 2] * q
        xy[i, 0] = np.int32(np.rint(min(max(px * q, -FAR_PIXELS), FAR_PIXELS) * SNAP))
        xy[i, 1] = np.int32(np.rint(min(max(py * q, -FAR_PIXELS), FAR_PIXELS) * SNAP))


@exact
def cut_vertex(a: Int, b: Int, near: Real, place: F32, xy: I32, record: F32, new: Int) -> None:
    """Appends, as vertex ``new``, the point of the edge from ``a`` (in front) to ``b`` (behind) at ``near``."""
    t = (place[a, 2] - near) / (place[a, 2] - place[b, 2])
    qa, qb, q = record[a, 0], record[b, 0], np.float32(1.0) / near
    for k in range(2):
        place[new, k] = place[a, k] + t * (place[b, k] - place[a, k])
        xy[new, k] = np.int32(np.rint(min(max(place[new, k] * q, -FAR_PIXELS), FAR_PIXELS) * SNAP))
    place[new, 2] = near
    record[new, 0] = q
    for k in range(1, 9):
        record[new, k] = (record[a, k] / qa + t * (record[b, k] / qb - record[a, k] / qa)) * q


@exact
def area2(xy: I32, a: Int, b: Int, c: Int) -> Int:
    """Twice the signed area in square sub-pixels; negative when the corners run counter-clockwise to the eye."""
    x0, y0 = np.int64(xy[a, 0]), np.int64(xy[a, 1])
    return (xy[b, 0] - x0) * (xy[c, 1] - y0) - (xy[c, 0] - x0) * (xy[b, 1] - y0)


@exact
def keep(
    a: Int,
    b: Int,
    c: Int,
    face: Int,
    both_sides: Int,
    width: Int,
    height: Int,
    xy: I32,
    triangle: I32,
    owner: I32,
    count: Int,
) -> Int:
    """Stores a triangle unless it is flat, turned away or outside the picture; returns the new count."""
    area = area2(xy, a, b, c)
    if area == 0 or (area > 0 and not both_sides):
        return count
    x0, x1, x2 = xy[a, 0], xy[b, 0], xy[c, 0]
    y0, y1, y2 = xy[a, 1], xy[b, 1], xy[c, 1]
    if max(x0, x1, x2) <= 0 or max(y0, y1, y2) <= 0:
        return count
    if min(x0, x1, x2) >= width * SNAP or min(y0, y1, y2) >= height * SNAP:
        return count
    triangle[count, 0], triangle[count, 1], triangle[count, 2] = a, b, c
    owner[count] = face
    return count + 1


@exact
def setup(
    faces: I32,
    chosen: I32,
    both_sides: Int,
    near: Real,
    width: Int,
    height: Int,
    spare: Int,
    place: F32,
    xy: I32,
    record: F32,
    triangle: I32,
    owner: I32,
) -> tuple[Int, Int]:
    """Triangles to draw, from the ``chosen`` faces: culled, and cut where they reach behind the near plane.

    ``spare`` is the first free vertex row. Returns (triangles, first free vertex row after the cuts).
    """
    count = 0
    for n in range(chosen.shape[0]):
        f = chosen[n]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ia, ib, ic = place[a, 2] > near, place[b, 2] > near, place[c, 2] > near
        inside = np.int64(ia) + np.int64(ib) + np.int64(ic)
        if inside == 3:
            count = keep(a, b, c, f, both_sides, width, height, xy, triangle, owner, count)
        elif inside > 0:
            lone = inside == 1  # turn the corners so that the one alone on its side comes first
            if ib == lone:
                a, b, c = b, c, a
            elif ic == lone:
                a, b, c = c, a, b
            p, q = spare, spare + 1
            spare += 2
            if inside == 1:
                cut_vertex(a, b, near, place, xy, record, p)
                cut_vertex(a, c, near, place, xy, record, q)
                count = keep(a, p, q, f, both_sides, width, height, xy, triangle, owner, count)
            else:
                cut_vertex(b, a, near, place, xy, record, p)
                cut_vertex(c, a, near, place, xy, record, q)
                count = keep(p, b, c, f, both_sides, width, height, xy, triangle, owner, count)
                count = keep(p, c, q, f, both_sides, width, height, xy, triangle, owner, count)
    return count, spare


@exact
def planes(
    triangle: I32, owner: I32, count: Int, xy: I32, record: F32, slots: Int, uv_area: F32, plane: F32, detail: F32
) -> None:
    """Attributes as planes over the picture: ``plane`` (T,3,12) = value at corner 0, d/dx, d/dy.

    Columns 0..8 are those of ``record``, 9 and 10 of the first row the corner's position in pixels. A quantity over z
    is linear in the picture, so this is perspective-correct interpolation once divided by column 0. Only the first
    ``slots`` are written. ``detail`` (F,) gets log2 of the uv length one pixel spans, for the faces drawn.
    """
    unit = 1.0 / SNAP
    for t in range(count):
        a, b, c = triangle[t, 0], triangle[t, 1], triangle[t, 2]
        x0, y0 = xy[a, 0] * unit, xy[a, 1] * unit
        x1, y1 = (xy[b, 0] - xy[a, 0]) * unit, (xy[b, 1] - xy[a, 1]) * unit
        x2, y2 = (xy[c, 0] - xy[a, 0]) * unit, (xy[c, 1] - xy[a, 1]) * unit
        over = 1.0 / (x1 * y2 - x2 * y1)
        bx, by, cx, cy = y2 * over, -x2 * over, -y1 * over, x1 * over
        for k in range(slots):
            va = record[a, k]
            vb, vc = np.float64(record[b, k] - va), np.float64(record[c, k] - va)
            plane[t, 0, k] = va
            plane[t, 1, k] = vb * bx + vc * cx
            plane[t, 2, k] = vb * by + vc * cy
        plane[t, 0, 9], plane[t, 0, 10] = x0, y0
        detail[owner[t]] = 0.5 * np.log2((uv_area[owner[t]] + 1e-12) * abs(over))


@exact
def lean(triangle: I32, count: Int, record: F32, direction: F32) -> None:
    """``direction`` (T,4): a triangle's mean normal, and 1 where the corners' normals differ from it, else 0."""
    for t in range(count):
        a, b, c = triangle[t, 0], triangle[t, 1], triangle[t, 2]
        n0 = record[a, 1] + record[b, 1] + record[c, 1]
        n1 = record[a, 2] + record[b, 2] + record[c, 2]
        n2 = record[a, 3] + record[b, 3] + record[c, 3]
        length = np.sqrt(n0 * n0 + n1 * n1 + n2 * n2 + np.float32(1e-20))
        direction[t, 0], direction[t, 1], direction[t, 2] = n0 / length, n1 / length, n2 / length
        direction[t, 3] = 0.0
        for i in (a, b, c):
            if record[i, 1] * n0 + record[i, 2] * n1 + record[i, 3] * n2 < EVEN * length * record[i, 0]:
                direction[t, 3] = 1.0


@exact
def facing(triangle: I32, count: Int, place: F32, record: F32, focal: Real, cx: Real, cy: Real, fade: F32) -> None:
    """How much of each see-through triangle is seen: 0 edge-on or on the far side of its volume, 1 otherwise.

    Edge-on cards would show as wires along the outline. The far side, by the shading normal, is what the opaque
    part hides; it fades instead of being cut, so that nothing pops when the head turns.
    """
    for t in range(count):
        a, b, c = triangle[t, 0], triangle[t, 1], triangle[t, 2]
        x0, y0, z0 = place[a, 0] - cx * place[a, 2], place[a, 1] - cy * place[a, 2], place[a, 2] * focal
        x1, y1, z1 = place[b, 0] - cx * place[b, 2] - x0, place[b, 1] - cy * place[b, 2] - y0, place[b, 2] * focal - z0
        x2, y2, z2 = place[c, 0] - cx * place[c, 2] - x0, place[c, 1] - cy * place[c, 2] - y0, place[c, 2] * focal - z0
        nx, ny, nz = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        length = np.sqrt((nx * nx + ny * ny + nz * nz) * (x0 * x0 + y0 * y0 + z0 * z0))
        ratio = abs(nx * x0 + ny * y0 + nz * z0) / max(length, 1e-20)
        sx, sy = record[a, 1] + record[b, 1] + record[c, 1], record[a, 2] + record[b, 2] + record[c, 2]
        sz = record[a, 3] + record[b, 3] + record[c, 3]
        length = np.sqrt((sx * sx + sy * sy + sz * sz) * (x0 * x0 + y0 * y0 + z0 * z0))
        away = (sx * x0 + sy * y0 + sz * z0) / max(length, 1e-20)
        edge = min(max((ratio - 0.05) * 4.0, 0.0), 1.0)
        near = min(max((0.55 - away) * 4.0, 0.0), 1.0)
        fade[t] = edge * edge * (3.0 - 2.0 * edge) * near


@exact
def tangents(
    triangle: I32,
    owner: I32,
    count: Int,
    wanted: Flags,
    place: F32,
    uv: F32,
    focal: Real,
    cx: Real,
    cy: Real,
    tangent: F32,
) -> None:
    """Unit view-space direction in which v grows, ``tangent`` (F,3), for the drawn faces that are ``wanted`` (F,)."""
    for t in range(count):
        f = owner[t]
        if not wanted[f]:
            continue
        a, b, c = triangle[t, 0], triangle[t, 1], triangle[t, 2]
        if max(a, b, c) >= uv.shape[0]:
            tangent[f, 0], tangent[f, 1], tangent[f, 2] = 0.0, 1.0, 0.0  # cut by the near plane: no uv of its own
            continue
        u1, u2 = uv[b, 0] - uv[a, 0], uv[c, 0] - uv[a, 0]
        z1, z2 = place[b, 2] - place[a, 2], place[c, 2] - place[a, 2]
        x1, x2 = (place[b, 0] - place[a, 0] - cx * z1) / focal, (place[c, 0] - place[a, 0] - cx * z2) / focal
        y1, y2 = (place[b, 1] - place[a, 1] - cy * z1) / focal, (place[c, 1] - place[a, 1] - cy * z2) / focal
        v1, v2 = uv[b, 1] - uv[a, 1], uv[c, 1] - uv[a, 1]
        sign = 1.0 if u1 * v2 - u2 * v1 > 0.0 else -1.0
        x, y, z = sign * (u1 * x2 - u2 * x1), sign * (u1 * y2 - u2 * y1), sign * (u1 * z2 - u2 * z1)
        over = 1.0 / max(np.sqrt(x * x + y * y + z * z), 1e-20)
        tangent[f, 0], tangent[f, 1], tangent[f, 2] = x * over, y * over, z * over
