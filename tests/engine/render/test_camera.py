"""Where the camera stands for a viewpoint, and that framings are what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.render.camera import FRAMINGS, camera, framing, target
from engine.viewpoint import PITCH_LIMIT, YAW_LIMIT, Viewpoint

ANGLES = st.tuples(st.floats(-YAW_LIMIT, YAW_LIMIT), st.floats(-PITCH_LIMIT, PITCH_LIMIT))
HEAD = FRAMINGS["head"]


def eye_of(view):
    return -view.rotation.T @ view.translation


def pixel_of(view, point):
    x, y, z = view.rotation @ np.asarray(point, np.float32) + view.translation
    return view.focal * x / z + view.centre[0], view.focal * y / z + view.centre[1], z


@settings(deadline=None)
@given(ANGLES, st.floats(0.45, 3.0), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_the_camera_looks_at_its_target_from_its_distance(angles, distance, pan_x, pan_y):
    viewpoint = Viewpoint(*angles, distance, pan_x, pan_y)
    view = camera(viewpoint, HEAD, (240, 320))
    np.testing.assert_allclose(view.rotation @ view.rotation.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(view.rotation) == pytest.approx(1, abs=1e-5)
    x, y, z = pixel_of(view, target(viewpoint, HEAD))
    assert (x, y) == pytest.approx((160, 120), abs=0.05)
    assert z == pytest.approx(distance, rel=1e-4)


def test_positive_yaw_moves_the_camera_to_the_viewers_right_and_positive_pitch_up():
    assert eye_of(camera(Viewpoint(yaw=0.5), HEAD, (64, 64)))[0] > 0.3
    assert eye_of(camera(Viewpoint(pitch=0.3), HEAD, (64, 64)))[1] > 0.2
    np.testing.assert_allclose(
        eye_of(camera(Viewpoint(), HEAD, (64, 64))), np.array(HEAD.target) + (0, 0, 1), atol=1e-5
    )


def test_right_is_right_and_up_is_up_in_the_picture():
    view = camera(Viewpoint(), HEAD, (64, 64))
    middle = pixel_of(view, HEAD.target)
    assert pixel_of(view, np.array(HEAD.target) + (0.01, 0, 0))[0] > middle[0]
    assert pixel_of(view, np.array(HEAD.target) + (0, 0.01, 0))[1] < middle[1]


@pytest.mark.parametrize("yaw", [-1.2, 0.0, 0.9])
def test_pan_moves_the_avatar_left_or_down_by_the_same_pixels_at_every_yaw(yaw):
    still = pixel_of(camera(Viewpoint(yaw=yaw), HEAD, (512, 512)), HEAD.target)
    moved = pixel_of(camera(Viewpoint(yaw=yaw, pan_x=0.05, pan_y=0.02), HEAD, (512, 512)), HEAD.target)
    scale = 512 / (2 * math.tan(HEAD.field / 2))
    assert moved[0] - still[0] == pytest.approx(-0.05 * scale, abs=0.1)
    assert moved[1] - still[1] == pytest.approx(0.02 * scale, abs=0.1)


def test_the_field_of_view_is_vertical_whatever_the_width():
    edge = np.array(HEAD.target) + (0, HEAD.distance * math.tan(HEAD.field / 2), 0)
    for size in ((512, 512), (512, 900), (256, 144)):
        assert pixel_of(camera(HEAD.default_viewpoint(), HEAD, size), edge)[1] == pytest.approx(0, abs=0.02)


def test_the_default_viewpoint_is_frontal_and_within_limits():
    for frame in FRAMINGS.values():
        view = frame.default_viewpoint()
        assert (view.yaw, view.pitch) == (0, 0)
        assert view.clamped() == view


def test_an_unknown_framing_is_named():
    with pytest.raises(ValueError, match="head, upper, presenter; got 'wide'"):
        framing("wide")
