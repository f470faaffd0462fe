"""Shading: G-buffer, textures and lights to an sRGB picture with soft light, anti-aliased edges and alpha.

It knows regions only as classes (what a lid or a lip overhangs); names and looks belong to the caller.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.blend import BlendedLayer
from kernels.rasterize import Camera, Rasterizer
from kernels.rasterize import cpu as raster_cpu
from kernels.shade import cpu
from kernels.shade.lights import STUDIO, Lights
from kernels.shade.shadow import ShadowMap
from kernels.texture import Texture, to_linear, to_srgb

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

__all__ = ["EYE", "MOUTH", "STUDIO", "Lights", "Material", "Shader"]
EYE, MOUTH = cpu.EYE, cpu.MOUTH
# Metres below the lid, or the lip, over which an eye or the inside of the mouth comes fully into the light.
REACH: Final = {EYE: 0.0045, MOUTH: 0.006}
ENCODE_STEPS: Final = 4096
BIAS: Final = 0.1  # mip levels; with the kernel's rounding down: switch at 0.9 of a level, on the sharp side


class Material(NamedTuple):
    """Textures, and what regions mean to the light. cavity (256,) u8: region id to 0, EYE or MOUTH;
    strand (F,) bool: faces whose highlights run across the texture's v axis."""

    texture: Texture
    cavity: U8
    strand: NDArray[np.bool_]


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
        self.shadow, self.blended = ShadowMap(raster.mesh), BlendedLayer(raster.size)
        self.tangent = np.zeros((len(raster.mesh.faces), 3), np.float32)
        self.canvas = np.empty((height, width, 3), np.float32)
        self.lane, self.place = np.zeros((cpu.LANES, cpu.RUN), np.float32), np.empty(cpu.RUN, np.int64)
        self.reach = np.zeros(256, np.float32)
        steps = np.linspace(0, 1, ENCODE_STEPS, dtype=np.float32)
        self.encode = np.rint(to_srgb(steps) * 255).astype(np.uint8)
        self.decode = to_linear(np.arange(256, dtype=np.float32) / 255)

    def draw(self, vertices: F32, camera: Camera, target: F32, distance: float, rgb: U8, alpha: U8) -> None:
        """Paints into ``rgb`` (H,W,3) and ``alpha`` (H,W). vertices (V,3): the pose that was rasterized;
        ``target`` (3,) world point the key lamp and its shadow map aim at; ``distance`` of the camera from it."""
        lamps, up = self.lights.seen_by(camera.rotation)
        world_to_map = self.shadow.to_map(self.lights.lamps[0, :3], target)
        moment = self.shadow.draw(vertices, world_to_map)
        lens = np.array([1 / camera.focal, *camera.centre], np.float32)
        to_light = _from_view(world_to_map, camera)
        common = (lens, to_light, moment, lamps, self.lights.ambient, up, np.float32(self.lights.exposure), self.lane)
        self._tangents(camera)
        self._opaque(camera, common)
        layer, texture = self.blended, self.material.texture
        layer.draw(self.raster, self.tangent, texture, BIAS, distance)
        cpu.shade_layer(layer.count, layer.pixel, layer.layer, *common, rgb.shape[1])
        cpu.compose(self.canvas, self.raster.gbuffer.coverage, layer.slot, layer.layer, self.background, self.decode,
                    self.encode, rgb, alpha)  # fmt: skip

    def _opaque(self, camera: Camera, common: tuple[object, ...]) -> None:
        r, g, m = self.raster, self.raster.gbuffer, self.material
        bias = np.float32(BIAS + np.log2(m.texture.side))
        texture = (m.texture.texels, m.texture.start, m.texture.side, bias)
        for cavity, reach in REACH.items():
            self.reach[cavity] = reach * camera.focal
        cpu.shade_pixels(g.depth, g.face, g.region, g.normal, g.uv, g.share, r.detail, self.tangent, m.cavity,
                         self.reach, *texture, *common, self.place, self.canvas)  # fmt: skip
        e = g.extras
        cpu.shade_extras(r.extra_count, e.pixel, e.share, e.face, e.depth, e.normal, e.uv, r.mesh.region, r.detail,
                         self.tangent, m.cavity, *texture, *common, self.canvas)  # fmt: skip

    def _tangents(self, camera: Camera) -> None:
        r = self.raster
        lens = (np.float32(camera.focal), np.float32(camera.centre[0]), np.float32(camera.centre[1]))
        for triangle, owner, count in (
            (r.triangle, r.owner, r.count),
            (r.blended_triangle, r.blended_owner, r.blended_count),
        ):
            raster_cpu.tangents(triangle, owner, count, self.material.strand, r.place, r.mesh.uv, *lens, self.tangent)


def _from_view(world_to_map: F32, camera: Camera) -> F32:
    """The same map, reached from view space."""
    turn = world_to_map[:, :3] @ camera.rotation.T
    return np.concatenate([turn, (world_to_map[:, 3] - turn @ camera.translation)[:, None]], 1)
