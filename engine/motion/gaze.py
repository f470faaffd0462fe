"""Gaze: saccades, looking at the viewer and away, after Lee, Badler and Badler, Eyes Alive (SIGGRAPH 2002).

Times in mutual gaze and away are their table 1; amplitude and duration their equations 1 and 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

MUTUAL_TALK, AWAY_TALK = (3.13, 3.16), (0.93, 0.80)  # mean and deviation, seconds
MUTUAL_LISTEN, AWAY_LISTEN = (7.92, 1.57), (0.43, 0.24)
LARGEST: Final = math.radians(14)
FIXATION: Final = math.radians(1.1)  # spread of fixations over the viewer's face
DIRECTIONS: Final = ((0.0, 0.16), (45.0, 0.06), (90.0, 0.18), (135.0, 0.08), (180.0, 0.17), (225.0, 0.08),
                     (270.0, 0.20), (315.0, 0.07))  # fmt: skip


@dataclass(slots=True)
class GazeState:
    """Angles in radians relative to the viewer, times in seconds."""

    yaw: float = 0.0
    pitch: float = 0.0
    from_yaw: float = 0.0
    from_pitch: float = 0.0
    to_yaw: float = 0.0
    to_pitch: float = 0.0
    duration: float = 0.03
    since: float = 1.0  # since the saccade began
    away: bool = False
    left: float = 1.0  # until mutual gaze or aversion ends
    fixation: float = 0.5  # until the next small shift

    @staticmethod
    def start(rng: np.random.Generator) -> GazeState:
        """A session starts with its eyes on the viewer."""
        return GazeState(left=float(rng.uniform(2.0, 4.0)), fixation=float(rng.uniform(0.3, 0.9)))


def gaze_step(state: GazeState, rng: np.random.Generator, speaking: bool, dt: float) -> bool:
    """Moves the eyes by ``dt`` seconds; true when a large shift (to or from the viewer) begins in this frame."""
    state.left -= dt
    state.fixation -= dt
    shift = state.left <= 0.0
    if shift:
        state.away = not state.away
        state.left = _stay(state.away, speaking, rng)
        _look(state, *(_aversion(rng) if state.away else (0.0, 0.0)))
    elif state.fixation <= 0.0:
        base = (state.to_yaw, state.to_pitch) if state.away else (0.0, 0.0)
        _look(state, base[0] + rng.normal(0.0, FIXATION), base[1] + rng.normal(0.0, 0.7 * FIXATION))
        state.fixation = float(rng.uniform(0.3, 1.2))
    state.since += dt
    way = min(state.since / state.duration, 1.0)
    way = way * way * (3.0 - 2.0 * way)
    state.yaw = state.from_yaw + (state.to_yaw - state.from_yaw) * way
    state.pitch = state.from_pitch + (state.to_pitch - state.from_pitch) * way
    return shift


def _look(state: GazeState, yaw: float, pitch: float) -> None:
    state.from_yaw, state.from_pitch = state.yaw, state.pitch
    state.to_yaw, state.to_pitch = float(yaw), float(pitch)
    amplitude = math.degrees(math.hypot(yaw - state.yaw, pitch - state.pitch))
    state.duration = 0.025 + 0.0024 * amplitude  # eq. 2: D = D0 + d A
    state.since = 0.0


def _stay(away: bool, speaking: bool, rng: np.random.Generator) -> float:
    mean, deviation = (AWAY_TALK if away else MUTUAL_TALK) if speaking else (AWAY_LISTEN if away else MUTUAL_LISTEN)
    return float(np.clip(rng.normal(mean, deviation), 0.3, 3.0 * mean))


def _aversion(rng: np.random.Generator) -> tuple[float, float]:
    percent = rng.uniform(0.5, 15.0)
    amplitude = min(math.radians(-6.9 * math.log(percent / 15.7)), LARGEST)  # eq. 1
    angles, weights = zip(*DIRECTIONS, strict=True)
    angle = math.radians(rng.choice(angles, p=weights) + rng.uniform(-20, 20))
    return amplitude * math.cos(angle), 0.7 * amplitude * math.sin(angle)
