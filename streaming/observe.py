"""What a server tells of itself, put together: metrics, health, traces, and what every request's log lines carry."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Final

from aiohttp import web

from streaming.config import ObserveConfig
from streaming.guard import Refusal, client_address, forwarded_for
from streaming.health import Health
from streaming.hub import Hub
from streaming.logs import ACCESS, REQUEST, SESSION
from streaming.metrics import Metrics
from streaming.portraits import Portraits
from streaming.traces import Traces, tracer_of

_refusal: ContextVar[str] = ContextVar("refusal", default="")  # code of this request's refusal
SWITCHED: Final = 101  # the status of a WebSocket
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Observation:
    """One of the server's parts; ``middleware`` goes around all others."""

    def __init__(self, hub: Hub, portraits: Portraits, observe: ObserveConfig) -> None:
        self._hub, self._config = hub, observe
        self._health = Health(hub)
        self._metrics = Metrics(hub, portraits) if observe.metrics else None
        tracer = tracer_of(observe)
        self._traces = Traces(hub, portraits, tracer, observe.trace_every) if tracer is not None else None

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [*self._health.routes(), *(self._metrics.routes() if self._metrics is not None else ())]

    async def start(self) -> None:
        """Begins to sample."""
        if self._metrics is not None:
            await self._metrics.start()

    async def stop(self) -> None:
        """Ends it, and sends what is left of the traces."""
        if self._metrics is not None:
            await self._metrics.stop()
        if self._traces is not None:
            await self._traces.stop()

    def refused(self, refusal: Refusal) -> None:
        """The request that this task answers is refused."""
        _refusal.set(refusal.code)
        if self._metrics is not None:
            self._metrics.refused(refusal.code)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Gives the request an id, and counts, traces and logs its answer."""
        route = getattr(request.match_info.route.resource, "canonical", "none")
        name = request.match_info.get("id", "")
        REQUEST.set(secrets.token_hex(4))
        SESSION.set(name if name in self._hub.lives else "")
        _refusal.set("")
        start, status = time.monotonic(), 0
        span = self._traces.request(request.method, route) if self._traces is not None else None
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            took = time.monotonic() - start
            if self._metrics is not None and status not in (0, SWITCHED):  # a WebSocket lasts as long as its agent
                self._metrics.requested(request.method, route, status, took)
            if span is not None:
                span.end(status, _refusal.get())
            if self._config.access_log:
                self._log(request, status, took)

    def _log(self, request: web.Request, status: int, took: float) -> None:
        """One line a request, without its query, which may hold a secret."""
        fields = {"method": request.method, "path": request.path, "status": status, "code": _refusal.get()}
        remote = client_address(self._hub.server, request.remote, forwarded_for(request.headers))
        fields |= {"ms": round(took * 1e3, 1), "remote": remote}
        words = "%s %s %d %s %.1f ms %s"
        ACCESS.info(words, *fields.values(), extra={"fields": fields})
