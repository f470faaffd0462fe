"""Sessions over HTTP: opened with a WebRTC offer, or without one by an agent, and closed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from aiohttp import web

from streaming.avatars import Avatars
from streaming.guard import RateLimit, Refusal, client_address, forwarded_for, is_private
from streaming.hub import Hub
from streaming.live import EngineFailure, Options
from streaming.peer import Over
from streaming.protocol import FRAMINGS
from streaming.signalling import OfferError


class Sessions:
    """The routes of ``/v1/sessions``."""

    def __init__(self, hub: Hub, avatars: Avatars) -> None:
        self._hub, self._avatars = hub, avatars
        self._limit = RateLimit(hub.server.sessions_per_minute)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [
            web.get("/v1/sessions", self._list),
            web.post("/v1/sessions", self._open),
            web.delete("/v1/sessions/{id}", self._close),
        ]

    async def _list(self, request: web.Request) -> web.StreamResponse:
        """Oldest first. Whoever knows a session's id may do with it what he likes, so strangers are told of none."""
        if not is_private(self._hub.server):
            raise Refusal(403, "not_private", "sessions are listed only on a server that this machine alone reaches")
        now, lives = time.monotonic(), self._hub.lives.values()
        found = [
            {"id": x.id, "avatar": (x.opened_as or (x.options.avatar,))[0], "age_s": round(now - x.born, 1)}
            for x in lives
        ]
        return web.json_response({"sessions": found})

    async def _open(self, request: web.Request) -> web.StreamResponse:
        server = self._hub.server
        who = client_address(server, request.remote, forwarded_for(request.headers))
        wait = self._limit.allow(who, time.monotonic())
        if wait > 0:
            limit = f"at most {server.sessions_per_minute} new sessions a minute; wait {wait:.0f} s"
            raise Refusal(429, "too_many", limit, {"Retry-After": str(int(wait) + 1)})
        offer, options = _read_offer(await request.read())
        options = replace(options, avatar=await self._avatars.choose(options.avatar))
        live = self._hub.open(options)
        if offer is None:
            return web.json_response({"id": live.id}, status=201)
        try:
            answer = await self._hub.connect(live).answer(offer)
        except OfferError as problem:
            raise Refusal(400, "bad_offer", str(problem)) from problem
        except EngineFailure as problem:
            raise Refusal(500, "engine", f"the engine could not open this session: {problem}") from problem
        except Over as problem:
            raise Refusal(404, "no_session", str(problem)) from problem
        return web.json_response({"id": live.id, "type": "answer", "sdp": answer}, status=201)

    async def _close(self, request: web.Request) -> web.StreamResponse:
        await self._hub.end(request.match_info["id"], "asked to")
        return web.Response(status=204)


def _read_offer(body: bytes) -> tuple[str | None, Options]:
    """(sdp, options) of a POST body; no sdp: a session that an agent opens. Raises Refusal naming the field."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise Refusal(400, "bad_json", f"the body is not JSON: {str(problem)[:120]}") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "bad_json", "the body must be a JSON object")
    if fields.get("type") == "agent":
        fields.setdefault("sdp", "")
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
    if values["type"] not in ("offer", "agent") or (values["type"] == "agent" and values["sdp"]):
        raise Refusal(
            400, "bad_field", f'"type" must be "offer", or "agent" without an sdp; got "{values["type"][:40]}"'
        )
    if values["framing"] not in FRAMINGS:
        raise Refusal(400, "bad_field", f'"framing" must be one of {", ".join(FRAMINGS)}')
    if not 0 <= values["seed"] < 2**31:
        raise Refusal(400, "bad_field", '"seed" must be 0..2147483647')
    options = Options(values["avatar"], values["framing"], values["seed"], values["marker"])
    return (values["sdp"] if values["type"] == "offer" else None), options
