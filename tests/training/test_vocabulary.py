"""Signs stay out of the body: forearms before the torso, hands apart, none in the head; on slim and broad people."""

from __future__ import annotations

import numpy as np
import pytest

from engine.motion.frame import JOINT_INDEX, JOINTS
from tests.training.test_gesture import left_arm
from training.choreography.arms import AVERAGE, Skeleton
from training.choreography.show import of_sign
from training.choreography.vocabulary import MEANINGS

HEAD, HEAD_RADIUS = np.array([0.0, 0.015, -0.02]), 0.12  # its middle and how far a palm's bone stays away, metres
PALMS_APART = 0.02  # metres between the bones of two hands that touch
BODIES = {
    "average": AVERAGE,
    "broad": AVERAGE._replace(waist=AVERAGE.waist * 1.12),
    "deep": AVERAGE._replace(front=AVERAGE.front + np.array([0.0, 0.03])),
}


def as_left(row: np.ndarray) -> np.ndarray:
    """The right arm's joints as a left arm's."""
    out = row.copy()
    for name in JOINTS:
        if name.endswith("_l") and not name.startswith("hand"):
            out[JOINT_INDEX[name]] = row[JOINT_INDEX[name[:-1] + "r"]] * [1, -1, -1]
    return out


def points(row: np.ndarray, body: Skeleton) -> np.ndarray:
    """(6, 3) along the left forearm and to the middle of the palm."""
    elbow, wrist, _ = left_arm(row, body)
    along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    return np.stack(
        [elbow + t * (wrist - elbow) for t in (0.4, 0.6, 0.8, 1.0)] + [wrist + s * along for s in (0.04, 0.08)]
    )


@pytest.mark.parametrize("build", BODIES)
def test_signs_go_through_nobody(build: str) -> None:
    body = BODIES[build]
    for name in MEANINGS:
        done = of_sign(name, 1, body)
        for frame in range(30, 90, 4):
            left = points(done.joints[frame], body)
            right = points(as_left(done.joints[frame]), body) * [-1, 1, 1]
            for arm in (left, right):
                inside = (np.abs(arm[:, 0]) < body.waist - 0.02) & (arm[:, 1] < body.shoulder[1])
                if inside.any():
                    assert (arm[inside, 2] - body.chest(arm[inside, 1])).min() > 0.02, name
                assert np.linalg.norm(arm - HEAD, axis=1).min() > HEAD_RADIUS, name
            assert np.linalg.norm(left[3:, None] - right[None, 3:], axis=-1).min() > PALMS_APART, name
