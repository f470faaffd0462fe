"""Head motion: slow wandering, more of it while speaking, nods on accents, a partial turn to the viewer.

Amplitudes are of the order of Busso et al. 2007 (head rotation while speaking: a few degrees).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.motion.spring import step

Array = NDArray[np.float32]

TALK_SPREAD: Final = np.radians([1.9, 2.6, 1.5])  # pitch, yaw, roll: deviation of the wandering targets
REST_SPREAD: Final = np.radians([0.8, 1.4, 0.8])
WANDER_HALF_LIFE: Final = 0.22  # seconds
NOD: Final = math.radians(2.4)
NOD_HALF_LIFE: Final = 0.07
FOLLOW: Final = 0.25  # share of the way to the viewer that the head turns; the eyes do the rest


@dataclass(slots=True)
class HeadState:
    """Angles (pitch, yaw, roll) and rates of two springs: the wandering and the nod."""

    angle: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    rate: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    target: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    wait: float = 0.4
    nod: float = 0.0
    nod_rate: float = 0.0
    nod_target: float = 0.0


def head_step(
    state: HeadState,
    rng: np.random.Generator,
    speaking: bool,
    accent: bool,
    toward: tuple[float, float],
    dt: float,
) -> Array:
    """(6,) axis-angle and translation of the head after ``dt`` seconds. ``toward``: yaw and pitch to the viewer."""
    state.wait -= dt
    if state.wait <= 0.0:
        state.target = rng.normal(0.0, 1.0, 3) * (TALK_SPREAD if speaking else REST_SPREAD)
        state.wait = float(rng.uniform(0.5, 1.6) if speaking else rng.uniform(1.5, 4.0))
    if accent:
        state.nod_target = NOD * float(rng.uniform(0.5, 1.2))
    aim = state.target + FOLLOW * np.array([-toward[1], toward[0], 0.0])
    state.angle, state.rate = step(state.angle, state.rate, aim, WANDER_HALF_LIFE, dt)
    nod, rate = step(np.array([state.nod]), np.array([state.nod_rate]), np.array([state.nod_target]),
                        NOD_HALF_LIFE, dt)  # fmt: skip
    state.nod, state.nod_rate = float(nod[0]), float(rate[0])
    if state.nod > 0.6 * state.nod_target:
        state.nod_target = 0.0  # down, and back up
    pitch, yaw, roll = state.angle + np.array([state.nod, 0.0, 0.0])
    # The skull turns about the neck: a little sideways and forward travel comes with the rotation.
    travel = (0.03 * yaw, -0.015 * abs(pitch), 0.02 * pitch)
    return np.array([pitch, yaw, roll, *travel], np.float32)
