"""What hair may not enter: the signed distance to a person's skin and clothes, on a coarse grid."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from training.bake import mesh, prior
from training.bake.head import islands
from training.bake.mesh import Part
from training.bake.prior import Person

Array = NDArray[Any]
CELL: Final = 0.009  # metres; the skull's curvature makes an error of a tenth of a millimetre
LOW: Final = np.array([-0.28, -0.58, -0.27])
SHAPE: Final = (63, 85, 50)
REACH: Final = 0.06  # metres; farther away only the side matters
NEAR: Final = 0.018  # metres within which the tangent plane is closer to the truth than the nearest point
CLOTH_DEEP: Final = 0.022  # metres behind a garment's outside that still count as inside it


class Field:
    """Signed distance, metres, positive outside; trilinear between nodes of a grid."""

    def __init__(self, person: Person, cover: list[Part]) -> None:
        faces = prior.template()[2]["body"].faces[_outside()]
        skin = _signed(person.rest.astype(float), faces)
        if cover:
            cloth = np.minimum.reduce([_signed(part.rest, part.faces) for part in cover])
            skin = np.where(cloth > -CLOTH_DEEP, np.minimum(skin, cloth), skin)
        self.grid = np.ascontiguousarray(_soften(skin.reshape(SHAPE)), np.float32)

    def __call__(self, points: Array) -> tuple[Array, Array]:
        """(distance (n,), unit outward direction (n, 3)) at points (n, 3)."""
        flat = np.ascontiguousarray(points.reshape(-1, 3), np.float64)
        distance, out = np.empty(len(flat)), np.empty((len(flat), 3))
        _lookup(self.grid, flat, distance, out)
        return distance.reshape(points.shape[:-1]), out.reshape(points.shape)

    def push_out(self, points: Array, least: Array | float) -> Array:
        """Points (..., 3) moved until they are ``least`` metres outside."""
        for _ in range(2):
            distance, out = self(points)
            points = points + np.maximum(least - distance, 0.0)[..., None] * out
        return points


@cache
def _outside() -> Array:
    """Template faces hair can meet: head, neck, trunk, not the mouth or the sockets."""
    island = islands()
    rows = np.concatenate([faces for name, faces in island.items() if name.startswith(("head", "torso", "arm"))])
    points = prior.template()[0]
    return np.asarray(rows[points[prior.template()[2]["body"].faces[rows]].mean(1)[:, 1] > -0.62])


@cache
def _nodes() -> Array:
    """(n, 3) the grid's nodes, x slowest."""
    axes = [low + CELL * np.arange(count) for low, count in zip(LOW, SHAPE, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _signed(points: Array, faces: Array) -> Array:
    """(n,) signed distance from every node to a surface, clipped to REACH."""
    from scipy.spatial import cKDTree

    used = np.unique(faces)
    corner = points[faces]
    flat = mesh.face_normals(points, faces)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    place = np.concatenate([points[used], corner.mean(1)])
    normal = np.concatenate([mesh.vertex_normals(points, faces)[used], flat])
    nodes = _nodes()
    away, near = cKDTree(place).query(nodes, distance_upper_bound=REACH)
    found = np.isfinite(away)
    row = near[found]
    plane = ((nodes[found] - place[row]) * normal[row]).sum(1)
    side = np.where(plane < 0, -1.0, 1.0)
    mix = np.clip(away[found] / NEAR - 0.5, 0.0, 1.0)
    out = np.full(len(nodes), REACH)
    out[found] = plane * (1 - mix) + side * away[found] * mix
    return out


def _soften(grid: Array) -> Array:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(grid, 0.6))


@numba.njit(cache=True)
def lookup(grid: Array, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """(distance, gradient) at one point; outside the grid its nearest border."""
    fx = min(max((x - LOW[0]) / CELL, 0.0), grid.shape[0] - 1.001)
    fy = min(max((y - LOW[1]) / CELL, 0.0), grid.shape[1] - 1.001)
    fz = min(max((z - LOW[2]) / CELL, 0.0), grid.shape[2] - 1.001)
    i, j, k = int(fx), int(fy), int(fz)
    u, v, w = fx - i, fy - j, fz - k
    a = grid[i, j, k] * (1 - w) + grid[i, j, k + 1] * w
    b = grid[i, j + 1, k] * (1 - w) + grid[i, j + 1, k + 1] * w
    c = grid[i + 1, j, k] * (1 - w) + grid[i + 1, j, k + 1] * w
    d = grid[i + 1, j + 1, k] * (1 - w) + grid[i + 1, j + 1, k + 1] * w
    low = (grid[i, j, k] * (1 - v) + grid[i, j + 1, k] * v) * (1 - u)
    low += (grid[i + 1, j, k] * (1 - v) + grid[i + 1, j + 1, k] * v) * u
    high = (grid[i, j, k + 1] * (1 - v) + grid[i, j + 1, k + 1] * v) * (1 - u)
    high += (grid[i + 1, j, k + 1] * (1 - v) + grid[i + 1, j + 1, k + 1] * v) * u
    gx = (c * (1 - v) + d * v) - (a * (1 - v) + b * v)
    gy = (b * (1 - u) + d * u) - (a * (1 - u) + c * u)
    return low * (1 - w) + high * w, gx / CELL, gy / CELL, (high - low) / CELL


@numba.njit(cache=True)
def _lookup(grid: Array, points: Array, distance: Array, out: Array) -> None:
    for n in range(len(points)):
        distance[n], gx, gy, gz = lookup(grid, points[n, 0], points[n, 1], points[n, 2])
        size = max(np.sqrt(gx * gx + gy * gy + gz * gz), 1e-6)
        out[n, 0], out[n, 1], out[n, 2] = gx / size, gy / size, gz / size
