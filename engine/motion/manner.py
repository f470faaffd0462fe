"""Manner: how the avatar is asked to behave, checked where it is made, and the smooth version of it that is acted.

A Manner is what a page, a file or a program says. It may change between any two frames; ``MannerState`` cross-fades.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.motion import condition as conditions
from engine.motion.emotion import EMOTION_INDEX, EMOTIONS, LIP_GAIN_TABLE, STYLE, check
from engine.motion.frame import ACTION_INDEX, K
from engine.motion.spring import Spring

Array = NDArray[np.float32]

GAZES: Final = ("viewer", "free")
YAW_LIMIT, PITCH_LIMIT = math.radians(50), math.radians(30)  # of a direction to look in
STRONGEST: Final = 1.5  # of head and gesture strength
HOTTEST: Final = 2.0  # temperature
MOOD_HALF_LIFE: Final = 0.15  # seconds: emotion and style are within 1 % of what was asked after 0.6 s
ACTION_HALF_LIFE: Final = 0.05
GAZE_HALF_LIFE: Final = 0.02  # a saccade
SEEN: Final = 1e-4  # share and weight below which an action that was set by hand is not seen


@dataclass(frozen=True, slots=True)
class Manner:
    """Everything but the voice and the viewpoint. Raises ValueError, naming the field, for what cannot be done.

    ``gaze``: "viewer" holds the viewer's eyes, "free" wanders as people do, (yaw, pitch) in radians from the avatar's
    front looks there. ``head`` and ``gesture`` scale how far head and arms move, 1 as generated. ``style``: STYLE, each
    in [0, 1]. ``actions``: ARKit action names with weights that are shown whatever else the face does. ``meaning``: the
    semantic vector of the coming speech (engine/motion/semantics.py), None when unknown. ``listening``: the other one
    talks. ``thinking``: an answer is being found (engine/motion/think.py). ``temperature``: how varied, 0 always the
    likeliest. ``seed``: restarts the randomness when it changes. ``interrupts``: counts interruptions; one more than
    before stops the mouth until a voice is heard after a pause or, unless ``resumed`` is None, until that is as many:
    then whoever sends the voice announces new speech.
    """

    emotion: str = "neutral"
    intensity: float = 0.65
    gaze: str | tuple[float, float] = "free"
    head: float = 1.0
    gesture: float = 1.0
    style: tuple[float, ...] = conditions.AVERAGE_STYLE
    actions: tuple[tuple[str, float], ...] = ()
    meaning: tuple[float, ...] | None = None
    listening: bool = False
    thinking: bool = False
    temperature: float = 1.0
    seed: int | None = None
    interrupts: int = 0
    resumed: int | None = None

    def __post_init__(self) -> None:
        check(self.emotion, self.intensity)
        _check_gaze(self.gaze)
        for name, most in (("head", STRONGEST), ("gesture", STRONGEST), ("temperature", HOTTEST)):
            _in_range(name, getattr(self, name), 0.0, most)
        _numbers("style", self.style, len(STYLE), 0.0, 1.0)
        for action, weight in self.actions:
            if action not in ACTION_INDEX:
                raise ValueError(f'actions: no action "{str(action)[:40]}"; the 52 are named as in ARKit, e.g. jawOpen')
            _in_range(f"actions.{action}", weight, 0.0, 1.0)
        if self.meaning is not None:
            _numbers("meaning", self.meaning, conditions.SEMANTIC, -1e3, 1e3)
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be a whole number of 0 or more, got {self.seed}")


def _check_gaze(gaze: object) -> None:
    if isinstance(gaze, str):
        if gaze not in GAZES:
            raise ValueError(f'gaze must be "viewer", "free" or a direction (yaw, pitch), got "{gaze[:40]}"')
        return
    if not isinstance(gaze, tuple) or len(gaze) != 2:
        raise ValueError(f'gaze must be "viewer", "free" or a direction (yaw, pitch), got {gaze!r}'[:200])
    _in_range("gaze yaw", gaze[0], -YAW_LIMIT, YAW_LIMIT)
    _in_range("gaze pitch", gaze[1], -PITCH_LIMIT, PITCH_LIMIT)


def _numbers(name: str, values: tuple[float, ...], count: int, low: float, high: float) -> None:
    if len(values) != count:
        raise ValueError(f"{name} is {count} numbers, got {len(values)}")
    for value in values:
        _in_range(name, value, low, high)


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:.4g} to {high:.4g}, got {value!r}"[:200])


# What of a Manner changes with the mood's half-life, in this order.
_EMOTION: Final = slice(0, len(EMOTIONS))
_STYLE: Final = slice(_EMOTION.stop, _EMOTION.stop + len(STYLE))
_HEAD: Final = _STYLE.stop
_GESTURE: Final = _HEAD + 1
_HELD: Final = _GESTURE + 1
_MOOD: Final = _HELD + 1


def _mood(manner: Manner) -> NDArray[np.float64]:
    goal = np.zeros(_MOOD)
    goal[EMOTION_INDEX[manner.emotion]] = 0.0 if manner.emotion == "neutral" else manner.intensity
    goal[_STYLE] = manner.style
    goal[_HEAD], goal[_GESTURE], goal[_HELD] = manner.head, manner.gesture, manner.gaze != "free"
    return goal


def _unit(values: NDArray[np.float64]) -> Array:
    return np.minimum(np.maximum(values, 0.0), 1.0).astype(np.float32)


@dataclass(slots=True)
class MannerState:
    """The manner as acted right now: springs on mood, on each action's share and weight, and on the gaze's aim."""

    mood: Spring
    shares: Spring = field(default_factory=lambda: Spring.at(np.zeros(2 * K)))
    aim: Spring = field(default_factory=lambda: Spring.at(np.zeros(2)))
    by_hand: bool = False  # actions are set by hand, or fade

    @staticmethod
    def start(manner: Manner) -> MannerState:
        """A session begins as it was asked to be, without a fade."""
        return MannerState(Spring.at(_mood(manner)))

    def follow(self, manner: Manner, aim: tuple[float, float], dt: float) -> None:
        """Moves on by ``dt`` seconds toward ``manner``; ``aim``: where the gaze is directed now, yaw and pitch."""
        self.mood.follow(_mood(manner), MOOD_HALF_LIFE, dt)
        self.aim.follow(aim, GAZE_HALF_LIFE, dt)
        if manner.actions or self.by_hand:
            self._follow_actions(manner, dt)

    def _follow_actions(self, manner: Manner, dt: float) -> None:
        # A released action keeps its weight while its share goes: it fades into what the face does, not to zero.
        goal = np.concatenate([np.zeros(K), self.shares.value[K:]])
        for action, weight in manner.actions:
            place = ACTION_INDEX[action]
            goal[place], goal[K + place] = 1.0, weight
            if self.shares.value[place] < 1e-3:
                self.shares.value[K + place], self.shares.rate[K + place] = weight, 0.0
        self.shares.follow(goal, ACTION_HALF_LIFE, dt)
        self.by_hand = bool(manner.actions) or bool((self.shares.value[:K] >= SEEN).any())
        if not self.by_hand:
            self.shares = Spring.at(np.zeros(2 * K))

    @property
    def emotion(self) -> Array:
        """(8,) weight of each emotion; neutral's is always 0."""
        return _unit(self.mood.value[_EMOTION])

    @property
    def head(self) -> float:
        """Factor on head motion."""
        return float(self.mood.value[_HEAD])

    @property
    def gesture(self) -> float:
        """Factor on arms and hands."""
        return float(self.mood.value[_GESTURE])

    @property
    def held(self) -> float:
        """0: the gaze wanders freely, 1: it is held on its aim."""
        return min(max(float(self.mood.value[_HELD]), 0.0), 1.0)

    def actions(self) -> tuple[Array, Array] | tuple[None, None]:
        """(share (K,), weight (K,)) of the actions that are set by hand; None when there are none."""
        if not self.by_hand:
            return None, None
        both = _unit(self.shares.value)
        both[both < SEEN] = 0.0
        return both[:K], both[K:]

    def condition(self, manner: Manner, speaking: bool, lookahead: int) -> Array:
        """(CONDITION,) what a learned performer is told."""
        style, listening = _unit(self.mood.value[_STYLE]), manner.listening and not speaking
        row = conditions.assemble(self.emotion, style, speaking, listening, lookahead)
        if manner.meaning is not None:
            row[conditions.SEMANTIC_AT], row[conditions.KNOWN_AT] = manner.meaning, 1.0
        return row

    def lip_gain(self) -> Array:
        """(12,) factors on the lips' learned actions, 1 for a neutral voice."""
        return np.float32(1.0) + self.emotion @ (LIP_GAIN_TABLE - np.float32(1.0))
