"""Speech that tests push, and what they find of it in what comes out."""

from __future__ import annotations

from typing import Any

import numpy as np


def tone(seconds: float, rate: int = 24_000, hertz: float = 440.0) -> bytes:
    """A steady tone as int16."""
    time = np.arange(int(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes()


def pitch(voice: np.ndarray, rate: int = 48_000) -> float:
    """Hertz of a tone, wherever it is in the voice."""
    size = max(4 * rate, len(voice))
    return float(np.abs(np.fft.rfft(np.asarray(voice, np.float64), size)).argmax() * rate / size)


def frames(seconds: float, rate: int = 24_000, hertz: float = 440.0) -> list[Any]:
    """A tone as LiveKit's frames, 50 ms each."""
    from livekit import rtc

    pcm, size = tone(seconds, rate, hertz), rate // 20 * 2
    return [rtc.AudioFrame(p := pcm[at : at + size], rate, 1, len(p) // 2) for at in range(0, len(pcm), size)]
