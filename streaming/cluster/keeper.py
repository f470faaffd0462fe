"""Keepers: actors that hold snapshots of sessions off their workers, and a worker's way to them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from engine.snapshot import LONGEST
from streaming.cluster.shelf import Shelf

log = logging.getLogger(__name__)
ANSWER_S: Final = 0.5  # that a keeper may take to say what it has


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
    """All of a cluster's keepers, as a worker sees them: every snapshot goes to each, the newest comes back."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = list(actors)
        self._busy: dict[int, asyncio.Task[None]] = {}  # by keeper: what it is being told

    def put(self, found: dict[str, bytes], over: Sequence[str] = ()) -> None:
        """Hands them over, and waits for nothing: a keeper that is still busy with the last ones is passed over."""
        for number, actor in enumerate(self._actors):
            if number not in self._busy:
                task = asyncio.get_running_loop().create_task(self._put(actor, found, over))
                self._busy[number] = task
                task.add_done_callback(lambda _, number=number: self._busy.pop(number))  # type: ignore[misc]

    async def _put(self, actor: Any, found: dict[str, bytes], over: Sequence[str]) -> None:
        try:
            await actor.put.remote(found, tuple(over))
        except Exception as problem:  # it is being restarted: the next ones it gets
            log.warning("a keeper took no snapshots: %s", type(problem).__name__)

    async def get(self, name: str) -> bytes | None:
        """The newest snapshot of session ``name`` that anybody has; soon, or None."""
        asked = [asyncio.ensure_future(self._get(actor, name)) for actor in self._actors]
        found = [kept for kept in await asyncio.gather(*asked) if kept is not None]
        return min(found)[1] if found else None

    async def _get(self, actor: Any, name: str) -> tuple[float, bytes] | None:
        try:
            kept: tuple[float, bytes] | None = await asyncio.wait_for(actor.get.remote(name), ANSWER_S)
        except Exception as problem:  # another one may have it
            log.warning("a keeper does not answer: %s", type(problem).__name__)
            return None
        return kept
