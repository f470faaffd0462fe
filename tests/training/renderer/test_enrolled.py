"""Packs as enrolment makes them, of people whose shape is known: the camera, the beard, the hair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zstandard")
pytest.importorskip("torch")
pytest.importorskip("PIL")
pytest.importorskip("scipy")

from engine import avatar as packs
from engine.avatar import REGIONS, Avatar
from engine.avatar_reference import SIDE
from engine.body.body import Body
from engine.motion.frame import Motion
from engine.render import camera
from engine.render.reference import FRAMING
from engine.viewpoint import Viewpoint
from training.portrait.retake import motion as told
from training.renderer.enrolled import HAIR, fitted, held, lens, reference, shorn, unbearded

VIEW = Viewpoint(distance=camera.framing(FRAMING).distance)


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return packs.load(packs.find("maya"))


def test_the_lens_sees_every_point_of_the_head_where_the_camera_does(avatar: Avatar) -> None:
    motion = held(Motion.rest(), np.random.default_rng(3))
    pose = Body(avatar).pose(motion)
    seen = camera.camera(Viewpoint(0.3, -0.1, 1.4), camera.framing(FRAMING), (SIDE, SIDE))
    bone = pose.bones[avatar.bones.index("head")].astype(np.float64)
    own = (pose.vertices - bone[:, 3]) @ bone[:, :3]
    inside = pose.vertices @ seen.rotation.T + seen.translation
    flat = inside[:, :2] / inside[:, 2:] * seen.focal + np.array(seen.centre)
    assert np.abs(lens(seen, bone).project(own) - flat).max() < 0.01


def test_the_fit_holds_the_head_as_the_motion_does(avatar: Avatar) -> None:
    motion = held(Motion.rest(), np.random.default_rng(4))
    assert np.abs(told(fitted(avatar, motion, VIEW)).head[:3] - motion.head[:3]).max() < 1e-3


def test_a_shorn_avatar_has_no_hair_and_all_the_rest(avatar: Avatar) -> None:
    bald = shorn(avatar)
    assert HAIR in avatar.region and HAIR not in bald.region
    assert len(bald.faces) == len(bald.region) == len(bald.layer) == (avatar.region != HAIR).sum()


def test_hair_low_on_the_face_is_a_beard_and_hair_above_it_is_hair(avatar: Avatar) -> None:
    everywhere = np.full((SIDE, SIDE), HAIR, np.uint8)
    out = unbearded(everywhere, avatar, Motion.rest(), VIEW)
    seen = fitted(avatar, Motion.rest(), VIEW).lens
    chin, brow = (seen.project(np.array([[0.0, y, 0.0]]))[0].astype(int) for y in (-0.07, 0.05))
    assert out[chin[1], chin[0]] == REGIONS.index("face") and out[brow[1], brow[0]] == HAIR
    assert (out[0] == HAIR).all()


def test_what_no_label_covers_is_nothing_that_was_seen() -> None:
    rgb, alpha = np.full((SIDE, SIDE, 3), 200, np.uint8), np.full((SIDE, SIDE), 255, np.uint8)
    regions = np.full((SIDE, SIDE), HAIR, np.uint8)
    alpha[:10], regions[10:20] = 0, 0
    out = reference(rgb, alpha, regions, VIEW, Motion.rest())
    assert out.alphas[0, 15, 0] == 127 and out.alphas[0, 30, 0] == 255
    assert out.photos[0, 5, 0, 0] == 128 and out.photos[0, 30, 0, 0] == 200
    assert (out.regions[0, :10] == 0).all()


def test_a_data_set_of_one_kind_of_packs_takes_no_others(tmp_path: Path) -> None:
    from training.renderer.cook import _begin
    from training.studio.plan import Plan
    from training.studio.shards import StudioError

    fields = {"seed": 0, "split": "train", "size": 512, "people": "p", "code": "c"}
    plan = Plan.__new__(Plan)
    for name, value in fields.items():
        object.__setattr__(plan, name, value)
    _begin(tmp_path, plan, "enrolled")
    _begin(tmp_path, plan, "enrolled")
    with pytest.raises(StudioError, match="enrolled"):
        _begin(tmp_path, plan, "studio")
