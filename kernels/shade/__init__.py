"""Shading: G-buffer, textures and lights to an sRGB picture with soft light, anti-aliased edges and alpha.

It knows regions only as classes (what a lid or a lip overhangs); names and looks belong to the caller.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from kernels.blend import BlendedLayer
from kernels.jit import F32, I32, U8, Flags
from kernels.rasterize import Camera, Rasterizer
from kernels.rasterize import cpu as raster_cpu
from kernels.shade import cpu
from kernels.shade.cpu import EYE, MOUTH, TEETH
from kernels.shade.light import LANES, RUN, Scene
from kernels.shade.lights import STUDIO, Lights
from kernels.shade.shadow import ShadowMap
from kernels.texture import Paint, Texture, to_linear, to_srgb

__all__ = ["EYE", "MOUTH", "STUDIO", "TEETH", "Lights", "Material", "Shader"]
# Metres below the lid, or the lip, over which an eye or the mouth comes fully into the light; and the light right
# under it. Teeth keep theirs: in a narrow gap they are what makes an E of it.
REACH: Final = {EYE: 0.0045, MOUTH: 0.006, TEETH: 0.004}
FLOOR: Final = {EYE: 0.38, MOUTH: 0.35, TEETH: 0.72}
ENCODE_STEPS: Final = 4096
BIAS: Final = 0.4  # mip levels; the kernels round down, so a level is used from 0.6 below it: the calmest in motion


class Material(NamedTuple):
    """Textures, and what regions mean to the light. cavity (256,) u8: region id to 0, EYE, MOUTH or TEETH;
    strand (F,) bool: faces whose highlights run across the texture's v axis."""

    texture: Texture
    cavity: U8
    strand: Flags


class Shader:
    """Static buffers for one rasterizer. ``draw`` paints what the rasterizer has just drawn."""

    def __init__(self, raster: Rasterizer, material: Material, background: U8, lights: Lights = STUDIO) -> None:
        height, width = raster.size
        if background.shape != (height, width, 3) or background.dtype != np.uint8:
            raise ValueError(
                f"background must be ({height},{width},3) uint8, got {background.shape} {background.dtype}"
            )
        self.raster, self.material, self.lights = raster, material, lights
        self.background = np.ascontiguousarray(background)
        self.shadow, self.blended = ShadowMap(raster.mesh, self._casters()), BlendedLayer(raster.size)
        self.tangent = np.zeros((len(raster.mesh.faces), 3), np.float32)
        self.canvas = np.empty((height, width, 3), np.float32)
        self.lane, self.texel = np.zeros((LANES, RUN), np.float32), np.zeros((2, RUN), np.uint64)
        self.place = np.empty(RUN, np.int64)
        steps = np.linspace(0, 1, ENCODE_STEPS, dtype=np.float32)
        self.encode = np.rint(to_srgb(steps) * 255).astype(np.uint8)
        self.decode = to_linear(np.arange(256, dtype=np.float32) / np.float32(255))

    def draw(self, vertices: F32, camera: Camera, target: F32, distance: float, rgb: U8, alpha: U8) -> None:
        """Paints into ``rgb`` (H,W,3) and ``alpha`` (H,W). vertices (V,3): the pose that was rasterized;
        ``target`` (3,) world point the key lamp and its shadow map aim at; ``distance`` of the camera from it."""
        lamps, up = self.lights.seen_by(camera.rotation)
        world_to_map = self.shadow.to_map(self.lights.lamps[0, :3], target)
        moment = self.shadow.draw(vertices, world_to_map)
        scene = Scene(
            np.array([1 / camera.focal, *camera.centre], np.float32), map_from_view(world_to_map, camera), moment,
            lamps, self.lights.ambient, up, np.float32(self.lights.exposure), self.lane, self.texel,
        )  # fmt: skip
        self._tangents(camera)
        raster, layer, g, paint = self.raster, self.blended, self.raster.gbuffer, self.paint(camera)
        layer.draw(raster, paint, distance)
        cpu.shade_pixels(g, paint, scene, layer.slot, layer.layer, self.place, self.canvas)
        cpu.shade_extras(raster.extra_count, g, paint, scene, self.canvas)
        cpu.shade_layer(layer.count, layer.pixel, layer.layer, rgb.shape[1], scene)
        cpu.compose(
            self.canvas, g.coverage, layer.slot, layer.layer, self.background, self.decode, self.encode, rgb, alpha
        )

    def _casters(self) -> I32:
        """Opaque faces outside the eyes and the mouth, whose own light is that of their opening."""
        mesh = self.raster.mesh
        return np.flatnonzero((mesh.layer == 0) & (self.material.cavity[mesh.region] == 0)).astype(np.int32)

    def paint(self, camera: Camera) -> Paint:
        """What the faces of the frame just rasterized wear."""
        material, raster = self.material, self.raster
        reach, floor = np.zeros(8, np.float32), np.ones(8, np.float32)
        for cavity in REACH:
            reach[cavity], floor[cavity] = REACH[cavity] * camera.focal, FLOOR[cavity]
        bias = np.float32(BIAS + np.log2(material.texture.side))
        return Paint(
            material.texture, self.tangent, raster.detail, bias, raster.mesh.region, material.cavity, reach, floor
        )

    def _tangents(self, camera: Camera) -> None:
        r = self.raster
        lens = (np.float32(camera.focal), np.float32(camera.centre[0]), np.float32(camera.centre[1]))
        for triangle, owner, count in (
            (r.triangle, r.owner, r.count),
            (r.blended_triangle, r.blended_owner, r.blended_count),
        ):
            raster_cpu.tangents(triangle, owner, count, self.material.strand, r.place, r.mesh.uv, *lens, self.tangent)


def map_from_view(world_to_map: F32, camera: Camera) -> F32:
    """World to map (3,4) as view space to map."""
    turn = world_to_map[:, :3] @ camera.rotation.T
    return np.concatenate([turn, (world_to_map[:, 3] - turn @ camera.translation)[:, None]], 1)
