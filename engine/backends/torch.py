"""PyTorch backend for GPUs: networks as modules, eager or compiled, on buffers that somebody else owns.

For a GPU on which TensorRT cannot be had. torch itself is imported when a network is loaded, not before. On an
emulated device (kernels.cuda.emulated) the processor computes when its stream is waited for: the same calls, for tests.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.cuda import Device, DeviceArray, OutOfMemory, Stream
from kernels.nvrtc import CudaError

MODES: Final = {"eager": None, "compile": "default", "max-autotune": "max-autotune-no-cudagraphs"}
INSTALL: Final = "pip install 'visavis[gpu]'"
WARM: Final = 3  # runs before a graph is captured: libraries choose their algorithms, compilers compile
COMPILATIONS: Final = 64  # of one module's code: batch sizes times numbers of steps
Array = NDArray[Any]
Shapes = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Net:
    """A network: ``module`` takes tensors in the order of ``inputs`` and returns as many as there are ``outputs``.

    ``inputs``: shape of one row and dtype of each. The batch is the first dimension everywhere.
    """

    module: Any
    inputs: Mapping[str, tuple[tuple[int, ...], Any]]
    outputs: Sequence[str]

    @staticmethod
    def of(module: Any, example: Mapping[str, Any], outputs: Sequence[str]) -> Net:
        """The network ``module``, with inputs of the shape and type that the tensors ``example`` have."""
        inputs = {name: (tuple(x.shape[1:]), x.numpy(force=True).dtype) for name, x in example.items()}
        return Net(module, inputs, outputs)


class TorchContext:
    """A network for one batch size, on addresses that are bound to its names; as engine.backends.tensorrt.Context.

    Nothing is bound at first. ``enqueue`` neither waits nor, after `warm`, compiles.
    """

    def __init__(self, owner: TorchNet, batch: int) -> None:
        self._owner, self.batch = owner, batch
        self._bound: dict[str, Any] = {}

    def bind(self, name: str, pointer: int, shape: tuple[int, ...]) -> None:
        """Says where an input or output lies on the device: (batch, ...), contiguous, of the type that TorchNet's
        ``inputs`` and ``outputs`` tell. An output that is not bound is not kept. Raises ValueError for an unknown name
        or another shape."""
        known = self._owner.inputs | self._owner.outputs
        if name not in known:
            raise ValueError(f"there is no {name!r}; the network has {', '.join(known)}")
        row, dtype = known[name]
        if tuple(shape) != (self.batch, *row):
            raise ValueError(f"{name} must be {(self.batch, *row)}, got {tuple(shape)}")
        self._bound[name] = self._owner.tensor(pointer, tuple(shape), dtype)

    def enqueue(self, stream: int) -> None:
        """Puts one run on the stream whose address is ``stream``. Raises kernels.cuda.OutOfMemory, and ValueError while
        an input is not bound."""
        self._owner.enqueue(self._bound, self.batch, stream)

    def warm(self) -> None:
        """Runs it on what is bound, so that libraries and compilers have done what they do the first time."""
        self._owner.warm(self._bound, self.batch)


class TorchNet:
    """A network on the GPU. ``mode`` is one of `MODES`; ``runs`` says in words what it runs on.

    Raises CudaError when torch is missing or has no CUDA, ValueError for another mode.
    """

    def __init__(self, net: Net, device: Device, mode: str = "eager") -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
        self._torch, self._device, self.emulated = torch_for(device), device, emulated(device)
        self._where = place(self._torch, device)
        self._module = self._on_device(net.module)
        self._call: Callable[..., Any] = self._module
        self.inputs: Shapes = {name: (tuple(row), np.dtype(kind)) for name, (row, kind) in net.inputs.items()}
        self.mode, self.outputs = mode, self._answers(net.outputs)
        if MODES[mode] is not None:
            self._call = self._torch.compile(self._module, mode=MODES[mode], fullgraph=True, dynamic=False)
        if not self.emulated:
            self._torch.backends.cudnn.benchmark = True  # the first run of a shape tries its algorithms

    @property
    def runs(self) -> str:
        """What it runs on: "torch 2.13.0, compile, NVIDIA H200"."""
        return f"torch {self._torch.__version__}, {self.mode}, {self._device.name}"

    def context(self, batch: int, stream: int = 0) -> TorchContext:
        """It for batches of ``batch``; ``stream`` is what TensorRT's takes, and nothing is put there."""
        return TorchContext(self, batch)

    def enqueue(self, bound: Mapping[str, Any], batch: int, stream: int) -> None:
        """As TorchContext.enqueue, on tensors by name."""
        missing = [name for name in self.inputs if name not in bound]
        if missing:
            raise ValueError(f"not bound: {', '.join(missing)}")
        if not self.emulated:
            with self._torch.cuda.stream(self._torch.cuda.ExternalStream(stream)):
                self._run(bound, batch)
        else:
            driver = self._device.driver
            self._device.check(driver.cuLaunchHostFunc(stream, lambda: self._run(bound, batch), 0))

    def warm(self, bound: Mapping[str, Any], batch: int) -> None:
        """As TorchContext.warm, on tensors by name."""
        if self._call is self._module:
            self._several(bound, batch)
            return
        limits = {"recompile_limit": COMPILATIONS, "accumulated_recompile_limit": 16 * COMPILATIONS}
        try:
            with self._torch._dynamo.config.patch(**limits):
                self._several(bound, batch)
        except OutOfMemory:
            raise
        except Exception as error:  # of whatever torch.compile calls in turn: compilers, Triton, their own types
            _log.warning("torch.compile failed (%s): running eagerly", str(error).strip().split("\n")[0])
            self._call, self.mode = self._module, "eager"
            self._several(bound, batch)

    def _several(self, bound: Mapping[str, Any], batch: int) -> None:
        if self.emulated:
            self._run(bound, batch)
            return
        aside = self._torch.cuda.Stream()
        aside.wait_stream(self._torch.cuda.current_stream())
        with self._torch.cuda.stream(aside):
            for _ in range(WARM):
                self._run(bound, batch)
        aside.synchronize()

    def _run(self, bound: Mapping[str, Any], batch: int) -> None:
        with self._torch.no_grad(), memory_of(self._torch, batch):
            answers = self._call(*(bound[name] for name in self.inputs))
            answers = answers if isinstance(answers, tuple | list) else (answers,)
            for name, answer in zip(self.outputs, answers, strict=True):
                if name in bound:
                    bound[name].copy_(answer)

    def tensor(self, pointer: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Memory of the device as a tensor, without a copy; it must outlive the tensor."""
        if not self.emulated:
            return self._torch.as_tensor(_Place(pointer, shape, dtype), device=self._where)
        size = int(np.prod(shape)) * dtype.itemsize
        room = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))
        return self._torch.from_numpy(room.view(dtype).reshape(shape))

    def _on_device(self, module: Any) -> Any:
        with memory_of(self._torch, 0):
            module = module.eval().requires_grad_(False).to(self._where)
            return module.to(memory_format=self._torch.channels_last)

    def _answers(self, names: Sequence[str]) -> Shapes:
        """Shape of one row and type of every output: what a batch of one gives."""
        torch, given = self._torch, []
        for row, dtype in self.inputs.values():
            given.append(torch.from_numpy(np.zeros((1, *row), dtype)).to(self._where))
        with torch.no_grad(), memory_of(torch, 1):
            answers = self._module(*given)
        answers = answers if isinstance(answers, tuple | list) else (answers,)
        if len(answers) != len(names):
            raise ValueError(f"the network has {len(answers)} outputs, not the {len(names)} called {', '.join(names)}")
        return {
            name: (tuple(x.shape[1:]), x[:0].numpy(force=True).dtype) for name, x in zip(names, answers, strict=True)
        }


class TorchNetworks:
    """The networks of a GPU's tick (engine.gpu.networks.Networks), all captured into the tick's own graph.

    ``nets``: "lips", "performer", and the painter for each number of steps as "painter1", "painter2", "painter4".
    ``own``: whether painters get the experts' own kernels; by default they do on a GPU.
    """

    def __init__(self, device: Device, nets: Mapping[str, Net], mode: str = "compile", own: bool | None = None) -> None:
        if own or (own is None and not emulated(device)):
            nets = {name: own_kernels(net, device) for name, net in nets.items()}
        self._device, self._nets = device, {name: TorchNet(net, device, mode) for name, net in nets.items()}
        self.steps = tuple(steps for steps in (1, 2, 4) if f"painter{steps}" in nets)
        self._pool: list[Any] = []  # memory that all captured graphs share: they run one after the other
        self.runs = next(iter(self._nets.values())).runs

    def inputs(self, name: str) -> Shapes:
        """Shape of one row and type of every input."""
        return self._net(name, self.steps[-1] if self.steps else 1).inputs

    def outputs(self, name: str) -> Shapes:
        """Shape of one row and type of every output."""
        return self._net(name, self.steps[-1] if self.steps else 1).outputs

    def bind(self, name: str, batch: int, steps: int, buffers: Mapping[str, Any]) -> Callable[[Stream], None]:
        """The network called ``name`` for ``batch`` rows on ``buffers`` (``pointer`` and ``shape``), warmed up: what
        puts a run on a stream. Raises kernels.cuda.OutOfMemory."""
        net = self._net(name, steps)
        context = net.context(batch)
        for each in (*net.inputs, *net.outputs):
            if each in buffers:
                context.bind(each, int(buffers[each].pointer), tuple(buffers[each].shape))
        context.warm()
        self.runs = net.runs
        return lambda stream: context.enqueue(int(stream.handle))

    def capture(self, stream: Stream) -> AbstractContextManager[list[Any]]:
        """As Stream.capture: our kernels and the networks that are put on ``stream`` inside become one graph."""
        return captured(self._device, stream, self._pool)

    def _net(self, name: str, steps: int) -> TorchNet:
        return self._nets[f"painter{steps}" if name == "painter" else name]


class TorchGraph:
    """Captured work with torch's part in it: launched like kernels.cuda.Graph."""

    def __init__(self, device: Device, graph: Any) -> None:
        self._device, self._graph, self._raw = device, graph, graph.raw_cuda_graph_exec()

    def launch(self, stream: Stream) -> None:
        """Runs it once."""
        self._device.check(self._device.driver.cuGraphLaunch(self._raw, stream.handle))


class HostProgram:
    """A network behind engine.backends.Program: pinned arrays on the host, copied to the GPU and back by every run.

    Raises kernels.cuda.OutOfMemory when the memory does not hold one of the ``batch_sizes``.
    """

    def __init__(self, net: TorchNet, device: Device, batch_sizes: Sequence[int]) -> None:
        self.runs, self._net, self._stream = net.runs, net, device.stream()
        self._entries = {batch: self._entry(device, batch) for batch in batch_sizes}

    def inputs(self, batch: int) -> Mapping[str, Array]:
        """The input buffers for ``batch`` rows, by name."""
        return self._of(batch)[1]

    def run(self, batch: int) -> Mapping[str, Array]:
        """Runs once; returns the output buffers by name, overwritten by the next run."""
        context, given, answers, room = self._of(batch)
        for name, host in given.items():
            self._stream.upload(room[name], host)
        context.enqueue(int(self._stream.handle))
        for name, host in answers.items():
            self._stream.download(host, room[name].pointer)
        self._stream.wait()
        return answers

    def _entry(self, device: Device, batch: int) -> tuple[TorchContext, dict[str, Array], dict[str, Array], Any]:
        context, hosts, room = self._net.context(batch), [], dict[str, DeviceArray]()
        for arrays in (self._net.inputs, self._net.outputs):
            hosts.append({name: device.pinned((batch, *row), dtype) for name, (row, dtype) in arrays.items()})
            for name, (row, dtype) in arrays.items():
                room[name] = device.zeros((batch, *row), dtype)
                context.bind(name, room[name].pointer, room[name].shape)
        context.warm()
        return context, hosts[0], hosts[1], room

    def _of(self, batch: int) -> tuple[TorchContext, dict[str, Array], dict[str, Array], Any]:
        if batch not in self._entries:
            raise ValueError(f"this program was loaded for batches of {sorted(self._entries)}, got {batch}")
        return self._entries[batch]


class _Place:
    """Somebody's device memory (numba.readthedocs.io, CUDA Array Interface, version 3)."""

    def __init__(self, pointer: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": dtype.str, "data": (pointer, False), "version": 3,
        }  # fmt: skip


def load(net: Net, batch_sizes: Sequence[int], device: Device, mode: str = "eager") -> HostProgram:
    """``net`` for the given batch sizes, with buffers on the host. Raises as `TorchNet` and `HostProgram`."""
    return HostProgram(TorchNet(net, device, mode), device, batch_sizes)


def own_kernels(net: Net, device: Device) -> Net:
    """A painter (engine.render.painter) with the experts' own kernels in it, where they run and answer as torch's
    layers do; else, and for any other network, ``net`` as it is, and the reason is logged."""
    torch = torch_for(device)
    painter, fused = (importlib.import_module(f"engine.render.{name}") for name in ("painter", "fused"))
    if not isinstance(net.module, painter.Painter):
        return net
    try:
        with memory_of(torch, 0):
            return replace(net, module=fused.tried(net.module.to(place(torch, device)), device.arch))
    except (ValueError, CudaError) as error:
        _log.warning("the painter keeps torch's layers: %s", error)
        return net


@contextmanager
def captured(device: Device, stream: Stream, pool: list[Any]) -> Iterator[list[Any]]:
    """What is put on ``stream`` inside, torch's work and ours, is kept as one graph: a list that holds it afterwards.
    ``pool``: empty at first; graphs that were given the same one share torch's memory, and run one after the other."""
    if emulated(device):
        with stream.capture() as kept:
            yield kept
        return
    torch, graphs = torch_for(device), list[Any]()
    graph, own = torch.cuda.CUDAGraph(), torch.cuda.ExternalStream(int(stream.handle))
    if not pool:
        pool.append(torch.cuda.graph_pool_handle())
    with memory_of(torch, 0), torch.cuda.graph(graph, pool=pool[0], stream=own, capture_error_mode="thread_local"):
        yield graphs
    graphs.append(TorchGraph(device, graph))


@contextmanager
def memory_of(torch: Any, batch: int) -> Iterator[None]:
    """Turns torch's word, or a library's, that the memory is full into ours."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error):
            raise
        what = f"a batch of {batch}" if batch else "the networks"
        raise OutOfMemory(
            f"the GPU's memory is full: {what} does not fit; end other programs on it, or lower [server] max_sessions"
        ) from error


def torch_for(device: Device) -> Any:
    """The module torch, able to run on ``device``. Raises CudaError that says what to install."""
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # a broken installation raises more than ImportError
        raise CudaError(f"the torch backend needs torch ({INSTALL}): {error}") from error
    if emulated(device):
        return torch
    if torch.version.cuda is None:
        raise CudaError(
            f"torch {torch.__version__} is built for the processor alone: "
            "pip install --force-reinstall torch==2.13.0 from PyPI brings CUDA"
        )
    if not torch.cuda.is_available():
        version = device.driver_version()
        raise CudaError(
            f"torch {torch.__version__} finds no GPU: it needs a driver for CUDA {torch.version.cuda}, and "
            f"{device.name}'s is for CUDA {version // 1000}.{version % 1000 // 10}"
        )
    return torch


def place(torch: Any, device: Device) -> str:
    """What torch calls ``device``."""
    return "cpu" if emulated(device) else f"cuda:{torch.cuda.current_device()}"


def emulated(device: Device) -> bool:
    """Whether the processor stands in for the GPU."""
    from kernels.emulator import EmulatedDriver

    return isinstance(device.driver, EmulatedDriver)
