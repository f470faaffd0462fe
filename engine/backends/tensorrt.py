"""TensorRT backend: engines on the GPU, ready for each batch, kept on disk for the next start.

An engine is made (engine/backends/tensorrt_build) for one GPU, driver and version of the package. Running it neither
allocates nor waits, so that a CUDA graph can capture it. Nothing of TensorRT is imported before it is asked for.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from engine.backends import kept
from engine.backends.tensorrt_build import MOST, Flavour, Profile, Progress, build, find, targets_of
from kernels.cuda import OutOfMemory
from kernels.nvrtc import CudaError

if TYPE_CHECKING:
    from kernels.cuda import Device

NEAR: Final = 256  # bytes that scratch memory is aligned to
_log = logging.getLogger(__name__)


class Gpu(NamedTuple):
    """What an engine is made for: the GPU's name, its compute capability as "9.0", and the driver's version."""

    name: str
    capability: str
    driver: str

    @staticmethod
    def of(device: Device) -> Gpu:
        """The GPU that is there."""
        number = device.arch.removeprefix("sm_")
        return Gpu(device.name, f"{number[:-1]}.{number[-1]}", driver_version() or f"CUDA {device.driver_version()}")


# An engine that TensorRT for RTX has built for several GPUs, with none at hand: the runtime refuses it on others.
ANY: Final = Gpu("any", "any", "any")


class Tensor(NamedTuple):
    """An input or output of an engine: the shape of one row, and its type."""

    row: tuple[int, ...]
    dtype: np.dtype[Any]


class Engine:
    """An engine on the GPU. ``inputs`` and ``outputs`` say what it reads and writes.

    ``memory(size)`` gives device memory for the scratch that all contexts share, since only one runs at a time; the
    largest batch first makes it the only allocation. ``compiled``: kernels that TensorRT for RTX compiled before.
    Raises ValueError when the GPU or driver here cannot load it.
    """

    def __init__(self, flavour: Flavour, plan: bytes, memory: Callable[[int], int], compiled: bytes = b"") -> None:
        trt = flavour.trt
        self.flavour, self._memory, self._room, self._size = flavour, memory, 0, 0
        self._runtime = trt.Runtime(flavour.logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:  # as is the answer without a driver
            raise ValueError(f"{self.runs} does not run this engine on this machine: {flavour.why()}")
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            kind = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
            reads = self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            (self.inputs if reads else self.outputs)[name] = Tensor(
                tuple(self._engine.get_tensor_shape(name))[1:], kind
            )
        self.profiles = [self._profile(index) for index in range(self._engine.num_optimization_profiles)]
        self._config, self._compiled = self._configured(compiled)

    @property
    def runs(self) -> str:
        """What it runs on: "TensorRT 10.15.1"."""
        return self.flavour.runs

    def program(self, batch: int, stream: int = 0) -> Context:
        """It ready for ``batch`` rows, to be made once for each; a change of profile is put on ``stream``.

        Raises ValueError for a batch that no profile covers, OutOfMemory when the GPU has no room for it.
        """
        return Context(self, batch, stream)

    def compiled(self) -> bytes:
        """The kernels that TensorRT for RTX has compiled for this GPU so far; b"" of TensorRT."""
        return b"" if self._compiled is None else bytes(self._compiled.serialize())

    def scratch(self, size: int) -> tuple[int, int]:
        """Device memory of at least ``size`` bytes: where, and how much. Raises OutOfMemory."""
        if size > self._size:
            self._room, self._size = self.spare(size), -(-size // NEAR) * NEAR
        return self._room, self._size

    def spare(self, size: int) -> int:
        """Device memory that stays for as long as the engine. Raises OutOfMemory."""
        return self._memory(-(-size // NEAR) * NEAR)

    def make(self, profile: int, batch: int, stream: int) -> Any:
        """TensorRT's own context for a batch. Raises OutOfMemory."""
        made = self._engine.create_execution_context(self._config)
        shapes = {name: (batch, *tensor.row) for name, tensor in self.inputs.items()}
        if made is None:
            raise OutOfMemory(f"no room on the GPU for batches of {batch}: {self.flavour.why()}")
        if profile and not made.set_optimization_profile_async(profile, stream):
            raise CudaError(f"{self.runs} refuses batches of {batch}: {self.flavour.why()}")
        if not all(made.set_input_shape(name, shape) for name, shape in shapes.items()):
            raise CudaError(f"{self.runs} refuses batches of {batch}: {self.flavour.why()}")
        made.set_device_memory(*self.scratch(made.update_device_memory_size_for_shapes()))
        return made

    def _profile(self, index: int) -> Profile:
        shapes = [self._engine.get_tensor_profile_shape(name, index) for name in self.inputs]
        least, usual, most = (tuple(shape[part][0] for shape in shapes) for part in range(3))
        return Profile(max(least), max(usual), min(most))

    def _configured(self, compiled: bytes) -> tuple[Any, Any]:
        """What contexts are created with, and the cache of compiled kernels."""
        trt = self.flavour.trt
        ours = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not self.flavour.rtx:
            return ours, None
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(ours)
        # Kernels of a batch are compiled before its first run, not in another thread while it runs; we capture graphs.
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED
        cache = config.create_runtime_cache()
        if compiled and not cache.deserialize(compiled):
            _log.warning("kernels of another driver or GPU are compiled again (%s)", self.flavour.why())
        config.set_runtime_cache(cache)
        return config, cache


class Context:
    """An engine ready for one batch, on buffers that stay where they are; the interface of torch.TorchProgram."""

    def __init__(self, engine: Engine, batch: int, stream: int) -> None:
        fits = [index for index, p in enumerate(engine.profiles) if p.least <= batch <= p.most]
        if not fits:
            most = max(profile.most for profile in engine.profiles)
            raise ValueError(f"this engine was built for batches of 1 to {most}, not of {batch}")
        self.batch, self._engine = batch, engine
        self._context = engine.make(fits[0], batch, stream)
        self._run = self._context.execute_async_v3
        self._missing = {*engine.inputs, *engine.outputs}

    def bind(self, name: str, pointer: int, shape: tuple[int, ...]) -> None:
        """Reads or writes ``name`` at a device ``pointer`` from now on. Raises ValueError for another name or shape."""
        tensor = self._engine.inputs.get(name) or self._engine.outputs.get(name)
        if tensor is None:
            names = ", ".join([*self._engine.inputs, *self._engine.outputs])
            raise ValueError(f"the engine has {names}, but no {name}")
        if tuple(shape) != (self.batch, *tensor.row):
            raise ValueError(f"{name} must be {(self.batch, *tensor.row)}, got {tuple(shape)}")
        if not self._context.set_tensor_address(name, pointer):
            raise ValueError(f"{name} cannot be at {pointer:#x}: {self._engine.flavour.why()}")
        self._missing.discard(name)

    def enqueue(self, stream: int) -> None:
        """Puts a run on a CUDA ``stream``: nothing is allocated, nobody waits.

        Raises ValueError when something is not bound, CudaError when the runtime refuses.
        """
        if self._missing:
            raise ValueError(f"nothing is bound to {', '.join(sorted(self._missing))}")
        if not self._run(stream):
            raise CudaError(f"{self._engine.runs} could not run: {self._engine.flavour.why()}")

    def warm(self, stream: int = 0) -> None:
        """Runs it once, as must be before a capture: what a runtime does at its first run is done then. Outputs that
        nobody wants get memory of their own. Raises as `enqueue` does, and OutOfMemory."""
        for name in self._missing & self._engine.outputs.keys():
            row, dtype = self._engine.outputs[name]
            shape = self.batch, *row
            self.bind(name, self._engine.spare(int(np.prod(shape)) * dtype.itemsize), shape)
        self.enqueue(stream)


def load(
    onnx: Path, gpu: Gpu, memory: Callable[[int], int], *, flavour: Flavour | None = None, most: int = MOST,
    cache: Path | None = None, progress: Progress | None = None,
) -> Engine:  # fmt: skip
    """The engine of an ONNX file for the GPU that is there: the kept one, or else built, which takes minutes, and kept
    in ``cache`` (without one engine/backends/kept.folder). An engine that was exported beside the file for several GPUs
    (`ANY`) will do too. A kept file that is broken, foreign, or refused by the runtime is built again.

    Raises ValueError when the file cannot be read, or the package is missing, or cannot build or run it.
    """
    flavour = flavour or find(None, gpu.capability)
    source, folder = read_network(onnx), cache or kept.folder("tensorrt")
    profiles = flavour.profiles(most)
    key = key_of(flavour, gpu, profiles, source)
    path = None if folder is None else kept.place(folder, key, ".engine")
    compiled = b"" if path is None else kept.read(path.with_suffix(".compiled"), key) or b""
    for place, made_for in _places(onnx, flavour, gpu, source, most, folder):
        plan = kept.read(place, made_for)
        if plan is not None:
            try:
                return Engine(flavour, plan, memory, compiled)
            except ValueError as error:
                _log.warning("%s; %s is built again", error, onnx.name)
    plan = built(flavour, onnx.name, source, gpu, profiles, folder, progress)
    engine = Engine(flavour, plan, memory, compiled)
    if path is not None:
        kept.write(path, key, plan)
    return engine


def _places(
    onnx: Path, flavour: Flavour, gpu: Gpu, source: bytes, most: int, folder: Path | None
) -> Iterator[tuple[Path, dict[str, str]]]:  # fmt: skip
    """Where an engine may lie, and what it must have been made for: one for larger batches will do too."""
    keys = [key_of(flavour, gpu, flavour.profiles(count), source) for count in dict.fromkeys((most, MOST))]
    if folder is not None:
        yield from ((kept.place(folder, key, ".engine"), key) for key in keys)
    if flavour.rtx:
        yield onnx.with_suffix(".engine"), key_of(flavour, ANY, flavour.profiles(MOST), source)


def keep_compiled(engine: Engine, onnx: Path, gpu: Gpu, *, most: int = MOST, cache: Path | None = None) -> None:
    """Keeps what TensorRT for RTX has compiled for the contexts of ``engine``, so that the next start need not."""
    folder, compiled = cache or kept.folder("tensorrt"), engine.compiled()
    if folder is not None and compiled:
        key = key_of(engine.flavour, gpu, engine.flavour.profiles(most), read_network(onnx))
        kept.write(kept.place(folder, key, ".compiled"), key, compiled)


def built(
    flavour: Flavour, name: str, source: bytes, gpu: Gpu, profiles: Sequence[Profile], folder: Path | None,
    progress: Progress | None, targets: Sequence[str] | None = None,
) -> bytes:  # fmt: skip
    """The engine of the file ``source``, called ``name``, for ``gpu`` or the compute capabilities ``targets``, with the
    timings kept in ``folder``. Raises ValueError."""
    key = {"of": "timings", **gpu._asdict(), "version": flavour.version}
    path = None if folder is None or flavour.rtx else kept.place(folder, key, ".timings")
    if targets is None:
        targets = [gpu.capability] if gpu.capability in targets_of(flavour) else []
    before = b"" if path is None else kept.read(path, key) or b""
    try:
        plan, timings = build(flavour, source, profiles, targets=targets, timings=before, progress=progress)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if path is not None and timings:
        kept.write(path, key, timings)
    return plan


def key_of(flavour: Flavour, gpu: Gpu, profiles: Sequence[Profile], source: bytes) -> dict[str, str]:
    """What an engine must have been made for."""
    return {
        "of": "engine", **gpu._asdict(), "package": flavour.name, "version": flavour.version,
        "profiles": " ".join("-".join(map(str, profile)) for profile in profiles),
        "weights": hashlib.sha256(source).hexdigest(),
    }  # fmt: skip


def read_network(onnx: Path) -> bytes:
    """The bytes of an ONNX file. Raises ValueError when it cannot be read."""
    try:
        return onnx.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{onnx}: cannot be read ({error.strerror}); write it by: visavis export --backend onnx"
        ) from error


def driver_version() -> str | None:
    """The NVIDIA driver's version, "580.82.07"; None where the system does not say it."""
    try:
        return Path("/sys/module/nvidia/version").read_text(encoding="ascii").strip()
    except OSError:
        return None
