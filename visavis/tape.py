"""Tape: the last seconds of the voice by media time, read at any speed, a hair faster or slower than it was written."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_RATE

Voice = NDArray[np.float32]
HALF: Final = 16  # samples to either side that one sample is made of
PHASES: Final = 256
BETA: Final = 9.0  # of the Kaiser window: aliases below -90 dB


class Tape:
    """One thread writes, one reads, no lock: a sample is published after it is there. ``origin`` is the media time of
    the first that is written, in 48 kHz samples."""

    def __init__(self, origin: int = 0, capacity: int = 4 * VOICE_RATE) -> None:
        self._data: Voice = np.zeros(capacity, np.float32)
        self._origin = self.end = origin

    def write(self, voice: Voice) -> None:
        """(n,) more; the oldest goes."""
        count, voice = len(voice), voice[-len(self._data) // 2 :]
        at = (self.end + count - len(voice)) % len(self._data)
        head = min(len(voice), len(self._data) - at)
        self._data[at : at + head] = voice[:head]
        self._data[: len(voice) - head] = voice[head:]
        self.end += count

    def read(self, start: int, count: int) -> Voice:
        """(count,) from ``start`` on; silence where nothing is, or is no more."""
        out = np.zeros(count, np.float32)
        low = max(start, self._origin, self.end - len(self._data) // 2)
        high = min(start + count, self.end)
        if low < high:
            out[low - start : high - start] = self._data.take(np.arange(low, high), mode="wrap")
        return out


class Bender:
    """Reads a tape at a speed that changes: windowed sinc, exact where speed and place are whole numbers.

    ``step`` is how many 48 kHz samples of the tape one sample of output is, at most ``most``.
    """

    def __init__(self, most: float = 1.0) -> None:
        self._reach = int(np.ceil(HALF * max(most, 1.0)))
        self._taps = _taps(self._reach, 1.0 / max(most, 1.0))

    @property
    def reach(self) -> int:
        """Samples of the tape that must be there beyond the last one that is asked for."""
        return self._reach + 1

    def read(self, tape: Tape, start: float, step: float, count: int) -> Voice:
        """(count,) samples, the first at ``start`` on the tape."""
        places = start + step * np.arange(count)
        whole = np.floor(places).astype(np.int64)
        phase = (places - whole) * PHASES
        low = phase.astype(np.int64)
        part = (phase - low).astype(np.float32)[:, None]
        first = int(whole[0]) - self._reach + 1
        heard = tape.read(first, int(whole[-1]) - first + self._reach + 1)
        pieces = np.lib.stride_tricks.sliding_window_view(heard, 2 * self._reach)[whole - whole[0]]
        taps = self._taps[low] * (1 - part) + self._taps[low + 1] * part
        return np.asarray(np.einsum("nk,nk->n", pieces, taps), np.float32)


def _taps(reach: int, cutoff: float) -> Voice:
    """(PHASES + 1, 2 * reach): a sample that lies a phase behind the tap ``reach - 1``."""
    phases = np.arange(PHASES + 1)[:, None] / PHASES
    away = np.arange(2 * reach)[None] - (reach - 1) - phases
    window = np.i0(BETA * np.sqrt(np.clip(1 - (away / reach) ** 2, 0, None))) / np.i0(BETA)
    taps = cutoff * np.sinc(cutoff * away) * window
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
