"""Who may come, and what is given up so that everybody's frames are in time: the core's figures against rules."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import Final

from engine.schedule.core import PERIOD, Core, Member
from engine.schedule.room import Room

LOOK: Final = 250.0  # milliseconds between two reviews
SETTLE: Final = 1000.0  # after something was given up, before misses say that it was not enough
BEAR: Final = 5000.0  # of many late frames before pictures are left out, too: who comes keeps the machine busy awhile
MANY, SOME = 0.2, 0.015  # share of late frames that is too much: over a second, over ten
CALM: Final = 0.01  # and that is none
MANY_ALONE, SOME_ALONE, CALM_ALONE = 0.8, 0.16, 0.04  # where there is nobody else: a late frame hurts no other
LONGEST: Final = 60_000.0  # a session that went up too early waits for so long at most
AGAIN_S: Final = 5.0  # who was refused may ask again after so many seconds


@dataclass(frozen=True, slots=True)
class Rules:
    """``bound``: share of the capacity that may be needed; ``raised``: and up to which quality comes back;
    ``recover``: milliseconds that a session stays where it is before."""

    bound: float = 0.9
    raised: float = 0.8
    recover: float = 5000.0


class Review:
    """Looks at a `Core` now and then, and moves its members between the rungs of its plan."""

    def __init__(self, core: Core, rules: Rules = Rules()) -> None:
        self.core, self.rules = core, rules
        self.lowered = self.raised = 0  # times that a session was
        self._next = 0.0
        self._settled = 0.0
        self._fine = 0.0  # when frames were last in time
        self._refusing = False

    @property
    def budget(self) -> float:
        """Milliseconds of places in a period."""
        return PERIOD * self.core.capacity

    def late(self) -> bool:
        """Whether too many frames are."""
        many, some = (MANY_ALONE, SOME_ALONE) if self._alone else (MANY, SOME)
        return self.core.fast > many or self.core.slow > some

    @property
    def _alone(self) -> bool:
        return len(self.core.members) == 1

    @property
    def _bound(self) -> float:
        return 1.0 if self._alone else self.rules.bound

    @property
    def _raised(self) -> float:
        return self._bound - (self.rules.bound - self.rules.raised)

    def look(self, now: float) -> None:
        """Lowers quality where frames are late or will be, and gives it back. Cheap when it is not time yet."""
        if now < self._next:
            return
        self._next = now + LOOK
        core, late = self.core, self.late()
        if core.fast <= MANY:
            self._fine = now
        if core.need > self._bound * self.budget or (late and now >= self._settled):
            self._lower(now, late)
        elif core.below and not late and core.need < self._raised * self.budget:
            self._raise(now)

    def _lower(self, now: float, late: bool) -> None:
        """One rung at a time, whoever is highest for his weight first, and of those the dearest."""
        core = self.core
        total = sum(core.expected(member, member.rung) for member in core.members.values())
        goal = self._bound * self.budget
        if late and now >= self._settled:
            goal = min(goal, 0.9 * total)
        queue = [(*_standing(one), one.number, one) for one in core.members.values()]
        heapify(queue)
        changed = False
        while queue and total > goal:
            member = queue[0][-1]
            if not self._may(member, now, total):
                heappop(queue)
                continue
            total += core.expected(member, member.rung + 1) - core.expected(member, member.rung)
            if now - member.raised < 4 * max(member.dwell, self.rules.recover):
                member.dwell = min(2 * max(member.dwell, self.rules.recover), LONGEST)
            core.move(member, member.rung + 1, now)
            member.raised, changed, self.lowered = NEVER, True, self.lowered + 1
            heapreplace(queue, (*_standing(member), member.number, member))
        if changed:
            self._settled = now + SETTLE
            core.fast = core.slow = 0.0  # what comes from now on tells whether it was enough

    def _may(self, member: Member, now: float, total: float) -> bool:
        """Whether there is a rung below, and it is time for it where sessions need ``total`` a period."""
        rungs, below = self.core.plan.rungs, member.rung + 1
        if below >= len(rungs):
            return False
        if rungs[below].every == rungs[member.rung].every or not member.rung:
            return True
        return total > self.budget or now - self._fine >= BEAR

    def _raise(self, now: float) -> None:
        """Whoever is lowest for his weight first, and of those who has been there longest; as many as fit."""
        core, rules = self.core, self.rules
        if max(core.fast, core.slow) > (CALM_ALONE if self._alone else CALM):
            return
        total = sum(core.expected(member, member.rung) for member in core.members.values())
        ready = [
            one for one in core.members.values() if one.rung and now - one.changed >= max(one.dwell, rules.recover)
        ]
        for member in sorted(ready, key=lambda one: (-one.rung * one.weight, one.changed, one.number)):
            total += core.expected(member, member.rung - 1) - core.expected(member, member.rung)
            if total > self._raised * self.budget:
                break
            core.move(member, member.rung - 1, now)
            member.raised, self.raised = now, self.raised + 1

    def room(self) -> Room:
        """What is left, and whether one more fits, with everybody at the plan's admission rung if it must be."""
        core, rules, count = self.core, self.rules, len(self.core.members)
        headroom = 1 - core.bases / self.budget
        if not count:
            self._refusing = False
            return Room(0, headroom)
        share, rung = core.ratios[core.plan.admit], core.plan.rungs[core.plan.admit]
        need, one = core.bases * share / rung.every, core.typical * share / rung.every
        limit = rules.bound * self.budget * (0.95 if self._refusing else 1.0)
        full, worn = need + one > limit, self.late() and core.below == count
        self._refusing = full or worn
        if not self._refusing:
            return Room(count, headroom)
        there, keep = f"{count} session{'s' * (count > 1)}", "keep" if count > 1 else "keeps"
        if full:
            why = (
                f"{there} {keep} this machine {need / self.budget:.0%} busy and one more would make it "
                f"{(need + one) / self.budget:.0%}, painting {core.typical * share:.0f} ms a picture; above "
                f"{rules.bound:.0%} everybody's pictures would come late: try again when someone has left"
            )
        else:
            why = (
                f"{max(core.fast, core.slow):.0%} of the pictures of {there} come late just now, although they are "
                "painted with less quality already: try again in a moment"
            )
        return Room(count, headroom, why, AGAIN_S)


NEVER: Final = -1e9


def _standing(member: Member) -> tuple[float, float]:
    """How much a session still has, and what it takes: less of the first goes before, and more of the second."""
    return (member.rung + 1) / member.weight, -member.base / member.weight
