"""Guidance: what the neural renderer is told of a frame, drawn by the engine's own body and rasterizer.

The same code cooks the training data and runs in a session, so the network sees at run time what it was trained on.
It knows nothing of networks; the planes are described in kernels/guidance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS, Avatar
from engine.body.body import Body, BodyPose
from engine.motion.frame import Motion
from engine.render import camera, material
from engine.render.relight import KINDS
from engine.stages import Stages
from engine.viewpoint import Viewpoint
from kernels import guidance as planes
from kernels.guidance import Guidance, Past
from kernels.rasterize import Camera, Rasterizer
from kernels.texture import Texture
from kernels.warp import warp

__all__ = ["MASKS", "MASK_OF_REGION", "Guidance", "Guide", "History", "warp"]

F32 = NDArray[np.float32]
MASKS: Final = {
    "none": ("background",),
    "skin": ("face", "neck_ears"),
    "eyes": ("eyes",),
    "mouth": ("lips", "mouth", "teeth", "tongue"),
    "hair": ("hair", "brows", "lashes"),
    "clothes": ("torso", "arms"),
    "hands": ("hands",),
    "accessories": ("accessories",),
}  # class names in the order of their ids, each with the names of its regions
MASK_OF_REGION: Final = np.zeros(256, np.uint8)
for _mask, _names in enumerate(MASKS.values()):
    MASK_OF_REGION[[REGIONS.index(_name) for _name in _names]] = _mask
assert sorted(sum(MASKS.values(), ())) == sorted(REGIONS)


class Surface(NamedTuple):
    """What an avatar's surface looks like. texture: red, green, blue (sRGB), opacity, valid, gloss, subsurface, strand;
    light (2,3,TERMS): what skin's and cloth's colours are multiplied by (kernels/guidance/shine.py)."""

    texture: Texture
    light: F32 = planes.even()


@dataclass(slots=True)
class History:
    """The previous frame: where every vertex was, (V,3) homogeneous, and what was seen. ``started`` False: none."""

    place: F32
    seen: Past
    spare_place: F32
    spare_seen: Past
    started: bool = field(default=False)

    def reset(self, mask: bool = True) -> None:
        """Forgets the previous frame where ``mask`` is true."""
        self.started = self.started and not mask

    def turn(self) -> None:
        """What was drawn last becomes the previous frame."""
        self.place, self.spare_place = self.spare_place, self.place
        self.seen, self.spare_seen = self.spare_seen, self.seen
        self.started = True


class Guide:
    """Draws the guidance of one avatar at one size. ``surface`` is what it looks like (engine/render/reference.py);
    ``size`` (H, W), even; ``framing`` one of camera.FRAMINGS.

    Nothing is allocated by ``draw``. Raises ValueError on an unknown framing or a bad size.
    """

    def __init__(self, avatar: Avatar, surface: Surface, size: tuple[int, int], framing: str) -> None:
        mesh, _ = material.build(avatar)
        self.framing = camera.framing(framing)
        self.surface = surface
        self._body = Body(avatar)
        self._pose: BodyPose = self._body.allocate()
        self.raster = Rasterizer(mesh, size, samples=1)
        self._planes = planes.Planes(self.raster, MASK_OF_REGION, KINDS)
        self._history, self._out = self.history(), planes.allocate(size)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures."""
        return self.raster.size

    def history(self) -> History:
        """A history before the first frame, for a caller that keeps its own."""
        count = len(self.raster.mesh.uv)
        place, spare = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32)
        return History(place, self._planes.past(), spare, self._planes.past())

    def cut(self) -> None:
        """Forgets the previous frame."""
        self._history.reset()

    def veil(self) -> NDArray[np.uint8]:
        """How much of each pixel (H,W) hair and lashes cover in the frame drawn last: 255 = all of it. A new array."""
        return self._planes.veil()

    def camera(self, viewpoint: Viewpoint) -> Camera:
        """The camera of a frame."""
        return camera.camera(viewpoint, self.framing, self.size)

    def draw(self, motion: Motion, viewpoint: Viewpoint, history: History | None = None, out: Guidance | None = None,
             stages: Stages | None = None) -> Guidance:  # fmt: skip
        """The guidance of the next frame, in ``out`` or in buffers that live until the next draw.

        ``history`` is the caller's; without one the guide's own goes on from its last draw. A frame without a previous
        one has a flow near 0, and nothing seen.
        """
        history, out = history or self._history, out or self._out
        pose, view = self._body.pose(motion, self._pose), self.camera(viewpoint)
        if stages is not None:
            stages.mark("body")
        before = history.place if history.started else None
        self.raster.draw(pose.vertices, pose.normals, view, before, history.spare_place)
        if stages is not None:
            stages.mark("raster")
        past = history.seen if history.started else None
        self._planes.draw(*self.surface, view, viewpoint.distance, past, history.spare_seen, out)
        history.turn()
        if stages is not None:
            stages.mark("guide")
        return out
