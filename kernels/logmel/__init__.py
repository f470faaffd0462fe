"""Streaming log-mel spectrogram and the decimator before it, one video frame of a voice at a time.

``reference`` says what is computed, ``kernel.cu`` computes it. Window, filters and taps are arguments.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
WINDOW: Final = 400  # samples at 16 kHz; as in kernel.cu
FFT: Final = 512


def tables(window: Array, filters: Array) -> dict[str, Array]:
    """The arguments of the kernel ``logmel`` after the rows, in its order: window (400,), twiddle (256, 2), and the
    filters (257, B) as runs of weights: first (B,) FFT bin of each, begin (B + 1,) of its weights, weight.

    Raises ValueError for other shapes, and for a filter that has a gap.
    """
    if window.shape != (WINDOW,) or filters.ndim != 2 or len(filters) != FFT // 2 + 1:
        raise ValueError(f"log-mel takes a window ({WINDOW},) and filters ({FFT // 2 + 1}, bins), got "
                         f"{window.shape} and {filters.shape}")  # fmt: skip
    first, begin, weight = [], [0], []
    for column in filters.T:
        places = np.flatnonzero(column)
        start, stop = (places[0], places[-1] + 1) if len(places) else (0, 0)
        if stop - start != len(places):
            raise ValueError("a log-mel filter has zeros inside")
        first.append(start)
        weight.append(column[start:stop])
        begin.append(begin[-1] + stop - start)
    turn = -2 * np.pi * np.arange(FFT // 2) / FFT
    return {
        "window": np.ascontiguousarray(window, np.float32),
        "twiddle": np.stack([np.cos(turn), np.sin(turn)], 1).astype(np.float32),
        "first": np.array(first, np.int32),
        "begin": np.array(begin, np.int32),
        "weight": np.concatenate(weight).astype(np.float32),
    }
