"""The inference process: an engine that is warm, and the sessions of whoever is connected. Nothing else runs here."""

from __future__ import annotations

import contextvars
import gc
import logging
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Final, cast

import numpy as np

from engine import snapshot
from engine.avatar import AvatarError
from engine.clock import VOICE_FRAME, VOICE_RATE
from engine.engine import Engine
from engine.render.composite import Backdrop
from engine.session import Session
from engine.sharedring import SharedFrameRing
from engine.viewpoint import Viewpoint
from streaming.child import Orders
from streaming.inference.wire import VERSION, Kind, Message, Wire, WireError
from streaming.logs import SESSION
from streaming.past import Past
from streaming.tracks import OutFrame
from streaming.worker import OPENERS, SessionWorker

log = logging.getLogger(__name__)
ROOM_S: Final = 0.1  # how often the other side is told what is left
JOIN_S: Final = 5.0
SWITCH_S: Final = 0.001  # a painting thread gives whoever reads the wire its turn after so long


def paint(make: Callable[[], Engine], listener: int, folder: str, orders: Orders) -> None:
    """Work of the process: ``make``s its engine, and serves one connection after the other on ``listener``. ``folder``
    goes with the parent, however that ends."""
    sys.setswitchinterval(SWITCH_S)
    orders.at_end.append(lambda: shutil.rmtree(folder, ignore_errors=True))
    orders.listen(lambda word: os._exit(0))
    engine = make()
    engine.warm_up()
    engine.warm_up_company()
    gc.collect()
    gc.freeze()  # looking through what numba and the models leave would stop every thread for 0.2 s
    door = socket.socket(fileno=listener)
    orders.listen(lambda word: leave(engine))
    orders.tell("ready")
    while True:
        link, _ = door.accept()
        Desk(engine, Wire(link)).serve()


def leave(engine: Engine) -> None:
    """Ends the process, on any word: what there was to wait for, the media process has waited for."""
    engine.close()
    os._exit(0)


class Desk:
    """One connection: who is at it has sessions here, which end with it."""

    def __init__(self, engine: Engine, wire: Wire) -> None:
        self._engine, self._wire = engine, wire
        self._seats: dict[int, Seat] = {}
        self._gone = threading.Event()

    def serve(self) -> None:
        """Does what is asked, until whoever asks is gone."""
        size = self._engine.config.render.height, self._engine.config.render.width
        self._wire.send(Kind.HELLO, 0, {"version": VERSION, "pid": os.getpid(), "size": size})
        threading.Thread(target=self._tell_room, name="room", daemon=True).start()
        try:
            for message in self._wire.messages():
                self._do(message)
        except WireError:
            log.exception("the media process")
        finally:
            self._gone.set()
            for seat in self._seats.values():
                seat.worker.stop()
            for seat in self._seats.values():
                seat.end()

    def _tell_room(self) -> None:
        while not self._gone.is_set():
            self._wire.send(Kind.ROOM, 0, asdict(self._engine.room()), needed=False)
            self._gone.wait(ROOM_S)

    def _do(self, message: Message) -> None:
        if message.kind == Kind.OPEN:
            self._open(message)
            return
        if message.kind == Kind.ASK:
            OPENERS.submit(self._answer, message.session, message.fields)
            return
        if message.kind == Kind.HELLO:
            if message.fields["version"] != VERSION:
                raise WireError(f"it speaks version {message.fields['version']}, this process speaks {VERSION}")
            return
        seat = self._seats.get(message.session)
        if seat is None:
            return  # it has ended meanwhile
        if message.kind == Kind.STOP:
            del self._seats[message.session]
            threading.Thread(target=seat.end, name="end", daemon=True).start()
        else:
            seat.do(message)

    def _open(self, message: Message) -> None:
        """A new session, or one that goes on here; its lines of log belong to it."""
        ring = SharedFrameRing.of(message.descriptors[0])
        context = contextvars.copy_context()
        context.run(SESSION.set, message.fields["id"])
        self._seats[message.session] = context.run(Seat, self._engine, self._wire, ring, message)

    def _answer(self, number: int, question: dict[str, Any]) -> None:
        """Does what takes long, and is no session's."""
        problem = ""
        try:
            match question["what"]:
                case "avatar":
                    self._engine.avatar(question["name"])
                case "hide":
                    self._engine.hide(question["folder"])
                case "forget":
                    self._engine.forget(question["name"])
        except (AvatarError, OSError) as reason:
            problem = str(reason)
        except Exception as reason:  # the edge of the thread: whoever asked must hear of it
            log.exception("asked for %s", question["what"])
            problem = f"the engine failed: {reason}"
        self._wire.send(Kind.ANSWER, number, {"problem": problem})


class _Shared:
    """The engine as a SessionWorker sees it here: what it opens is painted into memory that the other side sees."""

    def __init__(self, engine: Engine, ring: SharedFrameRing) -> None:
        self._engine, self._ring = engine, ring

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open(self, *about: Any, **more: Any) -> Session:
        """As Engine.open."""
        session = self._engine.open(*about, **more)
        session.frames = self._ring
        return session


class Seat:
    """One session and its thread; what that says goes over the wire."""

    def __init__(self, engine: Engine, wire: Wire, ring: SharedFrameRing, message: Message) -> None:
        about = message.fields
        self._wire, self._ring, self._number = wire, ring, message.session
        shared, resumed = cast(Engine, _Shared(engine, ring)), bytes(message.blob)
        self._expected: int = about["at"]  # 48 kHz: where what comes next should begin
        past = self._past(about, resumed)
        self.worker = SessionWorker(
            shared, about["avatar"], about["framing"], about["seed"], self, marker=about["marker"],
            max_backlog_ms=about["max_backlog_ms"], keeps=about["keeps"], resumed=resumed if past.taken else b"",
        )  # fmt: skip
        self._expected += -(self._expected - past.taken) % VOICE_FRAME  # it goes on at a boundary of its frames
        if self._expected:
            self.worker.go_on(past, self._expected - past.taken)
        self.worker.start()

    def _past(self, about: dict[str, Any], resumed: bytes) -> Past:
        """That of a session which was painted elsewhere; one that has no snapshot begins anew, at its media time."""
        none = Past(about["avatar"], about["framing"], about["seed"], interrupts=about["interrupts"])
        try:
            return replace(Past.of(resumed), interrupts=about["interrupts"]) if resumed else none
        except snapshot.SnapshotError as problem:
            log.warning("the session begins anew: %s", problem)
            return none

    def do(self, message: Message) -> None:
        """What is asked of the session."""
        about, worker = message.fields, self.worker
        match message.kind:
            case Kind.PUSH:
                self._push(np.frombuffer(message.blob, np.float32), about)
            case Kind.LOOK:
                worker.look(Viewpoint(*about["view"]), about["seq"])
            case Kind.BEHAVE:
                worker.behave({name: _tuples(value) for name, value in about.items()})
            case Kind.INTERRUPT:
                worker.interrupt(about["announced"])
            case Kind.TELL:
                worker.tell(about["text"], about["hint"])
            case Kind.CHANGE:
                worker.change(about["about"], about["avatar"], about["framing"], backdrop_of(about, message.blob))
            case Kind.SEE_THROUGH:
                worker.see_through(about["on"])

    def end(self) -> None:
        """Ends the session, and says so."""
        self.worker.stop()
        self.worker.join(JOIN_S)
        self._wire.send(Kind.ENDED, self._number)
        self._ring.close()

    def _push(self, voice: np.ndarray, about: dict[str, Any]) -> None:
        """Voice that never came is silence, which the worker then leaves out: media time goes on."""
        missing, early = max(about["at"] - self._expected, 0), max(self._expected - about["at"], 0)
        self._expected = max(self._expected, about["at"] + len(voice))
        for start in range(0, missing, VOICE_RATE):
            self.worker.push(np.zeros(min(missing - start, VOICE_RATE), np.float32))
        self.worker.push(voice[early:], about["resumes"], about["arrived"])

    # The worker's words, on its thread.

    def frame(self, frame: OutFrame) -> None:
        """A frame is painted: where it is, and the voice that belongs to it."""
        number = self._ring.publish(frame.i420, frame.stacked)
        worker = self.worker
        about = {
            "number": number, "pts": frame.pts, "interrupts": frame.interrupts, "stamps": frame.stamps,
            "stacked": frame.stacked is not None,
            "counts": [worker.waiting, worker.dropped_ms, worker.clamped],
        }  # fmt: skip
        voice = b"" if frame.voice is None else np.ascontiguousarray(frame.voice, np.float32).data.cast("B")
        self._wire.send(Kind.FRAME, self._number, about, voice, needed=False)

    def kept(self, data: bytes) -> None:
        """What the session could go on from, should this process end now."""
        self._wire.send(Kind.SNAPSHOT, self._number, {}, data, needed=False)

    def opened(self, avatar: str, framing: str, view: Viewpoint) -> None:
        """It wears an avatar."""
        look = [view.yaw, view.pitch, view.distance, view.pan_x, view.pan_y]
        about = {"avatar": avatar, "framing": framing, "view": look, "lookahead": self.worker.lookahead}
        self._wire.send(Kind.OPENED, self._number, about)

    def refused(self, about: str, problem: Exception) -> None:
        """A change could not be made."""
        self._wire.send(Kind.REFUSED, self._number, {"about": about, "problem": str(problem)[:500]})

    def died(self, problem: Exception) -> None:
        """It cannot go on."""
        self._wire.send(Kind.DIED, self._number, {"problem": str(problem)[:500]})


def backdrop_of(about: dict[str, Any], picture: bytearray) -> Backdrop | None:
    """What was asked to be behind the avatar; None when nothing was."""
    told = about["backdrop"]
    if told is None:
        return None
    if not told["shape"]:
        return Backdrop(told["kind"], _tuples(told["colour"]))
    return Backdrop(told["kind"], _tuples(told["colour"]), np.frombuffer(picture, np.uint8).reshape(told["shape"]))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
