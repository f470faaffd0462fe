"""WHEP (draft-ietf-wish-whep-04): anybody who may can watch a session, with one POST. A viewer only watches."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Final

from aiohttp import web
from aiortc.sdp import candidate_from_sdp

from streaming import quality
from streaming.guard import Refusal
from streaming.hub import Hub
from streaming.live import EngineFailure, Live
from streaming.peer import Over, Peer
from streaming.quality import Quality
from streaming.signalling import OfferError

SDP: Final = "application/sdp"
FRAGMENT: Final = "application/trickle-ice-sdpfrag"
CANDIDATES: Final = 64  # of one viewer, besides those of its offer


class Whep:
    """The routes of ``/v1/sessions/{id}/whep``. Candidates may come later (PATCH); ICE is not started anew."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tags: dict[str, str] = {}  # entity tag of each viewer's ICE session
        self._candidates: dict[str, int] = {}  # that each viewer found later

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        endpoint = "/v1/sessions/{id}/whep"
        return [
            web.options(endpoint, self._options), web.post(endpoint, self._open),
            web.options(endpoint + "/{viewer}", self._options), web.patch(endpoint + "/{viewer}", self._patch),
            web.delete(endpoint + "/{viewer}", self._close),
        ]  # fmt: skip

    async def _options(self, request: web.Request) -> web.StreamResponse:
        accepts = {"Accept-Patch": FRAGMENT} if "viewer" in request.match_info else {"Accept-Post": SDP}
        return web.Response(status=204, headers=accepts)

    async def _open(self, request: web.Request) -> web.StreamResponse:
        live = self._hub.get(request.match_info["id"])
        if request.content_type != SDP:
            raise Refusal(415, "bad_offer", f"the body must be an SDP offer, as {SDP}", {"Accept-Post": SDP})
        alpha, wanted = _flag(request, "alpha"), _quality(request)
        offer = (await request.read()).decode("utf-8", "replace")
        live = self._hub.get(live.id)  # it may have ended while the body came in
        self._check_room(live)
        peer = self._hub.connect(live, steers=False, alpha=alpha)
        try:
            answer = await peer.answer(offer)
            peer.choose(wanted)
        except OfferError as problem:
            raise Refusal(400, "bad_offer", str(problem)) from problem
        except EngineFailure as problem:
            raise Refusal(500, "engine", f"the engine failed on this session: {problem}") from problem
        except Over as problem:
            raise Refusal(404, "no_session", str(problem)) from problem
        self._tags = {name: tag for name, tag in self._tags.items() if name in self._hub.peers}
        self._candidates = {name: count for name, count in self._candidates.items() if name in self._tags}
        tag = self._tags[peer.id] = f'"{secrets.token_hex(8)}"'
        headers = {"Location": f"{request.path}/{peer.id}", "ETag": tag, "Accept-Patch": FRAGMENT}
        return web.Response(status=201, body=answer.encode(), content_type=SDP, headers=headers)

    def _check_room(self, live: Live) -> None:
        here = sum(peer.live is live and not peer.steers for peer in self._hub.peers.values())
        if here >= self._hub.server.max_viewers:
            full = f"all {self._hub.server.max_viewers} places to watch this session are taken; try again later"
            raise Refusal(503, "full", full, {"Retry-After": "5"})

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        """Candidates that the viewer found after its offer."""
        peer = self._viewer(request)
        if request.content_type != FRAGMENT:
            raise Refusal(415, "bad_candidates", f"the body must be ICE candidates, as {FRAGMENT}")
        tag = self._tags.get(peer.id)
        wanted = request.headers.get("If-Match", tag)  # common clients leave it out; there is only one
        if wanted == "*":
            raise Refusal(422, "no_restart", "this server does not restart ICE: open a new session instead")
        if wanted != tag:
            raise Refusal(412, "other_tag", "this is for another ICE session than the one that is there")
        body = (await request.read()).decode("utf-8", "replace")
        await self._add_candidates(peer, body)
        return web.Response(status=204)

    async def _close(self, request: web.Request) -> web.StreamResponse:
        peer = self._viewer(request)
        self._tags.pop(peer.id, None)
        await peer.close("asked to")
        return web.Response(status=200)

    async def _add_candidates(self, peer: Peer, fragment: str) -> None:
        """Those of an SDP fragment (RFC 8840). Raises Refusal for one that is none, and changes nothing then."""
        found, mid = [], ""
        for line in fragment.splitlines():
            if line.startswith("a=mid:"):
                mid = line[6:]
            elif line.startswith("a=candidate:"):
                try:
                    candidate = candidate_from_sdp(line[12:])
                except (ValueError, IndexError, AssertionError):
                    raise Refusal(400, "bad_candidates", f'not a candidate: "{line[:80]}"') from None
                candidate.sdpMid = mid
                found.append(candidate)
        if self._candidates.get(peer.id, 0) + len(found) > CANDIDATES:
            raise Refusal(400, "bad_candidates", f"a viewer sends at most {CANDIDATES} candidates after its offer")
        known = re.findall(r"^a=mid:(\S+)", str(peer.connection.remoteDescription.sdp), re.M)
        for candidate in found:
            if candidate.sdpMid not in known:
                raise Refusal(400, "bad_candidates", f'the offer has no section "{str(candidate.sdpMid)[:20]}"')
        self._candidates[peer.id] = self._candidates.get(peer.id, 0) + len(found)
        for candidate in found:
            await peer.connection.addIceCandidate(candidate)

    def _viewer(self, request: web.Request) -> Peer:
        """The viewer that a request is about: of this session, and never its owner. Raises Refusal."""
        peer = self._hub.peers.get(request.match_info["viewer"])
        if peer is None or peer.steers or peer.live.id != request.match_info["id"]:
            raise Refusal(404, "no_viewer", "no such viewer; it may have left already")
        return peer


def _quality(request: web.Request) -> Quality:
    try:
        return quality.read(request.query)
    except ValueError as problem:
        raise Refusal(400, "bad_field", str(problem)) from None


def _flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "0")
    if value not in ("0", "1"):
        raise Refusal(400, "bad_field", f'"{name}" is 1 or 0')
    return value == "1"
