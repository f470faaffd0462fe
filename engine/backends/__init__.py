"""Inference runtimes behind one small protocol: load once, own static buffers, run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray


class Program(Protocol):
    """A network with static, named input and output buffers. Nothing is allocated by ``run``.

    ``runs`` says in words what it runs on: "ONNX Runtime, f32, 1 thread".
    """

    runs: str

    def inputs(self, batch: int) -> Mapping[str, NDArray[Any]]:
        """The buffers to fill before ``run(batch)``."""
        ...

    def run(self, batch: int) -> Mapping[str, NDArray[Any]]:
        """Runs on the buffers of ``inputs(batch)``; returns views that the next run overwrites."""
        ...


class ProgramLoader(Protocol):
    """What every backend module offers."""

    def load(self, path: Path, batch_sizes: Sequence[int]) -> Program:
        """Loads the network at ``path`` for the given batch sizes."""
        ...
