"""LiveKit: a player as AvatarRunner's generator of pictures and voice, and what was heard of it, told exactly.

Written for livekit-agents 1.8 (extra ``livekit``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

from engine.clock import FPS, VOICE_RATE
from streaming.integrations.player import Closed, Player

try:
    from livekit import rtc
    from livekit.agents.voice import avatar
    from livekit.agents.voice.avatar import AudioSegmentEnd, AvatarOptions, AvatarRunner, QueueAudioOutput
except ImportError as problem:
    raise ImportError(f"{problem}; LiveKit needs its extra: pip install 'visavis[livekit]'") from problem

PLAYOUT_S: Final = 0.5  # longest wait for the last sound of a segment to leave the process
Output = rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd


class Audience(Protocol):
    """Hears what became of segments, one after the other."""

    def started(self) -> None:
        """The first sound of a segment goes out."""

    async def played_out(self) -> None:
        """Returns when what went out was heard."""

    def finished(self, position: float) -> None:
        """It was heard to its end."""


class VisavisVideoGenerator(avatar.VideoGenerator):
    """A player as LiveKit's AvatarRunner wants it: while nothing is said pictures alone, else each picture and then its
    40 ms of voice; AudioSegmentEnd when a segment was said to its end.

    ``push_audio`` of a segment's end returns when it is over: so the runner never mixes up two segments.
    """

    def __init__(self, player: Player) -> None:
        self.audience: Audience | None = None
        self._player = player
        self._format: tuple[int, int] | None = None  # rate and channels of what is pushed
        self._parts: list[str] = []  # the player's segments that the current one is made of
        self._whole = False  # nothing more is pushed to it
        self._played = 0.0  # seconds of its parts that are over
        self._unheard = 0.0  # seconds of the moment at hand whose voice has not gone out
        self._over = asyncio.Event()
        self._cuts = 0
        self._telling: asyncio.Task[None] | None = None

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """More speech; waits while a lot of it waits to be said."""
        with contextlib.suppress(Closed):
            if isinstance(frame, AudioSegmentEnd):
                await self._end()
                return
            form = frame.sample_rate, frame.num_channels
            if form != self._format:
                self._format = form
                self._parts.append(self._player.begin(*form))
            await self._player.push(bytes(frame.data), *form)

    async def _end(self) -> None:
        if self._parts:  # else it was cut
            self._whole = True
            self._player.end()
            self._over.clear()
            await self._over.wait()

    def cut(self) -> float | None:
        """Silence at once. Returns the seconds of the current segment that were heard; None when there was none."""
        ended = self._player.interrupt()
        self._cuts += 1
        heard = self._played + sum(part.position for part in ended) - self._unheard
        was = max(heard, 0.0) if self._parts else None
        self._reset()
        return was

    def clear_buffer(self) -> None:
        """Stops at once."""
        self.cut()

    def _reset(self) -> None:
        self._format, self._parts, self._whole, self._played, self._unheard = None, [], False, 0.0, 0.0
        self._over.set()

    async def __aiter__(self) -> AsyncIterator[Output]:
        width, height = self._player.size
        async for moment in self._player:
            cuts = self._cuts
            self._unheard = 0.0 if moment.segment is None else len(moment.voice) / VOICE_RATE
            self._played += sum(ended.position for ended in moment.ended if ended.id in self._parts)
            if moment.i420 is not None:
                yield rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, moment.i420.data)
            if moment.segment is not None and cuts == self._cuts:
                if self.audience is not None and self._parts and self._parts[0] in moment.began:
                    self.audience.started()
                self._unheard = 0.0
                yield rtc.AudioFrame(moment.pcm, VOICE_RATE, 1, len(moment.voice))
            last = self._parts[-1] if self._parts and self._whole else None
            if cuts == self._cuts and any(ended.id == last for ended in moment.ended):
                yield AudioSegmentEnd()
                self._telling = asyncio.create_task(self._tell_end(cuts))
        self._over.set()

    async def _tell_end(self, cuts: int) -> None:
        if self.audience is not None:
            await self.audience.played_out()
        if cuts == self._cuts:
            if self.audience is not None:
                self.audience.finished(self._played)
            self._reset()


class Playback(avatar.AudioReceiver):
    """Stands between a receiver of speech and AvatarRunner, and tells the agent what was heard: "started" and
    "finished" once for each segment, with the position the player knows.

    The runner would tell it from its own counting of audio frames, which is off by one segment when an interruption
    meets it inside a push: "started" twice then, and none for the next segment. What it says is not passed on.
    ``captured``: how many segments the agent has begun, so that those are told too that never came through.
    """

    def __init__(
        self, voice: avatar.AudioReceiver, generator: VisavisVideoGenerator, captured: Callable[[], int] | None = None
    ) -> None:
        super().__init__()
        self.runner: AvatarRunner | None = None
        self._voice, self._generator, self._captured = voice, generator, captured
        self._told = 0
        self._tasks: set[asyncio.Future[Any]] = set()
        generator.audience = self
        voice.on("clear_buffer", self._clear)

    async def start(self) -> None:
        """Begins to receive."""
        await self._voice.start()

    def __aiter__(self) -> AsyncIterator[rtc.AudioFrame | AudioSegmentEnd]:
        return self._voice.__aiter__()

    def notify_playback_started(self) -> None:
        """The runner's guess."""

    def notify_playback_finished(self, playback_position: float, interrupted: bool) -> None:
        """The runner's guess."""

    async def aclose(self) -> None:
        """Ends receiving."""
        self._voice.off("clear_buffer", self._clear)
        await self._voice.aclose()

    def started(self) -> None:
        """The first sound of a segment goes out."""
        self._do(self._voice.notify_playback_started())

    async def played_out(self) -> None:
        """Waits for what the runner's queues hold: some 40 ms."""
        if self.runner is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.runner.av_sync.wait_for_playout(), PLAYOUT_S)

    def finished(self, position: float, interrupted: bool = False) -> None:
        """A segment is over."""
        self._told += 1
        self._do(self._voice.notify_playback_finished(position, interrupted))

    def _clear(self) -> None:
        cut = self._generator.cut()
        if self.runner is not None:
            self._do(self.runner.av_sync.clear_queue())
        positions = [] if cut is None else [cut]
        if self._captured is not None:  # of segments that the receiver has dropped nothing was heard
            positions += [0.0] * (self._captured() - self._told - len(positions))
        for position in positions:
            self.finished(position, True)

    def _do(self, work: Awaitable[None] | None) -> None:
        if work is not None:
            task = asyncio.ensure_future(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def perform(
    room: rtc.Room, player: Player, voice: avatar.AudioReceiver, captured: Callable[[], int] | None = None
) -> AvatarRunner:
    """What shows ``player``, started, in ``room``, speaking what ``voice`` receives: to be started and closed.
    ``captured``: how many segments the agent has begun; a QueueAudioOutput tells that itself."""
    generator = VisavisVideoGenerator(player)
    if isinstance(voice, QueueAudioOutput):
        output = voice
        captured = lambda: output.captured_playout_segments  # noqa: E731
    playback = Playback(voice, generator, captured)
    width, height = player.size
    playback.runner = AvatarRunner(
        room,
        audio_recv=playback,
        video_gen=generator,
        options=AvatarOptions(width, height, FPS, VOICE_RATE, 1),
    )
    return playback.runner
