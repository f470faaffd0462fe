"""RGB to I420 and NV12: integer for integer the reference, the colours BT.601 says, and named errors."""

from __future__ import annotations

import av
import numpy as np
import pytest

from kernels.yuv import reference, to_i420, to_nv12


@pytest.mark.parametrize("size", [(2, 2), (6, 10), (46, 62), (2, 128)])
def test_equals_the_reference(size):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    out = np.full((size[0] * 3 // 2, size[1]), 99, np.uint8)
    assert to_i420(rgb, out) is out
    np.testing.assert_array_equal(out, reference.to_i420(rgb))
    pairs = np.full_like(out, 99)
    assert to_nv12(rgb, pairs) is pairs
    np.testing.assert_array_equal(pairs, reference.to_nv12(rgb))


def test_every_extreme_colour_stays_in_range():
    corners = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.uint8)
    for colour in corners:
        out = to_i420(np.broadcast_to(colour, (4, 4, 3)).copy())
        assert out[:4].min() >= 16 and out[:4].max() <= 235
        assert out[4:].min() >= 16 and out[4:].max() <= 240
    white, black = to_i420(np.full((2, 2, 3), 255, np.uint8)), to_i420(np.zeros((2, 2, 3), np.uint8))
    assert white.ravel().tolist() == [235] * 4 + [128] * 2
    assert black.ravel().tolist() == [16] * 4 + [128] * 2


def test_agrees_with_ffmpeg_on_a_smooth_picture():
    y, x = np.meshgrid(np.arange(64), np.arange(96), indexing="ij")
    rgb = np.stack([x * 2, y * 3, 255 - x - y], -1).astype(np.uint8)
    theirs = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p").to_ndarray()
    assert np.abs(to_i420(rgb).astype(int) - theirs).max() <= 3


@pytest.mark.parametrize("shape", [(3, 4, 3), (4, 3, 3), (4, 4, 4), (4, 4)])
def test_a_wrong_picture_is_refused(shape):
    with pytest.raises(ValueError, match="rgb must be"):
        to_i420(np.zeros(shape, np.uint8))


def test_nv12_is_what_ffmpeg_calls_so():
    rgb = np.random.default_rng(1).integers(0, 256, (48, 32, 3)).astype(np.uint8)
    planar = av.VideoFrame.from_ndarray(to_i420(rgb), format="yuv420p")
    np.testing.assert_array_equal(planar.reformat(format="nv12").to_ndarray(), to_nv12(rgb))


def test_a_wrong_output_is_refused():
    with pytest.raises(ValueError, match="out must be"):
        to_i420(np.zeros((4, 4, 3), np.uint8), np.zeros((6, 5), np.uint8))
