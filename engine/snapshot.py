"""Snapshots: everything a session remembers but its pictures, as bytes that another process or machine goes on from.

A session that is restored makes the same Motion and the same voice, bit for bit, as the one that was never stopped; its
first picture is painted on nothing. The bytes are a header, then a safetensors file: arrays by the place in
`SessionState` that they are from, and JSON for numbers and words. Nothing in them is ever run.
"""

from __future__ import annotations

import json
import math
import struct
import types
import typing
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from engine.clock import frame_pts
from engine.session import Controls, Session

Scalar = str | int | float | bool | None

MAGIC: Final = b"VVSNAP\r\n"  # a transfer that changes line ends is noticed
VERSION: Final = 1
HEADER: Final = struct.Struct("<8sHxxI")  # magic, version, CRC-32 of all that follows
LONGEST: Final = 4 << 20  # bytes; a session with two seconds of voice waiting takes an eighth
PAINTED: Final = "render"  # the field of SessionState that stays behind
PHILOX: Final = {"counter": 4, "key": 2, "buffer": 4}  # uint64 of a random stream


class SnapshotError(ValueError):
    """These bytes are no snapshot that this session can go on from; the session is as it was."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is in the bytes. ``pts``: when the next frame begins; ``about``: what whoever took it had to say."""

    pts: int
    about: dict[str, Scalar]
    values: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def take(session: Session, about: Mapping[str, Scalar] | None = None) -> bytes:
    """The session between two frames, some 90 kB; on the thread that steps it, of which it takes a quarter of a
    millisecond. ``about`` comes back with it."""
    held = _held(session)
    if held is not None:
        held.fetch(session)
    values: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {"inbox": session.inbox.peek(session.inbox.available)}
    kind: Any = type(session.state)
    for name in _names(kind):
        if name != PAINTED:
            _put(f"state.{name}", getattr(session.state, name), values, arrays)
    _put("controls", session.controls, values, arrays)
    text = json.dumps({"pts": _pts(session), "about": dict(about or {}), "print": _print(session), "values": values})
    body = save(arrays, {"snapshot": text})
    return HEADER.pack(MAGIC, VERSION, zlib.crc32(body)) + body


def read(data: bytes) -> Snapshot:
    """What is in a snapshot, without a session to put it in. Raises SnapshotError."""
    return _read(data)[0]


def restore(session: Session, data: bytes) -> Snapshot:
    """Has ``session`` go on from where the snapshot was taken: the same configuration, any avatar, any picture size.

    Call it before the session's thread begins. Raises SnapshotError, and changes nothing, when that cannot be.
    """
    snapshot, made_by = _read(data)
    here = _print(session)
    for name, value in here.items():
        if made_by.get(name) != value:
            was = str(made_by.get(name))[:40]
            raise SnapshotError(f"the snapshot is of an engine with {name} {was}, and this one has {value}")
    taken = _Taken(snapshot)
    kind: Any = type(session.state)
    state = {
        name: taken.get(f"state.{name}", getattr(session.state, name), _hints(kind)[name])
        for name in _names(kind) if name != PAINTED
    }  # fmt: skip
    controls: Controls = taken.get("controls", session.controls, Controls)
    waiting = taken.waiting(session.inbox.free + session.inbox.available)
    taken.finish()
    if state["heard"] < 0 or state["painted"] < 0 or snapshot.pts != frame_pts(state["heard"] - here["lookahead"]):
        raise SnapshotError("the snapshot does not say what time it is of")
    session.state = kind(**state, **{PAINTED: session.parts.renderer.initial_state()})
    session.control(controls)
    session.inbox.skip(session.inbox.available)
    session.inbox.write(waiting)
    held = _held(session)
    if held is not None:
        held.store(session)
    session.cut()
    return snapshot


def _pts(session: Session) -> int:
    return frame_pts(session.state.heard - session.parts.lookahead)


def _print(session: Session) -> dict[str, Any]:
    """What two engines must have in common for one to go on where the other stopped."""
    performer = type(session.parts.actor.performer).__name__.removesuffix("Performer").lower()
    return {"lookahead": session.parts.lookahead, "performer": performer}


def _read(data: bytes) -> tuple[Snapshot, dict[str, Any]]:
    if len(data) < HEADER.size or len(data) > LONGEST:
        raise SnapshotError(f"a snapshot is {HEADER.size} to {LONGEST} bytes, got {len(data)}")
    magic, version, crc = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise SnapshotError("these bytes are no snapshot of a session")
    if version != VERSION:
        raise SnapshotError(f"the snapshot is of version {version}, this engine reads version {VERSION}")
    body = bytes(data[HEADER.size :])
    if zlib.crc32(body) != crc:
        raise SnapshotError("the snapshot is damaged: it was cut short or changed on its way")
    try:
        arrays = load(body)
        size = int.from_bytes(body[:8], "little")
        found = json.loads(json.loads(body[8 : 8 + size])["__metadata__"]["snapshot"])
        pts, about, values, made_by = (found[name] for name in ("pts", "about", "values", "print"))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise SnapshotError(f"the snapshot cannot be read: {str(problem)[:120]}") from None
    kinds = (pts, int), (about, dict), (values, dict), (made_by, dict)
    if any(not isinstance(thing, kind) for thing, kind in kinds):
        raise SnapshotError("the snapshot cannot be read: it is not laid out as one")
    return Snapshot(pts, about, values, arrays), made_by


def _put(path: str, thing: Any, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Writes ``thing``, and what is in it, by its path."""
    if isinstance(thing, np.ndarray):
        arrays[path] = np.ascontiguousarray(thing)
    elif is_dataclass(thing):
        kind: Any = type(thing)
        for name in _names(kind):
            _put(f"{path}.{name}", getattr(thing, name), values, arrays)
    elif isinstance(thing, np.random.Generator):
        stream: dict[str, Any] = dict(thing.bit_generator.state)
        assert stream["bit_generator"] == "Philox", f"{path} draws from {stream['bit_generator']}"
        inner = stream["state"]
        arrays[path] = np.concatenate([inner["counter"], inner["key"], stream["buffer"]])
        values[path] = [int(stream[name]) for name in ("buffer_pos", "has_uint32", "uinteger")]
    else:
        values[path] = _plain(thing)


def _plain(value: Any) -> Any:
    """A number, a word, nothing, or a tuple of such, as JSON knows it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


class _Taken:
    """A snapshot that is being read: every value is asked for once, and each must be what the session has there."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._values, self._arrays = dict(snapshot.values), dict(snapshot.arrays)

    def get(self, path: str, now: Any, hint: Any) -> Any:
        """What is at ``path``, where the session has ``now`` and its class says ``hint``."""
        if isinstance(now, np.ndarray):
            return self._array(path, now)
        if isinstance(now, np.random.Generator):
            return self._stream(path)
        if is_dataclass(now):
            kind: Any = type(now)
            made, hints = {}, _hints(kind)
            for name in _names(kind):
                made[name] = self.get(f"{path}.{name}", getattr(now, name), hints[name])
            try:
                return kind(**made)
            except ValueError as problem:
                raise SnapshotError(f"the snapshot has no {path}: {problem}") from None
        value = _tuples(self._pop(self._values, path))
        if not _fits(value, hint):
            raise SnapshotError(f"the snapshot's {path} cannot be {str(value)[:40]!r}")
        return value

    def waiting(self, most: int) -> NDArray[np.float32]:
        """The voice that was not heard yet."""
        samples = self._pop(self._arrays, "inbox")
        if samples.dtype != np.float32 or samples.ndim != 1 or len(samples) > most or not np.isfinite(samples).all():
            raise SnapshotError("the snapshot's voice that waits is none")
        return np.clip(samples, np.float32(-1.0), np.float32(1.0))

    def finish(self) -> None:
        """Raises SnapshotError when something was not asked for."""
        left = [*self._values, *self._arrays]
        if left:
            raise SnapshotError(f"the snapshot is of another engine: it has a {left[0][:60]}")

    def _array(self, path: str, now: NDArray[Any]) -> NDArray[Any]:
        array = self._pop(self._arrays, path)
        free = path.endswith("vad.pending")  # holds what does not fill a chunk, of any length below one
        shape = (*array.shape[:1], now.shape[1]) if free and array.ndim == 2 and array.shape[1] < 512 else array.shape
        if array.dtype != now.dtype or shape != now.shape:
            found = f"{array.shape} {array.dtype}"
            raise SnapshotError(f"the snapshot's {path} is {found[:60]}, and here it is {now.shape} {now.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise SnapshotError(f"the snapshot's {path} is not finite")
        return array.copy()  # what is read from a file is not to be written to

    def _stream(self, path: str) -> np.random.Generator:
        words, rest = self._pop(self._arrays, path), self._pop(self._values, path)
        whole = isinstance(rest, list) and len(rest) == 3 and all(type(number) is int for number in rest)
        if words.dtype != np.uint64 or words.shape != (sum(PHILOX.values()),) or not whole:
            raise SnapshotError(f"the snapshot's {path} is no random stream")
        place, has, spare = rest
        if not (0 <= place <= PHILOX["buffer"] and has in (0, 1) and 0 <= spare < 2**32):
            raise SnapshotError(f"the snapshot's {path} is no random stream")
        counter, key, buffer = np.split(words, np.cumsum(tuple(PHILOX.values()))[:-1])
        philox = np.random.Philox(0)
        philox.state = {
            "bit_generator": "Philox", "state": {"counter": counter, "key": key}, "buffer": buffer,
            "buffer_pos": place, "has_uint32": has, "uinteger": spare,
        }  # fmt: skip
        return np.random.Generator(philox)

    def _pop(self, things: dict[str, Any], path: str) -> Any:
        if path not in things:
            raise SnapshotError(f"the snapshot is of another engine: it has no {path}")
        return things.pop(path)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def _fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is what a field that says ``hint`` holds."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inside)
    if origin is tuple:
        if not isinstance(value, tuple) or (inside[-1] is not ... and len(value) != len(inside)):
            return False
        return all(_fits(one, inside[0] if inside[-1] is ... else inside[i]) for i, one in enumerate(value))
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint is int:
        return type(value) is int and abs(value) < 2**63
    return type(value) is (type(None) if hint is None else hint)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    """The fields of a dataclass."""
    return tuple(field.name for field in fields(kind))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """What each of them holds."""
    return typing.get_type_hints(kind)


@dataclass(frozen=True, slots=True)
class _Held:
    """What a session on a GPU remembers there: arrays of its seat, by the attribute of the state that is its twin."""

    seat: Any

    def fetch(self, session: Session) -> None:
        """Reads them into the session's state; waits for the GPU."""
        memory = self.seat.recall()
        for name, twin in self._twins(session):
            twin[...] = memory[name].reshape(twin.shape)

    def store(self, session: Session) -> None:
        """The other way round."""
        self.seat.remember(dict(self._twins(session)))

    def _twins(self, session: Session) -> Iterator[tuple[str, NDArray[np.float32]]]:
        state, performer = session.state, session.state.actor.performer
        yield "tail", state.logmel.tail
        yield "lips", state.lips.memory
        for name, field in (("performer", "memory"), ("before", "before"), ("made", "made")):
            if hasattr(performer, field):
                yield name, getattr(performer, field)


def _held(session: Session) -> _Held | None:
    seat = getattr(session.parts.renderer, "seat", None)
    return None if seat is None else _Held(seat)
