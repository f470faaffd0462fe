"""Hairstyles as geometry: an opaque lofted volume, its fading edges, and strand cards above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake.brush import ease
from training.bake.identities import Identity
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig
from training.bake.scalp import Scalp
from training.bake.strands import CARD_KINDS, SHEET, Loft, card, inner, ribbon, sheet, split_edges

Array = NDArray[Any]
CROP_RECEDE: Final = 0.002  # metres a man's hairline lies higher at the temples


def hair_parts(person: Person, rig: Rig, identity: Identity, seed: int) -> list[Part]:
    """All hair of a person, opaque parts first."""
    generator = np.random.default_rng([seed, 11])
    return STYLES[identity.style](person, rig, generator)


def _ramp(x: Array | float) -> Array:
    """max(x, 0) with a rounded corner, so that strands bend rather than break."""
    return 0.5 * (np.asarray(x) + np.sqrt(np.asarray(x) ** 2 + 0.05))


# --- a chin-length bob with a side parting -------------------------------------------------------------


class _Bob:
    """Strands of one side: ``a`` from the front edge (0) round to the back (1), ``t`` from root to tip."""

    def __init__(self, scalp: Scalp, side: float) -> None:
        self.scalp, self.side = scalp, side
        self.front = self._direction([0.021, 0.0715, 0.018])
        self.crown = self._direction([0.012, 0.100, -0.118])

    def _direction(self, point: list[float]) -> Array:
        offset = np.array(point) * self.scalp.scale - self.scalp.centre
        return offset / np.linalg.norm(offset)

    def __call__(self, a: Array, t: Array, lift: float) -> Array:
        along = ease(a, 0.0, 0.62)[:, None]
        root = (1 - along) * self.front + along * self.crown
        root = root / np.linalg.norm(root, axis=1, keepdims=True)
        azimuth = np.radians(62.0 + 122.0 * np.sign(a) * np.abs(a) ** 0.85)
        s = np.clip(t / 0.50 - _ramp(t / 0.50 - 1.0), 0.0, 1.0)
        root_azimuth = np.arctan2(root[:, 0], root[:, 2])
        root_height = np.arcsin(np.clip(root[:, 1], -1, 1))
        turn = self.side * azimuth - root_azimuth
        turn = np.where(self.side * turn < 0, turn + self.side * 2 * np.pi, turn)
        turn = np.where(np.abs(turn) > 1.25 * np.pi, turn - self.side * 2 * np.pi, turn)
        level = np.radians(-6.0)
        lead = s ** (0.62 + 0.5 * ease(a, 0.25, 0.8))
        bearing = root_azimuth + turn * lead
        height = root_height + (level - root_height) * s**1.35
        # Over the top the path is a straight blend of directions: bearings are meaningless near the pole.
        polar = np.stack([np.sin(bearing) * np.cos(height), np.sin(height), np.cos(bearing) * np.cos(height)], axis=1)
        goal = np.stack([np.sin(self.side * azimuth), np.full(len(a), np.tan(level)), np.cos(self.side * azimuth)], 1)
        straight = (1 - s[:, None]) * root + s[:, None] * goal / np.linalg.norm(goal, axis=1, keepdims=True)
        mix = ease(a, 0.05, 0.35)[:, None]
        direction = (1 - mix) * polar + mix * straight / np.linalg.norm(straight, axis=1, keepdims=True)
        locks = np.sin(2 * np.pi * (5.0 * a + 0.35 * np.sin(4.0 * t + 9 * a))) * ease(t, 0.10, 0.7)
        locks = locks + 0.5 * np.sin(2 * np.pi * (11.0 * a + 0.6 * t)) * ease(t, 0.45, 0.95)
        body = (0.0004 + 0.0140 * ease(a, 0.0, 0.24)) * ease(s, 0.06, 0.50) + 0.0016
        body = body + 0.0022 * (1 - ease(s, 0.10, 0.40)) + 0.0012 * ease(a, 0.0, 0.10)
        points = self.scalp.lift(direction, body + lift + 0.0016 * locks)
        return self._hang(points, a, t, azimuth, lift, locks)

    def _hang(self, points: Array, a: Array, t: Array, azimuth: Array, lift: float, locks: Array) -> Array:
        """Below the ears the strands fall, widen a little, and turn in at the tips."""
        fall = _ramp((t - 0.50) / 0.50) - _ramp(-1.0)
        tip = -0.124 * self.scalp.scale + 0.004 * ease(a, 0.3, 1.0)
        out = points - self.scalp.centre
        reach = np.hypot(out[:, 0], out[:, 2])
        widen = 0.010 * np.sin(np.pi * np.clip(fall, 0, 1) * 0.8) - 0.022 * ease(fall, 0.55, 1.1)
        widen = widen - 0.022 * ease(fall, 0.1, 1.0) * ease(a, 0.55, 1.0)
        grown = (reach + widen * ease(fall, 0.0, 0.2) + 0.0012 * locks * fall) / np.maximum(reach, 1e-6)
        hung = points.copy()
        hung[:, 0] = self.scalp.centre[0] + out[:, 0] * grown
        hung[:, 2] = self.scalp.centre[2] + out[:, 2] * grown
        hung[:, 1] = points[:, 1] + (tip - points[:, 1]) * fall
        return hung


def _bob(person: Person, rig: Rig, generator: np.random.Generator) -> list[Part]:
    scalp = Scalp(person)
    solid, edges, cards = [], [], []
    for side in (1.0, -1.0):
        strand = Loft(_Bob(scalp, side), (-0.14, 1.08), (0.0, 1.08), smooth=5)
        volume = sheet(strand, 41, 19, (0.0, 1.0), (0.0, 1.0), SHEET, rig, flip=side < 0)
        core, edge = split_edges(volume, columns=41)
        solid += [inner(strand, rig, flip=side < 0), core]
        edges.append(edge)
        for _ in range(30):  # locks over the volume and past its lower edge
            cards.append(
                card(strand, rig, generator, a=generator.random(), width=generator.uniform(0.06, 0.11),
                      start=generator.uniform(0.25, 0.60), stop=generator.uniform(0.96, 1.07),
                      lift=generator.uniform(0.0005, 0.0024), rows=9)
            )  # fmt: skip
        for _ in range(7):  # locks that frame the face
            cards.append(
                card(strand, rig, generator, a=generator.uniform(-0.012, 0.04), width=generator.uniform(0.03, 0.06),
                      start=generator.uniform(0.05, 0.35), stop=generator.uniform(0.85, 1.05),
                      lift=generator.uniform(0.0005, 0.0020), rows=10)
            )  # fmt: skip
        for _ in range(26):  # baby hair along the forehead, wisps beside the cheek
            start = generator.uniform(0.0, 0.45)
            cards.append(
                card(strand, rig, generator, a=generator.uniform(-0.045, 0.012), width=generator.uniform(0.03, 0.055),
                      start=start, stop=min(start + generator.uniform(0.2, 0.5), 1.0),
                      lift=generator.uniform(0.0002, 0.0012), rows=7, kind=CARD_KINDS - 1)
            )  # fmt: skip
    return [*solid, *edges, *cards]


# --- a short crop, combed forward and up ----------------------------------------------------------------


class _Crop:
    """Strands radiate from the crown: ``a`` is the angle around it in turns, ``t`` runs to the hairline."""

    def __init__(self, scalp: Scalp) -> None:
        self.scalp = scalp
        crown = np.array([0.006, 0.098, -0.125]) * scalp.scale - scalp.centre
        self.crown = crown / np.linalg.norm(crown)
        self.right = np.cross([0.0, 0.0, 1.0], self.crown)
        self.right /= np.linalg.norm(self.right)
        self.ahead = np.cross(self.crown, self.right) * -1.0
        turns = np.linspace(0, 1, 97)
        self._turns, self._reach = turns, np.array([self._hairline(turn) for turn in turns])

    def _direction(self, a: Array, angle: Array) -> Array:
        turn = 2 * np.pi * a
        out = np.cos(turn)[:, None] * self.ahead + np.sin(turn)[:, None] * self.right
        return np.cos(angle)[:, None] * self.crown + np.sin(angle)[:, None] * out

    def _hairline(self, turn: float) -> float:
        """Angle from the crown at which a ray meets the hairline."""
        angle = np.linspace(0.3, 2.6, 160)
        points = self.scalp.lift(self._direction(np.full(len(angle), turn), angle), 0.0)
        outside = np.flatnonzero(self.scalp.depth(points) < 0)
        return float(angle[outside[0]]) if len(outside) else float(angle[-1])

    def volume(self, direction: Array, t: Array) -> Array:
        """Thickness of the hair: full on top, close at the sides, fading at the line."""
        up = direction[:, 1]
        front = ease(direction[:, 2], 0.1, 0.6) * ease(up, 0.25, 0.6)
        return (0.0030 + 0.0090 * ease(up, 0.12, 0.72) + 0.0060 * front) * ease(t, 0.95, 0.70) + 0.0007

    def __call__(self, a: Array, t: Array, lift: float) -> Array:
        reach = np.interp(a % 1.0, self._turns, self._reach)
        direction = self._direction(a, t * reach * 0.962)
        rough = np.sin(2 * np.pi * 11 * a + 7 * t) * np.sin(9 * np.pi * t + 23 * a)
        rough = rough + 0.8 * np.sin(2 * np.pi * 5 * a + 11 * t)
        return self.scalp.lift(direction, self.volume(direction, t) + lift + 0.0012 * rough * ease(t, 1.0, 0.7))


def _crop(person: Person, rig: Rig, generator: np.random.Generator) -> list[Part]:
    scalp = Scalp(person, recede=CROP_RECEDE)
    strand = _Crop(scalp)
    volume = sheet(strand, 57, 18, (0.0, 1.0), (0.0, 1.0), SHEET, rig, flip=False)
    core, edge = split_edges(volume, columns=57, sides=False, tip=0.93)
    tufts = [tuft for tuft in (_tuft(strand, rig, generator) for _ in range(640)) if tuft is not None]
    return [core, edge, *tufts]


def _tuft(crop: _Crop, rig: Rig, generator: np.random.Generator) -> Part | None:
    """A short card that stands up from the volume and bends over: back at the front, forward and aside on top."""
    a, t = np.array([generator.random()]), np.array([np.sqrt(generator.random()) * 0.97])
    root = crop(a, t, -0.003)[0]
    out = root - crop.scalp.centre
    out /= np.linalg.norm(out)
    top = float(ease(out[1], 0.24, 0.66))
    if t[0] > 0.50 + 0.47 * top:
        return None  # nothing stands off the close sides, least of all over the ears
    front = float(ease(out[2], 0.05, 0.50)) * top
    comb = crop(a, t + 0.03, 0.0)[0] - crop(a, t - 0.03, 0.0)[0]
    comb /= np.linalg.norm(comb)
    ahead = np.array([-0.60, 0.15, 0.50 - 0.95 * front])
    sweep = ahead * top + comb * (1.1 - 1.0 * top) + generator.normal(0, 0.16, 3)
    sweep -= (sweep @ out) * out
    sweep += max(0.0, 0.7 - float(np.linalg.norm(sweep))) * comb  # where the sweep would point off the head
    sweep /= np.linalg.norm(sweep)
    length = (0.012 + 0.020 * top + 0.004 * front) * generator.uniform(0.7, 1.2)
    stand = (0.08 + 0.34 * top + 0.16 * front) * generator.uniform(0.5, 1.25)
    s = np.linspace(0, 1, 4)[:, None]
    spine = root + length * (s * sweep * (1 - 0.25 * stand) + out * stand * (s - 0.62 * s**2))
    across = np.cross(out, sweep)
    across /= np.linalg.norm(across)
    width = (0.0042 + 0.0020 * top) * generator.uniform(0.7, 1.3)
    shape = np.sin(np.pi * np.clip(0.25 + 0.60 * s, 0, 1))
    points = np.stack([spine - across * width * shape, spine + across * width * shape], axis=1).reshape(-1, 3)
    normal = np.stack([out - 0.15 * across + 0.2 * sweep * s, out + 0.15 * across + 0.2 * sweep * s], axis=1)
    return ribbon("tuft", points, normal.reshape(-1, 3), generator, rig, short=True)


STYLES: Final[dict[str, Callable[[Person, Rig, np.random.Generator], list[Part]]]] = {"bob": _bob, "crop": _crop}
