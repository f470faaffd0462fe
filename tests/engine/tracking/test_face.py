import numpy as np
import pytest

from engine.tracking.face import LANDMARKS, Crop, FaceFinder, cut

from .scene import SIZE, faces, pictures

LIP_GAP, EYE_CORNERS = (13, 14), (33, 263)


def test_the_face_is_found_in_every_picture_and_its_landmarks_lie_on_it() -> None:
    found = faces("ada", 40)
    assert all(face is not None and face.score > 0.9 for face in found)
    for face in found:
        assert face is not None and face.points.shape == (LANDMARKS, 3)
        assert face.points[:, :2].min() > 0 and face.points[:, :2].max() < SIZE[0]
        assert (
            face.points[EYE_CORNERS[1], 0] - face.points[EYE_CORNERS[0], 0] > 0.15 * SIZE[1]
        )  # own left is on the right


def test_an_open_mouth_is_seen_open() -> None:
    found = [face for face in faces("ada", 40) if face is not None]
    gaps = [float(face.points[LIP_GAP[1], 1] - face.points[LIP_GAP[0], 1]) for face in found]
    assert gaps[5] > 4 * max(gaps[0], 0.2)  # jawOpen at its most, and at nothing


def test_no_face_is_found_where_there_is_none() -> None:
    finder, rng = FaceFinder(), np.random.default_rng(0)
    assert finder.step(np.full((120, 160, 3), 90, np.uint8)) is None
    assert finder.step(rng.integers(0, 255, (200, 150, 3)).astype(np.uint8)) is None
    assert finder.step(np.zeros((4, 4, 3), np.uint8)) is None
    assert finder.step(pictures("ada", 40)[0]) is not None  # and afterwards it finds one again


def test_a_face_that_goes_and_comes_back_is_found_again() -> None:
    finder, shown = FaceFinder(), pictures("ada", 40)[0]
    assert finder.step(shown) is not None
    assert finder.step(np.zeros_like(shown)) is None
    moved = np.roll(shown, 50, axis=1)
    face = finder.step(moved)
    assert face is not None
    centre = face.points[1, 0] - faces("ada", 40)[0].points[1, 0]
    assert centre == pytest.approx(50, abs=4)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        FaceFinder().step(np.zeros((10, 10), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        FaceFinder().step(np.zeros((10, 10, 3), np.float32))


def test_a_cut_of_the_whole_picture_is_the_picture() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    np.testing.assert_allclose(cut(picture, Crop(16, 16, 32, 0.0), 32), picture, atol=1e-3)
    turned = cut(picture, Crop(16, 16, 32, np.pi / 2), 32)
    np.testing.assert_allclose(turned, np.rot90(picture, 1), atol=1e-2)
