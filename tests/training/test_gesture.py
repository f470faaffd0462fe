"""Gestures: hands go where they should, smoothly, on time, and never through the body."""

from __future__ import annotations

import numpy as np
import pytest

from engine.motion.frame import JOINT_INDEX, J
from kernels.skin.reference import axis_angle
from training.choreography import arms, gesture
from training.choreography.arms import AVERAGE, Arm, Skeleton
from training.choreography.gesture import POSES, RATE, Gestures, pose_joints

STRESSES = np.cumsum(np.random.default_rng(3).uniform(0.25, 0.9, 40))
WRISTS = [JOINT_INDEX[f"{joint}_{side}"] for side in "lr" for joint in ("clavicle", "shoulder", "elbow", "wrist")]


def left_arm(row: np.ndarray, body: Skeleton) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(elbow, wrist, palm direction) of the left arm by forward kinematics."""
    turn = {name: axis_angle(row[JOINT_INDEX[f"{name}_l"]]) for name in ("clavicle", "shoulder", "elbow", "wrist")}
    whole = turn["clavicle"]
    shoulder = body.clavicle + whole @ (body.shoulder - body.clavicle)
    whole = whole @ turn["shoulder"]
    elbow = shoulder + whole @ (body.elbow - body.shoulder)
    whole = whole @ turn["elbow"]
    wrist = elbow + whole @ (body.wrist - body.elbow)
    return elbow, wrist, whole @ turn["wrist"] @ body.palm


@pytest.mark.parametrize("name", POSES)
def test_a_pose_is_finite_and_within_what_joints_can_do(name: str) -> None:
    row = pose_joints(name)
    assert row.shape == (J, 3) and np.isfinite(row).all()
    assert np.abs(row).max() < 2.2
    assert (row[[JOINT_INDEX["hand_l"], JOINT_INDEX["hand_r"]]] >= 0).all()


def test_an_unknown_pose_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'curtsy': choose one of rest, open palms"):
        pose_joints("curtsy")


def test_the_wrist_goes_where_it_is_told_and_the_palm_looks_there() -> None:
    arm = Arm(side=1.2, up=-0.4, front=0.45, palm=(-0.3, 0.9, 0.1))
    _, wrist, palm = left_arm(arms.joints(arm.pack(), Arm().pack()), AVERAGE)
    height = AVERAGE.shoulder[1] - 0.4 * AVERAGE.length
    wanted = (1.2 * AVERAGE.shoulder[0], height, float(AVERAGE.chest(height)) + 0.45 * AVERAGE.length)
    np.testing.assert_allclose(wrist, wanted, atol=0.012)
    assert palm @ np.array(arm.palm) / np.linalg.norm(arm.palm) > 0.85  # as near as a forearm turns


def test_left_and_right_mirror_each_other() -> None:
    row = pose_joints("open palms")
    for joint in ("shoulder", "elbow", "wrist"):
        left, right = row[JOINT_INDEX[f"{joint}_l"]], row[JOINT_INDEX[f"{joint}_r"]]
        np.testing.assert_allclose(right, left * [1, -1, -1], atol=1e-6)


def test_a_hand_told_to_be_inside_the_chest_stays_before_it() -> None:
    for side in np.linspace(-0.6, 1.0, 9):
        for up in np.linspace(-0.8, -0.15, 7):
            row = arms.joints(Arm(side=side, up=up, front=-0.3, palm=(0, 0, -1)).pack(), Arm().pack())
            elbow, wrist, _ = left_arm(row, AVERAGE)
            for t in (0.6, 0.8, 1.0):
                point = elbow + t * (wrist - elbow)
                if abs(point[0]) < AVERAGE.waist:
                    assert point[2] > AVERAGE.chest(point[1]) + 0.02, (side, up, t)


def test_the_same_seed_gives_the_same_track_and_another_seed_another() -> None:
    one, two, other = (Gestures(seed).track(STRESSES, 200) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (200, J, 3) and one.dtype == np.float32
    assert np.abs(one - other).max() > 0.2


def test_joints_turn_no_faster_than_an_arm_can() -> None:
    for seed in range(4):
        track = Gestures(seed).track(STRESSES, 400)[:, WRISTS]
        assert np.abs(np.diff(track, axis=0)).max() * RATE < 10.0
        assert np.abs(np.diff(track, 2, axis=0)).max() * RATE**2 < 260.0


def test_a_stroke_ends_on_the_stress() -> None:
    moving, still = [], []
    for seed in range(20):
        track = Gestures(seed).track([2.0], 70)[:, WRISTS]
        speed = np.linalg.norm(np.diff(track, axis=0), axis=(1, 2)) * RATE
        if speed[25:55].max() < 1.0:
            continue  # this speaker let the syllable pass
        moving.append(speed[45:49].max())
        still.append(speed[49:52].max())
    assert len(moving) > 8
    assert np.median(still) < 0.3 * np.median(moving)


def test_hands_rest_without_stress_and_without_amount() -> None:
    for track in (Gestures(1).track([], 150), Gestures(1, amount=0.0).track(STRESSES, 150)):
        assert np.abs(track - track[0]).max() < 0.15
        assert np.abs(np.diff(track, axis=0)).max() > 0  # but never quite still


def test_no_frames_are_no_frames_and_a_wrong_amount_is_refused() -> None:
    assert Gestures(0).track(STRESSES, 0).shape == (0, J, 3)
    with pytest.raises(ValueError, match=r"amount of gesture must lie in \[0, 1\]"):
        gesture.Gestures(0, amount=1.5)
