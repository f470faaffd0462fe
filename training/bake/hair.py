"""Hair of one person: roots on the scalp, strands grown to the cut, ribbons around them; packs get wider ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import hair_grow, ribbons
from training.bake.brush import ease
from training.bake.hair_cuts import STYLES, Cut, bare, hand, over_forehead, recede
from training.bake.hair_field import Field
from training.bake.hair_hull import hull
from training.bake.hair_knots import knot_curves
from training.bake.identities import Identity
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig
from training.bake.scalp import Roots, grow_roots, head_scale

Array = NDArray[Any]
PACK: Final = {"mass": (190, 0.40, 6), "lock": (310, 1.0, 7)}  # ribbons, where in the thickness, points along each
HULL_STRANDS: Final = 900  # strands that tell how far hair reaches
LONG: Final = 0.10  # metres from which hair hangs and needs a mass
TINT: Final = 0.009  # metres: shorter hair is left to the painted scalp
TIE: Final = 0.011  # metres off the head where hair is tied


def hair_parts(
    person: Person, rig: Rig, identity: Identity, seed: int, detail: str, field: Field
) -> list[Part]:  # fmt: skip
    """All hair of a person, opaque parts first. ``detail`` "pack" or "studio"; hair stays out of the ``field``."""
    cut = STYLES[identity.style]
    if cut is None:
        return []
    hair = _Hair(person, rig, identity, personal(cut, identity, np.random.default_rng([seed, 16])), field, seed)
    return hair.studio() if detail == "studio" else hair.pack()


def personal(cut: Cut, identity: Identity, generator: np.random.Generator) -> Cut:
    """The cut as this person wears it: their own length, thickness, waviness."""
    longer, thicker = generator.normal(1.0, 0.10), generator.normal(1.0, 0.12)
    longer, thicker = float(np.clip(longer, 0.8, 1.25)), float(np.clip(thicker, 0.75, 1.3))
    size, turn = cut.wave
    if cut.coil[0] == 0 and identity.curl > 0:
        size += 0.007 * identity.curl * min(1.0, max(cut.length) / 0.06)
        turn *= 1.0 - 0.35 * identity.curl
    return replace(
        cut, length=(cut.length[0] * longer, cut.length[1] * longer), wave=(size, turn),
        front=None if cut.front is None else cut.front * longer,
        lift=(cut.lift[0] * thicker, cut.lift[1] * thicker),
        end=None if cut.end is None else cut.end * (1 + 0.7 * (longer - 1)),
    )  # fmt: skip


class _Hair:
    """What one person's strands have in common."""

    def __init__(self, person: Person, rig: Rig, identity: Identity, cut: Cut, field: Field, seed: int) -> None:
        self.person, self.rig, self.identity, self.cut, self.field = person, rig, identity, cut, field
        self.seed, self.generator = seed, np.random.default_rng([seed, 11])
        self.scale = head_scale(person)
        self.rooted = 0  # how many of the last strands grow from the scalp

    def studio(self) -> list[Part]:
        """Thousands of narrow ribbons."""
        level = self.generator.random(self.cut.strands * 2) ** 0.7
        curves, reach, width, level = self._strands(self.cut.strands, level, self.cut.points)
        columns = ribbons.strand_columns(level, self.generator)
        roll = self.generator.normal(0, 0.5, len(curves))
        return [self._part("hair", curves, width, columns, roll, 1)]

    def pack(self) -> list[Part]:
        """An opaque hull with a few hundred soft cards along it; under long hair an opaque mass of strips as well."""
        cut = self.cut
        long = max(cut.length) > LONG
        coil = (0.5 * cut.coil[0] if long else 0.0, cut.coil[1])  # short curls are painted on
        wave = (0.6 * cut.wave[0], cut.wave[1])
        self.cut = replace(cut, rough=0.3 * cut.rough, wild=0.0, baby=0.0, blunt=0.3 * cut.blunt, wave=wave, coil=coil)
        within = self._strands(HULL_STRANDS, self.generator.uniform(0.6, 1.0, 2 * HULL_STRANDS), 9)[0]
        line = recede(self.identity)
        cap = hull(self.person, self.rig, self.field, within[: self.rooted], cut, line, self.scale)
        parts = [] if cap is None else [cap]
        for name, (count, height, points) in PACK.items():
            if name == "mass" and not long:
                continue
            points, count = points if long else 4, int(count * (0.75 if cut.knot else 1.0))
            level = height * self.generator.uniform(0.75, 1.0, 2 * count)
            curves, reach, width, _ = self._strands(count, level, points, trim=0.88 if name == "mass" else 1.0)
            curves, reach, width = (x[reach > TINT] for x in (curves, reach, width))
            if not len(curves):
                continue
            broad = 0.006 + (0.016 if name == "mass" else 0.010) * ease(reach, 0.015, 0.10)
            columns = getattr(ribbons, f"{name}_columns")(len(curves), self.generator)
            roll = self.generator.normal(0, 0.12, len(curves))
            width = broad * width / cut.width
            parts.append(self._part(name, curves, width, columns, roll, 0 if name == "mass" else 1))
        return parts

    def _part(self, name: str, curves: Array, width: Array, columns: Any, roll: Array, layer: int) -> Part:
        outward = self.field(curves)[1]
        weight = ribbons.hang_weights(self.rig, curves.reshape(-1, 3), self.scale)
        return ribbons.ribbons(name, curves, width, outward, columns, weight, roll, layer, blunt=self.cut.blunt)

    def _strands(self, count: int, level: Array, points: int, trim: float = 1.0) -> tuple[Array, Array, Array, Array]:
        """(curves (n, points, 3), lengths, widths, levels) of about ``count`` strands."""
        cut, generator = self.cut, self.generator
        roots = self._thin(grow_roots(self.person, count, recede(self.identity), generator))
        level, self.rooted = level[: len(roots)], len(roots)
        growth = self._growth(roots, level)
        growth.length *= trim
        growth.end += 0.1 * (1 - trim)
        curves, reach = hair_grow.grow(growth, self.field, points)
        edge = ease(roots.depth, 0.0, 0.012)
        curves, lock = hair_grow.gather(curves, cut.lock * self.scale, cut.cling * (0.4 + 0.6 * edge), generator)
        outward = None if min(cut.stand) > 0.9 else self.field(curves)[1]
        start = 0.10 if max(cut.length) > 0.15 else 0.02  # long hair leaves the scalp smooth
        for (size, turn), coil in ((cut.wave, False), (cut.coil, True)):
            if size > 0:
                amount = size * (0.5 + 0.5 * edge)
                curves = hair_grow.wave(curves, reach, lock, amount, turn, generator, coil, start, outward)
        curves = hair_grow.roughen(curves, reach, cut.rough, cut.wild, generator)
        curves[:, 1:] = self.field.push_out(curves[:, 1:], 0.0008)
        width = cut.width * generator.uniform(0.7, 1.3, len(roots)) * (0.40 + 0.60 * edge)
        width = width * (0.45 + 0.55 * ease(reach, 0.0, 0.6 * min(cut.length)))  # baby hair is fine
        if cut.knot:
            more = knot_curves(cut, self._tie(), curves, self.field, self.scale, points, generator)
            curves, reach = np.concatenate([curves, more.curves]), np.concatenate([reach, more.reach])
            width = np.concatenate([width, np.full(len(more.curves), 1.1 * cut.width)])
            level = np.concatenate([level, more.level])
        return curves, reach, width, level

    def _thin(self, roots: Roots) -> Roots:
        """Takes away what a bald top has lost."""
        if self.cut.bare <= 0:
            return roots
        lost = np.maximum(bare(roots.place, self.cut.bare), roots.front * ease(self.cut.bare, 0.4, 0.8))
        return roots.keep(self.generator.random(len(roots)) > lost)

    def _growth(self, roots: Roots, level: Array) -> hair_grow.Growth:
        cut, generator, scale = self.cut, self.generator, self.scale
        low, high = cut.length
        length = low + (high - low) * ease(roots.top, 0.25, 0.75)
        if cut.front is not None:
            length = length + (cut.front - length) * roots.front * ease(roots.top, 0.3, 0.7)
        if cut.back is not None:
            length = length + (cut.back - length) * roots.back
        side = 1 - roots.top
        length = length * (1 - cut.fade * side * ease(-roots.depth, -0.035, -0.002))
        length = length * generator.uniform(1 - cut.uneven, 1 + 0.5 * cut.uneven, len(roots)) * scale
        edge = ease(roots.depth, 0.0, 0.010)
        baby = generator.random(len(roots)) < cut.baby * (1 - edge)
        length = np.where(baby, np.minimum(length * 0.5, 0.03), length)
        mirror = np.array([hand(self.seed), 1.0, 1.0])  # some part their hair on the other side
        comb = cut.comb(replace(roots, place=roots.place * mirror, normal=roots.normal * mirror)) * mirror
        comb = comb / np.maximum(np.linalg.norm(comb, axis=1, keepdims=True), 1e-9)
        comb = comb + generator.normal(0, 0.10, comb.shape)
        comb /= np.linalg.norm(comb, axis=1, keepdims=True)
        lift = (cut.lift[0] + (cut.lift[1] - cut.lift[0]) * roots.top) * scale
        stand = cut.stand[0] + (cut.stand[1] - cut.stand[0]) * roots.top**2
        stand = stand * generator.uniform(0.75, 1.2, len(roots))
        upright = roots.normal + [0.0, 0.7, 0.0] * roots.top[:, None] * (cut.stand[0] < 0.9)
        upright = upright / np.linalg.norm(upright, axis=1, keepdims=True)
        if cut.parting is not None:  # hair lies flat beside its parting
            beside = np.exp(-(((hand(self.seed) * roots.place[:, 0] - cut.parting) / 0.020) ** 2)) * roots.top
            stand = stand * (1 - 0.95 * beside)
        goal = None
        if cut.tie is not None:
            goal = self._tie() + generator.normal(0, 0.004, (len(roots), 3))
        return hair_grow.Growth(
            root=roots.point - 0.0008 * roots.normal, normal=upright,
            comb=comb, length=length,
            stand=stand.clip(0, 1), droop=cut.droop,
            held=cut.held * (1 + 0.6 * roots.front * roots.top), veil=self._veil(roots),
            lift=lift * (0.2 + 0.8 * level) * (0.3 + 0.7 * edge), swell=cut.swell, stiff=cut.stiff,
            tuck=cut.tuck * generator.uniform(0.7, 1.2, len(roots)), goal=goal,
            end=self._end(roots),
        )  # fmt: skip

    def _tie(self) -> Array:
        """Where hair is gathered: just off this person's head."""
        tie = np.array([self.cut.tie]) * self.scale
        away, out = self.field(tie)
        return np.asarray((tie + (TIE - away)[:, None] * out)[0])

    def _veil(self, roots: Roots) -> Array:
        """How far forward each strand may hang: a fringe may, the rest stays beside the face."""
        veil = self.cut.veil * self.scale + self.generator.normal(0, 0.008, len(roots))
        return veil if self.cut.brow is None else np.where(over_forehead(roots), 9.0, veil)

    def _end(self, roots: Roots) -> Array:
        """Height at which each strand is cut."""
        if self.cut.end is None:
            return np.full(len(roots), -9.0)
        end = self.cut.end + 0.007 * (1 - self.cut.blunt) * self.generator.normal(0, 1, len(roots))
        if self.cut.brow is not None:
            over = self.cut.brow + 0.0025 * self.generator.normal(0, 1, len(roots))
            end = np.where(over_forehead(roots), over, end)
        return np.asarray(end * self.scale)
