"""Enlarging: integer for integer the reference, exact where nothing changes, true to smooth pictures, named errors."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.resize import reference, resize, resize_i420, taps


@pytest.mark.parametrize(("size", "wanted"), [((6, 10), (8, 14)), ((33, 17), (64, 48)), ((24, 24), (48, 48)),
                                              ((5, 1), (9, 3)), ((40, 30), (11, 7))])  # fmt: skip
def test_equals_the_reference(size, wanted):
    plane = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    out = np.full(wanted, 99, np.uint8)
    assert resize(plane, out) is out
    np.testing.assert_array_equal(out, reference.resize(plane, wanted))


def test_the_same_size_is_the_same_picture():
    plane = np.random.default_rng(0).integers(0, 256, (34, 22)).astype(np.uint8)
    np.testing.assert_array_equal(resize(plane, np.empty_like(plane)), plane)


def test_weights_of_a_pixel_add_up_to_one():
    for size, wanted in ((384, 512), (256, 512), (7, 19), (96, 95)):
        index, weights = taps(size, wanted)
        assert (weights.sum(1) == 128).all() and index.min() == 0 and index.max() == size - 1


def test_a_smooth_picture_stays_where_it_is():
    y, x = np.meshgrid((np.arange(96) + 0.5) / 96, (np.arange(128) + 0.5) / 128, indexing="ij")
    large = (128 + 60 * np.sin(5 * x) * np.cos(4 * y)).round().astype(np.uint8)
    small = large.reshape(48, 2, 64, 2).mean((1, 3)).round().astype(np.uint8)
    found = resize(small, np.empty_like(large))
    assert np.abs(found.astype(int) - large).max() <= 3


def test_the_three_planes_of_a_picture_are_enlarged_one_by_one():
    small = np.random.default_rng(0).integers(0, 256, (36, 32)).astype(np.uint8)
    out = resize_i420(small, np.empty((48, 40), np.uint8))
    chroma, grown = small[24:].reshape(2, 12, 16), out[32:].reshape(2, 16, 20)
    np.testing.assert_array_equal(out[:32], reference.resize(small[:24], (32, 40)))
    for plane, found in zip(chroma, grown, strict=True):
        np.testing.assert_array_equal(found, reference.resize(plane, (16, 20)))


def test_what_is_no_plane_is_refused():
    plane = np.zeros((6, 6), np.uint8)
    with pytest.raises(ValueError, match="plane must be"):
        resize(plane.astype(np.float32), plane)
    with pytest.raises(ValueError, match="out must be"):
        resize(plane, np.zeros((6, 12), np.uint8)[:, ::2])
    with pytest.raises(ValueError, match="even H and W"):
        resize_i420(np.zeros((8, 6), np.uint8), plane)
