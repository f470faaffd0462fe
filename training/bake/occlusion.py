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
    directions: int = 72, size: int = 640,
) -> Array:  # fmt: skip
    """(n,) cosine-weighted share of the sphere of directions that ``points`` (n, 3) see, in [0, 1].

    Occluders are ``vertices``, ``faces`` within ``extent`` metres of ``centre``. Directions from below count
    half: a room is lit from above.
    """
    k = np.arange(directions) + 0.5
    height = 1 - 2 * k / directions
    turn = np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - height**2)
    total, weight = np.zeros(len(points)), np.zeros(len(points))
    lifted = points + normals * 0.0012
    for direction in np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], axis=1):
        helper = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
        right = np.cross(helper, direction)
        right /= np.linalg.norm(right)
        view = np.stack([right, np.cross(direction, right), direction])
        scale = size / (2 * extent)
        seen = (vertices - centre) @ view.T
        seen[:, :2] = (seen[:, :2] + extent) * scale
        depth = np.full((size, size), -1e9)
        _depth(seen, faces.astype(np.int64), depth)
        here = (lifted - centre) @ view.T
        facing = np.clip(normals @ direction, 0.0, None) * (1.0 if direction[1] > -0.2 else 0.5)
        total += facing * _visible(here, depth, extent, scale, SOFT)
        weight += facing
    return (total / np.maximum(weight, 1e-9)).astype(np.float32)


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
        for y in range(max(int(min(ay, by, cy)), 0), min(int(max(ay, by, cy)) + 1, size - 1) + 1):
            for x in range(max(int(min(ax, bx, cx)), 0), min(int(max(ax, bx, cx)) + 1, size - 1) + 1):
                v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                if v >= 0 and w >= 0 and v + w <= 1:
                    z = (1 - v - w) * vertices[i, 2] + v * vertices[j, 2] + w * vertices[k, 2]
                    if z > depth[y, x]:
                        depth[y, x] = z


@numba.njit(cache=True)
def _visible(points: Array, depth: Array, extent: float, scale: float, soft: float) -> Array:
    out = np.ones(points.shape[0])
    size = depth.shape[0]
    for n in range(points.shape[0]):
        px, py = (points[n, 0] + extent) * scale, (points[n, 1] + extent) * scale
        x, y = int(np.floor(px)), int(np.floor(py))
        if x < 0 or y < 0 or x >= size - 1 or y >= size - 1:
            continue
        total = 0.0
        for j in range(2):
            for i in range(2):
                w = (px - x if i else 1 - px + x) * (py - y if j else 1 - py + y)
                behind = depth[y + j, x + i] - points[n, 2]
                total += w * (1.0 - min(max((behind - 0.0012) / soft, 0.0), 1.0))
        out[n] = total
    return out
