"""A WHIP endpoint (RFC 9725) on aiortc: takes what is published, decodes it, and keeps what it saw."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import av
import numpy as np
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack


@dataclass
class Endpoint:
    """``answers`` are given instead of a session, one a request, before the first."""

    token: str = ""
    answers: list[web.Response] = field(default_factory=list)
    links: tuple[str, ...] = ()
    pictures: list[av.VideoFrame] = field(default_factory=list)
    sounds: list[np.ndarray] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, what authorizes
    connections: list[RTCPeerConnection] = field(default_factory=list)
    address: str = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Endpoint]:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._post)
        app.router.add_delete("/{path:.*}", self._delete)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._tasks: list[asyncio.Task[None]] = []
        try:
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*(pc.close() for pc in self.connections))
            await runner.cleanup()

    def _note(self, request: web.Request) -> None:
        self.requests.append((request.method, request.path, request.headers.get("Authorization", "")))

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        if self.answers:
            return self.answers.pop(0)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401, text="who are you?")
        assert request.content_type == "application/sdp"
        connection = RTCPeerConnection()
        self.connections.append(connection)
        connection.on("track", lambda track: self._tasks.append(asyncio.ensure_future(self._watch(track))))
        await connection.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        response = web.Response(status=201, text=connection.localDescription.sdp, content_type="application/sdp")
        response.headers["Location"] = f"/resource/{len(self.connections)}"
        for link in self.links:
            response.headers.add("Link", link)
        return response

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        return web.Response(status=200)

    async def _watch(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if isinstance(frame, av.VideoFrame):
                    self.pictures.append(frame)
                elif isinstance(frame, av.AudioFrame):
                    self.sounds.append(frame.to_ndarray().reshape(-1, 2)[:, 0])
