"""A client for agents: opens a session or joins one, speaks through its avatar, and hears what becomes of it.

    async with await connect("http://localhost:8765", session=None) as agent:  # None: a session of its own
        async with agent.speak(text="Hello.", emotion="happy") as segment:
            async for pcm in synthesizer:  # bytes of int16, 24 kHz
                await segment.write(pcm)  # waits while enough is on its way
        async for event in agent:  # {"type": "speech.finished", ...}; bytes: the viewer's voice after agent.listen()
            ...

Nothing is connected again by itself: when the line is gone, ``Gone`` says why, and ``connect`` may be called again,
with ``resume=agent.session`` to go on with the same session.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final

import aiohttp

AHEAD_MS: Final = 5_000.0  # speech on its way and waiting on the server beyond which ``write`` waits
PIECE: Final = 64 * 1024  # bytes of one message
KEPT: Final = 4096  # events that wait to be read; the oldest go
Event = dict[str, Any]


class Gone(ConnectionError):
    """The line to the server is closed; the message says why."""


class Refused(RuntimeError):
    """The server refused: ``code`` for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Segment:
    """One stretch of speech, open between ``async with`` and its end."""

    def __init__(self, agent: Agent, fields: dict[str, Any]) -> None:
        self.id = str(fields["id"])
        self._agent, self._fields = agent, fields
        self._bytes_per_ms = 2 * fields["channels"] * fields["rate"] / 1000
        self._end: asyncio.Future[Event] | None = None

    async def write(self, pcm: bytes) -> None:
        """Little-endian int16, any number of bytes; waits while AHEAD_MS are on their way. After an interruption
        nothing happens. Raises Refused, Gone."""
        assert self._end is not None, "a segment is begun by: async with agent.speak(...) as segment"
        for start in range(0, len(pcm), PIECE):
            if self._end.done():
                self._end.result()
                return
            await self._agent.send_sound(pcm[start : start + PIECE], self._bytes_per_ms, self._end)

    async def finished(self) -> Event:
        """Waits until it was heard or interrupted: {"position": seconds, "interrupted": bool, ...}. Raises Refused,
        Gone."""
        assert self._end is not None, "a segment is begun by: async with agent.speak(...) as segment"
        return await asyncio.shield(self._end)

    async def __aenter__(self) -> Segment:
        self._end = await self._agent.begin(self._fields)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self._agent.send("speech.end")
        else:
            with contextlib.suppress(Gone):
                await self._agent.send("speech.end")


class Agent:
    """One connection as an agent; made by ``connect``. Iterating gives what the server says."""

    def __init__(self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self.session = session
        self._http, self._socket = http, socket
        self._events: asyncio.Queue[Event | bytes | None] = asyncio.Queue(KEPT)
        self._ends: dict[str, asyncio.Future[Event]] = {}  # of the segments that are not over
        self._numbers = itertools.count(1)
        self._sent = self._received = 0  # bytes of sound, by us and by the server
        self._queued_ms = 0.0
        self._moved = asyncio.Event()
        self._why = ""  # it is over; as the server or the line said it
        self._reading = asyncio.ensure_future(self._read())

    # What to do.

    def speak(
        self,
        *,
        rate: int = 24_000,
        channels: int = 1,
        text: str = "",
        emotion: str | None = None,
        intensity: float | None = None,
        id: str | None = None,
    ) -> Segment:
        """The next segment of speech: ``async with agent.speak(...) as segment``."""
        given = {"text": text or None, "emotion": emotion, "intensity": intensity}
        fields = {name: value for name, value in given.items() if value is not None}
        return Segment(self, {"id": id or str(next(self._numbers)), "rate": rate, "channels": channels, **fields})

    async def interrupt(self) -> None:
        """The mouth shuts at once, and nothing of what waits is said."""
        await self.send("interrupt")

    async def state(self, name: str) -> None:
        """What the avatar is at: idle, listening, thinking or speaking."""
        await self.send("state", name=name)

    async def listen(self, on: bool = True) -> None:
        """Whether the viewer's voice comes along with the events: bytes of int16, 16 kHz."""
        await self.send("listen", on=on)

    async def send(self, kind: str, **fields: Any) -> None:
        """Any message of docs/protocol.md. Raises Gone."""
        self._check()
        try:
            await self._socket.send_str(json.dumps({"v": 1, "type": kind, **fields}))
        except ConnectionError:
            self._check()
            raise Gone("the line broke") from None

    async def begin(self, fields: Event) -> asyncio.Future[Event]:
        """Opens a segment, and returns what will be its end; ``speak`` does."""
        end: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        end.add_done_callback(lambda end: end.exception())  # nobody may be waiting for it
        self._ends[fields["id"]] = end
        await self.send("speech.begin", **fields)
        return end

    async def send_sound(self, pcm: bytes, bytes_per_ms: float, end: asyncio.Future[Event]) -> None:
        """More of the segment that ends with ``end``; ``Segment.write`` does."""
        while (self._sent - self._received) / bytes_per_ms + self._queued_ms > AHEAD_MS and not end.done():
            self._check()
            self._moved.clear()
            await self._moved.wait()
        self._check()
        self._sent += len(pcm)
        try:
            await self._socket.send_bytes(pcm)
        except ConnectionError:
            raise Gone(self._why or "the line broke") from None

    def _check(self) -> None:
        if self._why or self._socket.closed:
            raise Gone(self._why or "the line is closed")

    # What comes.

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._note(json.loads(message.data))
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self._keep(message.data)
        except (ValueError, LookupError, TypeError) as problem:  # nobody is to wait for what is not read any more
            self._why = f"the server says what this client does not understand ({type(problem).__name__}: {problem})"
        self._why = self._why or f"the line was closed ({self._socket.close_code})"
        for id in tuple(self._ends):
            self._settle(id, Gone(self._why))
        self._moved.set()
        self._keep(None)

    def _note(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "speech.queued":
                self._queued_ms, self._received = event["queued_ms"], event["received"]
            case "speech.finished":
                self._settle(event["id"], event)
            case "error" if event["about"] == "speech.begin" and self._ends:
                self._settle(event.get("id", next(reversed(self._ends))), Refused(event["code"], event["message"]))
            case "bye":
                self._why = event["reason"] or "the server said bye"
        self._moved.set()
        self._keep(event)

    def _settle(self, id: str, end: Event | Exception) -> None:
        waiting = self._ends.pop(id, None)
        if waiting is not None and not waiting.done():
            if isinstance(end, Exception):
                waiting.set_exception(end)
            else:
                waiting.set_result(end)

    def _keep(self, event: Event | bytes | None) -> None:
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(event)

    async def __aiter__(self) -> AsyncIterator[Event | bytes]:
        while (event := await self._events.get()) is not None:
            yield event
        self._keep(None)  # for whoever asks again

    # The end.

    async def close(self) -> None:
        """Leaves; what waits is not said."""
        await self._socket.close()
        await self._reading
        await self._http.close()

    async def __aenter__(self) -> Agent:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def open_session(url: str, token: str = "", *, resume: str | None = None, **options: Any) -> str:
    """Opens a session without a viewer, and returns its id: ``avatar``, ``framing``, ``seed``. ``resume``: the id of
    one that was lost, to go on with; a new one begins where that cannot be. Raises Refused, Gone."""
    options = {**options, "resume": resume}
    body = {"type": "agent", **{name: value for name, value in options.items() if value is not None}}
    return str((await ask(url, "POST", "v1/sessions", token, body))["id"])


async def newest_session(url: str, token: str = "") -> str | None:
    """The session that was opened last, if there is one and the server tells. Raises Refused, Gone."""
    found = (await ask(url, "GET", "v1/sessions", token))["sessions"]
    return str(found[-1]["id"]) if found else None


async def connect(
    url: str,
    session: str | None = None,
    *,
    token: str = "",
    takeover: bool = False,
    resume: str | None = None,
    **options: Any,
) -> Agent:
    """Joins ``session`` of the server at ``url`` as its agent, or opens one with ``options``, or goes on with the one
    called ``resume`` after its line or its process was lost. Raises Refused, Gone."""
    session = session or await open_session(url, token, resume=resume, **options)
    http = aiohttp.ClientSession(headers=_headers(token))
    where = f"{_base(url)}v1/sessions/{session}/agent{'?takeover=1' * takeover}"
    try:
        socket = await http.ws_connect(where, protocols=("visavis.v1",), heartbeat=10.0, max_msg_size=2**20)
    except aiohttp.WSServerHandshakeError as problem:
        await http.close()
        words = {401: "this server asks for its token", 404: "there is no such session"}
        raise Refused(str(problem.status), words.get(problem.status, problem.message)) from None
    except (aiohttp.ClientError, OSError) as problem:
        await http.close()
        raise Gone(f"cannot reach {_base(url)}: {_reason(problem)}") from None
    except BaseException:  # cancelled
        await http.close()
        raise
    return Agent(http, socket, session)


async def ask(url: str, method: str, path: str, token: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON that the server answers. Raises Refused with its words, and Gone when it cannot be reached."""
    try:
        async with (
            aiohttp.ClientSession(headers=_headers(token)) as http,
            http.request(method, _base(url) + path, json=body) as answer,
        ):
            said = await answer.json(content_type=None) if answer.status != 204 else None
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        raise Gone(f"cannot reach {_base(url)}: {_reason(problem)}") from None
    if answer.status >= 400:
        problem_said = said.get("error", {}) if isinstance(said, dict) else {}
        raise Refused(problem_said.get("code", "http"), problem_said.get("message", f"status {answer.status}"))
    return said


def _base(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise Gone(f'"{url}" is no address of a server: it begins with http:// or https://')
    return url.split("#")[0].rstrip("/") + "/"


def _reason(problem: Exception) -> str:
    """Without the words that are for programmers."""
    if isinstance(problem, aiohttp.ClientConnectorError):
        return f"{problem.os_error.strerror or problem.os_error}; is visavis serve running there?"
    return str(problem) or type(problem).__name__


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
