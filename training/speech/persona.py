"""Another speaker from the same recording: WORLD (Morise et al. 2016; pyworld, MIT) moves pitch, formants, breath and
tempo apart from each other, before the recording is aligned.
"""

from __future__ import annotations

import hashlib
import random
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import SAMPLE_RATE
from training.speech.tools import MissingPackage

Array = NDArray[np.float32]
FRAME_MS: Final = 5.0
PITCH_HZ: Final = (75.0, 290.0)  # where a persona's median pitch may lie


@dataclass(frozen=True, slots=True)
class Persona:
    """How a speaker differs from the voice it is made of; all factors are 1 for the voice itself."""

    name: str
    pitch: float  # median F0, factor
    melody: float  # pitch range about the median, factor (in octaves)
    formants: float  # frequencies of the spectral envelope, factor: above 1 a shorter vocal tract
    tempo: float  # factor on speed
    breath: float  # 0-1: share of the harmonics turned to noise, more of it high up
    jitter: float  # standard deviation of F0 from one 5 ms frame to the next, in octaves


def personas(voice: str, count: int) -> list[Persona]:
    """``count`` speakers made of ``voice``: the same ones whenever it is asked."""
    out = []
    first = hashlib.sha256(voice.encode()).digest()[0]
    for index in range(count):
        rng = random.Random(hashlib.sha256(f"{voice}/{index}".encode()).hexdigest())
        up = (index + first) % 2 == 0
        pitch = 2 ** (rng.uniform(0.15, 0.7) if up else rng.uniform(-0.65, -0.15))
        # Higher voices mostly sit on shorter tracts: formants follow pitch loosely, as between people.
        formants = min(1.22, max(0.82, 2 ** (0.28 * np.log2(pitch) + rng.uniform(-0.12, 0.12))))
        out.append(Persona("abcdefgh"[index], pitch, rng.uniform(0.6, 1.4), float(formants), rng.uniform(0.85, 1.2),
                           rng.uniform(0.0, 0.5) if rng.random() < 0.5 else 0.0,
                           rng.uniform(0.0, 0.02)))  # fmt: skip
    return out


def world() -> Any:
    """pyworld, or MissingPackage with what to install."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks setuptools for its own version
            import pyworld
    except ImportError as error:
        raise MissingPackage(f"pitch needs pyworld ({error}): pip install pyworld 'setuptools<81'") from error
    return pyworld


def pitch(x: NDArray[Any], frame_ms: float) -> NDArray[np.float64]:
    """F0 in Hz every ``frame_ms`` of ``x`` (samples,) at 16 kHz, 0 where there is none (DIO and StoneMask)."""
    pw, wave = world(), np.ascontiguousarray(x, np.float64)
    coarse, times = pw.dio(wave, SAMPLE_RATE, f0_floor=60.0, f0_ceil=500.0, frame_period=frame_ms)
    return np.asarray(pw.stonemask(wave, coarse, times, SAMPLE_RATE))


def convert(x: NDArray[Any], persona: Persona, rng: np.random.Generator) -> Array:
    """``x`` (samples,) at 16 kHz in [-1, 1] as ``persona`` says it; as long as its tempo makes it."""
    pw, wave = world(), np.ascontiguousarray(x, np.float64)
    coarse, times = pw.dio(wave, SAMPLE_RATE, f0_floor=60.0, f0_ceil=500.0, frame_period=FRAME_MS)
    f0 = pw.stonemask(wave, coarse, times, SAMPLE_RATE)
    envelope = _warped(pw.cheaptrick(wave, f0, times, SAMPLE_RATE), persona.formants)
    noise = _warped(pw.d4c(wave, f0, times, SAMPLE_RATE), persona.formants)
    high = np.linspace(0.2, 1.0, noise.shape[1])
    noise = np.clip(1 - (1 - noise) * (1 - persona.breath * high), 0.0, 1.0)
    spoken = pw.synthesize(_melody(f0, persona, rng), envelope, noise, SAMPLE_RATE, FRAME_MS / persona.tempo)
    return np.asarray(spoken, np.float32)


def _warped(spectra: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Spectra (T, C) with every frequency moved to ``factor`` times its place."""
    bins = spectra.shape[1]
    place = np.minimum(np.arange(bins) / factor, bins - 1.001)
    low = place.astype(np.int64)
    part = place - low
    log = np.log(np.maximum(spectra, 1e-16))
    return np.ascontiguousarray(np.exp(log[:, low] * (1 - part) + log[:, low + 1] * part))


def _melody(f0: NDArray[np.float64], persona: Persona, rng: np.random.Generator) -> NDArray[np.float64]:
    voiced = f0 > 0
    if not voiced.any():
        return f0
    octaves = np.log2(np.where(voiced, f0, 1.0))
    middle = float(np.median(octaves[voiced]))
    target = np.clip(middle + np.log2(persona.pitch), *np.log2(PITCH_HZ))
    moved = 2 ** (target + persona.melody * (octaves - middle) + persona.jitter * rng.normal(size=f0.size))
    return np.ascontiguousarray(np.where(voiced, np.clip(moved, 50.0, 480.0), 0.0))
