"""Cells and compositing: equal to their references, whatever lay in the buffers before."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import cells, guidance
from kernels.cells import reference
from kernels.compose import over
from kernels.compose import reference as compose_reference


def planes(size, seed=0):
    draws = np.random.default_rng(seed)
    out = guidance.allocate(size)
    for array in (out.hi, out.lo, out.seen):
        array[...] = draws.integers(0, 256, array.shape)
    out.lo[6] %= 8
    return out, draws.integers(0, 256, (4, *size)).astype(np.uint8)


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (16, 8), (56, 72)])
def test_packed_cells_equal_the_reference(size):
    known, warped = planes(size)
    out = np.full((size[0] // 8, size[1] // 8, 4, cells.PACKED), 77, np.uint8)
    assert cells.pack(known, warped, out) is out
    np.testing.assert_array_equal(out, reference.pack(known, warped))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 2)])
def test_a_painted_picture_equals_the_reference(size):
    draws = np.random.default_rng(0)
    grid = (2 * size[0], 2 * size[1])
    residual = draws.normal(size=(*grid, cells.RESIDUAL)).astype(np.float32) * 0.2
    shares = draws.uniform(size=(*grid, cells.SHARES)).astype(np.float32)
    shares[0, 0, :4] = -3, 0, 1, 7  # whatever the network says, a picture stays a picture
    gain = draws.uniform(0.2, 2, (*size, 3)).astype(np.float32)
    packed = draws.integers(0, 256, (*size, 4, cells.PACKED)).astype(np.uint8)
    out = np.full((8 * size[0], 8 * size[1], 4), 77, np.uint8)
    assert cells.paint(residual, shares, gain, packed, out) is out
    apart = np.abs(out.astype(int) - reference.paint(residual, shares, gain, packed))
    assert apart.max() <= 1 and (apart > 0).mean() < 0.002
    assert (out[..., :3] <= out[..., 3:]).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (46, 62)])
def test_a_confined_picture_equals_the_reference(size):
    draws = np.random.default_rng(1)
    picture = draws.integers(0, 256, (*size, 4)).astype(np.uint8)
    picture[..., :3] = np.minimum(picture[..., :3], picture[..., 3:])
    lit = draws.integers(0, 256, (4, *size)).astype(np.uint8)
    lit[3] = cover = draws.choice(np.array([0, 90, 255], np.uint8), size)
    before, expected = picture.copy(), reference.confine(picture, lit)
    assert cells.confine(picture, lit) is picture
    np.testing.assert_array_equal(picture, expected)
    assert (picture[..., 3] == np.minimum(before[..., 3], cover)).all() and (picture[..., :3] <= picture[..., 3:]).all()
    np.testing.assert_array_equal(picture[cover == 255], before[cover == 255])


def test_what_the_network_leaves_undefined_is_still_a_picture():
    residual, shares = (np.full((2, 2, count), np.nan, np.float32) for count in (cells.RESIDUAL, cells.SHARES))
    out = cells.paint(residual, shares, np.ones((1, 1, 3), np.float32),
                      np.zeros((1, 1, 4, cells.PACKED), np.uint8), np.empty((8, 8, 4), np.uint8))  # fmt: skip
    assert (out[..., :3] <= out[..., 3:]).all()


def test_cells_name_what_does_not_fit():
    known, warped = planes((8, 8))
    with pytest.raises(ValueError, match="out must be"):
        cells.pack(known, warped, np.zeros((2, 2, 5), np.uint8))
    with pytest.raises(ValueError, match="lit must be"):
        cells.confine(np.zeros((8, 8, 4), np.uint8), np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="guidance.hi must be"):
        cells.pack(planes((12, 8))[0], warped, np.zeros((1, 1, 4, cells.PACKED), np.uint8))
    with pytest.raises(ValueError, match="shares must be"):
        cells.paint(np.zeros((2, 2, 48), np.float32), np.zeros((2, 2, 3), np.float32), np.ones((1, 1, 3), np.float32),
                    np.zeros((1, 1, 4, cells.PACKED), np.uint8), np.zeros((8, 8, 4), np.uint8))  # fmt: skip


@pytest.mark.parametrize("size", [(2, 2), (6, 10), (46, 62)])
def test_compositing_equals_the_reference(size):
    draws = np.random.default_rng(0)
    picture = draws.integers(0, 256, (*size, 4)).astype(np.uint8)
    picture[1:, :, :3] = np.minimum(picture[1:, :, :3], picture[1:, :, 3:])  # row 0 is not premultiplied: no overflow
    background = draws.integers(0, 256, (*size, 3)).astype(np.uint8)
    rgb, alpha = np.full((*size, 3), 77, np.uint8), np.full(size, 77, np.uint8)
    over(picture, background, rgb, alpha)
    np.testing.assert_array_equal(rgb, compose_reference.over(picture, background))
    np.testing.assert_array_equal(alpha, picture[..., 3])


def test_every_alpha_over_every_background_is_rounded_right():
    picture, background = np.zeros((256, 256, 4), np.uint8), np.zeros((256, 256, 3), np.uint8)
    picture[..., 3], background[...] = np.arange(256)[:, None], np.arange(256)[None, :, None]
    rgb, alpha = np.empty((256, 256, 3), np.uint8), np.empty((256, 256), np.uint8)
    over(picture, background, rgb, alpha)
    np.testing.assert_array_equal(rgb, compose_reference.over(picture, background))


def test_compositing_names_what_does_not_fit():
    picture = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="background must be"):
        over(picture, np.zeros((4, 5, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))
