from pathlib import Path

import av
import numpy as np
import pytest

from engine.clock import VOICE_RATE
from visavis.sound import SoundError, probe, read_voice


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int, layout: str = "mono", codec: str = "pcm_f32le") -> Path:
    """``samples`` (channels, n) as a sound file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        interleaved = np.ascontiguousarray(samples.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(interleaved, "flt", layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path, max_seconds: float = 60.0) -> np.ndarray:
    return np.concatenate(list(read_voice(path, max_seconds=max_seconds)))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_any_rate_and_layout_becomes_48_khz_mono(tmp_path: Path, rate: int, layout: str) -> None:
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    path = write(tmp_path / "a.wav", np.tile(tone(0.5, rate), (channels, 1)), rate, layout)
    voice = read(path)
    assert voice.ndim == 1 and abs(len(voice) - VOICE_RATE / 2) < 200
    spectrum = np.abs(np.fft.rfft(voice[4800:19200]))
    assert abs(spectrum.argmax() * VOICE_RATE / 14400 - 440) < 7


def test_nan_and_infinity_become_silence(tmp_path: Path) -> None:
    samples = tone(0.3, 16_000)
    samples[1000:1010], samples[2000] = np.nan, np.inf
    voice = read(write(tmp_path / "a.wav", samples[None], 16_000))
    assert np.isfinite(voice).all() and np.abs(voice).max() < 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"this is a letter, not a voice\n" * 40, "not a sound file"), (None, "no such file")],
)
def test_a_file_that_is_not_sound_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "voice.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SoundError, match=message) as caught:
        read(path)
    assert "voice.wav" in str(caught.value)


def test_a_sound_file_without_samples_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.1, 16_000)[None], 16_000)
    path.write_bytes(path.read_bytes()[:78])
    with pytest.raises(SoundError, match="0 samples|not a sound file|breaks off"):
        read(path)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(SoundError, match="no sound track"):
        read(path)


def test_ten_hours_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"  # a wav header that claims ten hours of 8 kHz 8-bit sound, sparse on disk
    n = 10 * 3600 * 8000
    header = b"RIFF" + (n + 36).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += (1).to_bytes(2, "little") * 2 + (8000).to_bytes(4, "little") * 2
    header += (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + b"data" + n.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(n + 44)
    assert probe(path).seconds == pytest.approx(36_000)
    with pytest.raises(SoundError, match="600 minutes"):
        read(path, max_seconds=3600)


class Pipe:
    """A file that cannot seek back to write its length into the header."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        return self._file.write(data)


def test_a_file_that_does_not_say_its_length_is_stopped_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with av.open(Pipe(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone(3.0, 48_000) * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert probe(path).seconds is None
    with pytest.raises(SoundError, match="the limit is"):
        read(path, max_seconds=1.0)
