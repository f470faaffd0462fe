"""Consonants as people say them: a DH as a stop, a V without friction, both easily taken for closed lips.

Synthesizers hiss every "the"; people mostly stop it with the tongue at the teeth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from engine.clock import HOP, SAMPLE_RATE
from training.speech.phones import PHONES, Span

Array = NDArray[np.float32]

STOPPED_SHARE: Final = 0.5  # of the DH become stops
SOFT_SHARE: Final = 0.35  # of the V lose their friction
MARGIN: Final = 2 * HOP  # heard by the filters on either side
RAMP: Final = SAMPLE_RATE // 250  # 4 ms
FLOOR: Final = 3.3  # of 32768: the corpus is dithered so (training.speech.corpus)
_DH, _V = PHONES.index("DH"), PHONES.index("V")


def casual(pcm: Array, spans: Sequence[Span], rng: np.random.Generator) -> Array:
    """A copy of ``pcm`` (samples,), int16's range, in which some DH are stopped and some V softened; times are kept."""
    out = pcm.copy()
    for start, stop, phone in spans:
        if phone == _DH and rng.random() < STOPPED_SHARE:
            _stop(out, start * HOP, min(stop * HOP, out.size), rng)
        elif phone == _V and rng.random() < SOFT_SHARE:
            _muffle(out, start * HOP, min(stop * HOP, out.size), rng.uniform(900, 2500), rng.uniform(0.5, 1.2), rng)
    return out


def _stop(out: Array, start: int, stop: int, rng: np.random.Generator) -> None:
    """What is left of the sound behind a shut tongue is the voice's low end; then a weak burst lets go of it."""
    release = stop - int(SAMPLE_RATE * rng.uniform(0.0, 0.015))
    _muffle(out, start, release, rng.uniform(250, 600), 10 ** rng.uniform(-1.0, 0.1), rng)
    size = min(SAMPLE_RATE // 50, out.size - release)
    if release <= start or size <= 0:
        return
    vowel = out[release : release + 4 * HOP]
    level = float(np.sqrt((vowel**2).mean())) * 10 ** (-rng.uniform(8, 28) / 20)
    burst = rng.normal(size=size) * np.exp(-np.arange(size) / (SAMPLE_RATE * rng.uniform(0.001, 0.004)))
    out[release : release + size] += (level * burst).astype(np.float32)


def _muffle(out: Array, start: int, stop: int, cut_hz: float, level: float, rng: np.random.Generator) -> None:
    """Leaves of samples ``start`` to ``stop`` what lies below ``cut_hz``, times ``level``, and a trace of the rest over
    a floor (stops of the corpus are not silent either), in place."""
    if stop - start < 2 * RAMP:
        return
    low, high = max(0, start - MARGIN), min(out.size, stop + MARGIN)
    dull = sosfiltfilt(butter(2, cut_hz, fs=SAMPLE_RATE, output="sos"), out[low:high])[start - low : stop - low]
    muffled = level * dull + rng.uniform(0.01, 0.1) * out[start:stop] + rng.normal(0.0, FLOOR, stop - start)
    edge = np.sin(np.linspace(0, np.pi / 2, RAMP)) ** 2
    share = np.ones(stop - start)
    share[:RAMP], share[-RAMP:] = edge, edge[::-1]
    out[start:stop] += (share * (muffled - out[start:stop])).astype(np.float32)
