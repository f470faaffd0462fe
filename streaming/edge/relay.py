"""A request to a worker and its answer back: small bodies whole, so that nobody who is slow holds a worker; large ones
as they come, never more than a few pieces of them in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientError, ClientPayloadError, ClientResponse, web
from multidict import CIMultiDict

from streaming.edge.link import Link, Unreachable
from streaming.edge.passing import back
from streaming.guard import Refusal

WHOLE: Final = 1 << 20  # bytes of an answer that is fetched before it is sent on
SLOW_S: Final = 20.0  # a client that takes nothing for so long is let go
RESTARTING: Final = "the media process is being started again: ask once more in a moment"
EMPTY: Final = (204, 304)


def restarting() -> Refusal:
    """What is said while a worker is away."""
    return Refusal(503, "restarting", RESTARTING, {"Retry-After": "1"})


async def body_of(request: web.Request, seconds: float) -> bytes | None:
    """A request's body, whole; None for a form, which is passed on as it comes. Raises Refusal."""
    if not request.can_read_body:
        return b""
    if request.content_type.startswith("multipart/"):
        return None
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        said = f"the request's body took longer than {seconds:g} s to come in"
        raise Refusal(408, "too_slow", said, {"Connection": "close"}) from None
    except (ValueError, web.RequestPayloadError) as problem:
        raise Refusal(400, "bad_body", f"the body cannot be read: {str(problem)[:120]}") from None


class Relay:
    """Passes requests on over ``link``."""

    def __init__(self, link: Link) -> None:
        self.link = link

    @asynccontextmanager
    async def ask(
        self, request: web.Request, address: str, target: str, headers: CIMultiDict[str], body: bytes | None
    ) -> AsyncIterator[ClientResponse]:
        """A worker's answer. Raises Unreachable when there is none."""
        data: object = body or None
        if body is None:
            data = request.content
            if request.content_length is not None:
                headers["Content-Length"] = str(request.content_length)
        try:
            context = self.link.ask(address, request.method, target, headers, data)
            answer = await context.__aenter__()
        except (ClientError, OSError, TimeoutError) as problem:
            raise Unreachable(f"{type(problem).__name__}: {str(problem)[:200]}") from problem
        try:
            yield answer
        finally:
            answer.release()

    async def give(self, request: web.Request, answer: ClientResponse) -> web.StreamResponse:
        """Sends ``answer`` on. Raises Unreachable while nothing of it has been sent."""
        headers = back(answer.headers)
        length = answer.content_length
        if request.method == "HEAD" or answer.status in EMPTY:
            if request.method == "HEAD" and length is not None:
                headers["Content-Length"] = str(length)
            return web.Response(status=answer.status, reason=answer.reason, headers=headers)
        if length is not None and length <= WHOLE:
            try:
                body = await answer.read()
            except (ClientError, OSError, TimeoutError) as problem:
                raise Unreachable(str(problem)) from problem
            return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=body)
        return await self._stream(request, answer, headers, length)

    async def _stream(
        self, request: web.Request, answer: ClientResponse, headers: CIMultiDict[str], length: int | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        if length is not None:
            response.content_length = length
        await response.prepare(request)
        try:
            async for piece in answer.content.iter_any():
                async with asyncio.timeout(SLOW_S):
                    await response.write(piece)
            await response.write_eof()
        except (ClientPayloadError, ClientError, OSError, TimeoutError):
            answer.close()  # a connection with half an answer on it is good for nothing more
            if request.transport is not None:
                request.transport.abort()  # so that nobody takes what came for all of it
        return response
