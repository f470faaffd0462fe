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
from engine.render import camera, composite, material
from engine.render.composite import Backdrop
from engine.render.picture import Picture, safe
from engine.stages import Stages
from engine.viewpoint import Viewpoint
from kernels.rasterize import GBuffer, Rasterizer
from kernels.shade import STUDIO, Lights, Shader
from kernels.texture import to_linear, to_srgb

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class GeometricPicture(Picture):
    """Also: what was seen."""

    gbuffer: GBuffer


@dataclass(slots=True)
class GeometricState:
    """Where every vertex was in the previous picture, (V,3) homogeneous, for the flow; ``started`` False: nowhere."""

    place: F32
    spare: F32
    started: bool = False

    def reset(self, mask: bool = True) -> None:
        """Forgets the previous picture where ``mask`` is true."""
        self.started = self.started and not mask


class GeometricRenderer:
    """Static buffers for one viewer. ``size`` is (H, W); ``framing`` one of camera.FRAMINGS.

    ``background``, a Backdrop or a picture (h,w,3) u8, replaces the avatar's own.
    Raises ValueError on an unknown framing or a bad size.
    """

    def __init__(
        self, avatar: Avatar, size: tuple[int, int] = (512, 512), framing: str = "upper", *,
        background: Backdrop | U8 | None = None, lights: Lights = STUDIO, samples: int = 4,
    ) -> None:  # fmt: skip
        self.framing = camera.framing(framing)
        mesh, look = material.build(avatar)
        self._body = Body(avatar)
        self._pose = self._body.allocate()
        self._raster = Rasterizer(mesh, size, samples)
        if isinstance(background, np.ndarray):
            background = Backdrop("image", picture=background)
        self._avatar, self._backdrop = avatar, background or Backdrop()
        self._shader = Shader(self._raster, look, composite.behind(self._backdrop, avatar, size), lights)
        self.clamped = 0
        self._rgb, self._alpha = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
        self._aim = np.array(camera.FRAMINGS["head"].target, np.float32)
        self._aim[1] -= 0.08  # the shadow map covers head, neck and collar

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures."""
        return self._raster.size

    @property
    def transparent(self) -> bool:
        """Whether nothing is behind the avatar."""
        return self._backdrop.transparent

    def show(self, backdrop: Backdrop) -> None:
        """Changes what is behind the avatar from the next picture on."""
        self._shader.background = np.ascontiguousarray(composite.behind(backdrop, self._avatar, self.size))
        self._backdrop = backdrop

    def keep_to(self, lane: int | None) -> None:
        """Makes no difference here."""

    def cutout(self) -> U8:
        """The last picture without its background, (H,W,4) sRGB with straight alpha; a new array. Blending was done in
        linear light, and is undone there."""
        share = np.maximum(self._alpha[..., None], 1) / np.float32(255)
        light = to_linear(self._rgb.astype(np.float32) / np.float32(255)) / share
        bare = to_srgb(np.minimum(light, np.float32(1)).astype(np.float32))
        return np.dstack([np.rint(bare * 255).astype(np.uint8), self._alpha])

    def default_viewpoint(self) -> Viewpoint:
        """Where this framing is seen from unless told otherwise."""
        return self.framing.default_viewpoint()

    def initial_state(self) -> GeometricState:
        """The state before the first picture."""
        count = len(self._raster.mesh.uv)
        return GeometricState(np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32))

    def step(self, motion: Motion, viewpoint: Viewpoint, state: GeometricState,
             stages: Stages | None = None) -> tuple[GeometricPicture, GeometricState]:  # fmt: skip
        """Paints one frame. The picture's buffers are the renderer's own; copy what must outlive the next step."""
        motion, _, changed = safe(motion)
        self.clamped += changed
        pose = self._body.pose(motion, self._pose)
        _mark(stages, "body")
        view = camera.camera(viewpoint, self.framing, self.size)
        previous = state.place if state.started else None
        gbuffer = self._raster.draw(pose.vertices, pose.normals, view, previous, state.spare)
        _mark(stages, "raster")
        self._shader.draw(pose.vertices, view, self._aim, viewpoint.distance, self._rgb, self._alpha)
        _mark(stages, "shade")
        return GeometricPicture(self._rgb, self._alpha, gbuffer), GeometricState(state.spare, state.place, True)


def _mark(stages: Stages | None, name: str) -> None:
    if stages is not None:
        stages.mark(name)
