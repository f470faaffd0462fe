"""Running the CUDA kernels: device memory, launches, streams and graphs. Needs the extra ``gpu``.

Nothing here is imported by the CPU path; ``cuda`` itself is imported only when something is compiled or launched.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from kernels import layout, nvrtc
from kernels.nvrtc import ROOT, CudaError, load

OLDEST: Final = 75  # compute capability, times ten
TOOLKIT: Final = 13000  # CUDA's version that NVRTC is of: an older driver does not load what it makes
NON_BLOCKING: Final = 1  # CU_STREAM_NON_BLOCKING
PINNED: Final = 1  # CU_MEMHOSTALLOC_PORTABLE
OUT_OF_MEMORY: Final = 2  # CUDA_ERROR_OUT_OF_MEMORY
NOT_READY: Final = 600  # CUDA_ERROR_NOT_READY
Array = NDArray[Any]
Compiler = Callable[[Path, str], bytes]


class OutOfMemory(CudaError):
    """The GPU's memory is full."""


class DeviceArray:
    """An array in device memory, with the shape and type of its host twin; freed with the object."""

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: Any) -> None:
        self._device, self.shape, self.dtype = device, shape, np.dtype(dtype)
        self.nbytes = math.prod(shape) * self.dtype.itemsize
        self.pointer = int(device.check(device.driver.cuMemAlloc(max(self.nbytes, 1))))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """For other libraries (numba.readthedocs.io, CUDA Array Interface, version 3)."""
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.pointer, False), "version": 3}

    def put(self, host: Array) -> DeviceArray:
        """Copies ``host`` (same shape and type) to the device, for every stream; returns itself."""
        if host.shape != self.shape or host.dtype != self.dtype:
            raise ValueError(f"device array is {self.shape} {self.dtype}, got {host.shape} {host.dtype}")
        host = np.ascontiguousarray(host)
        if host.nbytes:
            self._device.check(self._device.driver.cuMemcpyHtoD(self.pointer, host.ctypes.data, host.nbytes))
            # It has been read, but may not have arrived, and our streams do not wait for the default one.
            self._device.check(self._device.driver.cuStreamSynchronize(0))
        return self

    def get(self) -> Array:
        """A copy on the host; waits for what was launched before on the default stream."""
        host = np.empty(self.shape, self.dtype)
        if host.nbytes:
            self._device.check(self._device.driver.cuMemcpyDtoH(host.ctypes.data, self.pointer, host.nbytes))
        return host

    def row(self, index: int) -> int:
        """Where ``self[index]`` begins."""
        return self.pointer + index * (self.nbytes // self.shape[0])

    def __del__(self) -> None:
        if not hasattr(self, "pointer"):
            return
        device, driver = self._device, self._device.driver
        device.use()  # whichever thread lets go of it last
        # That thread may be capturing, which a free of other memory would spoil.
        relaxed = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        before = device.check(driver.cuThreadExchangeStreamCaptureMode(relaxed))
        driver.cuMemFree(self.pointer)
        driver.cuThreadExchangeStreamCaptureMode(before)


class Rows:
    """A table of ``struct name`` of kernels/op/kernel.cu on the device, one record a picture (kernels/rows.cuh).

    ``base`` and ``live`` may be given (a table that somebody else fills); else ``rows`` are copied there, all live.
    """

    def __init__(self, device: Device, op: str, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.host = layout.table(op, name, rows)
        self._kept = rows  # what it points to lives as long as the table
        self._base = device.array(np.frombuffer(self.host.tobytes(), np.uint8))
        self._live = device.array(np.array([len(rows)], np.int32))
        self.argument = rows_record(self._base.pointer, self._live.pointer, self.host.dtype.itemsize)

    def __len__(self) -> int:
        return len(self.host)


def rows_record(base: int, live: int, stride: int) -> Array:
    """The struct Rows of kernels/rows.cuh: where the table begins, where their live number is, bytes a row."""
    return record(base=np.uint64(base), live=np.uint64(live), stride=stride)


class Event:
    """A point in a stream's work. Times are on the GPU's own clock."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.handle = device.check(device.driver.cuEventCreate(0))

    def record(self, stream: Stream) -> Event:
        """Marks the end of what ``stream`` was given so far; returns itself."""
        self._device.check(self._device.driver.cuEventRecord(self.handle, stream.handle))
        return self

    def done(self) -> bool:
        """Whether the work before the mark is done."""
        (status, *_) = self._device.driver.cuEventQuery(self.handle)
        if int(status) == NOT_READY:
            return False
        self._device.check((status,))
        return True

    def wait(self) -> None:
        """Waits for it on the host."""
        self._device.check(self._device.driver.cuEventSynchronize(self.handle))

    def since(self, start: Event) -> float:
        """Milliseconds from ``start`` to this; both are done."""
        return float(self._device.check(self._device.driver.cuEventElapsedTime(start.handle, self.handle)))

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._device.driver.cuEventDestroy(self.handle)


class Graph:
    """Captured work: one launch for all of it."""

    def __init__(self, device: Device, graph: Any) -> None:
        self._device = device
        self._handle = device.check(device.driver.cuGraphInstantiate(graph, 0))
        device.check(device.driver.cuGraphDestroy(graph))

    def launch(self, stream: Stream) -> None:
        """Runs it once."""
        self._device.check(self._device.driver.cuGraphLaunch(self._handle, stream.handle))

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self._device.driver.cuGraphExecDestroy(self._handle)


class Stream:
    """Work that runs in order, beside other streams'."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.handle = device.check(device.driver.cuStreamCreate(NON_BLOCKING))

    def wait(self) -> None:
        """Waits for all its work on the host."""
        self._device.check(self._device.driver.cuStreamSynchronize(self.handle))

    def upload(self, target: DeviceArray, source: Array, nbytes: int | None = None) -> None:
        """Copies the first ``nbytes`` of a pinned array to the device."""
        size = source.nbytes if nbytes is None else nbytes
        self._device.check(
            self._device.driver.cuMemcpyHtoDAsync(target.pointer, source.ctypes.data, size, self.handle)
        )  # fmt: skip

    def download(self, target: Array, source: int, nbytes: int | None = None) -> None:
        """Copies from the device address ``source`` to a pinned array."""
        size = target.nbytes if nbytes is None else nbytes
        self._device.check(self._device.driver.cuMemcpyDtoHAsync(target.ctypes.data, source, size, self.handle))

    def clear(self, target: DeviceArray, value: int = 0) -> None:
        """Sets every byte of ``target``."""
        self._device.check(self._device.driver.cuMemsetD8Async(target.pointer, value, target.nbytes, self.handle))

    @contextmanager
    def capture(self) -> Iterator[list[Graph]]:
        """What is given to this stream inside is not run but kept: a list that holds the Graph afterwards."""
        driver, kept = self._device.driver, list[Graph]()
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._device.check(driver.cuStreamBeginCapture(self.handle, mode))
        try:
            yield kept
        except BaseException:
            driver.cuStreamEndCapture(self.handle)
            raise
        kept.append(Graph(self._device, self._device.check(driver.cuStreamEndCapture(self.handle))))


class Device:
    """A GPU. ``launch`` runs a kernel of one of the package's CUDA sources.

    ``driver``: the CUDA driver's functions, by default those of cuda-python; ``compiler`` makes what it loads.
    Raises CudaError when there is no GPU, no driver, or one too old.
    """

    def __init__(self, ordinal: int = 0, driver: Any = None, compiler: Compiler = nvrtc.compile_kept) -> None:
        self.driver, self._compile = driver or load("cuda.bindings.driver"), compiler
        try:
            self.check(self.driver.cuInit(0))
        except CudaError:  # the driver's own word: no GPU, say
            raise
        except RuntimeError as error:  # cuda-bindings raises its own subclass when there is no driver library
            raise CudaError("no NVIDIA driver: a GPU needs one, 580 or newer") from error
        if self.check(self.driver.cuDeviceGetCount()) <= ordinal:
            raise CudaError(f"no GPU number {ordinal}")
        self._device = self.check(self.driver.cuDeviceGet(ordinal))
        attribute = self.driver.CUdevice_attribute
        major = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
        minor = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
        self.name = self.check(self.driver.cuDeviceGetName(128, self._device)).split(b"\0")[0].decode()
        if 10 * major + minor < OLDEST:
            raise CudaError(
                f"{self.name} has compute capability {major}.{minor}; the kernels need {OLDEST / 10} (Turing) or newer"
            )
        version = self.driver_version()
        if version < TOOLKIT:
            raise CudaError(
                f"{self.name}'s driver is for CUDA {version // 1000}.{version % 1000 // 10}; the kernels are compiled "
                f"for CUDA {TOOLKIT // 1000}: update the NVIDIA driver (580 or newer)"
            )
        self.processors = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        self.arch = f"sm_{major}{minor}"
        self._context = self.check(self.driver.cuDevicePrimaryCtxRetain(self._device))
        self.use()
        self._modules: dict[str, Any] = {}
        self._functions: dict[tuple[str, str], Any] = {}

    def use(self) -> None:
        """Makes this the GPU of the calling thread."""
        self.check(self.driver.cuCtxSetCurrent(self._context))

    def _attribute(self, attribute: Any) -> int:
        return int(self.check(self.driver.cuDeviceGetAttribute(attribute, self._device)))

    def driver_version(self) -> int:
        """Of CUDA, as the driver knows it: 13000 for 13.0."""
        return int(self.check(self.driver.cuDriverGetVersion()))

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and bytes that there are."""
        free, total = self.check(self.driver.cuMemGetInfo())
        return int(free), int(total)

    def check(self, answer: tuple[Any, ...]) -> Any:
        """The value of a driver call's answer; raises CudaError when it failed."""
        status, *values = answer
        if int(status) == OUT_OF_MEMORY:
            raise OutOfMemory("the GPU's memory is full: end other programs on it, or lower [server] max_sessions")
        if int(status) != 0:
            raise CudaError(f"the CUDA driver answered {getattr(status, 'name', 'error')} ({int(status)})")
        return values[0] if len(values) == 1 else tuple(values)

    def array(self, host: Array) -> DeviceArray:
        """A device copy of ``host``."""
        return DeviceArray(self, host.shape, host.dtype).put(host)

    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> DeviceArray:
        """Uninitialised device memory."""
        return DeviceArray(self, (shape,) if isinstance(shape, int) else tuple(shape), dtype)

    def zeros(self, shape: tuple[int, ...] | int, dtype: Any) -> DeviceArray:
        """Device memory set to 0."""
        room = self.empty(shape, dtype)
        return room.put(np.zeros(room.shape, room.dtype))

    def pinned(self, shape: tuple[int, ...] | int, dtype: Any) -> Array:
        """Host memory that the GPU copies to and from by itself. Never freed: make it once."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = max(math.prod(shape) * np.dtype(dtype).itemsize, 1)
        pointer = int(self.check(self.driver.cuMemHostAlloc(size, PINNED)))
        room = np.frombuffer((ctypes.c_uint8 * size).from_address(pointer), np.uint8)
        room[:] = 0
        return room[: math.prod(shape) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)

    def rows(self, op: str, name: str, rows: Sequence[Mapping[str, Any]]) -> Rows:
        """A table of arguments for kernels/``op``: ``struct name``, one mapping of field to value a picture."""
        return Rows(self, op, name, rows)

    def stream(self) -> Stream:
        """A new stream."""
        return Stream(self)

    def event(self) -> Event:
        """A new event."""
        return Event(self)

    def launch(
        self, op: str, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any,
        stream: Stream | None = None,
    ) -> None:  # fmt: skip
        """Launches ``kernel`` of kernels/``op``/kernel.cu, on the default stream unless told otherwise. ``grid`` and
        ``block``: one to three sides.

        Arguments: Rows, DeviceArray (its pointer), None (a null pointer), int, float (float32), records for structs
        passed by value. The driver copies them before it returns.
        """
        values = [argument(value) for value in arguments]
        pointers = np.array([value.ctypes.data for value in values], np.uint64)
        function, handle = self.function(op, kernel), 0 if stream is None else stream.handle
        self.check(
            self.driver.cuLaunchKernel(function, *_three(grid), *_three(block), 0, handle, pointers.ctypes.data, 0)
        )

    def function(self, op: str, kernel: str) -> Any:
        """The kernel, compiled and loaded."""
        if op not in self._modules:
            cubin = self._compile(ROOT / op / "kernel.cu", self.arch)
            self._modules[op] = self.check(self.driver.cuModuleLoadData(cubin))
        if (op, kernel) not in self._functions:
            name = kernel.encode()
            self._functions[op, kernel] = self.check(self.driver.cuModuleGetFunction(self._modules[op], name))
        return self._functions[op, kernel]


def emulated(memory: int = 1 << 33) -> Device:
    """A device without a GPU, for tests: the same calls on the processor (kernels/emulator). Needs g++."""
    from kernels import emulator

    return Device(driver=emulator.EmulatedDriver(memory), compiler=emulator.compile_path)


def record(**values: Any) -> Array:
    """A C struct as a numpy record, fields in the order given: DeviceArray or None as pointers, arrays in place."""
    fields: list[tuple[Any, ...]] = []
    data: list[Any] = []
    for name, value in values.items():
        one = argument(value)
        fields.append((name, one.dtype, one.shape) if one.ndim else (name, one.dtype))
        data.append(one)
    struct = np.zeros((), np.dtype(fields, align=True))
    for name, one in zip(values, data, strict=True):
        struct[name] = one
    return cast(Array, struct)


def argument(value: Any) -> Array:
    """``value`` as the bytes of a kernel's argument."""
    if value is None:
        return np.array(0, np.uint64)
    if isinstance(value, DeviceArray):
        return np.array(value.pointer, np.uint64)
    if isinstance(value, Rows):
        return value.argument
    if isinstance(value, np.uint64):
        return np.array(value)
    if isinstance(value, bool | int | np.integer):
        return np.array(value, np.int32)
    if isinstance(value, float | np.floating):
        return np.array(value, np.float32)
    return np.asarray(value)


def _three(sides: tuple[int, ...]) -> tuple[int, ...]:
    return (*sides, 1, 1)[:3]


def blocks(count: int, size: int) -> int:
    """How many blocks of ``size`` hold ``count``."""
    return (count + size - 1) // size
