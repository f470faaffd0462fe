"""The vocabulary of gestures with a meaning: what arms, head and face do for each, drawn by hand.

Forms follow the emblems and metaphoric gestures of Kendon (2004) and McNeill (1992). A sign is a path of both arms
through poses, in seconds from the moment that falls on the word (0); ``None`` leaves an arm where it is. One-handed
signs are drawn for the right hand; left-handers mirror them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from training.choreography.arms import Arm

Palm = tuple[float, float, float]


class Step(NamedTuple):
    """Both arms at ``time`` seconds from the stroke."""

    time: float
    right: Arm | None = None
    left: Arm | None = None


class Pulse(NamedTuple):
    """Something that rises, holds and falls; seconds from the stroke."""

    start: float
    rise: float
    hold: float
    fall: float
    amount: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sign:
    """One meaning: the arms' path, seconds it is held at the end, and what goes with it: head (pitch + down, yaw,
    roll; radians), gaze (yaw, pitch), face (action weights, pairs without their side, over ``lasts`` seconds)."""

    steps: tuple[Step, ...]
    hold: float = 0.25
    head: tuple[Pulse, ...] = ()
    gaze: tuple[Pulse, ...] = ()
    face: tuple[tuple[str, float], ...] = ()
    lasts: float = 0.9

    @property
    def one_handed(self) -> bool:
        """Whether the left arm has no part in it."""
        return all(step.left is None for step in self.steps)


def _both(time: float, arm: Arm) -> Step:
    return Step(time, arm, arm)


def _nod(time: float, size: float) -> Pulse:
    return Pulse(time, 0.16, 0.02, 0.22, (size, 0.0, 0.0))


def _tilt(roll: float, pitch: float = 0.0, hold: float = 0.5) -> Pulse:
    return Pulse(-0.3, 0.3, hold, 0.5, (pitch, 0.0, roll))


UP: Final[Palm] = (-0.25, 0.90, 0.25)
DOWN: Final[Palm] = (0.0, -1.0, 0.15)
VIEWER: Final[Palm] = (0.0, 0.05, 1.0)
INWARD: Final[Palm] = (-1.0, 0.0, 0.1)
OUTWARD: Final[Palm] = (0.9, -0.1, 0.35)
CHEST: Final[Palm] = (-0.1, 0.0, -1.0)

# fmt: off
_SHAKE: Final = (Pulse(-0.25, 0.15, 0.0, 0.15, (0.0, 0.11, 0.0)), Pulse(-0.03, 0.15, 0.0, 0.15, (0.0, -0.13, 0.0)),
                 Pulse(0.19, 0.15, 0.0, 0.15, (0.0, 0.10, 0.0)), Pulse(0.41, 0.15, 0.0, 0.2, (0.0, -0.06, 0.0)))
# fmt: on
_NODS: Final = (_nod(-0.12, 0.14), _nod(0.28, 0.09))


def _roll(turns: float) -> tuple[Step, ...]:
    """Hands that roll around each other before the chest."""
    import math

    steps = []
    for quarter in range(int(4 * turns) + 1):
        angle = math.pi / 2 * quarter
        up, front = 0.085 * math.cos(angle), 0.085 * math.sin(angle)
        steps.append(Step(0.17 * quarter - 0.34,
                          Arm(0.42, -0.29 + up, 0.44 + front, 0.35, CHEST, 0.1, 0.0, 0.32, 0.1, 0.3),
                          Arm(0.42, -0.29 - up, 0.44 - front, 0.35, CHEST, 0.1, 0.0, 0.32, 0.1, 0.3)))  # fmt: skip
    return tuple(steps)


def _wave() -> tuple[Step, ...]:
    steps = [Step(-0.12, Arm(1.50, 0.03, 0.26, -0.20, VIEWER, -0.1, -0.15, 0.06, 0.5, 0.0))]
    for swing in range(5):
        side = 0.16 if swing % 2 else -0.16
        steps.append(Step(0.2 * swing + 0.1, Arm(1.5 + side, 0.04, 0.26, -0.20 - 0.3 * side, VIEWER, -0.1,
                                                 -0.15 - 1.7 * side, 0.06, 0.5, 0.0)))  # fmt: skip
    return tuple(steps)


def _bye() -> tuple[Step, ...]:
    return tuple(
        Step(
            0.19 * k - 0.1,
            Arm(1.30, 0.06, 0.32, -0.1, VIEWER, 0.35 * (k % 2) - 0.15, 0.0, 0.06 + 0.62 * (k % 2), 0.3, 0.1),
        )
        for k in range(7)
    )


def _so_so() -> tuple[Step, ...]:
    return tuple(
        Step(
            0.2 * k - 0.2,
            Arm(1.05, -0.30, 0.46, 0.15, (0.55 if k % 2 else -0.75, -0.75, 0.1), -0.05, 0.0, 0.08, 0.45, 0.1),
        )
        for k in range(5)
    )


def _scales() -> tuple[Step, ...]:
    steps = []
    for k in range(4):
        way = 0.11 if k % 2 else -0.11
        steps.append(Step(0.42 * k - 0.1, Arm(1.15, -0.30 + way, 0.46, 0.1, UP, -0.1, 0.0, 0.18, 0.25, 0.1),
                          Arm(1.15, -0.30 - way, 0.46, 0.1, UP, -0.1, 0.0, 0.18, 0.25, 0.1)))  # fmt: skip
    return tuple(steps)


VOCABULARY: Final[dict[str, Sign]] = {
    "yes": Sign(
        (Step(-0.25, Arm(1.05, -0.26, 0.36, 0.1, (-0.5, 0.7, 0.2), 0.0, 0.0, 0.2, 0.2, 0.1)),
         Step(0.0, Arm(1.05, -0.36, 0.48, 0.1, UP, -0.15, 0.0, 0.12, 0.3, 0.05))),
        0.3, _NODS, face=(("mouthSmile", 0.22), ("browOuterUp", 0.2)),
    ),
    "no": Sign(
        (Step(-0.35, Arm(0.15, -0.30, 0.42, 0.35, (0.0, -0.9, 0.4), 0.0, 0.0, 0.08, 0.2, 0.1)),
         Step(0.1, Arm(1.40, -0.28, 0.46, 0.10, (0.1, -0.9, 0.4), -0.1, 0.0, 0.05, 0.3, 0.1))),
        0.2, _SHAKE, face=(("browDown", 0.35), ("mouthPress", 0.25)),
    ),
    "me": Sign(
        (Step(-0.3, Arm(0.70, -0.28, 0.24, 0.35, CHEST, 0.1, 0.0, 0.12, 0.15, 0.1)),
         Step(0.0, Arm(0.26, -0.27, 0.02, 0.45, CHEST, 0.05, 0.0, 0.10, 0.15, 0.10))),
        0.35, (Pulse(-0.1, 0.2, 0.1, 0.4, (0.06, 0.0, 0.0)),), face=(("browInnerUp", 0.25),),
    ),
    "you": Sign(
        (Step(-0.3, Arm(1.15, -0.30, 0.24, 0.1, (-0.6, 0.5, 0.2), 0.1, 0.0, 0.25, 0.15, 0.15)),
         Step(0.0, Arm(0.85, -0.20, 0.70, 0.1, (-0.35, 0.85, 0.3), -0.05, 0.0, 0.10, 0.18, 0.05))),
        0.3, (Pulse(-0.15, 0.2, 0.2, 0.4, (0.07, 0.0, 0.0)),), face=(("browOuterUp", 0.35), ("browInnerUp", 0.2)),
    ),
    "we": Sign(
        (_both(-0.42, Arm(1.55, -0.30, 0.44, 0.2, (-0.9, 0.2, -0.1), 0.0, 0.0, 0.15, 0.25, 0.1)),
         _both(0.0, Arm(0.85, -0.29, 0.20, 0.4, (-0.45, 0.0, -0.9), 0.15, 0.0, 0.18, 0.15, 0.15))),
        0.3, (_tilt(0.05),), face=(("mouthSmile", 0.2),),
    ),
    "big": Sign(
        (_both(-0.45, Arm(0.40, -0.26, 0.44, 0.25, INWARD, 0.0, 0.0, 0.25, 0.3, 0.1)),
         _both(0.0, Arm(1.62, -0.20, 0.46, 0.05, (-0.95, 0.0, 0.3), 0.15, 0.0, 0.22, 0.5, 0.0))),
        0.45, face=(("browInnerUp", 0.5), ("browOuterUp", 0.5), ("eyeWide", 0.35)),
    ),
    "small": Sign(
        (_both(-0.35, Arm(1.05, -0.20, 0.46, 0.0, INWARD, -0.25, 0.0, 0.22, 0.1, 0.2)),
         _both(0.0, Arm(0.62, -0.20, 0.48, -0.05, INWARD, -0.35, 0.0, 0.25, 0.05, 0.35)),
         _both(0.25, Arm(0.55, -0.20, 0.48, -0.05, INWARD, -0.35, 0.0, 0.25, 0.05, 0.35))),
        0.35, (Pulse(-0.2, 0.3, 0.4, 0.4, (0.07, 0.0, 0.03)),), face=(("eyeSquint", 0.5), ("browDown", 0.2)),
    ),
    "many": Sign(
        (_both(-0.3, Arm(0.65, -0.34, 0.42, 0.15, UP, 0.1, 0.0, 0.4, 0.2, 0.2)),
         _both(-0.05, Arm(0.95, -0.24, 0.44, 0.15, UP, -0.1, 0.0, 0.12, 0.55, 0.0)),
         _both(0.17, Arm(1.25, -0.34, 0.44, 0.15, UP, 0.1, 0.0, 0.35, 0.3, 0.15)),
         _both(0.42, Arm(1.50, -0.24, 0.42, 0.15, UP, -0.1, 0.0, 0.10, 0.6, 0.0))),
        0.3, face=(("browOuterUp", 0.4), ("browInnerUp", 0.3)),
    ),
    "everything": Sign(
        (_both(-0.55, Arm(0.75, -0.40, 0.40, 0.15, (-0.3, 0.3, 0.9), 0.0, 0.0, 0.15, 0.3, 0.1)),
         _both(-0.18, Arm(0.80, -0.02, 0.42, 0.1, (0.2, 0.3, 0.9), 0.0, 0.0, 0.10, 0.45, 0.0)),
         _both(0.15, Arm(1.72, -0.06, 0.40, 0.0, (-0.1, 0.3, 0.9), -0.1, 0.0, 0.08, 0.55, 0.0)),
         _both(0.5, Arm(1.50, -0.38, 0.40, 0.1, UP, -0.1, 0.0, 0.12, 0.4, 0.05))),
        0.15, (Pulse(-0.3, 0.35, 0.2, 0.5, (-0.07, 0.0, 0.0)),), face=(("browInnerUp", 0.4), ("browOuterUp", 0.4)),
    ),
    "up": Sign(
        (Step(-0.4, Arm(1.15, -0.46, 0.40, 0.1, UP, 0.1, 0.0, 0.15, 0.2, 0.1)),
         Step(0.05, Arm(1.35, 0.16, 0.36, 0.0, (-0.3, 0.9, -0.1), -0.45, 0.0, 0.10, 0.25, 0.05))),
        0.35, (Pulse(-0.3, 0.35, 0.2, 0.5, (-0.09, -0.03, 0.0)),), (Pulse(-0.15, 0.06, 0.4, 0.08, (-0.05, 0.13)),),
        (("browInnerUp", 0.4), ("browOuterUp", 0.5)),
    ),
    "down": Sign(
        (Step(-0.4, Arm(1.20, -0.02, 0.42, 0.3, DOWN, 0.0, 0.0, 0.12, 0.2, 0.15)),
         Step(0.05, Arm(1.20, -0.43, 0.48, 0.2, DOWN, -0.25, 0.0, 0.10, 0.25, 0.15))),
        0.35, (Pulse(-0.2, 0.3, 0.2, 0.5, (0.12, -0.02, 0.0)),), (Pulse(-0.15, 0.06, 0.4, 0.08, (-0.04, -0.16)),),
        (("browDown", 0.2),),
    ),
    "here": Sign(
        (_both(-0.22, Arm(0.80, -0.24, 0.44, 0.2, DOWN, 0.0, 0.0, 0.2, 0.15, 0.2)),
         _both(0.0, Arm(0.85, -0.42, 0.48, 0.2, DOWN, 0.2, 0.0, 0.15, 0.2, 0.15)),
         _both(0.22, Arm(0.85, -0.38, 0.46, 0.2, DOWN, 0.1, 0.0, 0.15, 0.2, 0.15))),
        0.25, (_nod(-0.12, 0.10),),
    ),
    "there": Sign(
        (Step(-0.35, Arm(1.15, -0.28, 0.30, 0.15, (-0.6, 0.1, 0.5), 0.1, 0.0, 0.3, 0.1, 0.2)),
         Step(0.0, Arm(1.46, -0.20, 0.48, -0.35, (0.1, 0.7, 0.7), -0.1, -0.35, 0.06, 0.08, 0.25))),
        0.4, (Pulse(-0.2, 0.3, 0.35, 0.5, (0.0, -0.20, 0.0)),), (Pulse(-0.25, 0.06, 0.55, 0.08, (-0.26, 0.02)),),
        (("browOuterUp", 0.25),),
    ),
    "stop": Sign(
        (Step(-0.28, Arm(1.05, -0.20, 0.24, 0.0, (-0.3, 0.0, 0.9), 0.0, 0.0, 0.15, 0.1, 0.1)),
         Step(0.0, Arm(0.95, -0.04, 0.60, 0.0, VIEWER, -0.75, 0.0, 0.03, 0.18, 0.1))),
        0.5, (Pulse(-0.15, 0.2, 0.3, 0.4, (-0.05, 0.0, 0.0)),), face=(("browDown", 0.45), ("eyeWide", 0.2)),
    ),
    "think": Sign(
        (Step(-0.45, Arm(0.85, -0.12, 0.28, 0.1, (-0.5, 0.1, -0.8), 0.2, 0.0, 0.5, 0.1, 0.3)),
         Step(0.0, Arm(0.62, 0.10, 0.26, 0.0, (-0.4, 0.2, -0.9), 0.35, 0.1, 0.55, 0.05, 0.35))),
        0.75, (Pulse(-0.3, 0.4, 0.7, 0.5, (0.02, 0.07, 0.08)),), (Pulse(-0.2, 0.06, 0.9, 0.08, (0.16, 0.12)),),
        (("browDown", 0.25), ("browInnerUp", 0.2), ("eyeSquint", 0.25), ("mouthPress", 0.2)), 1.4,
    ),
    "unknown": Sign(
        (_both(-0.3, Arm(1.15, -0.42, 0.32, 0.0, (-0.6, 0.6, 0.3), 0.0, 0.0, 0.2, 0.2, 0.1, 0.05)),
         _both(0.0, Arm(1.48, -0.34, 0.38, 0.0, (0.05, 0.95, 0.3), -0.35, 0.0, 0.14, 0.4, 0.05, 0.24))),
        0.4, (_tilt(0.11, -0.02),),
        face=(("browInnerUp", 0.55), ("browOuterUp", 0.55), ("mouthShrugLower", 0.6), ("mouthShrugUpper", 0.3),
              ("mouthFrown", 0.35)), lasts=1.1,
    ),
    "hello": Sign(_wave(), 0.0, (_nod(-0.1, 0.08),), face=(("mouthSmile", 0.5), ("cheekSquint", 0.3),
                  ("browOuterUp", 0.35)), lasts=1.6),
    "goodbye": Sign(_bye(), 0.0, (_tilt(0.07),), face=(("mouthSmile", 0.4), ("cheekSquint", 0.2)), lasts=1.6),
    "thanks": Sign(
        (Step(-0.35, Arm(0.70, -0.25, 0.22, 0.35, CHEST, 0.1, 0.0, 0.10, 0.15, 0.1)),
         Step(0.0, Arm(0.18, -0.24, 0.02, 0.45, CHEST, 0.05, 0.1, 0.06, 0.12, 0.1))),
        0.6, (Pulse(-0.1, 0.35, 0.25, 0.6, (0.24, 0.0, 0.03)),),
        face=(("mouthSmile", 0.35), ("cheekSquint", 0.25), ("browInnerUp", 0.3)), lasts=1.3,
    ),
    "please": Sign(
        (_both(-0.3, Arm(0.80, -0.20, 0.34, -0.05, INWARD, -0.15, 0.3, 0.05, 0.05, 0.1)),
         _both(0.0, Arm(0.37, -0.13, 0.36, -0.05, INWARD, -0.35, 0.75, 0.02, 0.02, 0.25))),
        0.6, (_tilt(0.07, 0.06, 0.7),), face=(("browInnerUp", 0.75), ("mouthFrown", 0.15)), lasts=1.3,
    ),
    "explain": Sign(
        (_both(-0.35, Arm(0.50, -0.44, 0.38, 0.1, (-0.7, 0.6, 0.1), 0.0, 0.0, 0.22, 0.2, 0.1)),
         _both(0.0, Arm(1.18, -0.38, 0.48, 0.1, UP, -0.1, 0.0, 0.14, 0.3, 0.05))),
        0.35, face=(("browOuterUp", 0.25), ("browInnerUp", 0.2)),
    ),
    "idea": Sign(
        (Step(-0.3, Arm(1.15, 0.02, 0.26, 0.0, (-0.7, 0.0, 0.6), 0.0, 0.0, 0.95, 0.0, 0.6)),
         Step(0.0, Arm(1.35, 0.30, 0.28, -0.1, (-0.3, 0.1, 0.9), -0.1, 0.0, 0.05, 0.7, 0.0))),
        0.35, (Pulse(-0.2, 0.2, 0.3, 0.5, (-0.09, 0.0, 0.0)),), face=(("browInnerUp", 0.7), ("browOuterUp", 0.75),
        ("eyeWide", 0.55), ("mouthSmile", 0.2)),
    ),
    "strong": Sign(
        (_both(-0.3, Arm(1.35, -0.36, 0.30, 0.0, (-0.6, 0.3, -0.5), 0.1, 0.0, 0.8, 0.0, 0.6)),
         _both(0.0, Arm(1.62, -0.04, 0.14, -0.15, (-0.7, 0.0, -0.7), 0.35, 0.0, 1.0, 0.0, 0.7)),
         _both(0.2, Arm(1.58, -0.07, 0.14, -0.15, (-0.7, 0.0, -0.7), 0.4, 0.0, 1.0, 0.0, 0.7))),
        0.3, (_nod(-0.1, 0.08),), face=(("browDown", 0.5), ("mouthPress", 0.35), ("noseSneer", 0.15)),
    ),
    "time": Sign(_roll(2.0), 0.1, (_tilt(0.04),), face=(("browOuterUp", 0.2),)),
    "past": Sign(
        (Step(-0.4, Arm(1.15, -0.06, 0.44, 0.0, (-0.6, 0.1, -0.6), 0.1, 0.0, 0.15, 0.2, 0.1)),
         Step(0.05, Arm(1.60, 0.20, 0.00, -0.2, (-0.2, 0.3, -0.9), -0.55, 0.0, 0.12, 0.3, 0.1))),
        0.25, (Pulse(-0.2, 0.3, 0.2, 0.5, (-0.06, -0.10, -0.03)),), (Pulse(-0.15, 0.06, 0.4, 0.08, (-0.14, 0.03)),),
    ),
    "future": Sign(
        (Step(-0.4, Arm(1.15, -0.14, 0.20, 0.05, (-0.8, 0.2, 0.2), 0.15, 0.0, 0.18, 0.15, 0.1)),
         Step(-0.15, Arm(1.10, 0.06, 0.44, 0.05, (-0.6, 0.0, 0.8), 0.0, 0.0, 0.12, 0.2, 0.1)),
         Step(0.08, Arm(1.00, -0.16, 0.72, 0.1, (-0.5, -0.5, 0.6), -0.1, 0.0, 0.08, 0.2, 0.1))),
        0.3, (Pulse(-0.2, 0.3, 0.2, 0.4, (-0.04, 0.0, 0.0)),), face=(("browOuterUp", 0.35),),
    ),
    "together": Sign(
        (_both(-0.45, Arm(1.50, -0.28, 0.44, 0.05, INWARD, -0.1, 0.0, 0.15, 0.35, 0.05)),
         _both(0.05, Arm(0.42, -0.26, 0.48, 0.0, INWARD, -0.2, 0.1, 0.5, 0.1, 0.2))),
        0.5, (_nod(-0.1, 0.06),), face=(("mouthSmile", 0.2),),
    ),
    "apart": Sign(
        (_both(-0.4, Arm(0.62, -0.24, 0.46, 0.1, (0.7, -0.2, 0.6), 0.1, 0.0, 0.15, 0.1, 0.15)),
         _both(0.05, Arm(1.58, -0.22, 0.44, 0.05, OUTWARD, -0.45, 0.0, 0.06, 0.3, 0.1))),
        0.35, face=(("browDown", 0.2),),
    ),
    "question": Sign(
        (Step(-0.3, Arm(1.10, -0.42, 0.36, 0.1, (-0.6, 0.6, 0.2), 0.1, 0.0, 0.22, 0.15, 0.1)),
         Step(0.0, Arm(1.48, -0.32, 0.46, 0.1, (-0.05, 0.95, 0.3), -0.3, 0.0, 0.10, 0.35, 0.0))),
        0.5, (_tilt(0.09, -0.04, 0.7),), face=(("browInnerUp", 0.55), ("browOuterUp", 0.6), ("eyeWide", 0.2)),
        lasts=1.2,
    ),
    "important": Sign(
        (Step(-0.2, Arm(0.90, -0.06, 0.44, 0.20, (-0.55, -0.25, 0.7), -0.15, 0.2, 0.52, 0.05, 0.85)),
         Step(0.0, Arm(0.90, -0.20, 0.50, 0.20, (-0.55, -0.25, 0.7), -0.05, 0.05, 0.52, 0.05, 0.85)),
         Step(0.2, Arm(0.90, -0.10, 0.46, 0.20, (-0.55, -0.25, 0.7), -0.15, 0.2, 0.52, 0.05, 0.85)),
         Step(0.38, Arm(0.90, -0.21, 0.50, 0.20, (-0.55, -0.25, 0.7), -0.05, 0.05, 0.52, 0.05, 0.85))),
        0.2, (_nod(-0.1, 0.10), _nod(0.28, 0.07)), face=(("browOuterUp", 0.45), ("browInnerUp", 0.3)),
    ),
    "doubt": Sign(_so_so(), 0.1, (_tilt(0.09), Pulse(0.3, 0.3, 0.1, 0.5, (0.0, 0.0, -0.14))),
                  face=(("mouthShrugLower", 0.5), ("mouthPress", 0.3), ("browOuterUpRight", 0.5), ("eyeSquint", 0.25),
                        ("mouthFrown", 0.2)), lasts=1.2),
    "welcome": Sign(
        (_both(-0.45, Arm(0.70, -0.38, 0.40, 0.1, (-0.6, 0.3, 0.6), 0.0, 0.0, 0.15, 0.2, 0.1)),
         _both(0.05, Arm(1.75, -0.26, 0.44, -0.1, (-0.15, 0.55, 0.85), -0.15, 0.0, 0.06, 0.35, 0.0))),
        0.5, (_tilt(0.06),), face=(("mouthSmile", 0.55), ("cheekSquint", 0.4), ("browOuterUp", 0.3)), lasts=1.3,
    ),
    "good": Sign(
        (Step(-0.3, Arm(1.15, -0.46, 0.36, 0.05, INWARD, 0.0, 0.0, 0.8, 0.0, 0.3)),
         Step(0.0, Arm(1.05, -0.36, 0.52, 0.0, INWARD, 0.0, 0.35, 1.0, 0.0, 0.0))),
        0.5, (_nod(-0.1, 0.09),), face=(("mouthSmile", 0.45), ("cheekSquint", 0.3)), lasts=1.1,
    ),
    "dismiss": Sign(
        (Step(-0.28, Arm(0.85, -0.10, 0.34, 0.25, (-0.2, -0.3, -0.9), 0.55, 0.0, 0.35, 0.1, 0.2)),
         Step(0.0, Arm(1.55, -0.14, 0.48, 0.15, (0.35, -0.75, 0.5), -0.35, 0.0, 0.06, 0.3, 0.05))),
        0.15, (Pulse(-0.15, 0.2, 0.1, 0.4, (-0.04, 0.10, 0.05)),), (Pulse(-0.1, 0.06, 0.35, 0.08, (0.16, -0.08)),),
        (("noseSneer", 0.25), ("mouthPress", 0.3), ("browDown", 0.25)),
    ),
    "weigh": Sign(
        _scales(), 0.1,
        (Pulse(-0.2, 0.3, 0.0, 0.3, (0.0, 0.0, 0.08)), Pulse(0.25, 0.3, 0.0, 0.3, (0.0, 0.0, -0.08)),
         Pulse(0.7, 0.3, 0.0, 0.4, (0.0, 0.0, 0.06))), face=(("mouthPress", 0.2), ("browInnerUp", 0.2)),
    ),
    "fast": Sign(
        (Step(-0.3, Arm(1.60, -0.20, 0.40, 0.1, INWARD, 0.0, 0.0, 0.08, 0.05, 0.1)),
         Step(0.05, Arm(0.35, -0.24, 0.48, 0.4, (-0.8, -0.1, -0.5), 0.15, 0.0, 0.05, 0.05, 0.1))),
        0.15, (Pulse(-0.15, 0.2, 0.0, 0.3, (0.0, 0.08, 0.0)),), face=(("eyeWide", 0.25), ("browOuterUp", 0.25)),
    ),
    "calm": Sign(
        (_both(-0.35, Arm(1.05, -0.20, 0.46, 0.2, (0.0, -0.9, 0.5), -0.15, 0.0, 0.08, 0.25, 0.1)),
         _both(0.05, Arm(1.05, -0.38, 0.48, 0.2, (0.0, -0.9, 0.4), -0.35, 0.0, 0.06, 0.3, 0.1)),
         _both(0.50, Arm(1.05, -0.26, 0.47, 0.2, (0.0, -0.9, 0.5), -0.15, 0.0, 0.08, 0.25, 0.1)),
         _both(0.95, Arm(1.05, -0.39, 0.48, 0.2, (0.0, -0.9, 0.4), -0.35, 0.0, 0.06, 0.3, 0.1))),
        0.2, (Pulse(-0.2, 0.4, 0.5, 0.5, (0.05, 0.0, 0.02)),), face=(("browInnerUp", 0.3), ("eyeBlink", 0.12)),
        lasts=1.6,
    ),
    "listen": Sign(
        (Step(-0.4, Arm(1.30, -0.04, 0.20, -0.2, (-0.5, 0.1, 0.7), 0.0, 0.0, 0.2, 0.1, 0.15)),
         Step(0.0, Arm(1.24, 0.15, 0.0, -0.15, (-0.25, 0.0, 1.0), 0.05, 0.1, 0.2, 0.08, 0.1))),
        0.7, (Pulse(-0.3, 0.35, 0.6, 0.5, (0.03, 0.14, -0.08)),), face=(("browInnerUp", 0.3), ("browOuterUp", 0.35)),
        lasts=1.3,
    ),
    "fight": Sign(
        (Step(-0.3, Arm(1.35, -0.10, 0.34, 0.1, (-0.8, 0.0, -0.3), 0.0, 0.0, 1.0, 0.0, 0.8),
              Arm(0.62, -0.32, 0.38, 0.05, (-0.95, 0.3, 0.0), -0.3, 0.0, 0.12, 0.2, 0.1)),
         Step(0.0, Arm(0.55, -0.28, 0.44, 0.3, (-0.6, 0.3, -0.7), 0.0, 0.0, 1.0, 0.0, 0.8),
              Arm(0.58, -0.32, 0.38, 0.05, (-0.95, 0.3, 0.0), -0.3, 0.0, 0.15, 0.2, 0.1))),
        0.25, (_nod(-0.1, 0.11),), face=(("browDown", 0.7), ("noseSneer", 0.35), ("mouthPress", 0.35)),
    ),
    "love": Sign(
        (Step(-0.4, Arm(0.75, -0.24, 0.26, 0.35, CHEST, 0.1, 0.0, 0.1, 0.15, 0.1),
              Arm(0.75, -0.26, 0.30, 0.35, CHEST, 0.1, 0.0, 0.1, 0.15, 0.1)),
         Step(0.0, Arm(0.18, -0.22, 0.02, 0.45, CHEST, 0.05, 0.1, 0.06, 0.12, 0.1),
              Arm(0.12, -0.30, 0.10, 0.45, CHEST, 0.05, 0.1, 0.06, 0.12, 0.1))),
        0.6, (_tilt(0.10, 0.05, 0.6),), face=(("mouthSmile", 0.45), ("cheekSquint", 0.35), ("browInnerUp", 0.4)),
        lasts=1.4,
    ),
    "end": Sign(
        (_both(-0.35, Arm(0.44, -0.28, 0.48, 0.3, DOWN, 0.0, 0.0, 0.06, 0.15, 0.1)),
         _both(0.05, Arm(1.42, -0.32, 0.48, 0.15, DOWN, -0.1, 0.0, 0.04, 0.25, 0.1))),
        0.3, (_nod(-0.05, 0.09),), face=(("mouthPress", 0.35), ("browDown", 0.2)),
    ),
}  # fmt: skip
MEANINGS: Final = tuple(VOCABULARY)
