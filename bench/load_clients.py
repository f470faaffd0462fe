"""Headless clients that cost little: they speak, and count what comes back without decoding any of it.

Two kinds: ``Caller`` is what a page is, a microphone and a viewer over WebRTC; ``Listener`` is an agent that speaks PCM
over a WebSocket, and a viewer of its session by WHEP. Server and clients share one machine's monotonic clock, so the
server's stamps and the client's arrivals are on one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import aiohttp
import numpy as np
from aiortc import RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtpPacket
from numpy.typing import NDArray

from bench.load_traces import Painted, Pictures
from bench.viewer import Viewer, Voice, read_reports
from engine.clock import FRAME, FRAME_SECONDS, VOICE_RATE
from streaming.encoders import VIDEO_CLOCK
from streaming.sender import OPUS_DELAY
from visavis import client

PIECE: Final = VOICE_RATE // 50
AHEAD_S: Final = 0.1  # speech an agent is ahead of time: a synthesizer that streams
PING_S: Final = 1.0
KEPT: Final = 3 * 25 * 600  # rows of ten minutes, some more than anything here takes
FAR: Final = 250  # frames without stamps in a row, after which they are not judged
FIRST_S: Final = 20.0


class Turned(OSError):
    """The server does not take this session: HTTP ``status``, its ``code``, words and ``retry_after`` if it says."""

    def __init__(self, status: int, code: str, words: str, retry_after: str | None) -> None:
        super().__init__(f"{status} {code}: {words}")
        self.status, self.code, self.words, self.retry_after = status, code, words, retry_after


class Picture(NamedTuple):
    """A whole picture: when it had ``arrived``, its RTP time, media time (s) if that is known yet, and bytes."""

    arrived: float
    rtp: int
    media: float | None
    size: int


@dataclass
class Record:
    """What one client got, over all its connections. Times are monotonic seconds."""

    pictures: list[Picture] = field(default_factory=list)
    voice: list[tuple[float, float | None]] = field(default_factory=list)  # arrival, media time
    stamps: dict[int, dict[str, Any]] = field(default_factory=dict)  # the server's, by RTP time
    skews: list[float] = field(default_factory=list)  # ms, heard minus seen, by sender reports
    ended: list[tuple[float, str]] = field(default_factory=list)
    dropped_ms: float = 0.0  # voice that the engine never heard
    skipped: int = 0  # pictures that the encoder never saw

    def rows(self, delivered: bool = False) -> list[Painted]:
        """The frames that came: due when their last voice was at the server, done when painted there, or with
        ``delivered`` when they were here. On a narrow line the server tells of one frame in five: the others are due by
        the one before, and done when they were here."""
        found: list[Painted] = []
        known: tuple[int, Painted] | None = None
        for picture in self.pictures:
            stamps = self.stamps.get(picture.rtp)
            if stamps is not None:
                done = picture.arrived if delivered else stamps["done"] / 1e3
                row = Painted(
                    stamps["pts"] // FRAME, stamps["whole"] / 1e3, done, int(stamps.get("rung", 0)),
                    bool(stamps.get("repeated", False)),
                )  # fmt: skip
                known = (picture.rtp, row)
            elif known is not None and abs(step := _frames(picture.rtp, known[0])) < FAR:
                near, due = known[1], known[1].due + step * FRAME_SECONDS
                row = near._replace(number=near.number + step, due=min(due, picture.arrived), done=picture.arrived)
            else:
                continue
            found.append(row)
        return found

    def spoken(self, since: float = 0.0) -> list[tuple[float, float]]:
        """(arrival s, chance of speech) of pictures that were begun after ``since``."""
        told = ((picture.arrived, self.stamps.get(picture.rtp)) for picture in self.pictures)
        return [(at, float(s["speaking"])) for at, s in told if s is not None and s["start"] / 1e3 > since]


def _frames(rtp: int, other: int) -> int:
    """From RTP time ``other`` to ``rtp``."""
    return round((((rtp - other + 2**31) & 0xFFFFFFFF) - 2**31) / (VIDEO_CLOCK * FRAME_SECONDS))


class Count:
    """Stands in a receiver's jitter buffer: ``note`` hears of each packet, and nothing goes on to a decoder."""

    def __init__(self, note: Any) -> None:
        self._note = note

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        """As aiortc's."""
        self._note(packet, time.monotonic())
        return False, None


class Counter(Viewer):
    """A viewer that fills ``record`` and decodes nothing."""

    def __init__(self, address: str, record: Record, **more: Any) -> None:
        super().__init__(address, **more)
        self.record, self._pictures = record, Pictures()
        self.answer: dict[str, Any] = {}  # the server's, to the offer
        self.on_message = self._hear
        self._beating: asyncio.Task[None] | None = None
        self.pc.on("connectionstatechange", self._changed)

    def _track(self, track: MediaStreamTrack) -> None:
        transceiver = next(t for t in self.pc.getTransceivers() if t.receiver.track is track)
        receiver: Any = transceiver.receiver
        video = track.kind == "video"
        receiver._RTCRtpReceiver__jitter_buffer = Count(self._see if video else self._listen)
        read_reports(receiver, self.pictures_line if video else self.voice_line)
        self._tasks.append(asyncio.ensure_future(_idle(track)))

    def _see(self, packet: RtpPacket, now: float) -> None:
        before = len(self._pictures.whole)
        self._pictures.add(packet.sequence_number, packet.timestamp, bool(packet.marker), len(packet.payload), now)
        for rtp, at, size in self._pictures.whole[before:]:
            self.record.pictures.append(Picture(at, rtp, self.pictures_line.moment(rtp), size))
        if len(self._pictures.whole) > 100:
            del self._pictures.whole[:-8]

    def _listen(self, packet: RtpPacket, now: float) -> None:
        self.record.voice.append((now, self.voice_line.moment(packet.timestamp)))
        del self.record.voice[:-KEPT]

    def _hear(self, message: dict[str, Any]) -> None:
        record = self.record
        if message["type"] == "stamps":
            record.stamps.update(
                {stamps["rtp"]: stamps for stamps in message["frames"] if stamps.get("rtp") is not None}
            )
            record.dropped_ms, record.skipped = message["dropped_ms"], message["skipped"]
            for stamps in message["frames"]:
                seen, heard = (
                    line.moment(stamps[name]) if stamps.get(name) is not None else None
                    for line, name in ((self.pictures_line, "rtp"), (self.voice_line, "voice_rtp"))
                )
                if seen is not None and heard is not None:
                    record.skews.append(1e3 * (heard + OPUS_DELAY / VOICE_RATE - seen))
        elif message["type"] == "bye":
            record.ended.append((time.monotonic(), str(message["reason"])))

    def _changed(self) -> None:
        if self.pc.connectionState in ("failed", "closed"):
            self.record.ended.append((time.monotonic(), f"connection {self.pc.connectionState}"))

    async def open(self) -> Counter:
        """Connects, and says from then on that it is there. Raises Turned, or OSError when it cannot be reached."""
        await self.offer()
        try:
            await self.post()
        except aiohttp.ClientError as problem:
            raise OSError(f"{self.address} cannot be reached: {problem}") from problem
        self._beating = asyncio.ensure_future(self._beat())
        return self

    async def post(self, *, take: bool = True) -> None:
        """Sends the offer, and takes the answer."""
        body = {"sdp": self.pc.localDescription.sdp, "type": "offer", **self.options}
        async with aiohttp.ClientSession() as http, http.post(f"{self.address}v1/sessions", json=body) as response:
            answer = await _read(response)
        self.id, self.answer = answer["id"], answer
        await self.pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            self.say("ping", self.pose, t=time.monotonic())

    async def close(self) -> None:
        """Leaves."""
        if self._beating is not None:
            self._beating.cancel()
        self.pc.remove_all_listeners()
        await super().close()


class Eyes(Counter):
    """The same, of somebody else's session: by WHEP."""

    async def offer(self) -> str:
        """Offers to receive, alone."""
        for kind in ("audio", "video"):
            self.pc.addTransceiver(kind, direction="recvonly")
        return await self._describe()

    async def post(self, *, take: bool = True) -> None:
        """Sends the offer, and takes the answer."""
        headers = {"Content-Type": "application/sdp"}
        where = f"{self.address}v1/sessions/{self.id}/whep"
        async with (
            aiohttp.ClientSession() as http,
            http.post(where, data=self.pc.localDescription.sdp, headers=headers) as response,
        ):
            answer = await response.text() if response.status == 201 else str(await _read(response))
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))


class Caller:
    """Somebody at a page: a microphone that hears ``voice`` (n,) s16 at 48 kHz round and round, and eyes."""

    def __init__(self, address: str, voice: NDArray[np.int16], options: dict[str, Any] | None = None) -> None:
        self.record, self.id = Record(), ""
        self.answer: dict[str, Any] = {}
        self._address, self._voice, self._options = address, voice, options or {}
        self._counter: Counter | None = None

    async def open(self, **more: Any) -> Caller:
        """Connects; again, with ``resume``, when it was connected before: the old connection goes once the new one is
        there, for a session ends with the one that steers it. Raises Turned, OSError."""
        old, options = self._counter, {**self._options, **more}
        counter = Counter(self._address, self.record, voice=Voice(self._voice), options=options)
        try:
            await counter.open()
        except BaseException:
            await counter.close()
            raise
        self._counter, self.id, self.answer = counter, counter.id, counter.answer
        if old is not None:
            await old.close()
        return self

    async def close(self) -> None:
        """Leaves, and the session with it."""
        if self._counter is not None:
            await self._counter.close()


class Listener:
    """An agent that speaks ``voice`` into a session of its own, and eyes that watch it."""

    def __init__(self, address: str, voice: NDArray[np.int16], options: dict[str, Any] | None = None) -> None:
        self.record, self.id = Record(), ""
        self._address, self._voice, self._options = address, voice.astype("<i2"), options or {}
        self._eyes: Eyes | None = None
        self._agent: client.Agent | None = None
        self._speaking: asyncio.Task[None] | None = None

    async def open(self, **more: Any) -> Listener:
        """Opens the session, speaks and looks. Raises Turned, OSError."""
        body = {"type": "agent", **self._options, **more}
        try:
            async with (
                aiohttp.ClientSession() as http, http.post(f"{self._address}v1/sessions", json=body) as response,
            ):  # fmt: skip
                self.id = (await _read(response))["id"]
        except aiohttp.ClientError as problem:
            raise OSError(f"{self._address} cannot be reached: {problem}") from problem
        try:
            self._agent = await client.connect(self._address, self.id)
            self._speaking = asyncio.ensure_future(self._speak(self._agent))
            self._eyes = Eyes(self._address, self.record)
            self._eyes.id = self.id
            await self._eyes.open()
        except (client.Gone, client.Refused) as problem:
            await self.close()
            raise OSError(str(problem)) from problem
        except BaseException:
            await self.close()
            raise
        return self

    async def _speak(self, agent: client.Agent) -> None:
        """One long reply, as a synthesizer that is a little ahead of time."""
        reading = asyncio.ensure_future(_drain(agent))
        begun, sent = time.monotonic(), 0
        try:
            async with agent.speak(rate=VOICE_RATE) as segment:
                while True:
                    at = sent * PIECE
                    await segment.write(self._voice.take(np.arange(at, at + PIECE), mode="wrap").tobytes())
                    sent += 1
                    await asyncio.sleep(max(begun + sent * 0.02 - AHEAD_S - time.monotonic(), 0.0))
        except (client.Gone, client.Refused) as problem:
            self.record.ended.append((time.monotonic(), f"agent: {problem}"))
        finally:
            reading.cancel()

    async def close(self) -> None:
        """Leaves, and ends the session."""
        if self._speaking is not None:
            self._speaking.cancel()
            await asyncio.gather(self._speaking, return_exceptions=True)
        if self._agent is not None:
            await self._agent.close()
        if self._eyes is not None:
            await self._eyes.close()
        with contextlib.suppress(OSError, aiohttp.ClientError):
            async with aiohttp.ClientSession() as http, http.delete(f"{self._address}v1/sessions/{self.id}"):
                pass


Client = Caller | Listener


async def until_seen(clients: list[Client], timeout: float = FIRST_S) -> None:
    """Waits until all of them got a picture with its stamps. Raises OSError when one does not."""
    end = time.monotonic() + timeout
    while not all(c.record.pictures and c.record.stamps for c in clients):
        if time.monotonic() > end:
            blind = sum(not (c.record.pictures and c.record.stamps) for c in clients)
            raise OSError(f"{blind} of {len(clients)} clients saw nothing in {timeout:g} s")
        await asyncio.sleep(0.05)


async def _drain(agent: client.Agent) -> None:
    async for _ in agent:
        pass


async def _idle(track: MediaStreamTrack) -> None:
    """Nothing comes out of a track that is only counted; its end does."""
    with contextlib.suppress(MediaStreamError):
        while True:
            await track.recv()


async def _read(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The JSON of an answer. Raises Turned with the server's words when it is a refusal."""
    try:
        said = await response.json(content_type=None)
    except ValueError:
        said = {}
    if response.status >= 400 or not isinstance(said, dict):
        error = said.get("error", {}) if isinstance(said, dict) else {}
        words, after = str(error.get("message", "no words")), response.headers.get("Retry-After")
        raise Turned(response.status, str(error.get("code", "none")), words, after)
    return said
