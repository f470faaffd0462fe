"""What is fuzzed on a live server: HTTP, offers, the agents' socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from aiohttp import ClientSession, WSMsgType
from aiortc import RTCPeerConnection

from bench.fuzz_targets import ROOT, Target, message_seeds
from streaming import patches, signalling
from streaming.app import HUB
from streaming.config import PortraitConfig, ServerConfig, StreamConfig
from streaming.hub import Hub
from streaming.portraits import Portraits
from streaming.server import start
from streaming.tracks import OutQueue, VideoTrack, VoiceTrack
from tests.streaming.double import DoubleEngine
from tests.streaming.harness import Settings

SETTLE_S: Final = 20.0
PATIENCE_S: Final = 0.1  # a request that is answered at all is answered sooner, as a rule
ENROLLER: Final = (sys.executable, "-m", "tests.streaming.enroller")


class Broken(AssertionError):
    """The server did what it must never do; the message says what."""


class Trouble(logging.Handler):
    """Errors that the server logged: its own word for a bug."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """One more."""
        self.lines.append(self.format(record))

    def check(self) -> None:
        """Raises Broken when there was any since the last time."""
        lines, self.lines = self.lines, []
        if lines:
            raise Broken("the server logged an error: " + "\n".join(lines)[:3000])


@contextlib.asynccontextmanager
async def served(**server: Any) -> AsyncIterator[tuple[str, Hub, Trouble]]:
    """A server around the engine's double: its address, its hub, and what it complains of."""
    trouble = Trouble()
    logging.getLogger().addHandler(trouble)
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: trouble.lines.append(f"{context.get('message')}: {context.get('exception')!r}")
    )
    threading.excepthook = lambda hook: trouble.lines.append(f"a thread died: {hook.exc_value!r}")
    with tempfile.TemporaryDirectory() as folder:
        engine = DoubleEngine(Path(folder), side=64, cost_s=0.001)
        given = {"port": 0, "max_sessions": 4, "sessions_per_minute": 10**9, "connect_timeout_s": 2.0, "linger_s": 2.0}
        settings = Settings(
            server=ServerConfig(**{**given, **server}),
            stream=StreamConfig(heartbeat_s=3600.0),
            portrait=PortraitConfig(folder=str(Path(folder, "own"))),
        )
        patches.install(settings.stream, settings.server)
        portraits = Portraits(settings.portrait, engine, ENROLLER)  # type: ignore[arg-type]
        runner, address = await start(settings, engine, portraits)  # type: ignore[arg-type]
        try:
            yield address, runner.app[HUB], trouble  # type: ignore[index]
        finally:
            await runner.cleanup()
            logging.getLogger().removeHandler(trouble)


def emptied(hub: Hub, trouble: Trouble) -> Any:
    """What must be so at the end: nobody complained, and no session stays."""

    async def left() -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLE_S
        while (hub.lives or hub.peers) and loop.time() < until:
            for name in list(hub.lives):
                with contextlib.suppress(Exception):
                    await hub.end(name, "the fuzzing is over")
            await asyncio.sleep(0.05)
        trouble.check()
        if hub.lives or hub.peers or hub.owners:
            raise Broken(f"{len(hub.lives)} sessions and {len(hub.peers)} connections are left")

    return left


def offers() -> list[bytes]:
    """What Chromium offers, and the like of it by aiortc, without candidates."""
    chromium = (ROOT / "bench" / "seeds" / "chromium.sdp").read_bytes()
    firefox = (ROOT / "bench" / "seeds" / "aiortc.sdp").read_bytes()
    return [chromium, firefox]


SDP_WORDS: Final = (
    b"a=candidate:1 1 UDP 1 127.0.0.1 9 typ host\r\n", b"a=group:BUNDLE 0 0\r\n", b"m=video 0 UDP/TLS/RTP/SAVPF 96\r\n",
    b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", b"a=mid:", b"a=sendrecv\r\n", b"a=inactive\r\n",
    b"a=fingerprint:sha-256 ", b"a=setup:passive\r\n", b"a=ice-lite\r\n", b"a=rtpmap:96 VP8/90000\r\n",
    b"a=rtcp-mux\r\n",
)  # fmt: skip


@contextlib.asynccontextmanager
async def offer() -> AsyncIterator[Target]:
    """SDP offers, through POST /v1/sessions: a session each, gone again when the offer is no good."""
    async with served() as (address, hub, trouble), ClientSession() as http:

        async def answer(data: bytes) -> bool:
            body = {"sdp": data.decode("utf-8", "replace"), "type": "offer"}
            async with http.post(f"{address}v1/sessions", json=body) as response:
                told = await response.json()
            trouble.check()
            if response.status == 201:
                await hub.end(told["id"], "one offer is enough")
                return True
            if response.status not in (400, 413):
                raise Broken(f"{response.status}: {told}")
            if hub.lives:
                raise Broken("a session stays when its offer was refused")
            return False

        yield Target(offers(), answer, SDP_WORDS, emptied(hub, trouble))


@contextlib.asynccontextmanager
async def sdp() -> AsyncIterator[Target]:
    """The same offers to the part that reads them, without a session: faster."""
    patches.install(Settings().stream, ServerConfig())

    async def answer(data: bytes) -> bool:
        connection, queue = RTCPeerConnection(), OutQueue()
        video, voice = VideoTrack(queue, lambda frame: None), VoiceTrack(queue)
        try:
            await signalling.answer(connection, data.decode("utf-8", "replace"), video, voice, "vp8")
        except signalling.OfferError:
            return False
        finally:
            await connection.close()
        return True

    yield Target(offers(), answer, SDP_WORDS)


def requests(session: str) -> list[bytes]:
    """A request to each route."""
    ways = [
        ("GET", "/"), ("GET", "/web/app.js"), ("GET", "/web/../app.py"), ("GET", "/v1/health"), ("GET", "/v1/ice"),
        ("GET", "/v1/avatars"), ("GET", "/v1/avatars/ada/preview.png"), ("GET", "/v1/portraits/none"),
        ("GET", "/v1/sessions"), ("GET", f"/v1/sessions/{session}/outputs"), ("GET", "/metrics"), ("GET", "/readyz"),
        ("GET", f"/v1/sessions/{session}/agent"), ("HEAD", "/v1/avatars"), ("OPTIONS", "/v1/sessions"),
        ("DELETE", "/v1/sessions/none"), ("DELETE", "/v1/avatars/own-0"), ("DELETE", f"/v1/sessions/{session}/whep/x"),
        ("PATCH", f"/v1/sessions/{session}/whep/x"),
    ]  # fmt: skip
    plain = b"Host: localhost\r\nConnection: close\r\n"
    seeds = [f"{method} {path} HTTP/1.1\r\n".encode() + plain + b"\r\n" for method, path in ways]
    form = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    photo = b"".join(form % part for part in ((b"photo", b"badly \xff"), (b"name", b"Eve"), (b"consent", b"yes")))
    bodies = [
        ("/v1/sessions", b"application/json", b'{"sdp": "v=0", "type": "offer", "seed": 1, "framing": "head"}'),
        ("/v1/tokens", b"application/json", b'{"ttl_s": 60, "scopes": ["open", "watch"], "session": ""}'),
        ("/v1/portraits", b"multipart/form-data; boundary=x", photo + b"--x--\r\n"),
        (f"/v1/sessions/{session}/outputs", b"application/json", b'{"kind": "file", "name": "take"}'),
        (f"/v1/sessions/{session}/whep", b"application/sdp", b"v=0\r\nm=audio 9 X 0\r\n"),
    ]
    for path, kind, body in bodies:
        head = f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n".encode()
        seeds.append(head + b"Content-Type: " + kind + b"\r\n" + plain + b"\r\n" + body)
    return seeds


HTTP_WORDS: Final = (
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n", b"Range: bytes=0-5\r\n",
    b"Content-Encoding: gzip\r\n", b"Origin: null\r\n", b"Authorization: Bearer x\r\n", b"Upgrade: websocket\r\n",
    b"Connection: Upgrade\r\n", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    b"If-Modified-Since: x\r\n", b"X-Forwarded-For: 1.2.3.4\r\n", b"Host: evil\r\n", b"HTTP/1.0", b"HTTP/2",
    b"0\r\n\r\n",
)  # fmt: skip


@contextlib.asynccontextmanager
async def http() -> AsyncIterator[Target]:
    """Requests as bytes on a connection. An answer is a status below 500 (or 503), or the end of the connection."""
    async with served(max_body_kb=16) as (address, hub, trouble), ClientSession() as client:
        async with client.post(f"{address}v1/sessions", json={"type": "agent"}) as response:
            session = (await response.json())["id"]
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        keeper = asyncio.ensure_future(_hold(address, session))

        async def answer(data: bytes) -> bool:
            said = await _exchange(host, int(port), data)
            trouble.check()
            return _status(said) in range(1, 400)

        yield Target(requests(session), answer, HTTP_WORDS, emptied(hub, trouble))
        keeper.cancel()


@contextlib.asynccontextmanager
async def route() -> AsyncIterator[Target]:
    """Well-formed requests: method and path on the first line of an input, type on the second, then the body."""
    async with served(max_body_kb=16) as (address, hub, trouble), ClientSession() as client:
        async with client.post(f"{address}v1/sessions", json={"type": "agent"}) as response:
            session = (await response.json())["id"]
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        keeper = asyncio.ensure_future(_hold(address, session))
        seeds = []
        for request in requests(session):
            head, _, body = request.partition(b"\r\n\r\n")
            kind = next(
                (line[14:] for line in head.split(b"\r\n") if line.startswith(b"Content-Type: ")), b"text/plain"
            )
            seeds.append(head.split(b" HTTP")[0] + b"\n" + kind + b"\n" + body)

        async def answer(data: bytes) -> bool:
            first, kind, body = (*data.split(b"\n", 2), b"", b"")[:3]
            method, _, path = first.partition(b" ")
            method = bytes(letter for letter in method if 65 <= letter <= 90)[:10] or b"GET"
            lines = (
                method + b" /" + quote(path.lstrip(b"/")[:2000], safe="/%?=&.").encode() + b" HTTP/1.1",
                b"Host: localhost", b"Connection: close", b"Content-Length: %d" % len(body),
                b"Content-Type: " + bytes(letter for letter in kind if 32 <= letter < 127)[:200],
            )  # fmt: skip
            said = await _exchange(host, int(port), b"\r\n".join(lines) + b"\r\n\r\n" + body, SETTLE_S)
            trouble.check()
            status = _status(said)
            if not status and b"upgrade" not in data.lower():
                raise Broken(f"no answer to {lines}")
            return status < 400

        yield Target(seeds, answer, (b'"type"', b'"agent"', b"%2f", b"?", b"--x"), emptied(hub, trouble))
        keeper.cancel()


async def _exchange(host: str, port: int, data: bytes, patience: float = PATIENCE_S) -> bytes:
    """What a server answers to ``data`` on a connection of its own; nothing when it only ends that."""
    reader, writer = await asyncio.open_connection(host, port)
    said = b""
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        with contextlib.suppress(TimeoutError):
            said = await asyncio.wait_for(reader.read(1 << 16), patience)
        if not said:  # it waits for more: an end is what it gets
            writer.write_eof()
            said = await reader.read(1 << 16)
    writer.close()
    return said


def _status(said: bytes) -> int:
    """Of an answer; 0 when there is none. Raises Broken for one that says the server failed."""
    words = said.split(b" ", 2)
    status = int(words[1]) if len(words) > 2 and words[0].startswith(b"HTTP/1") else 0
    if status >= 500 and status != 503:
        raise Broken(f"answered {said[:600]!r}")
    return status


async def _hold(address: str, session: str) -> None:
    """Keeps a session that nobody else holds."""
    async with ClientSession() as http, http.ws_connect(f"{address}v1/sessions/{session}/agent") as socket:
        async for _ in socket:
            pass


@contextlib.asynccontextmanager
async def agent() -> AsyncIterator[Target]:
    """Messages of an agent on its socket. After each, the server must still answer a ping, or have said good-bye."""
    async with served() as (address, hub, trouble), ClientSession() as client:
        held: list[Any] = []

        async def fresh() -> Any:
            if not held or held[0].closed:
                held.clear()
                if not hub.lives:
                    async with client.post(f"{address}v1/sessions", json={"type": "agent"}) as response:
                        assert response.status == 201, await response.text()
                name = next(iter(hub.lives))
                held.append(await client.ws_connect(f"{address}v1/sessions/{name}/agent?takeover=1"))
            return held[0]

        async def answer(data: bytes) -> bool:
            socket = await fresh()
            with contextlib.suppress(ConnectionError):
                if data[:1] in (b"{", b"[", b'"'):
                    await socket.send_str(data.decode("utf-8", "replace"))
                else:
                    await socket.send_bytes(data)
                await socket.send_str('{"v": 1, "type": "ping", "t": 7}')
            refused = False
            while True:
                told = await socket.receive()
                if told.type is not WSMsgType.TEXT:
                    trouble.check()
                    if told.type is WSMsgType.BINARY:
                        continue
                    await socket.close()
                    return False
                kind = json.loads(told.data)["type"]
                refused = refused or kind == "error"
                if kind == "pong":
                    trouble.check()
                    return not refused

        pcm = [bytes(480), bytes(range(256)) * 4, b"\x01"]
        yield Target([*message_seeds(), *pcm], answer, (b'"speech.begin"', b'"id":"1"'), emptied(hub, trouble))
        for socket in held:
            await socket.close()
