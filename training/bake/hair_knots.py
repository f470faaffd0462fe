"""What becomes of gathered hair: a tail that hangs from the tie, or a bun wound around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.bake.hair_cuts import Cut
from training.bake.hair_field import Field
from training.bake.hair_grow import Growth, gather, grow, roughen, wave

Array = NDArray[Any]


@dataclass(frozen=True)
class Knot:
    """Curves (n, points, 3), their lengths (n,) and depths (n,) in [0, 1]."""

    curves: Array
    reach: Array
    level: Array


def knot_curves(cut: Cut, tie: Array, gathered: Array, field: Field, scale: float, points: int, generator: Any) -> Knot:
    """A third as many strands again as were gathered, wound or hanging."""
    count = max(len(gathered) // 3, 40)
    return (
        _tail(cut, tie, count, field, scale, points, generator)
        if cut.knot == "tail"
        else _bun(tie, count, scale, points, generator)
    )


def _tail(
    cut: Cut, tie: Array, count: int, field: Field, scale: float, points: int, generator: np.random.Generator
) -> Knot:
    angle, ring = generator.uniform(0, 2 * np.pi, count), np.sqrt(generator.random(count))
    across = np.stack([np.cos(angle), 0.7 * np.sin(angle), 0.4 * np.sin(angle)], axis=1) * ring[:, None]
    away = np.tile([0.0, 0.25, -1.0], (count, 1)) + 0.55 * across
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    growth = Growth(
        root=tie + 0.011 * scale * across, normal=away, comb=away, length=generator.uniform(0.17, 0.25, count) * scale,
        stand=0.25, droop=1.0, held=0.030 + 0.012 * ring, lift=0.004, swell=0.02, stiff=0.86,
    )  # fmt: skip
    curves, reach = grow(growth, field, points)
    curves, lock = gather(curves, 0.006, cut.cling, generator)
    size, turn = max(cut.wave[0], 0.003), cut.wave[1] + 0.06
    curves = roughen(wave(curves, reach, lock, size, turn, generator), reach, 0.002, 0.05, generator)
    return Knot(curves, reach, ring**1.5)


def _bun(tie: Array, count: int, scale: float, points: int, generator: np.random.Generator) -> Knot:
    """Strands wound along a ball's parallels, tilted and crossing a little."""
    axis = np.array([0.0, 0.45, -0.9])
    axis /= np.linalg.norm(axis)
    one = np.cross(axis, [1.0, 0.0, 0.0])
    one /= np.linalg.norm(one)
    two = np.cross(axis, one)
    ring = generator.random(count) ** 0.35
    radius = 0.034 * scale * (0.72 + 0.28 * ring)
    height = generator.uniform(-0.75, 0.95, count)
    start, sweep = generator.uniform(0, 2 * np.pi, count), generator.uniform(1.4, 2.8, count)
    s = np.linspace(0, 1, points)[None]
    turn = start[:, None] + sweep[:, None] * s
    wind = height[:, None] + 0.30 * generator.normal(0, 0.6, (count, 1)) * (s - 0.5) + 0.16 * np.sin(turn + 1.0)
    wind = wind.clip(-0.97, 0.97)
    flat = radius[:, None] * np.sqrt(1 - wind**2)
    middle = tie + 0.017 * scale * axis
    curves = middle + (flat * np.cos(turn))[..., None] * one + (flat * np.sin(turn))[..., None] * two
    curves = curves + (0.85 * radius[:, None] * wind)[..., None] * axis
    return Knot(curves, radius * sweep, ring)
