"""Helper bones: a turn splits into swing and twist that give it back, and limbs keep their volume."""

from __future__ import annotations

import numpy as np
import pytest

from engine.body.helpers import HELPERS, PARENT, HelperBones, swing_twist
from kernels.skin.reference import axis_angle


def turns(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    out = []
    for _ in range(count):
        turn, axis = generator.normal(0, 1.2, 3), generator.normal(0, 1, 3)
        out.append((turn * min(1.0, 3.1 / np.linalg.norm(turn)), axis / np.linalg.norm(axis)))
    return out


@pytest.mark.parametrize(("turn", "axis"), turns(40))
def test_swing_after_twist_is_the_turn_and_swing_has_no_part_about_the_axis(turn: np.ndarray, axis: np.ndarray) -> None:
    swing, twist = swing_twist(tuple(turn.tolist()), tuple(axis.tolist()))
    np.testing.assert_allclose(axis_angle(np.array(swing)) @ axis_angle(axis * twist), axis_angle(turn), atol=1e-9)
    assert abs(np.dot(swing, axis)) < 1e-9


def test_no_turn_has_neither_swing_nor_twist() -> None:
    assert swing_twist((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)) == ((0.0, 0.0, 0.0), 0.0)


def test_half_the_forearm_follows_half_of_the_wrists_twist_and_none_of_its_bend() -> None:
    bones = ("shoulder_l", "elbow_l", "wrist_l", "forearm_l", "cuff_l", "crook_l")
    pivot = np.array([[0, 0, 0], [0, -0.3, 0], [0, -0.55, 0], [0, -0.55, 0], [0, -0.55, 0], [0, -0.3, 0]], float)
    local = np.zeros((6, 6))
    local[2, :3] = (0.4, 0.0, 0.0)  # flexion alone
    HelperBones(bones, pivot).turn(local)
    np.testing.assert_allclose(local[3:5, :3], 0.0, atol=1e-12)
    local[2, :3] = (0.0, -1.0, 0.0)  # the palm turned over
    local[1, :3] = (-1.2, 0.0, 0.0)
    HelperBones(bones, pivot).turn(local)
    np.testing.assert_allclose(local[3, :3], (0.0, -0.5, 0.0), atol=1e-12)
    np.testing.assert_allclose(local[4, :3], (0.0, -1.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(local[5, :3], (-0.6, 0.0, 0.0), atol=1e-12)


def test_a_skeleton_without_helpers_has_nothing_to_turn() -> None:
    local = np.ones((2, 6))
    HelperBones(("root", "spine"), np.zeros((2, 3))).turn(local)
    np.testing.assert_array_equal(local, 1.0)


def test_every_helper_has_a_parent_that_its_driver_hangs_from() -> None:
    assert set(PARENT) == set(HELPERS)
    assert {PARENT["armpit"], PARENT["deltoid"]} == {"clavicle"}
    assert PARENT["crook"] == "shoulder" and PARENT["forearm"] == PARENT["cuff"] == "elbow"
