"""Geometric renderer: the posed body, rasterized and lit directly. The default, the fallback and the baseline.

It paints what ``Motion`` and ``Viewpoint`` say and knows nothing of voices, sessions or networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.avatar import Avatar
from engine.body.body import Body
from engine.motion.frame import Motion
from engine.render import camera, material
from engine.stages import Stages
from engine.viewpoint import Viewpoint
from kernels.rasterize import GBuffer, Rasterizer
from kernels.shade import STUDIO, Lights, Shader

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """One painted frame: rgb (H,W,3) sRGB over the background, alpha (H,W) of the avatar, and what was seen.

    The arrays belong to the renderer and live until its next step.
    """

    rgb: U8
    alpha: U8
    gbuffer: GBuffer


@dataclass(slots=True)
class RenderState:
    """Where every vertex was in the previous picture, (V,3) homogeneous, for the flow; ``started`` False: nowhere."""

    place: F32
    spare: F32
    started: bool = False

    def reset(self, mask: bool = True) -> None:
        """Forgets the previous picture where ``mask`` is true."""
        self.started = self.started and not mask


class GeometricRenderer:
    """Static buffers for one viewer. ``size`` is (H, W); ``framing`` one of camera.FRAMINGS.

    ``background`` (h,w,3) u8 replaces the avatar's own. Raises ValueError on an unknown framing or a bad size.
    """

    def __init__(self, avatar: Avatar, size: tuple[int, int] = (512, 512), framing: str = "upper", *,
                 background: U8 | None = None, lights: Lights = STUDIO, samples: int = 4) -> None:  # fmt: skip
        self.framing = camera.framing(framing)
        mesh, look = material.build(avatar)
        self._body = Body(avatar)
        self._pose = self._body.allocate()
        self._raster = Rasterizer(mesh, size, samples)
        behind = avatar.background if background is None else background
        self._shader = Shader(self._raster, look, material.cover(behind, size), lights)
        self._rgb, self._alpha = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
        self._aim = np.array(camera.FRAMINGS["head"].target, np.float32)
        self._aim[1] -= 0.08  # the shadow map covers head, neck and collar

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures."""
        return self._raster.size

    def default_viewpoint(self) -> Viewpoint:
        """Where this framing is seen from unless told otherwise."""
        return self.framing.default_viewpoint()

    def initial_state(self) -> RenderState:
        """The state before the first picture."""
        count = len(self._raster.mesh.uv)
        return RenderState(np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32))

    def step(self, motion: Motion, viewpoint: Viewpoint, state: RenderState,
             stages: Stages | None = None) -> tuple[Picture, RenderState]:  # fmt: skip
        """Paints one frame. The picture's buffers are the renderer's own; copy what must outlive the next step."""
        pose = self._body.pose(motion, self._pose)
        _mark(stages, "body")
        view = camera.camera(viewpoint, self.framing, self.size)
        previous = state.place if state.started else None
        gbuffer = self._raster.draw(pose.vertices, pose.normals, view, previous, state.spare)
        _mark(stages, "raster")
        self._shader.draw(pose.vertices, view, self._aim, viewpoint.distance, self._rgb, self._alpha)
        _mark(stages, "shade")
        return Picture(self._rgb, self._alpha, gbuffer), RenderState(state.spare, state.place, True)


def _mark(stages: Stages | None, name: str) -> None:
    if stages is not None:
        stages.mark(name)
