"""The thread that steps one session. Everything slow happens here or in numpy, never on the event loop."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import numpy as np

from engine.clock import VOICE_FRAME, VOICE_RATE, VOICE_RATIO
from engine.engine import Engine
from engine.render.composite import Backdrop
from engine.schedule.core import PERIOD
from engine.schedule.turns import Free, Place
from engine.session import Frame, Session
from engine.viewpoint import Viewpoint
from streaming.lanes import Lanes, anywhere
from streaming.marker import OnsetFinder, paint
from streaming.memory import give_back
from streaming.past import Listener, Past, Voice, restore
from streaming.tracks import OutFrame
from streaming.wardrobe import OPENERS, Wardrobe

log = logging.getLogger(__name__)
READERS: Final = ThreadPoolExecutor(
    1, thread_name_prefix="read", initializer=anywhere
)  # turns texts into meanings, one at a time
KEPT_FRAMES: Final = 25  # a snapshot is taken of every so manieth frame
STAGES_SHOWN: Final = (
    "mel", "vad", "motion", "body", "raster", "shade", "guide", "network", "composite", "yuv",
)  # fmt: skip


class SessionWorker:
    """Owns a Session and its thread. Methods may be called from any thread; none of them waits, except ``join``."""

    def __init__(
        self,
        engine: Engine,
        avatar: str,
        framing: str,
        seed: int,
        listener: Listener,
        *,
        marker: bool = False,
        max_backlog_ms: float = 240.0,
        keeps: bool = False,
        resumed: bytes = b"",
    ) -> None:
        """``keeps``: a snapshot is taken every second (Listener.kept); ``resumed``: the one to go on from."""
        self._engine, self._listener, self._seed = engine, listener, seed
        self._wardrobe = Wardrobe(engine, avatar, framing, seed, self)
        self._place: Place = Free()  # among the sessions that share the machine
        self._lanes = Lanes(engine.lanes)
        self._onsets = OnsetFinder() if marker else None
        self._keeps, self._resumed = keeps, resumed
        self._backlog = max(int(max_backlog_ms * VOICE_RATE / 1000), 2 * VOICE_FRAME)
        self._wake = threading.Condition()
        self._voice: deque[tuple[Voice, float, int]] = deque()  # with when it came, and what it ends (see push)
        self._waiting = 0  # samples in _voice
        self._taken = 0  # samples handed to the session
        self._left_out = 0  # samples it never got
        self._skips: deque[tuple[int, int]] = deque([(0, 0)])  # (samples before it, samples left out by then)
        self._jobs: dict[str, Callable[[Session], None]] = {}  # prepared, the last of each kind, in their order
        self._view: tuple[Viewpoint, int] | None = None  # asked for, not yet shown
        self._changes: dict[str, Any] = {}  # of the manner, likewise
        self._interrupts = 0
        self._texts = 0  # told so far: a meaning that comes late is that of an old text
        self._stopping = False
        self._arrivals: deque[tuple[int, float]] = deque()  # (samples taken by then, server ms)
        self._painted = self._rung = 0
        self.dropped_ms = 0.0  # voice the engine never heard
        self.clamped = 0  # frames so far whose motion was out of range
        self.lookahead = 0  # samples the engine hears before it paints; known once open
        context = contextvars.copy_context()  # its lines of log belong to the session
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=f"session-{avatar}", daemon=True)

    @property
    def waiting(self) -> int:
        """48 kHz samples that the engine has not taken yet."""
        return self._waiting

    def start(self) -> None:
        """Takes a place among the sessions that are painted here, opens the session and steps it from then on."""
        self._place = self._engine.join(_now)
        try:
            self._thread.start()
        except BaseException:  # a machine that has no thread left
            self._place.leave()
            raise

    def go_on(self, past: Past, left_out: int) -> None:
        """Before ``start``: the session that is resumed has such a past; before what is pushed next, ``left_out``
        samples never came, or were left out."""
        self._taken, self._left_out, self._interrupts = past.taken, left_out, past.interrupts
        self._skips = deque([(0, past.left_out), (past.taken, left_out)])  # its lookahead was heard before

    def push(self, voice: Voice, resumes: bool = False, arrived: float | None = None) -> None:
        """Appends 48 kHz voice. Beyond the backlog limit the engine is made to skip ahead: no lips beat late ones.

        ``resumes``: new speech begins here, and ends all interruptions so far. ``arrived``: when it came (monotonic
        ms), when that was not now.
        """
        now = _now() if arrived is None else arrived
        with self._wake:
            self._voice.append((voice, now, self._interrupts if resumes else 0))
            self._waiting += len(voice)
            if self._waiting > self._backlog:
                self._skip(now)
            self._wake.notify()

    def _skip(self, now: float) -> None:
        """Leaves out whole frames of the voice that waits; frames after them carry a pts that has moved on."""
        waiting = np.concatenate([voice for voice, _, _ in self._voice])
        resumed = max(number for _, _, number in self._voice)
        count = len(waiting) // VOICE_FRAME * VOICE_FRAME
        self._voice = deque([(waiting[count:], now, resumed)] if count < len(waiting) else [])
        self._resume(resumed)
        self._waiting -= count
        self._left_out += count
        self._skips.append((self._taken, self._left_out))
        self.dropped_ms += count * 1000 / VOICE_RATE

    def _resume(self, interrupts: int) -> None:
        """New speech ends the interruptions up to number ``interrupts``, from the next frame on."""
        if interrupts:
            self._changes["resumed"] = interrupts

    def look(self, view: Viewpoint, seq: int) -> None:
        """Asks for a viewpoint from the next frame on."""
        with self._wake:
            self._view = (view, seq)

    def behave(self, changes: dict[str, Any]) -> None:
        """Changes fields of the Manner from the next frame on; they have been checked."""
        with self._wake:
            self._changes.update(changes)

    def interrupt(self, announced: bool = False) -> int:
        """Stops the mouth; frames tell how many interruptions they know. Returns the count. ``announced``: it is ended
        by ``push`` alone, not by a voice after a pause."""
        with self._wake:
            self._interrupts += 1
            self._changes["interrupts"] = self._interrupts
            self._changes["resumed"] = self._interrupts - 1 if announced else None
            return self._interrupts

    def tell(self, text: str, hint: bool = False) -> None:
        """Says what the coming speech is about, once it is understood; ``Listener.refused`` hears when it is not,
        unless it was only a ``hint``."""
        self._texts += 1
        READERS.submit(self._understand, text, self._texts, hint)

    def _understand(self, text: str, number: int, hint: bool) -> None:
        if self._stopping or number != self._texts:
            return
        meaning = None
        try:
            meaning = self._engine.meaning(text) if text.strip() else None
        except (ValueError, OSError) as problem:
            if not hint:
                self._listener.refused("text", problem)
                return
        if number == self._texts:
            self.behave({"meaning": meaning})

    def change(
        self, about: str, avatar: str | None = None, framing: str | None = None, backdrop: Backdrop | None = None
    ) -> None:
        """Changes who is seen, how much of them, or what is behind them, once loaded; ``Listener.refused`` hears when
        that cannot be."""
        self._wardrobe.change(about, avatar, framing, backdrop)

    def see_through(self, on: bool) -> None:
        """From some frame on, pictures also come with their transparency (OutFrame.stacked), or do not any more."""
        self._wardrobe.see_through(on)

    def stop(self) -> None:
        """Asks the thread to end after the frame it is at."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._place.leave()  # it may wait for its turn

    def join(self, timeout: float) -> bool:
        """Waits for the end of the thread; False when it has not come."""
        if self._thread.ident is not None:  # it began
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        session: Session | None = None
        try:
            worn = self._wardrobe
            session = OPENERS.submit(self._engine.open, worn.avatar, seed=self._seed, framing=worn.framing).result()
            session.phase = self._place.number
            restore(session, self._resumed)
            self.lookahead = session.parts.lookahead * VOICE_FRAME
            self.worn(session)
            while self._wait():
                self._take(session)
                while not self._stopping and (frame := self._step(session)) is not None:
                    self._listener.frame(frame)
                    if self._keeps and self._painted % KEPT_FRAMES == 0:
                        self._keep(session)
        except Exception as problem:  # the edge of the thread: whatever it was, the peer must hear of it
            log.exception("session of %s died", self._wardrobe.avatar)
            self._listener.died(problem)
        finally:
            self._place.leave()
            session = None  # with all its pictures and weights, before what it took is given back
            _give_back()

    def _keep(self, session: Session) -> None:
        """Tells what the session could go on from."""
        interrupts = session.controls.manner.interrupts
        past = Past(self._wardrobe.avatar, self._wardrobe.framing, self._seed, self._taken, self._left_out, interrupts)
        data = past.kept(session)
        self._keeps = data is not None
        if data is not None:
            self._listener.kept(data)

    def _wait(self) -> bool:
        with self._wake:
            while not (self._voice or self._jobs or self._stopping):
                self._wake.wait()
            return not self._stopping

    def _take(self, session: Session) -> None:
        """Gives the session what it needs for one frame; the rest waits where it can still be left out."""
        with self._wake:
            jobs = list(self._jobs.values())
            self._jobs.clear()
        for job in jobs:
            job(session)
        while not session.ready:
            with self._wake:
                if not self._voice:
                    return
                voice, arrived, resumed = self._voice.popleft()
                need = (
                    VOICE_FRAME - session.inbox.available
                )  # more would wait where an interruption takes it, and media
                if len(voice) > need:  # time with it: pictures would be early by so much from then on
                    self._voice.appendleft((voice[need:], arrived, 0))
                    voice = voice[:need]
                self._waiting -= len(voice)
                self._taken += len(voice)
                self._resume(resumed)
            session.push_voice(voice)
            self._arrivals.append((self._taken, arrived))

    def _step(self, session: Session) -> OutFrame | None:
        if not session.ready:
            return None
        whole = self._arrivals[-1][1] if self._arrivals else _now()
        with self._place.turn(whole, whole + PERIOD, session.resting) as turn:
            if not turn.granted:
                return None
            self._lanes.sit(turn.lane)
            self._apply(session)
            wall, start = time.time(), _now()
            session.adapt(turn)
            if turn.rung.scale != session.quality.scale:
                self._wardrobe.shrink(turn.rung.scale)
            frame = session.step(turn.paint)
        if frame is None:
            return None
        pts = frame.pts + self._left_out_before(frame.pts) // VOICE_RATIO
        i420, stacked = self._wardrobe.dress(frame)
        stamps = {"pts": pts, **self._stamps(frame, start)}
        if self._onsets is not None:
            onset = self._onsets.step(frame.voice)
            paint(i420, int(wall * 1e4), frame.control_seq, onset, self._painted)
        self._painted, self._rung = self._painted + 1, frame.rung
        self.clamped = frame.clamped
        return OutFrame(pts, i420, stamps, session.controls.manner.interrupts, frame.voice, stacked)

    def _apply(self, session: Session) -> None:
        """Hands the session what was asked for since the last frame."""
        with self._wake:
            (view, changes), self._view, self._changes = (self._view, self._changes), None, {}
        controls = session.controls
        if view is not None:
            controls = replace(controls, viewpoint=view[0], seq=view[1])
        if changes:
            controls = replace(controls, manner=replace(controls.manner, **changes))
        if controls is not session.controls:
            session.control(controls)

    def _left_out_before(self, pts: int) -> int:
        """Samples of voice left out before the session's own ``pts``."""
        with self._wake:
            while len(self._skips) > 1 and self._skips[1][0] <= pts * VOICE_RATIO:
                self._skips.popleft()
            return self._skips[0][1]

    def _stamps(self, frame: Frame, start: float) -> dict[str, object]:
        """When the middle and the last of the voice that the frame needs arrived, when work on it began and ended
        (server ms)."""
        middle = frame.pts * VOICE_RATIO + VOICE_FRAME // 2
        while len(self._arrivals) > 1 and self._arrivals[0][0] < middle:
            self._arrivals.popleft()
        arrived = self._arrivals[0][1] if self._arrivals else start
        stages = {name: round(frame.stages[name], 2) for name in STAGES_SHOWN if name in frame.stages}
        return {
            "seq": frame.control_seq,
            "arrived": arrived,
            "whole": self._arrivals[-1][1] if self._arrivals else start,
            "start": start,
            "done": _now(),
            "stages": stages,
            "speaking": round(float(frame.speaking), 3),
            "interrupted": frame.interrupted,
            "clamped": frame.clamped,
            "rung": frame.rung,
            **({"lowered": True} if frame.rung > self._rung else {}),  # since the frame before
            **({"repeated": True} if frame.repeated else {}),
        }

    # What the wardrobe says.

    def ask(self, kind: str, job: Callable[[Session], None]) -> None:
        """Has the session's thread do ``job``, and nothing of the same ``kind`` that it has not come to."""
        with self._wake:
            self._jobs.pop(kind, None)
            self._jobs[kind] = job
            self._wake.notify()

    def worn(self, session: Session) -> None:
        """Somebody, or another part of them, is seen from the next frame on."""
        self._listener.opened(self._wardrobe.avatar, self._wardrobe.framing, session.controls.viewpoint)
        _give_back()

    def refused(self, about: str, problem: Exception) -> None:
        """It cannot be."""
        self._listener.refused(about, problem)

    @property
    def over(self) -> bool:
        """Whether it is about to end."""
        return self._stopping


def _now() -> float:
    """Server milliseconds."""
    return time.monotonic() * 1e3


def _give_back() -> None:
    """Behind the avatars that are still to be loaded, and not on a thread that paints."""
    with contextlib.suppress(RuntimeError):  # the process is ending
        OPENERS.submit(give_back)
