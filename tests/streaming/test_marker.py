"""The strip in the picture can be read back, survives compression, and finds the clicks in the voice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.encoders import Vp8Encoder
from streaming.marker import OnsetFinder, paint, words

from .decode import decode_vp8


def read(luma: np.ndarray) -> tuple[int, int, int, int]:
    """What streaming/web/marker.js does: the luma plane (H, W) -> the four words."""
    side = luma.shape[0] // 16
    cells = luma[side // 2 : side * 4 : side, luma.shape[1] // 32 :: luma.shape[1] // 16] > 120
    rows = [int("".join("1" if bit else "0" for bit in row), 2) for row in cells]
    return rows[0], rows[1], rows[2], rows[3]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**17), st.integers(0, 63), st.integers(0, 9))
def test_what_is_painted_can_be_read(stamp: int, seq: int, onset: int, number: int) -> None:
    picture = np.full((96, 80), 77, np.uint8)
    paint(picture, stamp, seq, onset, number)
    assert read(picture[:64]) == words(stamp, seq, onset, number)
    assert (picture[16:64] == 77).all()  # below the strip nothing is touched


def test_the_strip_survives_the_encoder() -> None:
    rng, encoder = np.random.default_rng(0), Vp8Encoder(600_000)
    payloads, expected = [], []
    for k in range(12):
        picture = np.full((768, 512), 120, np.uint8)
        picture[128:512] = rng.integers(90, 160, (384, 512))
        values = (int(rng.integers(2**32)), int(rng.integers(2**16)), int(rng.integers(64)), k)
        paint(picture, *values)
        expected.append(words(*values))
        payloads.append(encoder.encode(picture, k * 3600, False))
    decoded = decode_vp8(payloads)
    assert [read(frame[:512]) for frame in decoded] == expected


def test_a_picture_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        paint(np.zeros((30, 20), np.uint8), 0, 0, 0, 0)


def test_clicks_are_found_once_each_at_their_place() -> None:
    voice = np.zeros(25 * 1920, np.float32)
    for start in (5 * 1920 + 480, 20 * 1920 + 1900):  # 10 ms into frame 5; just before the end of frame 20
        voice[start : start + 960] = 0.9
    finder = OnsetFinder()
    found = {k: onset for k in range(25) if (onset := finder.step(voice[k * 1920 : (k + 1) * 1920]))}
    assert found == {5: 11, 20: 40}
