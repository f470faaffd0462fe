"""Hair cuts as data: how long, combed where, how thick, straight or curled. Lengths in metres on the template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake.brush import ease, noise
from training.bake.identities import Identity
from training.bake.scalp import CROWN, Roots

Array = NDArray[Any]
MALE_RECEDE: Final = 0.001
FEMALE_RECEDE: Final = -0.006
Comb = Callable[[Roots], Array]  # where each hair is combed to, (n, 3), of any length


@dataclass(frozen=True)
class Cut:
    """One hair cut. Pairs are (sides, top); ``front`` and ``back`` replace them at the forehead and the nape."""

    comb: Comb
    length: tuple[float, float]
    front: float | None = None
    back: float | None = None
    lift: tuple[float, float] = (0.003, 0.006)  # thickness of the hair over the scalp
    swell: float = 0.03  # length over which a hair rises to it
    stand: tuple[float, float] = (0.0, 0.0)  # 0 lying .. 1 upright at the root
    droop: float = 1.0  # 0 weightless .. 1 falls once the comb lets go
    held: float = 0.09  # length along which the comb holds
    stiff: float = 0.80
    end: float | None = None  # height at which hair is cut, metres below the eyes
    uneven: float = 0.15  # spread of lengths
    blunt: float = 0.0  # 0 tips run out one by one .. 1 cut to one clean edge
    fade: float = 0.0  # how much shorter the sides get toward their edge
    tuck: float = 0.0  # tips turn in
    lock: float = 0.016  # metres between locks
    cling: float = 0.45  # how much strands keep to their lock
    wave: tuple[float, float] = (0.0, 0.05)  # size, length of a turn
    coil: tuple[float, float] = (0.0, 0.02)
    rough: float = 0.0022  # how far strands stray
    wild: float = 0.05  # share of strands that stray much farther
    baby: float = 0.75  # share of short hairs at the hairline
    recede: float = 0.0
    bare: float = 0.0  # 0 .. 1: how far the top is bald
    strands: int = 4500
    points: int = 10
    width: float = 0.0016
    tie: tuple[float, float, float] | None = None  # where hair is gathered
    knot: str = ""  # what is made of the gathered hair: tail or bun
    parting: float | None = None  # metres right of the middle
    veil: float = 9.0  # how far forward hair may hang beside the face
    brow: float | None = None  # height at which what falls over the forehead is cut


def recede(identity: Identity) -> float:
    """How much higher the hairline lies than the template's, metres: lower for women, higher at men's temples."""
    cut = STYLES[identity.style]
    woman = ease(identity.phenotype.get("gender", 0.5), 0.4, 0.6)
    return float(MALE_RECEDE + (FEMALE_RECEDE - MALE_RECEDE) * woman) + (cut.recede if cut else 0.0)


def bare(place: Array, amount: float) -> Array:
    """How bald (n,) the head is at template positions, in [0, 1]: the top, open toward the forehead."""
    line = 0.052 - 0.030 * ease(-place[:, 2], 0.10, 0.16) + 0.06 * (1 - amount)
    return np.asarray(ease(place[:, 1] - line, -0.012, 0.014) * min(1.0, 2.0 * amount))


def parting_line(place: Array, x: float) -> Array:
    """x (n,), at template positions, of a parting that starts ``x`` metres aside at the forehead; never straight."""
    straight = x * (1 - 0.75 * ease(-place[:, 2], 0.03, 0.13))
    return np.asarray(straight + 0.003 * (noise(place, 160, 2, 3) - 0.5))


def hand(seed: int) -> float:
    """-1 for those who wear the cut mirrored, else 1."""
    return -1.0 if np.random.default_rng([seed, 15]).random() < 0.4 else 1.0


def whorl(roots: Roots) -> Array:
    """Away from the crown, as hair grows."""
    return roots.place - CROWN


def onward(roots: Roots, aside: float = 0.0, rise: float = 0.0) -> Array:
    """Short hair brushed forward on top and down at the sides."""
    top = np.array([aside, rise, 1.0])
    down = np.stack([0.1 * np.sign(roots.place[:, 0]), np.full(len(roots), -1.0), np.full(len(roots), 0.25)], axis=1)
    mix = roots.top[:, None]
    behind = roots.back[:, None]
    flow = mix * top + (1 - mix) * (down * (1 - behind) + behind * np.array([0.0, -1.0, -0.2]))
    return np.asarray(flow + 0.35 * _unit(whorl(roots)))


def swept(roots: Roots, aside: float = 0.0, low: float = -0.35) -> Array:
    """Everything brushed back; the sides a little down."""
    flow = np.stack([np.full(len(roots), aside), low * (1 - roots.top), np.full(len(roots), -1.0)], axis=1)
    return flow * (1 - 0.6 * roots.back[:, None]) + 0.6 * roots.back[:, None] * np.array([0.0, -1.0, -0.1])


def parted(roots: Roots, x: float = 0.02, back: float = 0.45) -> Array:
    """Away from a parting ``x`` metres aside, then down; the back straight down."""
    line = parting_line(roots.place, x)
    side = np.where(roots.place[:, 0] > line, 1.0, -1.0)
    fore = ease(roots.place[:, 2], -0.035, 0.0)  # up and back first, so that nothing falls over the face
    top = np.stack([side * (1 - 0.45 * fore), -0.1 + 0.45 * fore, -back - 0.65 * fore], axis=1)
    low = np.stack([0.15 * side, np.full(len(roots), -1.0), -0.35 - 0.3 * roots.front], axis=1)
    mix = np.maximum(roots.top, fore)[:, None]
    flow = mix * top + (1 - mix) * low
    behind = ease(-roots.place[:, 2], 0.115, 0.16)[:, None]
    return flow * (1 - behind) + behind * np.stack(
        [0.25 * side, np.full(len(roots), -1.0), np.full(len(roots), -0.6)], axis=1
    )


def combed_over(roots: Roots, x: float = 0.032, ahead: float = 0.1, rise: float = 0.15) -> Array:
    """Short hair with a parting on one side: the top goes over to the other, the sides go down and back."""
    side = np.sign(x)
    away = np.where(side * (roots.place[:, 0] - x) > 0, side, -side)
    over = np.stack([away, np.full(len(roots), rise), ahead - 0.7 * (1 - roots.front)], axis=1)
    low = np.array([0.0, -1.0, -0.45])
    mix = np.maximum(roots.top, ease(roots.place[:, 2], -0.035, 0.0))[:, None]
    return np.asarray(mix * over + (1 - mix) * low)


def upright(roots: Roots) -> Array:
    """Straight out of the head."""
    return roots.normal


def fringed(roots: Roots, x: float = 0.0) -> Array:
    """Parted in the middle of the top, but what grows near the forehead falls over it."""
    aside = np.stack([0.25 * roots.place[:, 0] / 0.04, np.full(len(roots), -0.1), np.ones(len(roots))], axis=1)
    return np.where(over_forehead(roots)[:, None], aside, parted(roots, x))


def over_forehead(roots: Roots) -> Array:
    """Which hairs (n,) belong to a fringe."""
    ragged = 0.012 * (noise(roots.place, 300, 1, 4) - 0.5)
    return np.asarray((roots.place[:, 2] > -0.030) & (np.abs(roots.place[:, 0]) < 0.048 + ragged) & (roots.top > 0.3))


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


SHORT: Final = Cut(whorl, (0.012, 0.02), strands=8000, points=5, width=0.0010, lock=0.007, held=1.0, droop=0.15)
LONG: Final = Cut(
    partial(parted, x=0.0), (0.50, 0.55), lift=(0.011, 0.011), swell=0.028, stand=(0.0, 0.15), end=-0.28, veil=-0.030,
    strands=3800, points=15, width=0.0020, parting=0.0, lock=0.022, cling=0.5, held=0.085, rough=0.0007, wild=0.02,
)  # fmt: skip
STYLES: Final[dict[str, Cut | None]] = {
    "bald": None,
    "buzz": replace(SHORT, length=(0.005, 0.008), lift=(0.002, 0.003), stand=(0.35, 0.45), points=3, strands=9000,
                    width=0.0010, cling=0.1, rough=0.001),
    "horseshoe": replace(SHORT, length=(0.014, 0.014), bare=1.0, stand=(0.12, 0.12), points=4, strands=8000),
    "crop": replace(SHORT, comb=partial(onward, aside=-0.25, rise=0.1), length=(0.009, 0.028), front=0.034, fade=0.5,
                    lift=(0.002, 0.009), stand=(0.12, 0.50), cling=0.6, rough=0.0035, lock=0.009),
    "receding": replace(SHORT, comb=partial(swept, aside=-0.2), length=(0.012, 0.030), lift=(0.003, 0.006),
                        stand=(0.12, 0.30), recede=0.014, bare=0.25, points=6, strands=5500),
    "side_part": replace(SHORT, comb=combed_over, length=(0.018, 0.056), front=0.066, fade=0.3, lift=(0.004, 0.010),
                         stand=(0.08, 0.30), parting=0.034, points=9, strands=5500, droop=0.9, held=0.045, stiff=0.7,
                         wild=0.03),
    "quiff": replace(SHORT, comb=partial(swept, aside=-0.25), length=(0.010, 0.050), front=0.066, fade=0.5,
                     lift=(0.002, 0.016), stand=(0.10, 0.62), points=9, strands=5500, cling=0.55, droop=0.25,
                     rough=0.0014, wild=0.03),
    "slick_back": replace(SHORT, comb=swept, length=(0.05, 0.10), front=0.11, back=0.04, lift=(0.004, 0.008),
                          stand=(0.0, 0.12), points=9, strands=5000, droop=0.5, held=0.08),
    "pixie": replace(SHORT, comb=partial(combed_over, x=0.030, ahead=0.35, rise=0.0), length=(0.038, 0.075),
                     front=0.085, back=0.030, lift=(0.004, 0.011), stand=(0.05, 0.2), parting=0.030, points=8,
                     strands=5500, droop=0.6, held=0.05, cling=0.55, lock=0.012),
    "curls": replace(SHORT, comb=partial(onward, aside=0.15, rise=0.5), length=(0.016, 0.050), front=0.055,
                           fade=0.4, lift=(0.004, 0.024), stand=(0.4, 0.85), coil=(0.0055, 0.020), cling=0.8,
                           lock=0.011, points=13, strands=3600, width=0.0022),
    "coils": replace(SHORT, comb=upright, length=(0.018, 0.028), lift=(0.012, 0.024), stand=(1.0, 1.0),
                          coil=(0.0030, 0.010), cling=0.35, lock=0.008, points=10, strands=5500, width=0.0024),
    "afro": replace(SHORT, comb=upright, length=(0.060, 0.075), back=0.06, lift=(0.045, 0.065), stand=(1.0, 1.0),
                    droop=0.0, coil=(0.0048, 0.016), cling=0.4, lock=0.012, points=15, strands=4000, width=0.0036),
    "bob": replace(LONG, comb=partial(parted, x=0.021), length=(0.33, 0.40), end=-0.112, tuck=0.55, blunt=0.8,
                   parting=0.021, lift=(0.012, 0.012), stand=(0.0, 0.3), strands=4200, points=13, width=0.0018),
    "fringe": replace(LONG, comb=fringed, length=(0.38, 0.44), front=0.10, brow=0.024, end=-0.15, tuck=0.5, blunt=0.6,
                      strands=4200, points=13),
    "long_straight": LONG,
    "long_wavy": replace(LONG, comb=partial(parted, x=0.024), wave=(0.010, 0.11), cling=0.7, lift=(0.012, 0.013),
                         stand=(0.0, 0.3), parting=0.024, points=22, strands=2600, width=0.0025),
    "long_curly": replace(LONG, comb=partial(parted, x=0.012), length=(0.34, 0.40), end=-0.20, coil=(0.011, 0.060),
                          cling=0.9, lift=(0.022, 0.020), stand=(0.1, 0.3), swell=0.05, points=28, strands=2000,
                          width=0.0024, lock=0.015, parting=0.012),
    "ponytail": replace(LONG, comb=swept, length=(0.24, 0.26), lift=(0.0022, 0.0045), end=None,
                        tie=(0.0, 0.045, -0.196), knot="tail", parting=None, strands=3600, points=10,
                        width=0.0016, cling=0.3, wild=0.012),
    "bun": replace(LONG, comb=swept, length=(0.24, 0.26), lift=(0.0022, 0.0045), end=None,
                   tie=(0.0, 0.088, -0.180), knot="bun", parting=None, strands=3600, points=10, width=0.0016,
                   cling=0.3, wild=0.012),
}  # fmt: skip
