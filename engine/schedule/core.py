"""The scheduler's core: who is painted next. Pure: time is an argument, in milliseconds; no threads, no clock.

Earliest deadline first, with three additions. A session that has had more than its share is ordered by when its share
would have allowed the frame, not by its deadline. A frame that is too late by now is not painted, or waits behind all
that are not. And a session is never passed over for ever: after a few frames without, it gets its picture.
Who may come and what is given up is decided in engine/schedule/review.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final

from engine.clock import FRAME_SECONDS
from engine.schedule.plan import Plan

PERIOD: Final = FRAME_SECONDS * 1e3  # milliseconds between two frames of a session
LATE: Final = 0.5 * PERIOD  # lateness that nobody sees; and what of a picture's own cost counts as waiting
SKIPS: Final = 5  # pictures in a row that a session may go without; the next is painted, late or not
PATIENCE: Final = 5 * PERIOD  # a late frame that cannot be left out stands behind all others for so long
ARREARS: Final = 10 * PERIOD  # a session that took too much is set back by no more than this
STUCK: Final = 1000.0  # a turn that takes longer is written off: others get its place
NEW: Final = 25  # frames of a session that say little yet: caches are cold
LEARNING: Final = 50  # pictures on a new rung by which its cost is corrected
WRONG: Final = 1.4  # by which factor the plan may be wrong about that
SPIKE: Final = 3.0  # a new session's frame that costs more than so many usual ones says little about the next
STEP: Final = 0.01  # share by which a frame changes what is thought of the next: somebody's coming passes in a second
WAITING, RUNNING, OVER = 0, 1, 2


@dataclass(slots=True, eq=False)
class Member:
    """One session. ``rung`` it is to be at, ``level`` it is at. Costs are milliseconds of a place; ``base``: of a full
    picture, ``light``: of a frame without one. ``tag``: until when its share is used up."""

    number: int
    weight: float = 1.0
    rung: int = 0
    level: int = 0
    base: float = 0.0
    light: float = 2.0
    cost: float = 0.0
    tag: float = 0.0
    need: float = 0.0  # milliseconds of a place per period
    skipped: int = 0
    frames: int = 0
    pictures: int = 0
    misses: int = 0
    changed: float = 0.0  # when its rung last did
    dwell: float = 0.0  # how long it stays there at least before it goes up; 0: as the rules say
    raised: float = -1e9  # when it last went up
    anchor: float = 0.0  # `base` when its rung last changed: what the new rung costs is told by it
    learning: int = 0  # for so many pictures
    ask: Ask | None = None
    here: bool = True


@dataclass(slots=True, eq=False)
class Ask:
    """One frame that is asked for. ``light``: without a picture. Once given: ``paint`` says whether it gets one."""

    member: Member
    release: float
    deadline: float
    light: bool = False
    paint: bool = True
    renewed: bool = False
    state: int = WAITING
    started: float = 0.0
    tag: Any = None  # whatever the executor wants to find again
    lane: int = 0  # which of those that run
    batch: list[Ask] = field(default_factory=list)  # those it runs with


@dataclass(slots=True)
class Core:
    """State of the scheduler. ``places``: how many turns, or ticks, go on at once, 0: whoever picks sees to
    that; ``rows``: frames in each.

    ``capacity``: milliseconds of work that get done in a millisecond; ``skips``: whether a frame can do without its
    picture. Costs of members and of those who come begin at ``typical``.
    """

    plan: Plan = Plan()
    places: int = 1
    rows: int = 1
    capacity: float = 1.0
    skips: bool = True
    typical: float = 0.0  # cost of a full picture, over all sessions
    buckets: tuple[int, ...] = (1,)
    members: dict[int, Member] = field(default_factory=dict)
    weights: float = 0.0
    need: float = 0.0  # sum of the members' needs
    bases: float = 0.0  # sum of their costs of a full picture
    frames: int = 0
    misses: int = 0
    skipped: int = 0
    fast: float = 0.0  # share of frames that missed: over the last second, and
    slow: float = 0.0  # over the last ten
    ratios: list[float] = field(default_factory=list)
    waiting: int = 0
    below: int = 0  # members that are not to be at full quality
    running: list[list[Ask]] = field(default_factory=list)  # batches, as given by `pick`
    _heap: list[tuple[float, int, Ask]] = field(default_factory=list)
    _count: int = 0
    _numbers: int = 0

    def __post_init__(self) -> None:
        self.ratios = list(self.plan.ratios)

    def join(self, now: float, weight: float = 1.0) -> Member:
        """A new session, of ``weight`` beside others. It begins where most of them are."""
        if weight <= 0:
            raise ValueError(f"a session's weight must be above 0, got {weight}")
        rung = min((member.rung for member in self.members.values()), default=0)
        number, self._numbers = self._numbers, self._numbers + 1
        member = Member(number, weight, rung, base=self.typical, tag=now, changed=now)
        self.members[number] = member
        self.below += rung > 0
        self.weights += weight
        self.bases += member.base
        self._price(member, rung)
        return member

    def leave(self, member: Member, now: float) -> None:
        """It has ended; what it asked for is forgotten. A turn of its goes on until it is `done`. A second time it is
        nothing."""
        if not member.here:
            return
        member.here = False
        del self.members[member.number]
        self.below -= member.rung > 0
        self.weights -= member.weight
        self.need -= member.need
        self.bases -= member.base
        if not self.members:
            self.weights = self.need = self.bases = 0.0
        ask = member.ask
        if ask is not None:
            self.waiting -= ask.state == WAITING
            ask.state, member.ask = OVER, None

    def ask(self, member: Member, release: float, deadline: float, now: float, light: bool = False) -> Ask:
        """Asks for the frame that could begin at ``release`` and is to be there by ``deadline``. One at a time."""
        if not member.here or member.ask is not None:
            raise ValueError("a session that is here asks for one frame at a time")
        ask = member.ask = Ask(member, release, deadline if deadline > release else release, light)
        order = ask.deadline
        if member.tag > order:
            order = member.tag if member.tag < now + ARREARS else now + ARREARS
        self._count += 1
        self.waiting += 1
        heappush(self._heap, (order, self._count, ask))
        return ask

    def withdraw(self, ask: Ask) -> None:
        """It is not wanted any more; only while it waits."""
        if ask.state == WAITING:
            ask.state, ask.member.ask = OVER, None
            self.waiting -= 1

    def pick(self, now: float) -> list[Ask]:
        """What runs next in one place, up to ``rows`` frames; empty when nothing waits or no place is free.

        Every place that was given ends with ``done`` for all its asks."""
        if not self.waiting:
            if len(self._heap) > 64:
                self._heap.clear()  # only what was withdrawn
            return []
        if self.places and len(self.running) >= self.places and not self._write_off(now):
            return []
        heap, taken, timely = self._heap, list[Ask](), False
        while heap:
            entry = heappop(heap)
            ask = entry[2]
            if ask.state != WAITING:
                continue
            if ask.renewed and timely and len(taken) in self.buckets:
                heappush(heap, entry)  # those in time do not pay for a larger batch
                break
            if not (ask.light or ask.renewed):
                cost = ask.member.cost
                if now + (cost if cost < LATE else LATE) > ask.deadline + LATE and not self._forgive(ask, now):
                    continue
            ask.state, ask.started = RUNNING, now
            taken.append(ask)
            timely = timely or not ask.renewed
            if len(taken) >= self.rows:
                break
        self.waiting -= len(taken)
        if taken and self.places:
            self.running.append(taken)
        return taken

    def drain(self) -> list[Ask]:
        """All that waits, to be told that it will not be: over."""
        asks = [ask for _, _, ask in sorted(self._heap, key=lambda entry: entry[:2]) if ask.state == WAITING]
        self._heap.clear()
        for ask in asks:
            self.withdraw(ask)
        return asks

    def _forgive(self, ask: Ask, now: float) -> bool:
        """Whether an ask that will be late has its turn all the same."""
        member = ask.member
        if member.skipped >= SKIPS or not self.members:
            return True
        if self.skips:
            ask.paint = False
            return True
        ask.renewed = True
        self._count += 1
        heappush(self._heap, (now + PATIENCE, self._count, ask))
        return False

    def _write_off(self, now: float) -> bool:
        """Frees the places of turns that have gone on for too long."""
        count = len(self.running)
        self.running = [batch for batch in self.running if now - batch[0].started <= STUCK]
        return len(self.running) < count

    def done(self, asks: list[Ask], now: float, took: float, level: int | None = None) -> None:
        """What ``pick`` gave is finished, and was ``took`` milliseconds of a place; ``level``: the rung they were
        painted at, when it was another than the member's. A tick that failed is done, too."""
        running = self.running
        for index in range(len(running)):
            if running[index] is asks:
                del running[index]
                break
        each = took / len(asks)
        ratios, per_weight = self.ratios, self.capacity / self.weights if self.weights else 1.0
        for ask in asks:
            if ask.state != RUNNING:
                continue
            ask.state = OVER
            member = ask.member
            member.ask = None
            member.frames += 1
            at = member.rung if level is None else level
            if ask.light or not ask.paint:
                member.light += 0.1 * ((each if each < 4 * member.light + 1 else 4 * member.light + 1) - member.light)
            elif member.frames > 3 or not member.base:
                if member.learning and at == member.rung:
                    self._learn(member, at, each)
                base, full = member.base, each / ratios[at]
                if base and member.frames <= NEW:
                    full = base + 0.3 * ((full if full < SPIKE * base else SPIKE * base) - base)
                elif base:  # by no more than a step up or down: toward what it costs as often as not
                    step = base * (STEP if member.frames > 4 * NEW else 3 * STEP)
                    full = base + (-step if full < base - step else step if full > base + step else full - base)
                member.base = full
                self.bases += full - base
                self.typical += (0.02 if self.typical else 1.0) * (full - self.typical)
            member.pictures += ask.paint and not ask.light
            self._price(member, at)
            start = member.tag if member.tag > ask.release else ask.release
            tag, most = start + each / (member.weight * per_weight), now + ARREARS
            member.tag = tag if tag < most else most
            self._judge(ask, now)

    def _learn(self, member: Member, level: int, took: float) -> None:
        """What a rung saves, by what its picture costs and the full one did."""
        member.learning -= 1
        low = self.ratios[level + 1] if level + 1 < len(self.ratios) else 0.0
        thought = self.plan.ratios[level]  # far from which it was the machine that changed
        ratio = self.ratios[level]
        ratio += min(max(0.05 * (took / member.anchor - ratio), -STEP * ratio), STEP * ratio)
        self.ratios[level] = min(max(ratio, low, thought / WRONG), self.ratios[level - 1], thought * WRONG)

    def move(self, member: Member, rung: int, now: float) -> None:
        """From its next frame on ``member`` is to be painted at ``rung``."""
        self.below += (rung > 0) - (member.rung > 0)
        member.rung, member.changed = rung, now
        member.anchor, member.learning = member.base, LEARNING if rung and member.base else 0

    def expected(self, member: Member, rung: int) -> float:
        """Milliseconds of a place that it would need per period at ``rung``."""
        every = self.plan.rungs[rung].every
        return (member.base * self.ratios[rung] + (every - 1) * member.light) / every

    def _price(self, member: Member, level: int) -> None:
        """What it costs where it is now."""
        member.level = level
        member.cost = cost = member.base * self.ratios[level]
        every = self.plan.rungs[level].every
        need = cost if every == 1 else (cost + (every - 1) * member.light) / every
        self.need += need - member.need
        member.need = need

    def _judge(self, ask: Ask, now: float) -> None:
        """Whether the frame was in time, and had its picture."""
        member = ask.member
        self.frames += 1
        if ask.light:
            missed = False
        elif ask.paint:
            member.skipped, missed = 0, now > ask.deadline
        else:
            member.skipped += 1
            self.skipped += 1
            missed = True
        if missed:
            member.misses += 1
            self.misses += 1
        if member.frames > NEW:
            gain = 1 / (25 * len(self.members)) if self.members else 0.04
            self.fast += gain * (missed - self.fast)
            self.slow += 0.1 * gain * (missed - self.slow)

    @property
    def utilisation(self) -> float:
        """Share of the capacity that the sessions need as they are painted now."""
        return self.need / (PERIOD * self.capacity)
