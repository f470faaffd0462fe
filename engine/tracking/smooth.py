"""One-Euro filter (Casiez, Roussel and Vogel 2012): steady when slow, quick when fast. Vectorised, time as argument."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(slots=True)
class OneEuro:
    """Filters values (n,). ``cutoff`` in Hz at rest; ``beta`` how many Hz more for each unit a second of speed."""

    cutoff: float
    beta: float
    speed_cutoff: float = 2.0
    _value: F64 | None = field(default=None)
    _speed: F64 = field(default_factory=lambda: np.zeros(0))
    _time: float = 0.0

    def step(self, value: F64, time: float) -> F64:
        """The filtered value at ``time`` seconds; a time that does not advance returns the last one."""
        if self._value is None:
            self._value, self._speed, self._time = value.astype(np.float64), np.zeros_like(value), time
            return self._value
        dt = time - self._time
        if dt <= 0.0:
            return self._value
        self._time = time
        self._speed = self._speed + _share(self.speed_cutoff, dt) * ((value - self._value) / dt - self._speed)
        cutoff = self.cutoff + self.beta * np.abs(self._speed)
        share = 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * dt))
        self._value = self._value + share * (value - self._value)
        return self._value


def _share(cutoff: float, dt: float) -> float:
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * dt))
