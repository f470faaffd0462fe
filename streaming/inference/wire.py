"""What the two processes say to each other: short messages over one socket, in order, and nobody waits to say one.

A message is a kind, the number of a session, fields as JSON and raw bytes; memory travels as descriptors. Both ends are
ours, so what cannot be read is a bug, and ends the connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

VERSION: Final = 1  # of the messages: both sides say theirs first
HEAD: Final = struct.Struct("<BxHIII")  # kind, descriptors, session, bytes of JSON, bytes after it
MOST: Final = 64 << 20  # bytes of a message
CHUNK: Final = 1 << 18  # bytes asked for at once
BUFFER: Final = 1 << 20  # bytes that the system is asked to hold for the other side
QUEUE: Final = 4 << 20  # bytes that may wait here beyond that
SPARE: Final = 8  # of which a part this small may be taken by what can be done without
DESCRIPTORS: Final = 8  # of one message, at most


class Kind(IntEnum):
    """What a message is about. First the media process's words, then the inference process's."""

    HELLO = 1
    OPEN = 2
    PUSH = 3
    LOOK = 4
    BEHAVE = 5
    INTERRUPT = 6
    TELL = 7
    CHANGE = 8
    SEE_THROUGH = 9
    STOP = 10
    ASK = 11
    FRAME = 20
    OPENED = 21
    REFUSED = 22
    DIED = 23
    ENDED = 24
    ROOM = 25
    SNAPSHOT = 26
    ANSWER = 27


class WireError(RuntimeError):
    """The other side says what this side cannot understand."""


@dataclass(slots=True)
class Message:
    """One message that came. ``blob`` is its own to keep and to write to."""

    kind: int
    session: int
    fields: dict[str, Any]
    blob: bytearray
    descriptors: list[int] = field(default_factory=list)


class Wire:
    """One end of the connection. ``send`` may be called from any thread and never waits; ``messages`` by one thread.

    What the system does not take waits here, up to ``QUEUE`` bytes. Beyond that nothing more is taken: what can be done
    without is left out and counted, and anything else ends the connection, for the other side has been stuck too long.
    """

    def __init__(self, link: socket.socket, queue: int = QUEUE) -> None:
        self._socket, self._most = link, queue
        link.setblocking(True)
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._change = threading.Condition()
        self._waiting: deque[tuple[bytes | memoryview, tuple[int, ...]]] = deque()
        self._bytes = 0  # of them
        self._closed = False
        self._writer: threading.Thread | None = None
        self.left_out = 0  # messages that could be done without, and were
        self.stuck = False  # it ended because the other side takes nothing any more

    def send(
        self, kind: Kind, session: int = 0, fields: dict[str, Any] | None = None, blob: bytes | memoryview = b"",
        descriptors: Sequence[int] = (), *, needed: bool = True,
    ) -> bool:  # fmt: skip
        """Says something; False when it was left out (not ``needed``), or nobody is there any more."""
        text = json.dumps(fields, separators=(",", ":")).encode() if fields else b""
        data = b"".join((HEAD.pack(kind, len(descriptors), session, len(text), len(blob)), text, blob))
        with self._change:
            if self._closed:
                return False
            if self._waiting and self._bytes + len(data) > (self._most if needed else self._most // SPARE):
                self.left_out += 1
                if needed:
                    self.stuck = True
                    self._close()
                return False
            if self._waiting:
                return self._keep(data, tuple(map(os.dup, descriptors)))
            return self._try(data, tuple(descriptors))

    def _try(self, data: bytes, descriptors: tuple[int, ...]) -> bool:
        """Gives it to the system at once, as far as that takes it."""
        sent = self._give(data, descriptors)
        if sent == 0:
            return self._keep(data, tuple(map(os.dup, descriptors)))
        return sent == len(data) or (sent > 0 and self._keep(memoryview(data)[sent:], ()))

    def _give(self, data: bytes | memoryview, descriptors: tuple[int, ...]) -> int:
        """Bytes that the system took, 0 when it is full, -1 when the other side is gone."""
        try:
            if descriptors:
                return socket.send_fds(self._socket, [data], descriptors, socket.MSG_DONTWAIT)
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            self._close()
            return -1

    def _keep(self, data: bytes | memoryview, descriptors: tuple[int, ...]) -> bool:
        self._waiting.append((data, descriptors))
        self._bytes += len(data)
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="wire", daemon=True)
            self._writer.start()
        self._change.notify()
        return True

    def _write(self) -> None:
        """Sends what waits as the system takes it."""
        room = select.poll()
        room.register(self._socket, select.POLLOUT)
        while True:
            with self._change:
                while not self._waiting and not self._closed:
                    self._change.wait()
                if self._closed:
                    return
            room.poll(1000)
            with self._change:
                while self._waiting and self._send_first():
                    pass

    def _send_first(self) -> bool:
        """Sends the first of what waits; False when it, or the rest of it, has to wait on."""
        data, descriptors = self._waiting[0]
        sent = self._give(data, descriptors)
        if sent <= 0:
            return False
        _let_go(descriptors)
        self._bytes -= sent
        if sent < len(data):
            self._waiting[0] = (memoryview(data)[sent:], ())
            return False
        self._waiting.popleft()
        return True

    def messages(self) -> Iterator[Message]:
        """What comes, until the other side is gone. Raises WireError for what is no message."""
        kept, came = bytearray(), deque[int]()
        try:
            while True:
                try:
                    data, descriptors, *_ = socket.recv_fds(self._socket, CHUNK, DESCRIPTORS)
                except OSError:
                    return
                came.extend(descriptors)
                if not data:
                    return
                kept += data
                at = 0
                while (message := _read(kept, at, came)) is not None:
                    at += HEAD.size + message[0]
                    yield message[1]
                del kept[:at]
        finally:
            _let_go(tuple(came))
            with self._change:
                self._close()
                self._socket.close()

    def close(self) -> None:
        """Ends it, for both sides; what waits is not sent any more."""
        with self._change:
            self._close()

    def give_up(self) -> None:
        """Ends it because the other side says nothing any more."""
        self.stuck = True
        self.close()

    @property
    def closed(self) -> bool:
        """Whether nothing can be said any more."""
        return self._closed

    def _close(self) -> None:
        self._closed = True
        self._bytes = 0
        for _, descriptors in self._waiting:
            _let_go(descriptors)
        self._waiting.clear()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever reads, and that one lets the socket go
        self._change.notify_all()


def _read(kept: bytearray, at: int, came: deque[int]) -> tuple[int, Message] | None:
    """The message at ``at``, with its length after the head; None while it is not all there."""
    if len(kept) - at < HEAD.size:
        return None
    kind, descriptors, session, json_bytes, blob_bytes = HEAD.unpack_from(kept, at)
    length = json_bytes + blob_bytes
    if length > MOST or descriptors > DESCRIPTORS:
        raise WireError(f"a message of {length} bytes and {descriptors} descriptors")
    start = at + HEAD.size
    if len(kept) - start < length:
        return None
    if len(came) < descriptors:
        raise WireError(f"{descriptors} descriptors were promised, {len(came)} came")
    text = kept[start : start + json_bytes]
    fields = json.loads(text) if text else {}
    own = [came.popleft() for _ in range(descriptors)]
    return length, Message(kind, session, fields, kept[start + json_bytes : start + length], own)


def _let_go(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
