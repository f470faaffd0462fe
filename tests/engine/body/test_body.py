"""Body: rest is rest, joints turn what they should, the numba path equals the reference."""

from __future__ import annotations

import numpy as np
import pytest

from engine import avatar as packs
from engine.avatar import REGIONS, Avatar
from engine.body.body import Body
from engine.motion.frame import ACTION_INDEX, ACTIONS, JOINT_INDEX, SIZE, Motion
from kernels.skin import reference
from tests.synthetic import make_avatar


@pytest.fixture(scope="module", params=["synthetic", "ada", "leo"])
def avatar(request: pytest.FixtureRequest) -> Avatar:
    return make_avatar() if request.param == "synthetic" else packs.load(packs.find(request.param))


@pytest.fixture(scope="module")
def ada() -> Avatar:
    return packs.load(packs.find("ada"))


def vertices_of(avatar: Avatar, *regions: str) -> np.ndarray:
    ids = [REGIONS.index(region) for region in regions]
    return np.unique(avatar.faces[np.isin(avatar.region, ids)])


def middle_of_the_lips(avatar: Avatar) -> np.ndarray:
    """Vertices near the middle of the line where the lips' skin meets the inner mouth, upper and lower."""
    outer, inner = (avatar.weld[vertices_of(avatar, *names)] for names in (("lips", "face"), ("mouth",)))
    rims = np.intersect1d(outer, inner)
    return rims[np.abs(avatar.rest[rims, 0]) < 0.002]


def test_a_zero_motion_is_the_rest_shape(avatar: Avatar) -> None:
    pose = Body(avatar).pose(Motion.rest())
    np.testing.assert_allclose(pose.vertices, avatar.rest, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(pose.normals, axis=1), 1.0, atol=1e-3)


def test_any_motion_gives_finite_unit_normals_and_a_body_of_human_size(avatar: Avatar) -> None:
    body = Body(avatar)
    pose = body.allocate()
    generator = np.random.default_rng(0)
    for _ in range(5):
        body.pose(Motion.unpack(generator.normal(0, 5, SIZE).astype(np.float32)), pose)
        assert np.isfinite(pose.vertices).all() and np.isfinite(pose.normals).all()
        assert np.abs(pose.vertices).max() < 6


def test_not_a_number_in_a_motion_does_not_reach_the_picture(avatar: Avatar) -> None:
    pose = Body(avatar).pose(Motion.unpack(np.full(SIZE, np.nan, np.float32)))
    np.testing.assert_allclose(pose.vertices, avatar.rest, atol=2e-6)


def test_posing_into_a_used_pose_equals_a_fresh_one(avatar: Avatar) -> None:
    body = Body(avatar)
    generator = np.random.default_rng(1)
    motions = [Motion.unpack(generator.normal(0, 0.3, SIZE).astype(np.float32)) for _ in range(3)]
    used = body.allocate()
    for motion in motions:
        body.pose(motion, used)
    fresh = body.pose(motions[-1])
    np.testing.assert_array_equal(used.vertices, fresh.vertices)
    np.testing.assert_array_equal(used.normals, fresh.normals)


def test_vertices_equal_blend_and_skin_of_the_reference(avatar: Avatar) -> None:
    motion = Motion.rest()
    motion.face[:] = np.linspace(0, 0.5, len(motion.face))
    motion.lip[:] = np.linspace(-1, 1, len(motion.lip))
    motion.head[:] = (0.2, -0.3, 0.1, 0.01, 0.0, 0.02)
    pose = Body(avatar).pose(motion)
    deltas = np.concatenate([avatar.deltas, avatar.residual]).astype(np.float32)
    weights = np.concatenate([motion.face, motion.lip])
    shaped = reference.blend(avatar.rest, avatar.move_index, deltas, weights)
    want = reference.skin(shaped, avatar.skin_index, avatar.skin_weight, pose.bones)
    np.testing.assert_allclose(pose.vertices, want, atol=1e-5)


def test_the_head_turns_by_exactly_its_axis_angle(avatar: Avatar) -> None:
    motion = Motion.rest()
    motion.head[:3] = (0.25, -0.4, 0.1)
    pose = Body(avatar).pose(motion)
    turn = pose.bones[avatar.bones.index("head"), :, :3]
    np.testing.assert_allclose(turn, reference.axis_angle(motion.head[:3]), atol=1e-5)


def test_a_head_translation_moves_the_eyes_by_it(avatar: Avatar) -> None:
    motion = Motion.rest()
    motion.head[3:] = (0.01, 0.02, -0.015)
    pose = Body(avatar).pose(motion)
    eye = avatar.bones.index("eye_l")
    moved = pose.bones[eye, :, :3] @ avatar.bone_pivot[eye] + pose.bones[eye, :, 3]
    np.testing.assert_allclose(moved - avatar.bone_pivot[eye], motion.head[3:], atol=1e-6)


def test_gaze_turns_the_eyes_about_their_centres_to_the_viewers_right_and_up(avatar: Avatar) -> None:
    motion = Motion.rest()
    motion.gaze[:] = (0.3, 0.2)
    pose = Body(avatar).pose(motion)
    for name in ("eye_l", "eye_r"):
        eye = avatar.bones.index(name)
        ahead = pose.bones[eye, :, :3] @ np.array([0, 0, 1.0])
        assert ahead[0] > 0.2 and ahead[1] > 0.1
        moved = pose.bones[eye, :, :3] @ avatar.bone_pivot[eye] + pose.bones[eye, :, 3]
        np.testing.assert_allclose(moved, avatar.bone_pivot[eye], atol=1e-6)


@pytest.mark.parametrize("side", ["l", "r"])
def test_an_elbow_moves_its_own_hand_and_leaves_the_other_side_alone(ada: Avatar, side: str) -> None:
    motion = Motion.rest()
    motion.joints[JOINT_INDEX[f"elbow_{side}"]] = (-1.2, 0.0, 0.0)
    pose = Body(ada).pose(motion)
    moved = np.linalg.norm(pose.vertices - ada.rest, axis=1)
    hands = vertices_of(ada, "hands")
    mine = ada.rest[hands, 0] > 0 if side == "l" else ada.rest[hands, 0] < 0
    assert moved[hands[mine]].min() > 0.1 and moved[hands[~mine]].max() < 1e-5
    assert pose.vertices[hands[mine], 2].mean() > ada.rest[hands[mine], 2].mean() + 0.04, "a bent elbow lifts forward"


@pytest.mark.parametrize("side", ["l", "r"])
def test_curl_closes_a_hand(ada: Avatar, side: str) -> None:
    motion = Motion.rest()
    motion.joints[JOINT_INDEX[f"hand_{side}"]] = (1.0, 0.0, 1.0)
    pose = Body(ada).pose(motion)
    hands = vertices_of(ada, "hands")
    mine = hands[(ada.rest[hands, 0] > 0) == (side == "l")]
    assert np.ptp(pose.vertices[mine], axis=0).max() < 0.75 * np.ptp(ada.rest[mine], axis=0).max()


def test_lips_are_closed_at_rest_and_open_with_the_jaw(ada: Avatar) -> None:
    """The gap between the lips' edges at the middle of the mouth, where skin meets the inner mouth."""
    middle = middle_of_the_lips(ada)
    assert len(middle) >= 2
    assert np.ptp(ada.rest[middle, 1]) < 0.0008
    motion = Motion.rest()
    motion.face[ACTION_INDEX["jawOpen"]] = 0.7
    assert np.ptp(Body(ada).pose(motion).vertices[middle, 1]) > 0.015


def test_jaw_and_close_together_keep_the_lips_shut(ada: Avatar) -> None:
    middle = middle_of_the_lips(ada)
    motion = Motion.rest()
    motion.face[ACTION_INDEX["jawOpen"]] = motion.face[ACTION_INDEX["mouthClose"]] = 0.3
    assert np.ptp(Body(ada).pose(motion).vertices[middle, 1]) < 0.002


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_moves_the_face_and_only_the_head(ada: Avatar, action: str) -> None:
    delta = np.abs(ada.deltas[ACTION_INDEX[action]].astype(np.float32)).max(1)
    assert 0.001 < delta.max() < 0.05
    still = vertices_of(ada, "torso", "hands", "arms", "hair")
    assert not np.isin(ada.move_index[delta > 1e-4], still).any()


def test_left_is_the_avatars_left(ada: Avatar) -> None:
    for name, sign in (("eyeBlinkLeft", 1), ("eyeBlinkRight", -1), ("mouthSmileLeft", 1), ("browDownRight", -1)):
        delta = np.linalg.norm(ada.deltas[ACTION_INDEX[name]].astype(np.float32), axis=1)
        side = (delta * ada.rest[ada.move_index, 0]).sum() / delta.sum()
        assert sign * side > 0.01, name
