"""Beards: short strands rooted in the skin of the lower face, that move with it. Lengths in metres on the template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import prior, ribbons
from training.bake.brush import bump, ease, noise, sample
from training.bake.follicles import Follicles, Skin
from training.bake.hair_grow import along
from training.bake.head import islands
from training.bake.identities import Identity
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig

Array = NDArray[Any]


@dataclass(frozen=True)
class Beard:
    """How much of each zone is grown, and how long."""

    moustache: float = 0.0
    chin: float = 0.0
    ring: float = 0.0  # from the moustache down to the chin, beside the mouth
    jaw: float = 0.0
    length: float = 0.007
    longer: float = 0.0  # added at the chin
    strands: int = 2600


BEARDS: Final[dict[str, Beard | None]] = {
    "none": None,
    "moustache": Beard(moustache=1.0, length=0.009, strands=900),
    "goatee": Beard(moustache=0.95, chin=1.0, ring=0.9, length=0.008, longer=0.006, strands=1900),
    "short_boxed": Beard(moustache=0.9, chin=1.0, ring=0.9, jaw=1.0, length=0.006, longer=0.003, strands=4800),
    "full": Beard(moustache=1.0, chin=1.0, ring=1.0, jaw=1.0, length=0.011, longer=0.016, strands=5600),
}
POINTS: Final = 4
WIDTH: Final = 0.0006


def beard_zone(place: Array, style: str) -> Array:
    """How thickly (n,) a beard grows at template positions (n, 3), in [0, 1]; lips are left to the caller."""
    beard = BEARDS[style]
    if beard is None:
        return np.zeros(len(place))
    side, y, z = np.abs(place[:, 0]), place[:, 1], place[:, 2]
    ragged = 0.005 * (noise(place, 130, 2, 31) - 0.5)
    upper = ease(-y + 0.4 * ragged, 0.0470, 0.0500) * ease(y, -0.072, -0.066) * ease(-side + ragged, -0.034, -0.026)
    upper = upper * (1 - 0.5 * bump(side, 0.0, 0.0026) * ease(y, -0.054, -0.050)) * ease(z, -0.01, 0.0)
    ring = bump(side + ragged - 0.25 * (y + 0.072), 0.0325, 0.0055) * ease(-y, 0.058, 0.064) * ease(y, -0.105, -0.092)
    soul = bump(side, 0.0, 0.0055) * ease(-y, 0.079, 0.081)
    chin = ease(-y + ragged, 0.0840, 0.0885) * ease(-side + ragged, -0.034, -0.024)
    line = -y - 0.42 * ease(side, 0.030, 0.066) * 0.075 + ragged
    jaw = ease(line, 0.040, 0.054) * ease(side, 0.022, 0.032) * ease(z, -0.092, -0.076)
    burn = ease(side, 0.050, 0.058) * np.minimum(1.5 * bump(z, -0.064, 0.013), 1.0) * ease(-y, -0.014, 0.004)
    burn = burn * ease(y, -0.09, -0.06)
    under = y + 0.126 - 0.60 * np.clip(-z - 0.002, 0.0, 0.075) + 0.5 * ragged  # a little way down the throat
    grown = np.stack([
        1.6 * beard.moustache * upper * ease(z, 0.0, 0.01), beard.ring * ring * ease(z, -0.01, 0.005),
        beard.chin * np.maximum(chin, 0.9 * soul * (y > -0.09)) * ease(z, -0.06, -0.03), beard.jaw * jaw,
        beard.jaw * burn,
    ])  # fmt: skip
    return np.asarray(np.minimum(grown.max(0), 1.3) * ease(under, -0.004, 0.006))


def beard_parts(person: Person, rig: Rig, identity: Identity, seed: int, detail: str) -> list[Part]:
    """The beard's strands for the studio, if there is one."""
    beard = BEARDS[identity.beard]
    if beard is None or detail == "pack":  # a pack's beard is paint: cards this short would be dots
        return []
    generator = np.random.default_rng([seed, 12])
    faces, uv = _lower_face()
    count = beard.strands

    def chance(place: Array, mpfb: Array) -> Array:
        return (
            beard_zone(place, identity.beard)
            * (1 - ease(_mask("lips", mpfb), 0.2, 0.6))
            * (1 - ease(_mask("ears", mpfb), 0.1, 0.5))
        )

    roots = Skin(person, rig, faces).scatter(count, chance, uv, generator)
    length = _length(roots, beard) * generator.uniform(0.65, 1.15, len(roots.point)) * generator.normal(1.0, 0.06)
    curves = _curves(roots, length, identity.curl, POINTS, generator)
    width = WIDTH * generator.uniform(0.75, 1.3, len(curves)) * (0.7 + 0.3 * ease(length, 0.004, 0.012))
    columns = ribbons.face_columns("beard", len(curves), generator)
    outward = np.repeat(roots.normal[:, None], curves.shape[1], axis=1)
    roll = generator.normal(0, 0.5, len(curves))
    part = ribbons.ribbons("beard", curves, width, outward, columns, roots.weight[:, :1], roll)
    return [roots.follow(part)]


def _lower_face() -> tuple[Array, Array]:
    """Template faces (f, 3) below the eyes and the prior's texture coordinates of their corners (f, 3, 2)."""
    points, uv, groups = prior.template()
    rows = np.concatenate([islands()["head"], islands()["torso"]])
    faces, coordinate = groups["body"].faces[rows], groups["body"].uv_faces[rows]
    middle = points[faces].mean(1)
    near = (middle[:, 1] < 0.02) & (middle[:, 1] > -0.16) & (middle[:, 2] > -0.11)
    return faces[near], uv[coordinate[near]]


def _mask(name: str, mpfb: Array) -> Array:
    return sample(prior.mask(name), mpfb[:, 0] * 2047, (1 - mpfb[:, 1]) * 2047)


def _length(roots: Follicles, beard: Beard) -> Array:
    side, y = np.abs(roots.place[:, 0]), roots.place[:, 1]
    chin = ease(-y, 0.080, 0.112) * ease(-side, -0.055, -0.010)
    cheek = np.maximum(ease(-y, 0.030, 0.075), ease(-roots.place[:, 2], 0.045, 0.06))
    upper = bump(y, -0.053, 0.008) * ease(-side, -0.04, -0.02)
    return np.asarray((beard.length * (0.45 + 0.55 * cheek) + beard.longer * chin) * (1 - 0.15 * upper))


def _curves(roots: Follicles, length: Array, curl: float, points: int, generator: np.random.Generator) -> Array:
    """Down the face, away from the middle on the lip, forward under the chin, all turning down as they lengthen."""
    count, x = len(roots.point), roots.place[:, 0]
    side, y = np.abs(x), roots.place[:, 1]
    upper = (bump(y, -0.053, 0.009) * ease(-side, -0.034, -0.026))[:, None]
    aside = np.sign(x) * (0.35 + 0.65 * ease(side, 0.0, 0.022))
    lip = np.stack([aside, np.full(count, -0.9), np.zeros(count)], axis=1)
    below = ease(-y, 0.108, 0.128)
    down = np.stack([0.10 * np.sign(x) * (1 - below), np.full(count, -1.0), 0.12 + 0.5 * below], axis=1)
    flow = upper * lip + (1 - upper) * down + generator.normal(0, 0.28 + 0.25 * curl, (count, 3))
    flow -= 0.9 * (flow * roots.normal).sum(1, keepdims=True) * roots.normal
    flow /= np.maximum(np.linalg.norm(flow, axis=1, keepdims=True), 1e-9)
    stand = generator.uniform(0.25, 0.60, (count, 1, 1))
    s = along(points)[None, :, None]
    reach = length[:, None, None]
    bend = generator.normal(0, 0.10 + 0.35 * curl, (count, 1, 3))
    path = s * flow[:, None] + stand * (s - 0.45 * s**2) * roots.normal[:, None] + bend * s * (1 - s)
    path = path + np.array([0.0, -0.25, 0.0]) * s**2
    return np.asarray(roots.point[:, None] - 0.0003 * roots.normal[:, None] + reach * path)
