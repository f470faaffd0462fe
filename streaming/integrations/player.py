"""An avatar inside another program: speech in; pictures, and the voice that belongs to each, out at the pace of time.

    player = Player(avatar="leo")
    await player.start()  # loads on a thread; the first picture is there when it returns
    async for moment in player:  # 25 a second, for ever
        ...

Everything runs on the event loop that ``start`` was called on, except the engine, which has threads of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME, FRAME_SECONDS, VOICE_FRAME, VOICE_RATE, VOICE_RATIO
from engine.engine import Engine
from streaming import protocol
from streaming.config import StreamConfig
from streaming.integrations.moment import Ended, Moment
from streaming.live import EngineFailure, Live, Options
from streaming.speech import Event, Finished, Speech, Started
from streaming.tracks import OutFrame

log = logging.getLogger(__name__)
Voice = NDArray[np.float32]
STALL: Final = 5  # moments that wait; while nobody fetches them, nothing is said
MOST: Final = 15  # moments that wait at most: then the oldest silent one goes
BEHIND: Final = VOICE_RATE  # samples by which pictures may be late; while they are later, nothing is said
PIECE_S: Final = 0.5  # longest stretch of speech that is pushed at once


class Closed(RuntimeError):
    """The player was closed, or never started."""


class Player:
    """One avatar for one conversation. ``engine``: shared by all players of a process when none is given.

    Speech comes in segments: ``begin``, ``push`` as often as there is sound, ``end``. They are said one after the
    other; ``interrupt`` drops all of them. When the engine fails the voice goes on without pictures.
    """

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        avatar: str = "",
        framing: str = "upper",
        seed: int = 0,
        max_queue_s: float = 120.0,
    ) -> None:
        if max_queue_s < 1:
            raise ValueError(f"max_queue_s must be at least 1, got {max_queue_s}")
        self._engine, self._max_queue_s = engine, max_queue_s
        self._options = Options(avatar, framing, seed)
        self.size = (0, 0)  # width and height of the pictures; known once started
        self.failure: Exception | None = None  # of the engine, when it failed
        self._live: Live | None = None
        self._speech: Speech | None = None
        self._moments: deque[Moment] = deque()
        self._more = asyncio.Event()  # a moment was added, or the end came
        self._went_on = asyncio.Event()  # speech was said: there is room, or a segment is over
        self._closed = False
        self._segments = 0
        self._open = False  # whether a segment takes what is pushed
        self._saying: str | None = None
        self._begins = 0  # media time (48 kHz) at which it does
        self._voice = np.zeros(0, np.float32)  # that went out and whose picture has not come
        self._edge = 0  # media time (48 kHz) up to which moments were made
        self._fetched = 0  # and up to which they were fetched
        self._held: deque[tuple[int, int]] = (
            deque()
        )  # media time (48 kHz) at which nothing was said though it might have
        self._hushed = False  # there was an interruption, and nothing was taken since
        self._cut: list[Ended] | None = None  # collects what an interruption ends
        self._without: asyncio.Task[None] | None = None

    # Life.

    async def start(self) -> None:
        """Begins to paint; returns with the first picture. Raises EngineFailure when the avatar cannot be opened."""
        loop = asyncio.get_running_loop()
        engine = await loop.run_in_executor(None, shared_engine) if self._engine is None else self._engine
        options = self._options
        if not options.avatar:
            options = Options(engine.default_avatar, options.framing, options.seed)
        self._live = Live(engine, options, StreamConfig())
        self._speech = Speech(self._live, self._tell, self._max_queue_s)
        self._live.add(self)
        self._live.speak(self)
        self._live.start()
        try:
            while not self._moments and self.failure is None and not self._closed:
                self._more.clear()
                await self._more.wait()
        except asyncio.CancelledError:
            await self.close()
            raise
        if self.failure is not None:
            await self.close()
            raise EngineFailure(f"the avatar could not be opened: {self.failure}") from self.failure

    async def close(self) -> None:
        """Ends everything; whoever waits for moments gets no more, who waits to push gets Closed. May come twice."""
        self._closed = True
        if self._without is not None:
            self._without.cancel()
        if self._speech is not None:
            self._speech.close()
        if self._live is not None:
            await self._live.close("the player was closed")
        self._more.set()
        self._went_on.set()

    @property
    def live(self) -> Live:
        """The session: ``obey`` takes viewpoint, manner, background, state (streaming.protocol)."""
        if self._live is None:
            raise Closed("the player was not started")
        return self._live

    def show(self, state: str) -> None:
        """What the avatar is at: idle, listening, thinking or speaking; others are passed over."""
        if self._live is not None and not self._closed and state in protocol.STATES:
            self._live.obey(protocol.SetState(state))

    # What is to be said.

    def begin(self, rate: int, channels: int = 1, text: str = "") -> str:
        """Opens the next segment and ends an open one: int16 PCM at ``rate`` Hz. Returns its id."""
        speech = self._need()
        self.end()
        self._segments += 1
        speech.begin(str(self._segments), rate, channels, text=text)
        self._open = True
        return str(self._segments)

    async def push(self, pcm: bytes, rate: int, channels: int = 1) -> None:
        """More of the open segment; waits while the queue is full. Dropped when the segment was interrupted."""
        step, segment = int(rate * PIECE_S) * 2 * channels, self._segments
        for at in range(0, len(pcm), step):
            while self._open and self._segments == segment and self._need().free_ms < 1000 * PIECE_S + 1:
                await self._progress()
            if not self._open or self._segments != segment:
                return
            self._need().push(pcm[at : at + step])

    def end(self) -> None:
        """The open segment is whole."""
        if self._open and self._speech is not None:
            self._open = False
            self._speech.end()

    async def said(self) -> None:
        """Returns when nothing is being said, nothing waits, and every moment with speech was fetched."""
        while not self._closed and (self._need().active or any(m.segment or m.ended for m in self._moments)):
            await self._progress()

    def interrupt(self) -> list[Ended]:
        """Silence at once, and everything that waits is dropped: what that ended, with what of it was handed out."""
        if self._live is None or self._speech is None or self._closed:
            return []
        self._cut = [self._as_heard(ended) for moment in self._moments for ended in moment.ended]
        for moment in self._moments:
            moment.segment, moment.voice = None, np.zeros_like(moment.voice)
            moment.began, moment.ended = [], []
        self._voice = np.zeros_like(self._voice)
        self._open, self._saying, self._hushed = False, None, True
        if self.failure is None:
            self._live.interrupt()
        else:
            self._speech.interrupted()
        cut, self._cut, self._saying = self._cut, None, None
        self._went_on.set()
        return cut

    def _need(self) -> Speech:
        if self._speech is None or self._closed:
            raise Closed("the player is not running")
        return self._speech

    async def _progress(self) -> None:
        self._went_on.clear()
        await self._went_on.wait()

    # What comes out.

    def __aiter__(self) -> AsyncIterator[Moment]:
        """Moments as they come, to one reader. One that was slow catches up while nothing is said."""
        return self._fetch()

    async def _fetch(self) -> AsyncIterator[Moment]:
        while True:
            while not self._moments:
                if self._closed:
                    return
                self._more.clear()
                await self._more.wait()
            moment = self._moments.popleft()
            if self._moments and moment.idle:
                continue
            self._fetched = moment.end
            yield moment
            self._went_on.set()

    # A Source of the Live: speech, unless nobody fetches it.

    def take(self, count: int, position: int) -> Voice:
        """(count,) samples of speech for the media time from ``position`` on."""
        assert self._speech is not None
        if len(self._moments) >= STALL or len(self._voice) > BEHIND:
            self._hold(position, position + count)
            return np.zeros(count, np.float32)
        voice = self._speech.take(count, position)
        if self._hushed:  # the last of what was interrupted, faded: its beginning was dropped
            self._hushed, voice = False, np.zeros(count, np.float32)
        return voice

    def _hold(self, start: int, end: int) -> None:
        if self._held and self._held[-1][1] == start:
            start = self._held.pop()[0]
        self._held.append((start, end))

    def _is_held(self, start: int, end: int) -> bool:
        """Whether all of it is silence because nobody fetched what was said before."""
        while self._held and self._held[0][1] <= start:
            self._held.popleft()
        return bool(self._held) and self._held[0][0] <= start and end <= self._held[0][1]

    def shown(self, frame: OutFrame) -> None:
        """``frame`` is painted, and its moment made."""
        assert self._speech is not None
        self._speech.shown(frame)
        self._more.set()
        self._went_on.set()

    def interrupted(self) -> None:
        """The Live stops speaking."""
        assert self._speech is not None
        self._speech.interrupted()

    def _tell(self, event: Event) -> None:
        if isinstance(event, Started):
            self._saying, self._begins = event.id, event.pts * VOICE_RATIO
            if self._cut is None and self._moments:
                moment = self._after_last(self._begins) if self._moments[-1].ended else self._moments[-1]
                moment.segment = event.id
                moment.began.append(event.id)
            return
        if self._cut is not None:
            self._cut.append(self._of(event))
            return
        if self._saying == event.id:
            self._saying = None
        if self._moments:
            self._moments[-1].ended.append(Ended(event.id, event.position, event.interrupted))

    def _after_last(self, begins: int) -> Moment:
        """The part of the last moment from ``begins`` on, as a moment of its own without a picture."""
        last = self._moments[-1]
        at = min(max(len(last.voice) - (last.end - begins), 0), len(last.voice))
        self._moments.append(Moment(last.end, None, last.voice[at:], None))
        last.voice, last.end = last.voice[:at], begins
        return self._moments[-1]

    def _of(self, event: Finished) -> Ended:
        """An interrupted segment: what was taken of it, less what nobody fetched."""
        time = max(self._fetched - self._begins, 0)  # since it began, with pauses where it ran dry
        unheard = max(event.pts * VOICE_RATIO - self._begins - time, 0)
        return Ended(event.id, max(min(event.position - unheard / VOICE_RATE, time / VOICE_RATE), 0.0), True)

    def _as_heard(self, ended: Ended) -> Ended:
        """A segment that is painted whole, but whose last moments were not fetched."""
        unheard = (len([m for m in self._moments if m.segment == ended.id]) * VOICE_FRAME) / VOICE_RATE
        return Ended(ended.id, max(ended.position - unheard, 0.0), True)

    # An Outlet of the Live.

    def frame(self, frame: OutFrame) -> None:
        """A frame becomes a moment, with all the voice that has come up to its end."""
        if not self.size[0]:
            self.size = frame.i420.shape[1], frame.i420.shape[0] * 2 // 3
        self._add(frame.pts, frame.i420.ravel().copy())

    def voice(self, voice: Voice) -> None:
        """Kept until its frames are painted."""
        self._voice = np.concatenate([self._voice, voice])
        over = max(len(self._voice) - 10 * BEHIND, 0)
        self._voice, self._edge = self._voice[over:], self._edge + over

    def ended(self, why: str) -> None:
        """The session is over; if nobody asked for that, the voice goes on alone."""
        if self._closed or self._live is None:
            return
        self.failure = self._live.failure or EngineFailure(why)
        self._more.set()
        if self.size[0]:
            log.error("the avatar's pictures end, its voice goes on: %s", self.failure)
            self._without = asyncio.get_running_loop().create_task(self._go_on())

    def _add(self, pts: int, i420: NDArray[np.uint8] | None) -> None:
        end = pts * VOICE_RATIO + VOICE_FRAME
        count = max(end - self._edge, 0)
        saying = None if self._is_held(self._edge, end) else self._saying
        voice, self._voice, self._edge = self._voice[:count], self._voice[count:], self._edge + count
        if not voice[:-VOICE_FRAME].any():  # silence before it: the avatar was being loaded
            voice = voice[-VOICE_FRAME:]
        self._moments.append(Moment(end, i420, voice, saying))
        if len(self._moments) > MOST:
            idle = next((at for at, moment in enumerate(self._moments) if moment.idle), None)
            if idle is None:
                self._merge(self._moments.popleft(), self._moments[0])
            else:
                del self._moments[idle]
        self._more.set()

    @staticmethod
    def _merge(first: Moment, second: Moment) -> None:
        """Leaves out the picture of ``first``, and nothing else of it."""
        second.voice = np.concatenate([first.voice, second.voice])
        second.segment = second.segment or first.segment
        second.began, second.ended = first.began + second.began, first.ended + second.ended

    async def _go_on(self) -> None:
        """The voice alone, at the pace of time."""
        loop = asyncio.get_running_loop()
        due, pts = loop.time(), self._edge // VOICE_RATIO
        while True:
            missing = VOICE_FRAME - len(self._voice)
            if missing > 0:
                self.voice(self.take(missing, self._edge + len(self._voice)))
            self._add(pts, None)
            self.shown(OutFrame(pts, np.zeros((0, 0), np.uint8), {}))
            pts, due = pts + FRAME, due + FRAME_SECONDS
            await asyncio.sleep(due - loop.time())


_shared: list[Engine] = []
_lock = threading.Lock()


def shared_engine() -> Engine:
    """The engine of all players that were given none, warm; made at the first call, which takes seconds."""
    with _lock:
        if not _shared:
            engine = Engine()
            engine.warm_up()
            _shared.append(engine)
        return _shared[0]


@contextlib.asynccontextmanager
async def playing(player: Player) -> AsyncIterator[Player]:
    """``player``, started and, at the end, closed."""
    await player.start()
    try:
        yield player
    finally:
        await player.close()
