"""The HTTP side: the page, and /v1 (docs/protocol.md). Errors are JSON: {"error": {"code", "message"}}."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, Protocol

from aiohttp import web

from engine.engine import Engine
from streaming import files
from streaming.access import Access
from streaming.agents import Agents
from streaming.avatars import Avatars
from streaming.behind import Behind
from streaming.config import Settings
from streaming.guard import is_private, with_secrets
from streaming.hub import Hub
from streaming.ice import Ice
from streaming.observe import Observation
from streaming.outputs.outputs import Outputs
from streaming.portraits import Portraits
from streaming.sessions import Sessions
from streaming.tokens import Tokens
from streaming.upload import Upload
from streaming.whep import Whep

HUB: Final = web.AppKey("hub", Hub)


class Routes(Protocol):
    """A part of the HTTP side."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What it answers."""


class Server:
    """All sessions of one process, and the routes around them. ``secret``: it answers nobody but the edge that knows
    it (behind.py)."""

    def __init__(self, engine: Engine, settings: Settings, portraits: Portraits, secret: str = "") -> None:
        self._server = with_secrets(settings.server)
        self.hub = Hub(engine, self._server, settings.stream)
        self.access = Access(self._server, settings.limits, self.hub)
        self._portraits = portraits
        portraits.stopping = lambda: self.hub.draining
        self._upload = Upload(portraits, self._server, settings.portrait)
        avatars = Avatars(engine, portraits, self._upload)
        self._parts: list[Routes] = [avatars, self._upload, Sessions(self.hub, avatars)]
        self._parts.append(Ice(self._server))
        self._parts.append(Agents(self.hub, settings.agents))
        self.outputs = Outputs(self.hub, settings.outputs, is_private(self._server))
        self._parts += [Whep(self.hub), self.outputs]
        self._parts.append(Tokens(self.access.keyring, self.access.check_session))
        self._observation = Observation(self.hub, portraits, settings.observe)
        self.access.answers.refused = self._observation.refused
        self._parts.append(self._observation)
        self._behind = Behind(self.hub, secret) if secret else None
        self._started = time.monotonic()

    def application(self) -> web.Application:
        """The aiohttp application."""
        around = [self._observation.middleware, self.access.guard]
        if self._behind is not None:
            around.insert(0, self._behind.middleware)
        app = web.Application(client_max_size=self._server.max_body_kb * 1024, middlewares=around)
        app[HUB] = self.hub
        app.router.add_get("/", self._page)
        app.router.add_routes(files.routes())
        app.router.add_get("/v1/health", self._health)
        for part in self._parts:
            app.router.add_routes(part.routes())
        app.on_startup.append(self._startup)
        app.on_shutdown.append(self._shutdown)
        return app

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(files.WEB / "index.html")

    async def _health(self, request: web.Request) -> web.StreamResponse:
        uptime = round(time.monotonic() - self._started, 1)
        return web.json_response({"status": "ok", "sessions": len(self.hub.lives), "uptime_s": uptime})

    async def _startup(self, app: web.Application) -> None:
        await self.hub.start()
        await self._observation.start()
        if self._upload.terms()["enabled"]:
            self._portraits.start()

    async def _shutdown(self, app: web.Application) -> None:
        await self._portraits.close()
        await self.outputs.close()
        await self.hub.stop()
        await self._observation.stop()
