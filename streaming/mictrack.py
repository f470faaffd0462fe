"""Decoded WebRTC audio -> mono 48 kHz float32 with its place on the sender's timeline."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_RATE

Voice = NDArray[np.float32]


class MicReader:
    """Takes what aiortc's Opus decoder gives (s16 stereo 48 kHz); resamples anything else."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._made_for: tuple[str, int, int] | None = None  # format, channels, rate

    def read(self, frame: av.AudioFrame) -> Iterator[tuple[int, Voice]]:
        """(position, samples): ``samples`` (n,) float32 begin at ``position``, in 48 kHz samples."""
        rate = frame.sample_rate or VOICE_RATE
        position = 0 if frame.pts is None else int(frame.pts * VOICE_RATE // rate)
        if rate == VOICE_RATE and frame.format.name == "s16" and frame.layout.nb_channels <= 2:
            samples = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
            yield position, samples.mean(axis=1, dtype=np.float32) / np.float32(32768.0)
            return
        kind = (frame.format.name, frame.layout.nb_channels, rate)
        if self._resampler is None or self._made_for != kind:  # a sender may change its rate between two packets
            self._resampler, self._made_for = av.AudioResampler(format="flt", layout="mono", rate=VOICE_RATE), kind
        for part in self._resampler.resample(frame):
            yield position, np.asarray(part.to_ndarray().reshape(-1), np.float32)
            position += part.samples
