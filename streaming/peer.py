"""One viewer: a WebRTC connection, the thread that paints for it, and what they say to each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

from engine.audio.gate import gate
from engine.engine import Engine
from engine.viewpoint import Viewpoint
from streaming import protocol, signalling
from streaming.config import ServerConfig, StreamConfig
from streaming.control import Control
from streaming.micclock import MicClock
from streaming.mictrack import MicReader
from streaming.protocol import ProtocolError
from streaming.sender import MediaSender
from streaming.tracks import OutFrame, OutQueue, VideoTrack, VoiceTrack
from streaming.worker import SessionWorker

log = logging.getLogger(__name__)
TICK_S: Final = 0.02
STAMPS_AT_ONCE: Final = 5  # frames whose stamps share one message
JOIN_S: Final = 5.0


class EngineFailure(RuntimeError):
    """The engine could not open, or go on with, a session."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a client may choose when it opens a session."""

    avatar: str
    framing: str
    seed: int
    marker: bool = False


class Peer:
    """Lives from the offer to ``close``. On the event loop, except where a method says otherwise."""

    def __init__(
        self,
        engine: Engine,
        options: Options,
        server: ServerConfig,
        stream: StreamConfig,
        on_closed: Callable[[Peer], None],
    ) -> None:
        self.id = secrets.token_urlsafe(12)
        self.options = options
        self._server, self._stream, self._on_closed = server, stream, on_closed
        self._loop = asyncio.get_running_loop()
        self._born = time.monotonic()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=signalling.ice_servers(server)))
        self._control = Control(self._obey)
        self._queue = OutQueue()
        self._video, self._voice = VideoTrack(self._queue, self._frame_sent), VoiceTrack(self._queue)
        self._clock = MicClock(self._born, stream.mic_slack_ms / 1000)
        self._worker = SessionWorker(
            engine, options.avatar, options.framing, options.seed, self,
            marker=options.marker, max_backlog_ms=stream.max_backlog_ms,
        )  # fmt: skip
        self._tasks: set[asyncio.Task[None]] = set()
        self._stamps: list[dict[str, Any]] = []
        self._opened: tuple[str, str, Viewpoint] | None = None
        self._has_voice = self._muted = False
        self._hushed: int | None = None  # the interruption that cuts the voice that goes back
        self._open = True  # whether the last of it went back
        self._failure: Exception | None = None
        self._ending: asyncio.Task[None] | None = None
        self._closed: asyncio.Future[None] | None = None

    async def answer(self, offer: str) -> str:
        """Starts painting, and answers ``offer``. Raises OfferError or EngineFailure, the peer then being closed."""
        self._connection.on("track", self._track)
        self._connection.on("datachannel", self._channel)
        self._connection.on("connectionstatechange", self._state_changed)
        self._worker.start()
        self._spawn(self._keep_time())
        try:
            return await signalling.answer(self._connection, offer, self._video, self._voice, self._stream.codec)
        except BaseException as problem:
            await self.close("the offer could not be answered")
            if self._failure is not None:
                raise EngineFailure(str(self._failure)) from problem
            raise

    # What comes in: tracks, time, messages.

    def _track(self, track: MediaStreamTrack) -> None:
        use = track.kind == "audio" and not self._has_voice
        self._has_voice = self._has_voice or use
        self._spawn(self._consume(track, use))

    async def _consume(self, track: MediaStreamTrack, use: bool) -> None:
        """Every inbound track is read to its end; the first audio track is the voice."""
        reader = MicReader()
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if not use or not isinstance(frame, AudioFrame):
                    continue
                for position, samples in reader.read(frame):
                    self._push(self._clock.packet(position, samples * (not self._muted), time.monotonic()))

    async def _keep_time(self) -> None:
        """Media time goes on without a microphone; a page that fell silent or never connected is let go."""
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self._push(self._clock.tick(now))
            if self._control.heard is not None and now - self._control.heard > self._stream.heartbeat_s:
                self._end("no heartbeat")
            connected = self._connection.connectionState == "connected"
            if not connected and now - self._born > self._server.connect_timeout_s:
                self._end("not connected in time")

    def _push(self, voice: Any) -> None:
        if len(voice):
            is_open = self._hushed is None
            self._queue.put_voice(gate(voice, self._open, is_open))
            self._open = is_open
            self._worker.push(voice)

    def _interrupt(self) -> None:
        """The voice goes back as it comes in, so it is cut here, until a frame shows that new speech has begun."""
        self._hushed = self._worker.interrupt()

    def _painted(self, frame: OutFrame) -> None:
        if self._hushed == frame.interrupts and not frame.stamps["interrupted"]:
            self._hushed = None
        self._queue.put(frame)

    def _channel(self, channel: RTCDataChannel) -> None:
        if self._control.attach(channel) and channel.label == "control":
            self._say_hello()

    def _obey(self, message: protocol.Message, label: str) -> None:
        match message:
            case protocol.SetViewpoint(viewpoint, seq):
                self._worker.look(viewpoint, seq)
            case protocol.Ping(sent):
                self._control.send(label, protocol.encode("pong", t=sent, server=time.monotonic() * 1e3))
            case protocol.SetAvatar(name):
                self._worker.change("avatar", avatar=name)
            case protocol.SetFraming(name):
                self._worker.change("framing", framing=name)
            case protocol.SetBackground(backdrop):
                self._worker.change("background", backdrop=backdrop)
            case protocol.SetManner(_, changes):
                self._worker.behave(changes)
            case protocol.SetText(text):
                self._worker.tell(text)
            case protocol.Interrupt():
                self._interrupt()
            case protocol.Mute(on):
                self._muted = on
            case protocol.Bye():
                self._end("the page said bye")
            case protocol.Hello(client):
                log.info("session %s: client %s", self.id, client)

    # What goes out. The first four are called on the worker's thread and only hand over.

    def frame(self, frame: OutFrame) -> None:
        """A frame is painted."""
        self._hand_over(self._painted, frame)

    def opened(self, avatar: str, framing: str, view: Viewpoint) -> None:
        """The session wears ``avatar`` from the next frame on."""
        self._hand_over(self._note_opened, avatar, framing, view)

    def refused(self, about: str, problem: Exception) -> None:
        """A change could not be made; everything stays as it was."""
        reply = protocol.error(ProtocolError("refused", str(problem)[:500], about))
        self._hand_over(self._control.send, "control", reply)

    def died(self, problem: Exception) -> None:
        """The engine cannot go on with this session."""
        self._hand_over(self._note_failure, problem)

    def _hand_over(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(call, *arguments)

    def _note_opened(self, avatar: str, framing: str, view: Viewpoint) -> None:
        self._opened = (avatar, framing, view)
        self._queue.delay = self._worker.lookahead
        self._say_hello()

    def _note_failure(self, problem: Exception) -> None:
        self._failure = problem
        reply = ProtocolError("engine", f"the engine stopped: {str(problem)[:300]}", "session")
        self._control.send("control", protocol.error(reply))
        self._end("the engine stopped")

    def _say_hello(self) -> None:
        if self._opened is None:
            return
        avatar, framing, view = self._opened
        look = {"yaw": view.yaw, "pitch": view.pitch, "distance": view.distance, "pan": [view.pan_x, view.pan_y]}
        hello = protocol.encode("hello", session=self.id, avatar=avatar, framing=framing, viewpoint=look)
        self._control.send("control", hello)

    def _frame_sent(self, frame: OutFrame) -> None:
        for sender in self._connection.getSenders():
            if sender.kind == "audio" and isinstance(sender, MediaSender):
                frame.stamps["voice_rtp"] = sender.rtp_time(frame.pts)
        self._stamps.append({k: round(v, 2) if isinstance(v, float) else v for k, v in frame.stamps.items()})
        if len(self._stamps) < STAMPS_AT_ONCE:
            return
        rate = sum(getattr(s, "sent_rate", 0.0) for s in self._connection.getSenders() if s.kind == "video")
        counts = {"skipped": self._queue.skipped, "dropped_ms": round(self._worker.dropped_ms)}
        self._control.send("pose", protocol.encode("stamps", frames=self._stamps, rate=round(rate), **counts))
        self._stamps = []

    # The end.

    def _state_changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._end(f"connection {self._connection.connectionState}")

    def _end(self, why: str) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self.close(why))

    async def close(self, why: str) -> None:
        """Ends everything this peer started. A second call waits for the first."""
        if self._closed is not None:
            return await asyncio.shield(self._closed)
        self._closed = self._loop.create_future()
        log.info("session %s ends: %s", self.id, why)
        self._control.send("control", protocol.encode("bye", reason=why))
        self._worker.stop()
        self._video.stop()
        self._voice.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.close()
        self._control.close()
        if not await self._loop.run_in_executor(None, self._worker.join, JOIN_S):
            log.warning("session %s: its engine thread has not ended after %g s", self.id, JOIN_S)
        self._on_closed(self)
        self._closed.set_result(None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("session %s", self.id, exc_info=problem)
            self._end("the server failed on this session; its log says why")
