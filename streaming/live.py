"""One running avatar: a voice in, pictures and that voice out, to any number of outlets. No sockets, no WebRTC.

Whoever has a voice gives it to ``Live``: a microphone through ``hear`` (with its place on the sender's timeline), an
agent by a Source that is asked for speech at the pace of time. Whoever wants the pictures adds an Outlet. Everything
here runs on the event loop, except where a method says otherwise; nothing here waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.audio.gate import gate
from engine.engine import Engine
from engine.viewpoint import Viewpoint
from streaming import protocol
from streaming.config import StreamConfig
from streaming.contain import each
from streaming.logs import SESSION
from streaming.micclock import MicClock
from streaming.past import edge_of
from streaming.protocol import ProtocolError
from streaming.roles import Outlet, Source, Watcher
from streaming.tracks import OutFrame, OutQueue
from streaming.working import Worker, work_on

log = logging.getLogger(__name__)
Voice = NDArray[np.float32]
Tell = Callable[[str], None]  # takes one encoded message of the protocol
TICK_S: Final = 0.02
JOIN_S: Final = 5.0


class EngineFailure(RuntimeError):
    """The engine could not open, or go on with, a session."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a client may choose when it opens a session."""

    avatar: str
    framing: str
    seed: int
    marker: bool = False
    resumed: bytes = b""  # a snapshot (engine/snapshot.py) to go on from
    id: str = ""  # what the session is called; empty: as it comes


def new_id(worker: str = "") -> str:
    """What a session may be called, on the worker of that name: nobody guesses it."""
    return f"{worker}-{secrets.token_hex(12)}" if worker else secrets.token_hex(12)


class Live:
    """Lives from ``start`` to ``close``."""

    def __init__(
        self,
        engine: Engine,
        options: Options,
        stream: StreamConfig,
        watchers: tuple[Watcher, ...] = (),
        on_closed: Callable[[Live], None] = lambda live: None,
        on_kept: Callable[[Live, bytes], None] | None = None,
    ) -> None:
        """``on_kept`` hears, every second, what the session could go on from. Raises SnapshotError for a snapshot that
        is none."""
        self.id = options.id or new_id()  # no "-" in front, which command lines would take for an option
        SESSION.set(self.id)  # what this task, and the threads and tasks that it starts, log from here on
        self.options = options
        self.born = time.monotonic()
        self.worker: Worker = work_on(
            engine, options.avatar, options.framing, options.seed, self,
            marker=options.marker, max_backlog_ms=stream.max_backlog_ms, keeps=on_kept is not None,
            resumed=options.resumed,
        )  # fmt: skip
        self.clock = MicClock(self.born, stream.mic_slack_ms / 1000)
        self.outlets: list[Outlet] = []
        self.failure: Exception | None = None
        self.muted = False  # whether the microphone is: neither the engine nor an agent hears it
        self.state = "idle"  # what the avatar is at: one of protocol.STATES
        self.opened_as: tuple[str, str, Viewpoint] | None = None  # avatar, framing, viewpoint; None while loading
        self.shown_pts = -1  # of the last frame that was painted
        self._watchers, self._on_closed, self._on_kept = watchers, on_closed, on_kept
        self._loop = asyncio.get_running_loop()
        self._tellers: list[Tell] = []
        self._source: Source | None = None
        self._ears: list[Callable[[Voice], None]] = []  # who hears the microphone while a source speaks
        self._clear = False  # whether an outlet wants transparency
        self._edge = edge_of(options.resumed)  # media time that was given to the worker so far, 48 kHz
        self._hushed: int | None = None  # the interruption that cuts the voice that goes out
        self._open = True  # whether the last of it went out
        self._resumes = False  # new speech begins with the next of it
        self._time: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._ended: str | None = None  # why, once outlets were told

    def start(self) -> None:
        """Begins to paint."""
        self.worker.start()
        self._time = self._loop.create_task(self._keep_time())
        each(self._watchers, lambda watcher: watcher.opened(self))

    @property
    def edge(self) -> int:
        """Media time that the voice has reached, in 48 kHz samples."""
        return self._edge

    @property
    def lookahead(self) -> int:
        """48 kHz samples by which frames are behind their voice; 0 until the session is open."""
        return self.worker.lookahead

    # Who gets what goes out.

    def add(self, outlet: Outlet) -> None:
        """From now on ``outlet`` gets frames and voice; only its end, when it comes too late."""
        if self._ended is not None:
            return outlet.ended(self._ended)
        self.outlets.append(outlet)
        self._see_through()

    def remove(self, outlet: Outlet) -> None:
        """``outlet`` gets nothing more; one that is not there is no mistake."""
        with contextlib.suppress(ValueError):
            self.outlets.remove(outlet)
            self._see_through()

    def _expel(self, outlet: Outlet) -> None:
        """``outlet`` failed, and would again."""
        self.remove(outlet)
        each([outlet], lambda outlet: outlet.ended("it failed"))

    def _see_through(self) -> None:
        """Pictures are painted with their transparency while somebody wants that."""
        wanted = any(getattr(outlet, "alpha", False) for outlet in self.outlets)
        if wanted != self._clear:
            self._clear = wanted
            self.worker.see_through(wanted)

    def listen(self, tell: Tell) -> None:
        """From now on ``tell`` gets this session's messages, beginning with its hello."""
        self._tellers.append(tell)
        if self.opened_as is not None:
            tell(self._hello())

    def forget(self, tell: Tell) -> None:
        """The other way round."""
        with contextlib.suppress(ValueError):
            self._tellers.remove(tell)

    def tell(self, message: str) -> None:
        """Says ``message``, encoded, to everybody who listens."""
        each(self._tellers, lambda tell: tell(message))

    # What comes in.

    def hear(self, position: int, samples: Voice) -> None:
        """A microphone's packet: (n,) at 48 kHz, beginning at ``position`` on the sender's own timeline. It is the
        avatar's voice, unless a Source speaks: then whoever ``overhears`` gets it."""
        if self._source is not None:
            each(self._ears, lambda ear: ear(samples * (not self.muted)))
            return
        self._push(self.clock.packet(position, samples * (not self.muted), time.monotonic()))

    def speak(self, source: Source | None) -> None:
        """From now on the avatar speaks what ``source`` says; None: what the microphone hears again."""
        self._source = source
        if not self._announces:  # an interruption that waits for an announcement would never end
            self.worker.behave({"resumed": None})

    @property
    def held(self) -> bool:
        """Whether anybody still has to do with it: a Source, or an Outlet that does not say ``holds = False``."""
        return self._source is not None or any(getattr(outlet, "holds", True) for outlet in self.outlets)

    @property
    def _announces(self) -> bool:
        return getattr(self._source, "announces", False)

    @property
    def source(self) -> Source | None:
        """Who speaks, when it is not the microphone."""
        return self._source

    def overhear(self, ear: Callable[[Voice], None] | None) -> None:
        """While a Source speaks, ``ear`` gets what the microphone hears; None ends that."""
        self._ears = [] if ear is None else [ear]

    def obey(self, message: protocol.Message) -> bool:
        """Does what a message asks of the session; False when it is for the connection it came on."""
        match message:
            case protocol.SetViewpoint(viewpoint, seq):
                self.worker.look(viewpoint, seq)
            case protocol.SetAvatar(name):
                self.worker.change("avatar", avatar=name)
            case protocol.SetFraming(name):
                self.worker.change("framing", framing=name)
            case protocol.SetBackground(backdrop):
                self.worker.change("background", backdrop=backdrop)
            case protocol.SetManner(_, changes):
                self.worker.behave(changes)
            case protocol.SetState(name):
                self._set_state(name)
            case protocol.SetText(text, hint):
                self.worker.tell(text, hint)
            case protocol.Interrupt():
                self.interrupt()
            case protocol.Mute(on):
                self.muted = on
            case _:
                return False
        return True

    def _set_state(self, name: str) -> None:
        self.worker.behave({"listening": name == "listening", "thinking": name == "thinking"})
        if name != self.state:
            self.state = name
            self.tell(protocol.encode("state", name=name))

    def interrupt(self) -> None:
        """Stops the mouth, cuts the voice that goes out, and drops what a Source still meant to say; until new speech
        begins."""
        self._hushed = self.worker.interrupt(self._announces)
        if self._source is not None:
            each([self._source], lambda source: source.interrupted())

    def resume(self) -> None:
        """For a Source, while it is asked: new speech begins in what it gives now, and nothing of it is cut. Without
        this, an interruption is over only when a voice is heard after a pause, and its first syllable is lost."""
        self._hushed, self._resumes = None, True

    async def _keep_time(self) -> None:
        """Media time goes on, microphone or not."""
        while True:
            await asyncio.sleep(TICK_S)
            silence = self.clock.tick(time.monotonic())
            self._push(self._said(silence))

    def _said(self, silence: Voice) -> Voice:
        """What a Source says instead of ``silence``. Media time goes on, whatever it does."""
        if self._source is None or not len(silence):
            return silence
        try:
            return self._source.take(len(silence), self._edge)
        except Exception:  # it promised not to
            log.exception("session %s: who speaks failed; its voice is the microphone again", self.id)
            self.speak(None)
            return silence

    def _push(self, voice: Voice) -> None:
        if not len(voice):
            return
        self._edge += len(voice)
        is_open = self._hushed is None
        heard = gate(voice, self._open, is_open)
        self._open = is_open
        for outlet in each(self.outlets, lambda outlet: outlet.voice(heard)):
            self._expel(outlet)
        self.worker.push(voice, self._resumes)
        self._resumes = False

    def sent(self, frame: OutFrame, queue: OutQueue) -> None:
        """A connection has put ``frame`` on the wire."""
        each(self._watchers, lambda watcher: watcher.sent(self, frame, queue))

    # The worker's words: called on its thread, and only handed over.

    def frame(self, frame: OutFrame) -> None:
        """A frame is painted."""
        self._hand_over(self._painted, frame)

    def opened(self, avatar: str, framing: str, view: Viewpoint) -> None:
        """The session wears ``avatar`` from the next frame on."""
        self._hand_over(self._note_opened, avatar, framing, view)

    def refused(self, about: str, problem: Exception) -> None:
        """A change could not be made; everything stays as it was."""
        self._hand_over(self.tell, protocol.error(ProtocolError("refused", str(problem)[:500], about)))

    def died(self, problem: Exception) -> None:
        """The engine cannot go on with this session."""
        self._hand_over(self._note_failure, problem)

    def kept(self, data: bytes) -> None:
        """What the session could go on from."""
        if self._on_kept is not None:
            self._hand_over(self._on_kept, self, data)

    def _hand_over(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(call, *arguments)

    def _painted(self, frame: OutFrame) -> None:
        if self._hushed == frame.interrupts and not frame.stamps["interrupted"]:
            self._hushed = None
        self.shown_pts = frame.pts
        seen = self.outlets if frame.intact is None or frame.intact() else []  # else this loop was stuck for long
        for outlet in each(seen, lambda outlet: outlet.frame(frame)):
            self._expel(outlet)
        each([] if self._source is None else [self._source], lambda source: source.shown(frame))
        each(self._watchers, lambda watcher: watcher.frame(self, frame))

    def _note_opened(self, avatar: str, framing: str, view: Viewpoint) -> None:
        if self._ended is not None:
            return  # it was let go while it was loading
        self.opened_as = (avatar, framing, view)
        self.tell(self._hello())
        each(self._watchers, lambda watcher: watcher.loaded(self))

    def _note_failure(self, problem: Exception) -> None:
        self.failure = problem
        self.tell(protocol.error(ProtocolError("engine", f"the engine stopped: {str(problem)[:300]}", "session")))
        self.end("the engine stopped")

    def _hello(self) -> str:
        assert self.opened_as is not None
        avatar, framing, view = self.opened_as
        look = {"yaw": view.yaw, "pitch": view.pitch, "distance": view.distance, "pan": [view.pan_x, view.pan_y]}
        return protocol.encode("hello", session=self.id, avatar=avatar, framing=framing, viewpoint=look)

    # The end.

    def end(self, why: str) -> None:
        """Begins to close; ``close`` can be awaited for the end of it."""
        if self._ending is None:
            self._ending = self._loop.create_task(self._close(why))

    @property
    def why(self) -> str:
        """Why it is over; empty until outlets were told."""
        return self._ended or ""

    @property
    def closing(self) -> bool:
        """Whether it is over, or nearly."""
        return self._ending is not None

    async def close(self, why: str) -> None:
        """Ends everything that belongs to the session, whatever becomes of the caller. A second call waits too."""
        self.end(why)
        assert self._ending is not None
        await asyncio.shield(self._ending)

    async def _close(self, why: str) -> None:
        log.info("session %s ends: %s", self.id, why)
        self.tell(protocol.encode("bye", reason=why))
        self.worker.stop()
        if self._time is not None:
            self._time.cancel()
        self._ended = why
        each(self.outlets, lambda outlet: outlet.ended(why))
        self.outlets.clear()
        if not await self._loop.run_in_executor(None, self.worker.join, JOIN_S):
            log.warning("session %s: its engine thread has not ended after %g s", self.id, JOIN_S)
        self._tellers.clear()
        each(self._watchers, lambda watcher: watcher.closed(self, why))
        self._on_closed(self)
