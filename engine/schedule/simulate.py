"""A machine and its sessions in virtual time: the scheduler's core with thousands of sessions, and no clock."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace

from engine.schedule.core import PERIOD, Ask, Core, Member
from engine.schedule.review import Review
from engine.schedule.room import Room

BACKLOG = 6  # frames of voice that wait for a session; older ones are left out, as the worker does


@dataclass(slots=True, eq=False)
class Person:
    """One session as a workload: ``cost`` milliseconds of a full picture, give or take a share ``spread``; frames every
    ``period`` with up to ``jitter`` milliseconds of lateness, from ``start`` to ``end``; ``greedy`` asks for the next
    frame as soon as it has one. ``surge`` multiplies its cost over time."""

    cost: float = 10.0
    start: float = 0.0
    end: float = float("inf")
    spread: float = 0.1
    jitter: float = 0.0
    period: float = PERIOD
    weight: float = 1.0
    greedy: bool = False
    surge: Callable[[float], float] | None = None
    light: float = 1.0
    member: Member | None = None
    refused: Room | None = None
    due: deque[float] = field(default_factory=deque)  # when voice of frames that wait came
    asked: int = 0
    painted: int = 0
    late: int = 0
    skipped: int = 0
    left_out: int = 0
    worst: float = 0.0  # longest time between two pictures
    last: float = 0.0
    rungs: int = 0  # the lowest it has been on


@dataclass(slots=True)
class Machine:
    """Runs a `Core` for people who come and go. ``admits``: whether who comes is let in only when there is room;
    ``speed`` of the machine over time; ``watch`` hears each batch as it begins."""

    core: Core
    people: Sequence[Person]
    review: Review | None = None
    admits: bool = True
    seed: int = 0
    speed: Callable[[float], float] | None = None
    watch: Callable[[float, list[Ask]], None] | None = None
    batch_cost: Callable[[int], float] | None = None  # a batch's milliseconds as a multiple of one row's, by its rows
    now: float = 0.0
    _random: random.Random = field(default_factory=random.Random)
    _events: list[tuple[float, int, Person]] = field(default_factory=list)
    _ends: list[tuple[float, int, list[Ask], float]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self._random.seed(self.seed)
        for number, person in enumerate(self.people):
            heappush(self._events, (person.start, number, person))

    def run(self, until: float) -> None:
        """Goes on to ``until`` milliseconds."""
        events, ends = self._events, self._ends
        while True:
            if ends and (not events or ends[0][0] <= events[0][0]):
                if ends[0][0] > until:
                    break
                self.now, _, batch, took = heappop(ends)
                self._finish(batch, took)
            elif events and events[0][0] <= until:
                self.now, number, person = events[0]
                again = self._arrive(person)
                if again is None:
                    heappop(events)
                else:
                    heapreplace(events, (again, number, person))
            else:
                break
        self.now = until

    def _arrive(self, person: Person) -> float | None:
        """Somebody comes, goes, or has spoken another frame; when that happens to him next."""
        now, member = self.now, person.member
        if member is None:
            if self.admits and self.review is not None:
                room = self.review.room()
                if room.refusal is not None:
                    person.refused = room
                    return None
            person.member = self.core.join(now, person.weight)
            person.last = now
            return now + person.period
        if now >= person.end:
            self.core.leave(member, now)
            return None
        person.due.append(now)
        if len(person.due) > BACKLOG:
            person.due.popleft()
            person.left_out += 1
        if member.ask is None:
            self._ask(person, member)
        jitter = person.jitter
        if not jitter:
            return now + person.period
        base = person.start + PERIOD * round((now - person.start) / PERIOD)
        return max(base + person.period + self._random.uniform(-jitter, jitter), now)

    def _ask(self, person: Person, member: Member) -> None:
        released = person.due.popleft()
        every = self.core.plan.rungs[member.rung].every
        light = every > 1 and (person.asked + member.number) % every > 0
        person.asked += 1
        self.core.ask(member, released, released + PERIOD, self.now, light).tag = person
        self._give()

    def _give(self) -> None:
        while batch := self.core.pick(self.now):
            if self.watch is not None:
                self.watch(self.now, batch)
            took = self._takes(batch)
            self._count += 1
            heappush(self._ends, (self.now + took, self._count, batch, took))

    def _takes(self, batch: list[Ask]) -> float:
        dearest = 0.0
        for ask in batch:
            person, member = ask.tag, ask.member
            assert isinstance(person, Person)
            if ask.light or not ask.paint:
                took = person.light
            else:
                took = person.cost * self.core.plan.ratios[member.rung]
                took *= 1 + person.spread * (2 * self._random.random() - 1)
                if person.surge is not None:
                    took *= person.surge(self.now)
            dearest = took if took > dearest else dearest
        if self.batch_cost is not None:
            dearest *= self.batch_cost(len(batch))
        return dearest / self.speed(self.now) if self.speed is not None else dearest

    def _finish(self, batch: list[Ask], took: float) -> None:
        now, core = self.now, self.core
        core.done(batch, now, took)
        if self.review is not None:
            self.review.look(now)
        for ask in batch:
            person, member = ask.tag, ask.member
            assert isinstance(person, Person)
            person.rungs = member.rung if member.rung > person.rungs else person.rungs
            if not ask.light:
                if ask.paint:
                    person.painted += 1
                    person.late += now > ask.deadline
                    gap = now - person.last
                    person.worst = gap if gap > person.worst else person.worst
                    person.last = now
                else:
                    person.skipped += 1
            if member.here:
                if person.greedy and not person.due:
                    person.due.append(now)
                if person.due:
                    self._ask(person, member)
        self._give()
