"""The choreographer: from who says what, when and in which mood, to everything a person does besides the lips.

Stochastic on purpose, wholly given by a seed: many right answers for one sentence, the same bits for one seed. Each
part (eyes, head, face, breath, hands) draws from its own stream of random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import ACTION_INDEX, CHANNELS, JOINT_INDEX
from engine.motion.performance import FACE_AT, GAZE_AT, HEAD_AT, JOINTS_AT, PERFORMANCE
from training.choreography.arms import AVERAGE, Skeleton
from training.choreography.curves import stream
from training.choreography.eyes import blink_times, gaze_track, lid_track, looks
from training.choreography.face import expression_track
from training.choreography.hands import hands_track
from training.choreography.head import head_track
from training.choreography.stage import Meant, Script, Stage
from training.choreography.torso import torso_track

__all__ = ["Meant", "Performance", "Script", "Stage", "act", "perform"]

Array = NDArray[Any]
EYES, LIDS, HEAD, FACE, TORSO, HANDS = range(6)  # streams of random numbers
RANGES = {channel.name: (channel.low, channel.high) for channel in CHANNELS}


@dataclass(frozen=True, slots=True)
class Performance:
    """T frames at 25 Hz, float32, in the units of engine.motion.frame: face (T, K) to be added to the lips, gaze (T, 2)
    of the eyes in space relative to the viewer's direction, head (T, 6), joints (T, J, 3).

    ``strokes`` (n, 3): seconds at which a hand begins to move and at which its stroke ends, and the meaning's row in
    VOCABULARY or -1 for a beat.
    """

    face: Array
    gaze: Array
    head: Array
    joints: Array
    strokes: Array

    def pack(self) -> Array:
        """(T, 96) float32, in the order of engine.motion.performance."""
        out = np.zeros((len(self.face), PERFORMANCE), np.float32)
        out[:, FACE_AT], out[:, GAZE_AT], out[:, HEAD_AT] = self.face, self.gaze, self.head
        out[:, JOINTS_AT] = self.joints.reshape(len(self.face), 3 * len(JOINT_INDEX))
        return out


def perform(script: Script, seed: int, body: Skeleton = AVERAGE) -> Performance:
    """One script on its own."""
    return act(Stage.of([script]), seed, body)


def act(stage: Stage, seed: int, body: Skeleton = AVERAGE) -> Performance:
    """A whole stage. The same stage and seed give the same bits."""
    if not stage.frames:
        shapes = ((len(ACTION_INDEX),), (2,), (6,), (len(JOINT_INDEX), 3), (3,))
        return Performance(*(np.zeros((0, *shape), np.float32) for shape in shapes))
    hands = hands_track(stage, stream(seed, HANDS), body)
    saccades = looks(stage, stream(seed, EYES))
    lids = stream(seed, LIDS)
    shut = lid_track(stage, blink_times(stage, saccades, lids), lids)
    face = expression_track(stage, saccades, stream(seed, FACE)) + hands.face
    head = head_track(stage, saccades, stream(seed, HEAD))
    head[:, :3] += hands.head
    joints = hands.joints + torso_track(stage, stream(seed, TORSO))
    gaze = gaze_track(stage, saccades) + hands.gaze
    shown = _lidded(np.clip(face, 0.0, 1.0), shut)
    return Performance(
        _clip("face", shown), _clip("gaze", gaze), _clip("head", head), _clip("joints", joints),
        hands.strokes.astype(np.float32),
    )  # fmt: skip


def _lidded(face: Array, shut: Array) -> Array:
    """Blinks over whatever the lids do: wide or narrowed eyes close all the same (in place)."""
    for side in ("Left", "Right"):
        blink, wide = ACTION_INDEX["eyeBlink" + side], ACTION_INDEX["eyeWide" + side]
        face[:, blink] = 1.0 - (1.0 - face[:, blink]) * (1.0 - shut)
        face[:, wide] *= 1.0 - shut
    return face


def _clip(name: str, values: Array) -> Array:
    return np.clip(values, *RANGES[name]).astype(np.float32)
