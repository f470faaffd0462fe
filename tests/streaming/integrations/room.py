"""LiveKit rooms without a server: what real agents, receivers and runners use of them, between two participants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

from livekit import rtc


class Hall:
    """Where rooms meet: everybody who is connected sees the others."""

    def __init__(self, name: str = "hall") -> None:
        self.name = name
        self.rooms: dict[str, FakeRoom] = {}
        self.calls: list[tuple[str, str, str]] = []  # caller, method, payload of RPCs
        self.subscribed = asyncio.Event()  # whether somebody watches
        self.subscribed.set()


class Participant:
    """As the others, or itself, see it."""

    def __init__(self, hall: Hall, identity: str, kind: int) -> None:
        self._hall, self.identity, self.kind = hall, identity, kind
        self.state = rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE
        self.attributes: dict[str, str] = {}
        self.track_publications: dict[str, Any] = {}
        self.tracks: dict[str, Any] = {}  # by their names
        self._rpc_handlers: dict[str, Callable[[rtc.RpcInvocationData], Any]] = {}

    def register_rpc_method(self, name: str, handler: Callable[[rtc.RpcInvocationData], Any]) -> None:
        self._rpc_handlers[name] = handler

    async def perform_rpc(self, *, destination_identity: str, method: str, payload: str) -> str:
        self._hall.calls.append((self.identity, method, payload))
        await asyncio.sleep(0)
        room = self._hall.rooms.get(destination_identity)
        if room is None or method not in room.local_participant._rpc_handlers:
            raise rtc.RpcError(rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD, "nobody answers")
        data = rtc.RpcInvocationData("1", self.identity, payload, 10.0)
        return str(room.local_participant._rpc_handlers[method](data))

    def unregister_rpc_method(self, name: str) -> None:
        self._rpc_handlers.pop(name, None)

    async def set_attributes(self, attributes: dict[str, str]) -> None:
        self.attributes.update(attributes)
        for room in self._hall.rooms.values():
            room.emit("participant_attributes_changed", attributes, self)

    async def publish_track(self, track: Any, options: rtc.TrackPublishOptions) -> Any:
        async def watched() -> None:
            await self._hall.subscribed.wait()

        publication = SimpleNamespace(
            sid=track.name, kind=track.kind, wait_for_subscription=watched, source=options.source
        )
        self.track_publications[publication.sid], self.tracks[track.name] = publication, track
        for identity, room in self._hall.rooms.items():
            if identity == self.identity:
                room.emit("local_track_published", publication, track)
            else:
                room.emit("track_published", publication, self)
        return publication

    async def stream_bytes(
        self, *, name: str, topic: str, destination_identities: list[str], attributes: dict[str, str]
    ) -> Writer:
        readers = []
        for identity in destination_identities:
            reader = Reader(name, attributes)
            self._hall.rooms[identity].byte_handlers[topic](reader, self.identity)
            readers.append(reader)
        return Writer(readers)


class Reader:
    """The receiving end of a byte stream."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.info = SimpleNamespace(stream_id=name, attributes=attributes)
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.pieces.get()
        if piece is None:
            raise StopAsyncIteration
        return piece


class Writer:
    """The sending end."""

    def __init__(self, readers: list[Reader]) -> None:
        self._readers = readers

    async def write(self, data: bytes) -> None:
        for reader in self._readers:
            for at in range(0, len(data), 15_000):  # LiveKit's chunks
                reader.pieces.put_nowait(data[at : at + 15_000])
        await asyncio.sleep(0)

    async def aclose(self) -> None:
        for reader in self._readers:
            reader.pieces.put_nowait(None)


class FakeRoom(rtc.EventEmitter[str]):
    """One participant's view of a Hall."""

    def __init__(self, hall: Hall, identity: str = "agent", *, agent: bool = True, connected: bool = True) -> None:
        super().__init__()
        kinds = rtc.ParticipantKind
        kind = kinds.PARTICIPANT_KIND_AGENT if agent else kinds.PARTICIPANT_KIND_STANDARD
        self._hall, self.name = hall, hall.name
        self.local_participant = Participant(hall, identity, kind)
        self.byte_handlers: dict[str, Callable[[Any, str], None]] = {}
        self.token = ""
        if connected:
            self.enter()

    @property
    def remote_participants(self) -> dict[str, Participant]:
        own = self.local_participant.identity
        return {name: room.local_participant for name, room in self._hall.rooms.items() if name != own}

    def isconnected(self) -> bool:
        return self._hall.rooms.get(self.local_participant.identity) is self

    def enter(self) -> None:
        for other in self._hall.rooms.values():
            other.emit("participant_active", self.local_participant)
        self._hall.rooms[self.local_participant.identity] = self
        self.emit("connection_state_changed", rtc.ConnectionState.CONN_CONNECTED)

    async def connect(self, url: str, token: str) -> None:
        if "refused" in url:
            raise rtc.ConnectError("the server refused")
        self.token = token
        self.enter()

    async def disconnect(self) -> None:
        if self._hall.rooms.pop(self.local_participant.identity, None) is not None:
            self.emit("disconnected", "asked to")
            for other in self._hall.rooms.values():
                other.emit("participant_disconnected", self.local_participant)

    def register_byte_stream_handler(self, topic: str, handler: Callable[[Any, str], None]) -> None:
        self.byte_handlers[topic] = handler

    def register_text_stream_handler(self, topic: str, handler: Callable[[Any, str], None]) -> None:
        pass

    def unregister_text_stream_handler(self, topic: str) -> None:
        pass

    def unregister_byte_stream_handler(self, topic: str) -> None:
        self.byte_handlers.pop(topic, None)
