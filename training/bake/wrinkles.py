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


def relief(skin: SkinMap, identity: Identity, seed: int) -> tuple[Array, Array]:
    """(height (m,) in metres, how deep in a furrow (m,) in [0, 1]) of the front's texels."""
    place, zone = skin.front, skin.zone
    age = identity.wrinkles
    warp = noise(place, 70, 2, seed + 41) - 0.5
    fine = noise(place, 230, 2, seed + 42) - 0.5
    pores = _pores(place, zone, seed)
    furrow = np.zeros(len(place), np.float32)
    for depth, width, lines in (
        (LINE * (0.10 + age), 0.0008, _forehead(place, zone, warp, fine, seed)),
        (LINE * (0.06 + age), 0.0006, _crows_feet(place, zone, warp, seed)),
        (0.6 * LINE * (0.12 + age), 0.0006, _under_eye(place, zone, warp)),
        (LINE * (0.05 + age), 0.0008, [(zone["frown"] + 0.003 * warp, 0.8 * zone["front"])]),
        (LINE * (0.15 + age), 0.0011, _neck(place, zone, warp)),
        (0.5 * LINE * max(age - 0.45, 0.0), 0.0004, _mouth_lines(place, zone, fine)),
    ):
        for away, amount in lines:
            furrow += depth * amount * np.exp(-((away / width) ** 2))
    fold = FOLD * (0.16 + 0.84 * age) * _valley(zone["nasolabial"] + 0.003 * warp, 0.0026)
    fold = fold + 0.6 * FOLD * max(age - 0.15, 0.0) * _valley(zone["marionette"] + 0.003 * warp, 0.0024)
    fold = fold + 0.5 * FOLD * (0.10 + 0.9 * age) * _valley(zone["tear"] + 0.003 * warp, 0.0024)
    crepe = age * 4e-5 * (noise(place * [1, 1.6, 1], 620, 2, seed + 44) - 0.5) * (1 - zone["nose"])
    lip = skin.lips[skin.face]
    upright = noise(place * np.array([1.0, 0.20, 0.3]), 1350, 2, seed + 5) - 0.5
    height = (1 - lip) * (pores + crepe - furrow - fold) + lip * 1.5e-4 * upright
    deep = np.clip(furrow / (1.6 * LINE) + 0.75 * fold / FOLD, 0, 1) * (1 - lip)
    return height.astype(np.float32), deep.astype(np.float32)


def _pores(place: Array, zone: dict[str, Array], seed: int) -> Array:
    """Small pits, largest on nose and inner cheeks, over a lattice of fine lines."""
    large = np.clip(0.35 + zone["nose"] + 0.8 * zone["cheek"] + 0.4 * zone["forehead"] + 0.4 * zone["chin"], 0, 1.2)
    pit = ease(noise(place, 1150, 1, seed + 1), 0.62, 0.92)
    lattice = noise(place, 820, 2, seed + 46) - 0.5
    return np.asarray(-PORE * large * pit + 0.6 * PORE * lattice)


def _valley(away: Array, width: float) -> Array:
    """A fold: steep on its inner side, easing outward."""
    return np.asarray(np.exp(-((away / np.where(away > 0, 1.6 * width, 0.7 * width)) ** 2)))


def _forehead(place: Array, zone: dict[str, Array], warp: Array, fine: Array, seed: int) -> list[tuple[Array, Array]]:
    """Three to five broken horizontal lines."""
    generator = np.random.default_rng([seed, 47])
    x, y, _ = place.T
    out = []
    for k in range(int(generator.integers(3, 6))):
        middle = 0.033 + 0.0078 * k + generator.normal(0, 0.001)
        arch = 0.004 * np.cos(x / 0.016 + generator.normal(0, 0.4)) * generator.uniform(0.2, 0.8)
        reach = ease(-np.abs(x - generator.normal(0, 0.006)), -generator.uniform(0.030, 0.048), -0.012)
        out.append((y - middle - arch - 0.006 * warp, reach * zone["front"] * np.clip(0.9 + 1.6 * fine, 0, 1)))
    return out


def _crows_feet(place: Array, zone: dict[str, Array], warp: Array, seed: int) -> list[tuple[Array, Array]]:
    """Lines that fan out from the outer corner of each eye."""
    generator = np.random.default_rng([seed, 48])
    x, y = np.abs(place[:, 0]) - (EYE + 0.0165), place[:, 1] + 0.001
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    reach = ease(distance, 0.004, 0.009) * ease(-distance, -0.026, -0.012) * (x > -0.002)
    out = []
    for middle in (-0.75, -0.38, -0.05, 0.28, 0.60):
        turn = angle - middle - generator.normal(0, 0.07) - 0.35 * warp
        out.append((turn * distance, reach * generator.uniform(0.5, 1.0)))
    return out


def _under_eye(place: Array, zone: dict[str, Array], warp: Array) -> list[tuple[Array, Array]]:
    """Two fine arcs in the lower lid."""
    distance = np.hypot((np.abs(place[:, 0]) - EYE) * 0.80, place[:, 1])
    low = ease(-place[:, 1], 0.003, 0.008) * zone["front"]
    return [(distance - radius - 0.002 * warp, low) for radius in (0.0128, 0.0158)]


def _neck(place: Array, zone: dict[str, Array], warp: Array) -> list[tuple[Array, Array]]:
    """Two rings around the throat."""
    level = place[:, 1] - 0.25 * place[:, 2]
    return [(level - middle - 0.006 * warp, zone["throat"]) for middle in (-0.137, -0.162)]


def _mouth_lines(place: Array, zone: dict[str, Array], fine: Array) -> list[tuple[Array, Array]]:
    """Short upright lines above the upper lip."""
    x = place[:, 0] + 0.001 * fine
    phase = (x / 0.0042 - np.round(x / 0.0042)) * 0.0042
    return [(phase, bump(place[:, 1], -0.0570, 0.0045) * ease(-np.abs(x), -0.022, -0.014) * zone["front"])]
