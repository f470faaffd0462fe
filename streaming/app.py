"""The HTTP side: the page, and /v1 (docs/protocol.md). Errors are JSON: {"error": {"code", "message"}}."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from engine.avatar import AvatarError, Meta
from engine.engine import Engine
from engine.motion.emotion import EMOTIONS
from engine.motion.frame import ACTIONS
from streaming.config import PortraitConfig, ServerConfig, StreamConfig
from streaming.guard import RateLimit, Refusal, client_address, host_fits, origin_fits, token_fits
from streaming.peer import EngineFailure, Options, Peer
from streaming.portraits import Portraits
from streaming.protocol import FRAMINGS
from streaming.signalling import OfferError
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


class Server:
    """All peers of one process, and the routes that open and close them."""

    def __init__(
        self, engine: Engine, server: ServerConfig, stream: StreamConfig, portrait: PortraitConfig, portraits: Portraits
    ) -> None:
        self._engine, self._server, self._stream = engine, server, stream
        self._upload = Upload(portraits, server, portrait)
        self._portraits = portraits
        self._peers: dict[str, Peer] = {}
        self._opening = 0
        self._limit = RateLimit(server.sessions_per_minute)
        self._started = time.monotonic()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=self._server.max_body_kb * 1024, middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_static("/web", WEB)
        app.router.add_get("/v1/health", self._health)
        app.router.add_get("/v1/ice", self._ice)
        app.router.add_get("/v1/avatars", self._avatars)
        app.router.add_get("/v1/avatars/{id}", self._avatar)
        app.router.add_delete("/v1/avatars/{id}", self._remove)
        app.router.add_get("/v1/avatars/{id}/{picture:preview|report}.png", self._picture)
        app.router.add_post("/v1/portraits", self._upload.post)
        app.router.add_get("/v1/portraits/{id}", self._upload.get)
        app.router.add_delete("/v1/portraits/{id}", self._upload.delete)
        app.router.add_post("/v1/sessions", self._open)
        app.router.add_delete("/v1/sessions/{id}", self._close)
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
        return web.json_response({"status": "ok", "sessions": len(self._peers), "uptime_s": uptime})

    async def _ice(self, request: web.Request) -> web.StreamResponse:
        servers: list[dict[str, Any]] = [{"urls": url} for url in self._server.stun]
        if self._server.turn_url:
            turn = {"urls": self._server.turn_url, "username": self._server.turn_user}
            servers.append({**turn, "credential": self._server.turn_credential})
        return web.json_response({"iceServers": servers})

    async def _avatars(self, request: web.Request) -> web.StreamResponse:
        found = [_describe(meta) for meta in (await self._packs()).values()]
        names = {"framings": list(FRAMINGS), "emotions": list(EMOTIONS), "actions": list(ACTIONS)}
        known = {**names, "portraits": self._upload.terms()}
        return web.json_response({"avatars": found, "default": self._engine.default_avatar, **known})

    async def _avatar(self, request: web.Request) -> web.StreamResponse:
        meta = await self._pack(request.match_info["id"])
        return web.json_response({**_describe(meta), "own": self._portraits.kept(meta.id)})

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        meta, kind = await self._pack(request.match_info["id"]), request.match_info["picture"]
        picture = None if meta.path is None else meta.path / f"{kind}.png"
        if picture is None or not picture.is_file():
            raise Refusal(404, f"no_{kind}", f'avatar "{meta.id}" has no {kind}')
        own = self._portraits.kept(meta.id)
        return web.FileResponse(picture, headers={"Cache-Control": "private, no-store"} if own else None)

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        meta = await self._pack(request.match_info["id"])
        if not await self._portraits.remove(meta.id):
            raise Refusal(
                403, "not_own", f'avatar "{meta.id}" is the server\'s: only those made of an upload are removed'
            )
        return web.Response(status=204)

    async def _open(self, request: web.Request) -> web.StreamResponse:
        who = client_address(self._server, request.remote, request.headers.get("X-Forwarded-For"))
        wait = self._limit.allow(who, time.monotonic())
        if wait > 0:
            limit = f"at most {self._server.sessions_per_minute} new sessions a minute; wait {wait:.0f} s"
            raise Refusal(429, "too_many", limit, {"Retry-After": str(int(wait) + 1)})
        offer, options = _read_offer(await request.read())
        options = await self._checked(options)
        if len(self._peers) + self._opening >= self._server.max_sessions:
            full = f"all {self._server.max_sessions} sessions are taken; try again when someone has left"
            raise Refusal(503, "full", full, {"Retry-After": "5"})
        self._opening += 1
        try:
            peer = Peer(self._engine, options, self._server, self._stream, self._forget)
            self._peers[peer.id] = peer
        finally:
            self._opening -= 1
        try:
            answer = await peer.answer(offer)
        except OfferError as problem:
            raise Refusal(400, "bad_offer", str(problem)) from problem
        except EngineFailure as problem:
            raise Refusal(500, "engine", f"the engine could not open this session: {problem}") from problem
        return web.json_response({"id": peer.id, "type": "answer", "sdp": answer}, status=201)

    async def _checked(self, options: Options) -> Options:
        name = options.avatar
        if not name:
            packs, default = await self._packs(), self._engine.default_avatar
            name = default if default in packs else next(iter(packs), default)
        await self._pack(name)
        return Options(name, options.framing, options.seed, options.marker)

    async def _close(self, request: web.Request) -> web.StreamResponse:
        peer = self._peers.get(request.match_info["id"])
        if peer is None:
            raise Refusal(404, "no_session", "no such session; it may have ended already")
        await peer.close("asked to")
        return web.Response(status=204)

    async def _packs(self) -> dict[str, Meta]:
        found = await asyncio.get_running_loop().run_in_executor(None, self._engine.avatars)
        return {meta.id: meta for meta in found}

    async def _pack(self, name: str) -> Meta:
        """Only ids are looked up: a client must not be able to name a folder of this machine."""
        try:
            meta = await asyncio.get_running_loop().run_in_executor(None, self._engine.meta, name)
        except AvatarError as problem:
            raise Refusal(404, "no_avatar", str(problem)) from None
        self._portraits.touch(name)
        return meta

    def _forget(self, peer: Peer) -> None:
        self._peers.pop(peer.id, None)

    async def _startup(self, app: web.Application) -> None:
        if self._upload.terms()["enabled"]:
            self._portraits.start()

    async def _shutdown(self, app: web.Application) -> None:
        await self._portraits.close()
        await asyncio.gather(*(peer.close("the server stops") for peer in list(self._peers.values())))


def _read_offer(body: bytes) -> tuple[str, Options]:
    """(sdp, options) of a POST body. Raises Refusal naming the field."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise Refusal(400, "bad_json", f"the body is not JSON: {str(problem)[:120]}") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "bad_json", "the body must be a JSON object")
    kinds: dict[str, tuple[type, Any]] = {
        "sdp": (str, None), "type": (str, None), "avatar": (str, ""), "framing": (str, FRAMINGS[0]),
        "seed": (int, 0), "marker": (bool, False),
    }  # fmt: skip
    values: dict[str, Any] = {}
    for name, (kind, default) in kinds.items():
        value = fields.pop(name, default)
        if type(value) is not kind:
            raise Refusal(400, "bad_field", f'"{name}" must be {kind.__name__}, got {type(value).__name__}')
        values[name] = value
    if fields:
        raise Refusal(400, "bad_field", f'unknown field "{next(iter(fields))[:40]}"; known: {", ".join(kinds)}')
    if values["type"] != "offer":
        raise Refusal(400, "bad_field", f'"type" must be "offer", got "{values["type"][:40]}"')
    if values["framing"] not in FRAMINGS:
        raise Refusal(400, "bad_field", f'"framing" must be one of {", ".join(FRAMINGS)}')
    if not 0 <= values["seed"] < 2**31:
        raise Refusal(400, "bad_field", '"seed" must be 0..2147483647')
    return values["sdp"], Options(values["avatar"], values["framing"], values["seed"], values["marker"])


def _describe(meta: Meta) -> dict[str, str]:
    return {name: getattr(meta, name) for name in ("id", "name", "licence", "author", "description")}


def _refuse(refusal: Refusal) -> web.Response:
    body = {"error": {"code": refusal.code, "message": refusal.message}}
    return web.json_response(body, status=refusal.status, headers=refusal.headers)
