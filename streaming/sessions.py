"""Sessions over HTTP: opened with a WebRTC offer, or without one by an agent, and closed."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from engine.snapshot import SnapshotError
from streaming import claim
from streaming.avatars import Avatars
from streaming.guard import RateLimit, Refusal, client_address, forwarded_for, is_private
from streaming.hub import Hub
from streaming.live import EngineFailure, Live, Options, new_id
from streaming.past import Past
from streaming.peer import Over
from streaming.protocol import FRAMINGS
from streaming.signalling import OfferError, readable
from streaming.tokens import asking

log = logging.getLogger(__name__)
ID: Final = 24  # characters of a session's own in its id, behind its worker's name
KNOWN_ID: Final = re.compile(r"([a-z0-9]{1,16}-)?[0-9a-f]{24}")


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
            web.get("/v1/sessions/{id}", self._one),
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
        offer, options, old = _read_offer(await request.read())
        if offer:
            _check(offer)  # before anything is ended or begun for it
        live = self._running(old) if old else None
        if live is not None:
            return await self._answer(live, offer, {"resumed": True}, again=True)
        options = replace(options, id=new_id(server.worker))
        options, resumed = await self._recalled(old, options) if old else (options, False)
        options = replace(options, avatar=await self._avatars.choose(options.avatar))
        if (live := self._running(options.id)) is not None:  # two asked for it at the same time
            return await self._answer(live, offer, {"resumed": True}, again=True)
        try:
            live = self._hub.open(options)
        except SnapshotError as problem:  # of another version, for instance
            log.warning("session %s begins anew: %s", options.id, problem)
            live, resumed = self._hub.open(replace(options, resumed=b"")), False
        return await self._answer(live, offer, {"resumed": resumed} if old else {})

    async def _answer(
        self, live: Live, offer: str | None, more: dict[str, Any], again: bool = False
    ) -> web.StreamResponse:
        """What is said of a session that there is, with a connection to it when there is an ``offer``; ``again``: in
        the place of another."""
        if offer is None:
            return web.json_response({"id": live.id, **more}, status=201)
        try:
            answer = await (self._hub.reconnect(live) if again else self._hub.connect(live)).answer(offer)
        except OfferError as problem:
            raise Refusal(400, "bad_offer", str(problem)) from problem
        except EngineFailure as problem:
            raise Refusal(500, "engine", f"the engine could not open this session: {problem}") from problem
        except Over as problem:
            raise Refusal(404, "no_session", str(problem)) from problem
        return web.json_response({"id": live.id, "type": "answer", "sdp": answer, **more}, status=201)

    def _named(self, old: str) -> str:
        """What a session that was called ``old`` somewhere is called here."""
        worker = self._hub.server.worker
        return "-".join((worker, old[-ID:])) if worker else old[-ID:]

    def _running(self, old: str) -> Live | None:
        """The session that was called ``old``, when it is here and the asker's."""
        live = self._hub.lives.get(self._named(old))
        if live is None or live.closing:
            return None
        asker = asking.get()
        return live if asker is None or asker.reaches(live.id, self._hub.owners.get(live.id)) else None

    async def _recalled(self, old: str, options: Options) -> tuple[Options, bool]:
        """What ``old`` goes on with, and whether it does: not when nobody knows it, or it is not the asker's."""
        signed = None if self._hub.snapshots is None else await self._hub.snapshots.get(old)
        asker = asking.get()
        try:
            owner, data = claim.read(signed or b"")
            past = Past.of(data)
        except SnapshotError:
            return options, False
        if asker is not None and not asker.reaches(old, owner):
            return options, False
        name = self._named(old)
        if name in self._hub.lives:  # it is ending: its name is taken until it has
            name = options.id
        return replace(options, avatar=past.avatar, framing=past.framing, seed=past.seed, resumed=data, id=name), True

    async def _one(self, request: web.Request) -> web.StreamResponse:
        """That a session is alive: Refusal when it is not."""
        live = self._hub.get(request.match_info["id"])
        worn = live.opened_as
        told = {"id": live.id, "state": "alive", "avatar": live.options.avatar if worn is None else worn[0]}
        return web.json_response({**told, "pts": live.shown_pts, "age_s": round(time.monotonic() - live.born, 1)})

    async def _close(self, request: web.Request) -> web.StreamResponse:
        await self._hub.end(request.match_info["id"], "asked to")
        return web.Response(status=204)


def _check(offer: str) -> None:
    """Raises Refusal for an offer that cannot be answered."""
    try:
        readable(offer)
    except OfferError as problem:
        raise Refusal(400, "bad_offer", str(problem)) from problem


def _read_offer(body: bytes) -> tuple[str | None, Options, str]:
    """(sdp, options, id of the session to go on with or nothing) of a POST body; no sdp: a session that an agent opens.
    Raises Refusal naming the field."""
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
        "seed": (int, 0), "marker": (bool, False), "resume": (str, ""),
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
    if values["resume"] and not KNOWN_ID.fullmatch(values["resume"]):
        raise Refusal(400, "bad_field", '"resume" must be the id of a session')
    options = Options(values["avatar"], values["framing"], values["seed"], values["marker"])
    return (values["sdp"] if values["type"] == "offer" else None), options, values["resume"]
