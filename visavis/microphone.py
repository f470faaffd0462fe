"""This machine's microphone: any device at any rate to mono 48 kHz float32, with its place on the device's timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from engine.clock import VOICE_RATE
from visavis.portaudio import Direction
from visavis.soundcard import Port

Voice = NDArray[np.float32]
OVERFLOW: Final = 0x2  # PortAudio's paInputOverflow: samples before these were lost
FALL_DB: Final = 12.0  # dB a second/10 that the level falls by at most: it can be read


class Converter:
    """Interleaved float32 or int16 of any number of channels and any rate -> mono 48 kHz; chunked equals whole."""

    def __init__(self, rate: int, channels: int) -> None:
        if rate < 1 or channels < 1:
            raise ValueError(f"sound has a rate and channels, got {rate} Hz and {channels}")
        self._rate, self._channels = rate, channels
        self._resampler = None if rate == VOICE_RATE else AudioResampler(format="flt", layout="mono", rate=VOICE_RATE)

    def convert(self, data: bytes | NDArray[np.int16] | Voice) -> Voice:
        """(n,) of what has come out of it by now; NaN and infinity are silence. ``data``: bytes are float32."""
        samples = np.frombuffer(data, np.float32) if isinstance(data, bytes) else data
        scale = np.float32(1 / 32768) if samples.dtype == np.int16 else np.float32(1)
        mono = samples.reshape(-1, self._channels).mean(axis=1, dtype=np.float32) * scale
        mono = np.clip(np.nan_to_num(mono, nan=0.0, posinf=0.0, neginf=0.0), -1, 1)
        if self._resampler is None or not len(mono):
            return np.asarray(mono, np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), format="flt", layout="mono")
        frame.sample_rate = self._rate
        parts = [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


class Microphone(Port):
    """A port of the sound card. ``hear`` gets (position, samples) on PortAudio's thread: (n,) float32 that begin at
    ``position``, in 48 kHz samples since the microphone was first opened; a time without a device is a gap."""

    direction: Direction = "input"

    def __init__(self, hear: Callable[[int, Voice], None], wanted: str = "") -> None:
        super().__init__(wanted)
        self._hear = hear
        self._converter = Converter(VOICE_RATE, 1)
        self._position = 0
        self._end: float | None = None  # when the last sample came
        self._gap = False
        self.level_db = -120.0  # peak, falling slowly

    def prepare(self, module: Any) -> None:
        """Another device goes on where time has got to."""
        self._converter, self._gap = Converter(self.rate, self.channels), self._end is not None

    def _call(self, data: bytes | None, count: int, times: Any, status: int) -> tuple[None, int]:
        now = self.clock()
        if self._end is not None and (self._gap or status & OVERFLOW):
            self._position += max(round((now - self._end - count / self.rate) * VOICE_RATE), 0)
        self._gap, self._end, self._called = False, now, now
        voice = self._converter.convert(data or b"")
        if len(voice):
            peak = 20 * np.log10(max(float(np.abs(voice).max()), 1e-6))
            self.level_db = max(peak, self.level_db - 10 * FALL_DB * len(voice) / VOICE_RATE)
            self._hear(self._position, voice)
            self._position += len(voice)
        return None, 0  # paContinue
