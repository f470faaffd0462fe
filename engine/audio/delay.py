"""Delay line: the voice that goes out is the voice that came in, later by exactly the pipeline's lookahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(slots=True)
class DelayState:
    """The samples still inside the line, (B, delay), oldest first."""

    held: Array

    def reset(self, mask: NDArray[np.bool_]) -> None:
        """Silences the rows of the batch where ``mask`` (B,) is true."""
        self.held[mask] = 0.0


class DelayLine:
    """y[t] = x[t - delay], sample for sample, nothing filtered."""

    def __init__(self, delay: int) -> None:
        if delay < 0:
            raise ValueError(f"a delay is zero samples or more, got {delay}")
        self.delay = delay

    def initial_state(self, batch: int = 1) -> DelayState:
        """A line full of silence."""
        return DelayState(np.zeros((batch, self.delay), np.float32))

    def step(self, samples: Array, state: DelayState) -> tuple[Array, DelayState]:
        """(B, n) -> (B, n), for any n."""
        line = np.concatenate([state.held, samples], axis=1)
        n = samples.shape[1]
        state.held = line[:, n:].copy()
        return line[:, :n], state
