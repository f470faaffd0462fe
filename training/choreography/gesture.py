"""Gestures of arms, hands and shoulders: named poses, and beats that fall on stressed syllables.

Phases after Kendon (2004): preparation, stroke, hold, retraction. A stroke ends at or just before the syllable it
underlines (McNeill 1992, phonological synchrony). Stochastic from a seed; the same seed gives the same track.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import JOINT_INDEX
from training.choreography.arms import AVERAGE, SIZE, Arm, Skeleton, joints

Array = NDArray[Any]


class Pose(NamedTuple):
    """Both arms; ``spine`` and ``neck`` axis-angles (3,)."""

    left: Arm
    right: Arm
    spine: tuple[float, float, float] = (0.0, 0.0, 0.0)
    neck: tuple[float, float, float] = (0.0, 0.0, 0.0)


def _alike(arm: Arm) -> Pose:
    return Pose(arm, arm)


REST: Final = Arm()
POSES: Final = {
    "rest": Pose(REST, REST),
    "open palms": _alike(Arm(1.32, -0.46, 0.42, 0.1, (-0.35, 0.9, 0.15), -0.15, 0.0, 0.14, 0.35, 0.05)),
    "explaining": Pose(REST, Arm(1.22, -0.20, 0.45, 0.1, (-0.55, 0.75, 0.3), -0.2, 0.0, 0.16, 0.3, 0.05)),
    "precision": Pose(REST, Arm(0.95, -0.22, 0.50, 0.25, (-0.55, -0.35, 0.6), -0.1, 0.15, 0.50, 0.05, 0.75)),
    "hand on heart": Pose(REST, Arm(0.22, -0.27, 0.02, 0.45, (0.0, 0.0, -1.0), 0.05, 0.0, 0.10, 0.15, 0.10)),
    "shaping": _alike(Arm(0.85, -0.38, 0.48, 0.3, (-1.0, -0.1, 0.0), -0.1, 0.0, 0.30, 0.40, 0.15)),
    "thumbs up": Pose(REST, Arm(1.25, -0.28, 0.42, 0.15, (-1.0, 0.0, -0.1), 0.0, 0.35, 1.0, 0.0, 0.0)),
    "wave": Pose(REST, Arm(1.48, 0.02, 0.24, -0.20, (0.0, 0.0, 1.0), -0.1, -0.1, 0.08, 0.55, 0.0)),
    "shrug": _alike(Arm(1.50, -0.44, 0.32, 0.0, (0.0, 0.95, 0.3), -0.35, 0.0, 0.18, 0.35, 0.05, 0.20)),
}


def pose_joints(name: str, body: Skeleton = AVERAGE) -> Array:
    """(J, 3) of Motion.joints in the pose called ``name``. Raises ValueError when there is none."""
    if name not in POSES:
        raise ValueError(f"unknown gesture {name!r}: choose one of {', '.join(POSES)}")
    pose = POSES[name]
    out = joints(pose.left.pack(), pose.right.pack(), body)
    out[JOINT_INDEX["spine"]], out[JOINT_INDEX["neck"]] = pose.spine, pose.neck
    return out


RATE: Final = 25.0  # frames a second
SPEED: Final = 1.15  # metres a second a hand may reach, for an arm of LENGTH
PUSH: Final = 12.0  # metres per second squared, likewise
LENGTH: Final = 0.53
TURN: Final = 8.0  # radians a second a palm may turn
PALM: Final = slice(4, 7)  # of a packed Arm
APEX: Final = 0.04  # seconds a stroke ends before the stressed vowel
GAP: Final = 0.55  # seconds between strokes, at least
TOGETHER: Final = 1.7  # seconds between strokes within which the hands stay up
METRES: Final = np.array([0.175, LENGTH, LENGTH])  # of one unit of side, up, front
# Where beats happen: the pose that is held, and how a stroke moves from there (side, up, front).
BEATS: Final = (
    (Arm(1.25, -0.36, 0.40, 0.10, (-0.60, 0.70, 0.10), -0.10, 0.0, 0.18, 0.25, 0.08), (0.25, -0.10, 0.10)),
    (Arm(1.10, -0.30, 0.42, 0.15, (-0.90, 0.25, 0.10), -0.05, 0.05, 0.26, 0.18, 0.15), (0.05, -0.16, 0.08)),
    (Arm(0.95, -0.27, 0.44, 0.20, (-0.75, -0.25, 0.40), -0.05, 0.10, 0.42, 0.08, 0.55), (0.00, -0.14, 0.10)),
    (Arm(1.00, -0.38, 0.40, 0.20, (-0.55, -0.75, 0.10), -0.12, 0.0, 0.22, 0.22, 0.12), (0.12, -0.12, 0.04)),
    (Arm(0.80, -0.34, 0.44, 0.25, (-1.00, 0.05, 0.00), -0.10, 0.0, 0.28, 0.32, 0.15), (0.35, 0.02, 0.04)),
)


class Key(NamedTuple):
    """Both arms packed (2, SIZE) at a time in seconds."""

    time: float
    arms: Array


class Gestures:
    """Beat gestures of one speaker. ``amount`` 0 keeps the hands at rest, 1 is a lively speaker."""

    def __init__(self, seed: int, body: Skeleton = AVERAGE, amount: float = 1.0) -> None:
        if not 0.0 <= amount <= 1.0:
            raise ValueError(f"amount of gesture must lie in [0, 1], got {amount}")
        self.seed, self.body, self.amount = seed, body, amount

    def track(self, stress_times: Any, frames: int) -> Array:
        """(T, J, 3) of Motion.joints at 25 Hz; ``stress_times`` (seconds) are the stressed vowels' onsets."""
        rng = np.random.Generator(np.random.Philox(self.seed))
        times = np.arange(frames) / RATE
        low = np.stack([rest(rng), rest(rng)])
        keys = [Key(-10.0, low)]
        for unit in self._units(np.sort(np.asarray(stress_times, float).ravel()), rng):
            self._perform(unit, low, keys, rng)
        keys.append(Key(max(times[-1] if frames else 0.0, keys[-1].time) + 10.0, low))
        path = follow(keys, times) + sway(times, rng)
        out = joints(path[:, 0], path[:, 1], self.body)
        self._lean(out, path - low)
        return np.asarray(out, np.float32)

    def _units(self, stresses: Array, rng: np.random.Generator) -> list[list[float]]:
        """Groups of stroke times between which the hands do not go back to rest."""
        units: list[list[float]] = []
        last = -10.0
        for time in stresses - APEX:
            if time - last < GAP or rng.random() > 0.25 + 0.6 * self.amount or self.amount == 0.0:
                continue
            if units and time - last < TOGETHER and len(units[-1]) < 5:
                units[-1].append(float(time))
            else:
                units.append([float(time)])
            last = float(time)
        return units

    def _perform(self, strokes: list[float], rest: Array, keys: list[Key], rng: np.random.Generator) -> None:
        """Appends the keys of one gesture unit: preparation, strokes with holds, retraction."""
        hands = [(0, 1), (1,), (0,)][rng.choice(3, p=(0.5, 0.34, 0.16))]
        arm, way = BEATS[int(rng.integers(len(BEATS)))]
        size = (0.55 + 0.45 * self.amount) * rng.uniform(0.75, 1.2)
        held = rest.copy()
        for hand in hands:
            held[hand] = vary(arm.pack(), rng)
        begun = False
        for time in strokes:
            stroke = rng.uniform(0.16, 0.26)
            move = np.array(way) * size * rng.uniform(0.7, 1.25)
            ready, apex = held.copy(), held.copy()
            for hand in hands:
                ready[hand, :3] -= 0.5 * move
                ready[hand, 7] -= 0.10 * size  # the wrist leads back, then snaps
                apex[hand, :3] += 0.5 * move
                apex[hand, 7] += 0.12 * size
                apex[hand, 9] = np.clip(apex[hand, 9] - 0.08, 0.05, 1.0)
            start = time - stroke
            since = start - keys[-1].time
            needed = duration(keys[-1].arms, ready)
            if since < needed or (not begun and start - needed < 0.1):
                continue  # no time to get there: this syllable goes without
            if since > needed + 0.10:  # wait where the hands are, then prepare
                keys.append(Key(start - needed - 0.04, keys[-1].arms))
            hold = rng.uniform(0.10, 0.35)
            keys += [Key(start, ready), Key(time, apex), Key(time + hold, apex)]
            begun = True
            held = held + rng.normal(0, 1, held.shape) * spread(0.5) * np.isin([0, 1], hands)[:, None]
        if begun:
            keys.append(Key(keys[-1].time + rng.uniform(0.0, 0.4), keys[-1].arms))
            back = max(duration(keys[-1].arms, rest), 0.75) * rng.uniform(1.0, 1.35)
            keys.append(Key(keys[-1].time + back, rest))

    def _lean(self, out: Array, away: Array) -> None:
        """Spine and neck go along a little with the hands (in place)."""
        up = away[..., 1]  # (T, 2) arm lengths above rest
        out[:, JOINT_INDEX["spine"], 0] = 0.035 * up.mean(1)
        out[:, JOINT_INDEX["spine"], 1] = 0.05 * (up[:, 1] - up[:, 0])
        out[:, JOINT_INDEX["neck"], 1] = -0.05 * (up[:, 1] - up[:, 0])


def rest(rng: np.random.Generator) -> Array:
    """Hands low before the hips, a little different for everybody."""
    low = REST.pack()
    return low + rng.normal(0, 1, low.shape) * spread(0.6)


def vary(arm: Array, rng: np.random.Generator) -> Array:
    return arm + rng.normal(0, 1, arm.shape) * spread(1.0)


def spread(amount: float) -> Array:
    """Standard deviation of each packed value from gesture to gesture."""
    return amount * np.array([0.08, 0.025, 0.025, 0.05, 0.06, 0.06, 0.06, 0.04, 0.03, 0.03, 0.03, 0.03, 0.0])


def duration(start: Array, stop: Array) -> float:
    """Seconds that a minimum-jerk movement (Flash and Hogan 1985) needs within SPEED, PUSH and TURN, at least 0.16."""
    way = float(np.linalg.norm((stop - start)[:, :3] * METRES, axis=1).max())
    turn = float(np.abs((stop - start)[:, 3:]).max())
    palms = _unit(start[:, PALM]), _unit(stop[:, PALM])
    twist = float(np.arccos(np.clip((palms[0] * palms[1]).sum(1), -1.0, 1.0)).max())
    slowest = max(1.875 * way / SPEED, np.sqrt(5.774 * way / PUSH), 1.875 * turn / 6.0, 1.875 * twist / TURN)
    return max(0.16, float(slowest)) * 1.25


def follow(keys: list[Key], times: Array) -> Array:
    """(T, 2, SIZE): minimum jerk from key to key; palms turn along the great circle between them."""
    at = np.array([key.time for key in keys])
    arms = np.stack([key.arms for key in keys])
    row = np.clip(np.searchsorted(at, times, side="right") - 1, 0, len(keys) - 2)
    s = np.clip((times - at[row]) / np.maximum(at[row + 1] - at[row], 1e-6), 0.0, 1.0)
    s = (s**3 * (10 - 15 * s + 6 * s * s))[:, None, None]
    out = arms[row] + s * (arms[row + 1] - arms[row])
    start, stop = _unit(arms[row][..., PALM]), _unit(arms[row + 1][..., PALM])
    angle = np.arccos(np.clip((start * stop).sum(-1, keepdims=True), -0.999, 1.0))
    whole = np.maximum(np.sin(angle), 1e-6)
    turned = (np.sin((1.0 - s) * angle) * start + np.sin(s * angle) * stop) / whole
    out[..., PALM] = np.where(angle > 1e-3, turned, start)
    return out


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def sway(times: Array, rng: np.random.Generator) -> Array:
    """(T, 2, SIZE): arms are never quite still; a sum of slow sines, millimetres wide."""
    rate = rng.uniform(0.15, 0.6, (4, 2, SIZE))
    phase = rng.uniform(0, 2 * np.pi, (4, 2, SIZE))
    waves = np.sin(2 * np.pi * rate[:, None] * times[None, :, None, None] + phase[:, None]).sum(0)
    return waves * spread(0.06)
