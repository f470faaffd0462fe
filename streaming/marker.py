"""A strip of bits across the top of a picture, so that a browser can say when it saw which frame.

Painted only into sessions that ask for it (``"marker": true`` when they are opened); bench/stream.py does.
The strip is 4 rows of 16 cells over the top quarter of the luma plane:
row 0, 1: time stamp, 0.1 ms units of Unix time modulo 2^32; row 2: last viewpoint seq modulo 2^16;
row 3: onset (6 bits: 0 none, else 1 + ms from the frame's start to a loud onset in its voice), 3 bits of frame
number, 7 bits of check sum. streaming/web/marker.js reads it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_RATE

ROWS: Final = 4
COLUMNS: Final = 16
DARK: Final = 30
LIGHT: Final = 210
ONSET_LEVEL: Final = 0.5  # full-scale amplitude that counts as the test signal's click
HOLD: Final = VOICE_RATE // 2  # samples in which one onset is not counted again


def words(stamp: int, seq: int, onset: int, number: int) -> tuple[int, int, int, int]:
    """The four 16-bit rows. ``stamp`` 32 bits, ``seq`` 16, ``onset`` 6, ``number`` 3; higher bits are dropped."""
    stamp, seq, onset, number = stamp & 0xFFFFFFFF, seq & 0xFFFF, onset & 0x3F, number & 7
    check = stamp ^ stamp >> 8 ^ stamp >> 16 ^ stamp >> 24 ^ seq ^ seq >> 8 ^ onset * 5 ^ number * 11
    return stamp >> 16, stamp & 0xFFFF, seq, onset << 10 | number << 7 | check & 0x7F


def paint(i420: NDArray[np.uint8], stamp: int, seq: int, onset: int, number: int) -> None:
    """Writes the strip into ``i420`` (H * 3 / 2, W), H and W multiples of 16."""
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    if height % 16 or width % 16:
        raise ValueError(f"a marked picture has sides that are multiples of 16, got {width}x{height}")
    rows = words(stamp, seq, onset, number)
    bits = np.array([[row >> (15 - column) & 1 for column in range(COLUMNS)] for row in rows], np.uint8)
    cells = bits * (LIGHT - DARK) + DARK
    strip = np.repeat(np.repeat(cells, height // 16, axis=0), width // 16, axis=1)
    i420[: height // 4] = strip
    for plane in (i420[height : height * 5 // 4], i420[height * 5 // 4 :]):
        plane[: height // 16] = 128  # grey under the strip: an array row holds two chroma rows


class OnsetFinder:
    """Finds the clicks of the test signal in the voice of successive frames."""

    def __init__(self) -> None:
        self._quiet_for = HOLD

    def step(self, voice: NDArray[np.float32]) -> int:
        """0, or 1 + whole ms from the start of ``voice`` (n,) to the onset in it."""
        loud = np.flatnonzero(np.abs(voice) > ONSET_LEVEL)
        if len(loud) == 0 or self._quiet_for + int(loud[0]) < HOLD:
            self._quiet_for = self._quiet_for + len(voice) if len(loud) == 0 else len(voice) - int(loud[-1])
            return 0
        self._quiet_for = len(voice) - int(loud[-1])
        return 1 + int(loud[0]) * 1000 // VOICE_RATE
