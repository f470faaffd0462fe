"""A process that the server starts, tells what to do, listens to and ends: its parent's side of child.py."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from streaming.child import LENGTH, Orders
from streaming.place import ANYWHERE, Place

log = logging.getLogger(__name__)
Work = Callable[[Orders], None]
LogSetup = tuple[str, str, tuple[str, ...]]  # form, level, secrets: as streaming.logs.setup takes them
END_S: Final = 8.0  # that a process may take to end before it is killed


class ProcessError(RuntimeError):
    """A process of the server cannot do its work; the message is what it said."""


class Process:
    """One child, from its start to its end.

    ``work`` is what it does, called with its Orders: anything that pickle takes. ``report`` hears what it tells, and
    ``ended`` how it ended, each on a thread of the child's own.
    """

    def __init__(
        self, name: str, work: Work, *, place: Place = ANYWHERE, logs: LogSetup | None = None,
        descriptors: Sequence[int] = (), report: Callable[[dict[str, Any]], None] = lambda told: None,
        ended: Callable[[int], None] = lambda status: None,
    ) -> None:  # fmt: skip
        self.name, self._report, self._ended = name, report, ended
        self.ready = threading.Event()  # it said so, or has ended
        self.failure = ""  # what it said of its end
        self.known = False  # whether that is somebody else's mistake, and not a bug
        self._stopping = False
        here, there = socket.socketpair()
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streaming.child", str(there.fileno()), name],
                stdin=subprocess.DEVNULL, pass_fds=(there.fileno(), *descriptors), start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        self._link = here
        parcel = pickle.dumps({"place": place, "logs": logs, "work": pickle.dumps(work)})
        with contextlib.suppress(OSError):  # it ended already: its watcher says so
            here.sendall(LENGTH.pack(len(parcel)) + parcel)
        threading.Thread(target=self._watch, name=f"watch-{name}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def wait_ready(self, seconds: float) -> None:
        """Returns once it is ready. Raises ProcessError when it ended, or was too slow."""
        if not self.ready.wait(seconds):
            raise ProcessError(f"the {self.name} process was not ready after {seconds:g} s")
        if not self.alive or self.failure:
            raise ProcessError(self.failure or f"the {self.name} process ended: {self._process.wait()}")

    def order(self, word: str) -> None:
        """Tells it something; it may be gone."""
        with contextlib.suppress(OSError):
            self._link.sendall(word.encode() + b"\n")

    def stop(self, seconds: float = END_S) -> None:
        """Ends it: asked first, then killed. Blocks."""
        self._stopping = True
        self.order("stop")
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            log.warning("the %s process has not ended after %g s, and is killed", self.name, seconds)
            self.kill()

    def kill(self) -> None:
        """Ends it now."""
        self._process.kill()
        self._process.wait()

    @property
    def stopping(self) -> bool:
        """Whether its end was asked for."""
        return self._stopping

    def _watch(self) -> None:
        """Listens to it until it has ended."""
        with contextlib.suppress(OSError), self._link.makefile("rb") as lines:
            for line in lines:
                self._hear(json.loads(line))
        status = self._process.wait()
        self.ready.set()
        self._link.close()
        self._ended(status)

    def _hear(self, told: dict[str, Any]) -> None:
        if told["what"] == "failed":
            self.failure, self.known = told["why"], told["known"]
        self._report(told)
        if told["what"] == "ready":
            self.ready.set()
