"""Suite `gpu`: the whole tick on a GPU: stages, batches, streams, backends, power, start-up.

The network is `base`; one that nobody trained unless --network gives it, which takes as long. A figure is taken only
after the pictures have been compared: with the processor's, and the graph's with the same work launched one by one. A
rehearsal goes through all of it once on the emulated device, small, and has no times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from bench import gpu_report as report
from bench import gpu_rig as rig
from bench import gpu_streams as streams
from bench.latency import speech
from bench.report import Measured, Metrics, spread, value
from engine.config import AvatarConfig, EngineConfig, RenderConfig
from engine.engine import Engine
from engine.gpu.gpu import Gpu
from engine.session import Session
from kernels.cuda import Device, OutOfMemory

BATCHES: Final = (1, 4, 16, 64)
FRAMES, QUICK = 300, 60
APART: Final = 2.0  # of 255, mean: how far a picture may be from the processor's
SMALL: Final = (64, 64)
FLUSHED: Final = 1 << 28


@dataclass(slots=True)
class Bench:
    """What is measured so far, and with what. ``end``: when nothing more is begun, by time.monotonic()."""

    device: Device
    weights: Path
    log: Console
    rehearse: bool
    frames: int
    end: float
    voice: np.ndarray = field(default_factory=lambda: speech(20.0))
    metrics: Metrics = field(default_factory=dict)

    def note(self, name: str, samples: Sequence[float], unit: str = "ms") -> None:
        """Keeps a figure; of a rehearsal only that it was gone through."""
        self.metrics[name] = {"unit": unit, "rehearsed": True} if self.rehearse else spread(samples, unit)

    def one(self, name: str, number: float, unit: str) -> None:
        """Keeps a single number likewise."""
        self.metrics[name] = {"unit": unit, "rehearsed": True} if self.rehearse else value(number, unit)

    def attempt(self, name: str, work: Callable[[], None]) -> bool:
        """Does ``work`` if there is time; what cannot be had is said and kept. Returns whether it was done."""
        if time.monotonic() > self.end:
            self.log.print(f"{name}: not measured, the time is over")
            self.metrics[f"absent.{name}"] = {"unit": "the time was over"}
            return False
        try:
            work()
        except (ValueError, OutOfMemory) as error:
            self.log.print(f"{name}: {error}", markup=False)
            self.metrics[f"absent.{name}"] = {"unit": str(error)[:300]}
            return False
        return True


def run(
    *, quick: bool, log: Console, rehearse: bool = False, network: Path | None = None, backend: str | None = None,
    until: float | None = None,
) -> Measured:  # fmt: skip
    """Tables, JSON and plot. ``until``: seconds after which nothing more is begun. Raises ValueError without a GPU."""
    device = rig.open_device(rehearse)
    with _weights(network, rehearse) as weights:
        bench = Bench(device, weights, log, rehearse, 3 if rehearse else QUICK if quick else FRAMES,
                      time.monotonic() + (until or 1e9))  # fmt: skip
        done = _backends(bench, (backend,) if backend else ("rehearsal",) if rehearse else rig.BACKENDS[::-1])
        if not done:
            raise ValueError("no backend runs here: " + "; ".join(
                f"{name.removeprefix('absent.')}: {row['unit']}" for name, row in bench.metrics.items()))  # fmt: skip
        chosen = report.best(bench.metrics) or done[-1]
        bench.attempt("streams", lambda: _streams(bench, chosen))
        bench.attempt("startup", lambda: _startup(bench, chosen))
        bench.attempt("steps", lambda: _more(bench, chosen, (2,) if rehearse else (2, 4), _size(bench)))
        bench.attempt("size256", lambda: _more(bench, chosen, (1,), SMALL if rehearse else (256, 256)))
    bench.metrics |= report.derived(bench.metrics)
    if not rehearse:
        bench.metrics["gpu"] = {"unit": f"{device.name}, driver for CUDA {device.driver_version()}"}
    return Measured(bench.metrics, tables=report.tables(bench.metrics, rehearse),
                    draw=lambda folder: report.plot(folder, bench.metrics))  # fmt: skip


@contextmanager
def _weights(network: Path | None, rehearse: bool) -> Iterator[Path]:
    if network is None:
        with rig.untrained("tiny" if rehearse else "base") as path:
            yield path
        return
    if not network.with_suffix(".onnx").exists():
        raise ValueError(f"{network}: NAME.onnx and NAME_identity.onnx must lie beside it (training.renderer export)")
    yield network


def _size(bench: Bench) -> tuple[int, int]:
    return SMALL if bench.rehearse else (512, 512)


def _made(bench: Bench, backend: str, size: tuple[int, int], steps: Sequence[int]) -> Any:
    if bench.rehearse:
        return rig.rehearsed(bench.device, bench.weights, size, steps)
    return rig.networks_of(backend, bench.device, bench.weights, size, tuple(steps))


@contextmanager
def _opened(
    bench: Bench, backend: str, size: tuple[int, int], steps: Sequence[int], buckets: Sequence[int]
) -> Iterator[tuple[Gpu, rig.OnGpu]]:
    networks = _made(bench, backend, size, steps)
    with rig.opened(bench.device, networks, size, buckets, bench.weights, bench.log) as gpu:
        yield gpu, rig.OnGpu(gpu)


def _backends(bench: Bench, names: Sequence[str]) -> list[str]:
    """Every backend at 512 and one step: right first, then stages, batches, and what a launch costs the host."""
    done = []
    for name in names:

        def measure(name: str = name) -> None:
            buckets = (1, 2) if bench.rehearse else BATCHES
            with _opened(bench, name, _size(bench), (1,), buckets) as (gpu, engine):
                check(bench, gpu, engine)
                for batch in gpu.tick.buckets:
                    there = ticks(bench, gpu, engine, f"{name}.{_size(bench)[0]}.1.b{batch}", batch, 1)
                    stages(bench, gpu, batch)
                    if batch == 1:
                        overhead(bench, gpu)
                    del there  # whose memory the table points to until now

        if bench.attempt(name, measure):
            done.append(name)
    return done


def check(bench: Bench, gpu: Gpu, engine: rig.OnGpu) -> None:
    """Raises ValueError unless a session's pictures are the processor's, and the graph's those of single launches."""
    frames, size = 3, gpu.tick.size
    graph = play(engine.open(seed=5), bench.voice, frames)
    gpu.tick.eager = True
    try:
        eager = play(engine.open(seed=5), bench.voice, frames)
    finally:
        gpu.tick.eager = False
    apart = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(graph, eager, strict=True))
    if apart > 2:
        raise ValueError(f"the graph's pictures differ from those of single launches by {apart} of 255")
    files = str(bench.weights.with_suffix(".onnx"))
    render = RenderConfig(width=size[1], height=size[0], network=files, precision="f32")
    host = Engine(EngineConfig(AvatarConfig(rig.WHO[0]), render=render))
    theirs = play(host.open(seed=5), bench.voice, frames)
    mean = max(float(np.abs(a.astype(int) - b).mean()) for a, b in zip(graph, theirs, strict=True))
    bench.log.print(f"pictures: {mean:.3f} of 255 from the processor's on average, graph and launches {apart} apart")
    if not mean <= APART or not np.ptp(graph[-1]):
        raise ValueError(f"pictures are {mean:.2f} of 255 from the processor's on average: no speed without that")


def play(session: Session, voice: np.ndarray, frames: int) -> list[np.ndarray]:
    """The first ``frames`` pictures of a session that hears ``voice``."""
    film: list[np.ndarray] = []
    for start in range(0, len(voice), 1920):
        session.push_voice(voice[start : start + 1920])
        if (frame := session.step()) is not None:
            film.append(frame.i420.copy())
        if len(film) == frames:
            break
    return film


def ticks(bench: Bench, gpu: Gpu, engine: rig.OnGpu, name: str, batch: int, steps: int) -> object:
    """A tick of a crowd: from submitting to pictures on the host, its time on the GPU, and how many frames a second
    come out when two ticks are under way; of one session also from its voice to its picture. Returns the crowd."""
    tick, sessions = gpu.tick, rig.crowd(engine, batch, (steps,))
    whole, taken, on_gpu = [], [], []
    start, end = bench.device.event(), bench.device.event()
    for frame in range(-10 if bench.frames > 10 else -1, bench.frames):
        begin = time.perf_counter()
        made = rig.asks(sessions, bench.voice, frame + 10)
        heard = time.perf_counter()
        start.record(tick.stream)
        pending = tick.submit(made, steps)
        end.record(tick.stream)
        answers = tick.collect(pending)
        done = time.perf_counter()
        for answer in answers:
            answer.release()
        end.wait()
        if frame >= 0:
            whole.append(1e3 * (done - begin))
            taken.append(1e3 * (done - heard))
            on_gpu.append(end.since(start))
    bench.note(f"{name}.tick_ms", taken)
    bench.note(f"{name}.gpu_ms", on_gpu)
    if batch == 1:
        bench.note(f"{name}.whole_ms", whole)
    made, under_way, begin = rig.asks(sessions, bench.voice, 0), [], time.perf_counter()
    for _ in range(bench.frames):
        under_way.append(tick.submit(made, steps))
        if len(under_way) > 1:
            for answer in tick.collect(under_way.pop(0)):
                answer.release()
    for pending in under_way:
        for answer in tick.collect(pending):
            answer.release()
    bench.one(f"{name}.frames_s", bench.frames * batch / (time.perf_counter() - begin), "frames/s")
    return sessions


def stages(bench: Bench, gpu: Gpu, batch: int) -> None:
    """GPU time of a tick by stage, launched one by one behind enough other work that the host never keeps it waiting;
    of the last backend that is measured."""
    tick, device = gpu.tick, bench.device
    if bench.rehearse:
        names = {group_of(name) for name, _ in tick.trace(batch)}
        for name in names:
            bench.note(f"stage.{name}.b{batch}_ms", [])
        return
    flush, work, samples = device.empty(FLUSHED, np.uint8), tick._batches[batch], list[dict[str, float]]()
    begin = time.perf_counter()
    tick._enqueue(work, 1)
    host = time.perf_counter() - begin
    tick.stream.wait()
    ahead = 24 + int(2 * host / 50e-6)
    for number in range(-3, min(bench.frames, 100)):
        for _ in range(ahead):
            tick.stream.clear(flush, number & 0xFF)
        before, taken = device.event().record(tick.stream), dict[str, float]()
        marks: list[tuple[str, Any]] = []
        tick._enqueue(work, 1, lambda name, marks=marks: marks.append((name, device.event().record(tick.stream))))  # type: ignore[misc]
        tick.stream.wait()
        for name, event in marks:
            taken[group_of(name)] = taken.get(group_of(name), 0.0) + event.since(before)
            before = event
        if number >= 0:
            samples.append(taken)
    for name in samples[0]:
        bench.note(f"stage.{name}.b{batch}_ms", [one[name] for one in samples])
    if batch == 16:
        bench.one("stage.raster.b16_ms_a_frame", bench.metrics["stage.raster.b16_ms"]["p50"] / batch, "ms")


def group_of(name: str) -> str:
    """The stage that a kernel or network of a plan belongs to."""
    op = name.partition(".")[0]
    return next((group for group, ops in rig.GROUPS.items() if op in ops), op)


def overhead(bench: Bench, gpu: Gpu) -> None:
    """What putting a tick of one session on the stream costs the host: one graph, and launch by launch."""
    tick = gpu.tick
    work = tick._batches[1]
    for name, put in (
        ("replay", lambda: work.graphs[1].launch(tick.stream)),
        ("eager", lambda: tick._enqueue(work, 1)),
    ):
        taken = []
        for _ in range(bench.frames):
            begin = time.perf_counter()
            put()
            taken.append(1e6 * (time.perf_counter() - begin))
            tick.stream.wait()
        bench.note(f"overhead.{name}_us", taken, "us")


def _streams(bench: Bench, backend: str) -> None:
    """How many sessions in real time, and what the GPU draws with as many."""
    with _opened(bench, backend, _size(bench), (1,), (1, 2) if bench.rehearse else (1, 2, 4, 8, 16, 32, 64)) as (
        _, engine,
    ):  # fmt: skip
        if bench.rehearse:
            assert len(streams.live(engine, 3, bench.voice, 0.12)) >= 3
            bench.one("streams.count", 3, "streams")
            return
        found: dict[int, float] = {}

        def works(count: int) -> bool:
            if time.monotonic() + streams.SECONDS > bench.end:
                return False
            late = streams.live(engine, count, bench.voice, streams.SECONDS + streams.WARM)
            found[count] = float(np.percentile(late, 99))
            bench.note(f"streams.{count}_ms", late)
            bench.log.print(f"{count} streams: p99 {found[count]:.1f} ms")
            return found[count] <= streams.LATE

        count = streams.most(works)
        bench.one("streams.count", count, "streams at 25 fps, p99 <= 40 ms")
        if count and time.monotonic() < bench.end:
            with streams.Meter() as meter:
                streams.live(engine, count, bench.voice, 10.0)
            bench.metrics |= {f"power.{name}": row for name, row in meter.told().items()}


def _startup(bench: Bench, backend: str) -> None:
    """Seconds from nothing to the first picture, in a process of its own, when everything that is kept is there."""
    words = [sys.executable, "-m", "bench.gpu", str(bench.weights), backend, "1" if bench.rehearse else "0"]
    root = Path(__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    for name in ("first", "cached"):
        begin = time.perf_counter()
        limit = max(60.0, bench.end - time.monotonic()) if bench.end < time.monotonic() + 1e6 else None
        try:
            done = subprocess.run(words, cwd=root, env=env, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired as error:
            raise ValueError("the first picture took longer than there was time") from error
        if done.returncode or "first picture" not in done.stdout:
            raise ValueError(f"the first picture did not come: {(done.stderr or done.stdout).strip()[-300:]}")
        bench.one(f"startup.{name}_s", time.perf_counter() - begin, "s")


def first_picture(weights: Path, backend: str, rehearse: bool) -> None:
    """What `_startup` runs: one session's first picture on a GPU readied for one."""
    bench = Bench(rig.open_device(rehearse), weights, Console(stderr=True, quiet=True), rehearse, 1, 1e18)
    with _opened(bench, backend, _size(bench), (1,), (1,)) as (_, engine):
        assert play(engine.open(seed=1), bench.voice, 1)
    print("first picture")


def _more(bench: Bench, backend: str, steps: Sequence[int], size: tuple[int, int]) -> None:
    """Other numbers of steps, or another size."""
    for count in steps:
        with _opened(bench, backend, size, (count,), (1,) if bench.rehearse else (1, 16)) as (gpu, engine):
            engine.steps = count
            for batch in gpu.tick.buckets:
                ticks(bench, gpu, engine, f"{backend}.{size[0]}.{count}.b{batch}", batch, count)


if __name__ == "__main__":
    first_picture(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "1")
