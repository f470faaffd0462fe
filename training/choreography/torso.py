"""Breath and posture: the chest fills in pauses and empties over a phrase; feelings carry the spine and shoulders.

Speech breathing after Winkworth et al. 1995: fast in, slowly out. At rest 12 to 20 breaths a minute.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import JOINT_INDEX, J
from training.choreography.curves import between, noise, spring
from training.choreography.stage import Stage

Array = NDArray[Any]
BREATHS: Final = 0.25  # a second, at rest
RATE: Final = {"neutral": 1.0, "happy": 1.1, "sad": 0.8, "angry": 1.35, "surprised": 1.2, "fearful": 1.6}
DEPTH: Final = {"neutral": 1.0, "happy": 1.1, "sad": 0.9, "angry": 1.4, "surprised": 1.3, "fearful": 0.9}
LEAN: Final = {"neutral": 0.0, "happy": 0.006, "sad": 0.055, "angry": 0.045, "surprised": -0.030, "fearful": -0.040,
               "disgusted": -0.030, "contempt": -0.025}  # fmt: skip
SHOULDERS: Final = {"neutral": 0.0, "happy": 0.008, "sad": -0.050, "angry": 0.030, "surprised": 0.035,
                    "fearful": 0.085, "disgusted": 0.030, "contempt": -0.010}  # fmt: skip


def torso_track(stage: Stage, rng: np.random.Generator) -> Array:
    """(T, J, 3) of Motion.joints: spine, neck and collar bones; arms and hands stay zero."""
    out = np.zeros((stage.frames, J, 3))
    if not stage.frames:
        return out
    air = breath(stage, rng) * stage.mood(DEPTH)
    shift = _shifts(stage, rng)
    fine = noise(stage.frames, 3, 1.7, rng) * (0.25 + 0.5 * stage.style[:, :1]) * (0.004, 0.007, 0.004)
    lean = spring(np.asarray(stage.mood(LEAN))[:, None], 0.25)[:, 0]
    spine, neck = JOINT_INDEX["spine"], JOINT_INDEX["neck"]
    out[:, spine] = shift + fine
    out[:, spine, 0] += lean - 0.011 * air
    out[:, neck, 0] = 0.006 * air
    out[:, neck, 1:] = -0.5 * shift[:, 1:]  # the neck keeps the face where it looks
    raised = spring(np.asarray(stage.mood(SHOULDERS))[:, None], 0.25)[:, 0] + 0.024 * air
    out[:, JOINT_INDEX["clavicle_l"], 2] = raised
    out[:, JOINT_INDEX["clavicle_r"], 2] = -raised
    return out


def breath(stage: Stage, rng: np.random.Generator) -> Array:
    """(T,) air in the chest, 0 to about 1: in before a phrase, out while it lasts, to and fro in between."""
    at, air = [-2.0], [0.15]
    time = float(rng.uniform(0.0, 1.5))
    for phrase in [*stage.phrases, None]:
        until = phrase.start if phrase else stage.end + 6.0
        while True:  # quiet breathing as long as there is room for a whole breath
            length = rng.uniform(0.85, 1.2) / (BREATHS * stage.mood(RATE, time))
            if time + length > until - 0.35:
                break
            top = rng.uniform(0.42, 0.6) * (1.9 if rng.random() < 0.05 else 1.0)  # now and then a sigh
            at += [time, time + 0.4 * length, time + 0.95 * length]
            air += [0.08, top, 0.06]
            time += length
        if phrase is None:
            break
        gap = phrase.start - max(at[-1], time if at[-1] < time else at[-1])
        if gap > 0.12 or not len(at) > 1:  # a breath for speech; without a pause one goes on with what is left
            begin = max(phrase.start - min(max(gap, 0.12), rng.uniform(0.35, 0.6)), at[-1] + 0.02)
            need = 0.45 + 0.14 * min(phrase.stop - phrase.start, 4.0)
            at += [begin, max(phrase.start, begin + 0.1)]
            air += [air[-1], max(need * rng.uniform(0.85, 1.1), air[-1])]
        if phrase.stop > at[-1] + 0.1:
            at.append(phrase.stop)
            air.append(max(air[-1] - 0.16 * (phrase.stop - phrase.start) - 0.1, 0.0))
        time = at[-1] + rng.uniform(0.1, 0.5)
    at.append(max(stage.end, at[-1]) + 10.0)
    air.append(0.1)
    return spring(between(np.array(at), np.array(air), stage.times)[:, None], 0.05)[:, 0]


def _shifts(stage: Stage, rng: np.random.Generator) -> Array:
    """(T, 3) of the spine: one settles anew every now and then."""
    target, time = np.zeros((stage.frames, 3)), 0.0
    while time < stage.end:
        target[stage.at(time) :] = rng.normal(0.0, 1.0, 3) * (0.010, 0.028, 0.014)
        time += rng.uniform(4.0, 16.0)
    return spring(target, 0.38)
