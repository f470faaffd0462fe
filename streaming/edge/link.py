"""The way to the workers: one pool of connections for each, over a unix socket or TCP, with the edge's secret."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from streaming.edge.passing import SECRET

CONNECT_S: Final = 2.0
ANSWER_S: Final = 60.0  # a worker that sends nothing for so long, the request once there, is not waited for
KEEP_S: Final = 10.0  # an unused connection stays open: less than a worker keeps it (limits.idle_s)
AT_ONCE: Final = 512  # connections to one worker
UNSAID: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # what aiohttp would add


class Unreachable(Exception):
    """There is no worker there now, or it went away before it answered."""


class Link:
    """Connections to workers by address: "unix:/path" or "http://host:port". Everything passes as it is: no redirect
    is followed, no cookie kept, nothing unpacked."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._pools: dict[str, aiohttp.ClientSession] = {}

    def ask(
        self, address: str, method: str, target: str, headers: CIMultiDict[str] | None = None, data: Any = None
    ) -> aiohttp.client._RequestContextManager:
        """An answer, as a context; ``target`` is path and query as they are on the wire. Raises what aiohttp does."""
        return self._pool(address).request(
            method, self._url(address, target), headers=self._signed(headers), data=data, allow_redirects=False,
        )  # fmt: skip

    async def open_socket(
        self, address: str, target: str, headers: CIMultiDict[str], protocols: list[str], largest: int
    ) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket to a worker, whose pings and leaving the caller sees to. Raises WSServerHandshakeError and what
        else aiohttp does."""
        return await self._pool(address).ws_connect(
            self._url(address, target, "ws"), headers=self._signed(headers), protocols=protocols, autoping=False,
            autoclose=False, max_msg_size=largest, timeout=aiohttp.ClientWSTimeout(ws_close=CONNECT_S),
        )  # fmt: skip

    async def close(self) -> None:
        """Ends all connections."""
        pools, self._pools = tuple(self._pools.values()), {}
        for pool in pools:
            await pool.close()

    def _signed(self, headers: CIMultiDict[str] | None) -> CIMultiDict[str]:
        signed: CIMultiDict[str] = CIMultiDict() if headers is None else headers.copy()
        signed[SECRET] = self._secret
        return signed

    def _url(self, address: str, target: str, scheme: str = "http") -> URL:
        host = "worker" if address.startswith("unix:") else address.partition("://")[2].rstrip("/")
        return URL(f"{scheme}://{host}{target}", encoded=True)

    def _pool(self, address: str) -> aiohttp.ClientSession:
        pool = self._pools.get(address)
        if pool is None:
            connector: aiohttp.BaseConnector
            if address.startswith("unix:"):
                connector = aiohttp.UnixConnector(
                    address.removeprefix("unix:"), limit=AT_ONCE, keepalive_timeout=KEEP_S
                )
            else:
                connector = aiohttp.TCPConnector(limit=AT_ONCE, keepalive_timeout=KEEP_S)
            pool = self._pools[address] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
                skip_auto_headers=UNSAID,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=ANSWER_S),
            )  # fmt: skip
        return pool
