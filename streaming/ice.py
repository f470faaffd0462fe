"""How media finds its way: STUN and TURN servers with credentials that expire, the address and the UDP ports we offer.

Credentials follow draft-uberti-behave-turn-rest-00: the name is the moment they expire, the password its HMAC under a
secret that the TURN server knows too. ``Connection`` stands where aiortc makes aioice's (patches.py).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import logging
import math
import random
import socket
import time
from collections.abc import Iterable
from typing import Any, ClassVar, Final

import aioice.ice
import aioice.stun
from aiohttp import web
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aiortc import RTCIceServer

from streaming import files
from streaming.config import ServerConfig

log = logging.getLogger(__name__)
GATHER_S: Final = 2.0  # an answer waits no longer for STUN and TURN servers (aioice: 5)
SILENT_S: Final = 60.0  # and a TURN server that gave nothing is not asked again for so long: everybody would wait
RECEIVE_BUFFER: Final = 262_144  # bytes, as aioice asks for
STUN_BYTES: Final = range(4)
CONSENT_S: Final = 30.0  # RFC 7675 section 5.1: without an answer for so long nothing more is sent
SENT_AGAIN: Final = 2  # times that a check is; its answer may take 3.5 s


def credentials(secret: str, lifetime_s: float, now: float, name: str = "visavis") -> tuple[str, str]:
    """(user name, password) that a TURN server with ``secret`` takes until ``now`` + ``lifetime_s`` (Unix seconds)."""
    user = f"{int(now + lifetime_s)}:{name}"
    digest = hmac.new(secret.encode(), user.encode(), hashlib.sha1).digest()
    return user, base64.b64encode(digest).decode()


def turn_urls(server: ServerConfig) -> list[str]:
    """TURN servers, the best first."""
    return list(dict.fromkeys([*([server.turn_url] if server.turn_url else []), *server.turn]))


def ice_servers(server: ServerConfig, now: float) -> list[dict[str, Any]]:
    """RTCIceServer dictionaries for a client; none by default, so nothing outside the LAN is ever asked."""
    servers: list[dict[str, Any]] = [{"urls": url} for url in server.stun]
    urls = turn_urls(server)
    if urls:
        user, word = server.turn_user, server.turn_credential
        if server.turn_secret:
            user, word = credentials(server.turn_secret, server.turn_ttl_s, now)
        servers += [{"urls": url, "username": user, "credential": word} for url in urls]
    return servers


def own_servers(server: ServerConfig, now: float) -> list[RTCIceServer]:
    """The same for our own end, with credentials of its own. aiortc uses the first STUN and the first TURN server."""
    return [RTCIceServer(**entry) for entry in ice_servers(server, now)]


class Ice:
    """``/v1/ice``, what a client needs to connect; and ``/selftest``, a page that tries it."""

    def __init__(self, server: ServerConfig) -> None:
        self._server = server

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [web.get("/v1/ice", self._ice), web.get("/selftest", self._page)]

    async def _ice(self, request: web.Request) -> web.StreamResponse:
        now = time.time()
        body: dict[str, Any] = {"iceServers": ice_servers(self._server, now)}
        if self._server.turn_secret and turn_urls(self._server):
            body["expires"] = int(now + self._server.turn_ttl_s)
        return web.json_response(body, headers={"Cache-Control": "no-store"})

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(files.WEB / "selftest.html")


class Connection(aioice.ice.Connection):
    """aioice's, on the UDP ports that a firewall lets through, telling the address that others reach us at."""

    public_ip: str = ""
    ports: tuple[int, ...] = ()
    silent: ClassVar[dict[tuple[str, int], float]] = {}  # TURN servers that are not asked, until when
    heard: float = -math.inf  # when anything came from the client, on the monotonic clock

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: float = GATHER_S
    ) -> list[Candidate]:
        """Host candidates, what they look like from outside, and a relayed one."""
        own: list[tuple[Candidate, aioice.ice.StunProtocol]] = []
        for address in addresses:
            if (protocol := await self._bind(address)) is not None:
                host, port = protocol.transport.get_extra_info("sockname")[:2]
                protocol.local_candidate = _candidate("host", component, host, port)
                own.append((protocol.local_candidate, protocol))
        if addresses and self.ports and not own:
            log.error("no UDP port of server.media_ports %d..%d is free: give more (two for each session)", *self.ports)
        self._protocols += [protocol for _, protocol in own]
        found = [candidate for candidate, _ in own]
        if self.public_ip:
            version = ipaddress.ip_address(self.public_ip).version
            found += [_seen_as(c, self.public_ip) for c in found if ipaddress.ip_address(c.host).version == version]
        for answers in await asyncio.gather(self._relayed(component, timeout), self._reflexive(own, timeout)):
            found += answers
        return found

    async def query_consent(self) -> None:
        """Until the client is gone: nothing came from it for CONSENT_FAILURES intervals, or no answer for CONSENT_S.

        aioice's counts unanswered checks alone, of which each must be answered in half a second: a line that loses a
        tenth each way loses four in a row every twenty minutes, and one that takes longer loses them all.
        """
        silent = unanswered = 0.0  # seconds; those in which this loop stood still are not the client's
        looked, heard, check = time.monotonic(), self.heard, asyncio.ensure_future(self._agrees())
        try:
            while silent < aioice.ice.CONSENT_INTERVAL * aioice.ice.CONSENT_FAILURES and unanswered < CONSENT_S:
                await asyncio.sleep(aioice.ice.CONSENT_INTERVAL * random.uniform(0.8, 1.2))
                now = time.monotonic()
                passed, looked = min(now - looked, 1.5 * aioice.ice.CONSENT_INTERVAL), now
                silent, heard = silent + passed if heard == self.heard else 0.0, self.heard
                unanswered += passed
                if check.done():
                    unanswered = 0.0 if check.result() else unanswered
                    check = asyncio.ensure_future(self._agrees())
        finally:
            check.cancel()
        log.info("%r: %s", self, "consent to send expired" if unanswered >= CONSENT_S else "the client fell silent")
        self._query_consent_task = None  # which close() would wait for
        await self.close()

    async def _agrees(self) -> bool:
        """Whether the client answers a check."""
        assert self.remote_password is not None
        key = self.remote_password.encode()
        for pair in list(self._nominated.values()):
            check = self.build_request(pair, nominate=False)
            try:
                await pair.protocol.request(check, pair.remote_addr, integrity_key=key, retransmissions=SENT_AGAIN)
            except aioice.stun.TransactionError:
                return False
        return True

    async def _relayed(self, component: int, timeout: float) -> list[Candidate]:
        """An address of a TURN server's, unless it lately had none for us."""
        server = self.turn_server
        if server is None or self.silent.get(server, 0.0) > time.monotonic():
            return []
        found = await super().get_component_candidates(component, [], timeout)  # type: ignore[arg-type]
        if found:
            self.silent.pop(server, None)
        else:
            self.silent[server] = time.monotonic() + SILENT_S
            log.warning(
                "TURN server %s:%d gives us no address (visavis doctor says why); going on without it for %g s",
                *server, SILENT_S,
            )  # fmt: skip
        return found

    async def _bind(self, address: str) -> aioice.ice.StunProtocol | None:
        """A protocol on a UDP port of ``address``; None when there is none to be had."""
        loop = asyncio.get_running_loop()
        first, last = self.ports or (0, 0)
        ports = list(range(first, last + 1))
        random.shuffle(ports)
        for port in ports:
            try:
                transport, protocol = await loop.create_datagram_endpoint(
                    lambda: aioice.ice.StunProtocol(self), local_addr=(address, port)
                )
            except OSError:
                continue
            kept = transport.get_extra_info("socket")
            if kept is not None:
                kept.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            return protocol
        return None

    async def _reflexive(self, own: list[tuple[Candidate, aioice.ice.StunProtocol]], timeout: float) -> list[Candidate]:
        """What a STUN server sees our host candidates as (IPv4)."""
        server = self.stun_server
        if server is None:
            return []
        asked = [
            asyncio.create_task(aioice.ice.server_reflexive_candidate(protocol, server))
            for candidate, protocol in own
            if ipaddress.ip_address(candidate.host).version == 4
        ]
        if not asked:
            return []
        done, late = await asyncio.wait(asked, timeout=timeout)
        for task in late:
            task.cancel()
        return [task.result()[0] for task in done if task.exception() is None]


class Protocol(aioice.ice.StunProtocol):
    """aioice's, which believes whatever comes to its port: here media comes from where ICE has found the client, and
    the empty datagram that ends an aiortc connection comes from nobody."""

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """STUN, which proves itself, from anybody; the rest (RFC 7983: its first byte) from those who have."""
        known = self._knows(addr)
        if known and isinstance(self.receiver, Connection):
            self.receiver.heard = time.monotonic()
        if len(data) and (data[0] in STUN_BYTES or known):
            super().datagram_received(data, addr)

    def _knows(self, addr: tuple[Any, ...]) -> bool:
        receiver = self.receiver
        return (
            any(pair.remote_addr == addr[:2] for pair in receiver._nominated.values())
            or any(pair.remote_addr == addr[:2] for pair in receiver._check_list)
            or any(early == addr[:2] for _, early, _ in receiver._early_checks)
        )


def _candidate(kind: str, component: int, host: str, port: int, **related: Any) -> Candidate:
    return Candidate(
        foundation=candidate_foundation(kind, "udp", related.get("related_address") or host), component=component,
        transport="udp", priority=candidate_priority(component, kind), host=host, port=port, type=kind, **related,
    )  # fmt: skip


def _seen_as(candidate: Candidate, public: str) -> Candidate:
    return _candidate(
        "srflx", candidate.component, public, candidate.port,
        related_address=candidate.host, related_port=candidate.port,
    )  # fmt: skip
