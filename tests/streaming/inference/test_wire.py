"""What two processes say to each other: all of it, in order, whoever is slow; and never at the cost of who speaks."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from streaming.inference.wire import BUFFER, HEAD, Kind, Message, Wire, WireError


def pair(queue: int = 1 << 22) -> tuple[Wire, Wire]:
    here, there = socket.socketpair()
    return Wire(here, queue), Wire(there, queue)


def test_messages_come_as_they_were_said() -> None:
    here, there = pair()
    said = [({}, b""), ({"a": [1, 2.5, None], "ü": "ß"}, b"\x00\xff"), ({}, b"x" * 300_000), ({"b": True}, b"")]
    got: list[Message] = []
    reader = threading.Thread(target=lambda: got.extend(there.messages()))
    reader.start()
    for number, (fields, blob) in enumerate(said):
        assert here.send(Kind.PUSH, number, fields, blob)
    while len(got) < len(said):
        reader.join(0.01)
    here.close()
    reader.join(5)
    assert [(m.kind, m.session, m.fields, bytes(m.blob)) for m in got] == [
        (Kind.PUSH, number, fields, blob) for number, (fields, blob) in enumerate(said)
    ]
    got[1].blob[0] = 5  # it is the reader's own


def test_any_pieces_make_the_same_messages() -> None:
    here, there = socket.socketpair()
    data = b"".join(HEAD.pack(Kind.LOOK, 0, n, 2, 3) + b"{}" + bytes([n] * 3) for n in range(5))
    wire, got = Wire(there), []
    reader = threading.Thread(target=lambda: got.extend(wire.messages()))
    reader.start()
    for byte in data:
        here.send(bytes([byte]))
    here.close()
    reader.join(5)
    assert [(m.session, bytes(m.blob)) for m in got] == [(n, bytes([n] * 3)) for n in range(5)]


def test_descriptors_come_with_their_message_also_when_it_had_to_wait() -> None:
    here, there = pair(queue=1 << 24)
    for _ in range(20):  # more than the system takes
        here.send(Kind.PUSH, 0, {}, b"x" * (BUFFER // 8))
    r, w = os.pipe()
    assert here.send(Kind.OPEN, 7, {"id": "a"}, descriptors=[w])
    os.close(w)
    found = next(m for m in there.messages() if m.kind == Kind.OPEN)
    assert found.session == 7
    os.write(found.descriptors[0], b"through")
    assert os.read(r, 10) == b"through"
    for descriptor in (r, *found.descriptors):
        os.close(descriptor)


def test_nobody_waits_for_a_reader_that_is_stuck() -> None:
    here, there = pair(queue=1 << 16)
    taken = sum(here.send(Kind.FRAME, 0, {}, b"x" * 8192, needed=False) for _ in range(2000))  # returns
    assert here.left_out == 2000 - taken > 0 and not here.closed
    reader = there.messages()
    for _ in range(taken):
        assert len(next(reader).blob) == 8192  # what was taken comes whole
    assert here.send(Kind.FRAME, 1, {}, b"after", needed=False)
    assert bytes(next(reader).blob) == b"after"


def test_what_is_needed_ends_the_connection_when_it_cannot_be_said() -> None:
    here, there = pair(queue=1 << 16)
    while here.send(Kind.BEHAVE, 0, {}, b"x" * 8192):
        pass
    assert here.closed and here.stuck
    assert not here.send(Kind.STOP)
    assert all(message.kind == Kind.BEHAVE for message in there.messages())  # and it ends


def test_the_end_of_one_side_ends_the_other() -> None:
    here, there = pair()
    here.send(Kind.STOP, 3)
    here.close()
    assert [message.session for message in there.messages()] == [3]
    assert there.closed and not there.send(Kind.STOP)


def test_nonsense_is_refused() -> None:
    here, there = socket.socketpair()
    here.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    with pytest.raises(WireError, match="bytes"):
        list(Wire(there).messages())
