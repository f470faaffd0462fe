"""Inference processes, kept running: one that paints and, where wanted, one that is warm and waits to take over."""

from __future__ import annotations

import functools
import logging
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streaming.place import ANYWHERE, Place
from streaming.process import LogSetup, Process, ProcessError

if TYPE_CHECKING:
    from engine.engine import Engine
    from streaming.child import Orders

log = logging.getLogger(__name__)
TRIES: Final = 3  # processes in a row that may end before they are ready
READY_S: Final = 180.0  # the first time on a machine, kernels are compiled
LATER_S: Final = 5.0  # after which the one that waits is replaced: sessions that just moved want the processor first


class Crew:
    """``make`` makes the engine, in each process; ``spare`` more of them than one wait, warm.

    All of them listen at ``address``, so whoever connects is served by one that is free. ``close`` ends them.
    """

    def __init__(
        self, make: Callable[[], Engine], *, spare: int = 0, place: Place = ANYWHERE, logs: LogSetup | None = None
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="visavis-"))  # of this user alone
        self.address = str(self._folder / "inference")
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(self.address)
        self._door.listen(4)
        self._work = functools.partial(_paint, make, self._door.fileno(), str(self._folder))
        self._place, self._logs = place, logs
        self._change = threading.Condition()
        self._processes: list[Process] = []
        self._failures, self.problem = 0, ""
        self._closed = False
        self._calm = 0.0  # monotonic: the next one may begin, if somebody is there who paints
        self.restarts = 0
        self._wanted = 1 + spare
        self._keeper = threading.Thread(target=self._keep, name="crew", daemon=True)
        self._keeper.start()

    def wait_ready(self, seconds: float = READY_S) -> None:
        """Returns once one of them is warm. Raises ProcessError when none can be, or it takes too long."""
        with self._change:
            if not self._change.wait_for(lambda: self.problem or self._ready(), seconds):
                raise ProcessError(f"no inference process was ready after {seconds:g} s")
            if self.problem:
                raise ProcessError(self.problem)

    @property
    def pids(self) -> list[int]:
        """Of those that run."""
        with self._change:
            return [process.pid for process in self._processes if process.alive]

    @property
    def settled(self) -> bool:
        """Whether as many as are wanted run, and are warm."""
        with self._change:
            ready = [process for process in self._processes if process.alive and process.ready.is_set()]
            return len(ready) >= self._wanted

    def close(self) -> None:
        """Ends them all, and leaves nothing."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._keeper.join()
        for process in self._processes:
            process.order("stop")
        for process in self._processes:
            process.stop()
        self._door.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ready(self) -> bool:
        return any(process.ready.is_set() and process.alive for process in self._processes)

    def _keep(self) -> None:
        """Starts as many as are wanted, one after the other, and another for each that ends."""
        while True:
            with self._change:
                while not (self._closed or self.problem or self._wants()):
                    self._change.wait(1.0)
                if self._closed or self.problem:
                    return
            process = Process(
                "inference", self._work, place=self._place, logs=self._logs, descriptors=[self._door.fileno()],
                report=self._hear, ended=self._end,
            )  # fmt: skip
            with self._change:
                self._processes.append(process)
                self._change.notify_all()

    def _wants(self) -> bool:
        if len(self._processes) >= self._wanted or any(not process.ready.is_set() for process in self._processes):
            return False
        return not self._processes or time.monotonic() >= self._calm

    def _hear(self, told: dict[str, Any]) -> None:
        with self._change:
            if told["what"] == "ready":
                self._failures = 0
            elif told["what"] == "failed" and told["known"]:
                self.problem = told["why"]  # the next one would say the same
            self._change.notify_all()

    def _end(self, status: int) -> None:
        """One has ended."""
        with self._change:
            ended = [process for process in self._processes if not process.alive]
            self._processes = [process for process in self._processes if process.alive]
            if self._closed:
                return
            for process in ended:
                log.error("inference process %d ended (%s)", process.pid, _how(status))
                self.restarts, self._calm = self.restarts + 1, time.monotonic() + LATER_S
                self._failures += 1
                if self._failures >= TRIES:
                    self.problem = self.problem or process.failure or f"{TRIES} inference processes did not start"
            self._change.notify_all()


def _paint(make: Callable[[], Engine], door: int, folder: str, orders: Orders) -> None:
    from streaming.inference.painting import paint  # and the engine with it: not where processes are only kept

    paint(make, door, folder, orders)


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
