"""Ambient occlusion of the resting body: how much of the sky each texel sees, from many depth pictures."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SOFT = 0.006  # metres over which an occluder fades in: hides the depth picture's resolution


def visibility(
    points: Array, normals: Array, vertices: Array, faces: Array, centre: Array, extent: float,
    directions: int = 44, size: int = 448,
) -> Array:  # fmt: skip
    """(n,) cosine-weighted share of the sphere of directions that ``points`` (n, 3) see, in [0, 1].

    Occluders are ``vertices``, ``faces`` within ``extent`` metres of ``centre``. Directions from below count
    half: a room is lit from above.
    """
    k = np.arange(directions) + 0.5
    height = 1 - 2 * k / directions
    turn = np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - height**2)
    total, weight = np.zeros(len(points), np.float32), np.zeros(len(points), np.float32)
    unit = np.ascontiguousarray(normals, np.float32)
    lifted = np.ascontiguousarray(points + normals * 0.0012 - centre, np.float32)
    around = np.abs(vertices - centre).max(1) < 1.5 * extent
    corners = np.ascontiguousarray(faces[around[faces].any(1)], np.int64)
    moved = (vertices - centre).astype(np.float32)
    depth = np.empty((size, size), np.float32)
    for direction in np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], axis=1):
        helper = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
        right = np.cross(helper, direction)
        right /= np.linalg.norm(right)
        view = np.stack([right, np.cross(direction, right), direction]).astype(np.float32)
        scale = size / (2 * extent)
        seen = moved @ view.T
        seen[:, :2] = (seen[:, :2] + extent) * scale
        depth.fill(-1e9)
        _depth(seen, corners, depth)
        share = 1.0 if direction[1] > -0.2 else 0.5
        _gather(lifted, unit, view, share, extent, scale, depth, total, weight)
    return np.asarray(total / np.maximum(weight, 1e-9), np.float32)


@numba.njit(cache=True)
def _depth(vertices: Array, faces: Array, depth: Array) -> None:
    size = depth.shape[0]
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by = vertices[i, 0], vertices[i, 1], vertices[j, 0], vertices[j, 1]
        cx, cy = vertices[k, 0], vertices[k, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        inverse = 1.0 / area
        step_v, step_w = (cy - ay) * inverse, -(by - ay) * inverse  # change of v and w from one column to the next
        za, zb, zc = vertices[i, 2], vertices[j, 2], vertices[k, 2]
        x0, x1 = max(int(min(ax, bx, cx)), 0), min(int(max(ax, bx, cx)) + 1, size - 1)
        for y in range(max(int(min(ay, by, cy)), 0), min(int(max(ay, by, cy)) + 1, size - 1) + 1):
            v = ((x0 - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
            w = ((bx - ax) * (y - ay) - (by - ay) * (x0 - ax)) * inverse
            for x in range(x0, x1 + 1):
                if v >= 0 and w >= 0 and v + w <= 1:
                    z = za + v * (zb - za) + w * (zc - za)
                    if z > depth[y, x]:
                        depth[y, x] = z
                v += step_v
                w += step_w


@numba.njit(cache=True)
def _gather(
    points: Array, normals: Array, view: Array, share: float, extent: float, scale: float, depth: Array,
    total: Array, weight: Array,
) -> None:  # fmt: skip
    """Adds what every point sees along one direction (row 2 of ``view``) to ``total``, and its share to ``weight``."""
    size = depth.shape[0]
    for n in range(points.shape[0]):
        facing = normals[n, 0] * view[2, 0] + normals[n, 1] * view[2, 1] + normals[n, 2] * view[2, 2]
        if facing <= 0.0:
            continue
        facing *= share
        weight[n] += facing
        px = (points[n, 0] * view[0, 0] + points[n, 1] * view[0, 1] + points[n, 2] * view[0, 2] + extent) * scale
        py = (points[n, 0] * view[1, 0] + points[n, 1] * view[1, 1] + points[n, 2] * view[1, 2] + extent) * scale
        pz = points[n, 0] * view[2, 0] + points[n, 1] * view[2, 1] + points[n, 2] * view[2, 2]
        x, y = int(np.floor(px)), int(np.floor(py))
        if x < 0 or y < 0 or x >= size - 1 or y >= size - 1:
            total[n] += facing
            continue
        seen = 0.0
        for j in range(2):
            for i in range(2):
                w = (px - x if i else 1 - px + x) * (py - y if j else 1 - py + y)
                behind = depth[y + j, x + i] - pz
                seen += w * (1.0 - min(max((behind - 0.0012) / SOFT, 0.0), 1.0))
        total[n] += facing * seen
