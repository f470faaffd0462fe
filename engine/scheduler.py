"""Scheduler: sessions that share a GPU, painted together.

Every session steps on a thread of its own and asks here for its frame; whoever asks while the GPU is busy goes into
the next tick, earliest deadline first (engine/schedule/core.py). A lone session never waits for company, and a full
GPU is never idle between two ticks.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any, Final, Protocol

from engine.schedule import core as pure
from engine.schedule.core import Core, Member
from engine.schedule.plan import Plan, Rung
from engine.schedule.review import Review, Rules
from engine.schedule.room import Room
from engine.schedule.turns import Clock, Place, Report, Turn, measured

DEPTH: Final = 2  # ticks that are under way: one on the GPU, one behind it
Costs = Mapping[tuple[int, int], float]  # milliseconds of a tick, by (rows, denoising steps)


@dataclass(slots=True)
class Ask:
    """One session's wish for its next frame, for a `Tick` to read. ``steps`` of denoising, 1, 2 or 4; ``due``: whose
    turn it is, when it took one."""

    seat: Any
    wish: Any
    steps: int = 1
    due: Turn | None = None
    answer: Any = None
    problem: BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    of: pure.Ask = field(init=False, repr=False)  # what the core knows of it


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
    who wait.

    Before it is `arrange`d time stands still, and the order is that of asking.
    """

    def __init__(self, tick: Tick) -> None:
        self._tick, self._change = tick, threading.Condition()
        self._clock: Clock = lambda: 0.0
        self._core = Core(Plan(), 0, tick.buckets[-1], skips=False, buckets=tick.buckets)
        self._review = Review(self._core)
        self._closed = False
        self.load = Load()
        self._thread = threading.Thread(target=self._run, name="gpu", daemon=True)
        self._thread.start()

    def arrange(self, clock: Clock, plan: Plan, rules: Rules) -> None:
        """Before the first session joins: what time it is, which numbers of steps there are besides the usual one, and
        who is let in. Whoever is painted without having joined may be under way."""
        with self._change:
            core, full = self._core, [self._full_tick(rung) for rung in plan.rungs]
            self._clock, core.plan = clock, plan
            core.ratios = [took / full[0] for took in full] if all(full) else list(plan.ratios)
            core.typical = self._cost(1, max((steps for _, steps in self._tick.costs), default=1))
            self._review = Review(core, rules)

    def join(self, weight: float = 1.0) -> Place:
        """A place for one more session, of ``weight`` beside others."""
        with self._change:
            return _Place(self, self._core.join(self._clock(), weight))

    def leave(self, place: _Place) -> None:
        """The session ends: at once, or when the frame it waits for is there."""
        with self._change:
            place.leaving = True
            self._let_go(place)

    def _let_go(self, place: _Place) -> None:
        if place.leaving and place.member.ask is None:
            self._core.leave(place.member, self._clock())

    def room(self) -> Room:
        """What is left, and whether one more fits."""
        with self._change:
            return self._review.room()

    def report(self) -> Report:
        """How it goes."""
        with self._change:
            return measured(self._core, self._review)

    def quality(self, member: Member) -> Rung:
        """What it is to be painted at."""
        return self._core.plan.rungs[member.rung]

    def step(self, ask: Ask) -> Any:
        """The answer to ``ask``; waits for it. Raises what went wrong with its tick, or RuntimeError once closed."""
        turn = ask.due if isinstance(ask.due, _Turn) else None
        with self._change:
            if self._closed:
                raise RuntimeError("the GPU has been given up: this engine is closed")
            now = self._clock()
            place = turn.place if turn is not None else _Place(self, self._core.join(now), leaving=True)
            release, deadline = (turn.release, turn.deadline) if turn is not None else (now, math.inf)
            self._core.ask(place.member, release, deadline, now).tag = ask, place
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
                    self._done(part)
                    _tell(part, problem)
            if under_way and (len(under_way) >= DEPTH or not batch):
                self._deliver(*under_way.popleft())
            if not batch and not under_way and self._closed:
                return

    def _next(self, wait: bool) -> list[Ask]:
        """The asks of the next tick, most urgent first; empty when there are none and not ``wait``, or at the end."""
        with self._change:
            while wait and not self._core.waiting and not self._closed:
                self._change.wait()
            return [ask.tag[0] for ask in self._picked(self._core.pick(self._clock()))]

    def _picked(self, asks: list[pure.Ask]) -> list[pure.Ask]:
        for ask in asks:
            ask.tag[0].of = ask
        return asks

    def _deliver(self, asks: list[Ask], pending: Any) -> None:
        try:
            answers = self._tick.collect(pending)
        except Exception as problem:
            self._done(asks)
            _tell(asks, problem)
            return
        self._done(asks)
        self.load.ticks += 1
        self.load.frames += len(asks)
        self.load.batches[len(asks)] = self.load.batches.get(len(asks), 0) + len(asks)
        for ask, answer in zip(asks, answers, strict=True):
            ask.answer = answer
            ask.ready.set()

    def _done(self, asks: Sequence[Ask]) -> None:
        """A frame counts what it takes of a tick that all sessions share: two of different size cost less than two."""
        with self._change:
            now, core = self._clock(), self._core
            for ask in asks:
                inner, place = ask.of, ask.of.tag[1]
                rung = core.plan.rungs[place.member.rung]
                core.done(
                    [inner], now, self._cost(len(core.members), rung.steps or ask.steps) / max(len(core.members), 1)
                )
                self._let_go(place)
            self._review.look(now)

    def _cost(self, rows: int, steps: int) -> float:
        """Milliseconds of a tick of ``rows``, between what was measured for its buckets."""
        buckets, costs = self._tick.buckets, self._tick.costs
        above = bucket(rows, buckets)
        below = max((one for one in buckets if one <= rows), default=buckets[0])
        low, high = costs.get((below, steps), 0.0), costs.get((above, steps), 0.0)
        share = (rows - below) / (above - below) if above > below else max(rows / above, 1.0) - 1.0
        return low + share * (high - low) if above > below else low * (1.0 + share)

    def _full_tick(self, rung: Rung) -> float:
        buckets = self._tick.buckets
        known = [steps for rows, steps in self._tick.costs if rows == buckets[-1]]
        return self._cost(buckets[-1], rung.steps or max(known, default=1))

    def _fail(self, problem: BaseException) -> None:
        with self._change:
            self._closed = True
            waiting = [ask.tag[0] for ask in self._picked(self._core.drain())]
        _tell(waiting, problem)


@dataclass(slots=True)
class _Place:
    """One session among those of a `Scheduler`."""

    scheduler: Scheduler
    member: Member
    leaving: bool = False

    @property
    def number(self) -> int:
        """See Place."""
        return self.member.number

    def turn(self, release: float, deadline: float, light: bool = False) -> Turn:
        """See Place. It does not wait: the frame does, in `Scheduler.step`."""
        return _Turn(self, release, deadline, self.scheduler.quality(self.member), not self.leaving)

    def leave(self) -> None:
        """See Place."""
        self.scheduler.leave(self)


@dataclass(slots=True)
class _Turn:
    """When a frame is due, and how it is to be painted."""

    place: _Place
    release: float
    deadline: float
    rung: Rung
    granted: bool
    paint: bool = True
    lane: int | None = None  # a tick has no others beside it
    level: int | None = None

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *error: Any) -> None:
        return None


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
