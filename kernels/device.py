"""The drawing kernels on a GPU, in the order of a frame, and the geometric renderer made of them: what CudaRenderer
paints equals the CPU's picture.

It takes its static data from a CPU Rasterizer and Shader, so both draw the same mesh, paint and light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels import layout
from kernels.blend.cpu import ENTRY
from kernels.cuda import Device, DeviceArray, Rows, Stream, blocks
from kernels.jit import F32, U8
from kernels.rasterize import NEAR, Camera, Rasterizer
from kernels.rasterize.cpu import RECORD, ROW
from kernels.shade import BIAS, ENCODE_STEPS, Shader, map_from_view

Array = NDArray[Any]
LINE: Final = 256  # threads of a one-dimensional block
FACES: Final = 128  # threads of a block, a face each
PLANES: Final = ("depth", "face", "region", "normal", "uv", "flow", "coverage", "share")


def lens(camera: Camera, distance: float, near: float = float(NEAR)) -> Array:
    """A frame's struct Lens (kernels/gbuffer.cuh). ``distance``: at which nearness weighs 1 in the blended layer, m."""
    out = np.zeros((), layout.struct("rasterize", "Lens"))
    out["r"], out["t"] = camera.rotation.ravel(), camera.translation
    out["focal"], out["near"], out["distance"] = camera.focal, near, distance
    out["cx"], out["cy"] = camera.centre
    return out


def rasterize(
    device: Device, table: Rows, vertices: int, faces: int, samples: int, size: tuple[int, int],
    stream: Stream | None = None,
) -> None:  # fmt: skip
    """Draws G-buffers: ``table`` of struct Raster; ``vertices`` and ``faces`` of its largest row."""
    (height, width), rows = size, len(table)
    # A thread of `project` empties eight samples of the buffer, so that a lone row keeps the whole GPU busy.
    points = (blocks(max(vertices, samples * height * width // 8, 1), LINE), 1, rows)
    triangles, tiles = (blocks(max(faces, 1), FACES), 1, rows), (blocks(width, 32), blocks(height, 8), rows)
    device.launch("rasterize", "project", points, (LINE,), table, samples, height, width, stream=stream)
    device.launch("rasterize", "setup", triangles, (FACES,), table, height, width, stream=stream)
    device.launch("rasterize", "fill", triangles, (FACES,), table, samples, height, width, stream=stream)
    device.launch("rasterize", "resolve", tiles, (32, 8), table, samples, height, width, stream=stream)


def blend(
    device: Device, table: Rows, chosen: int, samples: int, size: tuple[int, int], stream: Stream | None = None
) -> None:
    """Gathers blended layers: ``table`` of struct Blend; ``chosen`` faces in its largest row."""
    (height, width), rows = size, len(table)
    entries, triangles = (blocks(height * width * ENTRY // 4, LINE), 1, rows), (blocks(max(chosen, 1), FACES), 1, rows)
    device.launch("blend", "forget", entries, (LINE,), table, height, width, stream=stream)
    device.launch("blend", "accumulate", triangles, (FACES,), table, samples, height, width, stream=stream)


def shade(
    device: Device, table: Rows, vertices: int, casters: int, side: int, radius: int, size: tuple[int, int],
    stream: Stream | None = None,
) -> None:  # fmt: skip
    """Lights pictures: ``table`` of struct Shade; ``vertices`` and ``casters`` of its largest row; ``side`` of the
    shadow map and ``radius`` of its blur, in texels."""
    (height, width), rows = size, len(table)
    points, triangles = (blocks(max(vertices, 1), LINE), 1, rows), (blocks(max(casters, 1), FACES), 1, rows)
    texels, tiles = (blocks(side, 16), blocks(side, 16), rows), (blocks(width, 16), blocks(height, 16), rows)
    device.launch("shade", "map_project", points, (LINE,), table, side, stream=stream)
    device.launch("shade", "map_fill", triangles, (FACES,), table, side, stream=stream)
    device.launch("shade", "map_blur", texels, (16, 16), table, side, radius, stream=stream)
    device.launch("shade", "shade", tiles, (16, 16), table, side, height, width, stream=stream)


class Drawn:
    """Device buffers of one mesh and picture size: what kernels/rasterize and kernels/blend read and leave behind."""

    def __init__(self, device: Device, raster: Rasterizer) -> None:
        mesh, (height, width) = raster.mesh, raster.size
        vertices, faces = len(mesh.uv), len(mesh.faces)
        self.device, self.raster, self.vertices, self.faces = device, raster, vertices, faces
        self.chosen = len(raster.blended)
        put, room = device.array, device.empty
        self._mesh = {
            "faces": put(mesh.faces), "uv": put(mesh.uv), "layer": put(mesh.layer), "face_region": put(mesh.region),
            "face_group": put(raster.group), "uv_area": put(raster.uv_area),
        }  # fmt: skip
        self._chosen = put(raster.blended)
        self.posed, self.normals = room((vertices, 3), np.float32), room((vertices, 3), np.float32)
        self.lens = device.empty((), layout.struct("rasterize", "Lens"))
        corners = vertices + 2 * faces
        self.scratch = {
            "place": room((corners, 3), np.float32),
            "xy": room((corners, 2), np.int32), "record": room((corners, RECORD), np.float32),
            "triangle": room((2 * faces, 3), np.int32), "owner": room(2 * faces, np.int32),
            "plane": room((2 * faces, 3, ROW), np.float32), "detail": room(faces, np.float32),
            "tangent": room((faces, 3), np.float32), "fade": room(2 * faces, np.float32),
            "buffer": room((height * raster.samples, width), np.uint64),
        }  # fmt: skip
        self.planes = {name: room(getattr(raster.gbuffer, name).shape, getattr(raster.gbuffer, name).dtype)
                       for name in PLANES}  # fmt: skip
        count = 3 * height * width if raster.samples == 4 else 0
        self.extras = {"extra_share": room(count, np.float32), "extra_face": room(count, np.int32),
                       "extra_depth": room(count, np.float32), "extra_normal": room((count, 3), np.float32),
                       "extra_uv": room((count, 2), np.float32)}  # fmt: skip
        self.layer = room((height, width, ENTRY), np.float32)

    def outputs(self) -> dict[str, DeviceArray]:
        """The G-buffer by the names of struct Raster."""
        return {"uv_plane" if name == "uv" else name: plane for name, plane in self.planes.items()} | self.extras

    def raster_row(self, wanted: DeviceArray | None, previous: DeviceArray | None) -> dict[str, Any]:
        """Struct Raster. ``wanted`` (F,) u8: faces whose strand direction is, or None; ``previous`` (V,3): ``place`` of
        the frame before, or None."""
        return self._mesh | self.scratch | self.outputs() | {
            "wanted": wanted, "vertices": self.posed, "normals": self.normals, "lens": self.lens,
            "previous": previous, "vertex_count": self.vertices, "face_count": self.faces,
        }  # fmt: skip

    def blend_row(self, texture: Mapping[str, Any], bias: float, tangent: DeviceArray) -> dict[str, Any]:
        """Struct Blend; ``texture``: fields of struct Texture, ``tangent`` (F,3)."""
        names = ("xy", "triangle", "owner", "plane", "fade", "detail", "buffer")
        return {name: self.scratch[name] for name in names} | {
            "chosen": self._chosen, "chosen_count": self.chosen, "tangent": tangent, "lens": self.lens,
            "texture": struct("blend", "Texture", texture), "bias": bias, "layer": self.layer,
        }  # fmt: skip


def struct(op: str, name: str, values: Mapping[str, Any]) -> Array:
    """One record of a struct, to stand in a row of another."""
    return layout.table(op, name, [values])[0]


class CudaRenderer:
    """Geometric renderer of one mesh, look and picture size."""

    def __init__(self, device: Device, raster: Rasterizer, shader: Shader) -> None:
        self.device, self.raster, self.shader = device, raster, shader
        (height, width), put, room = raster.size, device.array, device.empty
        self.drawn = Drawn(device, raster)
        self._wanted = put(shader.material.strand.astype(np.uint8))
        side, texture = shader.shadow.size, shader.material.texture
        self._texels, self._start = put(texture.texels), put(texture.start)
        self._texture = {"texels": self._texels, "start": self._start, "levels": len(texture.start),
                         "side": texture.side}  # fmt: skip
        self._casters, vertices = put(shader.shadow.casters), self.drawn.vertices
        self.scene, self.moment = room((), layout.struct("shade", "Scene")), room((side, side, 2), np.float32)
        self._map = {"map_xy": room((vertices, 2), np.int32), "nearness": room(vertices, np.float32),
                     "map": room((side, side), np.uint32), "moment": self.moment}  # fmt: skip
        self._tables = {"cavity": put(shader.material.cavity), "background": put(shader.background),
                        "decode": put(shader.decode), "encode": put(shader.encode)}  # fmt: skip
        self.rgb, self.alpha = room((height, width, 3), np.uint8), room((height, width), np.uint8)
        self.before = room((vertices, 3), np.float32)
        self.i420 = room((height * 3 // 2, width), np.uint8)
        self._alone: dict[bool, Batch] = {}

    @property
    def planes(self) -> dict[str, DeviceArray]:
        """The G-buffer's planes."""
        return self.drawn.planes

    def draw(self, vertices: F32, normals: F32, camera: Camera, previous: F32 | None, target: F32,
             distance: float) -> tuple[U8, U8]:  # fmt: skip
        """Picture (H,W,3) and alpha (H,W) of the posed mesh; the G-buffer stays in ``planes``. ``previous`` (V,3) as
        for Rasterizer.draw; ``target`` and ``distance`` as for Shader.draw."""
        self.put(vertices, normals, camera, previous, target, distance)
        moved = previous is not None
        if moved not in self._alone:
            self._alone[moved] = Batch([self], moved=moved)
        self._alone[moved].paint()
        return self.rgb.get(), self.alpha.get()

    def put(self, vertices: F32, normals: F32, camera: Camera, previous: F32 | None, target: F32,
            distance: float) -> None:  # fmt: skip
        """Copies what is to be painted next to the device; see `draw`."""
        self.drawn.posed.put(vertices)
        self.drawn.normals.put(normals)
        self.drawn.lens.put(lens(camera, distance))
        if previous is not None:
            self.before.put(previous)
        self.scene.put(self._scene(camera, target))

    def to_i420(self) -> U8:
        """The picture just drawn as (H*3/2, W) I420."""
        height, width = self.raster.size
        table = self.device.rows("yuv", "Convert", [{"rgb": self.rgb, "out": self.i420}])
        grid = (blocks(width // 2, 32), blocks(height // 2, 8))
        self.device.launch("yuv", "convert", grid, (32, 8), table, 0, height, width)
        return self.i420.get()

    def rows(self, op: str, *, moved: bool) -> dict[str, Any]:
        """This renderer's row of the table for kernels/``op``: rasterize, blend or shade."""
        drawn = self.drawn
        if op == "rasterize":
            return drawn.raster_row(self._wanted, self.before if moved else None)
        bias, tangent = float(BIAS + np.log2(self.shader.material.texture.side)), drawn.scratch["tangent"]
        if op == "blend":
            return drawn.blend_row(self._texture, bias, tangent)
        raster = drawn.raster_row(None, None)
        names = ("depth", "face", "region", "normal", "uv_plane", "coverage", "share", "vertices", "faces",
                 "face_region", "detail", "vertex_count", *drawn.extras)  # fmt: skip
        return {name: raster[name] for name in names} | self._map | self._tables | {
            "casters": self._casters, "caster_count": self._casters.shape[0], "tangent": tangent, "bias": bias,
            "texture": struct("shade", "Texture", self._texture), "layer": drawn.layer, "scene": self.scene,
            "rgb": self.rgb, "alpha": self.alpha, "steps": ENCODE_STEPS,
        }  # fmt: skip

    def _scene(self, camera: Camera, target: F32) -> Array:
        shader, out = self.shader, np.zeros((), layout.struct("shade", "Scene"))
        to_map = shader.shadow.to_map(shader.lights.lamps[0, :3], target)
        out["lens"] = (1 / camera.focal, *camera.centre)
        out["to_map"], out["to_light"] = to_map.ravel(), map_from_view(to_map, camera).ravel()
        out["lamps"], out["up"] = shader.lights.seen_by(camera.rotation)
        out["ambient"], out["exposure"] = shader.lights.ambient, shader.lights.exposure
        look = shader.paint(camera)
        out["reach"], out["open"] = look.reach, look.floor
        return out


class Batch:
    """Painters, all of one size and number of samples, that paint what was put into them in one launch a kernel.

    ``moved``: all of them have a previous frame, or none has. Raises ValueError for sizes that differ.
    """

    def __init__(self, painters: Sequence[CudaRenderer], *, moved: bool) -> None:
        first, self._painters = painters[0], tuple(painters)  # whose memory the tables point to
        self._device, self._size, self._samples = first.device, first.raster.size, first.raster.samples
        self._shadow = first.shader.shadow
        for painter in painters:
            if (painter.raster.size, painter.raster.samples) != (self._size, self._samples):
                raise ValueError(f"one batch is of one size: {self._size}, {self._samples} samples; got "
                                 f"{painter.raster.size}, {painter.raster.samples}")  # fmt: skip
        self._raster, self._blend, self._shade = (
            first.device.rows(op, name, [painter.rows(op, moved=moved) for painter in painters])
            for op, name in (("rasterize", "Raster"), ("blend", "Blend"), ("shade", "Shade"))
        )  # fmt: skip
        self._vertices, self._faces = max(p.drawn.vertices for p in painters), max(p.drawn.faces for p in painters)
        self._chosen = max(p.drawn.chosen for p in painters)
        self._casters = max(len(p.shader.shadow.casters) for p in painters)

    def paint(self, stream: Stream | None = None) -> None:
        """Launches the kernels."""
        device, size, samples, shadow = self._device, self._size, self._samples, self._shadow
        rasterize(device, self._raster, self._vertices, self._faces, samples, size, stream)
        blend(device, self._blend, self._chosen, samples, size, stream)
        shade(device, self._shade, self._vertices, self._casters, shadow.size, shadow.radius, size, stream)
