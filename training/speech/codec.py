"""What telephones and calls do to a voice: real encoders and decoders (PyAV), with their delay taken out again."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Final, NamedTuple

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray
from scipy.signal import fftconvolve, resample_poly

from engine.clock import SAMPLE_RATE

Array = NDArray[np.float32]
MAX_DELAY_S: Final = 0.06


class Codec(NamedTuple):
    """One way to carry speech: PyAV's encoder and decoder, its sample rate, bit rates to draw from (bits/s)."""

    encoder: str
    decoder: str
    rate: int
    bit_rates: tuple[int, ...]


CODECS: Final = {
    "opus": Codec("libopus", "libopus", 16_000, (6_000, 8_000, 12_000, 16_000, 24_000)),
    "g722": Codec("g722", "g722", 16_000, (64_000,)),
    "mulaw": Codec("pcm_mulaw", "pcm_mulaw", 8_000, (64_000,)),
    "amr": Codec("libopencore_amrnb", "amrnb", 8_000, (4_750, 5_900, 7_400, 12_200)),
}


@cache
def available() -> list[str]:
    """Names of the codecs this build of PyAV has both ends of."""
    return [name for name, codec in CODECS.items() if _has(codec.encoder, "w") and _has(codec.decoder, "r")]


def _has(name: str, mode: str) -> bool:
    try:
        av.Codec(name, mode)  # type: ignore[arg-type]
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def transmitted(x: Array, name: str, bit_rate: int) -> Array:
    """``x`` (samples,) at 16 kHz in [-1, 1] after one of CODECS: as long, and not later. Raises ValueError for an
    unknown codec."""
    if name not in CODECS:
        raise ValueError(f"unknown codec {name!r}; known: {', '.join(CODECS)}")
    if not x.size:
        return x
    codec = CODECS[name]
    sent = x if codec.rate == SAMPLE_RATE else resample_poly(x, codec.rate, SAMPLE_RATE)
    got = _carried(np.concatenate([sent, np.zeros(int(MAX_DELAY_S * 2 * codec.rate))]), codec, bit_rate)
    back = got if codec.rate == SAMPLE_RATE else resample_poly(got, SAMPLE_RATE, codec.rate)
    late = _delay(x, back)
    return np.pad(back[late : late + x.size], (0, max(0, x.size + late - back.size))).astype(np.float32)


def _carried(x: NDArray[np.float64], codec: Codec, bit_rate: int) -> NDArray[np.float64]:
    encoder = _context(codec.encoder, "w", codec.rate, bit_rate)
    encoder.open()
    decoder = _context(codec.decoder, "r", codec.rate, bit_rate)
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    size = encoder.frame_size or codec.rate // 50
    pcm = (np.clip(x, -1, 1) * 32767).astype(np.int16)
    pcm = np.pad(pcm, (0, -pcm.size % size))
    parts: list[NDArray[np.float64]] = []
    for at in range(0, pcm.size + size, size):
        frame = None
        if at < pcm.size:
            frame = av.AudioFrame.from_ndarray(pcm[None, at : at + size], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = codec.rate, at, Fraction(1, codec.rate)
            if encoder.format.name != "s16":
                frame = av.AudioResampler(encoder.format, "mono", codec.rate).resample(frame)[0]
        for packet in encoder.encode(frame):
            for heard in decoder.decode(packet):
                parts.append(_mono(heard, codec.rate))
    return np.concatenate(parts) if parts else np.zeros(0)


def _context(name: str, mode: str, rate: int, bit_rate: int) -> AudioCodecContext:
    context = av.CodecContext.create(av.Codec(name, mode))  # type: ignore[arg-type]
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout = rate, "mono"
    context.bit_rate = bit_rate
    if mode == "w":
        context.time_base = Fraction(1, rate)
        assert context.codec.audio_formats
        context.format = context.codec.audio_formats[0]
        if name == "libopus":
            context.options = {"application": "voip"}
    return context


def _mono(frame: av.AudioFrame, rate: int) -> NDArray[np.float64]:
    data = frame.to_ndarray().astype(np.float64)
    data = data.reshape(-1) if frame.layout.nb_channels == 1 else data.mean(0)
    if frame.format.name.startswith("s16"):
        data /= 32768.0
    return data if frame.sample_rate == rate else np.asarray(resample_poly(data, rate, frame.sample_rate))


def _delay(x: Array, y: NDArray[np.float64]) -> int:
    """By how many samples ``y`` is later than ``x``: where they agree best."""
    limit = int(MAX_DELAY_S * SAMPLE_RATE)
    size = min(x.size, y.size, 10 * SAMPLE_RATE)
    agreement = fftconvolve(y[:size], x[:size][::-1])[size - 1 : size - 1 + limit]
    return int(np.abs(agreement).argmax()) if agreement.size else 0
