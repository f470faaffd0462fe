"""What every request goes through before its handler: host, origin, limits, token, scope, whose session."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from streaming.answers import Answers
from streaming.config import LimitsConfig, ServerConfig
from streaming.guard import Refusal, client_address, forwarded_for, host_fits, is_private, origin_fits
from streaming.hub import Hub
from streaming.limits import Limits
from streaming.tokens import CHALLENGE, Asker, Keyring, asking

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Which scope a route of /v1 asks for, by its pattern as registered; "": any token. What is not here is for the server's
# own token, so that a new route is closed until somebody thinks about it.
NEEDS: Final = (
    (re.compile(r"(GET|HEAD) /metrics"), "metrics"),
    (re.compile(r"(GET|HEAD|POST) /v1/ice"), ""),
    (re.compile(r"(GET|HEAD) /v1/avatars(/.*)?"), ""),
    (re.compile(r"DELETE /v1/avatars/\{\w+\}"), "portrait"),
    (re.compile(r"\w+ /v1/portraits(/.*)?"), "portrait"),
    (re.compile(r"POST /v1/tokens"), "mint"),
    (re.compile(r"POST /v1/sessions"), "open"),
    (re.compile(r"(GET|HEAD|DELETE) /v1/sessions/\{\w+\}"), "open"),
    (re.compile(r"\w+ /v1/sessions/\{\w+\}/whep(/.*)?"), "watch"),
    (re.compile(r"\w+ /v1/sessions/\{\w+\}/agent"), "speak"),
    (re.compile(r"\w+ /v1/sessions/\{\w+\}/outputs(/.*)?"), "output"),
)
OF_A_SESSION: Final = re.compile(r"/v1/sessions/\{(\w+)\}")
SUBPROTOCOL: Final = "token."  # how a browser's WebSocket carries its token, percent-encoded


class Access:
    """The middleware of one server."""

    def __init__(self, server: ServerConfig, limits: LimitsConfig, hub: Hub) -> None:
        self.keyring = Keyring(server)
        self.limits = hub.limits = Limits(limits, is_private(server))
        self._server, self._config, self._hub = server, limits, hub
        self.answers = Answers(server)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets a request through to its handler, or answers it; nothing a client sends ends in another way."""
        return await self.answers.to(request, self._let(request, handler))

    def check_session(self, asker: Asker, session: str) -> None:
        """Raises Refusal when ``asker`` may not have to do with a session, or there is none."""
        if asker.session and not asker.reaches(session, None):
            raise Refusal(403, "other_session", "this token is for another session")
        if session not in self._hub.lives or not asker.reaches(session, self._hub.owners.get(session)):
            raise Refusal(404, "no_session", "no such session; it may have ended already")

    async def _let(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._whereabouts(request)
        if request.method == "OPTIONS":
            return await self._preflight(request, handler)
        turn = asking.set(self._who(request))
        try:
            await self._body(request)
            return await handler(request)
        finally:
            asking.reset(turn)

    def _whereabouts(self, request: web.Request) -> None:
        """From where to where: host and origin."""
        if not host_fits(self._server, request.host):
            raise Refusal(403, "bad_host", f'this server does not answer as "{request.host[:100]}" (server.names)')
        safe = request.method in ("GET", "HEAD") and not _is_api(request) and not _is_upgrade(request)
        if not safe and not origin_fits(self._server, request.headers.get("Origin"), request.host):
            raise Refusal(403, "bad_origin", "pages of this origin may not open sessions (server.allowed_origins)")

    def _who(self, request: web.Request) -> Asker:
        """Whose request it is, and that it may be made. Raises Refusal."""
        address = client_address(self._server, request.remote, forwarded_for(request.headers))
        unsaid = self._server.max_body_kb * 1024 if request.can_read_body else 0  # as long as a body may be
        length = unsaid if request.content_length is None else request.content_length
        self.limits.request(address, length, time.monotonic())
        if not _is_api(request):
            return Asker(address, scopes=frozenset())
        asker = self._credential(request, address)
        resource = request.match_info.route.resource
        pattern = resource.canonical if resource is not None else ""
        needed = next((scope for rule, scope in NEEDS if rule.fullmatch(f"{request.method} {pattern}")), "server")
        if needed and pattern and not asker.may(needed):
            raise Refusal(403, "bad_scope", f'this token is not good for "{needed}"')
        if asker.session and needed == "open" and pattern == "/v1/sessions":
            raise Refusal(403, "other_session", "this token is for one session, and opens no other")
        if found := OF_A_SESSION.match(pattern):
            self.check_session(asker, request.match_info[found[1]])
        return asker

    def _credential(self, request: web.Request, address: str) -> Asker:
        token = credential(request)
        if not self.keyring.required:
            try:
                return self.keyring.open(token, address)
            except Refusal:
                return Asker(address)  # nobody is asked for a token here; one of ours would narrow what may be done
        if not token:
            said = "this server asks for its token: open the page with #token=... added"
            raise Refusal(401, "bad_token", said, CHALLENGE)
        now = time.monotonic()
        self.limits.guesses.before(address, token, now)
        try:
            asker = self.keyring.open(token, address)
        except Refusal as refusal:
            if refusal.code == "bad_token":  # one that has expired was no guess
                self.limits.guesses.wrong(address, now)
            raise
        self.limits.guesses.right(address, token)
        return asker

    async def _body(self, request: web.Request) -> None:
        """Reads a small body here, where its time is bounded; forms bound theirs while they come in."""
        if not request.can_read_body:
            return
        if request.content_type.startswith("multipart/"):
            if request.content_length is None:
                raise Refusal(411, "no_length", "say how long the form is (Content-Length)")
            return
        try:
            async with asyncio.timeout(self._config.body_s):
                await request.read()
        except TimeoutError:
            said = f"the request's body took longer than {self._config.body_s:g} s to come in"
            raise Refusal(408, "too_slow", said, {"Connection": "close"}) from None
        except (ValueError, web.RequestPayloadError) as problem:
            raise Refusal(400, "bad_body", f"the body cannot be read: {str(problem)[:120]}") from None

    async def _preflight(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What a browser asks before a page of another origin may ask; a route that has OPTIONS of its own says it."""
        address = client_address(self._server, request.remote, forwarded_for(request.headers))
        self.limits.request(address, 0, time.monotonic())
        if request.match_info.http_exception is None:
            turn = asking.set(Asker(address, scopes=frozenset()))
            try:
                return await handler(request)
            finally:
                asking.reset(turn)
        return web.Response(status=204)


def credential(request: web.Request) -> str:
    """The token a request carries: as a bearer, or among a WebSocket's subprotocols as ``token.`` and the token,
    percent-encoded (browsers let a page set no other header there)."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    if _is_upgrade(request):
        for offered in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
            if offered.strip().startswith(SUBPROTOCOL):
                return unquote(offered.strip().removeprefix(SUBPROTOCOL))
    return ""


def _is_upgrade(request: web.Request) -> bool:
    return "websocket" in request.headers.get("Upgrade", "").lower()


def _is_api(request: web.Request) -> bool:
    """Whether a request is for /v1 or /metrics, by its path or by the route it found; health is for everybody."""
    resource = request.match_info.route.resource
    pattern = resource.canonical if resource is not None else request.path
    return any(path.startswith(("/v1", "/metrics")) for path in (request.path, pattern)) and pattern != "/v1/health"
