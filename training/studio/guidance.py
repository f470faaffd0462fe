"""Guidance: what the neural renderer is told of a frame, drawn by the engine's own body and rasterizer.

It is not stored with a record, because it can be drawn again, bit for bit on the same kind of processor: the record
holds what it follows from (person, Motion, Viewpoint) and its checksum. Processors of another kind round the last
bits differently, so `same_bits` tells whether a checksum made elsewhere can be expected to agree.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import platform
import zlib
from typing import Final, NamedTuple

import llvmlite.binding
import numpy as np
from numpy.typing import NDArray

from engine.avatar import Avatar
from engine.body.body import Body, BodyPose
from engine.motion.frame import Motion
from engine.render import camera, material
from engine.viewpoint import Viewpoint
from kernels.jit import F32, I32, U8, Real, fast
from kernels.rasterize import Camera, Rasterizer
from kernels.texture import Texture, channel, fetch

SAMPLES: Final = 1  # a pixel: the network, not the rasterizer, makes edges soft
SURFACE: Final = 8  # channels of the reference texture: red, green, blue, alpha, occlusion, gloss, subsurface, strand
SUMMED: Final = ("depth", "region", "normal", "uv", "flow")  # what the checksum covers


class Guidance(NamedTuple):
    """One frame (H, W). The arrays belong to the Guide and live until its next draw.

    depth: view-space metres, +inf where there is nothing; region u8; normal (3,H,W), view space; uv (2,H,W);
    flow (2,H,W) pixels to where each point was; texture (8,H,W) in [0,1]: the reference, sampled at uv, colour sRGB.
    """

    depth: F32
    region: U8
    normal: F32
    uv: F32
    flow: F32
    texture: F32

    def checksum(self) -> int:
        """CRC-32 of everything but the texture, which follows from uv."""
        value = 0
        for name in SUMMED:
            value = zlib.crc32(np.ascontiguousarray(getattr(self, name)), value)
        return value


class Guide:
    """Draws the guidance of one avatar at one size. ``size`` is (H, W); ``framing`` one of camera.FRAMINGS.

    The first frame after ``cut`` has no flow: nothing was before it.
    """

    def __init__(self, avatar: Avatar, size: tuple[int, int], framing: str) -> None:
        mesh, self._look = material.build(avatar)
        self.framing = camera.framing(framing)
        self._body = Body(avatar)
        self._pose: BodyPose = self._body.allocate()
        self._raster = Rasterizer(mesh, size, SAMPLES)
        self._places = [np.zeros((len(mesh.uv), 3), np.float32) for _ in range(2)]
        self._texture = np.zeros((SURFACE, *size), np.float32)
        self._started = False

    def cut(self) -> None:
        """Forgets the previous frame."""
        self._started = False

    def camera(self, viewpoint: Viewpoint) -> Camera:
        """The camera of a frame, which the studio photographs with too."""
        return camera.camera(viewpoint, self.framing, self._raster.size)

    def draw(self, motion: Motion, viewpoint: Viewpoint) -> Guidance:
        """The guidance of the next frame."""
        pose = self._body.pose(motion, self._pose)
        before, now = self._places
        g = self._raster.draw(
            pose.vertices, pose.normals, self.camera(viewpoint), before if self._started else None, now
        )
        self._places.reverse()
        self._started = True
        _sample(self._look.texture, g.face, g.uv, self._raster.detail, self._texture)
        return Guidance(g.depth, g.region, g.normal, g.uv, g.flow, self._texture)


def same_bits() -> str:
    """The kind of processor that checksums of guidance agree on: architecture and the core numba compiles for."""
    return f"{platform.machine()} {llvmlite.binding.get_host_cpu_name()}"


@fast
def _sample(texture: Texture, face: I32, uv: F32, detail: F32, out: F32) -> None:
    """The reference at ``uv`` (2,H,W), at the mip level where a texel is about a pixel; 0 where there is no face."""
    side, zero = np.float32(np.log2(np.float32(texture.side))), np.float32(0.0)
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            if face[y, x] < 0:
                for c in range(8):
                    out[c, y, x] = zero
                continue
            level: Real = np.int64(max(detail[face[y, x]] + side, zero))
            even, odd = fetch(texture, uv[0, y, x], uv[1, y, x], level)
            for c in range(4):
                out[2 * c, y, x] = channel(even, c)
                out[2 * c + 1, y, x] = channel(odd, c)


def planes(guidance: Guidance) -> NDArray[np.float32]:
    """Everything but the regions as one array for a network: (17, H, W): depth (0 where there is nothing), normal,
    uv, flow, texture, and whether there is anything at all."""
    seen = guidance.region > 0
    depth = np.where(seen, guidance.depth, 0.0)
    stack = [depth[None], guidance.normal, guidance.uv, guidance.flow, guidance.texture, seen[None]]
    return np.concatenate(stack).astype(np.float32)
