"""48 kHz voice to the 16 kHz the engine listens at: a causal linear-phase FIR decimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_RATE, VOICE_RATIO

Array = NDArray[np.float32]

TAPS: Final = 97  # group delay (TAPS - 1) / 2 = 48 samples = 1 ms
CUTOFF_HZ: Final = 7400.0
BLOCK: Final = 480  # 10 ms: every product has the same shape, hence the same bits for any chunking
STRIDE: Final = 48  # samples between the windows of one product
SPAN: Final = (TAPS - 1) // STRIDE + 1  # strides a window is long
assert SPAN * STRIDE == TAPS - 1 + STRIDE


@dataclass(slots=True)
class DecimatorState:
    """The last TAPS - 1 input samples of each row, (B, 96)."""

    tail: Array

    def reset(self, mask: NDArray[np.bool_]) -> None:
        """Forgets the rows of the batch where ``mask`` (B,) is true."""
        self.tail[mask] = 0.0


class Decimator:
    """Windowed-sinc low pass (Kaiser, beta 8: stop band below -80 dB from 9.1 kHz), then every third sample."""

    def __init__(self) -> None:
        time = np.arange(TAPS) - (TAPS - 1) / 2
        sinc = np.sinc(2 * CUTOFF_HZ / VOICE_RATE * time) * np.kaiser(TAPS, 8.0)
        taps = (sinc / sinc.sum()).astype(np.float32)
        # Column j of the matrix holds the taps of output j of STRIDE / 3, which ends on its third sample.
        self._matrix: Array = np.zeros((TAPS - 1 + STRIDE, STRIDE // VOICE_RATIO), np.float32)
        for j, column in enumerate(self._matrix.T):
            first = VOICE_RATIO * j + VOICE_RATIO - 1
            column[first : first + TAPS] = taps

    @staticmethod
    def initial_state(batch: int = 1) -> DecimatorState:
        """State before the first sample: silence."""
        return DecimatorState(np.zeros((batch, TAPS - 1), np.float32))

    def step(self, voice: Array, state: DecimatorState) -> tuple[Array, DecimatorState]:
        """(B, 480 n) at 48 kHz -> (B, 160 n) at 16 kHz. Raises ValueError for another length."""
        if voice.ndim != 2 or voice.shape[1] % BLOCK:
            raise ValueError(f"the decimator takes (B, n * {BLOCK}) samples, got {voice.shape}")
        batch, length = voice.shape
        line = np.concatenate([state.tail, voice], axis=1)
        state.tail = line[:, -(TAPS - 1) :].copy()
        # Rows of TAPS - 1 + STRIDE samples, STRIDE apart: three pieces of STRIDE in a row.
        pieces, rows = line.reshape(batch, -1, STRIDE), length // STRIDE
        windows = np.concatenate([pieces[:, i : i + rows] for i in range(SPAN)], axis=2)
        blocks = windows.reshape(batch, length // BLOCK, BLOCK // STRIDE, SPAN * STRIDE) @ self._matrix
        return blocks.reshape(batch, length // VOICE_RATIO), state
