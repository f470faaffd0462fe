"""Gate: a voice that is let through untouched or cut, with a fade of 10 ms between the two."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_RATE

Array = NDArray[np.float32]

FADE: Final = VOICE_RATE // 100  # samples of 48 kHz


def gate(voice: Array, was_open: bool, is_open: bool) -> Array:
    """The voice (n,) as it came in while open, silence while shut; a change fades from the piece's first sample on."""
    if was_open and is_open:
        return voice
    if was_open == is_open:
        return np.zeros_like(voice)
    rising: Array = np.minimum(np.arange(len(voice)) / FADE, 1.0).astype(np.float32)
    return voice * (rising if is_open else np.float32(1.0) - rising)
