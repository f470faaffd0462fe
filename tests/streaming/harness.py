"""A running server around the engine's double, and a viewer that connects to it without a browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from aiohttp import ClientSession
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from streaming import patches
from streaming.config import (
    AgentsConfig,
    LimitsConfig,
    ObserveConfig,
    OutputsConfig,
    PortraitConfig,
    ServerConfig,
    StreamConfig,
)
from streaming.portraits import Portraits
from streaming.server import start

from .double import DoubleEngine

KEPT = 2000  # pictures of a viewer: many enough that a test may wait for more of them
PATIENT = StreamConfig(heartbeat_s=600)  # viewers here send no pings


@dataclass
class Settings:
    server: ServerConfig = field(default_factory=lambda: ServerConfig(port=0, sessions_per_minute=10_000))
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    portrait: PortraitConfig = field(default_factory=lambda: PortraitConfig(enabled=False))
    agents: AgentsConfig = field(default_factory=AgentsConfig)
    outputs: OutputsConfig = field(default_factory=OutputsConfig)
    observe: ObserveConfig = field(default_factory=ObserveConfig)


@contextlib.asynccontextmanager
async def serving(
    engine: DoubleEngine, settings: Settings | None = None, enrol: Sequence[str] | None = None
) -> AsyncIterator[str]:
    """The address of a server on this event loop, PATIENT without ``settings``; ``enrol`` is the command that makes
    avatars of photographs."""
    settings = settings or Settings(stream=PATIENT)
    patches.install(settings.stream, settings.server)
    portraits = None if enrol is None else Portraits(settings.portrait, engine, enrol)  # type: ignore[arg-type]
    runner, address = await start(settings, engine, portraits)  # type: ignore[arg-type]
    try:
        yield address
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def serving_thread(
    engine: DoubleEngine, settings: Settings | None = None, enrol: Sequence[str] | None = None
) -> Iterator[str]:
    """The same on a loop of its own, for tests that block; as it comes without ``settings``."""
    ready, addresses, loop, stop = threading.Event(), [], asyncio.new_event_loop(), asyncio.Event()

    async def work() -> None:
        async with serving(engine, settings or Settings(), enrol) as address:
            addresses.append(address)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(work()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


def run(work: Coroutine[Any, Any, None], timeout: float = 120.0) -> None:
    """Runs a test's coroutine, with an end."""
    asyncio.run(asyncio.wait_for(work, timeout))


def free_ports(count: int = 1) -> int:
    """The first of ``count`` ports in a row, TCP and UDP, that nobody uses now: below those that are given to whoever
    asks for any, and from a place of this process's own on, so that they stay free until somebody here takes them."""
    for first in (20_000 + (os.getpid() * 101 + k) % 12_000 for k in range(0, 12_000, 97)):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    held.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no free ports")


class Tone(MediaStreamTrack):
    """A microphone: 20 ms packets of a steady tone."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._k = 0
        self._begun: float | None = None

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        self._begun = loop.time() if self._begun is None else self._begun
        await asyncio.sleep(max(self._begun + 0.02 * self._k - loop.time(), 0))
        time = (np.arange(960) + 960 * self._k) / 48_000
        samples = (8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 960 * self._k
        self._k += 1
        return frame


@dataclass
class Viewer:
    """An aiortc client that does what the page does, but for its pings. It keeps what came in the last minute or so."""

    address: str
    speaks: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    pictures: list[av.VideoFrame] = field(default_factory=list)
    sounds: list[np.ndarray] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    id: str = ""

    async def open(self, configuration: RTCConfiguration | None = None) -> Viewer:
        self.pc = RTCPeerConnection(configuration)
        self.pc.addTransceiver(Tone() if self.speaks else "audio", direction="sendrecv")
        self.pc.addTransceiver("video", direction="recvonly")
        self.control = self.pc.createDataChannel("control")
        self.pose = self.pc.createDataChannel("pose", ordered=False, maxRetransmits=0)
        for channel in (self.control, self.pose):
            channel.on("message", lambda raw: self.messages.append(json.loads(raw)))
        self._tasks: list[asyncio.Task[None]] = []
        self.pc.on("track", lambda track: self._tasks.append(asyncio.ensure_future(self._watch(track))))
        await self.pc.setLocalDescription(await self.pc.createOffer())
        body = {"sdp": self.pc.localDescription.sdp, "type": "offer", **self.options}
        async with ClientSession() as http, http.post(f"{self.address}v1/sessions", json=body) as response:
            answer = await response.json()
            assert response.status == 201, answer
        self.id = answer["id"]
        await self.pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        return self

    async def _watch(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    self.pictures = [*self.pictures[-KEPT:], frame]  # type: ignore[list-item]
                else:
                    samples = frame.to_ndarray().reshape(-1, 2)[:, 0]  # type: ignore[union-attr]
                    self.sounds = [*self.sounds[-2 * KEPT :], samples]

    def say(self, kind: str, channel: Any = None, **fields: Any) -> None:
        (channel or self.control).send(json.dumps({"v": 1, "type": kind, **fields}))

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    async def close(self) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def vanish(self) -> None:
        """Gone without a word, like a killed tab: no DTLS alert, no ICE answers."""
        for transport in {sender.transport for sender in self.pc.getSenders()}:
            for protocol in transport.transport._connection._protocols:
                protocol.transport.close()


async def until(done: Callable[[], Any], timeout: float = 20.0, what: str = "") -> float:
    """Waits for ``done()``; seconds it took. Fails with ``what`` when it does not come."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not done():
        assert loop.time() - begun < timeout, what or "it did not come"
        await asyncio.sleep(0.01)
    return loop.time() - begun


async def sessions(address: str) -> int:
    """How many sessions the server says it has."""
    async with ClientSession() as http, http.get(f"{address}v1/health") as response:
        return int((await response.json())["sessions"])


async def until_sessions(address: str, count: int, timeout: float) -> float:
    """Waits until the server has ``count`` sessions."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while await sessions(address) != count:
        assert loop.time() - begun < timeout, f"still {await sessions(address)} sessions after {timeout} s"
        await asyncio.sleep(0.02)
    return loop.time() - begun
