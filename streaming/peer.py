"""One browser (or other WebRTC client) at a Live: its connection, what it says, and what it is shown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

from streaming import ice, protocol, signalling
from streaming.config import ServerConfig, StreamConfig
from streaming.control import Control
from streaming.live import EngineFailure, Live, Voice
from streaming.mictrack import MicReader
from streaming.quality import LIMITS, Quality
from streaming.sender import MediaSender
from streaming.tracks import OutFrame, OutQueue, VideoTrack, VoiceTrack

log = logging.getLogger(__name__)
WATCH_S: Final = 0.1  # how often a peer looks whether its client is still there
STALLED_S: Final = 1.0  # a look that comes later than this was held up with everything else, the page's words too
STAMPS_AT_ONCE: Final = 5  # frames whose stamps share one message
NARROW: Final = 400_000  # bit/s of video below which only one of them is told of


class Over(RuntimeError):
    """The session ended while a connection to it was being made."""


class Peer:
    """Lives from the offer to ``close``, on the event loop. An Outlet of its Live.

    ``steers``: its microphone is the voice, its messages are obeyed, and the Live ends with it. Otherwise it only
    watches. ``alpha``: it is shown pictures with their transparency (alpha.py).
    """

    def __init__(
        self,
        live: Live,
        server: ServerConfig,
        stream: StreamConfig,
        on_closed: Callable[[Peer], None] = lambda peer: None,
        *,
        steers: bool = True,
        alpha: bool = False,
    ) -> None:
        self.id = live.id if steers else secrets.token_urlsafe(12)
        self.live = live
        self.steers = steers
        self.alpha = alpha
        self._server, self._stream, self._on_closed = server, stream, on_closed
        self._loop = asyncio.get_running_loop()
        self._born = time.monotonic()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=ice.own_servers(server, time.time())))
        self._control = Control(self._obey)
        self._queue = OutQueue(origin=live.edge)
        self._video, self._voice = VideoTrack(self._queue, self._frame_sent), VoiceTrack(self._queue)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stamps: list[dict[str, Any]] = []
        self._has_voice = False
        self._blind = False  # it asked for no picture
        self._ending: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()  # no offer is being answered
        self._idle.set()

    async def answer(self, offer: str) -> str:
        """Answers ``offer``. Raises OfferError, EngineFailure when the session failed over it, or Over; closed then."""
        self._connection.on("track", self._track)
        self._connection.on("datachannel", self._channel)
        self._connection.on("connectionstatechange", self._state_changed)
        self._idle.clear()
        self.live.add(self)
        self._spawn(self._watch())
        try:
            try:
                answer = await signalling.answer(
                    self._connection, offer, self._video, self._voice, self._stream.codec, both=self.steers
                )
            finally:
                self._idle.set()
            if self._ending is not None:
                raise Over("the session has ended")
            self._blind = all(sender.track is not self._video for sender in self._connection.getSenders())
            return answer
        except BaseException as problem:
            await self.close("the offer could not be answered")
            if self.live.failure is not None:
                raise EngineFailure(str(self.live.failure)) from problem
            raise

    @property
    def connection(self) -> RTCPeerConnection:
        """The connection, for figures."""
        return self._connection

    @property
    def queue(self) -> OutQueue:
        """What waits to be sent."""
        return self._queue

    # What comes in: tracks, time, messages.

    def _track(self, track: MediaStreamTrack) -> None:
        use = self.steers and track.kind == "audio" and not self._has_voice
        self._has_voice = self._has_voice or use
        self._spawn(self._consume(track, use))

    async def _consume(self, track: MediaStreamTrack, use: bool) -> None:
        """Every inbound track is read to its end; the first audio track is the voice."""
        reader = MicReader()
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if not use or not self.steers or not isinstance(frame, AudioFrame):
                    continue
                for position, samples in reader.read(frame):
                    self.live.hear(position, samples)

    async def _watch(self) -> None:
        """A page that fell silent or never connected is let go; a stall of the server is not held against it."""
        looked, heard, silent = time.monotonic(), self._control.heard, 0.0
        while True:
            await asyncio.sleep(WATCH_S)
            now = time.monotonic()
            passed, looked = min(now - looked, STALLED_S), now
            silent = silent + passed if heard == self._control.heard and heard is not None else 0.0
            heard = self._control.heard
            if silent > self._stream.heartbeat_s:
                self.end("no heartbeat")
            connected = self._connection.connectionState == "connected"
            if not connected and now - self._born > self._server.connect_timeout_s:
                self.end("not connected in time")

    def _channel(self, channel: RTCDataChannel) -> None:
        if self._control.attach(channel) and channel.label == "control":
            self.live.forget(self._tell)
            self.live.listen(self._tell)

    def _tell(self, message: str) -> None:
        self._control.send("control", message)

    def _obey(self, message: protocol.Message, label: str) -> None:
        match message:
            case protocol.Ping(sent):
                self._control.send(label, protocol.encode("pong", t=sent, server=time.monotonic() * 1e3))
            case protocol.Hello(client):
                log.info("session %s: client %s", self.live.id, client)
            case protocol.Bye():
                self.end("the page said bye")
            case protocol.SetQuality(quality):
                self.choose(quality)
            case _ if self.steers:
                self.live.obey(message)
            case _:
                problem = protocol.ProtocolError("refused", "a viewer of somebody else's session only watches")
                self._control.send(label, protocol.error(problem))

    # What goes out.

    def choose(self, quality: Quality) -> None:
        """From now on the picture is at most this; the transparency below it does not count."""
        if self.alpha and quality.height is not None:
            quality = replace(quality, height=min(2 * quality.height, int(LIMITS["height"][1])))
        for sender in self._connection.getSenders():
            if sender.kind == "video" and isinstance(sender, MediaSender):
                sender.choose(quality)

    def frame(self, frame: OutFrame) -> None:
        """A frame for the video track."""
        self._queue.delay = self.live.lookahead
        if self._blind:
            self._queue.mark_sent(frame.pts)  # the voice goes on all the same
            return
        picture = frame.stacked if self.alpha else frame.i420
        if picture is not None:  # the first ones may have been painted before anybody wanted their transparency
            self._queue.put(replace(frame, i420=picture, stamps=dict(frame.stamps)))  # each connection adds its own

    def voice(self, voice: Voice) -> None:
        """Voice for the audio track."""
        self._queue.put_voice(voice)

    def ended(self, why: str) -> None:
        """The Live is over."""
        self.end(why)

    def _frame_sent(self, frame: OutFrame) -> None:
        for sender in self._connection.getSenders():
            if sender.kind == "audio" and isinstance(sender, MediaSender):
                frame.stamps["voice_rtp"] = sender.rtp_time(frame.pts)
        self.live.sent(frame, self._queue)
        self._stamps.append({k: round(v, 2) if isinstance(v, float) else v for k, v in frame.stamps.items()})
        if len(self._stamps) < STAMPS_AT_ONCE:
            return
        video = [s for s in self._connection.getSenders() if s.kind == "video" and isinstance(s, MediaSender)]
        rate = sum(sender.sent_rate for sender in video)
        if video and video[0].target_rate < NARROW:  # stamps of every frame take 70 kbit/s
            del self._stamps[:-1]
        counts = {"skipped": self._queue.skipped, "dropped_ms": round(self.live.worker.dropped_ms)}
        self._control.send("pose", protocol.encode("stamps", frames=self._stamps, rate=round(rate), **counts))
        self._stamps = []

    # The end.

    def _state_changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self.end(f"connection {self._connection.connectionState}")

    def step_down(self) -> None:
        """From now on it only watches: another one steers, and the Live outlasts it."""
        self.steers = False

    def end(self, why: str) -> None:
        """Begins to close."""
        if self._ending is None:
            self._ending = self._loop.create_task(self._close(why))

    async def close(self, why: str) -> None:
        """Ends the connection, and the Live with it when this peer steers. A second call waits too."""
        self.end(why)
        assert self._ending is not None
        await asyncio.shield(self._ending)

    async def _close(self, why: str) -> None:
        if not self.steers:
            log.info("viewer %s of session %s ends: %s", self.id, self.live.id, why)
            self._control.send("control", protocol.encode("bye", reason=why))
        self.live.remove(self)
        if self.steers:
            self.live.end(why)
        self._video.stop()
        self._voice.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._idle.wait()  # a connection that is closed while it looks for its addresses leaves sockets behind
        try:
            await self._connection.close()
        except Exception:  # its place is free all the same
            log.exception("session %s: its connection", self.live.id)
        self.live.forget(self._tell)
        self._control.close()
        if self.steers:
            await self.live.close(why)
        self._on_closed(self)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("session %s", self.live.id, exc_info=problem)
            self.end("the server failed on this session; its log says why")
