"""The scalp: the hairline, how deep inside it a point lies, and where hairs have their roots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import prior
from training.bake.brush import ease, noise
from training.bake.head import islands
from training.bake.prior import Person

Array = NDArray[Any]
TEMPLATE_TOP: Final = 0.1213  # metres from the eyes to the top of the template's head
CENTRE: Final = np.array([0.0, 0.022, -0.082])  # of the skull, template size
CROWN: Final = np.array([0.006, 0.098, -0.125])  # where hair whorls, template size
# Hairline beside and behind the face: metres behind the eyes -> height of the line (template size).
SIDE_LINE: Final = np.array(
    [[0.040, 0.058], [0.050, 0.038], [0.056, 0.010], [0.060, -0.024], [0.075, -0.028], [0.081, 0.008],
     [0.094, 0.017], [0.104, 0.006], [0.113, -0.028], [0.124, -0.056], [0.140, -0.074]]
)  # fmt: skip


def head_scale(person: Person) -> float:
    """Size of a person's head as a multiple of the template's."""
    return float(person.rest[: prior.BODY, 1].max()) / TEMPLATE_TOP


def hairline(place: Array, recede: float = 0.0) -> Array:
    """Metres (n,) inside the hairline at template positions (n, 3); ``recede`` raises it at the temples."""
    side, back = np.abs(place[:, 0]), -place[:, 2]
    front = 0.064 + recede - 0.30 * np.clip(side - 0.026, 0, None) - 3.0 * np.clip(side - 0.045, 0, None) ** 1.5
    front = front + 2.0 * max(recede, 0.0) * np.exp(-(((side - 0.042) / 0.012) ** 2))
    line = np.interp(back, SIDE_LINE[:, 0], SIDE_LINE[:, 1])
    blend = np.clip((back - 0.012) / 0.040, 0, 1)
    blend = blend * blend * (3 - 2 * blend)
    return np.asarray(place[:, 1] - np.where(back < 0.052, front + (line - front) * blend, line))


@dataclass(frozen=True)
class Roots:
    """Where n hairs leave the scalp. Lengths in metres."""

    point: Array  # (n, 3) on the person
    normal: Array  # (n, 3) unit
    place: Array  # (n, 3) on the template: what styles are laid out on
    depth: Array  # (n,) inside the hairline
    top: Array  # (n,) 0 at the sides .. 1 on top
    front: Array  # (n,) 0 .. 1 toward the forehead
    back: Array  # (n,) 0 .. 1 behind the ears

    def __len__(self) -> int:
        return len(self.point)

    def keep(self, rows: Array) -> Roots:
        """Some of them."""
        return Roots(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def grow_roots(person: Person, count: int, recede: float, generator: np.random.Generator) -> Roots:
    """About ``count`` roots, evenly over the scalp and thinning out softly at the hairline."""
    faces, ears = scalp_faces()
    corner = person.rest[faces].astype(float)
    flat = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(flat, axis=1)
    middle = hairline(prior.template()[0][faces].mean(1), recede)
    total = np.cumsum(area * (1 + 1.6 * np.exp(-(((middle - 0.005) / 0.010) ** 2))))  # more and finer hair at the line
    # Equal steps along the summed area with a jittered start each: as even as the triangles are.
    wanted = int(count * 2.2)
    face = np.searchsorted(total, (np.arange(wanted) + generator.random(wanted)) / wanted * total[-1])
    u, v = generator.random(wanted), generator.random(wanted)
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    share = np.stack([1 - u - v, u, v], axis=1)
    place = np.einsum("nk,nkc->nc", share, prior.template()[0][faces[face]].astype(float))
    depth = hairline(place, recede)
    # Irregular along the line: tongues and bays of a few millimetres, as hairlines have.
    ragged = depth + 0.006 * (noise(place, 120, 2, int(generator.integers(1 << 20))) - 0.5)
    temple = ease(np.abs(place[:, 0]), 0.035, 0.05) * ease(place[:, 2], -0.075, -0.03)
    chance = ease(ragged / (1 + temple), -0.0015, 0.0075) * (1 - ease(ears[face], 0.2, 0.6))
    rows = np.flatnonzero((generator.random(wanted) < chance) & (place[:, 1] > -0.085))
    rows = np.sort(generator.permutation(rows)[:count])
    place, normal = place[rows], flat[face[rows]] / area[face[rows], None]
    offset = (place - CENTRE) / np.linalg.norm(place - CENTRE, axis=1, keepdims=True)
    return Roots(
        point=np.einsum("nk,nkc->nc", share[rows], corner[face[rows]]), normal=normal, place=place, depth=depth[rows],
        top=ease(offset[:, 1], 0.18, 0.72), front=ease(place[:, 2], -0.075, 0.0), back=ease(-place[:, 2], 0.085, 0.13),
    )  # fmt: skip


@cache
def scalp_faces() -> tuple[Array, Array]:
    """(template faces (f, 3) that may grow hair, from ear to ear, how much ear each is)."""
    points, uv, groups = prior.template()
    rows = islands()["head"]
    faces, coordinate = groups["body"].faces[rows], groups["body"].uv_faces[rows]
    middle = points[faces].mean(1)
    place = uv[coordinate].mean(1)
    ears = prior.mask("ears")[((1 - place[:, 1]) * 2047).astype(int), (place[:, 0] * 2047).astype(int)]
    grows = (hairline(middle) > -0.012) & (middle[:, 1] > -0.09)
    order = np.argsort(np.arctan2(middle[grows, 0], middle[grows, 2]) + 0.001 * middle[grows, 1])
    return faces[grows][order], ears[grows][order]
