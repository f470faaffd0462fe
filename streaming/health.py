"""Whether the process is alive, and whether it can take one more session: ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiohttp import web

from streaming.hub import Hub
from streaming.live import Live, Watcher

FAILURES: Final = 3  # sessions that the engine let down in a row, before it counts as broken
FORGIVEN_S: Final = 60.0  # after which a new session may show whether it still is


class Health(Watcher):
    """Two public pages that say nothing about anybody."""

    def __init__(self, hub: Hub, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub, self._clock = hub, clock
        self._failed = 0  # in a row
        self._failed_at = 0.0
        hub.watchers.append(self)

    def frame(self, live: Live, frame: Any) -> None:
        """The engine paints."""
        self._failed = 0

    def closed(self, live: Live, why: str) -> None:
        """Counts what the engine could not go on with."""
        if live.failure is not None:
            self._failed, self._failed_at = self._failed + 1, self._clock()

    def reasons(self) -> list[str]:
        """Why no session should be sent here now; empty when one can."""
        hub, reasons = self._hub, []
        if hub.draining:
            reasons.append("draining")
        if len(hub.lives) >= hub.server.max_sessions:
            reasons.append("full")
        elif hub.engine.room().refusal is not None:
            reasons.append("busy")
        if self._failed >= FAILURES and self._clock() - self._failed_at < FORGIVEN_S:
            reasons.append("engine")
        return reasons

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [web.get("/healthz", self._alive), web.get("/readyz", self._ready)]

    async def _alive(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.StreamResponse:
        reasons = self.reasons()
        told = {"status": "not ready" if reasons else "ready", "reasons": reasons}
        return web.json_response(told, status=503 if reasons else 200)
