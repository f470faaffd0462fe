"""Suite `kernels` on a GPU: every CUDA kernel on shipped avatars at 512 x 512, against the roof over it.

Times are of launches whose inputs lie in memory, not in a cache, beside those in the order of a tick. A rehearsal
launches everything once on the emulated device and says bytes, operations and a card's roof; it has no times.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import kernels_alone, roofline
from bench.gpu_rig import OnGpu, Still, asks, crowd, open_device
from bench.latency import speech
from bench.launches import Launches
from bench.report import Measured, Metrics, spread, value
from engine.gpu.gpu import Gpu
from engine.gpu.tick import Tick
from engine.render import network
from kernels.cuda import Device, OutOfMemory, Stream

SIZE: Final = (512, 512)
BATCHES: Final = (1, 4, 16, 64)
RUNS, QUICK = 200, 50
COLUMNS: Final = ("MB", "MFLOP", "bound us", "by", "us", "p95", "p99", "in tick", "GB/s", "of the roof")
NEAR, DETAIL = 80, 160  # channels of `lite`'s first noise
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """Launches that belong together, on ``stream``. ``facts``: what their cost functions are told, by parameter: under
    "" for all, under a launch's name for that one."""

    name: str
    stream: Stream
    work: Callable[[], object]
    facts: Mapping[str, Facts]


def run(*, quick: bool, log: Console, rehearse: bool, card: str | None) -> Measured:
    """A table of kernels for each batch. Raises ValueError without a GPU, unless it is a rehearsal."""
    device = open_device(rehearse)
    extra: dict[str, float] = {}
    if rehearse:
        roof = roofline.card(card or "h200")
        log.print(f"rehearsal: no times; the roof is {roof.name}'s data sheet ({roof.source})")
    else:
        check(log)
        roof, extra = roofline.measure(device)
    metrics: Metrics = {}
    tables, points = [], []
    for batch in (1,) if rehearse else BATCHES:
        table = heading(roof, batch, rehearse)
        try:
            for piece in pieces(device, batch, SIZE):
                rows = measured(device, piece, roof, rehearse, QUICK if quick else RUNS)
                for name, row in rows.items():
                    table.add_row(name, *row_of(row)[: len(table.columns) - 1])
                    metrics[f"{piece.name}.{name}.b{batch}"] = row
                    points.append((name, row["bytes"] or 0, row["flops"] or 0, seconds_of(row)))
        except OutOfMemory as error:
            log.print(f"batch {batch}: {error}")
        tables.append(table)
    metrics |= {f"roof.{name}": value(number, "") for name, number in roof.json().items() if isinstance(number, float)}
    metrics |= {f"roof.{name}": value(number, "") for name, number in extra.items()}
    least = {name: seen for name, seen in {point[0]: point for point in points}.items() if "#" not in name}
    return Measured(metrics, tables=tables, draw=lambda folder: roofline.plot(
        folder, "kernels", roof, list(least.values())))  # fmt: skip


def check(log: Console) -> None:
    """Runs the kernels' tests on this GPU. Raises ValueError when one fails: no speed without correctness."""
    import pytest

    folder = Path(__file__).parents[1] / "tests" / "kernels"
    log.print("the kernels against their references, on this GPU")
    if pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", "-k", "gpu", str(folder)]) != 0:
        raise ValueError("a kernel differs from its reference on this GPU: a speed would not mean anything")


def pieces(device: Device, batch: int, size: tuple[int, int]) -> Iterator[Piece]:
    """All kernels: those of a tick on a crowd of sessions, the geometric renderer's, and those that stand alone."""
    tick = Tick(device, Still(device, size, NEAR, DETAIL), size, most=batch, eager=True)
    gpu = Gpu(tick, network.find("lite", 1, "f32"))
    try:
        sessions = crowd(OnGpu(gpu), batch)
        voice = speech(10.0)
        for frame in range(2):  # the second has a previous picture
            made = asks(sessions, voice, frame)
            for answer in tick.collect(tick.submit(made, 1)):
                answer.release()
        work = tick._batches[batch]
        yield Piece("tick", tick.stream, lambda: tick._enqueue(work, 1), tick_facts(tick, made, size))
    finally:
        gpu.close()
    stream = device.stream()
    for name, launch, facts in kernels_alone.cases(device, batch, size):
        yield Piece(name, stream, partial(launch, stream), facts)


def tick_facts(tick: Tick, made: Sequence[Any], size: tuple[int, int]) -> dict[str, Facts]:
    """What a tick's cost functions are told."""
    worn = [ask.seat.worn for ask in made]
    bodies = [(one.vertices, one.triangles) for one in worn]
    half = {"height": size[0] // 2, "width": size[1] // 2}
    facts: dict[str, Facts] = {
        "": {"rows": len(made), "height": size[0], "width": size[1], "size": size, "samples": 1, "sizes": bodies},
        "skin.skin": {"sizes": [(one.vertices, one.fields["M"]) for one in worn]},
        "bones.bones": {"counts": [one.fields["N"] for one in worn]},
        "guidance.drift": {"count": int(np.mean([one.blended for one in worn]))},
        "blend.accumulate": {"counts": [one.blended for one in worn], "fragments": fragments(made, size)},
        "guidance.columns": half, "guidance.lead": half,
    }  # fmt: skip
    plan = next(iter(tick._batches.values())).plans[1]
    moves = 0
    for one in plan.work:
        if getattr(one, "op", "") == "move":
            moves += 1
            count = sum(part["count"] for part in one.bind(_Zero(), _Zero(one=1))["part"])  # type: ignore[union-attr]
            facts["move.move" if moves == 1 else f"move.move#{moves}"] = {"counts": [count] * len(made)}
    return facts


class _Zero:
    """Every attribute 0, but those given."""

    def __init__(self, **values: int) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> int:
        return 0


def fragments(made: Sequence[Any], size: tuple[int, int]) -> int:
    """Pixels that see-through faces cover, counted anew for every face: about a tenth of the pictures, three deep."""
    return int(0.3 * size[0] * size[1] * sum(ask.seat.worn.blended > 0 for ask in made))


def cost(name: str, facts: Mapping[str, Facts]) -> tuple[int, int] | None:
    """Bytes and operations of the launch called ``name``, from kernels/OP/cost.py; None where that is not told."""
    base, _, _ = name.partition("#")
    op, _, kernel = base.partition(".")
    try:
        found = importlib.import_module(f"kernels.{op}.cost")
    except ImportError:
        return None
    function = getattr(found, kernel, None) or getattr(found, kernel.partition("_")[0], None)
    if function is None:
        return None
    known = {**facts.get("", {}), **facts.get(base, {}), **facts.get(name, {})}
    wanted = inspect.signature(function).parameters
    given = {key: known[key] for key in wanted if key in known}
    if any(key not in given and one.default is one.empty for key, one in wanted.items()):
        return None
    moved, operations = function(**given)
    return int(moved), int(operations)


def measured(device: Device, piece: Piece, roof: roofline.Roof, rehearse: bool, runs: int) -> dict[str, dict[str, Any]]:
    """A row of figures for each launch of a piece."""
    launches = Launches(device, piece.stream)
    if rehearse:
        names = launches.names(piece.work)
        times: dict[str, list[float]] = {}
        warm: dict[str, list[float]] = {}
    else:
        times = launches.times(piece.work, runs, cold=True)
        warm = launches.times(piece.work, runs, cold=False)
        names = list(times)
    rows = {}
    for name in names:
        known = cost(name, piece.facts)
        unit = roofline.unit(name)
        bound = roofline.bound(roof, *known, unit) if known else None
        moved, operations = known or (None, None)
        row: dict[str, Any] = {"unit": "ms", "bytes": moved, "flops": operations, "by": bound.by if bound else ""}
        row["bound_ms"] = 1e3 * bound.seconds if bound else None
        if times:
            row |= {**spread(times[name], "ms"), "in_tick_p50": float(np.median(warm[name]))}
            if bound:
                row["share"] = round(1e3 * bound.seconds / row["p50"], 3)
                row["gb_s"] = round(known[0] / row["p50"] / 1e6, 1) if known else None
        rows[name] = row
    return rows


def heading(roof: roofline.Roof, batch: int, rehearse: bool) -> Table:
    """An empty table."""
    title = f"batch {batch}, {SIZE[1]} x {SIZE[0]}, {roof.name}" + (": no times, rehearsed" if rehearse else "")
    table = Table("kernel", title=title, title_justify="left")
    for column in COLUMNS[: 4 if rehearse else None]:
        table.add_column(column, justify="left" if column == "by" else "right")
    return table


def row_of(row: Mapping[str, Any]) -> list[str]:
    """A table's cells."""

    def told(key: str, scale: float, digits: int) -> str:
        return "" if row.get(key) is None else f"{scale * row[key]:.{digits}f}"

    return [told("bytes", 1e-6, 2), told("flops", 1e-6, 1), told("bound_ms", 1e3, 2), row["by"], told("p50", 1e3, 1),
            told("p95", 1e3, 1), told("p99", 1e3, 1), told("in_tick_p50", 1e3, 1), told("gb_s", 1, 0),
            told("share", 100, 0) and told("share", 100, 0) + " %"]  # fmt: skip


def seconds_of(row: Mapping[str, Any]) -> float | None:
    """The measured median, None without one."""
    return 1e-3 * row["p50"] if "p50" in row else None
