"""The edge as a process: listens where the configuration says, until told to stop. It never imports the engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from streaming.child import Orders
from streaming.config import Settings
from streaming.edge.app import Edge
from streaming.edge.directory import Directory, Listed
from streaming.guard import check_bind, with_secrets
from streaming.listen import Stop, answers_at, loop_factory, own_mistakes

SHUTDOWN_S: Final = 2.0  # for requests that are being answered
Ready = Callable[[str], None]  # hears the page's address


def run(settings: Settings, directory: Directory, secret: str, ready: Ready = lambda address: None) -> None:
    """Blocks until SIGINT or SIGTERM. ``secret``: shared with the workers. Raises ServeError when it cannot start."""

    async def work() -> None:
        stop = Stop()
        stop.listen(asyncio.get_running_loop())
        await serve(settings, directory, secret, stop.told, ready)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(work())


@dataclass(frozen=True)
class Work:
    """What an edge does as one of a server's processes (process.py): ``workers`` by name, "unix:/path" or
    "http://host:port". Reports "ready" with its ``address``; any word ends it."""

    settings: Settings
    workers: Mapping[str, str]
    secret: str = field(repr=False)

    def __call__(self, orders: Orders) -> None:
        """Until it is told to stop, or its parent is gone."""

        async def work() -> None:
            loop, stop = asyncio.get_running_loop(), asyncio.Event()

            def hear(word: str) -> None:
                if word != "drain":  # it serves while workers do
                    with contextlib.suppress(RuntimeError):  # the loop has ended already
                        loop.call_soon_threadsafe(stop.set)

            orders.listen(hear)
            ready: Ready = lambda address: orders.tell("ready", address=address)  # noqa: E731
            await serve(self.settings, Listed(self.workers), self.secret, stop, ready)

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(work())


async def serve(settings: Settings, directory: Directory, secret: str, stop: asyncio.Event, ready: Ready) -> None:
    """The same on this event loop, until ``stop`` is set."""
    runner, address = await start(settings, directory, secret)
    try:
        ready(address)
        await stop.wait()
    finally:
        await runner.cleanup()


async def start(settings: Settings, directory: Directory, secret: str) -> tuple[web.AppRunner, str]:
    """Listens, and returns the runner (``cleanup`` ends everything) and the page's address. Raises ServeError."""
    check_bind(settings.server)
    server = with_secrets(settings.server)
    logging.getLogger("aiohttp.server").addFilter(own_mistakes)
    runner = web.AppRunner(
        Edge(settings, directory, secret).application(), access_log=None, shutdown_timeout=SHUTDOWN_S,
        keepalive_timeout=settings.limits.idle_s, lingering_time=2.0,
    )  # fmt: skip
    await runner.setup()
    return runner, await answers_at(runner, server, settings.limits)
