"""A person who moves as we say, photographed: what a tracker should find is known exactly."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine import avatar as packs
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render.geometric import GeometricRenderer
from engine.tracking.face import Face, FaceFinder

SIZE = (288, 288)
FPS = 25
BLINK = (0.5, 1.0, 1.0, 0.6, 0.2)
ACTIONS = {  # amplitude, Hz
    "jawOpen": (0.4, 1.1), "mouthSmileLeft": (0.6, 0.31), "mouthSmileRight": (0.6, 0.31), "browInnerUp": (0.8, 0.43),
    "browOuterUpLeft": (0.7, 0.43), "browOuterUpRight": (0.7, 0.43), "mouthPucker": (0.7, 0.71),
}  # fmt: skip


def motions(count: int) -> list[Motion]:
    """Sines of different rates, a blink every 1.8 seconds, a head that turns and eyes that wander."""
    found = []
    for index in range(count):
        time, motion = index / FPS, Motion.rest()
        for name, (amount, rate) in ACTIONS.items():
            motion.face[ACTION_INDEX[name]] = amount * max(0.0, np.sin(2 * np.pi * rate * time))
        if 20 <= index % 45 < 25:
            for side in ("Left", "Right"):
                motion.face[ACTION_INDEX["eyeBlink" + side]] = BLINK[index % 45 - 20]
        motion.head[:3] = 0.15 * np.sin(2.07 * time), 0.3 * np.sin(1.32 * time), 0.1 * np.sin(1.7 * time)
        motion.gaze[:] = 0.3 * np.sin(2.5 * time + 1), 0.15 * np.sin(1.57 * time)
        found.append(motion)
    return found


@cache
def pictures(avatar: str, count: int) -> tuple[np.ndarray, ...]:
    """(H, W, 3) pictures of ``motions``."""
    renderer = GeometricRenderer(packs.load(packs.find(avatar, ())), SIZE, "head")
    state, found = renderer.initial_state(), []
    for motion in motions(count):
        picture, state = renderer.step(motion, renderer.default_viewpoint(), state)
        found.append(picture.rgb.copy())
    return tuple(found)


@cache
def faces(avatar: str, count: int) -> tuple[Face | None, ...]:
    """What the finder sees in them."""
    finder = FaceFinder()
    return tuple(finder.step(picture) for picture in pictures(avatar, count))
