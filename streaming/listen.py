"""What every process that listens needs: signals, TLS, the page's address, and words for why it cannot listen."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streaming.config import LimitsConfig, ServerConfig
from streaming.guard import ServeError, check_bind, is_loopback, is_private
from streaming.limits import bound_connections


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


def own_mistakes(record: logging.LogRecord) -> bool:
    """Whether a line of the HTTP server is about a mistake of ours: of a stranger's there is no end."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | ConnectionError))


def page_address(server: ServerConfig, port: int) -> str:
    """Where a browser finds the page; a token, if there is one, rides in the fragment, which is never sent."""
    host = "localhost" if is_loopback(server.host) else server.host
    if host in ("0.0.0.0", "::", ""):
        from streaming.patches import host_addresses  # with it comes aiortc, which the edge does without

        host = next(iter(host_addresses(True, False)), "localhost")
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
            raise ServeError(bind_hint(server, problem)) from problem


def bind_hint(server: ServerConfig, problem: OSError) -> str:
    """Why ``server`` cannot listen, and what to change."""
    if problem.errno == errno.EADDRINUSE:
        return f"port {server.port} is busy: stop what listens there, or choose another with --port {server.port + 1}"
    if problem.errno == errno.EACCES:
        return f"port {server.port} needs administrator rights: choose one above 1023 with --port 8765"
    if problem.errno == errno.EADDRNOTAVAIL:
        return f"{server.host} is not an address of this machine: set server.host to one that is, or 127.0.0.1"
    return f"cannot listen on {server.host}:{server.port}: {problem.strerror or problem}"


def tls_of(server: ServerConfig) -> ssl.SSLContext | None:
    """What ``server`` encrypts with; None for plain http. Raises ServeError."""
    if not server.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    except (ssl.SSLError, OSError) as problem:
        raise ServeError(f"server.tls_cert / tls_key cannot be used: {problem}") from problem
    return context


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes an event loop: uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def announce(address: str) -> None:
    """Prints where the page is."""
    if not sys.stdout.isatty():
        address = address.partition("#")[0]  # what is no terminal is kept, and the token is not to be
    print(f"Visavis is at {address}  (stop with Ctrl+C)", flush=True)


async def answers_at(runner: web.AppRunner, server: ServerConfig, limits: LimitsConfig) -> str:
    """Has ``runner``, set up, answer at the server's address: the page's address. Raises ServeError, with nothing left
    open, where it cannot."""
    assert runner.server is not None
    bound_connections(runner.server, limits, not is_private(server) and not server.behind_proxy)
    site = web.TCPSite(runner, server.host, server.port, ssl_context=tls_of(server), reuse_address=True)
    try:
        await site.start()
    except OSError as problem:
        await runner.cleanup()
        raise ServeError(bind_hint(server, problem)) from problem
    return page_address(server, runner.addresses[0][1])
