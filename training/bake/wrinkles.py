"""Relief of the skin: pores, fine lines, lips' lines, and the furrows that come with age."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake.brush import bump, ease, noise
from training.bake.identities import Identity
from training.bake.skin_map import EYE, SkinMap

Array = NDArray[Any]
PORE: Final = 4.5e-5  # metres, depth of pores on nose and cheeks
LINE: Final = 3.2e-4  # metres, depth of a forehead line at wrinkles 1
FOLD: Final = 9.0e-4  # metres, depth of the nasolabial fold at wrinkles 1


def relief(skin: SkinMap, identity: Identity, seed: int) -> tuple[Array, Array, Array]:
    """Of the front's texels (m,): height in metres, its pores alone, how deep in a furrow in [0, 1]."""
    place, zone = skin.front, skin.zone
    age, lip = identity.wrinkles, skin.lips[skin.face]
    warp = noise(place, 70, 2, seed + 41) - 0.5
    fine = noise(place, 230, 2, seed + 42) - 0.5
    furrow = LINE * _lines(place, zone, age, warp, fine, seed)
    fold = FOLD * (0.08 + 0.92 * age) * _valley(zone["nasolabial"] + 0.003 * warp, 0.0026)
    fold += 0.6 * FOLD * max(age - 0.15, 0.0) * _valley(zone["marionette"] + 0.003 * warp, 0.0024)
    fold += 0.5 * FOLD * (0.10 + 0.9 * age) * _valley(zone["tear"] + 0.003 * warp, 0.0024)
    crease = 0.0007 * identity.crease * np.exp(-(((zone["lid_crease"] + 0.0012 * warp) / 0.0009) ** 2))
    crepe = age * 6e-5 * (noise(place * [1, 1.6, 1], 620, 2, seed + 44) - 0.5) * (1 - zone["nose"])
    upright = noise(place * np.array([1.0, 0.20, 0.3]), 1350, 2, seed + 5) - 0.5
    skin_only = 1 - lip
    pores = skin_only * (_pores(place, zone, seed) + crepe)
    height = pores - skin_only * (furrow + fold + crease) + lip * 1.6e-4 * upright
    deep = np.clip(furrow / (1.8 * LINE) + 0.42 * fold / FOLD + 0.42 * crease / 0.0007, 0, 1) * skin_only
    return height.astype(np.float32), pores.astype(np.float32), deep.astype(np.float32)


def _lines(place: Array, zone: dict[str, Array], age: float, warp: Array, fine: Array, seed: int) -> Array:
    """Furrows (m,), 1 being the depth of a deep forehead line: broken, uneven, finer ones between the main ones."""
    x, y, z = place.T
    side = np.abs(x)
    depth = np.zeros(len(place), np.float32)
    for away, amount, width in _forehead(place, zone, warp, seed):
        depth += (0.08 + 0.80 * age) * amount * np.clip(0.75 + 2.2 * fine, 0, 1.2) * np.exp(-((away / width) ** 2))
    gate = _gate(np.stack([x * 34, y * 150, z * 20], 1), seed + 50)
    depth += (0.06 + 0.26 * age) * zone["forehead"] * gate * _parallel(y / 0.0031 + 3.0 * warp + 0.6 * fine)
    out = side - (EYE + 0.0155)
    distance, angle = np.hypot(out, y + 0.001), np.arctan2(y + 0.001, out)
    reach = ease(distance, 0.0025, 0.008) * ease(-distance, -0.028, -0.010) * ease(out, -0.003, 0.003)
    gate = _gate(np.stack([angle * 3.0, distance * 130, np.sign(x) * 3], 1), seed + 51)
    depth += (0.06 + 0.85 * age) * reach * gate * _parallel(angle / 0.27 + 1.5 * warp)
    low = np.hypot((side - EYE) * 0.80, y)
    below = ease(low, 0.0085, 0.0115) * ease(-low, -0.023, -0.014) * ease(-y, 0.002, 0.007)
    gate = _gate(np.stack([low * 330, np.arctan2(y, side - EYE) * 2.5, np.sign(x) * 3], 1), seed + 52)
    depth += (0.12 + 0.40 * age) * below * gate * _parallel(low / 0.0021 + 1.2 * warp + 0.5 * fine)
    depth += (0.02 + 0.7 * age) * zone["front"] * np.exp(-(((zone["frown"] + 0.004 * warp) / 0.0011) ** 2))
    gate = _gate(np.stack([x * 16, y * 60, z * 16], 1), seed + 53)
    depth += (0.14 + 0.60 * age) * zone["throat"] * gate * _parallel((y - 0.25 * z) / 0.017 + 1.2 * warp)
    old = max(age - 0.4, 0.0)
    above_lip = bump(y, -0.0570, 0.0045) * ease(-side, -0.024, -0.014) * zone["front"]
    depth += 0.8 * old * above_lip * _parallel(x / 0.0040 + 1.2 * fine + 0.8 * warp) * np.clip(0.6 + 2 * fine, 0, 1)
    return depth


def _parallel(phase: Array) -> Array:
    """Thin lines (m,) in [0, 1] at every whole number of ``phase``."""
    return np.asarray(np.exp(-(((phase - np.round(phase)) / 0.17) ** 2)))


def _gate(points: Array, seed: int) -> Array:
    """Where lines show (m,) and where they fade."""
    return ease(noise(points, 1.0, 2, seed), 0.42, 0.66)


def _pores(place: Array, zone: dict[str, Array], seed: int) -> Array:
    """Small pits, largest on nose and inner cheeks, over a lattice of fine lines."""
    large = np.clip(0.40 + zone["nose"] + 0.8 * zone["cheek"] + 0.4 * zone["forehead"] + 0.4 * zone["chin"], 0, 1.3)
    pit = ease(noise(place, 1150, 1, seed + 1), 0.58, 0.90)
    lattice = noise(place, 820, 2, seed + 46) - 0.5
    return np.asarray(-0.8 * PORE * large * pit + 1.1 * PORE * lattice)


def _valley(away: Array, width: float) -> Array:
    """A fold: steep on its inner side, easing outward."""
    return np.asarray(np.exp(-((away / np.where(away > 0, 1.6 * width, 0.7 * width)) ** 2)))


def _forehead(place: Array, zone: dict[str, Array], warp: Array, seed: int) -> list[tuple[Array, Array, float]]:
    """Three to five horizontal lines: (distance, strength, width)."""
    generator = np.random.default_rng([seed, 47])
    x, y, _ = place.T
    out = []
    for k in range(int(generator.integers(3, 6))):
        middle = 0.033 + 0.0074 * k + generator.normal(0, 0.0014)
        arch = 0.004 * np.cos(x / 0.016 + generator.normal(0, 0.5)) * generator.uniform(0.1, 0.8)
        reach = ease(-np.abs(x - generator.normal(0, 0.007)), -generator.uniform(0.026, 0.048), -0.010)
        strength = generator.uniform(0.5, 1.0)
        out.append(
            (y - middle - arch - 0.009 * warp, strength * reach * zone["front"], generator.uniform(0.0008, 0.0013))
        )
    return out
