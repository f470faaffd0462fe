"""The networks of a tick on TensorRT: an engine each, a context for each number of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from engine.backends import tensorrt
from engine.backends.tensorrt_build import MOST, find
from engine.gpu.networks import Buffer, Enqueue
from kernels.cuda import Device, DeviceArray, Graph, Stream


class EngineNetworks:
    """As Networks (engine/gpu/networks.py). ``files``: the ONNX file of each network, the painter's by number of steps
    as "painter1", "painter2" and "painter4"; ``most``: the largest batch. ``progress(what, done, total)`` hears of what
    is built, which takes minutes the first time on a machine.

    Raises ValueError when TensorRT is missing, or cannot build or run one of them.
    """

    def __init__(
        self, device: Device, files: Mapping[str, Path], *, most: int = MOST,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:  # fmt: skip
        self._device, self._files, self._most = device, dict(files), most
        self._gpu = tensorrt.Gpu.of(device)
        self._rooms: list[DeviceArray] = []
        self._stream = device.stream()  # what is done before the first tick
        flavour = find(None, self._gpu.capability)
        self._engines: dict[str, tensorrt.Engine] = {}
        for name, path in files.items():
            self._engines[name] = tensorrt.load(
                path, self._gpu, self._memory, flavour=flavour, most=most, progress=partial(_tell, progress, name)
            )
        self.steps = tuple(steps for steps in (1, 2, 4) if f"painter{steps}" in files)
        self.runs = next(iter(self._engines.values())).runs

    def inputs(self, name: str) -> Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """As Networks.inputs."""
        return {key: (tensor.row, tensor.dtype) for key, tensor in self._of(name, self.steps[-1])[1].inputs.items()}

    def outputs(self, name: str) -> Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """As Networks.outputs."""
        return {key: (tensor.row, tensor.dtype) for key, tensor in self._of(name, self.steps[-1])[1].outputs.items()}

    def bind(self, name: str, batch: int, steps: int, buffers: Mapping[str, Buffer]) -> Enqueue:
        """As Networks.bind."""
        file, engine = self._of(name, steps)
        own = int(self._stream.handle)
        context = engine.program(batch, own)
        for key in (*engine.inputs, *engine.outputs):
            if key in buffers:
                context.bind(key, buffers[key].pointer, buffers[key].shape)
        context.warm(own)
        self._stream.wait()
        tensorrt.keep_compiled(engine, self._files[file], self._gpu, most=self._most)
        return lambda stream: context.enqueue(int(stream.handle))

    def capture(self, stream: Stream) -> AbstractContextManager[list[Graph]]:
        """As Networks.capture."""
        return stream.capture()

    def _of(self, name: str, steps: int) -> tuple[str, tensorrt.Engine]:
        name = f"painter{steps}" if name == "painter" else name
        return name, self._engines[name]

    def _memory(self, size: int) -> int:
        self._rooms.append(self._device.empty(max(size, 1), np.uint8))
        return self._rooms[-1].pointer


def _tell(progress: Callable[[str, int, int], None], name: str, phase: str, done: int, total: int) -> None:
    progress(f"TensorRT, {name}: {phase}", done, total)
