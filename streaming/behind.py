"""A server behind an edge: answers nobody but the edge, believes what it says of who asks, and tells it how it is."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web
from multidict import CIMultiDict

from streaming.edge.passing import FOR, PROTO, REFUSAL, SECRET
from streaming.hub import Hub

LONGEST: Final = 4096  # characters of REFUSAL
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Behind:
    """Its ``middleware`` goes around all others. ``secret``: shared with the edge, and never in a log."""

    def __init__(self, hub: Hub, secret: str) -> None:
        if len(secret) < 32:
            raise ValueError("the secret between an edge and its workers has 32 characters or more")
        self._hub, self._secret = hub, secret.encode()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets the edge's requests through as if whoever asked the edge had come here himself."""
        if not hmac.compare_digest(request.headers.get(SECRET, "").encode("utf-8", "surrogatepass"), self._secret):
            said = "this is a worker: ask the edge in front of it"
            return web.json_response({"error": {"code": "not_the_edge", "message": said}}, status=403)
        if FOR not in request.headers:  # the edge asks for itself
            if (request.method, request.path) == ("GET", "/v1/worker"):
                return web.json_response(self.told())
            return web.json_response({"error": {"code": "not_found", "message": "Not Found"}}, status=404)
        client, scheme = request.headers[FOR], request.headers.get(PROTO, "http")
        headers = CIMultiDict(request.headers)
        for name in (SECRET, FOR, PROTO):
            headers.popall(name, None)
        asked = request.clone(headers=headers, remote=client, scheme="https" if scheme == "https" else "http")
        response = await handler(asked)
        if "Upgrade" in request.headers and isinstance(response, web.Response) and response.status >= 400:
            body = response.body if isinstance(response.body, bytes) else b""
            response.headers[REFUSAL] = quote(body)[:LONGEST] if len(quote(body)) <= LONGEST else ""
        return response

    def told(self) -> dict[str, Any]:
        """How this worker is, for whoever sends sessions here (edge/route.py)."""
        hub = self._hub
        room = hub.engine.room()
        warm = {live.opened_as[0] for live in hub.lives.values() if live.opened_as is not None}
        full = f"all {hub.server.max_sessions} sessions are taken; try again when someone has left"
        refusal = full if len(hub.lives) >= hub.server.max_sessions else room.refusal
        return {
            "name": hub.server.worker, "sessions": len(hub.lives), "headroom": room.headroom, "refusal": refusal,
            "retry_after_s": 5.0 if refusal is full else room.retry_after_s, "warm": sorted(warm),
            "draining": hub.draining,
        }  # fmt: skip
