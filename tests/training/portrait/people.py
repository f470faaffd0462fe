"""A shipped avatar as if photographed by a stranger: the picture, and everything a perfect fit would say of it."""

from dataclasses import replace
from functools import cache

import numpy as np

from engine import avatar as packs
from engine.avatar import REGIONS
from engine.avatar_reference import SIDE
from engine.body.body import Body
from engine.motion.frame import Motion
from engine.render import camera, reference
from engine.viewpoint import Viewpoint
from training.portrait.fit import Fit, Lens

HAIR = REGIONS.index("hair")


@cache
def photographed(name="ada"):
    """(avatar, photo (S, S, 3) over green, alpha, regions) of a shipped avatar from the front."""
    avatar = packs.load(packs.find(name))
    taken = reference.paint(replace(avatar, reference=None), (0.0,))
    alpha, share = taken.alphas[0], taken.alphas[0][..., None] / 255.0
    green = np.array([40, 140, 60]) * (1 - share)
    photo = np.clip(np.rint(taken.photos[0] - reference.GREY * (1 - share) + green), 0, 255).astype(np.uint8)
    return avatar, photo, alpha, taken.regions[0]


def perfect(avatar, motion=None):
    """The Fit of a photograph from the front in which nothing errs."""
    motion = motion or Motion.rest()
    frame = camera.framing(reference.FRAMING)
    seen = camera.camera(Viewpoint(distance=frame.distance), frame, (SIDE, SIDE))
    bone = Body(avatar).pose(motion).bones[avatar.bones.index("head")].astype(np.float64)
    turn = np.diag([1.0, -1.0, -1.0]) @ seen.rotation @ bone[:, :3]
    place = seen.rotation @ bone[:, 3] + seen.translation
    centre, scale = np.array(seen.centre, np.float64), seen.focal / place[2]
    lens = Lens(turn, centre + scale * place[:2], float(scale), float(1 / place[2]), centre)
    points = lens.origin + np.linspace(-30, 30, 478)[:, None] * [1.0, 0.2]
    return Fit(
        np.full(8, 0.5), np.zeros(0), np.zeros(52), np.zeros(2), lens, 0.0, points, points
    )  # fmt: skip


def shorn(avatar):
    """The avatar without its hair."""
    kept = avatar.region != HAIR
    return replace(avatar, faces=avatar.faces[kept], region=avatar.region[kept], layer=avatar.layer[kept])
