"""A viewer without a browser that measures: it speaks a given voice, and says when it got which picture and sound.

Times are media times on the sender's own line (RTP time by the last sender report) and arrivals (monotonic seconds).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import aiohttp
import av
import numpy as np
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket
from numpy.typing import NDArray

from engine.clock import VOICE_RATE
from streaming.marker import COLUMNS, ROWS, words

PACKET: Final = VOICE_RATE // 50
THRESHOLD: Final = 120  # of luma: a bit of the strip
CLICK: Final = 0.3 * 32768  # mono made stereo loses 3 dB, on the way there and on the way back
HOLD_S: Final = 0.5  # in which a click is not counted again


class Strip(NamedTuple):
    """What streaming/marker.py painted: Unix time in 0.1 ms modulo 2^32, viewpoint, onset (0 or 1 + ms), number."""

    stamp: int
    seq: int
    onset: int
    number: int


def read_strip(luma: NDArray[np.uint8]) -> Strip | None:
    """The strip of a picture (H, W); None when its check sum is wrong."""
    height, width = luma.shape
    y = np.arange(ROWS) * height // 16 + height // 32
    x = np.arange(COLUMNS) * width // 16 + width // 32
    bits = luma[np.ix_(y, x)] > THRESHOLD
    rows = [int("".join("1" if bit else "0" for bit in row), 2) for row in bits]
    found = Strip(rows[0] << 16 | rows[1], rows[2], rows[3] >> 10, rows[3] >> 7 & 7)
    return found if words(*found)[3] == rows[3] else None


class Voice(MediaStreamTrack):
    """A microphone: ``samples`` (n,) s16 at 48 kHz round and round, its clock ``ppm`` parts in a million fast."""

    kind = "audio"

    def __init__(self, samples: NDArray[np.int16], ppm: float = 0.0) -> None:
        super().__init__()
        self._samples, self._pace = samples[: len(samples) // PACKET * PACKET], 0.02 / (1 + ppm * 1e-6)
        self._k = 0
        self._begun: float | None = None

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms, when they have been."""
        now = time.monotonic()
        self._begun = now if self._begun is None else self._begun
        await asyncio.sleep(max(self._begun + self._pace * self._k - now, 0))
        at = self._k * PACKET % len(self._samples)
        frame = av.AudioFrame.from_ndarray(self._samples[at : at + PACKET][None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = VOICE_RATE, self._k * PACKET
        self._k += 1
        return frame


class Line:
    """RTP time -> the sender's time, by its reports."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._report: tuple[float, int] | None = None  # Unix time, RTP time
        self.reports = 0

    def note(self, report: RtcpSrPacket) -> None:
        """One more sender report."""
        self._report = report.sender_info.ntp_timestamp / 2**32, report.sender_info.rtp_timestamp
        self.reports += 1

    def moment(self, rtp: int) -> float | None:
        """Seconds on the sender's line; None before its first report."""
        if self._report is None:
            return None
        at, zero = self._report
        return at + (((rtp - zero + 2**31) & 0xFFFFFFFF) - 2**31) / self._rate


Seen = Callable[[av.VideoFrame, int, float], None]  # picture, RTP time, arrival
Heard = Callable[[NDArray[np.int16], int, float], None]  # (n,) of the left channel, RTP time of its begin, arrival
Rewrite = Callable[[str], str]  # of an SDP


class Viewer:
    """Opens a session at ``address`` (with "/" at its end), and then ``seen`` and ``heard`` are called."""

    def __init__(
        self, address: str, *, voice: MediaStreamTrack | None = None, seen: Seen | None = None,
        heard: Heard | None = None, options: dict[str, Any] | None = None,
        offer: Rewrite = lambda sdp: sdp, answer: Rewrite = lambda sdp: sdp,
    ) -> None:  # fmt: skip
        self.address, self.options = address, options or {}
        self.id = ""
        self.pictures_line, self.voice_line = Line(90_000), Line(VOICE_RATE)
        self.messages: list[dict[str, Any]] = []
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self.pc = RTCPeerConnection()
        self._voice, self._seen, self._heard = voice, seen, heard
        self._rewrite_offer, self._rewrite_answer = offer, answer
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> Viewer:
        """Raises OSError with the server's words when it refuses."""
        await self.offer()
        await self.post()
        return self

    async def offer(self) -> str:
        """Makes the offer and begins to look for candidates; its SDP."""
        self.pc.addTransceiver(self._voice or "audio", direction="sendrecv")
        self.pc.addTransceiver("video", direction="recvonly")
        return await self._describe()

    async def _describe(self) -> str:
        """The offer of what ``pc`` has, and of the two channels."""
        self.control = self.pc.createDataChannel("control")
        self.pose = self.pc.createDataChannel("pose", ordered=False, maxRetransmits=0)
        for channel in (self.control, self.pose):
            channel.on("message", self._message)
        self.pc.on("track", self._track)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def post(self, *, take: bool = True) -> None:
        """Sends the offer; without ``take`` the answer is thrown away, and no media ever comes."""
        body = {"sdp": self._rewrite_offer(self.pc.localDescription.sdp), "type": "offer", **self.options}
        async with aiohttp.ClientSession() as http, http.post(f"{self.address}v1/sessions", json=body) as response:
            answer = await response.json()
            if response.status != 201:
                raise OSError(f"the server refused: {answer}")
        self.id = answer["id"]
        if take:
            sdp = self._rewrite_answer(answer["sdp"])
            await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    def _message(self, raw: str) -> None:
        message = json.loads(raw)
        self.messages = [*self.messages[-50:], message]
        self.on_message(message)

    def _track(self, track: MediaStreamTrack) -> None:
        transceiver = next(t for t in self.pc.getTransceivers() if t.receiver.track is track)
        receiver = transceiver.receiver
        read_reports(receiver, self.pictures_line if track.kind == "video" else self.voice_line)
        self._tasks.append(asyncio.ensure_future(self._watch(track, receiver)))

    async def _watch(self, track: MediaStreamTrack, receiver: Any) -> None:
        mapper = receiver._RTCRtpReceiver__timestamp_mapper
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                rtp, now = (frame.pts + mapper._origin) & 0xFFFFFFFF, time.monotonic()
                if isinstance(frame, av.VideoFrame):
                    if self._seen is not None:
                        self._seen(frame, rtp, now)
                elif isinstance(frame, av.AudioFrame) and self._heard is not None:
                    self._heard(frame.to_ndarray().reshape(-1, 2)[:, 0].astype(np.int16, copy=False), rtp, now)

    def say(self, kind: str, channel: Any = None, **fields: Any) -> None:
        """Sends a message of the protocol, when the channel is open."""
        channel = channel or self.control
        if channel.readyState == "open":
            channel.send(json.dumps({"v": 1, "type": kind, **fields}))

    async def delete(self) -> int:
        """Asks the server to end the session; the status of its answer."""
        async with aiohttp.ClientSession() as http, http.delete(f"{self.address}v1/sessions/{self.id}") as response:
            return response.status

    async def close(self) -> None:
        """The end, as a page that is closed."""
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def vanish(self) -> None:
        """Gone without a word, like a killed tab: no DTLS alert, no ICE answers. ``close`` still has to come."""
        for transport in {sender.transport for sender in self.pc.getSenders()}:
            for protocol in transport.transport._connection._protocols:
                protocol.transport.close()


def read_reports(receiver: Any, line: Line) -> None:
    """``line`` gets the sender reports that ``receiver`` gets."""
    handle = receiver._handle_rtcp_packet

    async def note(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket):
            line.note(packet)
        await handle(packet)

    receiver._handle_rtcp_packet = note


class Clicks:
    """Finds the test signal's clicks in a stream of sound."""

    def __init__(self) -> None:
        self._last = -HOLD_S

    def find(self, samples: NDArray[np.int16], begin: float) -> float | None:
        """When (in seconds, on the line of ``begin``) a click begins in ``samples`` (n,) at 48 kHz; None without."""
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > CLICK)
        if not len(loud):
            return None
        first, before = begin + float(loud[0]) / VOICE_RATE, self._last
        self._last = begin + float(loud[-1]) / VOICE_RATE
        return first if first - before > HOLD_S else None
