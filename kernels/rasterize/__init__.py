"""Rasterizer: a posed triangle mesh to a G-buffer (depth, faces, regions, normals, uv, flow, coverage).

View space is that of a pinhole camera: x to the right of the picture, y down, z away from the eye, in metres.
Pixel (row, column) has its centre at (column + 1/2, row + 1/2); sampling follows the top-left rule.
It knows nothing of textures, light or avatars.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from kernels.jit import F32, I32, U8
from kernels.rasterize import cpu, fill
from kernels.rasterize.resolve import Buffer, Extras, GBuffer, resolve

__all__ = ["NEAR", "Buffer", "Camera", "Extras", "GBuffer", "Mesh", "Rasterizer", "check_mesh"]

STEP: Final = 1.5  # pixel widths: a larger step in depth is an edge, and anti-aliased as one
NEAR: Final = np.float32(0.05)  # metres


class Camera(NamedTuple):
    """A pinhole camera. ``rotation`` (3,3) and ``translation`` (3,) take world points to view space (f32);
    ``focal`` in pixels; ``centre`` (x, y) in pixels."""

    rotation: F32
    translation: F32
    focal: float
    centre: tuple[float, float]


def empty_gbuffer(height: int, width: int) -> GBuffer:
    """Uninitialised buffers, with room for one further surface a pixel."""
    size, room = (height, width), height * width
    extras = Extras(_i32(room), _f32(room), _i32(room), _f32(room), _f32(3, room), _f32(2, room))
    planes = (_f32(3, *size), _f32(2, *size), _f32(2, *size), _f32(*size), _f32(*size))
    return GBuffer(_f32(*size), _i32(*size), np.empty(size, np.uint8), *planes, extras)


class Mesh(NamedTuple):
    """What stays the same from frame to frame. faces (F,3) i32, counter-clockwise seen from outside; uv (V,2);
    region (F,) u8; layer (F,) u8: 0 opaque and closed, 1 blended and seen from both sides;
    material (256,) u8: region id to a class of regions whose border needs no anti-aliasing of its own."""

    faces: I32
    uv: F32
    region: U8
    layer: U8
    material: U8


class Rasterizer:
    """Static buffers for one mesh and picture size. ``draw`` allocates nothing.

    Raises ValueError on a mesh whose arrays do not fit together.
    """

    def __init__(self, mesh: Mesh, size: tuple[int, int], samples: int = 4) -> None:
        check_mesh(mesh)
        if samples not in (1, 4):
            raise ValueError(f"samples must be 1 or 4, got {samples}")
        if 2 * len(mesh.faces) > cpu.SLOT_MASK:
            raise ValueError(f"a mesh may have {cpu.SLOT_MASK // 2} faces, got {len(mesh.faces)}")
        if min(size) < 1 or max(size) > 8192:
            raise ValueError(f"picture size must be within 1..8192, got {size[0]}x{size[1]}")
        height, width = size
        vertices, faces = len(mesh.uv), len(mesh.faces)
        self.mesh, self.size, self.samples = mesh, size, samples
        self.group = mesh.material[mesh.region]
        corner = mesh.uv[mesh.faces].astype(np.float64)
        side = corner[:, 1:] - corner[:, :1]
        self.uv_area = np.abs(side[:, 0, 0] * side[:, 1, 1] - side[:, 0, 1] * side[:, 1, 0]).astype(np.float32)
        self.detail = np.zeros(faces, np.float32)  # log2 of the uv length a pixel spans, per face drawn
        self.opaque = np.flatnonzero(mesh.layer == 0).astype(np.int32)
        self.blended = np.flatnonzero(mesh.layer != 0).astype(np.int32)
        # A face cut by the near plane adds at most two vertices and one triangle.
        self.place = _f32(vertices + 2 * faces, 3)
        self.xy = _i32(vertices + 2 * faces, 2)
        self.record = _f32(vertices + 2 * faces, cpu.RECORD)
        self.triangle, self.owner, self.code = _i32(2 * faces, 3), _i32(2 * faces), _i32(2 * faces)
        self.blended_triangle, self.blended_owner = _i32(2 * faces, 3), _i32(2 * faces)
        self.plane, self.blended_plane = _f32(2 * faces, 3, cpu.ROW), _f32(2 * faces, 3, cpu.ROW)
        self.fade, self.focal = _f32(2 * faces), 1.0  # how much of each blended triangle is seen; focal, pixels
        self.direction = _f32(2 * faces, 4)  # mean normal of each opaque triangle, and whether it is bent
        self.count = self.blended_count = 0
        self.buffer = Buffer(
            np.zeros((height, width, samples), np.float32), np.full((height, width, samples), -1, np.int32)
        )
        # Columns of each row that hold something: in the visibility buffer, and in the G-buffer (at first: anything).
        self.drawn, self.painted = np.zeros((height, 2), np.int32), np.full((height, 2), (0, width), np.int32)
        self.gbuffer = empty_gbuffer(height, width)
        self.extra_count = 0

    def draw(self, vertices: F32, normals: F32, camera: Camera, previous: F32 | None, now: F32) -> GBuffer:
        """Draws the posed mesh: vertices (V,3) and unit normals (V,3) in world space.

        ``now`` (V,3) receives the homogeneous picture positions; give it as ``previous`` with the next frame
        (None: nothing moved). The returned buffers belong to the rasterizer and live until the next call.
        """
        self.fill(vertices, normals, camera, previous, now)
        return self._resolve(camera)

    def fill(self, vertices: F32, normals: F32, camera: Camera, previous: F32 | None, now: F32) -> Buffer:
        """As ``draw``, but no further than which face each sample shows."""
        expected = (len(self.mesh.uv), 3)
        for name, array in (("vertices", vertices), ("normals", normals), ("now", now)):
            if array.shape != expected or array.dtype != np.float32:
                raise ValueError(f"{name} must be {expected} float32, got {array.shape} {array.dtype}")
        self._transform(vertices, normals, camera, previous, now)
        self._visibility()
        return self.buffer

    def _transform(self, vertices: F32, normals: F32, camera: Camera, previous: F32 | None, now: F32) -> None:
        count, focal = len(vertices), np.float32(camera.focal)
        self.focal = camera.focal
        cx, cy = np.float32(camera.centre[0]), np.float32(camera.centre[1])
        place = self.place[:count]
        cpu.project(vertices, normals, self.mesh.uv, camera.rotation, camera.translation, focal, cx, cy, NEAR,
                    place if previous is None else previous, place, self.xy, self.record)  # fmt: skip
        now[:] = place
        height, width = self.size
        for chosen, both_sides in ((self.opaque, False), (self.blended, True)):
            triangle, owner = (self.blended_triangle, self.blended_owner) if both_sides else (self.triangle, self.owner)
            drawn, count = cpu.setup(
                self.mesh.faces, chosen, both_sides, NEAR, width, height, count,
                self.place, self.xy, self.record, triangle, owner,
            )  # fmt: skip
            if both_sides:
                self.blended_count = drawn
                cpu.facing(triangle, drawn, self.place, self.record, focal, cx, cy, self.fade)
            else:
                self.count = drawn

    def planes(self, triangle: I32, owner: I32, count: int, plane: F32) -> None:
        """Prepares ``count`` triangles for interpolation; the opaque ones are done by ``draw``."""
        cpu.planes(triangle, owner, count, self.xy, self.record, 9, self.uv_area, plane, self.detail)

    def _visibility(self) -> None:
        nearness, winner = self.buffer
        fill.clear(nearness, winner, self.drawn)
        self.planes(self.triangle, self.owner, self.count, self.plane)
        cpu.lean(self.triangle, self.count, self.record, self.direction)
        fill.label(self.owner, self.direction, self.count, self.group, self.code)
        if self.samples == 4:
            fill.fill4(self.xy, self.plane, self.triangle, self.code, self.count, nearness, winner, self.drawn)
        else:
            flat = (nearness.reshape(self.size), winner.reshape(self.size))
            fill.fill(self.xy, self.plane, self.triangle, self.code, self.count, *flat, self.drawn)

    def _resolve(self, camera: Camera) -> GBuffer:
        tolerance = np.float32(STEP / camera.focal)
        self.extra_count = resolve(
            self.buffer, self.plane, self.direction, self.owner, self.mesh.region, tolerance, self.drawn, self.painted,
            self.gbuffer,
        )  # fmt: skip
        return self.gbuffer


def check_mesh(mesh: Mesh) -> None:
    """Raises ValueError when the arrays of ``mesh`` do not fit together."""
    vertices, faces = len(mesh.uv), len(mesh.faces)
    wanted: dict[str, tuple[np.ndarray[Any, Any], tuple[int, ...], Any]] = {
        "faces": (mesh.faces, (faces, 3), np.int32),
        "uv": (mesh.uv, (vertices, 2), np.float32),
        "region": (mesh.region, (faces,), np.uint8),
        "layer": (mesh.layer, (faces,), np.uint8),
        "material": (mesh.material, (256,), np.uint8),
    }
    for name, (array, shape, dtype) in wanted.items():
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"mesh.{name} must be {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}")
    if faces and not 0 <= mesh.faces.min() <= mesh.faces.max() < vertices:
        raise ValueError(f"mesh.faces points at vertex {mesh.faces.max()} of {vertices}")


def _f32(*shape: int) -> F32:
    return np.empty(shape, np.float32)


def _i32(*shape: int) -> I32:
    return np.empty(shape, np.int32)
