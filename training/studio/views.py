"""Where a clip is seen from: fixed, orbiting, dragged about as a viewer would, or coming closer."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.clock import FRAME_SECONDS
from engine.render.camera import FRAMINGS
from engine.viewpoint import PITCH_LIMIT, YAW_LIMIT, SpringState, Viewpoint, ViewSpring

MOVES: Final = {"fixed": 0.30, "orbit": 0.40, "drag": 0.20, "dolly": 0.10}  # share of clips
FRONTAL_SHARE: Final = 0.45  # of the clips start near the front, the rest anywhere
FRONTAL_SPREAD: Final = math.radians(12)
ORBIT_SPEED: Final = (math.radians(4), math.radians(28))  # per second
# How near and how far the camera goes, of the framing's distance: nearer than this, heads are cut off.
REACH: Final = {"head": (0.80, 1.30), "upper": (0.88, 1.25), "presenter": (0.95, 1.20)}


def track(framing: str, frames: int, rng: np.random.Generator) -> tuple[str, list[Viewpoint]]:
    """Name of the camera's move and T viewpoints, all within the limits of engine/viewpoint.py."""
    start = place(framing, rng)
    move = str(rng.choice(list(MOVES), p=list(MOVES.values())))
    if move == "fixed":
        return move, [start] * frames
    if move == "drag":
        return move, _drag(start, framing, frames, rng)
    if move == "dolly":
        ratio = place(framing, rng).distance / start.distance
        way = 0.5 - 0.5 * np.cos(np.pi * np.arange(frames) / max(frames - 1, 1))
        return move, [_moved(start, 0.0, 0.0, ratio**part) for part in way.tolist()]
    seconds = np.arange(frames) * FRAME_SECONDS
    speed = rng.uniform(*ORBIT_SPEED) * (-1.0 if start.yaw > 0 else 1.0)  # toward the front, and past it
    rise = rng.normal(0.0, math.radians(3))
    return move, [_moved(start, speed * s, rise * s, 1.0) for s in seconds]


def around(framing: str, count: int, rng: np.random.Generator) -> list[Viewpoint]:
    """``count`` viewpoints spread evenly over all yaws, for stills of one pose."""
    edges = np.linspace(-YAW_LIMIT, YAW_LIMIT, count + 1)
    yaws = rng.uniform(edges[:-1], edges[1:])
    return [_at(framing, float(yaw), _pitch(rng), rng) for yaw in yaws]


def place(framing: str, rng: np.random.Generator) -> Viewpoint:
    """One viewpoint: often near the front, sometimes anywhere."""
    frontal = rng.random() < FRONTAL_SHARE
    yaw = rng.normal(0.0, FRONTAL_SPREAD) if frontal else rng.uniform(-YAW_LIMIT, YAW_LIMIT)
    return _at(framing, float(yaw), _pitch(rng), rng)


def _pitch(rng: np.random.Generator) -> float:
    return float(rng.normal(0.0, math.radians(6)) if rng.random() < 0.6 else rng.uniform(-PITCH_LIMIT, PITCH_LIMIT))


def _at(framing: str, yaw: float, pitch: float, rng: np.random.Generator) -> Viewpoint:
    near, far = REACH[framing]
    distance = FRAMINGS[framing].distance * math.exp(rng.uniform(math.log(near), math.log(far)))
    pan_x, pan_y = rng.normal(0.0, 0.018, 2)
    return Viewpoint(yaw, pitch, distance, float(pan_x), float(pan_y)).clamped()


def _moved(start: Viewpoint, yaw: float, pitch: float, closer: float) -> Viewpoint:
    moved = Viewpoint(start.yaw + yaw, start.pitch + pitch, start.distance * closer, start.pan_x, start.pan_y)
    return moved.clamped()


def _drag(start: Viewpoint, framing: str, frames: int, rng: np.random.Generator) -> list[Viewpoint]:
    """The engine's own spring after a hand that lets go, pulls, and lets go again."""
    spring, state, goal = ViewSpring(half_life=float(rng.uniform(0.06, 0.25))), SpringState(start), start
    out, wait = [], int(rng.integers(0, 10))
    for _ in range(frames):
        if wait == 0:
            aim = place(framing, rng)
            goal = Viewpoint(0.5 * (goal.yaw + aim.yaw), 0.5 * (goal.pitch + aim.pitch), start.distance)
            wait = int(rng.integers(8, 40))
        wait -= 1
        view, state = spring.step(goal, state, FRAME_SECONDS)
        out.append(view.clamped())
    return out
