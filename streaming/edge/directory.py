"""Who the workers are: a list that is given, asked again and again how they are; or whoever else knows (a cluster)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from aiohttp import ClientError

from engine.schedule.room import Room
from streaming.edge.link import Link, Unreachable
from streaming.edge.route import Worker

log = logging.getLogger(__name__)
ASK_S: Final = 0.25  # how often a worker is asked how it is
PATIENCE_S: Final = 1.0  # for its answer
LARGEST: Final = 64 * 1024  # bytes of it


class Directory(Protocol):
    """Tells an edge of its workers."""

    def watch(self, link: Link) -> AsyncIterator[Sequence[Worker]]:
        """All of them, at once and whenever something has changed. ``Worker.heard`` is on this machine's
        ``time.monotonic``. ``link`` reaches them, for whoever has to ask."""


class Listed:
    """Workers whose names and addresses are known: {"": "unix:/run/visavis/media.sock"}."""

    def __init__(self, workers: Mapping[str, str]) -> None:
        self._workers = {name: Worker(name, address) for name, address in workers.items()}

    async def watch(self, link: Link) -> AsyncIterator[Sequence[Worker]]:
        """Asks each of them every quarter of a second."""
        yield tuple(self._workers.values())
        while True:
            await asyncio.gather(*(self._ask(link, worker) for worker in self._workers.values()))
            yield tuple(self._workers.values())
            await asyncio.sleep(ASK_S)

    async def _ask(self, link: Link, worker: Worker) -> None:
        """One that does not answer stays as it was last heard of, and falls silent by that."""
        try:
            async with asyncio.timeout(PATIENCE_S), link.ask(worker.address, "GET", "/v1/worker") as answer:
                told = await answer.json() if answer.status == 200 else None
            if told is not None:
                self._workers[worker.name] = replace(read(worker, told), heard=time.monotonic())
            else:
                log.warning("worker %r answers %d: is it started with the edge's secret?", worker.name, answer.status)
        except (Unreachable, ClientError, OSError, TimeoutError, ValueError, LookupError, TypeError) as problem:
            log.debug("worker %r: %s", worker.name, problem)


def read(worker: Worker, told: Mapping[str, Any]) -> Worker:
    """``worker`` as its own ``GET /v1/worker`` tells of it. Raises LookupError, ValueError or TypeError."""
    refusal = told["refusal"]
    room = Room(
        int(told["sessions"]), float(told["headroom"]), None if refusal is None else str(refusal)[:300],
        min(max(float(told["retry_after_s"]), 0.0), 3600.0),
    )  # fmt: skip
    return replace(worker, room=room, warm=frozenset(map(str, told["warm"])), draining=bool(told["draining"]))


class Table:
    """What an edge knows of its workers now, and what it has sent them since they told."""

    def __init__(self) -> None:
        self._workers: tuple[Worker, ...] = ()
        self.changed = asyncio.Event()  # set once, with the first list

    @property
    def workers(self) -> tuple[Worker, ...]:
        """All of them."""
        return self._workers

    async def follow(self, directory: Directory, link: Link) -> None:
        """Until cancelled; a directory that fails is asked again."""
        while True:
            try:
                async for workers in directory.watch(link):
                    self.update(workers)
            except asyncio.CancelledError:
                raise
            except Exception:  # a cluster's director may be away for a moment; what was known stays good
                log.exception("the list of workers")
            await asyncio.sleep(ASK_S)

    def update(self, workers: Sequence[Worker]) -> None:
        """A new list; what was sent to a worker that has not told since still counts."""
        before = {worker.name: worker for worker in self._workers}
        self._workers = tuple(
            replace(w, pending=before[w.name].pending) if w.name in before and before[w.name].heard == w.heard else w
            for w in workers
        )
        self.changed.set()

    def sent(self, name: str) -> None:
        """A session was sent to the worker ``name``."""
        self._workers = tuple(replace(w, pending=w.pending + 1) if w.name == name else w for w in self._workers)
