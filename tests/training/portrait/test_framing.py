"""The network's view: a square that stands on the face, wherever and however it lies in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from engine.avatar import REGIONS
from training.portrait import framing


def face(angle: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Landmarks (478, 3) that say little more than where eyes, forehead and chin are."""
    points = np.random.default_rng(0).uniform(-40, 40, (478, 3))
    points[[33, 263, 10, 152], :2] = [(-30, 0), (30, 0), (0, -50), (0, 65)]
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points[:, :2] = points[:, :2] @ turn * scale + [300, 200]
    return points


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2])
@pytest.mark.parametrize("scale", [0.7, 3.0])
def test_a_crop_shows_the_same_however_the_face_is_turned_or_sized(angle: float, scale: float) -> None:
    plain, other = face(), face(angle, scale)
    seen = framing.into(framing.square(other, 6.0), other)
    assert np.abs(seen - framing.into(framing.square(plain, 6.0), plain)).max() < 1e-2
    assert abs(seen[33, 1] - seen[263, 1]) < 1e-2 and seen[33, 0] < seen[263, 0]


def test_places_come_back_from_a_crop() -> None:
    crop, places = framing.square(face(0.3), 9.0), np.random.default_rng(1).uniform(0, 600, (20, 2))
    assert np.abs(framing.out_of(crop, framing.into(crop, places)) - places).max() < 1e-2


def test_a_turned_head_is_as_large_as_a_frontal_one() -> None:
    points = face()
    points[[33, 263], 0] = [290, 310]  # a near profile
    assert framing.unit(points) > 50


def test_a_polygon_holds_the_pixels_whose_middles_lie_inside_even_over_the_border() -> None:
    assert framing.filled(np.array([[1, 1], [9, 1], [9, 9], [1, 9.0]]), (7, 12)).sum() == 8 * 6
    assert not framing.filled(np.array([[-9, -9], [-2, -9], [-2, -2.0]]), (7, 12)).any()
    notched = np.array([[0, 0], [10, 0], [10, 10], [5, 5], [0, 10.0]])
    assert not framing.filled(notched, (10, 10))[9, 5] and framing.filled(notched, (10, 10))[2, 5]


def test_planes_know_where_the_face_is() -> None:
    points = face()
    points[:, :2] = framing.into(framing.square(points, 6.0), points)
    out = framing.planes(np.zeros((256, 256, 3), np.float32), np.ones((256, 256)), np.ones((256, 256)), points)
    eyes = points[[33, 263], :2].mean(0).astype(int)
    assert out.shape == (framing.PLANES, 256, 256) and np.isfinite(out).all()
    assert abs(out[7, eyes[1], eyes[0]]) < 0.02 and abs(out[8, eyes[1], eyes[0]]) < 0.02
    assert out[7, 128, 250] > 0.5 > -0.5 > out[7, 128, 5] and out[8, 250, 128] > 0.5


def test_every_region_has_a_class() -> None:
    table = framing.table()
    assert table.shape == (len(REGIONS),)
    assert {framing.CLASSES[k] for k in table} == set(framing.CLASSES)
