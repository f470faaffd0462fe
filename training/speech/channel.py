"""What lies between a mouth and our log-mel: rooms, microphones, codecs, noise; and sounds that are not speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

from engine.clock import SAMPLE_RATE
from training.speech.codec import CODECS, available, transmitted

Array = NDArray[np.float32]


def noise(size: int, rng: np.random.Generator) -> Array:
    """Noise (size,) of unit power with a random spectral slope (white to brown) and slow level changes."""
    spectrum = np.fft.rfft(rng.normal(size=size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 20.0)
    slope = rng.uniform(0.0, 1.0) if rng.random() < 0.7 else 0.0
    coloured = np.fft.irfft(spectrum * frequency**-slope, size)
    if rng.random() < 0.4:
        knots = 10 ** rng.uniform(-0.4, 0.4, max(2, size // SAMPLE_RATE * 2))
        coloured *= np.interp(np.linspace(0, 1, size), np.linspace(0, 1, knots.size), knots)
    return (coloured / max(float(coloured.std()), 1e-9)).astype(np.float32)


def reverb(x: Array, rng: np.random.Generator) -> Array:
    """``x`` (samples,) in a small room: an exponentially decaying noise tail of 0.1-0.5 s (Moorer 1979)."""
    length = int(SAMPLE_RATE * rng.uniform(0.1, 0.5))
    tail = rng.normal(size=length) * np.exp(-np.arange(length) / (length / 6.9))
    tail[: int(0.002 * SAMPLE_RATE)] = 0.0
    tail *= rng.uniform(0.1, 0.6) / np.sqrt((tail**2).sum())
    return np.asarray(x + fftconvolve(x, tail)[: x.size], np.float32)


def equalizer(x: Array, rng: np.random.Generator) -> Array:
    """A random gentle tilt and, at times, the band of a telephone or a cheap microphone."""
    tilt = rng.uniform(-0.5, 0.5)
    x = np.append(x[:1], x[1:] - tilt * x[:-1])
    if rng.random() < 0.25:
        high = rng.uniform(3400, 7000)
        x = sosfilt(butter(4, [rng.uniform(60, 300), high], "bandpass", fs=SAMPLE_RATE, output="sos"), x)
    return np.asarray(x, np.float32)


def channel(x: Array, rng: np.random.Generator) -> Array:
    """A random channel on ``x`` (samples,): room, equalizer, noise (half of it loud), codec, level. Times are kept."""
    if rng.random() < 0.4:
        x = reverb(x, rng)
    if rng.random() < 0.6:
        x = equalizer(x, rng)
    power = float(np.sqrt((x**2).mean())) + 1e-5
    if rng.random() < 0.75:
        below = rng.uniform(3, 15) if rng.random() < 0.5 else rng.uniform(15, 40)
        x = x + noise(x.size, rng) * np.float32(power * 10 ** (-below / 20))
    if rng.random() < 0.35 and available():
        name = str(rng.choice(available()))
        x = x * np.float32(0.5 / (float(np.abs(x).max()) + 1e-6))
        x = transmitted(x, name, int(rng.choice(CODECS[name].bit_rates)))
    peak = float(np.abs(x).max()) + 1e-6
    return (x * np.float32(10 ** rng.uniform(-1.2, -0.05) / peak)).astype(np.float32)


def nonspeech(size: int, rng: np.random.Generator) -> Array:
    """Sound (size,) that must leave a mouth still: silence, noise, hum, chords and beats, clicks."""
    out = np.zeros(size, np.float32)
    if rng.random() < 0.15:
        return out
    kinds = rng.random(4) < (0.7, 0.3, 0.4, 0.3)
    time = np.arange(size) / SAMPLE_RATE
    if kinds[0]:
        out += noise(size, rng) * np.float32(10 ** rng.uniform(-3.5, -0.9))
    if kinds[1]:
        base = rng.choice([50.0, 60.0, rng.uniform(80, 400)])
        hum = sum(np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6.3)) / k for k in range(1, 5))
        out += (hum * 10 ** rng.uniform(-3.0, -1.0)).astype(np.float32)
    if kinds[2]:
        out += _music(size, rng)
    if kinds[3]:
        for at in rng.integers(0, max(1, size - 2000), int(rng.integers(1, 12))):
            burst = rng.normal(size=2000) * np.exp(-np.arange(2000) / rng.uniform(20, 500))
            out[at : at + 2000] += (burst * 10 ** rng.uniform(-2.0, -0.5)).astype(np.float32)[: size - at]
    return np.clip(out, -1, 1)


def _music(size: int, rng: np.random.Generator) -> Array:
    """Plucked or held chords of three to five harmonic tones, changing every 0.2-1 s."""
    out = np.zeros(size, np.float32)
    at, level = 0, 10 ** rng.uniform(-2.2, -0.9)
    while at < size:
        length = min(int(SAMPLE_RATE * rng.uniform(0.2, 1.0)), size - at)
        time = np.arange(length) / SAMPLE_RATE
        decay = np.exp(-time * rng.uniform(0.0, 6.0)) * np.minimum(1.0, time / 0.01)
        for semitone in rng.integers(-12, 25, int(rng.integers(3, 6))):
            pitch = 220.0 * 2 ** (semitone / 12)
            partials = sum(np.sin(2 * np.pi * pitch * k * time) / k**1.5 for k in range(1, 6) if pitch * k < 7800)
            out[at : at + length] += (level / 4 * decay * partials).astype(np.float32)
        at += length
    return out


def mel_warp(mel: Array, factor: float) -> Array:
    """Another vocal tract length: the bins of log-mel (T, C) read at ``factor`` times their place
    (vocal tract length perturbation, Jaitly & Hinton 2013, on the mel axis)."""
    bins = mel.shape[1]
    place = np.clip(np.arange(bins) * factor, 0, bins - 1)
    low = np.minimum(place.astype(np.int64), bins - 2)
    part = (place - low).astype(np.float32)
    return np.asarray(mel[:, low] * (1 - part) + mel[:, low + 1] * part, np.float32)
