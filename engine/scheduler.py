"""Scheduler: sessions that share a GPU, painted together.

Every session steps on a thread of its own and asks here for its frame; whoever asks while the GPU is busy goes into
the next tick, oldest first. A lone session never waits for company, and a full GPU is never idle between two ticks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any, Final, Protocol

DEPTH: Final = 2  # ticks that are under way: one on the GPU, one behind it
Costs = Mapping[tuple[int, int], float]  # milliseconds of a tick, by (rows, denoising steps)


@dataclass(slots=True)
class Ask:
    """One session's wish for its next frame, for a `Tick` to read. ``steps`` of denoising, 1, 2 or 4."""

    seat: Any
    wish: Any
    steps: int = 1
    answer: Any = None
    problem: BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)


class Tick(Protocol):
    """What paints a batch (engine/gpu/tick.py). ``buckets``: the numbers of rows it may be, ascending."""

    buckets: tuple[int, ...]

    @property
    def costs(self) -> Costs:
        """What a tick takes, measured at start-up."""
        ...

    def submit(self, asks: Sequence[Ask], steps: int) -> Any:
        """Starts painting at most ``buckets[-1]`` asks, none of more than ``steps``; returns at once."""
        ...

    def collect(self, pending: Any) -> list[Any]:
        """Waits for what ``submit`` gave; the asks' answers, in order."""
        ...

    def attach(self) -> None:
        """Called once on the thread that will do all the rest."""
        ...


@dataclass(slots=True)
class Load:
    """What the scheduler has done so far: ticks, frames, and frames by the size of the batch they were in."""

    ticks: int = 0
    frames: int = 0
    batches: dict[int, int] = field(default_factory=dict)


class Scheduler:
    """Runs a `Tick` on one thread for any number of sessions on theirs. ``close`` when done: it still paints for those
    who wait."""

    def __init__(self, tick: Tick) -> None:
        self._tick, self._asks = tick, deque[Ask]()
        self._change = threading.Condition()
        self._closed = False
        self.load = Load()
        self._thread = threading.Thread(target=self._run, name="gpu", daemon=True)
        self._thread.start()

    def step(self, ask: Ask) -> Any:
        """The answer to ``ask``; waits for it. Raises what went wrong with its tick, or RuntimeError once closed."""
        with self._change:
            if self._closed:
                raise RuntimeError("the GPU has been given up: this engine is closed")
            self._asks.append(ask)
            self._change.notify()
        ask.ready.wait()
        if ask.problem is not None:
            raise ask.problem
        return ask.answer

    def close(self) -> None:
        """Paints for whoever still waits, then ends the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        under_way: deque[tuple[list[Ask], Any]] = deque()
        try:
            self._tick.attach()
        except BaseException as problem:
            self._fail(problem)
            return
        while True:
            batch = self._next(wait=not under_way)
            for part, steps in split(batch, self._tick.buckets, self._tick.costs):
                while len(under_way) >= DEPTH:
                    self._deliver(*under_way.popleft())
                try:
                    under_way.append((part, self._tick.submit(part, steps)))
                except Exception as problem:
                    _tell(part, problem)
            if under_way and (len(under_way) >= DEPTH or not batch):
                self._deliver(*under_way.popleft())
            if not batch and not under_way and self._closed:
                return

    def _next(self, wait: bool) -> list[Ask]:
        """The asks of the next tick, oldest first; empty when there are none and ``wait`` is false, or at the end."""
        with self._change:
            while wait and not self._asks and not self._closed:
                self._change.wait()
            count = min(len(self._asks), self._tick.buckets[-1])
            return [self._asks.popleft() for _ in range(count)]

    def _deliver(self, asks: list[Ask], pending: Any) -> None:
        try:
            answers = self._tick.collect(pending)
        except Exception as problem:
            _tell(asks, problem)
            return
        self.load.ticks += 1
        self.load.frames += len(asks)
        self.load.batches[len(asks)] = self.load.batches.get(len(asks), 0) + len(asks)
        for ask, answer in zip(asks, answers, strict=True):
            ask.answer = answer
            ask.ready.set()

    def _fail(self, problem: BaseException) -> None:
        with self._change:
            self._closed = True
            waiting, self._asks = list(self._asks), deque()
        _tell(waiting, problem)


def _tell(asks: Sequence[Ask], problem: BaseException) -> None:
    for ask in asks:
        ask.problem = problem
        ask.ready.set()


def bucket(count: int, buckets: Sequence[int]) -> int:
    """The smallest of ``buckets`` that holds ``count`` rows; the largest when none does."""
    return next((size for size in buckets if size >= count), buckets[-1])


def split(asks: Sequence[Ask], buckets: Sequence[int], costs: Costs) -> list[tuple[list[Ask], int]]:
    """``asks`` as batches of one number of steps each, the cheapest way by ``costs``.

    Rows of fewer steps may share a batch of more (the network runs for nothing there) or get their own (one launch
    more, and a smaller batch). With three kinds there are four ways; what a tick costs was measured at start-up.
    """
    by_steps: dict[int, list[Ask]] = {}
    for ask in asks:
        by_steps.setdefault(ask.steps, []).append(ask)
    kinds = sorted(by_steps)
    if len(kinds) < 2:
        return [(list(asks), kinds[0])] if kinds else []

    def ways() -> list[list[tuple[list[Ask], int]]]:
        found = []
        for cuts in product((False, True), repeat=len(kinds) - 1):
            edges = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(kinds)]
            found.append(
                [([ask for kind in kinds[a:b] for ask in by_steps[kind]], kinds[b - 1]) for a, b in pairwise(edges)]
            )
        return found

    def price(way: list[tuple[list[Ask], int]]) -> float:
        return sum(costs.get((bucket(len(part), buckets), steps), float(steps)) for part, steps in way)

    return min(ways(), key=price)
