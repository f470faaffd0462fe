"""Smoothing along edges: as the reference, stairs become lines, what is across stays sharp, the rest is untouched."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.edges import Edges, reference
from kernels.resize import resize


def disc(size: tuple[int, int], grain: int = 1) -> np.ndarray:
    """A dark disc on light, each pixel one sample or the mean of ``grain`` by ``grain``."""
    height, width = size[0] * grain, size[1] * grain
    y, x = (np.arange(height) + 0.5) / height - 0.52, (np.arange(width) + 0.5) / width - 0.47
    inside = np.hypot(y[:, None], x[None]) < 0.33
    fine = np.where(inside, 40.0, 180.0).reshape(size[0], grain, size[1], grain).mean((1, 3))
    return fine.round().astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "wanted"), [((33, 41), (66, 82)), ((48, 36), (64, 48)), ((3, 3), (7, 9)), ((24, 57), (24, 57))]
)
def test_equals_the_reference_within_one_level(size, wanted):
    rng = np.random.default_rng(1)
    noisy = np.clip(disc(size) + rng.normal(0, 12, size), 0, 255).astype(np.uint8)
    for small in (disc(size), noisy, rng.integers(0, 256, size).astype(np.uint8)):
        large, out = resize(small, np.empty(wanted, np.uint8)), np.full(wanted, 99, np.uint8)
        assert Edges(size, wanted).smooth(small, large, out) is out
        assert np.abs(out.astype(int) - reference.smooth(small, large)).max() <= 1


@pytest.mark.parametrize("turned", range(4))
def test_stairs_become_a_line_that_is_as_sharp(turned):
    small, wanted = np.ascontiguousarray(np.rot90(disc((64, 64)), turned)), (128, 128)
    truth = np.rot90(disc(wanted, 8), turned).astype(float)
    large = resize(small, np.empty(wanted, np.uint8))
    out = Edges((64, 64), wanted).smooth(small, large, np.empty_like(large))
    assert ((out - truth) ** 2).mean() < 0.6 * ((large - truth) ** 2).mean()
    steep = [np.abs(np.diff(picture.astype(float)[64])).max() for picture in (out, large)]
    assert steep[0] > 0.8 * steep[1]


def test_what_is_no_edge_is_not_touched():
    y, x = np.indices((40, 40))
    for small in (128 + 40 * np.sin(x / 9) * np.cos(y / 7), np.full((40, 40), 7), 100 + 80 * ((x % 2) ^ (y % 2))):
        plane = small.astype(np.uint8)
        large = resize(plane, np.empty((80, 80), np.uint8))
        out = Edges((40, 40), (80, 80)).smooth(plane, large, np.empty_like(large))
        np.testing.assert_array_equal(out[4:-4, 4:-4], large[4:-4, 4:-4])  # at a picture's border all may be an edge


def test_what_is_no_such_picture_is_refused():
    with pytest.raises(ValueError, match="at least 3 pixels"):
        Edges((2, 8), (4, 16))
    with pytest.raises(ValueError, match="are enlarged"):
        Edges((8, 8), (8, 7))
    edges, small, large = Edges((4, 4), (8, 8)), np.zeros((4, 4), np.uint8), np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match="small must be"):
        edges.smooth(large, large, large)
    with pytest.raises(ValueError, match="another array"):
        edges.smooth(small, large, large)
    with pytest.raises(ValueError, match="out must be"):
        edges.smooth(small, large, np.zeros((8, 16), np.uint8)[:, ::2])
