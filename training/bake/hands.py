"""Paint for hands over the skin's own: nails, the creases over finger joints and in the palm, redder knuckles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS
from training.bake import atlas, head, mesh, prior
from training.bake.brush import bump, ease, linear, noise, sample
from training.bake.identities import Identity
from training.bake.paint_parts import Canvas

Array = NDArray[Any]
FINGERS: Final = range(2, 6)  # the prior's index .. little; finger1 is the thumb
CREASE: Final = 0.00024  # metres deep, over a finger joint
POLISH: Final = 0.55  # makeup above which nails are painted


@dataclass(frozen=True)
class HandMap:
    """The texels (n) of the hands' painting: template ``place`` (n, 3) of the left one, how much each is nail, how near
    the nail's edge, on the inner side of the hand, and metres along the finger from the nearest joint (inf: none)."""

    covered: Array  # (SIZE, SIZE) bool
    place: Array
    nail: Array
    rim: Array
    palm: Array
    joint: Array
    knuckle: Array  # 1 for joints inside a finger, 0.6 where it leaves the hand


@cache
def hand_map() -> HandMap:
    """Computed once a process."""
    whole, points = head.whole_skin(), prior.template()[0]
    left = (whole.region == REGIONS.index("hands")) & (points[whole.vertex][whole.faces][:, :, 0].mean(1) > 0)
    place = points[whole.vertex].astype(float)
    normal = mesh.vertex_normals(place, whole.faces, mesh.first_of(whole.vertex))
    values = np.c_[place, prior.template()[1][whole.coordinate], normal]
    under, covered = atlas.rasterise(whole.uv, whole.faces[left], values)
    texel = under[covered].astype(float)
    mask = prior.mask("fingernails")
    nail = sample(mask, texel[:, 3] * 2047, (1 - texel[:, 4]) * 2047)
    joint, knuckle = _joints(texel[:, :3])
    return HandMap(
        covered,
        texel[:, :3],
        ease(nail, 0.35, 0.65),
        bump(nail, 0.5, 0.28),
        ease(-texel[:, 6], 0.0, 0.5),
        joint,
        knuckle,
    )


def _joints(place: Array) -> tuple[Array, Array]:
    """(signed metres along the finger from the nearest joint, strength of its creases) at left-hand places (n, 3)."""
    same, points = prior.constants(), prior.template()[0]
    names = _bone_names()
    best, along, strength = np.full(len(place), np.inf), np.full(len(place), np.inf), np.zeros(len(place))
    for finger in FINGERS:
        centre = []
        for k in (1, 2, 3):
            before = names[f"metacarpal{finger - 1}.L"] if k == 1 else names[f"finger{finger}-{k - 1}.L"]
            here = names[f"finger{finger}-{k}.L"]
            shares = [(same.skin_weight * (same.skin_index == bone)).sum(1)[: prior.BODY] for bone in (before, here)]
            both = shares[0] * shares[1]
            centre.append((both[:, None] * points[: prior.BODY]).sum(0) / max(float(both.sum()), 1e-9))
        for k, middle in enumerate(centre):
            way = centre[min(k + 1, 2)] - centre[min(k, 1)]
            way = way / np.linalg.norm(way)
            offset = place - middle
            away = np.linalg.norm(offset, axis=1)
            nearer = (away < best) & (away < 0.016)
            best = np.where(nearer, away, best)
            along = np.where(nearer, offset @ way, along)
            strength = np.where(nearer, 0.45 if k == 0 else 1.0, strength)
    return along, strength * ease(-best, -0.016, -0.011)


@cache
def _bone_names() -> dict[str, int]:
    person = prior.sample({}, {})
    return {name: place for place, name in enumerate(person.bones.tolist())}


def paint_hands(canvas: Canvas, identity: Identity, seed: int) -> None:
    """Adds nails and creases to hands that the skin's paint has already covered."""
    here = hand_map()
    colour = canvas.albedo[here.covered, :3]
    height: Array = canvas.height[here.covered]
    near = np.where(np.isfinite(here.joint), here.joint, 1.0)
    rough = noise(here.place, 900.0, 2, seed + 95) - 0.5
    lines = sum(bump(near + 0.0007 * rough, shift, 0.00055) for shift in (-0.0034, -0.0012, 0.0010, 0.0030))
    folds = sum(bump(near + 0.0004 * rough, shift, 0.00065) for shift in (-0.0008, 0.0013))
    back = (1 - here.palm) * here.knuckle
    inner = here.palm * here.knuckle
    aged = 0.6 + 0.9 * identity.wrinkles
    height = height - CREASE * aged * (lines * back) - 1.6 * CREASE * folds * inner
    red = bump(near, 0.0, 0.0045) * back
    colour = colour * (1 - red[:, None] * np.array([0.05, 0.20, 0.20]))
    colour = colour * (1 - (0.24 * aged * lines * back)[:, None] * np.array([0.8, 1.0, 1.0]))
    colour = colour * (1 - (0.42 * folds * inner)[:, None] * np.array([0.6, 1.0, 1.0]))
    painted = identity.makeup > POLISH
    pink = 0.50 * linear(identity.skin) + 0.50 * linear((0.93, 0.72, 0.68))
    nail = linear(identity.lip) * 0.9 if painted else pink
    colour = colour + here.nail[:, None] * (nail - colour)
    colour = colour * (1 - 0.38 * here.rim * (1 - 0.7 * here.nail))[:, None]
    height = height * (1 - here.nail) - 0.00012 * here.rim * (1 - here.nail)
    canvas.albedo[here.covered, :3] = np.clip(colour, 0.0, 1.0)
    canvas.height[here.covered] = height
    gloss = canvas.surface[here.covered, 1]
    canvas.surface[here.covered, 1] = gloss + here.nail * ((0.80 if painted else 0.55) - gloss)
