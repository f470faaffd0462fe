"""Suite ``speed``: our network and those of public systems on the same cores, runtimes and threads, in turns.

Theirs are re-described from their layer shapes with random weights (bench/networks): what a picture costs, not how it
looks. Every network must first answer as eager torch does, in the same run; where it does not, no time is taken. Times
are those of networks; ``whole`` is our renderer's whole frame. Ratios are taken within rounds, to our network in the
same precision (before quantising) at the same resolution class.
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from bench import speed_report
from bench.kernels import scene
from bench.report import Measured, Metric, Metrics, spread, value
from bench.speed_export import Exported, cache_folder, difference, exported, exporter, fixed
from bench.speed_run import RUNTIMES, Entry, Rounds, flat, load, ratio, together, turns
from engine import avatar as packs
from engine.backends import openvino
from engine.render.network import ASSETS, find, threads_of
from engine.render.neural import NeuralRenderer

LIPS: Final = "lips"
ROUNDS, QUICK_ROUNDS = 12, 5
SAME: Final = 1e-3  # of the answer's deviation, float32 against eager torch
ROUNDED: Final = 8.0  # bfloat16: times what rounding the weights alone does; positions are rounded as well
LEAST: Final = 0.05  # bfloat16 may always be off by this
SHIPPED: Final = 0.35  # our file with integers inside, against our float weights
LEVELS: Final = 3.0  # of 255, mean: our whole frame against ONNX Runtime's
HEAVY: Final = 0.3  # seconds a run, from which a network sits out most rounds
GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Key:
    """A part as it is exported and run: one that several systems share is run once."""

    system: str
    part: str

    @property
    def name(self) -> str:
        return f"{self.system}.{self.part}"


def run(*, quick: bool, log: Console, parts: str | None = None) -> Measured:
    """All runtimes and the table of lips; quick: the runtimes, without what takes seconds a picture. ``parts``: some of
    RUNTIMES and "lips", with commas."""
    wanted = chosen(parts, quick)
    metrics: Metrics = {}
    tables: list[Any] = []
    drawn: dict[str, dict[str, float]] = {}
    runtimes = [name for name in wanted if name != LIPS]
    if "openvino_bf16" in runtimes and not openvino.has_bf16():
        log.print("openvino_bf16: this processor has no bfloat16; left out")
        runtimes.remove("openvino_bf16")
    if runtimes:
        measured, systems = networks(runtimes, quick, log)
        metrics |= measured
        tables += speed_report.tables(systems, metrics, runtimes)
        drawn = speed_report.bars(systems, metrics, runtimes)
    if LIPS in wanted:
        from bench.speed_lips import lips

        found, table = lips(log)
        metrics |= found
        tables.append(table)
    return Measured(metrics, tables=tables, draw=lambda folder: speed_report.plot(drawn, folder / "speed.png"))


def chosen(parts: str | None, quick: bool) -> list[str]:
    """Which parts to run. Raises ValueError for one that there is not."""
    known = [*RUNTIMES, LIPS]
    if parts is None:
        return [*RUNTIMES] if quick else known
    wanted = [part.strip() for part in parts.split(",")]
    for part in wanted:
        if part not in known:
            raise ValueError(f"parts of suite speed are {', '.join(known)}; got {part!r}")
    return wanted


def networks(runtimes: Sequence[str], quick: bool, log: Console) -> tuple[Metrics, list[Any]]:
    """Every system on every runtime. Raises ValueError without torch."""
    try:
        from bench.networks.systems import SYSTEMS
    except ImportError as error:
        raise ValueError(f"{error}: networks are exported first: pip install 'visavis[train]'") from error
    threads, folder = threads_of(openvino.cores()), cache_folder()
    systems = [system for system in SYSTEMS.values() if not (quick and system.heavy)]
    keys = shared(systems)
    metrics: Metrics = {"networks.threads": value(threads, "threads")}
    made: dict[Key, Exported] = {}
    with exporter(fresh=not quick) as pool:
        for key in dict.fromkeys(keys.values()):
            if (made_one := _made(pool, key, folder, threads, log)) is not None:
                made[key] = made_one
    systems = [s for s in systems if all(keys[s.name, part.name] in made for part in s.parts)]
    for system in systems:
        costs = [(part, made[keys[system.name, part.name]]) for part in system.parts]
        metrics |= described(system, costs)
    truth = {side: whole(side, threads, "ort_f32")[1] for side in (256, 512)}
    for runtime in runtimes:
        metrics |= one(runtime, systems, keys, made, truth, QUICK_ROUNDS if quick else ROUNDS, threads, log)
        gc.collect()
    return metrics, systems


def shared(systems: Iterable[Any]) -> dict[tuple[str, str], Key]:
    """Where each part of each system is run: at the first system that has it."""
    first: dict[int, Key] = {}
    return {(s.name, p.name): first.setdefault(id(p), Key(s.name, p.name)) for s in systems for p in s.parts}


def _made(pool: ProcessPoolExecutor, key: Key, folder: Path, threads: int, log: Console) -> Exported | None:
    """The exported part, or None where this machine has no room for it."""
    from bench.networks.systems import part_of

    size = 4 * part_of(key.system, key.part).parameters()
    folder.mkdir(parents=True, exist_ok=True)
    if 2.5 * size > min(available_memory(), shutil.disk_usage(folder).free):
        log.print(
            f"[yellow]{key.name} left out:[/] it takes {2.5 * size / GIB:.0f} GiB of memory and as much in {folder}"
        )
        return None
    with log.status(f"{key.name}: eager, and its export"):
        return pool.submit(exported, key.system, key.part, folder, threads).result()


def available_memory() -> float:
    """Bytes that this machine could give; without end where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return float("inf")


def described(system: Any, costs: Sequence[tuple[Any, Exported]]) -> Metrics:
    """What needs no clock: parameters, operations, pixels. What runs once a person is counted, not summed."""
    often = [(part, made) for part, made in costs if part.per_frame]
    name = f"networks.{system.name}"
    return {
        f"{name}.parameters": value(sum(m.parameters for _, m in costs) / 1e6, "million"),
        f"{name}.gflop": value(sum(p.per_frame * m.flops for p, m in often) / 1e9, "GFLOP a picture"),
        f"{name}.pixels": value(system.pixels, "pixels a picture"),
    }


def one(
    runtime: str, systems: Sequence[Any], keys: Mapping[tuple[str, str], Key], made: Mapping[Key, Exported],
    truth: Mapping[int, np.ndarray], rounds: int, threads: int, log: Console,
) -> Metrics:  # fmt: skip
    """All networks on one runtime: loaded, checked, timed."""
    metrics: Metrics = {}
    entries: list[Entry] = []

    def admit(name: str, path: Path, of: Exported, limit: float) -> None:
        with log.status(f"{runtime}: {name}"):
            runner = load(runtime, path, of.feed, threads)
            runner.run()
            off = difference(runner.answer(), of.answer)
            start = time.perf_counter()
            runner.run()
        metrics[f"{runtime}.{name}.error"] = small(off, "of the answer's deviation")
        if off <= limit:
            entries.append(Entry(name, runner.run, time.perf_counter() - start > HEAVY))
        else:
            log.print(f"[red]{runtime}, {name}: off by {off:.3g}, more than {limit:.3g}; not timed")

    for key, of in made.items():
        limit = SAME if runtime.endswith("f32") else max(LEAST, ROUNDED * of.rounded)
        admit(key.name, of.path, of, min(limit, 1.0))
        if key.system.startswith("ours"):
            side = int(key.system.removeprefix("ours"))
            admit(f"{key.system}.shipped", shipped(side), of, SHIPPED)
            renderer, picture = whole(side, threads, runtime)
            off = float(np.abs(picture.astype(np.float32) - truth[side]).mean())
            metrics[f"{runtime}.{key.system}.whole.error"] = small(off, "of 255, mean")
            if off <= LEVELS:
                entries.append(Entry(f"{key.system}.whole", painting(renderer)))
            else:
                log.print(f"[red]{runtime}, {key.system}.whole: off by {off:.2f} of 255; not timed")
    return metrics | _timed(runtime, systems, keys, turns(entries, rounds, log, runtime))


def _timed(
    runtime: str, systems: Sequence[Any], keys: Mapping[tuple[str, str], Key], taken: Mapping[str, Rounds]
) -> Metrics:
    metrics: Metrics = {}

    def say(name: str, rounds: Rounds, side: int) -> None:
        metrics[f"{runtime}.{name}.ms_per_frame"] = spread(flat(rounds), "ms")
        base = taken.get(f"ours{side}.network")
        if base is not None:
            metrics[f"{runtime}.{name}.of_ours"] = value(ratio(rounds, base), f"times ours{side}")

    for system in systems:
        found = [(taken.get(keys[system.name, part.name].name), part.per_frame) for part in system.parts]
        often = [(rounds, share) for rounds, share in found if share]
        if all(rounds is not None for rounds, _ in often):
            say(system.name, together([(rounds, share) for rounds, share in often if rounds is not None]), system.side)
        for part in system.parts if len(system.parts) > 1 else ():
            if (rounds := taken.get(keys[system.name, part.name].name)) is not None:
                metrics[f"{runtime}.{system.name}.{part.name}.run_ms"] = spread(flat(rounds), "ms")
        for kind in ("shipped", "whole"):
            if (rounds := taken.get(f"{system.name}.{kind}")) is not None:
                say(f"{system.name}.{kind}", rounds, system.side)
    return metrics


def small(number: float, unit: str) -> Metric:
    """One figure that may be far below 1: three digits."""
    return {"value": float(f"{number:.3g}"), "unit": unit}


def shipped(side: int) -> Path:
    """Our file as it is shipped, for pictures of ``side`` x ``side``."""
    source, grid = ASSETS / "renderer_lite.onnx", side // 8
    sides = {"rows": grid, "columns": grid, "cell_rows": 2 * grid, "cell_columns": 2 * grid}
    return fixed(source, sides, cache_folder() / f"shipped-{side}.onnx")


def whole(side: int, threads: int, runtime: str) -> tuple[NeuralRenderer, np.ndarray]:
    """Our renderer as a session has it, and its first picture (side,side,3)."""
    backend, precision = runtime.split("_")
    network = find("lite", threads, precision, "onnxruntime" if backend == "ort" else backend)
    renderer = NeuralRenderer(packs.load(packs.find("maya")), network, (side, side), "upper")
    picture, _ = renderer.step(*scene(0, renderer.framing.distance), renderer.initial_state())
    return renderer, np.array(picture.rgb)


def painting(renderer: NeuralRenderer) -> Any:
    """Paints the next frame of a head that talks and turns, on its own last picture."""
    state, number = renderer.initial_state(), 0

    def paint() -> None:
        nonlocal state, number
        number += 1
        _, state = renderer.step(*scene(number, renderer.framing.distance), state)

    return paint
