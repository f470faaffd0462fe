"""LiveKit: a worker that shows avatars in rooms, one for each agent that asks (livekit.RemoteAvatarSession).

An agent posts to /launch what lets the worker into its room; the avatar speaks for it there until it leaves. Whoever
knows the secret can have this machine connect anywhere: keep the port where only your agents reach it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any, Final, cast
from urllib.parse import urlsplit

from aiohttp import web

from engine.engine import Engine
from streaming.integrations.livekit import show_state
from streaming.integrations.livekit_runner import perform
from streaming.integrations.player import Player, playing

try:
    from livekit import rtc
    from livekit.agents.types import ATTRIBUTE_AGENT_STATE
    from livekit.agents.voice.avatar import DataStreamAudioReceiver
except ImportError as problem:
    raise ImportError(f"{problem}; LiveKit needs its extra: pip install 'visavis[livekit]'") from problem

log = logging.getLogger(__name__)
COME_S: Final = 60.0  # an agent that is not in its room after this does not come
RECEIVE_MS: Final = 20  # of speech at a time from the agent; LiveKit's own 100 would come 80 later
BODY: Final = 16_384  # bytes of a request
FIELDS: Final = ("url", "token", "agent", "avatar")


class Worker:
    """``routes`` for an aiohttp application; ``close`` ends all that runs. ``make_room`` is for tests."""

    def __init__(
        self,
        engine: Engine,
        secret: str,
        max_rooms: int = 4,
        make_room: Callable[[], rtc.Room] = rtc.Room,
    ) -> None:
        if len(secret) < 16:
            raise ValueError("the worker's secret must have at least 16 characters")
        self._engine, self._secret, self._max_rooms, self._make_room = engine, secret, max_rooms, make_room
        self._rooms: set[asyncio.Task[None]] = set()

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [web.post("/launch", self._launch), web.get("/health", self._health)]

    async def close(self) -> None:
        """Leaves all rooms."""
        for task in self._rooms:
            task.cancel()
        await asyncio.gather(*self._rooms, return_exceptions=True)

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"rooms": len(self._rooms), "most": self._max_rooms})

    async def _launch(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._secret}".encode()):
            return _refuse(401, "this worker asks for its secret: Authorization: Bearer ...")
        if (request.content_length or 0) > BODY:
            return _refuse(413, f"a request has at most {BODY} bytes")
        try:
            fields = read(await request.read())
            if fields["avatar"]:  # an id alone: nobody may name a folder of this machine
                await asyncio.get_running_loop().run_in_executor(None, self._engine.meta, fields["avatar"])
        except ValueError as problem:
            return _refuse(400, str(problem))
        if len(self._rooms) >= self._max_rooms:
            return _refuse(503, f"all {self._max_rooms} rooms of this worker are taken")
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._show(fields, ready))
        self._rooms.add(task)
        task.add_done_callback(self._left)
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            why = "the worker ends" if task.cancelled() else str(task.exception())
            return _refuse(502, f"the avatar could not join: {why[:300]}")
        return web.json_response({"rooms": len(self._rooms)}, status=201)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._rooms.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("an avatar left its room: %s", problem)

    async def _show(self, fields: dict[str, str], ready: asyncio.Future[None]) -> None:
        async with AsyncExitStack() as stack:
            player = await stack.enter_async_context(playing(Player(self._engine, avatar=fields["avatar"])))
            room = self._make_room()
            await room.connect(fields["url"], fields["token"])
            stack.push_async_callback(room.disconnect)
            ready.set_result(None)
            await serve_room(room, player, fields["agent"])


def read(body: bytes) -> dict[str, str]:
    """The fields of a request. Raises ValueError that names what is wrong."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body must be JSON") from None
    if not isinstance(fields, dict) or set(fields) != set(FIELDS):
        raise ValueError(f"the body must be an object with: {', '.join(FIELDS)}")
    for name, value in fields.items():
        if not isinstance(value, str) or (not value and name != "avatar"):
            raise ValueError(f'"{name}" must be a text and not be empty')
    if urlsplit(fields["url"]).scheme not in ("ws", "wss", "http", "https"):
        raise ValueError('"url" must be the address of a LiveKit server: wss://...')
    return fields


def _refuse(status: int, why: str) -> web.Response:
    return web.json_response({"error": {"message": why}}, status=status)


class Counting:
    """A room that counts the streams its handlers get from ``agent``: each is a segment of speech, also one that is
    dropped before the receiver gives anything of it."""

    def __init__(self, room: rtc.Room, agent: str) -> None:
        self._room, self._agent = room, agent
        self.begun = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._room, name)

    def register_byte_stream_handler(self, topic: str, handler: Callable[[rtc.ByteStreamReader, str], None]) -> None:
        """As the room does."""

        def count(reader: rtc.ByteStreamReader, sender: str) -> None:
            self.begun += sender == self._agent
            handler(reader, sender)

        self._room.register_byte_stream_handler(topic, count)


async def serve_room(room: rtc.Room, player: Player, agent: str) -> None:
    """``player``, started, speaks for participant ``agent`` until that, or the room, is gone."""
    gone = asyncio.Event()

    def left(participant: rtc.RemoteParticipant) -> None:
        if participant.identity == agent:
            gone.set()

    def changed(attributes: dict[str, str], participant: rtc.Participant) -> None:
        if participant.identity == agent:
            show_state(player, attributes.get(ATTRIBUTE_AGENT_STATE))

    def lost(*_: Any) -> None:
        gone.set()

    room.on("participant_disconnected", left)
    room.on("participant_attributes_changed", changed)
    room.on("disconnected", lost)
    counting = Counting(room, agent)
    voice = DataStreamAudioReceiver(cast(rtc.Room, counting), sender_identity=agent, frame_size_ms=RECEIVE_MS)
    runner = perform(room, player, voice, lambda: counting.begun)
    starting = asyncio.ensure_future(runner.start())  # returns when the agent is there
    waiting = asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait({starting, waiting}, timeout=COME_S, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await waiting
    finally:
        for task in (starting, waiting):
            task.cancel()
        room.off("participant_disconnected", left)
        room.off("participant_attributes_changed", changed)
        room.off("disconnected", lost)
        await runner.aclose()
