"""A worker: an actor that holds an engine and its sessions, answers edges, and tells the director how it is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from engine.schedule.room import Room
from streaming.cluster.blueprint import Blueprint, inner_host, worker_server
from streaming.cluster.keeper import Keepers
from streaming.cluster.roster import Report
from streaming.guard import Refusal

log = logging.getLogger(__name__)
REPORT_S: Final = 0.25
ANSWER_S: Final = 1.0  # for the director to take a report
END_S: Final = 10.0
NO_ROOM: Final = ("busy", "full")  # codes of refusals


class Worker:
    """One worker of a cluster, called ``name``. ``start`` it; then it reports until it is told to ``leave``."""

    def __init__(self, name: str, blueprint: Blueprint, director: Any, keepers: list[Any]) -> None:
        self._name, self._blueprint, self._director = name, blueprint, director
        self._keepers = Keepers(keepers)
        self._telling: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._engine: Any = None
        self._server: Any = None
        self._address, self._node = "", ""
        self._refused = 0

    async def start(self) -> str:
        """Opens the engine and listens; returns the address."""
        from streaming import logs, patches
        from streaming.app import Server
        from streaming.portraits import Portraits
        from streaming.server import SWITCH_S

        settings = self._blueprint.settings
        settings = replace(settings, server=worker_server(settings.server, self._name))  # type: ignore[type-var]
        observe = settings.observe
        logs.setup(observe.log, observe.log_level, [*logs.secrets_of(settings.server), self._blueprint.secret])
        loop = asyncio.get_running_loop()
        self._engine = await loop.run_in_executor(None, self._open)
        patches.install(settings.stream, settings.server)
        sys.setswitchinterval(SWITCH_S)
        gc.collect()
        gc.freeze()
        self._server = Server(
            self._engine, settings, Portraits(settings.portrait, self._engine), self._blueprint.secret
        )
        self._server.hub.snapshots = self._keepers
        self._server.access.answers.refused = self._count(self._server.access.answers.refused)
        self._runner = web.AppRunner(self._server.application(), access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        self._node = _node()
        host = inner_host(settings.cluster, self._node)
        await web.TCPSite(self._runner, host, 0).start()
        self._address = f"http://{host}:{self._runner.addresses[0][1]}"
        self._telling = loop.create_task(self._tell())
        return self._address

    def _count(self, hear: Callable[[Refusal], None]) -> Callable[[Refusal], None]:
        """``hear``, and openings that found no room are counted."""

        def refused(refusal: Refusal) -> None:
            self._refused += refusal.code in NO_ROOM
            hear(refusal)

        return refused

    def _open(self) -> Any:
        engine = self._blueprint.make()
        engine.warm_up()
        engine.warm_up_company()
        return engine

    async def wait(self) -> None:
        """Never returns: whoever awaits it hears of this process's end at once."""
        await asyncio.Event().wait()

    async def blueprint(self) -> Blueprint:
        """What it was made from."""
        return self._blueprint

    async def drain(self) -> None:
        """Takes no new sessions from now on."""
        if self._server is not None:
            self._server.hub.draining = True

    async def leave(self) -> None:
        """Ends what is left of its sessions, and everything."""
        if self._telling is not None:
            self._telling.cancel()
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._runner.cleanup(), END_S)
        if self._engine is not None:
            self._engine.close()

    def report(self) -> Report:
        """How it is now."""
        told = self._server._behind.told()
        room = Room(told["sessions"], told["headroom"], told["refusal"], told["retry_after_s"])
        return Report(
            self._name, self._blueprint.version, self._address, self._node, room, frozenset(told["warm"]),
            told["draining"], self._refused, os.getpid(),
        )  # fmt: skip

    async def _tell(self) -> None:
        """Reports until it is told that it is not wanted; a director that is away comes back."""
        while True:
            try:
                ours = await asyncio.wait_for(self._director.report.remote(self.report()), ANSWER_S)
            except Exception as problem:  # Ray's own, of many kinds
                log.info("the director does not answer: %s", type(problem).__name__)
                ours = True
            if not ours:
                log.error("the director took this worker for dead: it ends")
                await self.leave()
                os._exit(0)
            await asyncio.sleep(REPORT_S)


def _node() -> str:
    """This machine's address in the cluster."""
    import ray

    return str(ray.util.get_node_ip_address())
