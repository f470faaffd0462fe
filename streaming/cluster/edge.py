"""An edge of a cluster: an actor that serves the page and hands sessions to the workers that the director knows of."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from streaming.cluster.blueprint import Blueprint
from streaming.edge.directory import Directory
from streaming.edge.link import Link
from streaming.edge.route import Worker
from streaming.edge.server import start

log = logging.getLogger(__name__)
ASK_S: Final = 0.2
ANSWER_S: Final = 1.0
Row = tuple[Worker, float]  # and how long ago it told, in seconds


class Told(Directory):
    """Workers as the director tells of them. While it is away, or knows nothing yet, what was told stays, and grows
    old."""

    def __init__(self, director: Any) -> None:
        self._director = director
        self._workers: tuple[Worker, ...] = ()
        self.some = asyncio.Event()  # it has told of one

    async def watch(self, link: Link) -> AsyncIterator[Sequence[Worker]]:
        """Asks it five times a second."""
        while True:
            try:
                rows: Sequence[Row] | None = await asyncio.wait_for(self._director.table.remote(), ANSWER_S)
            except Exception as problem:  # Ray's own, of many kinds
                log.info("the director does not answer: %s", type(problem).__name__)
                rows = None
            if rows is not None:
                now = time.monotonic()
                self._workers = tuple(replace(worker, heard=now - age) for worker, age in rows)
            if self._workers or rows is not None:
                yield self._workers
            if rows:
                self.some.set()
            await asyncio.sleep(ASK_S)


class Edge:
    """One edge; ``start`` it."""

    def __init__(self, blueprint: Blueprint, director: Any) -> None:
        self._blueprint, self._told = blueprint, Told(director)
        self._runner: web.AppRunner | None = None
        self._address = ""

    async def start(self) -> str:
        """Listens where the settings say; returns the page's address once there is a worker. Raises ServeError."""
        from streaming import logs

        if self._runner is None:
            settings, secret = self._blueprint.settings, self._blueprint.secret
            logs.setup(settings.observe.log, settings.observe.log_level, [*logs.secrets_of(settings.server), secret])
            self._runner, self._address = await start(settings, self._told, secret)
        await self._told.some.wait()
        return self._address

    async def wait(self) -> None:
        """Never returns: whoever awaits it hears of this process's end at once."""
        await asyncio.Event().wait()

    async def leave(self) -> None:
        """Ends it."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
