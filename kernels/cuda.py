"""Running the CUDA kernels: NVRTC compilation, device arrays, launches. Needs the extra ``gpu``, and a GPU to launch.

Nothing here is imported by the CPU path; ``cuda`` itself is imported only when something is compiled or launched.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

ROOT: Final = Path(__file__).parent
Array = NDArray[Any]


class CudaError(RuntimeError):
    """CUDA cannot be used. The message says what is missing or what the driver answered."""


def sources() -> list[Path]:
    """Every CUDA source of the package."""
    return sorted(ROOT.glob("*/kernel.cu"))


def compile_cubin(source: Path, arch: str = "sm_90") -> bytes:
    """Machine code of ``source`` for ``arch``, through NVRTC, without a GPU. Raises CudaError with its log."""
    core = _load("cuda.core")
    options = core.ProgramOptions(arch=arch, include_path=[str(ROOT)])
    try:
        program = core.Program(source.read_text(encoding="utf-8"), code_type="c++", options=options)
        return bytes(program.compile("cubin").code)
    except Exception as error:  # NVRTC's own exception types differ between releases of cuda-core
        raise CudaError(f"{source.parent.name}/{source.name} does not compile for {arch}: {error}") from error


class DeviceArray:
    """An array in device memory, with the shape and type of its host twin; freed with the object."""

    def __init__(self, device: Device, like: Array) -> None:
        self._device, self.shape, self.dtype, self.nbytes = device, like.shape, like.dtype, like.nbytes
        self.pointer = int(device.check(device.driver.cuMemAlloc(max(like.nbytes, 1))))

    def put(self, host: Array) -> DeviceArray:
        """Copies ``host`` (same shape and type) to the device; returns itself."""
        if host.shape != self.shape or host.dtype != self.dtype:
            raise ValueError(f"device array is {self.shape} {self.dtype}, got {host.shape} {host.dtype}")
        host = np.ascontiguousarray(host)
        if host.nbytes:
            self._device.check(self._device.driver.cuMemcpyHtoD(self.pointer, host.ctypes.data, host.nbytes))
        return self

    def get(self) -> Array:
        """A copy on the host; waits for the kernels launched before."""
        host = np.empty(self.shape, self.dtype)
        if host.nbytes:
            self._device.check(self._device.driver.cuMemcpyDtoH(host.ctypes.data, self.pointer, host.nbytes))
        return host

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            self._device.driver.cuMemFree(self.pointer)


class Device:
    """The first GPU. ``launch`` runs a kernel of one of the package's CUDA sources on the default stream."""

    def __init__(self, ordinal: int = 0) -> None:
        self.driver = _load("cuda.bindings.driver")
        try:
            self.check(self.driver.cuInit(0))
        except RuntimeError as error:  # cuda-bindings raises its own subclass when there is no driver library
            raise CudaError(f"no NVIDIA driver: {error}") from error
        if self.check(self.driver.cuDeviceGetCount()) <= ordinal:
            raise CudaError(f"no GPU number {ordinal}")
        device = self.check(self.driver.cuDeviceGet(ordinal))
        self._context = self.check(self.driver.cuDevicePrimaryCtxRetain(device))
        self.check(self.driver.cuCtxSetCurrent(self._context))
        attribute = self.driver.CUdevice_attribute
        major = self.check(
            self.driver.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
        )
        minor = self.check(
            self.driver.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)
        )
        self.arch = f"sm_{major}{minor}"
        self._modules: dict[str, Any] = {}
        self._functions: dict[tuple[str, str], Any] = {}

    def check(self, answer: tuple[Any, ...]) -> Any:
        """The value of a driver call's answer; raises CudaError when it failed."""
        status, *values = answer
        if int(status) != 0:
            raise CudaError(f"the CUDA driver answered {status}")
        return values[0] if len(values) == 1 else tuple(values)

    def array(self, host: Array) -> DeviceArray:
        """A device copy of ``host``."""
        return DeviceArray(self, host).put(host)

    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> DeviceArray:
        """Uninitialised device memory."""
        return DeviceArray(self, np.empty(shape, dtype))

    def launch(self, op: str, kernel: str, grid: tuple[int, int], block: tuple[int, int], *arguments: Any) -> None:
        """Launches ``kernel`` of kernels/``op``/kernel.cu.

        Arguments: DeviceArray (its pointer), None (a null pointer), int, float (float32), bytes-like records for
        structs passed by value.
        """
        values = [_argument(argument) for argument in arguments]
        pointers = np.array([value.ctypes.data for value in values], np.uint64)
        function = self._function(op, kernel)
        self.check(
            self.driver.cuLaunchKernel(function, *grid, 1, *block, 1, 0, 0, pointers.ctypes.data, 0)
        )  # the driver copies the arguments before it returns

    def _function(self, op: str, kernel: str) -> Any:
        if op not in self._modules:
            cubin = compile_cubin(ROOT / op / "kernel.cu", self.arch)
            self._modules[op] = self.check(self.driver.cuModuleLoadData(cubin))
        if (op, kernel) not in self._functions:
            name = kernel.encode()
            self._functions[op, kernel] = self.check(self.driver.cuModuleGetFunction(self._modules[op], name))
        return self._functions[op, kernel]


def record(**values: Any) -> Array:
    """A C struct as a numpy record, fields in the order given: DeviceArray or None as pointers, arrays in place."""
    fields: list[tuple[Any, ...]] = []
    data: list[Any] = []
    for name, value in values.items():
        one = _argument(value)
        fields.append((name, one.dtype, one.shape) if one.ndim else (name, one.dtype))
        data.append(one)
    struct = np.zeros((), np.dtype(fields, align=True))
    for name, one in zip(values, data, strict=True):
        struct[name] = one
    return cast(Array, struct)


def _argument(value: Any) -> Array:
    if value is None:
        return np.array(0, np.uint64)
    if isinstance(value, DeviceArray):
        return np.array(value.pointer, np.uint64)
    if isinstance(value, bool | int | np.integer):
        return np.array(value, np.int32)
    if isinstance(value, float | np.floating):
        return np.array(value, np.float32)
    return np.asarray(value)


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken driver makes cuda-bindings raise more than ImportError
        raise CudaError(f"the CUDA kernels need the extra 'gpu' (pip install 'visavis[gpu]'): {error}") from error
