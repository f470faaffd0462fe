"""OpenVINO backend: the fastest runtime for convolutions on a CPU, in bfloat16 where the processor has it.

One ONNX file feeds it and ONNX Runtime alike; ``load`` falls back to the latter, and says so, where OpenVINO is
absent or cannot load the file. Compiled networks are kept on disk, so that only the first start on a machine compiles.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.backends import Program, ort

PRECISIONS: Final = ("auto", "bf16", "f32")
Buffers = dict[str, NDArray[Any]]
_log = logging.getLogger(__name__)


class OpenVinoProgram:
    """One ONNX file with bound static buffers for each batch size; the same interface as OrtProgram.

    Buffers are this program's own; the network behind them is compiled once and shared by all programs of one file.
    ``runs`` says in words what it runs on. ``lane``: which of ``shared`` that run side by side it is just now, each on
    its part of the cores; None: it has them all. Raises ValueError when the file cannot be loaded.
    """

    def __init__(
        self, path: Path, batch_sizes: Sequence[int], fixed: Mapping[str, tuple[int, ...]], threads: int,
        precision: str, shared: int = 1,
    ) -> None:  # fmt: skip
        kind = ("bf16" if has_bf16() else "f32") if precision == "auto" else precision
        self.runs = f"OpenVINO, {kind}, {threads} thread{'s' * (threads > 1)}"
        shapes, stamp = tuple(sorted(fixed.items())), ort.stamp(path)
        self._bound = {batch: _bind(_compiled(path, stamp, shapes, batch, threads, kind)) for batch in batch_sizes}
        part = -(-threads // shared)
        self.lane: int | None = None
        self._threads = threads, part
        self._beside = [
            {
                batch: _bind(_compiled(path, stamp, shapes, batch, part, kind, lane), bound[1:])[0]
                for batch, bound in self._bound.items()
            }
            for lane in range(shared if shared > 1 else 0)
        ]

    def inputs(self, batch: int) -> Mapping[str, NDArray[Any]]:
        """The input buffers for ``batch`` rows, by name."""
        return self._entry(batch)[1]

    def run(self, batch: int) -> Mapping[str, NDArray[Any]]:
        """Runs once; returns the output buffers by name, overwritten by the next run."""
        request, _, outputs = self._entry(batch)
        beside = self.lane is not None and self.lane < len(self._beside)
        if self.lane is not None and beside:
            request = self._beside[self.lane][batch]
        if self._threads[beside] == 1:  # the thread that asks is as good as any, and need not wake another
            request.infer(share_inputs=True, share_outputs=True)
        else:  # the runtime's threads share the work best when it is one of them that begins it
            request.start_async()
            request.wait()
        return outputs

    def _entry(self, batch: int) -> tuple[Any, Buffers, Buffers]:
        if batch not in self._bound:
            raise ValueError(f"this program was loaded for batches of {sorted(self._bound)}, got {batch}")
        return self._bound[batch]


class _Compiled(NamedTuple):
    """A network for one batch size, and what its file calls its inputs and outputs."""

    network: Any
    inputs: list[str]
    outputs: list[str]


@lru_cache(ort.NETWORKS)
def _compiled(
    path: Path,
    stamp: tuple[int, int],
    fixed: tuple[tuple[str, tuple[int, ...]], ...],
    batch: int,
    threads: int,
    kind: str,
    lane: int = -1,
) -> _Compiled:
    """Any number of requests may run a compiled network, one at a time: those that run side by side have one for each
    ``lane``. ``stamp`` tells versions of the file apart."""
    import openvino

    core, given = openvino.Core(), dict(fixed)
    options = {
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": kind, "ENABLE_CPU_PINNING": False,
    }  # fmt: skip
    kept = cache_folder()
    if kept is not None:
        options["CACHE_DIR"] = str(kept)
    try:
        model = core.read_model(str(path))
        model.reshape(
            {_name(node): _shape(given.get(_name(node)) or node.partial_shape, batch) for node in model.inputs}
        )
        names = [_name(node) for node in model.inputs], [_name(node) for node in model.outputs]
        return _Compiled(core.compile_model(model, "CPU", options), *names)
    except RuntimeError as error:
        raise ValueError(f"{path}: not a network OpenVINO can load ({_brief(error)}); reinstall visavis") from error


def _bind(compiled: _Compiled, given: tuple[Buffers, Buffers] | None = None) -> tuple[Any, Buffers, Buffers]:
    """A request with buffers of its own, or with those ``given``."""
    import openvino

    request, buffers = compiled.network.create_infer_request(), []
    sides = (compiled.network.inputs, compiled.inputs), (compiled.network.outputs, compiled.outputs)
    for side, (nodes, names) in enumerate(sides):
        if given is None:
            arrays = [_aligned(tuple(node.shape), node.element_type.to_dtype()) for node in nodes]
        else:
            arrays = [given[side][name] for name in names]
        for node, array in zip(nodes, arrays, strict=True):
            request.set_tensor(node, openvino.Tensor(array, shared_memory=True))
        buffers.append(dict(zip(names, arrays, strict=True)))
    return request, *buffers


@lru_cache(1)
def has_bf16() -> bool:
    """Whether this processor computes in bfloat16."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def load(
    path: Path, batch_sizes: Sequence[int], fixed: Mapping[str, tuple[int, ...]] | None = None,
    sides: Mapping[str, int] | None = None, *, threads: int = 1, precision: str = "auto", shared: int = 1,
) -> Program:  # fmt: skip
    """Loads ``path`` for the given batch sizes, on ``threads`` threads. ``fixed``: shapes that the file leaves open
    (-1 = batch); ``sides``: dimensions that it names, for ONNX Runtime, where they do not follow. ``precision``: "auto"
    is bfloat16 where the processor has it, else float32; a quantised file's integers stay what they are. ``shared``:
    see OpenVinoProgram.

    Falls back to ONNX Runtime in float32 when OpenVINO is not installed or refuses the file. Raises ValueError when
    that cannot load it either, or for an unknown precision or number of threads.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such network; reinstall visavis")
    if find_spec("openvino") is None:
        _log.warning("openvino is not installed (pip install openvino): %s runs on ONNX Runtime, slower", path.name)
        return ort.load(path, batch_sizes, fixed, sides, threads=threads)
    try:
        return OpenVinoProgram(path, batch_sizes, fixed or {}, threads, precision, shared)
    except ValueError as error:
        _log.warning("%s; trying ONNX Runtime", error)
        return ort.load(path, batch_sizes, fixed, sides, threads=threads)


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path | None:
    """Where compiled networks are kept: $XDG_CACHE_HOME/visavis/openvino, by default under ~/.cache; None where nothing
    may be written."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        folder = root / "visavis" / "openvino"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _name(node: Any) -> str:
    """What the file calls an input or output, which may share its tensor with others inside the graph."""
    own = str(node.get_node().get_friendly_name()).removesuffix("/sink_port_0")
    return own if own in node.get_names() else str(node.any_name)


def _shape(shape: Any, batch: int) -> list[int]:
    if isinstance(shape, tuple):
        return [batch if side == -1 else side for side in shape]
    return [side.get_length() if side.is_static else batch for side in shape]


def _aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Zeros that begin on a cache line, as the runtime's own tensors do."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    room = np.zeros(count + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + count].view(dtype).reshape(shape)


def _brief(error: Exception) -> str:
    """The last line of OpenVINO's several that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
