"""Ring buffers: one producer thread, one consumer thread, no lock, no allocation after construction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Picture = NDArray[np.uint8]


class SampleRing:
    """Mono float32 samples from one producer to one consumer.

    Each side owns one counter, which only grows; a counter is published after the copy it speaks for, so the
    other side never sees a sample that is not there. Positions are absolute: they are media time.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a ring holds at least one sample, got capacity {capacity}")
        self._data: Samples = np.zeros(capacity, np.float32)
        self._written = 0
        self._read = 0

    @property
    def available(self) -> int:
        """Samples that can be read now."""
        return self._written - self._read

    @property
    def free(self) -> int:
        """Samples that can be written now."""
        return len(self._data) - self.available

    @property
    def position(self) -> int:
        """Absolute index of the next sample to be read."""
        return self._read

    def write(self, samples: Samples) -> None:
        """Appends ``samples`` (n,). Raises BufferError, and writes nothing, when they do not fit."""
        n = len(samples)
        if n > self.free:
            raise BufferError(f"the ring has room for {self.free} samples, got {n}: the consumer is too slow")
        start = self._written % len(self._data)
        head = min(n, len(self._data) - start)
        self._data[start : start + head] = samples[:head]
        self._data[: n - head] = samples[head:]
        self._written += n

    def read(self, n: int, out: Samples | None = None) -> Samples:
        """The next ``n`` samples, (n,), into ``out`` when given. Raises BufferError when fewer are there."""
        if n > self.available:
            raise BufferError(f"the ring holds {self.available} samples, asked for {n}")
        out = np.empty(n, np.float32) if out is None else out
        start = self._read % len(self._data)
        head = min(n, len(self._data) - start)
        out[:head] = self._data[start : start + head]
        out[head:n] = self._data[: n - head]
        self._read += n
        return out

    def peek(self, n: int) -> Samples:
        """The next ``n`` samples, (n,), which stay. Raises BufferError when fewer are there."""
        if n > self.available:
            raise BufferError(f"the ring holds {self.available} samples, asked for {n}")
        return self._data[np.arange(self._read, self._read + n) % len(self._data)]

    def skip(self, n: int) -> None:
        """Forgets the next ``n`` samples. Raises BufferError when fewer are there."""
        if n > self.available:
            raise BufferError(f"the ring holds {self.available} samples, asked to skip {n}")
        self._read += n


class FrameRing:
    """Preallocated I420 pictures, handed out in turn.

    ``claim()`` returns the next picture to paint; it stays intact for ``slots - 1`` further claims, which is how
    long the other side may keep reading it.
    """

    def __init__(self, slots: int, height: int, width: int) -> None:
        if slots < 2 or height % 2 or width % 2 or min(height, width) < 2:
            raise ValueError(f"a frame ring needs 2 slots or more and even sides, got {slots} of {width}x{height}")
        self._pictures: Picture = np.zeros((slots, height * 3 // 2, width), np.uint8)
        self._claimed = 0

    def __len__(self) -> int:
        return len(self._pictures)

    def claim(self) -> Picture:
        """The next picture, (H * 3 / 2, W) u8: Y plane, then U and V at half size."""
        picture = self._pictures[self._claimed % len(self._pictures)]
        self._claimed += 1
        return picture
