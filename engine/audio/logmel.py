"""Streaming log-mel spectrogram: 80 bins at 100 Hz, causal, one 40 ms block at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME, HOP, HOPS_PER_FRAME, SAMPLE_RATE

Array = NDArray[np.float32]

BINS: Final = 80
WINDOW: Final = 400  # samples: 25 ms
FFT: Final = 512
LOW_HZ, HIGH_HZ = 40.0, 7600.0
FLOOR: Final = 1e-7  # power floor, about -70 dBFS of white noise: the hush inside a closure is heard


@dataclass(slots=True)
class LogMelState:
    """The last WINDOW - HOP samples of each row, (B, 240)."""

    tail: Array

    def reset(self, mask: NDArray[np.bool_]) -> None:
        """Forgets the rows of the batch where ``mask`` (B,) is true."""
        self.tail[mask] = 0.0


class LogMel:
    """Log-mel filterbank energies, causal: hop t sees samples up to 160 (t + 1) and none after.

    Periodic Hann window of 25 ms, 512-point FFT, power, triangular Slaney-mel filters 40-7600 Hz
    (Slaney, Auditory Toolbox, 1998; area-normalised), log10(max(power, 1e-7)) scaled by (x + 3) / 2
    so that speech falls in about [-1, 1.5] and silence is -2.
    """

    def __init__(self) -> None:
        hann = np.hanning(WINDOW + 1)[:WINDOW]
        self._window: Array = hann.astype(np.float32)
        self._filters: Array = mel_filters()  # (FFT / 2 + 1, BINS)
        self._hops = np.arange(HOPS_PER_FRAME)[:, None] * HOP + np.arange(WINDOW)  # samples that each hop sees

    @staticmethod
    def initial_state(batch: int = 1) -> LogMelState:
        """State before the first sample: silence."""
        return LogMelState(np.zeros((batch, WINDOW - HOP), np.float32))

    def step(self, samples: Array, state: LogMelState) -> tuple[Array, LogMelState]:
        """(B, 640 n) samples in [-1, 1] -> (B, 4 n, 80) log-mel. Raises ValueError for another length."""
        if samples.ndim != 2 or samples.shape[1] % FRAME:
            raise ValueError(f"log-mel takes (B, n * {FRAME}) samples, got {samples.shape}")
        if samples.shape[1] == FRAME:
            return self._block(samples, state), state
        blocks = [self._block(samples[:, i : i + FRAME], state) for i in range(0, samples.shape[1], FRAME)]
        return np.concatenate([np.zeros((samples.shape[0], 0, BINS), np.float32), *blocks], axis=1), state

    def _block(self, samples: Array, state: LogMelState) -> Array:
        # Always one video frame, and products a row: the same shapes, hence the same bits, for any batch and chunking.
        context = np.concatenate([state.tail, samples], axis=1)
        state.tail = context[:, -(WINDOW - HOP) :].copy()
        spectrum = np.fft.rfft(context[:, self._hops] * self._window, FFT).astype(np.complex64, copy=False)
        squares: Array = spectrum.real**2 + spectrum.imag**2
        power: Array = squares @ self._filters
        np.log10(np.maximum(power, FLOOR, out=power), out=power)
        power += np.float32(3.0)
        power *= np.float32(0.5)
        return power


def mel_filters() -> Array:
    """Triangular filters with Slaney's mel scale and area normalisation, (FFT / 2 + 1, BINS) float32."""
    edges = _mel_to_hz(np.linspace(_hz_to_mel(LOW_HZ), _hz_to_mel(HIGH_HZ), BINS + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return filters.astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return hz / (200.0 / 3) if hz < 1000.0 else 15.0 + 27.0 * float(np.log(hz / 1000.0) / np.log(6.4))


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15.0, mel * (200.0 / 3), 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))
