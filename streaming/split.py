"""A server of several processes: page, media and inference. This one starts them, keeps them running, and ends them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streaming import place
from streaming.config import Settings
from streaming.edge.server import Work as EdgeWork
from streaming.guard import ServeError, check_bind, with_secrets
from streaming.inference.crew import LATER_S, READY_S, Crew
from streaming.place import Place
from streaming.process import LogSetup, Process, ProcessError, Work

if TYPE_CHECKING:
    from engine.config import EngineConfig
    from engine.engine import Engine
    from streaming.child import Orders

log = logging.getLogger(__name__)
TRIES: Final = 3  # times in a row that a process may end before it is ready
LOOK_S: Final = 0.2  # how often the main thread looks whether something has happened
AFTER_S: Final = 10.0  # that the media process may take to end, once its sessions have


@dataclass(frozen=True)
class MediaWork:
    """What the media process does (server.py): ``inference`` is where the engine listens, ``folder`` the server's."""

    settings: Settings
    engine: EngineConfig
    inference: str
    folder: str
    secret: str = dataclasses.field(repr=False)

    def __call__(self, orders: Orders) -> None:
        """Until it is told to stop, or its parent is gone."""
        from streaming.server import serve_behind  # a second, most of it

        folder, go = Path(self.folder), threading.Event()
        orders.at_end.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        orders.listen(lambda word: go.set() if word == "go" else os._exit(0))
        if self.settings.server.standby:
            go.wait()
        serve_behind(self.settings, self.engine, self.inference, folder, self.secret, orders)


def splits(processes: str, cores: int) -> bool:
    """Whether a server is to be several processes: ``processes`` as in the configuration."""
    if processes == "split" and not sys.platform.startswith(("linux", "darwin")):
        raise ServeError('server.processes = "split" needs Linux or macOS; set it to "one"')
    return processes == "split" or (
        processes == "auto" and cores >= place.ENOUGH and sys.platform.startswith(("linux", "darwin"))
    )


def serve(
    settings: Settings, engine: EngineConfig, make: Callable[[], Engine], *, logs: LogSetup | None = None,
    open_browser: bool = False, ready: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Blocks until interrupted. ``make`` makes the engine, in a process of its own: anything that pickle takes.
    ``ready`` hears the page's address. Raises ServeError when it cannot start, or not go on."""
    check_bind(settings.server)
    told = Told()
    server = Split(settings, engine, make, logs)
    try:
        address = server.start(told)
        if address:
            ready(address)
            if open_browser:
                webbrowser.open(address)
            told.wait(server.broken)
            server.drain(told)
        if server.broken():
            raise ServeError(server.problem)
    except ProcessError as problem:
        raise ServeError(str(problem)) from problem
    finally:
        server.close()


def hold_port(host: str) -> socket.socket:
    """A socket that has a TCP port of its own and does not listen: while it is open nobody is given that port, but who
    binds to its number may (on Linux)."""
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((host, 0))
    return held


class Told:
    """What signals ask for: SIGTERM to end when the sessions have, SIGINT or a second signal to end now."""

    def __init__(self) -> None:
        self.stop = self.now = False
        self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}

    def _hear(self, number: int, _: object) -> None:
        self.now = self.now or self.stop or number == signal.SIGINT
        self.stop = True

    def wait(self, broken: Callable[[], bool]) -> None:
        """Returns when a signal came, or something is ``broken``."""
        while not (self.stop or broken()):
            time.sleep(LOOK_S)

    def forget(self) -> None:
        """Signals do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Kept:
    """A process that is started again when it ends, unless it was told to. ``spare``: another one, which has begun and
    waits for the word "go", takes its place then."""

    def __init__(self, name: str, work: Work, where: Place, logs: LogSetup | None, spare: bool = False) -> None:
        self._start = lambda: Process(name, work, place=where, logs=logs, report=self._hear, ended=self._end)
        self.name, self.problem, self.address = name, "", ""
        self.restarts = self._failures = 0
        self._ending = False
        self._lock = threading.RLock()
        self.ready = threading.Event()  # it was, once
        self._wants_spare, self._spare = spare, None if not spare else self._start()
        self._pause: threading.Timer | None = None
        self.process = self._start()
        self._go()

    def end(self, word: str) -> None:
        """Asks it to end, and does not start it again."""
        with self._lock:
            self._ending = True
        self.process.order(word)

    def close(self) -> None:
        """Ends it; blocks."""
        self.end("stop")
        if self._pause is not None:
            self._pause.cancel()
        for process in (self._spare, self.process):
            if process is not None:
                process.stop()

    def _hear(self, told: dict[str, Any]) -> None:
        if told["what"] == "ready":
            self._failures, self.address = 0, told.get("address", self.address)
            self.ready.set()
        elif told["what"] == "failed" and told["known"]:
            self.problem = told["why"]  # the next one would say the same

    def _end(self, status: int) -> None:
        """It has ended, or the one that waits."""
        with self._lock:
            if self._ending or self.problem:
                return
            if not self.process.alive:
                log.error("the %s process ended (%d); another one takes its place", self.name, status)
                self._failures += 1
                if self._failures >= TRIES:
                    self.problem = self.process.failure or f"the {self.name} process ended {TRIES} times at its start"
                    return
                self.restarts += 1
                waiting = self._spare is not None and self._spare.alive
                self.process = self._spare if waiting and self._spare is not None else self._start()
                self._spare = None if waiting else self._spare
                self._go()
            if self._wants_spare and (self._spare is None or not self._spare.alive):
                self._spare = None
                self._pause = threading.Timer(LATER_S, self._fill)  # whoever took its place wants the processor first
                self._pause.daemon = True
                self._pause.start()

    def _go(self) -> None:
        if self._wants_spare:
            self.process.order("go")

    def _fill(self) -> None:
        with self._lock:
            if self._spare is None and not self._ending:
                self._spare = self._start()


class Split:
    """All processes of one server."""

    def __init__(
        self, settings: Settings, engine: EngineConfig, make: Callable[[], Engine], logs: LogSetup | None
    ) -> None:
        server = with_secrets(settings.server)
        self._held = contextlib.ExitStack()
        if not server.port:
            held = self._held.enter_context(hold_port(server.host))
            server = dataclasses.replace(server, port=held.getsockname()[1])
            if not sys.platform.startswith("linux"):
                self._held.close()
        # Whatever is started again is where, and trusts what, it did before.
        server = dataclasses.replace(server, token_key=server.token_key or secrets.token_hex(32))
        settings = dataclasses.replace(settings, server=server)  # type: ignore[type-var]
        self._settings, self._places = settings, place.plan(place.cores())
        self._folder = Path(tempfile.mkdtemp(prefix="visavis-"))  # of this user alone
        secret, name = secrets.token_hex(32), settings.server.worker
        self.crew = Crew(make, spare=int(settings.server.standby), place=self._places.inference, logs=logs)
        work = MediaWork(settings, engine, self.crew.address, str(self._folder), secret)
        self.media = Kept("media", work, self._places.media, logs, spare=settings.server.standby)
        edge = EdgeWork(settings, {name: f"unix:{self._folder / 'media'}"}, secret)
        self.web = Kept("web", edge, self._places.web, logs)

    @property
    def problem(self) -> str:
        """Why it cannot go on; empty while it can."""
        return self.crew.problem or self.media.problem or self.web.problem

    def broken(self) -> bool:
        """Whether it cannot go on."""
        return bool(self.problem)

    def start(self, told: Told) -> str:
        """The page's address, once everything is there; empty when it was told to stop before. Raises ProcessError."""
        end = time.monotonic() + READY_S
        while not (self.media.ready.is_set() and self.web.ready.is_set()):
            if self.problem:
                raise ProcessError(self.problem)
            if told.stop:
                return ""
            if time.monotonic() > end:
                raise ProcessError(f"the server was not ready after {READY_S:g} s")
            time.sleep(LOOK_S / 10)
        return self.web.address

    def drain(self, told: Told) -> None:
        """Waits until the media process has ended by itself, having let its sessions end."""
        self.media.end("stop" if told.now else "drain")
        end = time.monotonic() + self._settings.server.drain_s + AFTER_S
        hurried = told.now
        while self.media.process.alive and time.monotonic() < end:
            if told.now and not hurried:
                self.media.end("stop")
                hurried, end = True, time.monotonic() + AFTER_S
            time.sleep(LOOK_S / 4)

    def close(self) -> None:
        """Ends what is left: first who is seen from outside, last who paints."""
        for kept in (self.web, self.media):
            kept.end("stop")
        for kept in (self.web, self.media):
            kept.close()
        self.crew.close()
        self._held.close()
        shutil.rmtree(self._folder, ignore_errors=True)
