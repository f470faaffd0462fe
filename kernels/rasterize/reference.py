"""What the rasterizer computes, the boring way: NumPy, one triangle and one pixel at a time, exact integer edges."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.jit import F32, F64, I64, Real
from kernels.rasterize import NEAR, STEP, Camera, Mesh

SNAP = 256
OFFSETS = {1: ((0.5,), (0.5,)), 4: ((0.375, 0.875, 0.125, 0.625), (0.125, 0.375, 0.625, 0.875))}  # samples: x, y


class Corner(NamedTuple):
    """A triangle corner: homogeneous picture position (3,) and attributes (8,): normal, uv, previous position."""

    place: F64
    values: F64


class Triangle(NamedTuple):
    """A triangle to draw: the face it is (part of), snapped corners (3,2) and attributes over z (3,9), 1/z first."""

    face: int
    xy: I64
    record: F64


def project(vertices: F32, normals: F32, camera: Camera) -> tuple[F64, F64]:
    """World to homogeneous picture positions (V,3) = (x z, y z, z), and normals (V,3) in view space."""
    view = vertices.astype(np.float64) @ camera.rotation.T + camera.translation
    z = view[:, 2]
    x = camera.focal * view[:, 0] + camera.centre[0] * z
    y = camera.focal * view[:, 1] + camera.centre[1] * z
    return np.stack([x, y, z], 1), normals.astype(np.float64) @ camera.rotation.T


def clip(corners: list[Corner], near: float) -> list[Corner]:
    """The part of a polygon in front of ``near`` (Sutherland & Hodgman 1974, one plane)."""
    kept = []
    for this, following in zip(corners, corners[1:] + corners[:1], strict=True):
        inside, next_inside = this.place[2] > near, following.place[2] > near
        if inside:
            kept.append(this)
        if inside != next_inside:
            t = (this.place[2] - near) / (this.place[2] - following.place[2])
            place = this.place + t * (following.place - this.place)
            kept.append(Corner(place, this.values + t * (following.values - this.values)))
    return kept


def setup(mesh: Mesh, place: F64, normals: F64, previous: F64, near: float = float(NEAR)) -> list[Triangle]:
    """The opaque triangles that face the camera, in face order."""
    values = np.concatenate([normals, mesh.uv, previous], 1)
    triangles = []
    for face in np.flatnonzero(mesh.layer == 0):
        corners = clip([Corner(place[i], values[i]) for i in mesh.faces[face]], near)
        for k in range(2, len(corners)):
            three = (corners[0], corners[k - 1], corners[k])
            z = np.array([corner.place[2] for corner in three])
            xy = np.rint(np.array([corner.place[:2] for corner in three]) / z[:, None] * SNAP).astype(np.int64)
            if _cross(xy[0], xy[1], xy[2]) < 0:  # y points down: counter-clockwise to the eye is negative
                record = np.concatenate([np.ones((3, 1)), np.array([corner.values for corner in three])], 1)
                triangles.append(Triangle(int(face), xy, record / z[:, None]))
    return triangles


def covers(xy: I64, x: I64, y: I64, scale: int) -> np.ndarray:
    """Whether a triangle covers sample points given in units of 1 / (SNAP * scale): the top-left rule, exactly."""
    inside = np.ones(np.broadcast(x, y).shape, bool)
    for k in range(3):
        a, b = xy[k] * scale, xy[(k + 1) % 3] * scale
        # The inside is to the left of each edge as seen with y up, that is where this product is negative.
        side = (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
        top_left = b[1] > a[1] or (a[1] == b[1] and b[0] < a[0])
        inside &= (side < 0) | ((side == 0) & top_left)
    return inside


def fill(triangles: list[Triangle], size: tuple[int, int], samples: int) -> tuple[F64, I64]:
    """Visibility buffer: nearness (H,W,S), 0 = background, and triangle (H,W,S), -1 = background."""
    height, width = size
    across, down = OFFSETS[samples]
    nearness, winner = np.zeros((height, width, samples)), np.full((height, width, samples), -1, np.int64)
    row, column = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    scale = 16  # makes every sample position a whole number
    x = np.rint((column[..., None] + across) * SNAP * scale).astype(np.int64)
    y = np.rint((row[..., None] + down) * SNAP * scale).astype(np.int64)
    for number, triangle in enumerate(triangles):
        weights = barycentric(triangle.xy, x / (SNAP * scale), y / (SNAP * scale))
        q = (weights * triangle.record[:, 0]).sum(-1)
        wins = covers(triangle.xy, x, y, scale) & (q > nearness)
        nearness[wins], winner[wins] = q[wins], number
    return nearness, winner


def barycentric(xy: I64, x: Real, y: Real) -> F64:
    """Weights (..., 3) of the snapped corners at picture points, linear in the picture."""
    p = xy / SNAP
    area = _cross(p[0], p[1], p[2])
    w1 = ((x - p[0, 0]) * (p[2, 1] - p[0, 1]) - (p[2, 0] - p[0, 0]) * (y - p[0, 1])) / area
    w2 = ((p[1, 0] - p[0, 0]) * (y - p[0, 1]) - (x - p[0, 0]) * (p[1, 1] - p[0, 1])) / area
    return np.stack([1 - w1 - w2, w1, w2], -1)


class Seen(NamedTuple):
    """One surface in one pixel: as a G-buffer row, with its share of the pixel's samples."""

    pixel: int
    face: int
    share: float
    depth: float
    normal: F64
    uv: F64
    flow: F64


def resolve(mesh: Mesh, triangles: list[Triangle], nearness: F64, winner: I64, samples: int,
            tolerance: float) -> list[list[Seen]]:  # fmt: skip
    """The surfaces of every pixel, the largest first (the first met among equals)."""
    across, down = OFFSETS[samples]
    height, width, _ = winner.shape
    pixels = []
    for pixel in range(height * width):
        y, x = divmod(pixel, width)
        near, owner = nearness[y, x], winner[y, x]
        kind = [mesh.material[mesh.region[triangles[t].face]] if t >= 0 else -1 for t in owner]
        left = [s for s in range(samples) if owner[s] >= 0]
        found: list[Seen] = []
        while left:
            first = left[0]
            on = triangles[owner[first]]
            going_on = [barycentric(on.xy, x + across[s], y + down[s]) @ on.record[:, 0] for s in range(samples)]
            group = [
                s for s in left
                if owner[s] == owner[first]
                or (kind[s] == kind[first]
                    and abs(going_on[s] - near[s]) <= tolerance * near[s]
                    and not _crease(on, triangles[owner[s]]))
            ]  # fmt: skip
            left = [s for s in left if s not in group]
            own = [s for s in group if owner[s] == owner[first]]
            px, py = x + float(np.mean([across[s] for s in own])), y + float(np.mean([down[s] for s in own]))
            found.append(_look(triangles[owner[first]], pixel, len(group) / samples, px, py))
        pixels.append(sorted(found, key=lambda seen: -seen.share))
    return pixels


def _crease(a: Triangle, b: Triangle) -> bool:
    """Whether the surface bends sharply from one triangle to the other: mean normals apart, and corners uneven."""
    even = all(
        (corner[1:4] @ _mean_normal(t)) / np.linalg.norm(corner[1:4]) >= 0.99 for t in (a, b) for corner in t.record
    )
    return not even and float(_mean_normal(a) @ _mean_normal(b)) < 0.85


def _mean_normal(triangle: Triangle) -> F64:
    total: F64 = triangle.record[:, 1:4].sum(0)
    return total / np.linalg.norm(total)


def _look(triangle: Triangle, pixel: int, share: float, x: float, y: float) -> Seen:
    weights = barycentric(triangle.xy, x, y)
    values = weights @ triangle.record
    z = 1 / values[0]
    normal, uv, place = values[1:4] * z, values[4:6] * z, values[6:9] * z
    flow = place[:2] / place[2] - (x, y) if place[2] > 1e-3 else np.zeros(2)
    return Seen(pixel, triangle.face, share, z, normal / np.linalg.norm(normal), uv, flow)


def draw(mesh: Mesh, vertices: F32, normals: F32, camera: Camera, previous: F32 | None, size: tuple[int, int],
         samples: int) -> list[list[Seen]]:  # fmt: skip
    """Every surface of every pixel of the posed mesh; row-major."""
    place, turned = project(vertices, normals, camera)
    before = place if previous is None else previous.astype(np.float64)
    triangles = setup(mesh, place, turned, before)
    nearness, winner = fill(triangles, size, samples)
    return resolve(mesh, triangles, nearness, winner, samples, STEP / camera.focal)


def _cross(a: F64 | I64, b: F64 | I64, c: F64 | I64) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]))
