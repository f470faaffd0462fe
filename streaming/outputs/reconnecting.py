"""An output over a connection that may be lost, and is then made again: ever more slowly, and not for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from abc import abstractmethod
from typing import ClassVar, Final

from streaming.live import Live
from streaming.outputs.output import Output, OutputError, Spec

log = logging.getLogger(__name__)
FIRST_WAIT_S: Final = 0.5  # before a lost connection is tried again; then twice as long, and so on
LONGEST_WAIT_S: Final = 15.0
STEADY_S: Final = 30.0  # a connection that lasted so long was a good one: the next wait is short again


class Rejected(OutputError):
    """A refusal that another try does not change."""


class Reconnecting(Output):
    """``give_up_s`` without a connection ends it. ``lost``: what `_connection` raises when another try may help."""

    lost: ClassVar[tuple[type[Exception], ...]] = (OutputError,)

    def __init__(self, live: Live, spec: Spec, give_up_s: float) -> None:
        super().__init__(live, spec)
        self._give_up_s = give_up_s
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _connection(self) -> None:
        """One connection, to its end; ``_note("running")`` once it is there. Returns once ``_closing`` is set; raises
        one of ``lost`` when it ends before."""

    def _words(self, problem: Exception) -> str:
        """What is said of ``problem``."""
        return str(problem)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._run())

    def _finish(self) -> None:
        if self._closing.is_set():
            return  # told again: the connection is being ended, and must be
        self._closing.set()
        if self.state != "running" and self._task is not None:
            self._task.cancel()  # it waits for a server, or to try again

    async def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # by us
            await self._try()
        self._note("ended")

    async def _try(self) -> None:
        """Connections, one after the other, until this is to end."""
        wait, good = FIRST_WAIT_S, time.monotonic()
        while not self._closing.is_set():
            begun = time.monotonic()
            try:
                await self._connection()
            except self.lost as problem:
                now = time.monotonic()
                good = now if self.state == "running" else good
                if isinstance(problem, Rejected):
                    return self._note("failed", self._words(problem))
                if now - good > self._give_up_s:
                    nothing = f"nothing for {self._give_up_s:g} s, so no more is tried"
                    return self._note("failed", f"{self._words(problem)}; {nothing}")
                self._note("reconnecting", self._words(problem))
                wait = FIRST_WAIT_S if now - begun > STEADY_S else wait
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
                self.reconnects += 1
            except Exception as problem:  # the edge of the task: whatever it was, who asked must hear of it
                log.exception("session %s: output to %s", self.live.id, self.where)
                return self._note("failed", f"{type(problem).__name__}: {problem}")
