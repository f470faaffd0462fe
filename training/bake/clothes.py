"""Clothes: tops as data, and dressing a person in one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import collars, fabric, mesh, prior, trims
from training.bake.fabric import Fit
from training.bake.identities import Identity
from training.bake.mesh import Part
from training.bake.pattern import Cut, cloth_part, pattern
from training.bake.prior import Person
from training.bake.rig import Rig
from training.bake.trims import Sheet

Array = NDArray[Any]
# Profiles of edges: (metres beyond the edge, metres off the base cloth).
RIBBED: Final = ((-0.006, 0.0), (-0.002, 0.0030), (0.006, 0.0042), (0.014, 0.0040), (0.018, 0.0025), (0.0185, 0.0),
                 (0.016, -0.0020), (0.004, -0.0035), (-0.012, -0.0050), (-0.021, -0.0190))  # fmt: skip
ROLLED: Final = ((-0.006, 0.0), (0.0, 0.0040), (0.014, 0.0065), (0.030, 0.0085), (0.044, 0.0090), (0.050, 0.0070),
                 (0.050, 0.0035), (0.044, 0.0010), (0.020, -0.0010), (0.0, -0.0040), (-0.018, -0.0190))  # fmt: skip
CUFF: Final = ((-0.006, 0.0), (0.0, 0.0015), (0.012, 0.0005), (0.030, -0.0010), (0.042, -0.0015), (0.045, -0.0030),
               (0.040, -0.0045), (0.020, -0.0060), (-0.010, -0.0080), (-0.018, -0.0200))  # fmt: skip
HEMMED: Final = ((-0.020, 0.0002), (-0.0188, 0.0024), (0.000, 0.0026), (0.001, 0.0006), (-0.001, -0.0018),
                 (-0.018, -0.0030), (-0.034, -0.0060), (-0.046, -0.0240))  # fmt: skip
FACING: Final = ((-0.009, 0.0004), (-0.008, 0.0012), (0.000, 0.0014), (0.0012, 0.0), (0.0, -0.0018), (-0.010, -0.0030),
                 (-0.020, -0.0045), (-0.026, -0.0210))  # fmt: skip
BUTTONED: Final = ((-0.010, 0.0004), (-0.009, 0.0018), (0.016, 0.0020), (0.036, 0.0020), (0.038, 0.0),
                   (0.036, -0.0020), (0.010, -0.0040), (-0.010, -0.0060), (-0.018, -0.0200))  # fmt: skip


TUCK: Final = 0.007  # metres that skin under cloth gives way


@dataclass(frozen=True)
class Top:
    """A garment: how it is cut, how it hangs, what it is made of (see paint_cloth.WEAVES) and its trimmings.

    ``neck`` and ``cuffs`` are profiles of their edges, drawn in the rectangles ``edge`` and ``hem``; ``extras``
    make further sheets; ``inner`` is a top worn below.
    """

    cut: Cut
    fit: Fit
    weave: str
    neck: tuple[tuple[float, float], ...] = FACING
    cuffs: tuple[tuple[float, float], ...] = HEMMED
    edge: str = "plain"
    hem: str = "plain"
    extras: tuple[Callable[[Cut], list[Sheet]], ...] = ()
    inner: Top | None = None
    necks: dict[str, Cut] = field(default_factory=dict, hash=False)  # other cuts by Identity.neckline


NECKLINES: Final = {
    "crew": Cut(0.084, 0.052, 0.056),
    "round": Cut(0.098, 0.068, 0.066),
    "roll": Cut(0.060, 0.046, 0.048),
    "vee": Cut(0.080, 0.056, 0.058, vee=-0.258, open=0.60),
}
SHIRT: Final = Top(
    Cut(0.064, 0.042, 0.046, vee=-0.235, open=0.36), Fit(0.009, 0.010, 0.75, 0.0045), "poplin", cuffs=BUTTONED,
    extras=(collars.shirt_collar, collars.placket, collars.buttons),
)  # fmt: skip
UNDER: Final = Top(
    Cut(0.064, 0.042, 0.046, vee=-0.215, open=0.34, below=-0.50), Fit(0.005, 0.006, 0.2, 0.0), "poplin", edge="second",
    extras=(collars.inner_collar, collars.inner_placket, collars.inner_buttons),
)  # fmt: skip
TOPS: Final = {
    "jumper": Top(
        NECKLINES["crew"], Fit(0.0085, 0.009, 0.6, 0.004), "knit", RIBBED, CUFF, "rib", "rib", necks=NECKLINES,
    ),
    "tshirt": Top(
        Cut(0.086, 0.055, 0.060, sleeve=0.150), Fit(0.007, 0.012, 0.7, 0.004), "jersey",
        tuple((0.8 * out, 0.55 * lift) for out, lift in RIBBED), HEMMED, "rib",
    ),
    "shirt": SHIRT,
    "blouse": Top(
        Cut(0.070, 0.060, 0.060, vee=-0.280, open=0.62), Fit(0.009, 0.014, 0.85, 0.0055), "satin", FACING, CUFF,
    ),
    "polo": Top(
        Cut(0.066, 0.044, 0.048, vee=-0.245, open=0.30, sleeve=0.155), Fit(0.007, 0.011, 0.65, 0.0035), "jersey",
        cuffs=tuple((out, 1.5 * lift) for out, lift in HEMMED), extras=(collars.soft_collar, collars.short_placket),
    ),
    "jacket": Top(
        Cut(0.072, 0.052, 0.054, vee=-0.435, open=0.335), Fit(0.017, 0.015, 0.8, 0.002, 0.75), "wool", FACING, HEMMED,
        extras=(collars.jacket_collar, collars.lapels, collars.jacket_button), inner=UNDER,
    ),
    "hoodie": Top(
        Cut(0.082, 0.056, 0.058), Fit(0.013, 0.014, 0.75, 0.005, 0.7), "fleece", FACING, CUFF, "rib", "rib",
        extras=(collars.hood, collars.cords),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Outfit:
    """What somebody wears: its parts, (N,) bool which template skin it hides, and the person with skin tucked in."""

    parts: list[Part]
    hidden: Array
    person: Person

    @property
    def cover(self) -> list[Part]:
        """The parts that hair lies on."""
        return [part for part in self.parts if part.name in ("cloth", "collar", "hood")]


def dress(person: Person, rig: Rig, identity: Identity, seed: int = 0) -> Outfit:
    """Dresses a person in ``identity.top``. Raises ValueError when there is no such top."""
    if identity.top not in TOPS:
        raise ValueError(f"unknown top {identity.top!r}: choose one of {', '.join(TOPS)}")
    top = TOPS[identity.top]
    skin = fabric.skin_of(person)
    parts: list[Part] = []
    hidden, tuck = np.zeros(len(person.rest), bool), np.zeros(len(person.rest))
    layer: Top | None = top
    while layer is not None:
        cut = layer.necks.get(identity.neckline, layer.cut)
        draped = fabric.drape(person, rig, layer.fit, skin, seed)
        parts.append(cloth_part(pattern(cut), draped, "cloth" if layer is top else "inner"))
        parts += [sheet.part(draped) for sheet in _sheets(layer, cut, identity.neckline)]
        hidden |= cut.hides(person.template)
        tuck = np.maximum(tuck, cut.tucks(person.template))
        layer = layer.inner
    body = prior.template()[2]["body"].faces
    inward = mesh.vertex_normals(person.rest.astype(float), body)[: prior.BODY] * tuck[: prior.BODY, None]
    rest = person.rest.copy()
    rest[: prior.BODY] -= (TUCK * inward).astype(np.float32)
    return Outfit(parts, hidden, dataclasses.replace(person, rest=rest))


@cache
def _sheets(top: Top, cut: Cut, neckline: str) -> tuple[Sheet, ...]:
    """The trimmings of a top, worked out once."""
    rects = {"rib": trims.RIB, "second": trims.SECOND, "plain": trims.PLAIN}
    neck = ROLLED if neckline == "roll" and top.necks else top.neck
    sheets = [trims.band(cut, "neck", neck, rects[top.edge], "collar", 48)]
    if cut.below < -0.6:
        sheets += [trims.band(cut, side, top.cuffs, rects[top.hem], "cuff") for side in ("left", "right")]
    for extra in top.extras:
        sheets += extra(cut)
    return tuple(sheets)
