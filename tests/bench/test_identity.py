"""The judge of identity: aligned faces, and what it says of our own avatars."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.judges.identity import MEAN, PADDING, SAME, SIDE, Identity, _aligned, distance, similarity
from engine.avatar import find, load
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render.geometric import GeometricRenderer
from engine.tracking.face import cut
from engine.viewpoint import Viewpoint

U8 = NDArray[np.uint8]


def test_points_that_are_the_mean_face_are_cut_where_dlib_cuts_them() -> None:
    turn = np.radians(25)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = 80.0 * MEAN @ spin.T + [40.0, 60.0]
    place = _aligned(points)
    corner = np.array([place.x, place.y])
    back = (points - corner) @ np.linalg.inv(place.axes().astype(float)).T + 0.5
    np.testing.assert_allclose(back, (MEAN + PADDING) / (1 + 2 * PADDING), atol=1e-5)
    assert place.side == pytest.approx(80 * (1 + 2 * PADDING), rel=1e-5) and place.angle == pytest.approx(turn)


def test_a_cut_has_the_size_dlib_wants() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    assert cut(picture, _aligned(40.0 * MEAN + 10.0), SIDE).shape == (SIDE, SIDE, 3)


def test_the_same_avatar_is_nearer_than_another_from_another_side_and_speaking() -> None:
    try:
        judge = Identity()
    except ValueError as error:
        pytest.skip(str(error))

    def face(name: str, yaw: float, jaw: float) -> NDArray[np.float32]:
        renderer = GeometricRenderer(load(find(name)), (256, 256), "head")
        motion = Motion.rest()
        motion.face[ACTION_INDEX["jawOpen"]] = jaw
        view = Viewpoint(yaw=yaw, distance=renderer.framing.distance)
        picture, _ = renderer.step(motion, view, renderer.initial_state())
        place = judge.place(picture.rgb)
        assert place is not None
        return judge.embed(picture.rgb, place)

    ada, again, omar = face("ada", 0.0, 0.0), face("ada", 0.3, 0.25), face("omar", 0.0, 0.0)
    assert distance(ada, again) < 0.75 * distance(ada, omar) and distance(ada, again) < SAME
    assert similarity(ada, again) > similarity(ada, omar)


def test_a_missing_network_says_how_to_get_it(tmp_path: object) -> None:
    from pathlib import Path

    with pytest.raises(ValueError, match=r"bench\.judges\.identity install"):
        Identity(Path(str(tmp_path)) / "nothing")
