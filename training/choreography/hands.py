"""Hands on the stage: which syllables get a beat, which words a gesture that means something."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.choreography.arms import Skeleton
from training.choreography.gesture import Gestures
from training.choreography.stage import Stage

Array = NDArray[Any]
AMOUNT: Final = {"neutral": 1.0, "happy": 1.25, "sad": 0.4, "angry": 1.3, "surprised": 1.1, "fearful": 0.75,
                 "disgusted": 0.75, "contempt": 0.6}  # fmt: skip


def arms_track(stage: Stage, rng: np.random.Generator, body: Skeleton) -> tuple[Array, Array]:
    """(T, J, 3) of Motion.joints, and strokes (n, 3) as in Performance."""
    lively = stage.style[:, 3] * (0.6 + 0.8 * stage.style[:, 0]) * stage.mood(AMOUNT)
    chosen = [
        time for time, prominence in stage.stresses
        if rng.random() < (0.2 + 1.0 * prominence) * min(1.6 * lively[stage.at(time)], 1.2)
    ]  # fmt: skip
    amount = float(np.clip(lively.mean(), 0.0, 1.0))
    track = Gestures(int(rng.integers(2**31)), body, amount).track(chosen, stage.frames)
    times = np.array(chosen)
    return track, np.stack([times - 0.3, times, np.full(len(chosen), -1.0)], axis=1).reshape(-1, 3)
