"""Any sound file PyAV reads -> mono 48 kHz float32, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from engine.clock import VOICE_RATE

Samples = NDArray[np.float32]


class SoundError(ValueError):
    """A file that cannot be used as a voice; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """What a sound file says about itself. ``seconds`` is None when the container does not tell."""

    codec: str
    rate: int
    channels: int
    seconds: float | None


def has_sound(path: Path) -> bool:
    """Whether there is a sound track in a file that PyAV can read."""
    with av.open(str(path)) as container:
        return bool(container.streams.audio)


def probe(path: Path) -> SoundInfo:
    """Looks into ``path`` without decoding it. Raises SoundError when there is no sound in it."""
    with _open(path) as container:
        stream = container.streams.audio[0]
        ticks, base = stream.duration, stream.time_base
        length = float(ticks * base) if ticks and base else None
        if length is None and container.duration:
            length = container.duration / 1e6
        return SoundInfo(stream.codec_context.name, stream.rate, stream.channels, length)


def read_voice(path: Path, *, max_seconds: float) -> Iterator[Samples]:
    """Yields mono 48 kHz float32 pieces of ``path``; NaN and infinity become silence.

    Any rate and channel layout is converted by libswresample. Raises SoundError for a file without sound, an empty
    one, one longer than ``max_seconds``, or one that breaks off inside.
    """
    info = probe(path)
    if info.seconds is not None and info.seconds > max_seconds:
        raise _too_long(path, info.seconds, max_seconds)
    total, limit = 0, int(max_seconds * VOICE_RATE)
    with _open(path) as container:
        resampler = AudioResampler(format="flt", layout="mono", rate=VOICE_RATE)
        try:
            for frame in container.decode(audio=0):
                frame.pts = None  # gaps in a file's stamps are not silence that anybody spoke
                for out in resampler.resample(_finite(frame)):
                    total += out.samples
                    if total > limit:
                        raise _too_long(path, total / VOICE_RATE, max_seconds)
                    yield out.to_ndarray()[0]
            for out in resampler.resample(None):
                total += out.samples
                yield out.to_ndarray()[0]
        except av.FFmpegError as error:
            raise SoundError(
                f"{path}: the sound breaks off after {total / VOICE_RATE:.1f} s ({error.strerror})"
            ) from error
    if total == 0:
        raise SoundError(f"{path}: there is no sound in it (0 samples); record it again or choose another file")


def _finite(frame: av.AudioFrame) -> av.AudioFrame:
    """The same frame with NaN and infinity as silence: a resampler would smear one bad sample over many."""
    if not frame.format.name.startswith(("flt", "dbl")):
        return frame
    samples = frame.to_ndarray().astype(np.float32, copy=False)
    if np.isfinite(samples).all():
        return frame
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    planar = "fltp" if frame.format.is_planar else "flt"
    clean = av.AudioFrame.from_ndarray(finite, planar, frame.layout.name)
    clean.sample_rate = frame.sample_rate
    return clean


def _open(path: Path) -> av.container.InputContainer:
    if not path.is_file():
        raise SoundError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise SoundError(f"{path}: the file is empty (0 bytes)")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise SoundError(
            f"{path}: not a sound file ({error}); give wav, mp3, flac, ogg, m4a or a video with sound"
        ) from error
    if not container.streams.audio:
        container.close()
        raise SoundError(f"{path}: there is no sound track in it; give a file with a voice")
    if container.streams.audio[0].codec_context is None:
        container.close()
        raise SoundError(
            f"{path}: its sound is coded in a way that is not known here; save it as wav, mp3, flac or ogg"
        )
    return container


def _too_long(path: Path, seconds: float, limit: float) -> SoundError:
    return SoundError(
        f"{path}: {seconds / 60:.0f} minutes of sound, the limit is {limit / 60:.0f}; cut it, or raise --max-minutes"
    )
