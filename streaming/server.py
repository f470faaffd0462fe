"""Serves the page and its sessions until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
import ssl
import sys
import time
import webbrowser
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from engine.engine import Engine
from streaming import patches
from streaming.app import HUB, Server
from streaming.config import ServerConfig, Settings
from streaming.guard import ServeError, check_bind, is_loopback, is_private, with_secrets
from streaming.hub import Hub
from streaming.limits import bound_connections
from streaming.portraits import Portraits

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
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config, engine, open_browser, ready or _announce))


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


class Stop:
    """What signals ask for: SIGTERM to end when the sessions have, SIGINT or a second signal to end now."""

    def __init__(self) -> None:
        self.told, self.now = asyncio.Event(), asyncio.Event()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hears the signals from now on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self.hear, number)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda number, _: loop.call_soon_threadsafe(self.hear, number))

    def hear(self, number: int) -> None:
        """Signal ``number`` came."""
        if number == signal.SIGINT or self.told.is_set():
            self.now.set()
        self.told.set()


async def drain(hub: Hub, seconds: float, now: asyncio.Event) -> None:
    """Takes no new sessions, and waits ``seconds`` at most for those there are; not once ``now`` is set."""
    hub.draining = True
    if hub.lives and not now.is_set():
        log.warning("stopping: waiting up to %g s for sessions to end (%d now)", seconds, len(hub.lives))
    end = time.monotonic() + seconds
    while hub.lives and not now.is_set() and time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(now.wait(), min(LOOK_S, max(end - time.monotonic(), 0.0)))


async def start(config: Settings, engine: Engine, portraits: Portraits | None = None) -> tuple[web.AppRunner, str]:
    """Listens, and returns the runner (``cleanup`` ends everything) and the page's address."""
    server = with_secrets(config.server)
    portraits = portraits or Portraits(config.portrait, engine)
    application = Server(engine, config, portraits).application()
    logging.getLogger("aiohttp.server").addFilter(_own_mistakes)
    runner = web.AppRunner(
        application, access_log=None, shutdown_timeout=5.0, keepalive_timeout=config.limits.idle_s, lingering_time=2.0
    )
    await runner.setup()
    assert runner.server is not None
    bound_connections(runner.server, config.limits, not is_private(server) and not server.behind_proxy)
    site = web.TCPSite(runner, server.host, server.port, ssl_context=_tls(server), reuse_address=True)
    try:
        await site.start()
    except OSError as problem:
        await runner.cleanup()
        raise ServeError(_bind_hint(server, problem)) from problem
    return runner, page_address(server, runner.addresses[0][1])


def _own_mistakes(record: logging.LogRecord) -> bool:
    """Whether a line of the HTTP server is about a mistake of ours: of a stranger's there is no end."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | ConnectionError))


def page_address(server: ServerConfig, port: int) -> str:
    """Where a browser finds the page; a token, if there is one, rides in the fragment, which is never sent."""
    host = "localhost" if is_loopback(server.host) else server.host
    if host in ("0.0.0.0", "::", ""):
        host = next(iter(patches.host_addresses(True, False)), "localhost")
    host = f"[{host}]" if ":" in host else host
    fragment = f"#token={quote(server.token)}" if server.token else ""
    return f"{'https' if server.tls_cert else 'http'}://{host}:{port}/{fragment}"


def check_port(server: ServerConfig) -> None:
    """Raises ServeError when ``server`` could not listen now: asked before the engine spends its time warming up."""
    check_bind(server)
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((server.host, server.port))
        except OSError as problem:
            raise ServeError(_bind_hint(server, problem)) from problem


def _bind_hint(server: ServerConfig, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return f"port {server.port} is busy: stop what listens there, or choose another with --port {server.port + 1}"
    if problem.errno == errno.EACCES:
        return f"port {server.port} needs administrator rights: choose one above 1023 with --port 8765"
    if problem.errno == errno.EADDRNOTAVAIL:
        return f"{server.host} is not an address of this machine: set server.host to one that is, or 127.0.0.1"
    return f"cannot listen on {server.host}:{server.port}: {problem.strerror or problem}"


def _tls(server: ServerConfig) -> ssl.SSLContext | None:
    if not server.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    except (ssl.SSLError, OSError) as problem:
        raise ServeError(f"server.tls_cert / tls_key cannot be used: {problem}") from problem
    return context


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _announce(address: str) -> None:
    if not sys.stdout.isatty():
        address = address.partition("#")[0]  # what is no terminal is kept, and the token is not to be
    print(f"Visavis is at {address}  (stop with Ctrl+C)", flush=True)
