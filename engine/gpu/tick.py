"""The tick: 40 ms of any sessions at once, from sound to I420, as one graph on the GPU.

One copy takes the inputs there, one graph does all the work, one copy brings pictures and Motion back, and one event
says that they are there. Nothing is allocated, and nobody waits for anything else. ``eager`` runs the same work
without the graph.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.gpu import launches
from engine.gpu.block import Block, Layout
from engine.gpu.networks import NAMES, Networks
from engine.gpu.plan import Launch, Plan, Step
from engine.gpu.rooms import BLENDED, TRIANGLES, VERTICES, Rooms
from engine.gpu.seat import Seat
from engine.gpu.wish import Wish, changed
from engine.gpu.worn import Worn
from engine.render.picture import U8
from engine.scheduler import Ask, bucket
from kernels.cuda import Device, Event, Graph, OutOfMemory

F32 = NDArray[np.float32]
Words = NDArray[np.uint64]
Views = dict[str, NDArray[Any]]
BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)
TURNS: Final = 4  # batches of pictures on the host that may still be read while the next are painted
TRIED: Final = 3  # runs of which the fastest is what a batch costs


@dataclass(slots=True)
class Answer:
    """One painted frame, in memory of the tick's: copy what is wanted, then ``release``.

    motion (SIZE,) as painted; viseme (H, 15) of every head; i420 (H*3/2, W); ``odd``: values of the Motion that were
    out of range or not finite; rgba (H,W,4) premultiplied, where the wish was for it.
    """

    motion: F32
    viseme: F32
    i420: U8
    odd: int
    rgba: U8 | None
    release: Callable[[], None]


@dataclass(slots=True)
class Staging:
    """Pinned memory for one batch's results, the event that says they are there, and how many are still read."""

    room: NDArray[np.uint8]
    done: Event
    read: int = 0
    free: threading.Condition = field(default_factory=threading.Condition)

    def take(self, count: int) -> None:
        """Waits until nobody reads it, then holds it for ``count`` answers."""
        with self.free:
            while self.read:
                self.free.wait()
            self.read = count

    def release(self) -> None:
        """One of them has been copied."""
        with self.free:
            self.read -= 1
            self.free.notify()

    def forget(self) -> None:
        """There are no answers after all."""
        with self.free:
            self.read = 0
            self.free.notify()


@dataclass(slots=True)
class Pending:
    """A batch that is being painted: whose, and where its results will be."""

    asks: Sequence[Ask]
    views: Views
    staging: Staging
    cutouts: list[U8 | None]


@dataclass(slots=True)
class Batch:
    """Everything of one bucket: its inputs' block, its results, and by number of steps plan, rows and graph."""

    block: Block
    results: Layout
    plans: dict[int, Plan] = field(default_factory=dict)
    rows: dict[int, Words] = field(default_factory=dict)
    graphs: dict[int, Graph] = field(default_factory=dict)


class Tick:
    """Buffers and graphs for up to ``most`` sessions at a time, of pictures ``size`` (H, W), multiples of 32.

    ``lookahead``: which of the lip network's heads. ``progress`` hears what is being readied, and which share is done.
    Raises ValueError for another size or networks that are not of this version, OutOfMemory when not even one session
    fits; when fewer than ``most`` fit, ``buckets`` says how many do and ``reduced`` why.
    """

    def __init__(
        self, device: Device, networks: Networks, size: tuple[int, int] = (512, 512), *, most: int = 64,
        lookahead: int = 0, vertices: int = VERTICES, triangles: int = TRIANGLES, blended: int = BLENDED,
        eager: bool = False, progress: Callable[[str, float], None] = lambda what, share: None,
    ) -> None:  # fmt: skip
        if size[0] % 32 or size[1] % 32 or min(size) < 32:
            raise ValueError(f"a GPU paints sides that are multiples of 32 pixels, not {size[1]} x {size[0]}")
        if most < 1:
            raise ValueError(f"a GPU paints at least 1 session, not {most}")
        self.device, self.networks, self.size, self.eager = device, networks, size, eager
        self.lookahead, self.steps, self._progress = lookahead, networks.steps, progress
        self._rooms = Rooms(device, networks, size, vertices, triangles, blended)
        self.noise_shape = self._rooms.noise
        self._tables, self.stream = launches.shared(device), device.stream()
        self.buckets: tuple[int, ...] = tuple(one for one in BUCKETS if one <= most)
        self.reduced, self._turn = "", 0
        self.costs: dict[tuple[int, int], float] = {}
        self._batches: dict[int, Batch] = {}
        self._spare: list[U8] = []  # pinned memory of cutouts
        self.device.use()
        self._prepare()

    # What sessions do, on their own threads.

    def seat(self) -> Seat:
        """A place for a new session."""
        self.device.use()
        sizes = self._rooms.sizes
        places = sizes.vertices + 2 * sizes.triangles
        return Seat(self.device, self.size, sizes.counts["lips"], sizes.counts["performer"], places)

    def worn(self, make: Callable[[Device], Worn]) -> Worn:
        """``make``'s avatar, if there is room for it. Raises ValueError for one that is too large."""
        self.device.use()
        worn, sizes = make(self.device), self._rooms.sizes
        has, room = (worn.vertices, worn.triangles, worn.blended), (sizes.vertices, sizes.triangles, sizes.blended)
        if any(size > most for size, most in zip(has, room, strict=True)):
            raise ValueError(
                f"{worn.avatar.meta.name} has {has[0]} vertices, {has[1]} faces and {has[2]} see-through ones; the GPU "
                f'has room for {room[0]}, {room[1]} and {room[2]}: set [render] device = "cpu" for it'
            )
        return worn

    # What the scheduler does, on one thread.

    def attach(self) -> None:
        """The calling thread is the one that submits."""
        self.device.use()

    def submit(self, asks: Sequence[Ask], steps: int) -> Pending:
        """Puts a batch on the stream: ``asks`` of a Seat and a Wish each, none of more than ``steps``."""
        batch = self._batches[bucket(len(asks), self.buckets)]
        views = batch.block.next()
        for row, ask in enumerate(asks):
            self._fill(views, row, ask, batch.plans[steps], batch.rows[steps][row])
        views["live"][...] = len(asks)
        staging = self._stagings[self._turn]
        self._turn = (self._turn + 1) % TURNS
        staging.take(len(asks))
        try:
            batch.block.send(self.stream)
            self._run(batch, steps)
            self.stream.download(staging.room, self._rooms.shown.pointer, batch.results.size)
            cutouts = [self._fetch(ask) for ask in asks]
            staging.done.record(self.stream)
        except BaseException:
            staging.forget()
            raise
        for ask in asks:
            ask.seat.advance(ask.wish.view)
        return Pending(asks, batch.results.views(staging.room), staging, cutouts)

    def collect(self, pending: Pending) -> list[Answer]:
        """Waits for the pictures of a batch."""
        try:
            pending.staging.done.wait()
        except BaseException:
            pending.staging.forget()  # nobody gets an answer to release
            raise
        views, release = pending.views, pending.staging.release
        return [
            Answer(
                views["motion"][i], views["viseme"][i], views["picture"][i], int(views["changed"][i]), cutout, release
            )
            for i, cutout in enumerate(pending.cutouts)
        ]

    def trace(self, batch: int, steps: int = 1) -> list[tuple[str, float]]:
        """GPU milliseconds of each kernel and network of a batch whose rows are as the last tick left them, launched
        one by one: for measuring, while nobody else uses the tick."""
        start = self.device.event().record(self.stream)
        marks: list[tuple[str, Event]] = []
        self._enqueue(
            self._batches[batch], steps, lambda name: marks.append((name, self.device.event().record(self.stream)))
        )
        self.stream.wait()
        before = [start, *(event for _, event in marks)]
        return [(name, event.since(earlier)) for (name, event), earlier in zip(marks, before, strict=False)]

    def _fill(self, views: Views, row: int, ask: Ask, plan: Plan, half: Words) -> None:
        seat, wish = ask.seat, ask.wish
        assert isinstance(seat, Seat) and isinstance(wish, Wish)
        if changed(seat.view, wish.view):
            seat.cut()
        key = id(plan), seat.turn, seat.started
        own = seat.halves.get(key)
        if own is None:
            own = seat.halves[key] = plan.half(session=seat.namespace())
        np.bitwise_or(half, own, out=views["table"][row, : len(half)])
        views["frame"][row] = wish.frame
        views["gain"][row], views["condition"][row] = wish.gain, wish.condition
        views["temperature"][row], views["view"][row] = wish.temperature, wish.angles
        views["wanted"][row] = ask.steps
        if wish.noise is not None:
            views["noise"][row] = wish.noise

    def _fetch(self, ask: Ask) -> U8 | None:
        """Orders the picture without its background, for a session that shows one through."""
        if not ask.wish.cutout:
            return None
        seat: Seat = ask.seat
        if seat.cutout is None:  # pinned memory is never freed, so that of seats that are gone is used again
            seat.cutout = self._spare.pop() if self._spare else self.device.pinned((*self.size, 4), np.uint8)
            weakref.finalize(seat, self._spare.append, seat.cutout)
        self.stream.download(seat.cutout, seat.picture[seat.turn].pointer)
        return seat.cutout

    def _run(self, batch: Batch, steps: int) -> None:
        if self.eager:
            self._enqueue(batch, steps)
        else:
            batch.graphs[steps].launch(self.stream)

    def _enqueue(self, batch: Batch, steps: int, mark: Callable[[str], None] | None = None) -> None:
        block, plan = batch.block, batch.plans[steps]
        stride = block.layout.offset("table", 1) - block.layout.offset("table")
        plan.enqueue(block.pointer("table"), stride, block.pointer("live"), block.layout.batch, self.stream, mark)

    # Getting ready.

    def _prepare(self) -> None:
        most, idle = self.buckets[-1], Step("idle", lambda batch, stream: None)
        stride = max(self._plan(dict.fromkeys(NAMES, idle), steps).stride for steps in self.steps)
        while True:
            try:
                self._progress(f"memory for {self.buckets[-1]} sessions at a time", 0.0)
                self._rooms.allocate(self.buckets[-1], stride)
                break
            except OutOfMemory as problem:
                self._reduce(len(self.buckets) - 1, most, problem)
        size = self._rooms.shown.nbytes
        self._stagings = [Staging(self.device.pinned(size, np.uint8), self.device.event()) for _ in range(TURNS)]
        for number, one in enumerate(self.buckets):
            try:
                self._batches[one] = self._ready(one, stride, number / len(self.buckets))
            except OutOfMemory as problem:
                self._reduce(number, most, problem)
                break
        self._progress("ready", 1.0)

    def _reduce(self, count: int, most: int, problem: OutOfMemory) -> None:
        if count == 0:
            raise problem
        self.buckets = self.buckets[:count]
        self.reduced = f"room for {self.buckets[-1]} sessions at a time, not {most}: {problem}"

    def _plan(self, networks: dict[str, Step], steps: int) -> Plan:
        tables, sizes = self._tables, self._rooms.sizes
        work: list[Launch | Step] = [
            *launches.voice(tables, sizes, networks["lips"], networks["performer"], self._rooms.told(steps)),
            *launches.body(tables, sizes, self.lookahead),
            *launches.raster(sizes),
            *launches.guidance(sizes),
            *launches.painting(sizes, networks["painter"]),
        ]
        return Plan(self.device, work)

    def _ready(self, size: int, stride: int, share: float) -> Batch:
        """One bucket: networks bound, launches laid out, graphs captured."""
        rooms, results = self._rooms, self._rooms.results(size)
        batch = Batch(Block(self.device, rooms.inputs(size, stride), rooms.block), results)
        for steps in self.steps:
            self._progress(f"{size} at a time, {steps} step{'s' * (steps > 1)}", share)
            networks = {name: self._step(name, size, steps, batch) for name in NAMES}
            plan = batch.plans[steps] = self._plan(networks, steps)
            plan.load()
            batch.rows[steps] = np.stack([plan.half(row=rooms.row(batch.block, results, i)) for i in range(size)])
            batch.block.next()["live"][...] = 0
            batch.block.send(self.stream)
            self._enqueue(batch, steps)  # what is made at the first run is made now
            self.stream.wait()
            if not self.eager:
                with self.networks.capture(self.stream) as captured:
                    self._enqueue(batch, steps)
                batch.graphs[steps] = captured[0]
            self.costs[size, steps] = min(self._cost(batch, steps) for _ in range(TRIED))
        return batch

    def _step(self, name: str, size: int, steps: int, batch: Batch) -> Step:
        enqueue = self.networks.bind(name, size, steps, self._rooms.buffers(name, size, batch.block, batch.results))
        return Step(name, lambda size, stream: enqueue(stream))

    def _cost(self, batch: Batch, steps: int) -> float:
        """GPU milliseconds of a run."""
        start, end = self.device.event(), self.device.event()
        start.record(self.stream)
        self._run(batch, steps)
        end.record(self.stream).wait()
        return end.since(start)
