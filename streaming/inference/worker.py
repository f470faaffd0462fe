"""A session that is painted in the inference process, as `streaming.worker.SessionWorker` is one painted here."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.clock import VOICE_RATIO
from engine.render.composite import Backdrop
from engine.session import RING_SLOTS
from engine.sharedring import SharedFrameRing
from engine.viewpoint import Viewpoint
from streaming.inference.wire import Kind, Message, Wire
from streaming.logs import SESSION
from streaming.past import Listener, Past, Voice
from streaming.tracks import OutFrame

if TYPE_CHECKING:
    from streaming.inference.engine import RemoteEngine

log = logging.getLogger(__name__)
LIVES: Final = 3  # inference processes that may end one after the other while a session has shown nothing in between


class RemoteWorker:
    """The same words as SessionWorker's. What was asked for is remembered: when the inference process ends, the next
    one goes on with it from the last snapshot, on the same media time."""

    def __init__(
        self, engine: RemoteEngine, avatar: str, framing: str, seed: int, listener: Listener, *,
        marker: bool = False, max_backlog_ms: float = 240.0, keeps: bool = False, resumed: bytes = b"",
    ) -> None:  # fmt: skip
        self._engine, self._listener = engine, listener
        self._about: dict[str, Any] = {
            "id": SESSION.get(), "avatar": avatar, "framing": framing, "seed": seed, "marker": marker,
            "max_backlog_ms": max_backlog_ms, "keeps": True,
        }  # fmt: skip
        self._lock = threading.RLock()  # around what is asked for, in the order in which it is sent
        self._wire: Wire | None = None
        self.number = 0  # of the session, on this connection and all others
        self._ring = SharedFrameRing.create(RING_SLOTS, engine.config.render.height, engine.config.render.width)
        past = Past.of(resumed) if resumed else Past(avatar, framing, seed)
        self._edge = past.taken + past.left_out  # 48 kHz: where what is pushed next begins
        self._interrupts = past.interrupts
        self._view: dict[str, Any] | None = None
        self._manner: dict[str, Any] = {}
        self._backdrop: Backdrop | None = None
        self._clear = False
        self._keeps, self._kept = keeps, resumed  # the last snapshot
        self._over_to = 0  # interruptions that are known to be over
        self._shown = -1  # pts of the last frame
        self._barren = 0  # inference processes since then
        self._worn: tuple[str, str] | None = None
        self._coming: set[str] = set()  # changes that were asked for and not answered
        self._returning = False  # the next avatar that is put on was worn already
        self._begun = self._stopping = False
        self._over = threading.Event()
        self.overwritten = 0  # frames that were painted over before anybody here looked
        self._waiting, self.dropped_ms, self.clamped = 0, 0.0, 0
        self._dropped_before = 0.0  # by processes that have ended
        self.lookahead = 0

    @property
    def waiting(self) -> int:
        """48 kHz samples that the engine has not taken yet."""
        if self._wire is None:
            return self._edge - max(self._shown, 0) * VOICE_RATIO if self._begun else 0
        return self._waiting

    # What is asked for: said at once when somebody is there, and remembered.

    def start(self) -> None:
        """Opens the session and steps it from then on."""
        with self._lock:
            self._begun = True
            self._engine.enlist(self)

    def push(self, voice: Voice, resumes: bool = False) -> None:
        """As SessionWorker.push."""
        with self._lock:
            at, self._edge = self._edge, self._edge + len(voice)
            if resumes:
                self._manner["resumed"] = self._interrupts
            about = {"at": at, "resumes": resumes, "arrived": time.monotonic() * 1e3}
            blob = np.ascontiguousarray(voice, np.float32).data.cast("B")
            if self._wire is not None:
                self._wire.send(Kind.PUSH, self.number, about, blob, needed=resumes)

    def look(self, view: Viewpoint, seq: int) -> None:
        """As SessionWorker.look."""
        with self._lock:
            self._view = {"view": [view.yaw, view.pitch, view.distance, view.pan_x, view.pan_y], "seq": seq}
            self._say(Kind.LOOK, self._view)

    def behave(self, changes: dict[str, Any]) -> None:
        """As SessionWorker.behave."""
        with self._lock:
            self._manner |= changes
            self._say(Kind.BEHAVE, changes)

    def interrupt(self, announced: bool = False) -> int:
        """As SessionWorker.interrupt."""
        with self._lock:
            self._interrupts += 1
            self._manner["resumed"] = self._interrupts - 1 if announced else None
            self._say(Kind.INTERRUPT, {"announced": announced})
            return self._interrupts

    def tell(self, text: str, hint: bool = False) -> None:
        """As SessionWorker.tell."""
        with self._lock:
            self._say(Kind.TELL, {"text": text, "hint": hint})

    def change(
        self, about: str, avatar: str | None = None, framing: str | None = None, backdrop: Backdrop | None = None
    ) -> None:
        """As SessionWorker.change."""
        with self._lock:
            if backdrop is not None:
                self._backdrop = backdrop
            else:
                self._coming.add(about)
            self._say(Kind.CHANGE, *_change(about, avatar, framing, backdrop))

    def see_through(self, on: bool) -> None:
        """As SessionWorker.see_through."""
        with self._lock:
            self._clear = on
            self._say(Kind.SEE_THROUGH, {"on": on})

    def stop(self) -> None:
        """Asks the session to end after the frame it is at."""
        with self._lock:
            self._stopping = True
            if self._wire is None:
                self._finish()
            else:
                self._say(Kind.STOP)

    def join(self, timeout: float) -> bool:
        """Waits for its end; False when it has not come."""
        return not self._begun or self._over.wait(timeout)

    def _say(self, kind: Kind, fields: dict[str, Any] | None = None, blob: bytes | memoryview = b"") -> None:
        if self._wire is not None:
            self._wire.send(kind, self.number, fields, blob)

    def _finish(self) -> None:
        self._over.set()
        self._wire = None
        self._ring.close()
        self._engine.dismiss(self)

    # The connection's words, on the thread that reads it.

    def connect(self, wire: Wire) -> None:
        """Somebody is there who paints: goes on with what was asked for so far."""
        with self._lock:
            if self._over.is_set():
                return
            about = {**self._about, "at": self._edge, "interrupts": self._interrupts}
            wire.send(Kind.OPEN, self.number, about, self._kept, [self._ring.descriptor])
            self._wire, self._returning = wire, self._worn is not None
            manner = dict(self._manner)
            if self._interrupts:
                manner["interrupts"] = self._interrupts
            if 0 < self._interrupts == self._over_to:  # else a session without a snapshot would wait for new speech
                manner["resumed"] = self._interrupts
            if manner:
                self._say(Kind.BEHAVE, manner)
            if self._view is not None:
                self._say(Kind.LOOK, self._view)
            if self._backdrop is not None:
                self._say(Kind.CHANGE, *_change("background", None, None, self._backdrop))
            if self._clear:
                self._say(Kind.SEE_THROUGH, {"on": True})

    def disconnect(self) -> None:
        """Whoever painted is gone."""
        with self._lock:
            self._wire = None
            self._dropped_before = self.dropped_ms
            self._barren += 1
            for about in self._coming:  # it may be what ended the process
                self._listener.refused(about, RuntimeError("the engine was restarted; ask for it again"))
            self._coming.clear()
            if self._stopping:
                self._finish()
            elif self._barren >= LIVES:
                self.fail(f"the inference process ended {self._barren} times with this session")

    def fail(self, why: str) -> None:
        """There will be nobody to go on with it."""
        with self._lock:
            if not self._over.is_set():
                self._finish()
                self._listener.died(RuntimeError(why))

    def hear(self, message: Message) -> None:
        """What the inference process says of this session."""
        about = message.fields
        match message.kind:
            case Kind.FRAME:
                self._frame(about, message.blob)
            case Kind.OPENED:
                self._opened(about)
            case Kind.REFUSED:
                self._coming.discard(about["about"])
                self._listener.refused(about["about"], ValueError(about["problem"]))
            case Kind.SNAPSHOT:
                self._kept = bytes(message.blob)
                if self._keeps:
                    self._listener.kept(self._kept)
            case Kind.DIED:
                self.fail(about["problem"])
            case Kind.ENDED:
                with self._lock:
                    self._finish()

    def _frame(self, about: dict[str, Any], voice: bytearray) -> None:
        self._waiting, dropped, self.clamped = about["counts"]
        self.dropped_ms = self._dropped_before + dropped
        if about["pts"] <= self._shown:
            return  # the lookahead of a session that goes on: it was seen before
        self._shown, self._barren = about["pts"], 0
        if not about["stamps"]["interrupted"]:
            self._over_to = about["interrupts"]
        number, ring = about["number"], self._ring
        i420 = ring.look(number)
        if i420 is None:  # this process was too slow; what is there now belongs to a later frame
            self.overwritten += 1
            return
        stacked = ring.stacked(number) if about["stacked"] else None
        heard = np.frombuffer(voice, np.float32) if voice else None
        frame = OutFrame(about["pts"], i420, about["stamps"], about["interrupts"], heard, stacked)
        frame.intact = lambda: ring.intact(number)
        self._listener.frame(frame)

    def _opened(self, about: dict[str, Any]) -> None:
        self.lookahead = about["lookahead"]
        worn = about["avatar"], about["framing"]
        self._about |= {"avatar": worn[0], "framing": worn[1]}
        known, self._returning, self._worn = self._returning and worn == self._worn, False, worn
        if not known:
            self._coming.clear()
            self._listener.opened(*worn, Viewpoint(*about["view"]))


def _change(
    about: str, avatar: str | None, framing: str | None, backdrop: Backdrop | None
) -> tuple[dict[str, Any], bytes]:
    """A change as fields, and the picture that they speak of."""
    told, picture = None, b""
    if backdrop is not None:
        shape = [] if backdrop.picture is None else list(backdrop.picture.shape)
        told = {"kind": backdrop.kind, "colour": list(backdrop.colour), "shape": shape}
        picture = b"" if backdrop.picture is None else backdrop.picture.tobytes()
    return {"about": about, "avatar": avatar, "framing": framing, "backdrop": told}, picture
