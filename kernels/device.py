"""The renderer's kernels on a GPU, launched one after another: what CudaRenderer paints equals the CPU's picture.

It takes its static data from a CPU Rasterizer and Shader, so both draw the same mesh, paint and light.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.cuda import Device, DeviceArray, record
from kernels.jit import F32, U8
from kernels.rasterize import NEAR, STEP, Camera, Rasterizer
from kernels.rasterize.cpu import ACROSS, RECORD, ROW
from kernels.shade import ENCODE_STEPS, Shader, map_from_view

Array = NDArray[Any]
LINE = 256  # threads of a one-dimensional block
PLANES = ("depth", "face", "region", "normal", "uv", "flow", "coverage", "share")


class CudaRenderer:
    """Device buffers for one mesh and picture size."""

    def __init__(self, device: Device, raster: Rasterizer, shader: Shader) -> None:
        self.device, self.raster, self.shader = device, raster, shader
        mesh, (height, width) = raster.mesh, raster.size
        vertices, faces, pixels = len(mesh.uv), len(mesh.faces), height * width
        self.vertices, self.faces, self.rows = vertices, faces, height * raster.samples
        put, room = device.array, device.empty
        self.mesh = {
            name: put(np.ascontiguousarray(getattr(mesh, name))) for name in ("faces", "uv", "region", "layer")
        }
        self.wanted = put(shader.material.strand.astype(np.uint8))
        self.group, self.uv_area = put(raster.group), put(raster.uv_area)
        self.offsets = put(np.array(ACROSS if raster.samples == 4 else (0.5,), np.float64))
        self.posed, self.normals = room((vertices, 3), np.float32), room((vertices, 3), np.float32)
        corners = vertices + 2 * faces
        self.place, self.before = room((corners, 3), np.float32), room((vertices, 3), np.float32)
        self.xy, self.record = room((corners, 2), np.int32), room((corners, RECORD), np.float32)
        self.triangle, self.owner = room((2 * faces, 3), np.int32), room(2 * faces, np.int32)
        self.plane, self.fade = room((2 * faces, 3, ROW), np.float32), room(2 * faces, np.float32)
        self.detail, self.tangent = put(np.zeros(faces, np.float32)), put(np.zeros((faces, 3), np.float32))
        self.buffer = room((self.rows, width), np.uint64)
        self.planes = {name: room(getattr(raster.gbuffer, name).shape, getattr(raster.gbuffer, name).dtype)
                       for name in PLANES}  # fmt: skip
        self.extras = {"extra_share": room(3 * pixels, np.float32), "extra_face": room(3 * pixels, np.int32),
                       "extra_depth": room(3 * pixels, np.float32), "extra_normal": room((3 * pixels, 3), np.float32),
                       "extra_uv": room((3 * pixels, 2), np.float32)}  # fmt: skip
        self.layer = room((height, width, 16), np.float32)
        side = shader.shadow.size
        self.map, self.map_xy = room((side, side), np.uint32), room((vertices, 2), np.int32)
        self.casters = put(shader.shadow.casters)
        self.map_nearness = room(vertices, np.float32)
        self.line, self.moment = room((side, side, 2), np.float32), room((side, side, 2), np.float32)
        texture = shader.material.texture
        self.texels, self.start = put(texture.texels), put(texture.start)
        self.cavity, self.background = put(shader.material.cavity), put(shader.background)
        self.decode, self.encode = put(shader.decode), put(shader.encode)
        self.rgb, self.alpha = room((height, width, 3), np.uint8), room((height, width), np.uint8)
        self.i420 = room((height * 3 // 2, width), np.uint8)

    def draw(self, vertices: F32, normals: F32, camera: Camera, previous: F32 | None, target: F32,
             distance: float) -> tuple[U8, U8]:  # fmt: skip
        """Picture (H,W,3) and alpha (H,W) of the posed mesh; the G-buffer stays in ``planes``."""
        self.posed.put(vertices)
        self.normals.put(normals)
        self._rasterize(camera, previous)
        self._shade(camera, target, distance)
        return self.rgb.get(), self.alpha.get()

    def to_i420(self) -> U8:
        """The picture just drawn as (H*3/2, W) I420."""
        height, width = self.raster.size
        self.device.launch("yuv", "convert", (_blocks(width // 2, 16), _blocks(height // 2, 16)), (16, 16),
                           self.rgb, self.i420, height, width)  # fmt: skip
        return self.i420.get()

    def _rasterize(self, camera: Camera, previous: F32 | None) -> None:
        launch, (height, width), samples = self.device.launch, self.raster.size, self.raster.samples
        centre = (np.float32(camera.centre[0]), np.float32(camera.centre[1]))
        lens = record(rotation=camera.rotation.ravel(), translation=camera.translation, focal=float(camera.focal),
                      cx=centre[0], cy=centre[1], near=NEAR)  # fmt: skip
        before = None if previous is None else self.before.put(previous)
        slots, uv = 2 * self.faces, self.mesh["uv"]
        launch("rasterize", "project", (_blocks(self.vertices, LINE), 1), (LINE, 1), self.posed, self.normals, uv,
               before, lens, self.place, self.xy, self.record, self.vertices)  # fmt: skip
        launch("rasterize", "setup", (_blocks(self.faces, 128), 1), (128, 1), self.mesh["faces"], self.mesh["layer"],
               self.wanted, self.uv_area, uv, lens, self.place, self.xy, self.record, self.triangle, self.owner,
               self.plane, self.detail, self.tangent, self.fade, self.faces, self.vertices, width, height)  # fmt: skip
        count = self.rows * width
        launch("rasterize", "clear", (_blocks(count, LINE), 1), (LINE, 1), self.buffer, count)
        launch("rasterize", "fill", (_blocks(slots, 4), 1), (128, 1), self.xy, self.triangle, self.owner,
               self.mesh["layer"], self.plane, self.offsets, self.buffer, slots, samples, height, width)  # fmt: skip
        launch("rasterize", "resolve", (_blocks(width, 16), _blocks(height, 16)), (16, 16), self.buffer, self.plane,
               self.owner, self.mesh["region"], self.group, self.offsets, STEP / camera.focal, self._gbuffer(),
               samples, height, width)  # fmt: skip

    def _shade(self, camera: Camera, target: F32, distance: float) -> None:
        launch, (height, width), samples = self.device.launch, self.raster.size, self.raster.samples
        shader, shadow = self.shader, self.shader.shadow
        paint = shader.paint(camera)
        texture = record(texels=self.texels, start=self.start, levels=len(paint.texture.start), side=paint.texture.side)
        to_map = shadow.to_map(shader.lights.lamps[0, :3], target)
        self._shadow_map(to_map)
        count = height * width * 16
        launch("blend", "forget", (_blocks(count, LINE), 1), (LINE, 1), self.layer, count)
        launch("blend", "accumulate", (_blocks(2 * self.faces, 4), 1), (128, 1), self.xy, self.triangle, self.owner,
               self.mesh["layer"], self.plane, self.fade, self.detail, paint.bias, self.tangent, texture,
               float(distance), self.buffer, self.layer, 2 * self.faces, samples, height, width)  # fmt: skip
        lamps, up = shader.lights.seen_by(camera.rotation)
        scene = record(lens=np.array([1 / camera.focal, *camera.centre], np.float32),
                       to_light=map_from_view(to_map, camera).ravel(), moment=self.moment, map=shadow.size,
                       lamps=lamps.ravel(), ambient=shader.lights.ambient.ravel(), up=up,
                       exposure=float(shader.lights.exposure))  # fmt: skip
        coat = record(texture=texture, tangent=self.tangent, detail=self.detail, bias=paint.bias,
                      region=self.mesh["region"], cavity=self.cavity, reach=paint.reach, floor=paint.floor)  # fmt: skip
        launch("shade", "shade", (_blocks(width, 16), _blocks(height, 16)), (16, 16), self._gbuffer(), coat, scene,
               self.layer, self.background, self.decode, self.encode, ENCODE_STEPS, self.rgb, self.alpha,
               height, width)  # fmt: skip

    def _shadow_map(self, to_map: F32) -> None:
        launch, side, radius = self.device.launch, self.shader.shadow.size, self.shader.shadow.radius
        launch("shade", "map_project", (_blocks(self.vertices, LINE), 1), (LINE, 1), self.posed,
               to_map.ravel(), self.map_xy, self.map_nearness, self.vertices)  # fmt: skip
        launch("shade", "map_clear", (_blocks(side * side, LINE), 1), (LINE, 1), self.map, side * side)
        casters = self.shader.shadow.casters
        launch("shade", "map_fill", (_blocks(len(casters), 4), 1), (128, 1), self.mesh["faces"], self.casters,
               self.map_xy, self.map_nearness, self.map, len(casters), side)  # fmt: skip
        tiles = (_blocks(side, 16), _blocks(side, 16))
        launch("shade", "map_blur", tiles, (16, 16), self.map, None, self.line, side, radius)
        launch("shade", "map_blur", tiles, (16, 16), None, self.line, self.moment, side, radius)

    def _gbuffer(self) -> Array:
        fields: dict[str, DeviceArray] = {**self.planes, **self.extras}
        return record(**fields)


def _blocks(count: int, size: int) -> int:
    return (count + size - 1) // size
