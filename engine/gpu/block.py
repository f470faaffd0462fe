"""A block: everything a tick is told, as one piece of pinned memory and one copy to the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.cuda import Device, DeviceArray, Event, Stream

Array = NDArray[Any]
ALIGN: Final = 256
TURNS: Final = 2  # blocks on the host: one is filled while the other is read


class Layout:
    """Where the named arrays of a batch lie in its block. ``arrays``: shape and dtype of one row of each; a first one,
    "live", holds the number of rows that are somebody's."""

    def __init__(self, arrays: Mapping[str, tuple[tuple[int, ...], Any]], batch: int) -> None:
        self.batch, self.size = batch, 0
        self.places: dict[str, tuple[int, tuple[int, ...], np.dtype[Any]]] = {}
        for name, (shape, kind) in {"live": ((), np.int32), **arrays}.items():
            dtype, rows = np.dtype(kind), () if name == "live" else (batch,)
            count = int(np.prod((*rows, *shape)))
            self.places[name] = self.size, (*rows, *shape), dtype
            self.size += -(-count * dtype.itemsize // ALIGN) * ALIGN

    def views(self, room: Array) -> dict[str, Array]:
        """The arrays, in ``room`` (bytes,)."""
        return {
            name: room[at : at + int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)
            for name, (at, shape, dtype) in self.places.items()
        }

    def offset(self, name: str, row: int = 0) -> int:
        """Bytes from the block's beginning to row ``row`` of an array."""
        at, shape, dtype = self.places[name]
        return at + row * int(np.prod(shape[1:])) * dtype.itemsize


class Block:
    """The host's copies of a batch's inputs, taken in turn, over device memory that all batches share."""

    def __init__(self, device: Device, layout: Layout, target: DeviceArray) -> None:
        self.layout, self._target = layout, target
        self._rooms = [device.pinned(layout.size, np.uint8) for _ in range(TURNS)]
        self._views = [layout.views(room) for room in self._rooms]
        self._sent: list[Event | None] = [None] * TURNS
        self._device, self._turn = device, 0

    def pointer(self, name: str, row: int = 0) -> int:
        """Where it is on the device."""
        return self._target.pointer + self.layout.offset(name, row)

    def next(self) -> dict[str, Array]:
        """The arrays to fill for the coming tick. Waits while the copy before last is still read, which is never in
        practice."""
        self._turn = (self._turn + 1) % TURNS
        sent = self._sent[self._turn]
        if sent is not None:
            sent.wait()
        return self._views[self._turn]

    def send(self, stream: Stream) -> None:
        """Copies what was filled to the device."""
        stream.upload(self._target, self._rooms[self._turn])
        sent = self._sent[self._turn] or self._device.event()
        self._sent[self._turn] = sent.record(stream)
