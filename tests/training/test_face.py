"""Faces that hold a close look, on every shipped pack: lids that close, lips that meet, teeth, gaze; and the skin."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("scipy", reason="baking needs scipy: pip install visavis[train]")

from engine import avatar as packs
from engine.avatar import REGIONS, Avatar
from engine.motion.frame import ACTION_INDEX, Motion
from engine.viewpoint import Viewpoint
from training.bake import atlas
from training.bake.eyes import VIEWER
from training.bake.identities import IDENTITIES
from training.studio.guidance import Guide

needs_prior = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the prior 'anny' is not installed: pip install visavis[train]"
)
YAWS = (-0.5, 0.0, 0.5)


@pytest.fixture(scope="module", params=sorted(IDENTITIES))
def pack(request: pytest.FixtureRequest) -> Iterator[Avatar]:
    yield packs.load(packs.find(request.param))


def regions(guide: Guide, yaw: float = 0.0, **actions: float) -> dict[str, int]:
    """Pixels of each region in the head framing."""
    motion = Motion.rest()
    for name, weight in actions.items():
        for side in [""] if name in ACTION_INDEX else ["Left", "Right"]:
            motion.face[ACTION_INDEX[name + side]] = weight
    drawn = guide.draw(motion, Viewpoint(yaw, 0.0, guide.framing.distance)).region
    return dict(zip(REGIONS, np.bincount(drawn.ravel(), minlength=len(REGIONS)).tolist(), strict=True))


def test_lids_close_completely_and_lips_meet(pack: Avatar) -> None:
    guide = Guide(pack, (384, 384), "head")
    for yaw in YAWS:
        assert regions(guide, yaw)["eyes"] > 60
        assert regions(guide, yaw, eyeBlink=1.0)["eyes"] == 0
        at_rest = regions(guide, yaw)
        assert at_rest["teeth"] + at_rest["tongue"] + at_rest["mouth"] <= 2


def test_an_open_mouth_shows_teeth_and_tongue(pack: Avatar) -> None:
    guide = Guide(pack, (384, 384), "head")
    for yaw in YAWS:
        said = regions(guide, yaw, jawOpen=0.5, mouthUpperUp=0.15)
        assert said["teeth"] > 30 and said["tongue"] > 30
    assert regions(guide, jawOpen=0.12, mouthStretch=0.4, mouthUpperUp=0.3, mouthLowerDown=0.35)["teeth"] > 60


def test_both_eyes_look_at_the_viewer(pack: Avatar) -> None:
    middle = atlas.EYE.place(np.array([[0.5, 0.5]]))[0]
    pole = np.flatnonzero(np.abs(pack.uv - middle).max(1) < 1e-4)
    for side in "lr":
        bone = pack.bones.index(f"eye_{side}")
        centre = pack.bone_pivot[bone]
        here = pole[np.argmin(np.linalg.norm(pack.rest[pole] - centre, axis=1))]
        axis = pack.rest[here] - centre
        aim = VIEWER - centre
        cosine = axis @ aim / np.linalg.norm(axis) / np.linalg.norm(aim)
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        assert angle < 1.0


@needs_prior
def test_relief_is_fine_on_the_young_and_deep_on_the_old() -> None:
    from training.bake.skin_map import skin_map
    from training.bake.wrinkles import relief

    skin = skin_map()
    young, old = (dataclasses.replace(IDENTITIES["ada"], wrinkles=wrinkles) for wrinkles in (0.0, 1.0))
    (smooth, _, even), (rough, _, deep) = relief(skin, young, 3), relief(skin, old, 3)
    assert np.abs(rough).max() < 0.003
    forehead = skin.zone["forehead"] > 0.5
    assert rough[forehead].std() > 1.5 * smooth[forehead].std()
    assert deep.mean() > 2 * even.mean()
    np.testing.assert_array_equal(rough, relief(skin, old, 3)[0])


@needs_prior
def test_paint_follows_the_tone_of_the_skin() -> None:
    from training.bake.brush import linear
    from training.bake.paint_skin import melanin, paint_skin
    from training.bake.skin_map import skin_map

    skin = skin_map()
    none = np.zeros(len(skin.place), np.float32)
    for name in ("mei", "kofi"):
        one = IDENTITIES[name]
        colour = paint_skin(one, 1, none).colour
        forehead = skin.face[skin.zone["forehead"] > 0.6]
        np.testing.assert_allclose(colour[forehead].mean(0), linear(one.skin), rtol=0.2)
    assert melanin(IDENTITIES["kofi"]) > 0.6 > 0.3 > melanin(IDENTITIES["mei"])
