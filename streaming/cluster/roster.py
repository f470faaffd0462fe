"""Who is in the cluster, and what must be done so that it is who shall be. Pure: time is an argument."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from engine.schedule.room import Room
from streaming.cluster.config import ClusterConfig

START_LIMIT_S: Final = 180.0  # a worker that has not reported by then never will: kernels are compiled in a minute
AWAY_S: Final = 0.5  # without a look, after which the time in between counts for nobody
FAILURES: Final = 5  # workers in a row that die before they serve, after which one is started only now and then
PATIENCE_S: Final = 30.0  # and that is how often
LATER_S: Final = 5.0  # after a death, others start: sessions that just moved want the processor first

State = Literal["starting", "serving", "draining"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker tells of itself. ``address``: "http://host:port" of its HTTP side; ``warm``: avatars in memory."""

    name: str
    version: int
    address: str
    node: str
    room: Room
    warm: frozenset[str] = frozenset()
    draining: bool = False
    refused: int = 0  # openings that found no room, since it began
    pid: int = 0  # of its process, on its node


@dataclass(slots=True)
class Member:
    """A worker as the director knows it."""

    name: str
    version: int
    state: State
    since: float  # when it got into this state
    heard: float  # when it last told of itself
    report: Report | None = None

    @property
    def sessions(self) -> int:
        """Open there, as far as is known."""
        return self.report.room.sessions if self.report is not None else 0


@dataclass(frozen=True, slots=True)
class Action:
    """What to do with worker ``name``: "start" one of that name, have it "drain", "stop" it, or "kill" what is dead."""

    kind: Literal["start", "drain", "stop", "kill"]
    name: str
    why: str = ""


def numbered() -> Callable[[], str]:
    """Names that count: w1, w2, ..."""
    count = itertools.count(1)
    return lambda: f"w{next(count)}"


@dataclass(slots=True)
class Roster:
    """Members by name. ``version`` is what every worker shall be of: others are replaced, one after the other.
    ``names`` gives the next worker's, never the same twice."""

    config: ClusterConfig
    version: int
    names: Callable[[], str] = field(default_factory=numbered)
    members: dict[str, Member] = field(default_factory=dict)
    lost: int = 0  # workers that died
    _died: float = float("-inf")  # when the last did
    _failed: int = 0  # of them in a row that never served
    _started: float = float("-inf")
    _looked: float | None = None
    _refused: dict[str, int] = field(default_factory=dict)

    def hear(self, report: Report, now: float) -> bool:
        """A worker told of itself. False: it is none of ours any more, and must end."""
        member = self.members.get(report.name)
        if member is None:
            return False
        if member.state == "starting":
            member.state, member.since, self._failed = "serving", now, 0
        if report.draining and member.state == "serving":
            member.state, member.since = "draining", now
        member.heard, member.report = now, report
        return True

    def adopt(self, report: Report, now: float) -> None:
        """A worker that was there before this roster: it serves."""
        if report.name not in self.members:
            self.members[report.name] = Member(report.name, report.version, "serving", now, now)
        self.hear(report, now)

    def gone(self, name: str, why: str, now: float) -> Action | None:
        """Worker ``name`` is dead; what is left of it is to be killed."""
        member = self.members.pop(name, None)
        self._refused.pop(name, None)
        if member is None:
            return None
        if member.state == "starting":
            self._failed += 1
        else:
            self._died = now
        if member.state != "draining" or member.sessions:
            self.lost += 1
        return Action("kill", name, why)

    def drain(self, name: str, now: float) -> Action:
        """Worker ``name`` shall take no new sessions, and go when those it has are over. Raises ValueError."""
        if name not in self.members:
            raise ValueError(f'no worker "{name[:40]}"; there are: {", ".join(sorted(self.members)) or "none"}')
        return self._drain(self.members[name], now, "asked to")

    @property
    def serving(self) -> list[Member]:
        """Those that take sessions."""
        return [member for member in self.members.values() if member.state == "serving"]

    @property
    def failing(self) -> bool:
        """Whether workers die before they serve."""
        return self._failed > 0

    def refusals(self) -> int:
        """Openings that workers refused for want of room since this was last asked."""
        count = 0
        for member in self.members.values():
            if member.report is not None:
                before = self._refused.get(member.name, member.report.refused)
                count += max(member.report.refused - before, 0)
                self._refused[member.name] = member.report.refused
        return count

    def look(self, wanted: int, now: float) -> list[Action]:
        """What is to be done now so that ``wanted`` workers of this version serve. Remembers that it was said."""
        actions = [*self._bury(now), *self._retire(now)]
        new = [m for m in self.members.values() if m.state != "draining" and m.version == self.version]
        old = [m for m in self.members.values() if m.state != "draining" and m.version != self.version]
        serving = [member for member in new if member.state == "serving"]
        starting = len(new) - len(serving)
        missing = wanted - len(new)
        if old and len(old) + len(serving) >= wanted:  # a deployment goes one by one: machines have room for one more
            missing = min(missing, 1 - starting)
        if serving and now - self._died < LATER_S:
            missing = 0
        actions += [self._start(now) for _ in range(missing) if self._may_start(now)]
        spare = len(old) + len(serving) - max(wanted, 1)
        leaving = sorted(old, key=_least) + (sorted(serving, key=_least) if starting == 0 else [])
        actions += [self._drain(member, now, "not needed any more") for member in leaving[: max(spare, 0)]]
        return actions

    def _bury(self, now: float) -> list[Action]:
        """The dead. While nobody looked (the director's machine was held up) nobody could be heard, either."""
        away, self._looked = now - self._looked if self._looked is not None else 0.0, now
        if away > AWAY_S:
            for member in self.members.values():
                member.heard = min(member.heard + away, now)
        found = []
        for member in list(self.members.values()):
            silent = now - member.heard
            limit = START_LIMIT_S if member.state == "starting" else self.config.lost_s
            if silent > limit:
                action = self.gone(member.name, f"not heard of for {silent:.1f} s", now)
                found += [action] if action else []
        return found

    def _retire(self, now: float) -> list[Action]:
        found = []
        for member in list(self.members.values()):
            over = now - member.since > self.config.drain_s
            drained = member.report is not None and member.report.draining and not member.sessions
            if member.state == "draining" and (over or drained):
                del self.members[member.name]
                self._refused.pop(member.name, None)
                found.append(Action("stop", member.name, "drained" if drained else "its sessions have had their time"))
        return found

    def _may_start(self, now: float) -> bool:
        return self._failed < FAILURES or now - self._started >= PATIENCE_S

    def _start(self, now: float) -> Action:
        self._started = now
        name = self.names()
        self.members[name] = Member(name, self.version, "starting", now, now)
        return Action("start", name)

    def _drain(self, member: Member, now: float, why: str) -> Action:
        if member.state != "draining":
            member.state, member.since = "draining", now
        return Action("drain", member.name, why)


def _least(member: Member) -> tuple[int, float]:
    """Who goes first: whoever has the fewest sessions, and of those the oldest."""
    return member.sessions, member.since
