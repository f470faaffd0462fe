"""Cooks the studio's sittings with packs as enrolment makes them: from one photograph, hair as that photograph has it.

The person's shape is the true one, and so is the photograph's camera; what errs is what :mod:`photographic` spoils.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS, Avatar
from engine.avatar_reference import GREY, SIDE, Reference
from engine.body.body import Body
from engine.motion.frame import Motion
from engine.render import camera
from engine.render.guidance import Guide, Surface
from engine.render.reference import FRAMING
from engine.viewpoint import Viewpoint
from kernels import texture
from kernels.rasterize import Camera
from training.portrait.fit import Fit, Lens
from training.portrait.mane import own_hair
from training.renderer import photographic
from training.renderer.cook import Kitchen, Planes, Served
from training.studio.lights import Light
from training.studio.places import Place
from training.studio.records import Record

U8 = NDArray[np.uint8]
FRAMES: Final = 14  # of a clip
HELD: Final = (0.07, 0.12, 0.04)  # deviation of how a head is held for a photograph, radians about x, y, z
BEARD: Final = (-0.030, 0.055)  # metres below the eyes and to the sides: hair there on skin is a beard, which is paint
HAIR: Final = REGIONS.index("hair")


class EnrolledKitchen(Kitchen):
    """Cooks FRAMES frames of each clip as a pack made from one photograph is told of them."""

    packs = "enrolled"

    def _served(self, row: dict[str, Any], records: list[Record], light: Light, place: Place) -> Served:
        rng = np.random.default_rng((self.plan.seed, row["clip"], 41))
        begin = int(rng.integers(max(len(records) - FRAMES, 0) + 1))
        few = records[begin : begin + FRAMES]
        person = self.studio._person
        assert person is not None
        pose = held(few[int(rng.integers(len(few)))].motion if rng.random() < 0.5 else Motion.rest(), rng)
        view = Viewpoint(distance=camera.framing(FRAMING).distance)
        shot = self.studio.picture(pose, view, FRAMING, light, place)
        colours = photographic.colours(shot.rgb, shot.region == HAIR, person.identity.beard != "none", rng)
        regions = unbearded(shot.region, person.avatar, pose, view)
        rgb, alpha, regions = photographic.taken(colours(shot.rgb, shot.region == HAIR), shot.alpha, regions, rng)
        avatar = own_hair(shorn(person.avatar), rgb, fitted(person.avatar, pose, view), alpha, regions)
        return Served(avatar, reference(rgb, alpha, regions, view, pose), few, partial(coloured, colours))


def held(motion: Motion, rng: np.random.Generator) -> Motion:
    """The face of ``motion`` on a body at rest, the head held as people hold it before a camera."""
    out = Motion.rest()
    out.face[:], out.gaze[:] = motion.face, motion.gaze
    out.head[:3] = rng.normal(0.0, HELD)
    return out.clipped()


def shorn(avatar: Avatar) -> Avatar:
    """The avatar without the faces of its hair."""
    kept = avatar.region != HAIR
    return replace(avatar, faces=avatar.faces[kept], region=avatar.region[kept], layer=avatar.layer[kept])


def fitted(avatar: Avatar, motion: Motion, view: Viewpoint) -> Fit:
    """What a fit without any error would say of a photograph of the avatar from ``view`` in front."""
    bone = Body(avatar).pose(motion).bones[avatar.bones.index("head")].astype(np.float64)
    seen = lens(camera.camera(view, camera.framing(FRAMING), (SIDE, SIDE)), bone)
    nowhere = np.zeros((478, 2))
    return Fit(
        np.zeros(8), np.zeros(0), motion.face.astype(np.float64), motion.gaze.astype(np.float64), seen, 0.0, nowhere,
        nowhere,
    )  # fmt: skip


def lens(seen: Camera, bone: NDArray[np.float64]) -> Lens:
    """A camera as one before the head whose ``bone`` (3, 4) takes the resting head to where it is."""
    turn = np.diag([1.0, -1.0, -1.0]) @ seen.rotation.astype(np.float64) @ bone[:, :3]
    place = seen.rotation.astype(np.float64) @ bone[:, 3] + seen.translation
    scale, centre = seen.focal / place[2], np.array(seen.centre, np.float64)
    return Lens(turn, centre + scale * place[:2], float(scale), float(1.0 / place[2]), centre)


def unbearded(regions: U8, avatar: Avatar, motion: Motion, view: Viewpoint) -> U8:
    """Regions (SIDE, SIDE) of a photograph with hair that grows low on the face as face."""
    one = np.zeros((8, 8, 1), np.uint8)
    plain = Surface(texture.build(np.dstack([one] * 4), np.dstack([one] * 4), np.zeros((8, 8), bool)))
    guide = Guide(shorn(avatar), plain, (SIDE, SIDE), FRAMING)
    guide.draw(motion, view)
    seen = fitted(avatar, motion, view).lens
    row, column = np.mgrid[:SIDE, :SIDE] + 0.5 - seen.origin[::-1, None, None]
    low = (row > -BEARD[0] * seen.scale) & (np.abs(column) < BEARD[1] * seen.scale)
    skin = np.isin(guide.raster.gbuffer.region, [REGIONS.index(name) for name in ("face", "lips", "neck_ears")])
    return np.where((regions == HAIR) & skin & low, REGIONS.index("face"), regions).astype(np.uint8)


def reference(rgb: U8, alpha: U8, regions: U8, view: Viewpoint, motion: Motion) -> Reference:
    """The photograph as training.portrait.retake would give it to the pack."""
    cover = np.where(regions == 0, np.minimum(alpha, 127), alpha).astype(np.uint8)
    over = GREY + (rgb.astype(np.float64) - GREY) * (cover[..., None] / 255.0)
    label = np.where(cover > 0, regions, 0).astype(np.uint8)
    return Reference(
        np.clip(np.rint(over), 0, 255).astype(np.uint8)[None], cover[None], label[None], (view,), FRAMING, motion
    )


def coloured(colours: photographic.Colours, planes: Planes, record: Record) -> Planes:
    """A cooked frame whose target has the photograph's colours."""
    target = colours.premultiplied(np.moveaxis(planes.target, 0, 2), record.region == HAIR)
    return planes._replace(target=np.ascontiguousarray(np.moveaxis(target, 2, 0)))
