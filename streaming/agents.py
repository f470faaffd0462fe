"""Agents over a WebSocket: whoever has a voice, anywhere, speaks through an avatar (docs/agents.md).

``GET /v1/sessions/{id}/agent``: text messages are those of docs/protocol.md, binary messages are PCM of the open
segment; the other way go events and, if wanted, what the viewer says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Final

from aiohttp import WSMsgType, web

from engine.audio.vad import Vad
from streaming import protocol
from streaming.config import AgentsConfig
from streaming.control import Allowance
from streaming.ears import Ears
from streaming.guard import Refusal
from streaming.hub import Hub
from streaming.live import Live, Voice, Watcher
from streaming.protocol import ProtocolError
from streaming.speech import Event, Speech, SpeechError, Started

log = logging.getLogger(__name__)
SUBPROTOCOL: Final = "visavis.v1"
PING_S: Final = 10.0  # an agent that has not answered a ping after half as much is gone
LARGEST: Final = 512 * 1024  # bytes of a message
WAITING: Final = 512  # messages on their way to an agent, beyond which it is too slow for us
PACE: Final = 1000.0  # messages a second that are read; what comes faster waits on the line
PACE_BYTES: Final = 4096  # a message counts once more for each so many bytes
REPORT_S: Final = 0.2  # how often an agent is told what waits
CLOSE_S: Final = 2.0  # an agent that does not take its leave in so long is cut off
CODES: Final = {"no_session": 4404, "agent_there": 4409, "draining": 1001}  # why a socket is closed
ENDED: Final = 1000


class Agents(Watcher):
    """The route of agents. One at a session; a second one is refused, unless it asks to take over."""

    def __init__(self, hub: Hub, config: AgentsConfig) -> None:
        self._hub, self._config = hub, config
        self._there: dict[str, Agent] = {}
        self._vad: Vad | None = None
        hub.watchers.append(self)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [web.get("/v1/sessions/{id}/agent", self._join)]

    async def _join(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), heartbeat=PING_S, max_msg_size=LARGEST, timeout=CLOSE_S, compress=False
        )
        if not socket.can_prepare(request):
            raise Refusal(400, "no_websocket", "an agent connects with a WebSocket: docs/agents.md")
        take_over = request.query.get("takeover", "").lower() in ("1", "true")
        await socket.prepare(request)
        try:  # from here on in the socket's own words: a page cannot read the answer to a handshake
            live = self._hub.get(request.match_info["id"])
            self._make_room(live, take_over)
        except Refusal as refusal:
            with contextlib.suppress(ConnectionError):
                await socket.send_str(protocol.error(ProtocolError(refusal.code, refusal.message, "agent")))
                await socket.close(code=CODES.get(refusal.code, 1011), message=refusal.code.encode())
            return socket
        agent = Agent(live, socket, request, self)
        self._there[live.id] = agent
        try:
            await agent.run(self._config.max_queue_s)
        finally:
            if self._there.get(live.id) is agent:
                del self._there[live.id]
        return socket

    def _make_room(self, live: Live, take_over: bool) -> None:
        there = self._there.get(live.id)
        if there is None and live.source is None:
            return
        if there is None or not take_over:
            how = "" if there is None else "; add ?takeover=1 to take its place"
            raise Refusal(409, "agent_there", f"somebody speaks through this session already{how}")
        there.end("another agent took over", CODES["agent_there"])

    async def vad(self) -> Vad:
        """What tells a voice from noise; one for all, for all run on the event loop."""
        if self._vad is None:
            self._vad = await asyncio.get_running_loop().run_in_executor(None, Vad)
        return self._vad

    def closed(self, live: Live, why: str) -> None:
        """The session is over, and its agent with it."""
        if (agent := self._there.get(live.id)) is not None:
            agent.end(why, tell=False)  # the session has said bye itself


class Agent:
    """One agent at its session, from ``run`` to its end."""

    def __init__(self, live: Live, socket: web.WebSocketResponse, request: web.Request, agents: Agents) -> None:
        self._live, self._socket, self._request, self._agents = live, socket, request, agents
        self._speech: Speech | None = None
        self._ears: Ears | None = None
        self._out: asyncio.Queue[str | bytes | None] = asyncio.Queue(WAITING + 2)  # None: the last
        self._parting = (ENDED, "")
        self._over = False
        self._reported: tuple[int, int] = (0, 0)
        self._received = 0  # bytes of sound that came, whatever became of them
        self._viewer = False  # as last told: whether the viewer speaks

    async def run(self, max_queue_s: float) -> None:
        """Speaks for the agent until one of the two sides leaves."""
        self._speech = speech = Speech(self._live, self._event, max_queue_s)
        self._live.speak(speech)
        self._live.listen(self._tell)
        log.info("session %s: an agent speaks", self._live.id)
        tasks = [asyncio.ensure_future(self._write()), asyncio.ensure_future(self._report())]
        try:
            await self._read(speech)
        finally:
            self._leave()
            self._out.put_nowait(None)
            tasks[1].cancel()
            await asyncio.wait(tasks, timeout=2 * CLOSE_S)
            tasks[0].cancel()
            log.info("session %s: its agent is gone: %s", self._live.id, self._parting[1] or "it left")

    def end(self, why: str, code: int = ENDED, tell: bool = True) -> None:
        """Takes the agent's voice away at once, and begins to close its socket."""
        if not self._over:
            self._parting = (code, why)
            self._leave(protocol.encode("bye", reason=why) if tell else "")
            with contextlib.suppress(asyncio.QueueFull):
                self._out.put_nowait(None)

    def _leave(self, bye: str = "") -> None:
        """The microphone is the voice again, and nothing of the agent stays."""
        if self._over:
            return
        assert self._speech is not None
        self._speech.close()
        if bye:
            self._put(bye)
        self._over = True
        self._live.forget(self._tell)
        if self._live.source is self._speech:
            self._live.overhear(None)
            self._live.speak(None)
            if not self._live.closing:
                self._live.obey(protocol.SetState("idle"))

    # What comes in.

    async def _read(self, speech: Speech) -> None:
        """Reads at a bounded pace: what comes faster waits on the line, and nothing else waits for it."""
        allowance = Allowance(PACE, time.monotonic())
        while not self._over:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            while (wait := allowance.take(1.0 + len(message.data) / PACE_BYTES, time.monotonic())) > 0.0:
                await asyncio.sleep(wait)
            if self._over:
                return
            try:
                if message.type is WSMsgType.BINARY:
                    self._received += len(message.data)
                    speech.push(message.data)
                else:
                    await self._obey(protocol.parse(message.data, agent=True), speech)
            except SpeechError as problem:
                self._tell(protocol.error(ProtocolError(problem.code, str(problem), "speech")))
            except ProtocolError as problem:
                self._tell(protocol.error(problem))
            await asyncio.sleep(0)  # what is there already must not keep the others from their turn

    async def _obey(self, message: protocol.Message, speech: Speech) -> None:
        match message:
            case protocol.SpeechBegin():
                self._begin(message, speech)
            case protocol.SpeechEnd():
                speech.end()
            case protocol.Listen(on):
                self._ears = Ears(await self._agents.vad()) if on else None
                if not self._over:
                    self._live.overhear(self._overhear if on else None)
            case protocol.Ping(sent):
                self._tell(protocol.encode("pong", t=sent, server=time.monotonic() * 1e3))
            case protocol.Hello(client):
                log.info("session %s: agent %s", self._live.id, client)
            case protocol.Bye():
                self.end("")
            case _:
                self._live.obey(message)

    def _begin(self, wish: protocol.SpeechBegin, speech: Speech) -> None:
        try:
            speech.begin(
                wish.id, wish.rate, wish.channels, text=wish.text, emotion=wish.emotion, intensity=wish.intensity
            )
        except SpeechError as problem:
            about = {"about": "speech.begin", "id": wish.id}
            self._tell(protocol.encode("error", code=problem.code, message=str(problem), **about))

    # What goes out.

    def _event(self, event: Event) -> None:
        if isinstance(event, Started):
            self._tell(protocol.encode("speech.started", id=event.id, pts=event.pts))
        else:
            self._tell(
                protocol.encode(
                    "speech.finished",
                    id=event.id,
                    position=round(event.position, 4),
                    interrupted=event.interrupted,
                    pts=event.pts,
                )  # fmt: skip
            )

    def _overhear(self, samples: Voice) -> None:
        """The viewer's microphone."""
        if self._ears is not None and (pcm := self._ears.hear(samples, time.monotonic())):
            self._put(pcm)
            self._tell_viewer()

    def _tell_viewer(self) -> None:
        speaking = self._ears is not None and self._ears.speaking
        if speaking != self._viewer:
            self._viewer = speaking
            self._tell(protocol.encode("viewer", speaking=speaking))

    async def _report(self) -> None:
        """Tells what waits, whenever that has changed."""
        assert self._speech is not None
        while True:
            await asyncio.sleep(REPORT_S)
            queued, received = round(self._speech.queued_ms), self._received
            if (queued, received) != self._reported:
                self._reported = (queued, received)
                free = round(self._speech.free_ms)
                self._tell(protocol.encode("speech.queued", queued_ms=queued, free_ms=free, received=received))
            if self._ears is not None:
                self._ears.wait(time.monotonic())
            self._tell_viewer()

    def _tell(self, message: str) -> None:
        self._put(message)

    def _put(self, message: str | bytes) -> None:
        if self._over:
            return
        if self._out.qsize() < WAITING:
            self._out.put_nowait(message)
            return
        self._leave()  # it does not read: nobody waits for it
        self._parting = (1008, f"it left {WAITING} messages unread")
        self._cut()

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while (message := await self._out.get()) is not None:
                if isinstance(message, bytes):
                    await self._socket.send_bytes(message)
                else:
                    await self._socket.send_str(message)
            code, why = self._parting
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._socket.close(code=code, message=why.encode()[:120])
            except TimeoutError:
                self._cut()

    def _cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
