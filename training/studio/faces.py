"""Shapes of faces: which of the prior's local changes a face may have, and how far they stay from grotesque."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

LIMIT: Final = 2.2  # standard deviations a single change may lie out
MOST: Final = 0.9  # of the prior's full strength
TOTAL: Final = 1.28  # root mean square over all changes, in deviations: beyond it a face is drawn again


@dataclass(frozen=True)
class Spread:
    """One local change: mean and standard deviation, 1 being the prior's full strength; ``pair`` for l- and r-."""

    mean: float
    deviation: float
    pair: bool = False
    woman: float = 0.0  # added to the mean for women, taken from it for men


CHANGES: Final[dict[str, Spread]] = {
    "head-scale-horiz-incr": Spread(-0.28, 0.20, woman=-0.06), "head-scale-vert-incr": Spread(-0.20, 0.20),
    "head-scale-depth-incr": Spread(0.0, 0.12), "head-fat-incr": Spread(-0.24, 0.22),
    "head-angle-out": Spread(0.0, 0.15), "head-back-scale-depth-incr": Spread(0.0, 0.15),
    "forehead-trans-forward": Spread(0.0, 0.16), "forehead-scale-vert-incr": Spread(-0.36, 0.22),
    "forehead-temple-incr": Spread(0.08, 0.22), "forehead-nubian-incr": Spread(0.0, 0.14),
    "eyebrows-angle-up": Spread(0.06, 0.18), "eyebrows-trans-up": Spread(-0.12, 0.28),
    "eyebrows-trans-forward": Spread(0.0, 0.22, woman=-0.14), "eye-scale-incr": Spread(0.20, 0.20, True, 0.06),
    "eye-height1-incr": Spread(0.06, 0.20, True), "eye-height2-incr": Spread(0.14, 0.20, True),
    "eye-height3-incr": Spread(0.02, 0.20, True), "eye-corner1-up": Spread(0.0, 0.20, True),
    "eye-corner2-up": Spread(0.05, 0.24, True), "eye-trans-out": Spread(0.0, 0.22, True),
    "eye-trans-up": Spread(0.0, 0.12, True), "eye-push1-out": Spread(0.0, 0.16, True),
    "eye-push2-out": Spread(0.0, 0.16, True), "eye-eyefold-up": Spread(0.06, 0.28, True),
    "eye-eyefold-angle-up": Spread(0.0, 0.28, True), "cheek-bones-incr": Spread(0.18, 0.34, True),
    "cheek-volume-incr": Spread(-0.16, 0.30, True, 0.04), "cheek-inner-incr": Spread(0.0, 0.22, True),
    "cheek-trans-up": Spread(0.05, 0.20, True), "chin-width-incr": Spread(-0.30, 0.32, woman=-0.26),
    "chin-height-incr": Spread(0.0, 0.28), "chin-bones-incr": Spread(-0.24, 0.32, woman=-0.22),
    "chin-prominent-incr": Spread(0.06, 0.26), "chin-jaw-drop-incr": Spread(0.05, 0.28),
    "chin-cleft-incr": Spread(0.0, 0.12), "chin-prognathism-incr": Spread(0.0, 0.12),
    "nose-scale-horiz-incr": Spread(-0.24, 0.28, woman=-0.06),
    "nose-scale-vert-incr": Spread(-0.04, 0.28, woman=-0.05), "nose-scale-depth-incr": Spread(0.0, 0.30),
    "nose-point-width-incr": Spread(-0.22, 0.24), "nose-width1-incr": Spread(0.0, 0.22),
    "nose-width2-incr": Spread(0.0, 0.24), "nose-width3-incr": Spread(0.0, 0.24),
    "nose-hump-incr": Spread(0.03, 0.34, woman=-0.08), "nose-curve-convex": Spread(0.0, 0.28),
    "nose-greek-incr": Spread(0.0, 0.22), "nose-point-up": Spread(0.06, 0.28, woman=0.08),
    "nose-trans-up": Spread(0.0, 0.16), "nose-volume-incr": Spread(-0.16, 0.20, woman=-0.08),
    "nose-nostrils-width-incr": Spread(-0.14, 0.20), "nose-flaring-incr": Spread(-0.05, 0.18),
    "nose-compression-uncompress": Spread(0.0, 0.18), "nose-septumangle-incr": Spread(0.0, 0.20),
    "mouth-scale-horiz-incr": Spread(0.18, 0.26), "mouth-scale-vert-incr": Spread(-0.10, 0.18),
    "mouth-angles-up": Spread(0.24, 0.14), "mouth-trans-up": Spread(0.0, 0.16),
    "mouth-upperlip-volume-incr": Spread(-0.10, 0.22, woman=0.08),
    "mouth-lowerlip-volume-incr": Spread(-0.10, 0.22, woman=0.08), "mouth-upperlip-height-incr": Spread(0.0, 0.20),
    "mouth-lowerlip-height-incr": Spread(0.0, 0.20), "mouth-cupidsbow-incr": Spread(0.05, 0.26),
    "mouth-cupidsbow-width-incr": Spread(0.0, 0.24), "mouth-philtrum-volume-incr": Spread(0.0, 0.26),
    "mouth-dimples-out": Spread(0.0, 0.12), "mouth-trans-forward": Spread(-0.06, 0.12),
    "ear-scale-incr": Spread(-0.08, 0.22, True), "ear-wing-incr": Spread(-0.10, 0.24, True),
    "ear-lobe-incr": Spread(0.0, 0.30, True), "ear-shape-round": Spread(0.0, 0.30, True),
    "ear-rot-forward": Spread(0.0, 0.20, True), "ear-flap-incr": Spread(0.0, 0.20, True),
    "neck-scale-horiz-incr": Spread(0.0, 0.14, woman=-0.14), "neck-scale-vert-incr": Spread(0.05, 0.18),
    "neck-double-incr": Spread(0.0, 0.06),
}  # fmt: skip
GROUPS: Final = (
    ("mouth-upperlip-volume-incr", "mouth-lowerlip-volume-incr", "mouth-scale-vert-incr"),
    ("eye-height1-incr", "eye-height2-incr", "eye-height3-incr"),
    ("nose-scale-depth-incr", "nose-hump-incr", "nose-volume-incr"),
)
STRENGTH: Final = 0.75  # of all deviations: faces nearer the average are liked better
ASYMMETRY: Final = 0.05  # deviation between the sides of a pair


def sample_shape(dice: np.random.Generator, woman: bool) -> dict[str, float]:
    """Local changes of one face. Extreme faces are drawn again."""
    names = list(CHANGES)
    while True:
        drawn = np.clip(dice.normal(size=len(names)), -LIMIT, LIMIT)
        lean = dict(zip(names, drawn.tolist(), strict=True))
        # What makes a mouth or an eye odd is several changes that add up.
        together = max(abs(sum(lean[name] for name in group)) for group in GROUPS)
        if np.sqrt((drawn**2).mean()) < TOTAL and together < 3.2:
            break
    out: dict[str, float] = {}
    for name, change in CHANGES.items():
        value = change.mean + (change.woman if woman else -change.woman) + STRENGTH * change.deviation * lean[name]
        if change.pair:
            uneven = ASYMMETRY * dice.normal()
            out |= {f"l-{name}": value + uneven, f"r-{name}": value - uneven}
        else:
            out[name] = value
    return {name: round(float(np.clip(value, -MOST, MOST)), 4) for name, value in out.items()}
