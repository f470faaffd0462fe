"""Serves the page and its sessions until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from engine.engine import Engine
from streaming import patches
from streaming.app import HUB, Server
from streaming.config import Settings
from streaming.guard import check_bind, with_secrets
from streaming.hub import Hub
from streaming.listen import Stop, announce, answers_at, loop_factory, own_mistakes
from streaming.portraits import Portraits
from streaming.shelved import Shelved
from streaming.snapshots import Snapshots

if TYPE_CHECKING:
    from engine.config import EngineConfig
    from streaming.child import Orders

log = logging.getLogger(__name__)
LOOK_S: Final = 0.1  # how often a server that is about to stop looks whether all sessions have ended
SWITCH_S: Final = 0.001  # a painting thread gives the event loop its turn after so long (Python's default: 5 ms)


def serve(
    config: Settings, engine: Engine, open_browser: bool = False, ready: Callable[[str], None] | None = None
) -> None:
    """Blocks until interrupted. ``ready`` hears the page's address. Raises ServeError when it cannot start."""
    check_bind(config.server)
    patches.install(config.stream, config.server)
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # numba and the models leave 300 000 objects: looking through them stops every thread for 0.2 s
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(config, engine, open_browser, ready or announce))


async def _serve(config: Settings, engine: Engine, open_browser: bool, ready: Callable[[str], None]) -> None:
    loop, stop = asyncio.get_running_loop(), Stop()
    stop.listen(loop)
    runner, address = await start(config, engine)
    try:
        ready(address)
        if open_browser:
            await loop.run_in_executor(None, webbrowser.open, address)
        await stop.told.wait()
        await drain(runner.app[HUB], config.server.drain_s, stop.now)
    finally:
        await runner.cleanup()


async def drain(hub: Hub, seconds: float, now: asyncio.Event) -> None:
    """Takes no new sessions, and waits ``seconds`` at most for those there are; not once ``now`` is set."""
    hub.draining = True
    if hub.lives and not now.is_set():
        log.warning("stopping: waiting up to %g s for sessions to end (%d now)", seconds, len(hub.lives))
    end = time.monotonic() + seconds
    while hub.lives and not now.is_set() and time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(now.wait(), min(LOOK_S, max(end - time.monotonic(), 0.0)))


def serve_behind(
    config: Settings, engine: EngineConfig, inference: str, folder: Path, secret: str, orders: Orders
) -> None:
    """The same as one of a server's processes: the engine is at ``inference``, and the edge that knows ``secret`` comes
    to the socket "media" in ``folder``. Blocks until ``orders`` come."""
    from streaming.inference.engine import RemoteEngine

    patches.install(config.stream, config.server)
    sys.setswitchinterval(SWITCH_S)
    remote = RemoteEngine(engine, inference)
    remote.warm_up()
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve_behind(config, remote, folder, secret, orders))
    remote.close()


async def _serve_behind(config: Settings, engine: Engine, folder: Path, secret: str, orders: Orders) -> None:
    loop, stop = asyncio.get_running_loop(), Stop()

    def hear(word: str) -> None:
        if word == "go":
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stop.hear, signal.SIGTERM if word == "drain" else signal.SIGINT)

    shelved = Shelved(folder / "snapshots")
    runner, _ = await start(config, engine, path=folder / "media", secret=secret, snapshots=shelved)
    try:
        orders.listen(hear)
        orders.tell("ready")
        await stop.told.wait()
        await drain(runner.app[HUB], config.server.drain_s, stop.now)
    finally:
        await runner.cleanup()


async def start(
    config: Settings, engine: Engine, portraits: Portraits | None = None, *, path: Path | None = None,
    secret: str = "", snapshots: Snapshots | None = None,
) -> tuple[web.AppRunner, str]:  # fmt: skip
    """Listens, and returns the runner (``cleanup`` ends everything) and the page's address. With ``path``, it listens
    there, to the edge that knows ``secret``. ``snapshots``: where sessions leave theirs."""
    server = with_secrets(config.server)
    portraits = portraits or Portraits(config.portrait, engine)
    parts = Server(engine, config, portraits, secret)
    parts.hub.snapshots = snapshots
    application = parts.application()
    logging.getLogger("aiohttp.server").addFilter(own_mistakes)
    runner = web.AppRunner(
        application, access_log=None, shutdown_timeout=5.0, keepalive_timeout=config.limits.idle_s, lingering_time=2.0
    )
    await runner.setup()
    if path is not None:
        await web.UnixSite(runner, str(path)).start()
        return runner, f"unix:{path}"
    return runner, await answers_at(runner, server, config.limits)
