"""Which worker a request goes to, from a table of what workers last told of themselves. No sockets, no clock."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from engine.schedule.room import Room

SILENT_S: Final = 1.5  # a worker that has not been heard of for so long gets nothing that another could take
LOCALITY: Final = 0.15  # headroom that an avatar which is in a worker's memory already is worth
GUESS: Final = 0.1  # headroom that a session is taken to cost while a worker has none to measure it by
AGAIN_S: Final = 1.0  # when to ask again while no worker is there
SESSION: Final = re.compile(r"/v1/sessions/([^/]+)")  # in a path


@dataclass(frozen=True, slots=True)
class Worker:
    """One media process as an edge knows it. ``address``: "unix:/path" or "http://host:port"."""

    name: str  # its sessions' ids begin with it; "" for the only one there is
    address: str
    room: Room = field(default_factory=Room)
    warm: frozenset[str] = frozenset()  # avatars that it need not load
    draining: bool = False  # takes no new sessions
    heard: float | None = None  # when it last told of itself, seconds on the asker's clock; None: never
    pending: int = 0  # sessions that were sent there since

    @property
    def headroom(self) -> float:
        """What it told, less what sessions that it has not told of yet will take."""
        taken = 1 - self.room.headroom
        each = taken / self.room.sessions if self.room.sessions and taken > 0 else GUESS
        return self.room.headroom - self.pending * each

    def silent(self, now: float) -> bool:
        """Whether it has not been heard of for too long."""
        return self.heard is None or now - self.heard > SILENT_S


class Full(Exception):
    """No worker takes another session now; ``reason`` is for people."""

    def __init__(self, reason: str, retry_after_s: float, restarting: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.retry_after_s, self.restarting = reason, retry_after_s, restarting


def worker_of(session: str) -> str:
    """The name of the worker that made the id ``session``; "" when it had none."""
    return session.rpartition("-")[0]


def session_in(path: str) -> str:
    """The id of the session that ``path`` is about; "" when it is about none."""
    found = SESSION.match(path)
    return found[1] if found else ""


def holder(workers: Iterable[Worker], session: str) -> Worker | None:
    """The worker that has ``session``, if it is there."""
    name = worker_of(session)
    return next((worker for worker in workers if worker.name == name), None)


def open_to(workers: Iterable[Worker], now: float) -> list[Worker]:
    """Those that take another session. Raises Full."""
    known = list(workers)
    there = [worker for worker in known if not worker.silent(now)]
    # Without headroom one paints with less quality, and may take one more all the same: it says so when it does not.
    found = [w for w in there if not w.draining and w.room.refusal is None and (w.headroom > 0 or not w.pending)]
    if found:
        return found
    if not there:
        if known:
            return known  # nobody has told anything yet, or tellers are held up: whoever is there answers
        raise Full("the server is being started again", AGAIN_S, restarting=True)
    busy = [w for w in there if not w.draining]
    if not busy:
        raise Full("this server is about to stop and takes no new sessions", AGAIN_S)
    soonest = min(busy, key=lambda w: (w.room.retry_after_s, w.name))
    said = soonest.room.refusal or "all workers are taken; try again when someone has left"
    raise Full(said, max(soonest.room.retry_after_s, AGAIN_S))


def ranked(workers: Iterable[Worker], key: str) -> list[Worker]:
    """In an order that depends on ``key`` and their names alone: another for each key, the same at every edge. A worker
    that comes or goes changes nothing between the others (rendezvous hashing)."""
    return sorted(workers, key=lambda worker: (_draw(key, worker.name), worker.name))


def choose(workers: Collection[Worker], avatar: str, key: str, now: float) -> Sequence[Worker]:
    """Where a new session goes: the worker to ask first, then those to ask when it refuses. Raises Full.

    The better of two that ``key`` draws from all, and of two from those that have ``avatar`` in memory: load evens out
    although tables are a little old and many edges choose at once (Mitzenmacher 2001), and avatars stay where they are.
    """
    free = ranked(open_to(workers, now), key)
    warm = [worker for worker in free if avatar in worker.warm]
    drawn = {worker.name: worker for worker in (*free[:2], *warm[:2])}.values()
    best = max(drawn, key=lambda worker: _worth(worker, avatar))  # of equals, the first drawn
    others = sorted((w for w in free if w is not best), key=lambda worker: -_worth(worker, avatar))
    return [best, *others]


def resume(workers: Collection[Worker], session: str, now: float) -> Sequence[Worker]:
    """Where ``session`` goes on: where it was if that worker is there, else where every edge would send it, so that
    all who ask for it meet. Raises Full."""
    here = holder(workers, session)
    others = [w for w in workers if w is not here]
    try:
        free = open_to(others, now)
    except Full:  # it is taken in all the same: its place was on a worker that is gone
        free = [w for w in others if not (w.draining or w.silent(now))]
        if here is None and not free:
            raise
    rest = ranked(free, session.rpartition("-")[2])
    if here is None:
        return rest
    gone = here.silent(now) and not all(w.silent(now) for w in others)  # all silent: it is their teller that is gone
    return [*rest, here] if gone else [here, *rest]  # full or not: it may have it still


def anyone(workers: Iterable[Worker], key: str, now: float) -> Sequence[Worker]:
    """Whom to ask what any of them knows, the best first."""
    order = ranked(workers, key)
    return sorted(order, key=lambda worker: (worker.silent(now), worker.draining))


def _worth(worker: Worker, avatar: str) -> float:
    return worker.headroom + LOCALITY * (avatar in worker.warm)


def _draw(key: str, name: str) -> bytes:
    return blake2b(f"{name}\0{key}".encode(), digest_size=8).digest()
