"""The networks of a tick, on whatever runs them: lips, performer and painter, on buffers in the GPU's memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.cuda import Device, Graph, Stream

NAMES: Final = ("lips", "performer", "painter")
Enqueue = Callable[[Stream], None]


class Buffer(NamedTuple):
    """Device memory that a network reads or writes: where, how much, of what kind."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def host(self) -> NDArray[Any]:
        """It as an array, of an emulated device, whose memory is the processor's."""
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        room = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self.pointer))
        return room.view(self.dtype).reshape(self.shape)


class Networks(Protocol):
    """Runs the networks of `NAMES`. ``runs`` says in words on what; ``steps``: the painter's numbers of steps.

    ``bind`` readies one for a batch on buffers that stay where they are; what it returns puts a run on a stream, with
    no allocation and no waiting, so that it can be captured. ``capture`` is how that is done with this runtime.
    """

    runs: str
    steps: tuple[int, ...]

    def inputs(self, name: str) -> Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape of one row and type of every input."""
        ...

    def outputs(self, name: str) -> Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape of one row and type of every output."""
        ...

    def bind(self, name: str, batch: int, steps: int, buffers: Mapping[str, Buffer]) -> Enqueue:
        """The network called ``name`` for ``batch`` rows, on ``buffers`` by input's and output's name. ``steps``: most
        that any row wants of the painter. Raises kernels.cuda.OutOfMemory."""
        ...

    def capture(self, stream: Stream) -> AbstractContextManager[list[Graph]]:
        """As `Stream.capture`, for a stream that this runtime's networks are put on too."""
        ...


class Rehearsal:
    """ONNX Runtime on the processor, for a tick on an emulated device: the whole fast path without a GPU.

    ``paths``: the ONNX file of each network, the painter's by number of steps as "painter1", "painter2" and so on.
    """

    runs = "ONNX Runtime on the processor (rehearsal)"

    def __init__(self, device: Device, paths: Mapping[str, Path]) -> None:
        import onnxruntime as ort

        self._device = device
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._sessions = {
            name: ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for name, path in paths.items()
        }
        self.steps = tuple(steps for steps in (1, 2, 4) if f"painter{steps}" in paths)

    def inputs(self, name: str) -> Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """As Networks.inputs."""
        return _described(self._session(name, self.steps[-1]).get_inputs())

    def outputs(self, name: str) -> Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """As Networks.outputs."""
        return _described(self._session(name, self.steps[-1]).get_outputs())

    def bind(self, name: str, batch: int, steps: int, buffers: Mapping[str, Buffer]) -> Enqueue:
        """As Networks.bind."""
        session = self._session(name, steps)
        given = {node.name: buffers[node.name].host() for node in session.get_inputs()}
        wanted = [node.name for node in session.get_outputs()]
        results = [buffers[name].host() if name in buffers else None for name in wanted]

        def run() -> None:
            for target, value in zip(results, session.run(wanted, given), strict=True):
                if target is not None:
                    target[...] = value

        return lambda stream: self._device.check(self._device.driver.cuLaunchHostFunc(stream.handle, run, 0))

    def capture(self, stream: Stream) -> AbstractContextManager[list[Graph]]:
        """As Networks.capture."""
        return stream.capture()

    def _session(self, name: str, steps: int) -> Any:
        return self._sessions[f"painter{steps}" if name == "painter" else name]


_KINDS: Final = {"float": np.float32, "float16": np.float16, "uint8": np.uint8, "int32": np.int32, "int64": np.int64}


def _described(nodes: Any) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    return {
        node.name: (
            tuple(side if isinstance(side, int) else -1 for side in node.shape[1:]),
            np.dtype(_KINDS[node.type.removeprefix("tensor(").removesuffix(")")]),
        )
        for node in nodes
    }
