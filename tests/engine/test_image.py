"""Pictures through PyAV: PNG is exact, JPEG is close, anything else is a ValueError."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import image


def picture(height: int, width: int, channels: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(3 * x + 5 * y * c) % 256 for c in range(1, channels + 1)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (64, 48)])
def test_png_gives_back_every_value(size: tuple[int, int], channels: int) -> None:
    made = picture(*size, channels)
    np.testing.assert_array_equal(image.decode(image.encode_png(made), channels), made)


def test_jpeg_keeps_flat_colours_and_pure_white() -> None:
    for colour in ((255, 255, 255), (0, 0, 0), (200, 30, 10), (12, 90, 220)):
        made = np.full((32, 48, 3), colour, np.uint8)
        back = image.decode(image.encode_jpeg(made), 3).astype(int)
        assert np.abs(back - made).max() <= 3


def test_a_worse_quality_is_smaller() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert len(image.encode_jpeg(noise, 12)) < len(image.encode_jpeg(noise, 2))


def test_size_is_read_without_decoding() -> None:
    assert image.size_of(image.encode_png(picture(17, 33, 3))) == (17, 33)
    assert image.size_of(image.encode_jpeg(picture(40, 24, 3))) == (40, 24)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]))
def test_noise_is_a_value_error(noise: bytes, head: bytes) -> None:
    with pytest.raises(ValueError):
        image.decode(head + noise, 3)
