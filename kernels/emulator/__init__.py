"""A CUDA driver without a GPU: the calls that kernels/cuda.py makes, on the processor's own memory. For tests.

Kernels are compiled by g++ and run thread by thread. What may go wrong on a GPU goes wrong here too: memory is NaN
until it is written, a copy takes place when its stream is waited for and not before, what lies behind an array is
watched, a captured graph runs with the arguments it was captured with, and a thread that was not told of the GPU has
none.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from kernels.emulator import build

GUARD: Final = 64  # bytes behind every array that nobody may write
_MARK: Final = 0xA5
Work = Callable[[], object]


class CUdevice_attribute(IntEnum):
    """The attributes that are asked for, numbered as in cuda.h."""

    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class CUstreamCaptureMode(IntEnum):
    """As in cuda.h."""

    CU_STREAM_CAPTURE_MODE_GLOBAL = 0
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1
    CU_STREAM_CAPTURE_MODE_RELAXED = 2


NOT_READY: Final = 600
OUT_OF_MEMORY: Final = 2
INVALID: Final = 1
NO_CONTEXT: Final = 201
NOT_FOUND: Final = 500
CAPTURE_UNSUPPORTED: Final = 900
CAPTURE_INVALIDATED: Final = 901
RELAXED: Final = CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED


class EmulatedDriver:
    """Stands in for the module ``cuda.bindings.driver``: the same names, arguments and answers.

    ``memory``: bytes there are; an allocation beyond them answers that there is no memory left.
    """

    CUdevice_attribute = CUdevice_attribute
    CUstreamCaptureMode = CUstreamCaptureMode

    def __init__(self, memory: int = 1 << 33) -> None:
        self.left = memory
        self.launches = 0  # of kernels, graphs' included
        self._held: dict[int, np.ndarray] = {}
        self._here = threading.local()  # whether this thread has the GPU, and its copies that are on their way
        self._number = itertools.count(1)
        self._queues: dict[int, deque[Work]] = {0: deque()}
        self._captured: dict[int, list[Work]] = {}  # by stream, while it is captured
        self._capturing: dict[int, int] = {}  # the stream a thread captures and wants guarded
        self._modes: dict[int, int] = {}  # of threads
        self._spoilt: set[int] = set()  # streams whose capture saw what no capture may
        self._graphs: dict[int, list[Work]] = {}
        self._events: dict[int, float | None] = {}
        self._functions: dict[int, Any] = {}
        self._modules: dict[int, Any] = {}

    # Device and context.
    def cuInit(self, flags: int) -> tuple[int]:
        return (0,)

    def cuDriverGetVersion(self) -> tuple[int, int]:
        return 0, 13000

    def cuDeviceGetCount(self) -> tuple[int, int]:
        return 0, 1

    def cuDeviceGet(self, ordinal: int) -> tuple[int, int]:
        return 0, ordinal

    def cuDeviceGetName(self, size: int, device: int) -> tuple[int, bytes]:
        return 0, b"emulated"

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[int, int]:
        return 0, 1

    def cuCtxSetCurrent(self, context: int) -> tuple[int]:
        self._here.context = context
        return (0,)

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> tuple[int, int]:
        return 0, {16: 1, 75: 9, 76: 0}[int(attribute)]

    def cuMemGetInfo(self) -> tuple[int, int, int]:
        return 0, self.left, self.left + sum(room.nbytes for room in self._held.values())

    # Memory.
    def cuMemAlloc(self, size: int) -> tuple[int, int]:
        if problem := self._problem():
            return problem, 0
        if size > self.left:
            return OUT_OF_MEMORY, 0
        self.left -= size
        return 0, self._room(size)

    def cuMemHostAlloc(self, size: int, flags: int) -> tuple[int, int]:
        return (problem, 0) if (problem := self._problem()) else (0, self._room(size))

    def cuMemFree(self, pointer: int) -> tuple[int]:
        if problem := self._problem():
            return (problem,)
        room = self._held.pop(int(pointer))
        self.left += room.nbytes - GUARD - 256
        return (0,)

    def cuMemFreeHost(self, pointer: int) -> tuple[int]:
        if problem := self._problem():
            return (problem,)
        del self._held[int(pointer)]
        return (0,)

    def cuMemcpyHtoD(self, target: int, source: int, size: int) -> tuple[int]:
        """Returns when the source has been read: it may arrive later, and only the default stream waits for it (CUDA
        Driver API, API synchronization behavior)."""
        if problem := self._problem():
            return (problem,)
        read = ctypes.string_at(int(source), size)
        self._on_the_way().append(lambda: ctypes.memmove(int(target), read, size))
        return (0,)

    def cuMemcpyDtoH(self, target: int, source: int, size: int) -> tuple[int]:
        if problem := self._problem():
            return (problem,)
        self._arrive()
        ctypes.memmove(int(target), int(source), size)
        return (0,)

    def cuMemcpyHtoDAsync(self, target: int, source: int, size: int, stream: int) -> tuple[int]:
        if not self._has_context():
            return (NO_CONTEXT,)
        self._do(stream, lambda: ctypes.memmove(int(target), int(source), size))
        return (0,)

    cuMemcpyDtoHAsync = cuMemcpyHtoDAsync
    cuMemcpyDtoDAsync = cuMemcpyHtoDAsync

    def cuMemsetD8Async(self, target: int, value: int, size: int, stream: int) -> tuple[int]:
        if not self._has_context():
            return (NO_CONTEXT,)
        self._do(stream, lambda: ctypes.memset(int(target), value, size))
        return (0,)

    # Kernels.
    def cuModuleLoadData(self, cubin: bytes) -> tuple[int, int]:
        if problem := self._problem():
            return problem, 0
        number = next(self._number)
        self._modules[number] = build.library(Path(cubin.decode()))
        return 0, number

    def cuModuleGetFunction(self, module: int, name: bytes) -> tuple[int, int]:
        try:
            function = self._modules[module]["emulate_" + name.decode()]
        except AttributeError:
            return NOT_FOUND, 0
        function.restype = ctypes.c_char_p
        sizes = (ctypes.c_int * 64)()
        count = self._modules[module]["sizes_" + name.decode()](sizes)
        number = next(self._number)
        self._functions[number] = function, name.decode(), list(sizes[:count])
        return 0, number

    def cuLaunchKernel(
        self, function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int,
        parameters: int, extra: int,
    ) -> tuple[int]:  # fmt: skip
        if not self._has_context():
            return (NO_CONTEXT,)
        if min(gx, gy, gz, bx, by, bz) < 1 or max(gy, gz) > 65535 or bx * by * bz > 1024:
            return (INVALID,)
        entry, name, sizes = self._functions[function]
        given = (ctypes.c_void_p * len(sizes)).from_address(parameters)
        copies = [ctypes.create_string_buffer(ctypes.string_at(p or 0, size), size + 16)
                  for p, size in zip(given, sizes, strict=True)]  # fmt: skip
        grid, block = (ctypes.c_uint * 3)(gx, gy, gz), (ctypes.c_uint * 3)(bx, by, bz)
        pointers = (ctypes.c_void_p * len(copies))(*(ctypes.addressof(copy) for copy in copies))

        def launch(kept: Any = copies) -> None:
            self.launches += 1
            trouble = entry(grid, block, pointers)
            if trouble:
                raise RuntimeError(f"{name}: {trouble.decode()}")

        self._do(stream, launch)
        return (0,)

    def cuLaunchHostFunc(self, stream: int, function: Work, data: int) -> tuple[int]:
        """Unlike the real one, ``function`` is a Python callable without arguments."""
        self._do(stream, function)
        return (0,)

    # Streams, events, graphs.
    def cuStreamCreate(self, flags: int) -> tuple[int, int]:
        if not self._has_context():
            return NO_CONTEXT, 0
        number = next(self._number)
        self._queues[number] = deque()
        return 0, number

    def cuStreamSynchronize(self, stream: int) -> tuple[int]:
        if int(stream) in self._captured:
            self._spoilt.add(int(stream))
            return (CAPTURE_UNSUPPORTED,)
        if int(stream) == 0:
            self._arrive()
        queue = self._queues[int(stream)]
        while queue:
            queue.popleft()()
        self.check_guards()
        return (0,)

    def cuStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        self._captured[int(stream)] = []
        if mode != RELAXED:
            self._capturing[threading.get_ident()] = int(stream)
        return (0,)

    def cuStreamEndCapture(self, stream: int) -> tuple[int, int]:
        number = next(self._number)
        self._graphs[number] = self._captured.pop(int(stream))
        self._capturing.pop(threading.get_ident(), None)
        if int(stream) in self._spoilt:
            self._spoilt.remove(int(stream))
            return CAPTURE_INVALIDATED, 0
        return 0, number

    def cuThreadExchangeStreamCaptureMode(self, mode: int) -> tuple[int, int]:
        thread = threading.get_ident()
        before, self._modes[thread] = self._modes.get(thread, 0), int(mode)
        return 0, before

    def cuGraphInstantiate(self, graph: int, flags: int) -> tuple[int, int]:
        return 0, graph

    def cuGraphLaunch(self, graph: int, stream: int) -> tuple[int]:
        if not self._has_context():
            return (NO_CONTEXT,)
        for work in self._graphs[int(graph)]:
            self._do(stream, work)
        return (0,)

    def cuGraphExecDestroy(self, graph: int) -> tuple[int]:
        self._graphs.pop(int(graph), None)
        return (0,)

    def cuGraphDestroy(self, graph: int) -> tuple[int]:
        return (0,)

    def cuEventCreate(self, flags: int) -> tuple[int, int]:
        if not self._has_context():
            return NO_CONTEXT, 0
        number = next(self._number)
        self._events[number] = 0.0
        return 0, number

    def cuEventRecord(self, event: int, stream: int) -> tuple[int]:
        self._events[int(event)] = None
        self._do(stream, lambda: self._events.__setitem__(int(event), time.perf_counter()))
        return (0,)

    def cuEventQuery(self, event: int) -> tuple[int]:
        return (0 if self._events[int(event)] is not None else NOT_READY,)

    def cuEventSynchronize(self, event: int) -> tuple[int]:
        for queue in self._queues.values():
            while self._events[int(event)] is None and queue:
                queue.popleft()()
        return (0,)

    def cuEventElapsedTime(self, start: int, end: int) -> tuple[int, float]:
        first, last = self._events[int(start)], self._events[int(end)]
        return (NOT_READY, 0.0) if first is None or last is None else (0, 1e3 * (last - first))

    def cuEventDestroy(self, event: int) -> tuple[int]:
        return (0,)

    def cuStreamWaitEvent(self, stream: int, event: int, flags: int) -> tuple[int]:
        self._do(stream, lambda: self.cuEventSynchronize(event))
        return (0,)

    def check_guards(self) -> None:
        """Raises RuntimeError when something was written behind an array."""
        for pointer, room in list(self._held.items()):
            start = pointer - room.ctypes.data
            size = room.nbytes - 256 - GUARD
            if (room[start + size : start + size + GUARD] != _MARK).any():
                raise RuntimeError(f"something was written behind an array of {size} bytes")

    def _problem(self) -> int:
        """What a call answers that is not put on a stream: 0 where nothing is wrong with it."""
        return NO_CONTEXT if not self._has_context() else CAPTURE_UNSUPPORTED if self._unsafe() else 0

    def _has_context(self) -> bool:
        return hasattr(self._here, "context")

    def _on_the_way(self) -> list[Work]:
        """This thread's copies that have not arrived."""
        if not hasattr(self._here, "copies"):
            self._here.copies = []
        return cast(list[Work], self._here.copies)

    def _arrive(self) -> None:
        copies = self._on_the_way()
        while copies:
            copies.pop(0)()

    def _unsafe(self) -> bool:
        """Whether a call that is not put on a stream spoils what this thread captures."""
        thread = threading.get_ident()
        if thread not in self._capturing or self._modes.get(thread) == RELAXED:
            return False
        self._spoilt.add(self._capturing[thread])
        return True

    def _room(self, size: int) -> int:
        room = np.full(size + GUARD + 256, 0xFF, np.uint8)  # as float32: NaN
        start = -room.ctypes.data % 256
        room[start + size : start + size + GUARD] = _MARK
        pointer = int(room.ctypes.data) + start
        self._held[pointer] = room
        return pointer

    def _do(self, stream: int, work: Work) -> None:
        (self._captured.get(int(stream)) if int(stream) in self._captured else self._queues[int(stream)]).append(work)  # type: ignore[union-attr]
        if int(stream) == 0:
            self.cuStreamSynchronize(0)


def compile_path(source: Path, arch: str = "") -> bytes:
    """In place of a cubin: where the source is. `EmulatedDriver.cuModuleLoadData` compiles it."""
    return str(source).encode()
