"""The geometric renderer: deterministic, stateful only through its state, and it shows what it is told to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.avatar import REGIONS
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render import material
from engine.render.geometric import GeometricRenderer
from engine.stages import Stages
from engine.viewpoint import Viewpoint
from tests.synthetic import make_avatar

SIZE = (96, 80)


def acting(**weights):
    motion = Motion.rest()
    for name, weight in weights.items():
        motion.face[ACTION_INDEX[name]] = weight
    return motion


def turning(step):
    """A motion and a viewpoint for frame ``step`` of a small scene with everything moving."""
    motion = acting(jawOpen=0.5 + 0.5 * np.sin(step), eyeBlinkLeft=float(step % 3 == 0))
    motion.head[1] = 0.1 * step
    return motion, Viewpoint(yaw=0.1 * step, distance=1.05)


def copy(picture):
    return picture.rgb.copy(), picture.alpha.copy(), picture.gbuffer.flow.copy(), picture.gbuffer.depth.copy()


def film(renderer, steps):
    state, frames = renderer.initial_state(), []
    for step in steps:
        picture, state = renderer.step(*turning(step), state)
        frames.append(copy(picture))
    return frames


def test_the_same_motion_gives_the_same_pictures_bit_for_bit():
    avatar = make_avatar()
    first, second = (film(GeometricRenderer(avatar, SIZE, "head"), range(6)) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_two_states_share_one_renderer_without_mixing():
    renderer = GeometricRenderer(make_avatar(), SIZE, "head")
    alone = [film(renderer, steps) for steps in (range(4), range(9, 5, -1))]
    states, mixed = [renderer.initial_state() for _ in range(2)], [[], []]
    for one, two in zip(range(4), range(9, 5, -1), strict=True):
        for session, step in enumerate((one, two)):
            picture, states[session] = renderer.step(*turning(step), states[session])
            mixed[session].append(copy(picture))
    for expected, got in zip(alone, mixed, strict=True):
        for a, b in zip(expected, got, strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)


def test_the_first_picture_and_a_reset_one_have_no_flow():
    renderer = GeometricRenderer(make_avatar(), SIZE, "head")
    state = renderer.initial_state()
    picture, state = renderer.step(*turning(0), state)
    assert np.abs(picture.gbuffer.flow).max() < 0.01
    picture, state = renderer.step(*turning(2), state)
    assert np.abs(picture.gbuffer.flow).max() > 1
    state.reset()
    picture, state = renderer.step(*turning(0), state)
    assert np.abs(picture.gbuffer.flow).max() < 0.01


def test_the_face_is_in_the_middle_at_the_default_viewpoint():
    for framing in ("head", "upper"):
        renderer = GeometricRenderer(make_avatar(), SIZE, framing)
        picture, _ = renderer.step(Motion.rest(), renderer.default_viewpoint(), renderer.initial_state())
        region = picture.gbuffer.region
        assert {"face", "eyes", "hair", "neck_ears"} <= {REGIONS[i] for i in np.unique(region)}
        columns = np.nonzero(region == REGIONS.index("face"))[1]
        assert abs(columns.mean() + 0.5 - SIZE[1] / 2) < 2
        assert (region == REGIONS.index("torso")).any() == (framing == "upper")


def test_positive_yaw_shows_the_avatars_left_side():
    renderer = GeometricRenderer(make_avatar(), SIZE, "head")
    picture, _ = renderer.step(Motion.rest(), Viewpoint(yaw=0.8, distance=1.05), renderer.initial_state())
    face = np.nonzero(picture.gbuffer.region == REGIONS.index("eyes"))[1]
    assert face.mean() < SIZE[1] / 2  # the camera is to the right of the face, which therefore points left


def test_an_opening_jaw_changes_only_the_lower_face():
    renderer = GeometricRenderer(make_avatar(), SIZE, "head")
    shut = copy(renderer.step(Motion.rest(), renderer.default_viewpoint(), renderer.initial_state())[0])[0]
    opened = copy(renderer.step(acting(jawOpen=1), renderer.default_viewpoint(), renderer.initial_state())[0])[0]
    rows = np.nonzero(np.abs(shut.astype(int) - opened).max((1, 2)) > 8)[0]
    assert len(rows) > 4
    assert rows.min() > SIZE[0] * 0.5


def test_a_closer_camera_makes_a_larger_face():
    renderer = GeometricRenderer(make_avatar(), SIZE, "head")
    covered = []
    for distance in (0.8, 1.05, 2.0):
        picture, _ = renderer.step(Motion.rest(), Viewpoint(distance=distance), renderer.initial_state())
        covered.append(picture.gbuffer.coverage.mean())
    assert covered == sorted(covered, reverse=True)


def test_a_plain_background_replaces_the_avatars_own_and_alpha_says_where():
    green = np.full((4, 4, 3), (0, 200, 0), np.uint8)
    renderer = GeometricRenderer(make_avatar(), SIZE, "head", background=green)
    picture, _ = renderer.step(Motion.rest(), renderer.default_viewpoint(), renderer.initial_state())
    assert (picture.rgb[picture.alpha == 0] == (0, 200, 0)).all()
    assert (picture.alpha == 0).any() and (picture.alpha == 255).any()
    assert ((picture.alpha > 0) & (picture.alpha < 255)).any()  # soft edges


def test_edges_are_anti_aliased():
    """A pixel between avatar and background is between their colours, not one or the other."""
    renderer = GeometricRenderer(make_avatar(), SIZE, "upper", background=np.zeros((2, 2, 3), np.uint8))
    picture, _ = renderer.step(Motion.rest(), renderer.default_viewpoint(), renderer.initial_state())
    g = picture.gbuffer
    partial = (g.coverage > 0) & (g.coverage < 1) & (picture.alpha < 250)
    assert partial.sum() > 50
    assert set(np.unique(g.coverage)) == {0, 0.25, 0.5, 0.75, 1}


def test_stages_are_marked():
    renderer = GeometricRenderer(make_avatar(), SIZE, "head")
    stages = Stages()
    renderer.step(Motion.rest(), renderer.default_viewpoint(), renderer.initial_state(), stages)
    assert list(stages.times) == ["body", "raster", "shade"]


def test_motion_out_of_range_still_paints():
    renderer = GeometricRenderer(make_avatar(), SIZE, "head")
    wild = replace(Motion.rest(), face=np.full(52, np.nan, np.float32), head=np.full(6, 99, np.float32))
    picture, _ = renderer.step(wild, renderer.default_viewpoint(), renderer.initial_state())
    for plane in (picture.gbuffer.flow, picture.gbuffer.normal, picture.gbuffer.uv):
        assert np.isfinite(plane).all()


def test_a_wrong_framing_or_size_is_refused():
    with pytest.raises(ValueError, match="framing must be one of"):
        GeometricRenderer(make_avatar(), SIZE, "feet")
    with pytest.raises(ValueError, match="picture size"):
        GeometricRenderer(make_avatar(), (0, 16), "head")


def test_cover_keeps_the_middle_and_the_aspect():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 40:] = 200
    fitted = material.cover(picture, (30, 30))
    assert fitted.shape == (30, 30, 3)
    assert (fitted[:, :14] == 0).all() and (fitted[:, 16:] == 200).all()
    np.testing.assert_array_equal(material.cover(picture, (40, 80)), picture)


def test_an_avatars_textures_are_built_once():
    first, again = material.build(make_avatar()), material.build(make_avatar())
    assert first[1].texture is again[1].texture
