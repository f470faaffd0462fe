"""Networks of suite ``speed`` on one runtime at a time, in turns: A B C, A B C, so that noise falls on all alike.

Every network runs with the same settings: latency first, one stream, the same threads, buffers bound once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

Arrays = Mapping[str, NDArray[Any]]
RUNTIMES: Final = {
    "ort_f32": "ONNX Runtime, float32", "openvino_f32": "OpenVINO, float32", "openvino_bf16": "OpenVINO, bfloat16",
}  # fmt: skip
TURN_SECONDS, TURN_RUNS = 0.04, (3, 20)  # of one network in one round, behind a run that is not counted
HEAVY_EVERY: Final = 3  # rounds from one run of a heavy network to the next

Rounds = list[list[float]]  # milliseconds by round; no runs in rounds that a heavy network sits out


class Runner(Protocol):
    """A loaded network with its inputs in place."""

    def run(self) -> None:
        """Once."""
        ...

    def answer(self) -> dict[str, NDArray[Any]]:
        """What the last run gave, by name."""
        ...


class OnnxRuntime:
    """A file on ONNX Runtime, float32."""

    def __init__(self, path: Path, feed: Arrays, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._binding, self._kept = self._session.io_binding(), dict(feed)
        for node in self._session.get_inputs():
            self._binding.bind_cpu_input(node.name, self._kept[node.name])
        self._names = [node.name for node in self._session.get_outputs()]
        for name in self._names:
            self._binding.bind_output(name)

    def run(self) -> None:
        """Once."""
        self._session.run_with_iobinding(self._binding)

    def answer(self) -> dict[str, NDArray[Any]]:
        """What the last run gave, by name."""
        return dict(zip(self._names, self._binding.copy_outputs_to_cpu(), strict=True))


class OpenVino:
    """A file on OpenVINO in ``precision`` "f32" or "bf16"."""

    def __init__(self, path: Path, feed: Arrays, threads: int, precision: str) -> None:
        import openvino

        options = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision, "ENABLE_CPU_PINNING": False,
        }  # fmt: skip
        core = openvino.Core()
        network = core.compile_model(core.read_model(str(path)), "CPU", options)
        self._request, self._outputs, self._kept = network.create_infer_request(), network.outputs, dict(feed)
        for node in network.inputs:
            name = next(name for name in feed if name in node.get_names())
            self._request.set_tensor(node, openvino.Tensor(self._kept[name], shared_memory=True))

    def run(self) -> None:
        """Once."""
        self._request.start_async()
        self._request.wait()

    def answer(self) -> dict[str, NDArray[Any]]:
        """What the last run gave, by name."""
        named = ((name, self._request.get_tensor(node)) for node in self._outputs for name in node.get_names())
        return {name: np.array(tensor.data) for name, tensor in named}


def load(runtime: str, path: Path, feed: Arrays, threads: int) -> Runner:
    """A file on one of `RUNTIMES`, fed."""
    if runtime == "ort_f32":
        return OnnxRuntime(path, feed, threads)
    return OpenVino(path, feed, threads, runtime.removeprefix("openvino_"))


@dataclass(frozen=True, slots=True)
class Entry:
    """What takes turns: ``run`` is one run, ``heavy`` what sits out most rounds."""

    name: str
    run: Callable[[], object]
    heavy: bool = False


def turns(entries: Sequence[Entry], count: int, log: Console, title: str) -> dict[str, Rounds]:
    """Milliseconds of every run, by name and round; every round goes through all entries in the same order."""
    taken: dict[str, Rounds] = {entry.name: [] for entry in entries}
    for number in track(range(count), description=title, console=log, transient=True):
        for entry in entries:
            sits_out = entry.heavy and number % HEAVY_EVERY
            taken[entry.name].append([] if sits_out else _turn(entry))
    return taken


def _turn(entry: Entry) -> list[float]:
    if not entry.heavy:
        entry.run()  # the neighbour's threads go to sleep, caches are filled
    runs: list[float] = []
    start = time.perf_counter()
    fewest, most = (1, 1) if entry.heavy else TURN_RUNS
    while len(runs) < fewest or (len(runs) < most and time.perf_counter() - start < TURN_SECONDS):
        began = time.perf_counter()
        entry.run()
        runs.append(1e3 * (time.perf_counter() - began))
    return runs


def together(parts: Sequence[tuple[Rounds, float]]) -> Rounds:
    """Milliseconds a picture, by round, of a system whose parts run so often a picture each."""
    return [
        [sum(share * ms for (_, share), ms in zip(parts, runs, strict=True)) for runs in zip(*turn, strict=False)]
        for turn in zip(*(rounds for rounds, _ in parts), strict=True)
    ]


def ratio(theirs: Rounds, ours: Rounds) -> float:
    """How many times our time theirs is: the median over rounds of medians in a round. Raises ValueError when no round
    has both."""
    found = [
        statistics.median(them) / statistics.median(us) for them, us in zip(theirs, ours, strict=True) if them and us
    ]
    if not found:
        raise ValueError("no round ran both")
    return statistics.median(found)


def flat(rounds: Rounds) -> list[float]:
    """All runs."""
    return [ms for runs in rounds for ms in runs]
