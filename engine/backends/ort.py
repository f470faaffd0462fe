"""ONNX Runtime backend: the smallest runtime, and the default on a CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}
Buffers = dict[str, NDArray[Any]]
NETWORKS: Final = 24  # that stay loaded
CUDA: Final = "CUDAExecutionProvider"


class OrtProgram:
    """One ONNX file on ``threads`` threads, with bound static buffers for each batch size.

    Buffers are this program's own; the network behind them is loaded once and shared by all programs of one file.
    The batch dimension is whatever symbolic dimension the file names; every other dimension must be static.
    Raises ValueError when the file cannot be loaded.
    """

    def __init__(
        self, path: Path, batch_sizes: Sequence[int], fixed: Mapping[str, tuple[int, ...]], sides: Mapping[str, int],
        threads: int, cuda: bool = False,
    ) -> None:  # fmt: skip
        self.runs = f"ONNX Runtime, f32, {'CUDA' if cuda else f'{threads} thread' + 's' * (threads > 1)}"
        self._session = _network(path, stamp(path), tuple(sorted(sides.items())), threads, cuda)
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._fixed, self._sides = fixed, sides
        self._bound = {batch: self._bind(batch) for batch in batch_sizes}

    def inputs(self, batch: int) -> Mapping[str, NDArray[Any]]:
        """The input buffers for ``batch`` rows, by name."""
        return self._entry(batch)[1]

    def run(self, batch: int) -> Mapping[str, NDArray[Any]]:
        """Runs once; returns the output buffers by name, overwritten by the next run."""
        binding, _, outputs = self._entry(batch)
        self._session.run_with_iobinding(binding)
        return outputs

    def _entry(self, batch: int) -> tuple[Any, Buffers, Buffers]:
        if batch not in self._bound:
            raise ValueError(f"this program was loaded for batches of {sorted(self._bound)}, got {batch}")
        return self._bound[batch]

    def _bind(self, batch: int) -> tuple[Any, Buffers, Buffers]:
        binding = self._session.io_binding()
        inputs = {node.name: self._buffer(node, batch) for node in self._session.get_inputs()}
        outputs = {node.name: self._buffer(node, batch) for node in self._session.get_outputs()}
        for name, buffer in inputs.items():
            binding.bind_input(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        for name, buffer in outputs.items():
            binding.bind_output(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        return binding, inputs, outputs

    def _buffer(self, node: Any, batch: int) -> NDArray[Any]:
        shape = self._fixed.get(node.name) or tuple(node.shape)
        named = (self._sides.get(side, batch) if isinstance(side, str) else side for side in shape)
        shape = tuple(batch if side in (None, -1) else side for side in named)
        return np.zeros(shape, _DTYPES[node.type])


def stamp(path: Path) -> tuple[int, int]:
    """What changes when the file does: the time of its last change and its size."""
    try:
        state = path.stat()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); reinstall visavis") from error
    return state.st_mtime_ns, state.st_size


@lru_cache(NETWORKS)
def _network(path: Path, stamp: tuple[int, int], sides: tuple[tuple[str, int], ...], threads: int, cuda: bool) -> Any:
    """A loaded network: an InferenceSession may be run by many threads at a time. ``stamp`` tells versions apart."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name, side in sides:
        options.add_free_dimension_override_by_name(name, side)
    try:
        session = ort.InferenceSession(str(path), options, providers=[CUDA] * cuda + ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own unexported types
        raise ValueError(f"{path}: not a network ONNX Runtime can load ({error}); reinstall visavis") from error
    if cuda and CUDA not in session.get_providers():  # which it only logs
        raise ValueError(
            "ONNX Runtime does not get CUDA to work: pip install onnxruntime-gpu in place of onnxruntime, with CUDA 13 "
            'and cuDNN 9 on this machine, or set [render] backend = "auto"'
        )
    return session


def load(
    path: Path, batch_sizes: Sequence[int], fixed: Mapping[str, tuple[int, ...]] | None = None,
    sides: Mapping[str, int] | None = None, *, threads: int = 1, cuda: bool = False,
) -> OrtProgram:  # fmt: skip
    """Loads ``path`` for the given batch sizes. ``fixed`` gives shapes that the file leaves open (-1 = batch),
    ``sides`` dimensions that it names: what follows from them is then worked out once.

    One thread unless told otherwise: for a small network a second doubles the CPU burnt and helps nobody else.
    ``cuda``: on a GPU, with buffers on the host all the same. Raises ValueError where that does not work.
    """
    return OrtProgram(path, batch_sizes, fixed or {}, sides or {}, threads, cuda)
