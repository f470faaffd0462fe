"""The tick: 40 ms of any sessions at once, from sound to I420, as one graph on the GPU.

One copy takes the inputs there, one graph does all the work, one copy brings pictures and Motion back, and one event
says that they are there. Nothing is allocated, and nobody waits for anything else. `Tick.eager` runs the same work
without the graph.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.gpu import launches
from engine.gpu.block import Block, Layout
from engine.gpu.launches import MEL, Sizes
from engine.gpu.networks import Buffer, Enqueue, Networks
from engine.gpu.plan import Launch, Plan, Step
from engine.gpu.seat import Seat
from engine.gpu.wish import FRAME_RECORD, Wish, changed
from engine.gpu.worn import Worn
from engine.motion.frame import SIZE, K, R
from engine.render.picture import U8
from engine.scheduler import Ask, bucket
from kernels.bones import MOST as BONES
from kernels.cuda import Device, Event, Graph, OutOfMemory

F32 = NDArray[np.float32]
VERTICES, TRIANGLES = 24576, 36864  # room for an avatar; the shipped ones have up to 21151 and 30805
BLENDED: Final = 8192  # of its faces that are see-through; the shipped ones have up to 4280
RECORD, ROW, ENTRY = 12, 12, 16  # kernels/gbuffer.cuh
BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)
TURNS: Final = 4  # batches of pictures on the host that may still be read while the next are painted
WARM: Final = 3  # runs of a batch before what it costs is measured, and runs that measure it


# Where the networks' inputs and outputs lie: in the block that goes to the GPU, in the results that come back, in
# scratch of the kernels; the rest in scratch of their own.
TOLD: Final = {"lips": ("gain",), "performer": ("condition", "temperature", "noise"), "painter": ("view", "wanted")}
SHOWN: Final = {"lips": ("viseme",), "performer": (), "painter": ("motion",)}
SHARED: Final = {
    ("lips", "mel"): "mel", ("lips", "state"): "lips", ("performer", "mel"): "heard",
    ("performer", "state"): "performer",
}  # fmt: skip


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
class _Staging:
    """Pinned memory for one batch's results, and how many of its answers are still read."""

    room: NDArray[np.uint8]
    read: int = 0
    free: threading.Condition = field(default_factory=threading.Condition)

    def take(self, count: int) -> None:
        with self.free:
            while self.read:
                self.free.wait()
            self.read = count

    def release(self) -> None:
        with self.free:
            self.read -= 1
            self.free.notify()


@dataclass(slots=True)
class _Pending:
    asks: Sequence[Ask]
    views: dict[str, NDArray[Any]]
    staging: _Staging
    done: Event
    rgba: list[U8 | None]


@dataclass(slots=True)
class _Batch:
    """Everything of one bucket: its inputs' block, its results, and by number of steps the plan, rows and graph."""

    block: Block
    results: Layout
    plans: dict[int, Plan]
    rows: dict[int, NDArray[np.uint64]]
    graphs: dict[int, Graph] = field(default_factory=dict)


class Tick:
    """Buffers and graphs for up to ``most`` sessions at a time, of pictures ``size`` (H, W), multiples of 32.

    ``lookahead``: which of the lip network's heads. ``progress`` hears what is being readied, and which share is done.
    Raises ValueError for another size or networks that are not of this version, OutOfMemory when not even one session
    fits; when fewer than ``most`` fit, ``buckets`` says how many do and ``reduced`` why.
    """

    def __init__(
        self, device: Device, networks: Networks, size: tuple[int, int] = (512, 512), *, most: int = 64,
        lookahead: int = 0, vertices: int = VERTICES, triangles: int = TRIANGLES, eager: bool = False,
        progress: Callable[[str, float], None] = lambda what, share: None,
    ) -> None:  # fmt: skip
        if size[0] % 32 or size[1] % 32:
            raise ValueError(f"pictures have sides that are multiples of 32, got {size[1]} x {size[0]}")
        self.device, self.networks, self.size, self.eager = device, networks, size, eager
        self.lookahead, self._progress = lookahead, progress
        self.steps = networks.steps
        self._inputs = {name: networks.inputs(name) for name in ("lips", "performer", "painter")}
        self._outputs = {name: networks.outputs(name) for name in ("lips", "performer", "painter")}
        self.noise_shape = self._inputs["performer"]["noise"][0]
        self.sizes = Sizes(*size, vertices, triangles, BLENDED, self._counts())
        self._tables, self.stream = launches.shared(device), device.stream()
        self.buckets, self.reduced = tuple(size for size in BUCKETS if size <= most), ""
        self.costs: dict[tuple[int, int], float] = {}
        self._turn = 0
        self._prepare()

    # What sessions do, on their own threads.

    def seat(self) -> Seat:
        """A place for a new session."""
        self.device.use()
        counts = self.sizes.counts
        places = self.sizes.vertices + 2 * self.sizes.triangles
        return Seat(self.device, self.size, counts["lips"], counts["performer"], places)

    def worn(self, make: Callable[[Device], Worn]) -> Worn:
        """``make``'s avatar, if there is room for it. Raises ValueError for one that is too large."""
        self.device.use()
        worn = make(self.device)
        sizes = (worn.vertices, worn.triangles, worn.blended)
        room = (self.sizes.vertices, self.sizes.triangles, self.sizes.blended)
        if any(size > most for size, most in zip(sizes, room, strict=True)):
            raise ValueError(
                f"{worn.avatar.meta.name} has {sizes[0]} vertices, {sizes[1]} faces and {sizes[2]} see-through ones; a "
                f"GPU takes {room[0]}, {room[1]} and {room[2]}: set [render] device to cpu for it"
            )
        return worn

    # What the scheduler does, on one thread.

    def attach(self) -> None:
        """The calling thread is the one that submits."""
        self.device.use()

    def submit(self, asks: Sequence[Ask], steps: int) -> _Pending:
        """Puts a batch on the stream: ``asks`` of a Seat and a Wish each."""
        own = self._batches[bucket(len(asks), self.buckets)]
        views, halves = own.block.next(), own.rows[steps]
        for row, ask in enumerate(asks):
            self._fill(views, row, ask, own.plans[steps], halves[row])
        views["live"][...] = len(asks)
        staging = self._stagings[self._turn]
        self._turn = (self._turn + 1) % TURNS
        staging.take(len(asks))
        own.block.send(self.stream)
        if self.eager:
            self._enqueue(own, steps)
        else:
            own.graphs[steps].launch(self.stream)
        self.stream.download(staging.room, self._out.pointer, own.results.size)
        rgba = [self._fetch(ask) for ask in asks]
        for ask in asks:
            ask.seat.advance(ask.wish.view)
        done = self.device.event().record(self.stream)
        return _Pending(asks, own.results.views(staging.room), staging, done, rgba)

    def collect(self, pending: _Pending) -> list[Answer]:
        """Waits for the pictures of a batch."""
        pending.done.wait()
        views = pending.views
        return [
            Answer(views["motion"][i], views["viseme"][i], views["picture"][i], int(views["changed"][i]),
                   pending.rgba[i], pending.staging.release)
            for i in range(len(pending.asks))
        ]  # fmt: skip

    def _fill(self, views: dict[str, NDArray[Any]], row: int, ask: Ask, plan: Plan, half: NDArray[np.uint64]) -> None:
        seat, wish = ask.seat, ask.wish
        assert isinstance(seat, Seat) and isinstance(wish, Wish)
        if changed(seat.view, wish.view):
            seat.cut()
        key = id(plan), seat.turn, seat.started
        own = seat.halves.get(key)
        if own is None:
            own = seat.halves[key] = plan.half(session=seat.namespace())
        np.bitwise_or(half, own, out=views["table"][row])
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
        if seat.cutout is None:
            seat.cutout = self.device.pinned((*self.size, 4), np.uint8)
        self.stream.download(seat.cutout, seat.picture[seat.turn].pointer)
        return seat.cutout

    # Getting ready.

    def _counts(self) -> dict[str, int]:
        lips, performer, painter = (self._inputs[name] for name in ("lips", "performer", "painter"))
        for name, inputs, wanted in (
            ("lips", lips, {"mel", "state", "gain"}),
            ("performer", performer, {"mel", "condition", "noise", "temperature", "state"}),
            ("painter", painter, {"cells", "noise", "noise_detail", "view", "motion", "code"}),
        ):
            missing = wanted - inputs.keys()
            if missing:
                raise ValueError(f"the {name} network is not of this version: it has no input {', '.join(missing)}")
        numbers = {"lips": lips["state"][0][0], "performer": performer["state"][0][0]}
        for name in ("noise", "noise_detail", "code", "normal"):
            if name in painter:
                shape, dtype = self._shaped(painter[name][0]), painter[name][1]
                numbers[name] = int(np.prod(shape)) * dtype.itemsize // 4
        return numbers

    def _shaped(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """``shape`` of one row of the painter's, whose free sides follow from the picture's."""
        if -1 not in shape:
            return shape
        height, width = self.size
        if len(shape) == 3 and shape[0] == 3:
            return (3, height, width)
        by = 4 if shape[-1] in (48, 32) else 8
        return (height // by, width // by, *shape[2:])

    def _prepare(self) -> None:
        while True:
            try:
                self._allocate(self.buckets[-1])
                break
            except OutOfMemory as problem:
                self._reduce(problem)
        self._batches: dict[int, _Batch] = {}
        for number, size in enumerate(self.buckets):
            try:
                self._batches[size] = self._ready(size, number / len(self.buckets))
            except OutOfMemory as problem:
                if number == 0:
                    raise
                most = self.buckets[-1]
                self.buckets = self.buckets[:number]
                self.reduced = f"room for {self.buckets[-1]} sessions at a time, not {most}: {problem}"
                break
        self._progress("ready", 1.0)

    def _reduce(self, problem: OutOfMemory) -> None:
        if len(self.buckets) == 1:
            raise problem
        most = BUCKETS[len(self.buckets) - 1]
        self.buckets = self.buckets[:-1]
        self.reduced = f"room for {self.buckets[-1]} sessions at a time, not {most}: {problem}"

    def _allocate(self, most: int) -> None:
        """Scratch for the largest batch, row by row; smaller ones use its first rows."""
        self._progress(f"memory for {most} sessions at a time", 0.0)
        (height, width), room = self.size, self.device.empty
        half = (height // 2, width // 2)
        V, F = self.sizes.vertices, self.sizes.triangles
        f4, i4, u1 = np.float32, np.int32, np.uint8
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "weights": ((K + R,), f4), "bones": ((BONES, 3, 4), f4), "vertices": ((V, 3), f4), "normals": ((V, 3), f4),
            "xy": ((V + 2 * F, 2), i4), "record": ((V + 2 * F, RECORD), f4), "triangle": ((2 * F, 3), i4),
            "owner": ((2 * F,), i4), "plane": ((2 * F, 3, ROW), f4), "detail": ((F,), f4), "drift": ((F, 3), f4),
            "fade": ((2 * F,), f4), "buffer": ((height, width), np.uint64), "depth": ((height, width), f4),
            "face_plane": ((height, width), i4), "region": ((height, width), u1), "normal": ((3, height, width), f4),
            "uv": ((2, height, width), f4), "flow": ((2, height, width), f4), "layer": ((height, width, ENTRY), f4),
            "hi": ((6, height, width), u1), "lo": ((7, *half), u1), "half_flow": ((2, *half), f4), "seen": (half, u1),
            "was": (half, f4), "nearest": (half, np.int16),
            **self._network_rooms(),
        }  # fmt: skip
        self._scratch = {name: room((most, *shape), dtype) for name, (shape, dtype) in shapes.items()}
        self._out = room(self._results(most).size, u1)
        self._in = room(self._layout(most, self._stride()).size, u1)
        self._stagings = [_Staging(self.device.pinned(self._out.nbytes, u1)) for _ in range(TURNS)]

    def _network_rooms(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """What networks read and write that no kernel of ours reads or writes elsewhere: one row of each."""
        lips, performer, painter = (self._outputs[name] for name in ("lips", "performer", "painter"))
        told = {
            "mel": ((MEL,), np.float32), "lips": self._inputs["lips"]["state"],
            "performer": self._inputs["performer"]["state"], "heard": ((2 * MEL,), np.float32),
        }  # fmt: skip
        painted = {
            name: (self._shaped(shape), dtype)
            for name, (shape, dtype) in {**self._inputs["painter"], **painter}.items()
            if name not in ("view", "motion", "wanted")
        }
        said = {f"lips.{name}": value for name, value in lips.items() if name != "viseme"}
        acted = {f"performer.{name}": value for name, value in performer.items()}
        return {**told, **painted, **said, **acted}

    def _layout(self, batch: int, stride: int) -> Layout:
        performer = self._inputs["performer"]
        return Layout({
            "table": ((stride // 8,), np.uint64), "frame": ((), FRAME_RECORD),
            "gain": (self._inputs["lips"]["gain"][0], np.float32), "condition": (performer["condition"][0], np.float32),
            "temperature": ((1,), np.float32), "noise": (performer["noise"][0], np.float32),
            "view": ((4,), np.float32), "wanted": ((), np.int32),
        }, batch)  # fmt: skip

    def _results(self, batch: int) -> Layout:
        viseme = self._outputs["lips"]["viseme"][0]
        return Layout({
            "motion": ((SIZE,), np.float32), "changed": ((), np.int32), "viseme": (viseme, np.float32),
            "picture": ((self.size[0] * 3 // 2, self.size[1]), np.uint8),
        }, batch)  # fmt: skip

    def _stride(self) -> int:
        idle = Step("idle", lambda batch, stream: None)
        return max(self._plan(lambda name: idle, steps).stride for steps in self.steps)

    def _plan(self, network: Callable[[str], Step], steps: int) -> Plan:
        work: list[Launch | Step] = [
            *launches.lips(self._tables, self.sizes, network("lips")),
            *launches.performance(self._tables, self.sizes, network("performer")),
            *launches.body(self._tables, self.sizes, self.lookahead),
            *launches.raster(self.sizes),
            *launches.guidance(self.sizes),
            *launches.painting(self.sizes, network("painter"), steps),
        ]
        return Plan(self.device, work)

    def _ready(self, batch: int, share: float) -> _Batch:
        """Networks bound, launches laid out, graphs captured for one bucket."""
        layout, results = self._layout(batch, self._stride()), self._results(batch)
        block = Block(self.device, layout, self._in)
        own = _Batch(block, results, {}, {})
        for steps in self.steps:
            self._progress(f"{batch} at a time, {steps} step{'s' * (steps > 1)}", share)
            bound = {name: self._bind(name, batch, steps, block, results) for name in ("lips", "performer", "painter")}
            plan = self._plan(lambda name, bound=bound: Step(name, bound[name]), steps)  # type: ignore[misc]
            plan.load()
            own.plans[steps] = plan
            own.rows[steps] = np.stack([plan.half(row=self._row(block, results, i)) for i in range(batch)])
            own.block.next()["live"][...] = 0
            own.block.send(self.stream)
            self._enqueue(own, steps)  # whatever is made at the first run is made now
            self.stream.wait()
            if not self.eager:
                with self.networks.capture(self.stream) as captured:
                    self._enqueue(own, steps)
                own.graphs[steps] = captured[0]
            self.costs[batch, steps] = self._cost(own, steps)
        return own

    def _cost(self, own: _Batch, steps: int) -> float:
        """Milliseconds of a run, the least of a few."""
        times = []
        for _ in range(WARM):
            start = time.perf_counter()
            if self.eager:
                self._enqueue(own, steps)
            else:
                own.graphs[steps].launch(self.stream)
            self.stream.wait()
            times.append(1e3 * (time.perf_counter() - start))
        return min(times)

    def _enqueue(self, own: _Batch, steps: int, mark: Callable[[str], None] | None = None) -> None:
        block, plan = own.block, own.plans[steps]
        plan.enqueue(block.pointer("table"), block.pointer("live"), block.layout.batch, self.stream, mark)

    def _row(self, block: Block, results: Layout, row: int) -> SimpleNamespace:
        """Where everything of one row is: scratch, the frame's records, and results."""
        frame = block.pointer("frame", row)
        records = {name: frame + FRAME_RECORD.fields[name][1] for name in FRAME_RECORD.names or ()}  # type: ignore[index]
        scratch = {name: array.row(row) for name, array in self._scratch.items()}
        scratch |= {
            "heard_now": scratch["heard"] + 4 * MEL, "face": scratch["lips.face"], "contact": scratch["lips.contact"],
            "next_lips": scratch["lips.next_state"], "next_performer": scratch["performer.next_state"],
            "performance": scratch["performer.motion"],
        }  # fmt: skip
        told = {name: self._out.pointer + results.offset(name, row) for name in ("motion", "changed", "picture")}
        return SimpleNamespace(**{**scratch, **records, **told, "one": 1})

    def _bind(self, name: str, batch: int, steps: int, block: Block, results: Layout) -> Callable[[int, Any], None]:
        """A network for one bucket on the buffers it shares with the kernels."""
        kinds = {**self._inputs[name], **self._outputs[name]}
        buffers = {}
        for tensor, (shape, dtype) in kinds.items():
            shape = self._shaped(shape) if name == "painter" else shape
            if tensor in TOLD[name]:
                pointer = block.pointer(tensor)
            elif tensor in SHOWN[name]:
                pointer = self._out.pointer + results.offset(tensor)
            else:
                place = tensor if name == "painter" else SHARED.get((name, tensor), f"{name}.{tensor}")
                pointer = self._scratch[place].pointer
            buffers[tensor] = Buffer(pointer, (batch, *shape), dtype)
        run: Enqueue = self.networks.bind(name, batch, steps, buffers)
        return lambda batch, stream: run(stream)
