"""Sounds that voices are scored in and mouths are tried with: noise at a given level, a telephone's band, and sounds
that are nobody speaking."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from engine.clock import SAMPLE_RATE

Array = NDArray[np.float32]

STILL_SECONDS: Final = 10


def pink(size: int, rng: np.random.Generator) -> Array:
    """Noise (size,) of unit power, 3 dB less an octave."""
    spectrum = np.fft.rfft(rng.normal(size=size)) / np.sqrt(np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 20.0))
    noise = np.fft.irfft(spectrum, size)
    return np.asarray(noise / max(float(noise.std()), 1e-9), np.float32)


def in_noise(name: str, pcm: Array, db: float) -> Array:
    """pcm (samples,) with pink noise ``db`` below its mean power; the noise is always the same for a ``name``."""
    noise = pink(pcm.size, np.random.default_rng(zlib.crc32(name.encode())))
    return _scaled(pcm + noise * np.float32(_rms(pcm) * 10 ** (-db / 20)))


def in_babble(pcm: Array, others: list[Array], db: float) -> Array:
    """pcm (samples,) with ``others`` talking at once, together ``db`` below it; they are repeated to its length."""
    crowd = sum((np.resize(o / np.float32(_rms(o)), pcm.size) for o in others), np.zeros(pcm.size, np.float32))
    return _scaled(pcm + crowd * np.float32(_rms(pcm) * 10 ** (-db / 20) / _rms(crowd)))


def at_8khz(pcm: Array) -> Array:
    """pcm (samples,) as it comes from a line sampled at 8 kHz: nothing above 4 kHz."""
    narrow = resample_poly(pcm, 1, 2)
    return np.asarray(resample_poly(narrow, 2, 1)[: pcm.size], np.float32)


def _rms(pcm: Array) -> float:
    return max(float(np.sqrt((pcm.astype(np.float64) ** 2).mean())), 1e-6)


def _scaled(pcm: Array) -> Array:
    """``pcm``, softer where it would clip."""
    return (pcm / np.float32(max(1.0, float(np.abs(pcm).max()) / 0.99))).astype(np.float32)


def still_sounds() -> dict[str, Array]:
    """Sounds a mouth must not answer: digital silence, room noise at -50 and -30 dBFS, and a held chord."""
    size = STILL_SECONDS * SAMPLE_RATE
    noise = np.random.default_rng(0).normal(size=size)
    seconds = np.arange(size) / SAMPLE_RATE
    chord = np.sin(2 * np.pi * np.array([[220.0], [277.18], [329.63], [440.0]]) * seconds).mean(0)
    return {
        "silence": np.zeros(size, np.float32),
        "noise_50db": (noise * 10 ** (-50 / 20)).astype(np.float32),
        "noise_30db": (noise * 10 ** (-30 / 20)).astype(np.float32),
        "chord_20db": (chord * 10 ** (-20 / 20)).astype(np.float32),
    }
