"""Voice activity: Silero VAD v6 (MIT) as ONNX, streaming, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.backends import ort
from engine.clock import SAMPLE_RATE

Array = NDArray[np.float32]

MODEL: Final = Path(__file__).parent.parent / "assets" / "silero_vad_16k.onnx"
CHUNK: Final = 512  # samples: 32 ms, the one size the network takes at 16 kHz
CONTEXT: Final = 64  # samples of the previous chunk that it wants in front


@dataclass(slots=True)
class VadState:
    """What the network remembers: (B, 64) samples, (2, B, 128) hidden, and (B, <512) samples not yet heard."""

    context: Array
    hidden: Array
    pending: Array

    def reset(self, mask: NDArray[np.bool_]) -> None:
        """Forgets the rows of the batch where ``mask`` (B,) is true."""
        self.context[mask] = 0.0
        self.hidden[:, mask] = 0.0
        self.pending[mask] = 0.0


class Vad:
    """Speech probability for every 32 ms of sound. Source: github.com/snakers4/silero-vad, v6, opset 15."""

    def __init__(self, path: Path = MODEL, batch: int = 1) -> None:
        fixed = {
            "input": (batch, CONTEXT + CHUNK),
            "state": (2, batch, 128),
            "sr": (),
            "output": (batch, 1),
            "stateN": (2, batch, 128),
        }
        self._program = ort.load(path, [batch], fixed, {"batch": batch, "sequence": CONTEXT + CHUNK})
        self._batch = batch
        self._program.inputs(batch)["sr"][...] = SAMPLE_RATE

    def initial_state(self) -> VadState:
        """State before the first sample."""
        shape = self._batch
        return VadState(
            np.zeros((shape, CONTEXT), np.float32),
            np.zeros((2, shape, 128), np.float32),
            np.zeros((shape, 0), np.float32),
        )

    def step(self, samples: Array, state: VadState) -> tuple[Array, VadState]:
        """(B, n) samples at 16 kHz, any n -> (B, m) speech probabilities, one a completed 32 ms chunk."""
        if samples.ndim != 2 or samples.shape[0] != self._batch:
            raise ValueError(f"the VAD takes ({self._batch}, n) samples, got {samples.shape}")
        line = np.concatenate([state.pending, samples], axis=1)
        count = line.shape[1] // CHUNK
        probabilities = np.empty((self._batch, count), np.float32)
        buffers = self._program.inputs(self._batch)
        for i in range(count):
            chunk = line[:, i * CHUNK : (i + 1) * CHUNK]
            buffers["input"][:, :CONTEXT] = state.context
            buffers["input"][:, CONTEXT:] = chunk
            buffers["state"][...] = state.hidden
            outputs = self._program.run(self._batch)
            probabilities[:, i] = outputs["output"][:, 0]
            state.hidden = outputs["stateN"].copy()
            state.context = chunk[:, -CONTEXT:].copy()
        state.pending = line[:, count * CHUNK :].copy()
        return probabilities, state
