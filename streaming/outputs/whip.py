"""WHIP (RFC 9725): publishes a session to any media server that takes WebRTC. A lost connection is made again."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import replace
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiortc.rtcpeerconnection
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from streaming import patches
from streaming.config import OutputsConfig, StreamConfig
from streaming.live import Live, Voice
from streaming.outputs.output import OutputError, Spec
from streaming.outputs.reconnecting import Reconnecting, Rejected
from streaming.sender import MediaSender, Quality
from streaming.signalling import order_codecs
from streaming.tracks import OutFrame, OutQueue, VideoTrack, VoiceTrack

ANSWER_S: Final = 10.0  # for a request, and for media to connect after it
REDIRECTS: Final = 5
LARGEST: Final = 256 * 1024  # bytes of an answer
LINK: Final = re.compile(r'<([^<>]+)>((?:\s*;\s*[\w-]+\s*=\s*(?:"[^"]*"|[^\s;,"]*))*)')
PARAMETER: Final = re.compile(r';\s*([\w-]+)\s*=\s*(?:"([^"]*)"|([^\s;,"]*))')


class Whip(Reconnecting):
    """Encoded as for a viewer. ``config.give_up_s`` without a connection ends it."""

    lost = (OutputError, ClientError, OSError, TimeoutError)

    def __init__(self, live: Live, spec: Spec, config: OutputsConfig, codec: str = "h264") -> None:
        super().__init__(live, spec, config.give_up_s)
        self._codec = codec
        self._servers: list[RTCIceServer] = []  # that the endpoint told of
        self._queue: OutQueue | None = None  # of the connection that is there
        if aiortc.rtcpeerconnection.RTCRtpSender is not MediaSender:  # type: ignore[attr-defined]
            patches.install(StreamConfig())

    def _words(self, problem: Exception) -> str:
        return _words(problem)

    def frame(self, frame: OutFrame) -> None:
        if self._queue is not None:
            self._queue.delay = self.live.lookahead
            self._queue.put(replace(frame, stamps=dict(frame.stamps)))

    def voice(self, voice: Voice) -> None:
        if self._queue is not None:
            self._queue.put_voice(voice)

    def _frame_sent(self, frame: OutFrame) -> None:
        self.frames += 1
        self.bytes += int(frame.stamps.get("bytes", 0))

    async def _connection(self) -> None:
        """One connection, to its end. Raises OutputError when it is not ours."""
        async with ClientSession(timeout=ClientTimeout(total=ANSWER_S)) as http:
            connection = RTCPeerConnection(RTCConfiguration(iceServers=list(self._servers)))
            queue = OutQueue(origin=self.live.edge)
            tracks = (VoiceTrack(queue), VideoTrack(queue, self._frame_sent))
            over, up = asyncio.Event(), asyncio.Event()

            def changed() -> None:
                state = connection.connectionState
                (up if state == "connected" else over if state in ("failed", "closed") else asyncio.Event()).set()

            connection.on("connectionstatechange", changed)
            resource = ""
            try:
                offer = await _offer(connection, tracks, self._codec, self.spec.bitrate)
                resource, answer = await self._post(http, offer)
                queue.origin, self._queue = self.live.edge, queue  # media time of the voice that comes next
                try:
                    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
                except Exception as problem:  # aiortc's parser meets what it does not expect in many ways
                    raise OutputError(f"the server's answer cannot be used ({type(problem).__name__})") from problem
                _prefer(connection, self._codec)
                await _first(up, over, self._closing, seconds=ANSWER_S)
                if not up.is_set() and not self._closing.is_set():
                    raise OutputError(
                        "no media connection to the server could be made (firewall, or a missing TURN server)"
                    )
                if up.is_set():
                    self._note("running")
                await _first(over, self._closing)
                if not self._closing.is_set():
                    raise OutputError("the server closed the connection, or cannot be reached any more")
            finally:
                self._queue = None
                self.dropped += queue.skipped
                if resource:
                    await self._delete(http, resource)
                for track in tracks:
                    track.stop()
                await connection.close()

    async def _post(self, http: ClientSession, offer: str) -> tuple[str, str]:
        """(address of the resource, answer). Raises OutputError with the server's words."""
        url = self.spec.url
        for _ in range(REDIRECTS):
            headers = {"Content-Type": "application/sdp", "Accept": "application/sdp", **self._authorized()}
            async with http.post(url, data=offer, headers=headers, allow_redirects=False) as response:
                if response.status in (307, 308):
                    url = _redirected(url, response.headers.get("Location", ""))
                    continue
                body = (await response.content.read(LARGEST)).decode("utf-8", "replace")
                if response.status != 201:
                    raise _refusal(response, body)
                self._servers = ice_servers(response.headers.getall("Link", [])) or self._servers
                place = urljoin(url, response.headers.get("Location", ""))
                return (place if _origin(place) == _origin(url) else ""), body
        raise Rejected(f"the server redirected more than {REDIRECTS} times")

    async def _delete(self, http: ClientSession, resource: str) -> None:
        with contextlib.suppress(ClientError, OSError, TimeoutError):
            async with http.delete(resource, headers=self._authorized(), allow_redirects=False):
                pass

    def _authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.spec.token}"} if self.spec.token else {}


def ice_servers(links: list[str]) -> list[RTCIceServer]:
    """STUN and TURN servers among an answer's Link headers (RFC 9725, 4.6)."""
    found = []
    for url, parameters in LINK.findall(", ".join(links)):
        given = {name.lower(): quoted or plain for name, quoted, plain in PARAMETER.findall(parameters)}
        if given.get("rel") == "ice-server" and url.split(":")[0] in ("stun", "stuns", "turn", "turns"):
            found.append(RTCIceServer(url, given.get("username"), given.get("credential")))
    return found[:8]


async def _offer(connection: RTCPeerConnection, tracks: tuple[MediaStreamTrack, ...], codec: str, bitrate: int) -> str:
    for track in tracks:
        sender = connection.addTransceiver(track, direction="sendonly").sender
        if isinstance(sender, MediaSender) and track.kind == "video":
            sender.choose(Quality(bitrate=bitrate))
    await connection.setLocalDescription(await connection.createOffer())
    return str(connection.localDescription.sdp)


def _prefer(connection: RTCPeerConnection, codec: str) -> None:
    """A sender takes the first of the codecs that both have."""
    for transceiver in connection.getTransceivers():
        transceiver._codecs = order_codecs(transceiver._codecs, codec)


async def _first(*events: asyncio.Event, seconds: float | None = None) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _redirected(url: str, location: str) -> str:
    """Where to go on: never to another host, whose turn it would be to be asked for and to see the token."""
    target = urljoin(url, location)
    if not location or _origin(target) != _origin(url):
        raise Rejected(f"the server redirects to another host ({_shown(target)}): give that address itself")
    return target


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"


def _refusal(response: ClientResponse, body: str) -> OutputError:
    """With the server's words, as far as they are text."""
    said = (
        re.sub(r"<[^>]*>|\s+", " ", body).strip()[:200]
        if response.content_type.startswith(("text/", "application/"))
        else ""
    )
    words = f"the server answered {response.status} {response.reason or ''}".rstrip() + (f": {said}" if said else "")
    again = response.status >= 500 or response.status in (404, 408, 409, 425, 429)
    return OutputError(words) if again else Rejected(words)


def _words(problem: BaseException) -> str:
    if isinstance(problem, OutputError):
        return str(problem)
    if isinstance(problem, TimeoutError):
        return f"the server did not answer in {ANSWER_S:g} s"
    return (
        f"the server cannot be reached ({problem.strerror if isinstance(problem, OSError) else type(problem).__name__})"
    )
