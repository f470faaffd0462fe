"""Viewpoint: where the viewer looks from, and the spring that makes a 20 Hz control stream continuous."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

YAW_LIMIT: Final = math.radians(75)
PITCH_LIMIT: Final = math.radians(25)
DISTANCE_LIMITS: Final = (0.45, 3.0)  # metres from the target
PAN_LIMIT: Final = 0.3  # metres


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """An orbit around the avatar. Angles in radians, lengths in metres.

    ``yaw`` 0 is frontal, positive moves the camera to the viewer's right; ``pitch`` positive moves it up;
    ``distance`` is measured from the framing's target point; ``pan_x``, ``pan_y`` shift that target.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    distance: float = 1.0
    pan_x: float = 0.0
    pan_y: float = 0.0

    def clamped(self) -> Viewpoint:
        """The nearest viewpoint the avatar can be seen from. Raises ValueError on NaN or infinity."""
        values = (self.yaw, self.pitch, self.distance, self.pan_x, self.pan_y)
        if not all(math.isfinite(value) for value in values):
            raise ValueError(f"a viewpoint must be finite, got {self}")
        return Viewpoint(
            yaw=_clamp(self.yaw, -YAW_LIMIT, YAW_LIMIT),
            pitch=_clamp(self.pitch, -PITCH_LIMIT, PITCH_LIMIT),
            distance=_clamp(self.distance, *DISTANCE_LIMITS),
            pan_x=_clamp(self.pan_x, -PAN_LIMIT, PAN_LIMIT),
            pan_y=_clamp(self.pan_y, -PAN_LIMIT, PAN_LIMIT),
        )


@dataclass(frozen=True, slots=True)
class SpringState:
    """Position and velocity (per second) of the smoothed viewpoint."""

    position: Viewpoint
    velocity: Viewpoint = Viewpoint(distance=0.0)


@dataclass(frozen=True, slots=True)
class ViewSpring:
    """A critically damped spring: it follows without overshoot, whatever the frame rate.

    ``half_life`` is the time in seconds after which half the way is left. Exact solution of
    x'' = -2 w x' - w^2 (x - target) with a target held over the step, so two half steps equal one.
    """

    half_life: float = 0.03

    def step(self, target: Viewpoint, state: SpringState, dt: float) -> tuple[Viewpoint, SpringState]:
        """Moves ``state`` toward ``target`` by ``dt`` seconds; returns the viewpoint to paint and the new state."""
        omega = 1.6783469900166605 / max(self.half_life, 1e-4)  # (1 + x) exp(-x) = 1/2
        decay = math.exp(-omega * dt)
        position, velocity = {}, {}
        for name in ("yaw", "pitch", "distance", "pan_x", "pan_y"):
            offset = getattr(state.position, name) - getattr(target, name)
            rate = getattr(state.velocity, name)
            drift = rate + omega * offset
            position[name] = getattr(target, name) + (offset + drift * dt) * decay
            velocity[name] = (rate - omega * drift * dt) * decay
        state = SpringState(Viewpoint(**position), replace(Viewpoint(), **velocity))
        return state.position, state


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
