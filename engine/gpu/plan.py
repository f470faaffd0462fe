"""A plan: the launches of one tick in order, and the table of arguments that they all read.

Every launch does all rows of a batch; row r of its table is record r's part. A field of a record belongs either to the
session that is painted there (its avatar, its memory) or to the row (scratch, the tick's inputs), so a table is put
together by OR-ing two rows of bytes, whoever sits where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels import layout
from kernels.cuda import Device, Stream, rows_record

Words = NDArray[np.uint64]
ALIGN: Final = 16
MOST: Final = 2**30


class Nothing:
    """A session or a row that is not there: every field of it is 0."""

    def __getattr__(self, name: str) -> int:
        return 0


class Launch(NamedTuple):
    """One kernel: kernels/``op``, its table of ``struct``, x and y of grid and block, and what all rows share.

    ``bind(session, row)`` gives the fields of a record. It may only pass on what it is given, each field from one of
    the two: called with `Nothing` for one of them it gives the other's half.
    """

    op: str
    kernel: str
    struct: str
    grid: tuple[int, int]
    block: tuple[int, int]
    bind: Callable[[Any, Any], Mapping[str, Any]]
    shared: tuple[Any, ...] = ()


class Step(NamedTuple):
    """Anything else that is put on the stream for a batch of so many rows: a network."""

    name: str
    enqueue: Callable[[int, Stream], None]


class Plan:
    """Launches and steps in order. ``stride``: bytes of a record, those of all launches together."""

    def __init__(self, device: Device, work: Sequence[Launch | Step]) -> None:
        self._device, self.work = device, tuple(work)
        self._places: dict[int, tuple[np.dtype[Any], int]] = {}
        self.stride = 0
        for number, one in enumerate(self.work):
            if isinstance(one, Launch):
                dtype = layout.struct(one.op, one.struct)
                self._places[number] = dtype, self.stride
                self.stride += -(-dtype.itemsize // ALIGN) * ALIGN

    def half(self, session: Any = None, row: Any = None) -> Words:
        """The bytes of a record as far as a session or a row says them, (stride / 8,)."""
        record = np.zeros(self.stride, np.uint8)
        for number, (dtype, start) in self._places.items():
            one = self.work[number]
            assert isinstance(one, Launch)
            values = one.bind(session or Nothing(), row or Nothing())
            part = layout.table(one.op, one.struct, [values])
            record[start : start + dtype.itemsize] = np.frombuffer(part.tobytes(), np.uint8)
        return record.view(np.uint64)

    def load(self) -> None:
        """Compiles and loads every kernel. Raises CudaError for one that does not compile."""
        for one in self.work:
            if isinstance(one, Launch):
                self._device.function(one.op, one.kernel)

    def enqueue(
        self, table: int, stride: int, live: int, batch: int, stream: Stream,
        mark: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        """Puts all of it on ``stream`` for ``batch`` rows. ``table``: where the records begin, ``stride`` bytes apart;
        ``live``: where the number of those that are somebody's is. ``mark`` hears of each part that has been put."""
        for number, one in enumerate(self.work):
            if isinstance(one, Step):
                one.enqueue(batch, stream)
                name = one.name
            else:
                rows = rows_record(table + self._places[number][1], live, stride)
                self._device.launch(
                    one.op, one.kernel, (*one.grid, batch), one.block, rows, *one.shared, stream=stream
                )  # fmt: skip
                name = f"{one.op}.{one.kernel}"
            if mark is not None:
                mark(name)
