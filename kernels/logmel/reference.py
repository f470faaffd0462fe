"""What the log-mel kernels compute, the boring way: NumPy in float64, one voice, one video frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
HOP, WINDOW, FFT = 160, 400, 512


def logmel(sound: Array, tail: Array, window: Array, filters: Array, floor: float) -> tuple[Array, Array]:
    """(640,) samples after ``tail`` (240,), window (400,), filters (257, B) -> log-mel (4, B), the next tail."""
    context = np.concatenate([tail, sound]).astype(np.float64)
    hops = np.stack([context[HOP * i : HOP * i + WINDOW] for i in range(4)])
    power = np.abs(np.fft.rfft(hops * window, FFT)) ** 2 @ filters.astype(np.float64)
    mel = 0.5 * (np.log10(np.maximum(power, floor)) + 3.0)
    return mel.astype(np.float32), context[-(WINDOW - HOP) :].astype(np.float32)


def decimate(voice: Array, tail: Array, taps: Array) -> tuple[Array, Array]:
    """(1920,) samples after ``tail`` (96,), taps (97,) -> every third sample of the filtered voice (640,), the next
    tail."""
    line = np.concatenate([tail, voice]).astype(np.float64)
    filtered = np.convolve(line, taps[::-1].astype(np.float64), "valid")
    return filtered[2::3].astype(np.float32), line[-(len(taps) - 1) :].astype(np.float32)
