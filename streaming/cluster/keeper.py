"""Keepers: actors that hold snapshots of sessions off their workers, and a worker's way to them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from engine import snapshot
from streaming.cluster.shelf import Shelf

log = logging.getLogger(__name__)
ANSWER_S: Final = 0.5  # that a keeper may take to say what it has
LONGEST: Final = snapshot.LONGEST + 4096  # bytes of one, with whose it is


class Keeper:
    """One place where snapshots are kept; an actor. What it held is lost with it, and there again a second later."""

    def __init__(self, most: int, keep_s: float) -> None:
        self._shelf = Shelf(most, keep_s)

    async def put(self, found: dict[str, bytes], over: Sequence[str] = ()) -> None:
        """The newest snapshots of some sessions by id, and which sessions are over."""
        self._shelf.put({name: data for name, data in found.items() if len(data) <= LONGEST}, time.monotonic())
        for name in over:
            self._shelf.drop(name)

    async def get(self, name: str) -> tuple[float, bytes] | None:
        """(its age in seconds, the newest) snapshot of a session, if there is one."""
        now = time.monotonic()
        kept = self._shelf.get(name, now)
        return None if kept is None else (now - kept.at, kept.data)

    async def told(self) -> dict[str, int]:
        """How much it holds."""
        return {"sessions": len(self._shelf), "bytes": self._shelf.size}


class Keepers:
    """All of a cluster's keepers as a worker sees them (streaming.snapshots.Snapshots): every snapshot goes to each,
    the newest comes back. For a keeper that is slow, or away, only the newest of each session waits."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._outboxes = [_Outbox(actor) for actor in actors]

    def put(self, name: str, data: bytes) -> None:
        """As Snapshots.put."""
        for outbox in self._outboxes:
            outbox.put(name, data)

    def over(self, name: str) -> None:
        """As Snapshots.over."""
        for outbox in self._outboxes:
            outbox.put(name, None)

    async def get(self, name: str) -> bytes | None:
        """As Snapshots.get."""
        found = await asyncio.gather(*(outbox.get(name) for outbox in self._outboxes))
        kept = [one for one in found if one is not None]
        return min(kept)[1] if kept else None


class _Outbox:
    """What one keeper is still to be told, by session; None: it is over."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._waiting: dict[str, bytes | None] = {}
        self._telling: asyncio.Task[None] | None = None

    def put(self, name: str, data: bytes | None) -> None:
        self._waiting[name] = data
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def get(self, name: str) -> tuple[float, bytes] | None:
        try:
            kept: tuple[float, bytes] | None = await asyncio.wait_for(self._actor.get.remote(name), ANSWER_S)
        except Exception as problem:  # another one may have it
            log.warning("a keeper does not answer: %s", type(problem).__name__)
            return None
        return kept

    async def _tell(self) -> None:
        while self._waiting:
            now, self._waiting = self._waiting, {}
            found = {name: data for name, data in now.items() if data is not None}
            try:
                await self._actor.put.remote(found, [name for name, data in now.items() if data is None])
            except Exception as problem:  # it is being started again: it gets what comes next
                log.warning("a keeper took no snapshots: %s", type(problem).__name__)
                await asyncio.sleep(ANSWER_S)
        self._telling = None
