"""Media time. One integer clock a session: ``pts``, counted in 16 kHz samples from the session's start.

A video frame spans 640 samples (40 ms, 25 fps); the voice leaves at 48 kHz with the same pts times three.
Nothing here reads a wall clock: time is an argument everywhere inside the engine.
"""

from __future__ import annotations

from typing import Final

SAMPLE_RATE: Final = 16_000  # Hz, the rate the engine listens at and counts time in
VOICE_RATE: Final = 48_000  # Hz, the rate the voice is carried at (Opus)
VOICE_RATIO: Final = VOICE_RATE // SAMPLE_RATE
FPS: Final = 25
FRAME: Final = SAMPLE_RATE // FPS  # samples of 16 kHz media time in a video frame
VOICE_FRAME: Final = FRAME * VOICE_RATIO  # samples of 48 kHz voice in a video frame
FRAME_SECONDS: Final = 1.0 / FPS
HOP: Final = SAMPLE_RATE // 100  # samples in a log-mel hop (10 ms)
HOPS_PER_FRAME: Final = FRAME // HOP


def frame_pts(index: int) -> int:
    """pts of the first sample of video frame ``index``."""
    return index * FRAME


def frame_index(pts: int) -> int:
    """Index of the video frame that ``pts`` falls in."""
    return pts // FRAME


def seconds(pts: int) -> float:
    """Media time of ``pts`` in seconds."""
    return pts / SAMPLE_RATE


def voice_pts(pts: int) -> int:
    """The same instant counted in 48 kHz voice samples."""
    return pts * VOICE_RATIO
