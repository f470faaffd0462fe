"""Whose a snapshot is: who opened the session, written in front of it, so that nobody else goes on with it."""

from __future__ import annotations

import json
import struct
from typing import Final

from engine.snapshot import SnapshotError
from streaming.tokens import Asker

HEAD: Final = struct.Struct("<4sH")  # what this is, and how long the owner's name is
MARK: Final = b"VVO1"
LONGEST: Final = 1024  # bytes of an owner


def sign(owner: Asker | None, data: bytes) -> bytes:
    """``data`` with its owner: the name and the id of the token that opened the session, never the token."""
    told = json.dumps(None if owner is None else [owner.name, owner.id]).encode()
    return HEAD.pack(MARK, len(told)) + told + data


def read(signed: bytes) -> tuple[Asker | None, bytes]:
    """(owner, what was signed). Raises SnapshotError."""
    try:
        mark, length = HEAD.unpack_from(signed)
        told = json.loads(signed[HEAD.size : HEAD.size + length])
    except (struct.error, ValueError) as problem:
        raise SnapshotError("this is no snapshot of a session's") from problem
    if mark != MARK or length > LONGEST:
        raise SnapshotError("this is no snapshot of a session's")
    if told is None:
        return None, signed[HEAD.size + length :]
    if not isinstance(told, list) or len(told) != 2 or not all(isinstance(word, str) for word in told):
        raise SnapshotError("the snapshot does not say whose it is")
    return Asker(name=told[0], id=told[1], scopes=frozenset()), signed[HEAD.size + length :]
