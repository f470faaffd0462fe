"""Turns: sessions that share a processor, each on a thread of its own, painted when the scheduler says so.

A thread takes a turn for each frame and waits for it; how many have one at a time is fixed. Time comes from whoever
made the Turns: the engine reads no clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Protocol

from engine.schedule.core import RUNNING, STUCK, Ask, Core, Member
from engine.schedule.plan import Rung
from engine.schedule.review import Review, Rules
from engine.schedule.room import Room

Clock = Callable[[], float]  # milliseconds
LOOK_S: Final = STUCK / 1e3  # who waits looks so often whether a turn was written off


@dataclass(frozen=True, slots=True)
class Report:
    """How a scheduler fares. ``utilisation``: share of its capacity that is needed; ``rungs``: sessions on each rung
    of the plan; ``missed`` of all ``frames`` so far, ``skipped`` of those without a picture; ``lowered``, ``raised``:
    times that a session's quality was."""

    sessions: int = 0
    utilisation: float = 0.0
    waiting: int = 0
    rungs: tuple[int, ...] = ()
    frames: int = 0
    missed: int = 0
    skipped: int = 0
    lowered: int = 0
    raised: int = 0
    picture_ms: float = 0.0  # what a full picture costs, over all sessions


class Turn(Protocol):
    """One frame's turn, as a context. ``granted`` is False when the session was ended while it waited: nothing is to
    be done then. ``rung`` is what to paint at; ``paint`` False: no picture this time, it would be late; ``lane``: which
    of the turns that go on at the same time it is, None where no other session is there. Set ``level`` when it was
    painted at another rung than that."""

    granted: bool
    rung: Rung
    paint: bool
    lane: int | None
    level: int | None

    def __enter__(self) -> Turn: ...
    def __exit__(self, *error: Any) -> None: ...


class Place(Protocol):
    """A session's place in the scheduler, from ``join`` to ``leave``. ``number``: which it is, counted from 0."""

    @property
    def number(self) -> int: ...

    def turn(self, release: float, deadline: float, light: bool = False) -> Turn:
        """Asks for the frame that could begin at ``release`` and is to be there by ``deadline`` (clock's milliseconds);
        ``light``: it gets no picture of its own. Waits when the context is entered."""
        ...

    def leave(self) -> None:
        """The session ends; from any thread, more than once if need be. Whoever waits for its turn is told."""
        ...


@dataclass(slots=True)
class Free:
    """A turn, and a place, where nobody schedules."""

    granted: bool = True
    rung: Rung = field(default_factory=Rung)
    paint: bool = True
    lane: int | None = None
    level: int | None = None
    number: int = 0

    def turn(self, release: float, deadline: float, light: bool = False) -> Turn:
        """At once."""
        return self

    def leave(self) -> None:
        """Nothing to do."""

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *error: Any) -> None:
        return None


class Turns:
    """Gives turns by a `Core`, to threads. Thread-safe."""

    def __init__(self, core: Core, clock: Clock, rules: Rules | None = None) -> None:
        self._core, self._clock = core, clock
        self._review = Review(core, rules or Rules())
        self._lock = threading.Lock()

    def join(self, weight: float = 1.0) -> Place:
        """A place for one more session, of ``weight`` beside others."""
        with self._lock:
            return _Place(self, self._core.join(self._clock(), weight))

    def room(self) -> Room:
        """What is left, and whether one more fits."""
        with self._lock:
            return self._review.room()

    def report(self) -> Report:
        """How it goes."""
        with self._lock:
            return measured(self._core, self._review)

    def ask(self, member: Member, release: float, deadline: float, light: bool, event: threading.Event) -> Ask | None:
        """Waits for the turn; None when the session left."""
        with self._lock:
            if not member.here:
                return None
            event.clear()
            ask = self._core.ask(member, release, deadline, self._clock(), light)
            ask.tag = event
            self._give()
        while not event.wait(LOOK_S):
            with self._lock:
                self._give()
        return ask if ask.state == RUNNING else None

    def done(self, batch: list[Ask], level: int | None) -> None:
        """The turn is over."""
        with self._lock:
            now = self._clock()
            self._core.done(batch, now, now - batch[0].started, level)
            self._review.look(now)
            self._give()

    def leave(self, member: Member, event: threading.Event) -> None:
        """The session is."""
        with self._lock:
            self._core.leave(member, self._clock())
            event.set()
            self._give()

    def quality(self, ask: Ask) -> tuple[Rung, int | None]:
        """What it is to be painted at, and where, beside others."""
        return self._core.plan.rungs[ask.member.rung], ask.lane if len(self._core.members) > 1 else None

    def _give(self) -> None:
        while batch := self._core.pick(self._clock()):
            taken = {other[0].lane for other in self._core.running if other is not batch}
            batch[0].batch, batch[0].lane = batch, min({*range(len(taken) + 1)} - taken)
            batch[0].tag.set()


def measured(core: Core, review: Review) -> Report:
    """How a scheduler fares."""
    rungs = [0] * len(core.plan.rungs)
    for member in core.members.values():
        rungs[member.rung] += 1
    return Report(
        len(core.members), core.utilisation, core.waiting, tuple(rungs), core.frames, core.misses, core.skipped,
        review.lowered, review.raised, core.typical,
    )  # fmt: skip


class _Place:
    """One session among `Turns`."""

    def __init__(self, turns: Turns, member: Member) -> None:
        self._turns, self._member, self._event = turns, member, threading.Event()
        self.number = member.number

    def turn(self, release: float, deadline: float, light: bool = False) -> Turn:
        """See Place."""
        return _Turn(self._turns, self._member, self._event, release, deadline, light)

    def leave(self) -> None:
        """See Place."""
        self._turns.leave(self._member, self._event)


class _Turn:
    """One frame's turn among `Turns`."""

    __slots__ = ("_ask", "_event", "_member", "_turns", "_wanted", "granted", "lane", "level", "paint", "rung")

    def __init__(
        self, turns: Turns, member: Member, event: threading.Event, release: float, deadline: float, light: bool
    ) -> None:
        self._turns, self._member, self._event, self._wanted = turns, member, event, (release, deadline, light)
        self._ask: Ask | None = None
        self.granted, self.paint, self.rung = False, True, Rung()
        self.lane: int | None = None
        self.level: int | None = None

    def __enter__(self) -> Turn:
        ask = self._ask = self._turns.ask(self._member, *self._wanted, self._event)
        if ask is not None:
            self.granted, self.paint = True, ask.paint
            self.rung, self.lane = self._turns.quality(ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ask is not None:
            self._turns.done(self._ask.batch, self.level)
