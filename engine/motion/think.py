"""Thinking: where somebody looks, and how he holds his head and brows, while he looks for an answer.

Eyes leave the other's face most while thinking (Glenberg, Schroeder and Robertson 1998; Doherty-Sneddon and Phelps
2005), up and aside more than down, and each of us has a side of his own for it (Duke 1968). Stochastic from a seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import ACTION_INDEX, K
from engine.motion.spring import Spring

Array = NDArray[np.float32]

ASIDE: Final = (math.radians(15), math.radians(27))  # of the other's face, least and most
UP: Final = (math.radians(9), math.radians(17))
DOWN: Final = (math.radians(-14), math.radians(-8))
UPWARD: Final = 0.8  # share of the looks that go up
OWN_SIDE: Final = 0.75  # share of the looks that go to somebody's own side
STAY: Final = (0.9, 2.6)  # seconds that one look lasts
TILT: Final = (math.radians(2.5), math.radians(5))
SMALL: Final = math.radians(1.2)  # spread of the small shifts between looks
FIXATION: Final = (0.3, 0.8)  # seconds between them
LEVEL_HALF_LIFE: Final = 0.15  # seconds: all of it comes and goes within 0.6 s
CALM: Final = (0.6, 0.45)  # what is left of the performer's head and hands
# How far each action replaces what the face does, and its weight then: brows a little together, lips a little pressed.
FACE: Final = {
    "browDown": (0.6, 0.38), "browInnerUp": (0.4, 0.18), "eyeSquint": (0.5, 0.22), "mouthPress": (0.5, 0.3),
    "mouthSmile": (0.8, 0.0), "cheekSquint": (0.6, 0.0),
}  # fmt: skip


def _table() -> tuple[Array, Array]:
    share, weight = np.zeros(K, np.float32), np.zeros(K, np.float32)
    for name, values in FACE.items():
        for action in (name, name + "Left", name + "Right"):
            if action in ACTION_INDEX:
                share[ACTION_INDEX[action]], weight[ACTION_INDEX[action]] = values
    return share, weight


SHARE, WEIGHT = _table()


@dataclass(slots=True)
class Thought:
    """``yaw`` and ``pitch`` of the look from where the eyes would be otherwise, ``tilt`` of the head, in radians, all
    of them targets; ``level`` in [0, 1] how much of it is seen."""

    rng: np.random.Generator
    side: float  # somebody's own: -1 or 1
    fade: Spring = field(default_factory=lambda: Spring.at([0.0]))
    yaw: float = 0.0
    pitch: float = 0.0
    tilt: float = 0.0
    left: float = 0.0  # seconds of this look
    fixation: float = 0.0  # seconds until the next small shift
    shift: tuple[float, float] = (0.0, 0.0)
    thinks: bool = False

    @staticmethod
    def start(seed: int) -> Thought:
        """All its randomness is given by ``seed``; it takes none of the performer's."""
        rng = np.random.Generator(np.random.Philox([seed, 0x7411]))
        return Thought(rng, float(rng.choice((-1.0, 1.0))))

    @property
    def level(self) -> float:
        """How much of it is seen."""
        return min(max(float(self.fade.value[0]), 0.0), 1.0)

    @property
    def look(self) -> tuple[float, float]:
        """Yaw and pitch that the eyes are aside, in radians."""
        if not self.thinks:  # back at once: eyes jump
            return 0.0, 0.0
        return self.yaw + self.shift[0], self.pitch + self.shift[1]

    def follow(self, thinks: bool, dt: float) -> None:
        """Moves on by ``dt`` seconds."""
        if thinks:
            self._think(dt)
        self.thinks = thinks
        self.fade.follow([float(thinks)], LEVEL_HALF_LIFE, dt)

    def _think(self, dt: float) -> None:
        self.left -= dt
        self.fixation -= dt
        rng = self.rng
        if not self.thinks or self.left <= 0.0:
            side = self.side if rng.random() < OWN_SIDE else -self.side
            self.yaw = side * float(rng.uniform(*ASIDE))
            self.pitch = float(rng.uniform(*(UP if rng.random() < UPWARD or not self.thinks else DOWN)))
            self.tilt = side * float(rng.uniform(*TILT))
            self.left, self.shift = float(rng.uniform(*STAY)), (0.0, 0.0)
            self.fixation = float(rng.uniform(*FIXATION))
        elif self.fixation <= 0.0:
            self.shift = (float(rng.normal(0.0, SMALL)), float(rng.normal(0.0, SMALL)))
            self.fixation = float(rng.uniform(*FIXATION))

    def over(self, share: Array | None, weight: Array | None) -> tuple[Array, Array] | tuple[None, None]:
        """What is set by hand, if anything, (K,) share and weight, over what a thinking face does."""
        level = np.float32(self.level)
        if level < 1e-3:
            return (None, None) if share is None or weight is None else (share, weight)
        if share is None or weight is None:
            return level * SHARE, WEIGHT
        below = (np.float32(1.0) - share) * level * SHARE
        both = share + below
        return both, np.divide(share * weight + below * WEIGHT, both, out=np.zeros_like(both), where=both > 0.0)
