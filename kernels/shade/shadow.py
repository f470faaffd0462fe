"""Shadow map of the key lamp: depth moments of the opaque mesh seen from the lamp, blurred (variance shadow map)."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import numpy as np

from kernels import rasterize
from kernels.jit import F32, I32, Int, fast
from kernels.rasterize import cpu as raster
from kernels.rasterize.fill import clear, fill

FAR = 1.0  # metres behind the point the lamp aims at; nothing farther casts or receives a shadow


@fast
def project(vertices: F32, to_map: F32, xy: I32, record: F32) -> None:
    """World vertices to the lamp's map: ``xy`` snapped pixels, ``record`` slot 0 the nearness FAR - distance."""
    for i in range(vertices.shape[0]):
        a, b, c = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x = to_map[0, 0] * a + to_map[0, 1] * b + to_map[0, 2] * c + to_map[0, 3]
        y = to_map[1, 0] * a + to_map[1, 1] * b + to_map[1, 2] * c + to_map[1, 3]
        d = to_map[2, 0] * a + to_map[2, 1] * b + to_map[2, 2] * c + to_map[2, 3]
        xy[i, 0] = np.int32(np.rint(x * np.float32(256.0)))
        xy[i, 1] = np.int32(np.rint(y * np.float32(256.0)))
        record[i, 0] = np.float32(FAR) - d


@fast
def visible(faces: I32, chosen: I32, size: Int, xy: I32, triangle: I32, owner: I32) -> Int:
    """The ``chosen`` faces that look toward the lamp; returns how many."""
    count = 0
    for n in range(chosen.shape[0]):
        f = chosen[n]
        count = raster.keep(faces[f, 0], faces[f, 1], faces[f, 2], f, False, size, size, xy, triangle, owner, count)
    return count


@fast
def moments(nearness: F32, radius: Int, line: F32, moment: F32) -> None:
    """Distance and squared distance, box-blurred over (2 radius + 1)^2 texels: ``moment`` (S,S,2)."""
    size = nearness.shape[0]
    far, over = np.float32(FAR), np.float32(1.0 / (2 * radius + 1))
    for y in range(size):
        first = second = np.float32(0.0)
        for x in range(-radius, radius):
            d = far - nearness[y, min(max(x, 0), size - 1)]
            first, second = first + d, second + d * d
        for x in range(size):
            d = far - nearness[y, min(x + radius, size - 1)]
            first, second = first + d, second + d * d
            line[y, x, 0], line[y, x, 1] = first * over, second * over
            d = far - nearness[y, max(x - radius, 0)]
            first, second = first - d, second - d * d
    for y in range(size):
        for x in range(size):
            moment[y, x, 0] = moment[y, x, 1] = np.float32(0.0)
        for k in range(-radius, radius + 1):
            row = min(max(y + k, 0), size - 1)
            for x in range(size):
                moment[y, x, 0] += line[row, x, 0] * over
                moment[y, x, 1] += line[row, x, 1] * over


class ShadowMap:
    """Static buffers. ``casters`` (N,): the faces that throw shadow.

    ``moment`` (S,S,2) f32: blurred distance along the lamp's direction, and its square.
    """

    def __init__(
        self, mesh: rasterize.Mesh, casters: I32, size: int = 192, radius: int = 2, reach: float = 0.36
    ) -> None:
        vertices, faces = len(mesh.uv), len(mesh.faces)
        self.mesh, self.size, self.radius, self.reach = mesh, size, radius, reach
        self.casters = casters
        self.xy, self.record = np.empty((vertices, 2), np.int32), np.empty((vertices, 1), np.float32)
        self.triangle, self.owner = np.empty((faces, 3), np.int32), np.empty(faces, np.int32)
        self.plane = np.empty((faces, 3, raster.ROW), np.float32)
        self.detail, self.uv_area = np.empty(faces, np.float32), np.zeros(faces, np.float32)
        self.nearness, self.winner = np.zeros((size, size), np.float32), np.full((size, size), -1, np.int32)
        self.extent = np.full((size, 2), (size, 0), np.int32)
        self.line, self.moment = np.empty((size, size, 2), np.float32), np.empty((size, size, 2), np.float32)

    def to_map(self, direction: F32, target: F32) -> F32:
        """World to map (3,4): texel x, texel y, metres behind ``target``'s plane, for a lamp in ``direction``."""
        forward = -np.asarray(direction, np.float64)
        right = np.cross(forward, (0.0, 1.0, 0.0))
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        scale = self.size / (2 * self.reach)
        rows = np.stack([right * scale, down * scale, forward])
        offset = np.array([self.size / 2, self.size / 2, 0.0]) - rows @ np.asarray(target, np.float64)
        return np.concatenate([rows, offset[:, None]], 1).astype(np.float32)

    def draw(self, vertices: F32, to_map: F32) -> F32:
        """Shadow moments of the posed mesh, vertices (V,3) in world space."""
        project(vertices, to_map, self.xy, self.record)
        count = visible(self.mesh.faces, self.casters, self.size, self.xy, self.triangle, self.owner)
        raster.planes(self.triangle, self.owner, count, self.xy, self.record, 1, self.uv_area, self.plane, self.detail)
        clear(self.nearness[:, :, None], self.winner[:, :, None], self.extent)
        fill(self.xy, self.plane, self.triangle, self.owner, count, self.nearness, self.winner, self.extent)
        moments(self.nearness, self.radius, self.line, self.moment)
        return self.moment
