"""A WebSocket through the edge: two of them, and what comes on one goes out on the other, pings and the end too."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final
from urllib.parse import unquote

import aiohttp
from aiohttp import WSMsgType, web
from multidict import CIMultiDict

from streaming.edge.link import Link, Unreachable
from streaming.edge.passing import REFUSAL, back, subprotocols

LARGEST: Final = 1 << 20  # bytes of a message: twice what any worker takes
SLOW_S: Final = 6.0  # a side that takes nothing for so long is cut off
CLOSE_S: Final = 2.0  # somebody who does not take his leave in so long is cut off
RESTART: Final = 1012  # the close code that says: the service restarts
LEAVING: Final = 1001
UNSENT: Final = (1005, 1006, 1015)  # close codes that are never on the wire
Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse
End = tuple[int, bytes]  # close code and reason


def is_socket(request: web.Request) -> bool:
    """Whether a request asks for a WebSocket, in a way that can be answered."""
    return request.method == "GET" and web.WebSocketResponse().can_prepare(request).ok


class Sockets:
    """All WebSockets that pass an edge."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open: set[web.WebSocketResponse] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def join(
        self, request: web.Request, address: str, target: str, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        """Lasts as long as the socket. A worker that refuses is heard by whoever asked. Raises Unreachable."""
        offered = subprotocols(request.headers)
        try:
            far = await self._link.open_socket(address, target, headers, offered, LARGEST)
        except aiohttp.WSServerHandshakeError as problem:
            return _refused(problem)
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            raise Unreachable(f"{type(problem).__name__}: {str(problem)[:200]}") from problem
        near = web.WebSocketResponse(
            protocols=(far.protocol,) if far.protocol else (), autoping=False, autoclose=False, max_msg_size=LARGEST,
            timeout=CLOSE_S, compress=False,
        )  # fmt: skip
        self._open.add(near)
        try:
            await near.prepare(request)
            code, reason = await _join(near, far)
            await _leave(near, code, reason)
            await _leave(far, code, reason)
        finally:
            if request.transport is not None and request.transport.get_write_buffer_size():
                request.transport.abort()  # it takes nothing, not even leave; aiohttp would wait for it for ever
            self._open.discard(near)
            await _leave(far, LEAVING, b"")
        return near

    async def close(self) -> None:
        """Ends all of them: the edge stops."""
        await asyncio.gather(*(near.close(code=RESTART, message=b"restarting") for near in tuple(self._open)))


async def _join(near: Socket, far: Socket) -> End:
    """Passes messages both ways until one side ends: how."""
    inward = asyncio.ensure_future(_pump(near, far))
    outward = asyncio.ensure_future(_pump(far, near))
    try:
        await asyncio.wait((inward, outward), return_when=asyncio.FIRST_COMPLETED)
        ending = inward if inward.done() else outward
        return _end(ending, LEAVING if ending is inward else RESTART)
    finally:
        for pump in (inward, outward):
            pump.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)


async def _leave(socket: Socket, code: int, reason: bytes) -> None:
    """Takes leave of one side, which may not listen."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(2 * CLOSE_S):
            await socket.close(code=code, message=reason)


def _end(pump: asyncio.Task[End | None], lost: int) -> End:
    """How a side ended; ``lost`` when it did without a word."""
    if pump.exception() is not None:
        return lost, b""
    return pump.result() or (lost, b"restarting" if lost == RESTART else b"")


async def _pump(source: Socket, sink: Socket) -> End | None:
    """Passes messages on until ``source`` ends: with which code and reason; None without one. The next message is read
    when the last has left, so nothing piles up here."""
    while True:
        message: Any = await source.receive()
        if message.type is WSMsgType.CLOSE:
            code = message.data or 1000
            return (1000 if code in UNSENT else code), (message.extra or "").encode()
        if message.type is WSMsgType.ERROR:
            code = getattr(message.data, "code", None)  # a message that breaks the rules, or is too large
            return (code, b"") if isinstance(code, int) and code not in UNSENT else None
        if message.type in (WSMsgType.CLOSING, WSMsgType.CLOSED):
            return None
        async with asyncio.timeout(SLOW_S):
            match message.type:
                case WSMsgType.TEXT:
                    await sink.send_str(message.data)
                case WSMsgType.BINARY:
                    await sink.send_bytes(message.data)
                case WSMsgType.PING:
                    await sink.ping(bytes(message.data))
                case WSMsgType.PONG:
                    await sink.pong(bytes(message.data))


def _refused(problem: aiohttp.WSServerHandshakeError) -> web.Response:
    """A worker's refusal of a handshake; aiohttp drops its body, so the worker says it in a header."""
    told = problem.headers or CIMultiDict()
    headers = back(told)
    if not told.get(REFUSAL):
        return web.Response(status=problem.status if problem.status >= 400 else 502, headers=headers)
    headers["Content-Type"] = "application/json; charset=utf-8"
    return web.Response(status=problem.status, headers=headers, body=unquote(told[REFUSAL]).encode())
