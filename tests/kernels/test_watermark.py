"""Watermark kernels: integer for integer the reference on any size, quiet where the picture is, and named errors."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.watermark import FIELD_ONE, gather, mark, reference

SIZES = [(2, 2), (6, 10), (8, 64), (46, 62), (30, 130), (17, 201), (24, 128)]


def picture(size, seed=0):
    """A soft ramp with a noisy part, a hard edge, and pixels as dark and as bright as there are."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    draws = np.random.default_rng(seed)
    plane = 40 + x * 1.1 + np.where(y > height // 2, 30, 0) + draws.normal(size=size) * np.where(x > width // 3, 12, 0)
    plane[0, 0], plane[-1, -1] = 16, 235
    return np.clip(plane, 16, 235).astype(np.uint8)


def pattern(size, seed=1):
    return np.random.default_rng(seed).integers(-79, 80, size).astype(np.int8)


@pytest.mark.parametrize("size", SIZES)
def test_marking_equals_the_reference(size):
    mine, theirs, field = picture(size), picture(size), pattern(size)
    mark(mine, field)
    reference.mark(theirs, field)
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("size", SIZES)
def test_gathering_equals_the_reference(size):
    mine, theirs = np.full(size, 7, np.float32), np.full(size, 7, np.float32)
    gather(picture(size), 5, mine)
    reference.gather(picture(size), 5, theirs)
    np.testing.assert_allclose(mine, theirs, atol=2e-4)


def test_gathering_finds_not_a_number_where_the_total_was_none():
    total = np.full((16, 24), np.nan, np.float32)
    gather(picture((16, 24)), 3, total)
    assert np.isnan(total).all()  # it adds: what was there is kept, nothing is left out


def test_a_plain_wall_is_changed_by_little_and_texture_by_more():
    wall, noise = np.full((64, 64), 120, np.uint8), picture((64, 64), 3)
    noise[:] = np.random.default_rng(4).integers(60, 200, noise.shape)
    field = np.clip(np.random.default_rng(5).normal(size=wall.shape) * FIELD_ONE, -79, 79).astype(np.int8)
    changes = []
    for plane in (wall, noise):
        before = plane.astype(int)
        mark(plane, field)
        changes.append(np.abs(plane - before))
    assert changes[0].max() <= 2 < changes[1].max() <= 6
    assert changes[0].mean() < 0.75 * changes[1].mean()


def test_black_and_white_walls_are_marked_to_both_sides_and_nothing_wraps():
    for level, range_ in ((16, (14, 18)), (235, (233, 237)), (0, (1, 2)), (255, (253, 254))):
        plane = np.full((16, 128), level, np.uint8)
        mark(plane, pattern(plane.shape))
        assert (plane.min(), plane.max()) == pytest.approx(range_, abs=1)


def test_no_field_changes_nothing():
    plane = picture((46, 130))
    before = plane.copy()
    mark(plane, np.zeros(plane.shape, np.int8))
    np.testing.assert_array_equal(plane, before)


def test_wrong_arrays_are_refused():
    plane = np.zeros((4, 6), np.uint8)
    with pytest.raises(ValueError, match="field must be"):
        mark(plane, np.zeros((4, 5), np.int8))
    with pytest.raises(ValueError, match="luma must be"):
        mark(plane.T, np.zeros((6, 4), np.int8))
    with pytest.raises(ValueError, match="total must be"):
        gather(plane, 2, np.zeros((4, 6)))
    with pytest.raises(ValueError, match="radius"):
        gather(plane, 0, np.zeros((4, 6), np.float32))
