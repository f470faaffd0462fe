"""Blinks. Rates from Bentivoglio et al. 1997 (17 a minute at rest, 26 in conversation), shape from
VanderWerf et al. 2003 (lids close fast and open about twice as slowly)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

CLOSING, HOLD, OPENING = 0.08, 0.045, 0.17  # seconds; the hold is longer than a frame, so every blink is seen
REST_RATE: Final = 17 / 60  # per second
TALK_RATE: Final = 26 / 60
SPREAD: Final = 0.6  # sigma of log intervals
SHIFT_CHANCE: Final = 0.3  # a large gaze shift brings a blink (Evinger et al. 1994)


@dataclass(slots=True)
class BlinkState:
    """Seconds to the next blink at the rate of rest, and since the present one began (negative: none)."""

    wait: float
    since: float = -1.0

    @staticmethod
    def start(rng: np.random.Generator) -> BlinkState:
        """A first blink within the first seconds."""
        return BlinkState(float(rng.uniform(0.8, 3.0)))


def blink_step(state: BlinkState, rng: np.random.Generator, speaking: bool, shift: bool, dt: float) -> float:
    """Lid closure in [0, 1] for the frame that ends ``dt`` seconds from now. ``shift``: the gaze just jumped."""
    if state.since < 0.0:
        state.wait -= dt * (TALK_RATE / REST_RATE if speaking else 1.0)
        if shift and state.wait < 1.5 / REST_RATE and rng.random() < SHIFT_CHANCE:
            state.wait = 0.0
        if state.wait <= 0.0:
            state.since = 0.0
            # log-normal with mean 1 / REST_RATE
            state.wait = math.exp(rng.normal(-0.5 * SPREAD**2, SPREAD)) / REST_RATE
        return 0.0
    state.since += dt
    closure = lid_curve(state.since)
    if state.since >= CLOSING + HOLD + OPENING:
        state.since = -1.0
    return closure


def lid_curve(time: float) -> float:
    """Lid closure ``time`` seconds into a blink: 0 open, 1 shut."""
    if time < CLOSING:
        return _smooth(time / CLOSING)
    if time < CLOSING + HOLD:
        return 1.0
    return 1.0 - _smooth(min((time - CLOSING - HOLD) / OPENING, 1.0)) ** 0.8


def _smooth(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)
