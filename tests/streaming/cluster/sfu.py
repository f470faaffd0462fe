"""A stand-in for an SFU on aiortc: one publisher by WHIP, any number of viewers by WHEP.

Unlike a real one it decodes and encodes again; what its publisher sees of it is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import av
from aiohttp import ClientSession, web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack


class Sfu:
    """``published`` connections came by WHIP."""

    def __init__(self) -> None:
        self.published: list[RTCPeerConnection] = []
        self._viewers: list[RTCPeerConnection] = []
        self._relay, self._tracks = MediaRelay(), list[MediaStreamTrack]()
        self.address = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Sfu]:
        """Until the end of the context."""
        app = web.Application()
        app.router.add_post("/whip", self._whip)
        app.router.add_post("/whep", self._whep)
        app.router.add_delete("/{path:.*}", self._gone)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await asyncio.gather(*(one.close() for one in (*self.published, *self._viewers)))
            await runner.cleanup()

    async def _whip(self, request: web.Request) -> web.StreamResponse:
        connection = RTCPeerConnection()
        self.published.append(connection)
        connection.on("track", self._tracks.append)
        return await self._answer(connection, request)

    async def _whep(self, request: web.Request) -> web.StreamResponse:
        connection = RTCPeerConnection()
        self._viewers.append(connection)
        for track in self._tracks:
            connection.addTrack(self._relay.subscribe(track))
        return await self._answer(connection, request)

    async def _answer(self, connection: RTCPeerConnection, request: web.Request) -> web.StreamResponse:
        await connection.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        sdp = connection.localDescription.sdp
        return web.Response(status=201, text=sdp, content_type="application/sdp", headers={"Location": "/gone"})

    async def _gone(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=200)


@contextlib.asynccontextmanager
async def watching(address: str, seen: list[int]) -> AsyncIterator[None]:
    """One viewer by WHEP; ``seen`` gets the presentation time of each picture."""
    connection, tasks = RTCPeerConnection(), list[asyncio.Task[None]]()
    connection.on("track", lambda track: tasks.append(asyncio.ensure_future(_watch(track, seen))))
    for kind in ("video", "audio"):
        connection.addTransceiver(kind, direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    async with (
        ClientSession() as http,
        http.post(
            f"{address}/whep", data=connection.localDescription.sdp, headers={"Content-Type": "application/sdp"}
        ) as answer,
    ):
        await connection.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await connection.close()


async def _watch(track: MediaStreamTrack, seen: list[int]) -> None:
    with contextlib.suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            if isinstance(frame, av.VideoFrame):
                seen.append(frame.pts or 0)
