"""Hands on the stage: which syllables get a beat, which words a gesture that means something, and how both are done.

Preparation, stroke, hold, retraction (Kendon 2004); hands stay up between strokes that follow each other closely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clock import FPS
from engine.motion.frame import ACTION_INDEX, ACTIONS, JOINT_INDEX, K
from training.choreography.arms import SIZE, Arm, Skeleton, joints
from training.choreography.curves import add_pulse
from training.choreography.gesture import APEX, BEATS, Key, duration, follow, rest, spread, sway, vary
from training.choreography.sayings import SELDOM
from training.choreography.stage import Stage
from training.choreography.vocabulary import MEANINGS, VOCABULARY, Pulse, Sign

Array = NDArray[Any]
LEFT, RIGHT = 0, 1
BEAT: Final = -1
LATE: Final = 0.22  # seconds a stroke may come late when the hands are still busy
LATE_EMBLEM: Final = 0.55  # likewise, of gestures that could stand alone
EMBLEMS: Final = frozenset(("hello", "goodbye", "thanks", "good", "stop", "no", "yes", "unknown", "please", "listen"))
UP_FOR: Final = 2.3  # seconds until the next stroke within which the hands stay up
QUICK: Final = 11.0  # radians a second that a wrist seldom turns
GAP: Final = 0.5  # seconds between beats, at least
AGAIN: Final = 14.0  # seconds within which the same meaning is seldom drawn again
RIGHT_HANDED: Final = 0.86  # of speakers; the other hand gets a turn now and then
OTHER_HAND: Final = 0.15

AMOUNT: Final = {"neutral": 1.0, "happy": 1.25, "sad": 0.4, "angry": 1.3, "surprised": 1.1, "fearful": 0.7,
                 "disgusted": 0.75, "contempt": 0.6}  # fmt: skip
TEMPO: Final = {"neutral": 1.0, "happy": 1.1, "sad": 0.72, "angry": 1.3, "surprised": 1.1, "fearful": 1.2,
                "disgusted": 0.95, "contempt": 0.85}  # fmt: skip
# How feelings hold arms, added to whatever they do: packed Arm fields by name.
HELD: Final[dict[str, dict[str, float]]] = {
    "happy": {"side": 0.06, "up": 0.02, "spread": 0.05},
    "sad": {"side": -0.08, "up": -0.03, "curl": 0.06},
    "angry": {"side": 0.05, "up": 0.02, "curl": 0.45, "thumb": 0.25},
    "surprised": {"up": 0.05, "spread": 0.12, "curl": -0.1},
    "fearful": {"side": -0.18, "up": 0.09, "front": 0.02, "curl": 0.22},
    "disgusted": {"front": -0.04, "curl": 0.10, "up": 0.02},
    "contempt": {"front": -0.03},
}
FIELD: Final = {"side": 0, "up": 1, "front": 2, "curl": 9, "spread": 10, "thumb": 11, "shrug": 12}
MIRROR: Final = np.array([ACTION_INDEX[_mirrored] for _mirrored in (
    a[:-4] + "Right" if a.endswith("Left") else a[:-5] + "Left" if a.endswith("Right") else a for a in ACTIONS
)])  # fmt: skip


class Event(NamedTuple):
    """Something to do with the hands at a second: a beat of a prominence, or a row of MEANINGS."""

    time: float
    meaning: int
    prominence: float


@dataclass(frozen=True, slots=True)
class Hands:
    """joints (T, J, 3); strokes (n, 3) as in Performance; what signs ask of head (T, 3), gaze (T, 2), face (T, K)."""

    joints: Array
    strokes: Array
    head: Array
    gaze: Array
    face: Array


def hands_track(stage: Stage, rng: np.random.Generator, body: Skeleton) -> Hands:
    """Everything hands do on a stage, and what comes with it."""
    return _Planner(stage, rng, body).run()


class _Planner:
    def __init__(self, stage: Stage, rng: np.random.Generator, body: Skeleton) -> None:
        self.stage, self.rng, self.body = stage, rng, body
        self.low = np.stack([rest(rng), rest(rng)])
        self.keys = [Key(-10.0, self.low)]
        self.right = rng.random() < RIGHT_HANDED
        self.posture: tuple[tuple[int, ...], Array, Array] | None = None  # of beats: hands, arms, way
        self.strokes: list[tuple[float, float, float]] = []
        self.head, self.gaze = np.zeros((stage.frames, 3)), np.zeros((stage.frames, 2))
        self.face = np.zeros((stage.frames, K))

    def run(self) -> Hands:
        for event in self._events():
            away = bool(np.abs(self.keys[-1].arms - self.low).max() > 1e-9)
            if away and event.time - self.keys[-1].time > UP_FOR:
                self._retract()
            done = self._beat(event) if event.meaning == BEAT else self._sign(event)
            if done:
                self.strokes.append(done)
        if np.abs(self.keys[-1].arms - self.low).max() > 1e-9:
            self._retract()
        self.keys.append(Key(max(self.stage.end, self.keys[-1].time) + 10.0, self.low))
        path = follow(self.keys, self.stage.times) + sway(self.stage.times, self.rng)
        self._hold(path)
        out = joints(path[:, LEFT], path[:, RIGHT], self.body)
        for name in ("wrist_l", "wrist_r"):
            out[:, JOINT_INDEX[name]] = unhurried(out[:, JOINT_INDEX[name]])
        up = (path - self.low)[..., 1]
        out[:, JOINT_INDEX["spine"], 0] = 0.035 * up.mean(1)  # spine and neck go along a little
        out[:, JOINT_INDEX["spine"], 1] = 0.05 * (up[:, RIGHT] - up[:, LEFT])
        out[:, JOINT_INDEX["neck"], 1] = -out[:, JOINT_INDEX["spine"], 1]
        strokes = np.array(self.strokes, float).reshape(-1, 3)
        return Hands(out, strokes[strokes[:, 1] < self.stage.end], self.head, self.gaze, self.face)

    def _events(self) -> list[Event]:
        """Signs first, beats where there is room; both by how lively the speaker is."""
        stage, rng = self.stage, self.rng
        lively = stage.style[:, 3] * (0.6 + 0.8 * stage.style[:, 0]) * stage.mood(AMOUNT)
        signs: list[Event] = []
        seen: dict[str, float] = {}
        for time, name in stage.meant:
            chance = SELDOM.get(name, 1.0) * min(0.12 + 1.5 * lively[stage.at(time)], 1.0)
            chance *= 0.25 if time - seen.get(name, -99.0) < AGAIN else 1.0
            if rng.random() < chance and (not signs or time - signs[-1].time > 1.2):
                signs.append(Event(time, MEANINGS.index(name), 1.0))
                seen[name] = time
        taken = [(s.time + VOCABULARY[MEANINGS[s.meaning]].steps[0].time - 0.9,
                  s.time + VOCABULARY[MEANINGS[s.meaning]].steps[-1].time + 0.5) for s in signs]  # fmt: skip
        beats: list[Event] = []
        for time, prominence in stage.stresses:
            chance = (0.12 + 1.1 * prominence) * min(1.5 * lively[stage.at(time)], 1.15)
            free = all(time < start or time > stop for start, stop in taken)
            if free and rng.random() < chance and (not beats or time - beats[-1].time >= GAP):
                beats.append(Event(float(time) - APEX, BEAT, float(prominence)))
        return sorted(signs + beats)

    def _tempo(self, time: float) -> float:
        return float(self.stage.mood(TEMPO, time)) * (0.9 + 0.2 * float(self.stage.style[self.stage.at(time), 0]))

    def _needed(self, start: Array, stop: Array, time: float) -> float:
        return duration(start, stop) / self._tempo(time) ** 0.5

    def _beat(self, event: Event) -> tuple[float, float, float] | None:
        """A stroke where the hands are, or first where beats happen."""
        rng, stage = self.rng, self.stage
        frame = stage.at(event.time)
        size = (0.45 + 0.7 * stage.style[frame, 3]) * stage.mood(AMOUNT, event.time) ** 0.7
        size *= 0.7 + 0.6 * event.prominence
        if self.posture is None or rng.random() < 0.12:
            main = RIGHT if self.right != (rng.random() < OTHER_HAND) else LEFT
            hands = ((0, 1), (main,))[int(rng.random() < 0.5)]
            arm, way = BEATS[int(rng.integers(len(BEATS)))]
            arms = self.low.copy()
            for hand in hands:
                arms[hand] = vary(arm.pack(), rng)
            self.posture = (hands, arms, np.array(way))
        busy, held, stroke = self.posture
        move = stroke * size * rng.uniform(0.7, 1.25)
        ready, apex = held.copy(), held.copy()
        for hand in busy:
            ready[hand, :3] -= 0.5 * move
            ready[hand, 7] -= 0.10 * size  # the wrist leads back, then snaps
            apex[hand, :3] += 0.5 * move
            apex[hand, 7] += 0.12 * size
            apex[hand, 9] = np.clip(apex[hand, 9] - 0.08, 0.05, 1.0)
        start = event.time - max(rng.uniform(0.16, 0.26) / self._tempo(event.time) ** 0.5, duration(ready, apex) * 0.8)
        began = self._reach(ready, start, 0.0)
        if began is None:
            return None
        hold = rng.uniform(0.10, 0.35)
        self.keys += [Key(event.time, apex), Key(event.time + hold, apex)]
        drift = rng.normal(0, 1, held.shape) * spread(0.5) * np.isin([0, 1], busy)[:, None]
        self.posture = (busy, held + drift, stroke)
        return began, event.time, float(BEAT)

    def _sign(self, event: Event) -> tuple[float, float, float] | None:
        """The path of a sign: its preparation as early as it needs, its stroke on the word."""
        rng, sign = self.rng, VOCABULARY[MEANINGS[event.meaning]]
        mirrored = sign.one_handed and (self.right == (rng.random() < OTHER_HAND))
        poses = self._poses(sign, mirrored)
        stroke = int(np.argmin([abs(step.time) for step in sign.steps]))
        at = np.array([event.time + step.time for step in sign.steps])
        for k in range(stroke - 1, -1, -1):
            at[k] = min(at[k], at[k + 1] - 0.8 * self._needed(poses[k], poses[k + 1], event.time))
        for k in range(stroke + 1, len(at)):
            at[k] = max(at[k], at[k - 1] + 0.8 * self._needed(poses[k - 1], poses[k], event.time))
        late = LATE_EMBLEM if MEANINGS[event.meaning] in EMBLEMS else LATE
        began = self._reach(poses[0], float(at[0]), late)
        if began is None:
            return None
        shift = self.keys[-1].time - float(at[0])
        self.keys += [Key(float(t) + shift, pose) for t, pose in zip(at[1:], poses[1:], strict=True)]
        hold = sign.hold * rng.uniform(0.7, 1.4) / self._tempo(event.time)
        if hold > 0.05:
            self.keys.append(Key(self.keys[-1].time + hold, self.keys[-1].arms))
        time = float(at[stroke]) + shift
        self._accompany(sign, time, mirrored)
        self.posture = None
        return began, time, float(event.meaning)

    def _poses(self, sign: Sign, mirrored: bool) -> list[Array]:
        """(2, SIZE) of each step, a little different every time; the same difference all along a sign."""
        rng = self.rng
        shift = rng.normal(0, 1, (2, SIZE)) * spread(0.7)
        shift[:, :3] *= 0.7
        now, out = self.low.copy(), []
        for step in sign.steps:
            arms: tuple[Arm | None, Arm | None] = (step.left, step.right)
            for hand, arm in enumerate(arms[::-1] if mirrored else arms):
                if arm is not None:
                    now = now.copy()
                    now[hand] = arm.pack() + shift[hand]
                    now[hand, 9:12] = np.clip(now[hand, 9:12], 0.0, 1.0)
            out.append(now)
        return out

    def _reach(self, pose: Array, when: float, late: float) -> float | None:
        """Keys that bring the hands to ``pose`` at second ``when``, at most ``late`` after it: when they begin to move,
        or None when there is no time."""
        last = self.keys[-1]
        needed = self._needed(last.arms, pose, when)
        needed = max(needed, 0.28) if np.abs(last.arms - self.low).max() < 1e-9 else needed
        arrive = max(when, last.time + needed)
        if arrive > when + late + 1e-9 or arrive - needed < 0.05:
            return None
        if arrive - needed > last.time + 0.10:  # wait where the hands are, then go
            self.keys.append(Key(arrive - needed - 0.04, last.arms))
        self.keys.append(Key(arrive, pose))
        return arrive - needed

    def _retract(self) -> None:
        rng, last = self.rng, self.keys[-1]
        wait = last.time + rng.uniform(0.0, 0.4)
        self.keys.append(Key(wait, last.arms))
        back = max(self._needed(last.arms, self.low, wait), 0.75 / self._tempo(wait)) * rng.uniform(1.0, 1.35)
        self.keys.append(Key(wait + back, self.low))
        self.posture = None

    def _accompany(self, sign: Sign, time: float, mirrored: bool) -> None:
        """Head, eyes and face of a sign."""
        side = -1.0 if mirrored else 1.0
        size = self.rng.uniform(0.75, 1.1)
        for pulse in sign.head:
            _add(self.head, pulse, time, size * np.array([1.0, side, side]))
        for pulse in sign.gaze:
            _add(self.gaze, pulse, time, np.array([side, 1.0]))
        if sign.face:
            row = np.zeros(K)
            for name, weight in sign.face:
                for one in (name,) if name in ACTION_INDEX else (f"{name}Left", f"{name}Right"):
                    row[ACTION_INDEX[one]] = weight * size
            brows = 0.5 + self.stage.style[self.stage.at(time), 2]
            add_pulse(
                self.face,
                time - 0.28,
                0.25,
                max(sign.lasts - 0.3, 0.1),
                0.45,
                brows * (row[MIRROR] if mirrored else row),
            )

    def _hold(self, path: Array) -> None:
        """Feelings in the arms (in place)."""
        for name, fields in HELD.items():
            felt = self.stage.mood({"neutral": 0.0, name: 1.0})
            for field, amount in fields.items():
                path[:, :, FIELD[field]] += (felt * amount)[:, None]
        path[:, :, 9:12] = np.clip(path[:, :, 9:12], 0.0, 1.0)


def unhurried(track: Array) -> Array:
    """(T, 3) axis-angles with the frames around a turn faster than QUICK smoothed out: forearms that pass the end of
    their range have to swing through."""
    speed = np.linalg.norm(np.diff(track, axis=0, prepend=track[:1]), axis=1) * FPS
    for half in (4, 7):
        window = np.hanning(2 * half + 3)[1:-1]
        window /= window.sum()
        share = np.clip(speed / QUICK - 0.7, 0.0, 0.5) * 2.0
        share = np.max([np.roll(share, k) for k in range(-half, half + 1)], axis=0)
        share = np.convolve(np.pad(share, half, mode="edge"), window, "valid")[:, None]
        padded = np.pad(track, ((half, half), (0, 0)), mode="edge")
        smooth = np.stack([np.convolve(column, window, "valid") for column in padded.T], axis=1)
        track = track + share * (smooth - track)
        speed = np.linalg.norm(np.diff(track, axis=0, prepend=track[:1]), axis=1) * FPS
    return track


def _add(track: Array, pulse: Pulse, time: float, scale: Array) -> None:
    add_pulse(track, time + pulse.start, pulse.rise, pulse.hold, pulse.fall, np.array(pulse.amount) * scale)
