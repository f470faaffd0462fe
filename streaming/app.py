"""The HTTP side: the page, and /v1 (docs/protocol.md). Errors are JSON: {"error": {"code", "message"}}."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp import web

from engine.engine import Engine
from streaming.avatars import Avatars
from streaming.config import Settings
from streaming.guard import Refusal, host_fits, origin_fits, token_fits
from streaming.hub import Hub
from streaming.portraits import Portraits
from streaming.sessions import Sessions
from streaming.upload import Upload

log = logging.getLogger(__name__)
WEB: Final = Path(__file__).parent / "web"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes(Protocol):
    """A part of the HTTP side."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What it answers."""


class Server:
    """All sessions of one process, and the routes around them."""

    def __init__(self, engine: Engine, settings: Settings, portraits: Portraits) -> None:
        self._server = settings.server
        self.hub = Hub(engine, settings.server, settings.stream)
        self._portraits = portraits
        self._upload = Upload(portraits, settings.server, settings.portrait)
        avatars = Avatars(engine, portraits, self._upload)
        self._parts: list[Routes] = [avatars, self._upload, Sessions(self.hub, avatars)]
        self._started = time.monotonic()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=self._server.max_body_kb * 1024, middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_static("/web", WEB)
        app.router.add_get("/v1/health", self._health)
        app.router.add_get("/v1/ice", self._ice)
        for part in self._parts:
            app.router.add_routes(part.routes())
        app.on_startup.append(self._startup)
        app.on_shutdown.append(self._shutdown)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check(request)
            response = await handler(request)
        except Refusal as refusal:
            response = _refuse(refusal)
        except web.HTTPRequestEntityTooLarge:
            limit = f"a request body has at most {self._server.max_body_kb} kB"
            response = _refuse(Refusal(413, "too_large", limit))
        except web.HTTPException as problem:
            response = _refuse(Refusal(problem.status, problem.reason.lower().replace(" ", "_"), problem.reason))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:  # one request's bug must not end the others
            log.exception("%s %s", request.method, request.path)
            response = _refuse(Refusal(500, "internal", "the server failed on this request; its log says why"))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _check(self, request: web.Request) -> None:
        if not host_fits(self._server, request.host):
            raise Refusal(403, "bad_host", f'this server answers on localhost only, not as "{request.host}"')
        if request.method not in ("GET", "HEAD") and not origin_fits(
            self._server, request.headers.get("Origin"), request.host
        ):
            raise Refusal(403, "bad_origin", "pages of this origin may not open sessions (server.allowed_origins)")
        public = not request.path.startswith("/v1/") or request.path == "/v1/health"
        if not public and not token_fits(self._server, request.headers.get("Authorization")):
            raise Refusal(401, "bad_token", "this server asks for its token: open the page with #token=... added")

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / "index.html")

    async def _health(self, request: web.Request) -> web.StreamResponse:
        uptime = round(time.monotonic() - self._started, 1)
        return web.json_response({"status": "ok", "sessions": len(self.hub.lives), "uptime_s": uptime})

    async def _ice(self, request: web.Request) -> web.StreamResponse:
        servers: list[dict[str, Any]] = [{"urls": url} for url in self._server.stun]
        if self._server.turn_url:
            turn = {"urls": self._server.turn_url, "username": self._server.turn_user}
            servers.append({**turn, "credential": self._server.turn_credential})
        return web.json_response({"iceServers": servers})

    async def _startup(self, app: web.Application) -> None:
        await self.hub.start()
        if self._upload.terms()["enabled"]:
            self._portraits.start()

    async def _shutdown(self, app: web.Application) -> None:
        await self._portraits.close()
        await self.hub.stop()


def _refuse(refusal: Refusal) -> web.Response:
    body = {"error": {"code": refusal.code, "message": refusal.message}}
    return web.json_response(body, status=refusal.status, headers=refusal.headers)
