"""An edge with workers behind it, on this event loop: each a whole server around the engine's double."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from streaming import patches
from streaming.app import HUB
from streaming.edge import server as edge
from streaming.edge.directory import Listed
from streaming.hub import Hub
from streaming.portraits import Portraits
from streaming.server import start
from streaming.snapshots import Snapshots

from ..harness import Settings

SECRET = "s" * 32


class Worker:
    """One worker on a unix socket; ``stop`` and ``start`` as a supervisor would."""

    def __init__(
        self,
        engine: Any,
        settings: Settings,
        path: Path,
        enrol: Sequence[str] | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.engine, self.settings, self.path, self._enrol = engine, settings, path, enrol
        self.snapshots = snapshots
        self.runner: web.AppRunner | None = None

    @property
    def hub(self) -> Hub:
        assert self.runner is not None
        return self.runner.app[HUB]

    async def start(self) -> None:
        settings = self.settings
        patches.install(settings.stream, settings.server)
        command = () if self._enrol is None else (self._enrol,)
        portraits = Portraits(settings.portrait, self.engine, *command)  # type: ignore[arg-type]
        self.runner, _ = await start(
            settings,
            self.engine,
            portraits,
            path=self.path,
            secret=SECRET,
            snapshots=self.snapshots,  # type: ignore[arg-type]
        )

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None
            self.path.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def edged(
    engines: Mapping[str, Any],
    settings: Settings | None = None,
    enrol: Sequence[str] | None = None,
    snapshots: Snapshots | None = None,
) -> AsyncIterator[tuple[str, dict[str, Worker]]]:
    """(address of an edge, its workers by name)."""
    settings = settings or Settings()
    with tempfile.TemporaryDirectory(prefix="vv-") as folder:  # a unix socket's path has 107 characters at most
        workers = {
            name: Worker(
                engine, replace(settings, server=replace(settings.server, worker=name)),
                Path(folder) / f"worker-{name}", enrol, snapshots,
            )
            for name, engine in engines.items()
        }  # fmt: skip
        for worker in workers.values():
            await worker.start()
        listed = Listed({name: f"unix:{worker.path}" for name, worker in workers.items()})
        runner, address = await edge.start(settings, listed, SECRET)
        try:
            yield address, workers
        finally:
            await runner.cleanup()
            for worker in workers.values():
                await worker.stop()


@contextlib.asynccontextmanager
async def before(app: web.Application, settings: Settings | None = None) -> AsyncIterator[str]:
    """The address of an edge before any HTTP application at all: for what passes, whoever answers."""
    with tempfile.TemporaryDirectory(prefix="vv-") as folder:
        path = Path(folder) / "worker"
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=20.0, shutdown_timeout=1.0)
        await runner.setup()
        await web.UnixSite(runner, str(path)).start()
        front, address = await edge.start(settings or Settings(), Listed({"": f"unix:{path}"}), SECRET)
        try:
            yield address
        finally:
            await front.cleanup()
            await runner.cleanup()
