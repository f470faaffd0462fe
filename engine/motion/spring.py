"""Critically damped springs: values that follow what they are told without overshoot, whatever the frame rate.

Exact solution of x'' = -2 w x' - w^2 (x - target) with a target held over the step, so two half steps equal one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
HALF_LIVES: Final = 1.6783469900166605  # (1 + x) exp(-x) = 1/2: half the way is left after `half_life`


@dataclass(slots=True)
class Spring:
    """Values (n,) and their rates a second, which ``follow`` moves."""

    value: F64
    rate: F64

    @staticmethod
    def at(value: ArrayLike) -> Spring:
        """At rest there."""
        start = np.array(value, np.float64)
        return Spring(start, np.zeros_like(start))

    def follow(self, target: ArrayLike, half_life: float, dt: float) -> F64:
        """Moves toward ``target`` (n,) for ``dt`` seconds; returns the new values (not a copy)."""
        self.value, self.rate = step(self.value, self.rate, np.asarray(target, np.float64), half_life, dt)
        return self.value


def step(x: F64, v: F64, target: F64, half_life: float, dt: float) -> tuple[F64, F64]:
    """Values and rates (n,) after ``dt`` seconds of following ``target`` (n,)."""
    omega = HALF_LIVES / half_life
    offset = x - target
    drift = v + omega * offset
    decay = math.exp(-omega * dt)
    return target + (offset + drift * dt) * decay, (v - omega * drift * dt) * decay
