"""Pipecat: a service that turns a pipeline's speech into a talking avatar and the voice that belongs to it.

    pipeline = Pipeline([transport.input(), stt, ..., tts, VisavisVideoService(), transport.output(), ...])

Written for pipecat-ai 1.14 (extra ``pipecat``; docs/agents.md).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from engine.clock import VOICE_RATE
from engine.engine import Engine
from streaming.integrations.moment import Ended, Moment
from streaming.integrations.player import Closed, Player
from streaming.live import EngineFailure

try:
    from pipecat.frames.frames import (
        AggregatedTextFrame,
        BotStoppedSpeakingFrame,
        CancelFrame,
        EndFrame,
        Frame,
        InterruptionFrame,
        OutputImageRawFrame,
        OutputTransportReadyFrame,
        StartFrame,
        SystemFrame,
        TTSAudioRawFrame,
        TTSStoppedFrame,
        UserStartedSpeakingFrame,
        UserStoppedSpeakingFrame,
    )
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
    from pipecat.services.ai_service import AIService
    from pipecat.services.settings import ServiceSettings
except ImportError as problem:
    raise ImportError(f"{problem}; Pipecat needs its extra: pip install 'visavis[pipecat]'") from problem

STATES: dict[type[Frame], str] = {  # what the avatar is at, by what the pipeline tells; "speaking" it does by itself
    UserStartedSpeakingFrame: "listening",
    UserStoppedSpeakingFrame: "thinking",
    BotStoppedSpeakingFrame: "idle",
}


class VisavisVideoService(AIService):
    """Place it after the TTS and before ``transport.output()``. Takes TTSAudioRawFrame (any rate) and gives
    OutputImageRawFrame (RGB, 25 a second, idle or speaking) and the avatar's own TTSAudioRawFrame (48 kHz, only while
    it speaks). Everything else goes through; what comes after speech goes out when that speech has, in order.

    ``sync_with_audio``: the transport shows each picture when the voice before it was sent; False: when it comes, for
    transports with ``video_out_is_live``. ``engine``: one that is warm already, else this process's own.
    """

    def __init__(
        self,
        *,
        engine: Engine | None = None,
        avatar: str = "",
        framing: str = "upper",
        seed: int = 0,
        sync_with_audio: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings=ServiceSettings(model=None), **kwargs)
        self.player = Player(engine, avatar=avatar, framing=framing, seed=seed)
        self._sync, self._rgb = sync_with_audio, Rgb()
        self._format: tuple[int, int] | None = None  # rate and channels of the open segment
        self._text = ""  # of what comes next
        self._segment: str | None = None  # the last one that was begun and is not over
        self._frames: dict[str, TTSAudioRawFrame] = {}  # the first of each segment that is not over
        self._held: deque[tuple[str, Frame]] = deque()  # what goes out when a segment is over
        self._ready = asyncio.Event()  # the transport takes pictures
        self._drained = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._running = False
        self._order = asyncio.Lock()  # of what goes out: an interruption's frame is behind all that it ends

    def can_generate_metrics(self) -> bool:
        """TTFB: from the first sound of a turn to the first that the avatar says."""
        return True

    # Life.

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # as the base itself does
        """Loads the avatar; a pipeline whose avatar cannot be loaded goes on with the voice alone."""
        await super().setup(setup)
        try:
            await self.player.start()
        except (EngineFailure, ValueError, OSError) as problem:
            await self.push_error(f"no avatar, the voice goes on alone: {problem}", exception=problem)
            return
        self._running = True
        self._pump = self.create_task(self._give())

    async def stop(self, frame: EndFrame) -> None:
        """Says what is left, then ends."""
        await super().stop(frame)
        if self._running and self._pump is not None:
            self._close_segment()
            self._ready.set()  # also where no transport ever said so
            draining = asyncio.ensure_future(self._drain())
            await asyncio.wait({draining, self._pump}, return_when=asyncio.FIRST_COMPLETED)
            draining.cancel()
        await self._end()

    async def _drain(self) -> None:
        while self._segment is not None or self._held:
            self._drained.clear()
            await self._drained.wait()

    async def cancel(self, frame: CancelFrame) -> None:
        """Ends at once."""
        await super().cancel(frame)
        await self._end()

    async def cleanup(self) -> None:
        """Ends, if nothing else did."""
        await super().cleanup()
        await self._end()

    async def _end(self) -> None:
        self._running = False
        if self._pump is not None:
            pump, self._pump = self._pump, None
            await self.cancel_task(pump)
        await self.player.close()

    # What comes in.

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """One frame of the pipeline."""
        await super().process_frame(frame, direction)
        self._note(frame)
        if direction == FrameDirection.UPSTREAM or isinstance(frame, (SystemFrame, StartFrame, EndFrame)):
            await self._pass(frame, direction)
        elif isinstance(frame, TTSAudioRawFrame) and self._running:
            await self._say(frame)
        else:
            await self._hold(frame)

    def _note(self, frame: Frame) -> None:
        if isinstance(frame, OutputTransportReadyFrame):
            self._ready.set()
        elif isinstance(frame, AggregatedTextFrame) and frame.will_be_spoken:
            self._text = frame.text
            self._close_segment()  # the sound that comes next is the text's
        elif (state := STATES.get(type(frame))) is not None:
            self.player.show(state)

    async def _pass(self, frame: Frame, direction: FrameDirection) -> None:
        kept: list[Frame] = []
        if isinstance(frame, InterruptionFrame):
            kept = self._interrupt()
        async with self._order:
            await self.push_frame(frame, direction)
        for held in kept:
            await self.push_frame(held)

    async def _say(self, frame: TTSAudioRawFrame) -> None:
        form = frame.sample_rate, frame.num_channels
        try:
            if form != self._format:
                if self._segment is None:
                    await self.start_ttfb_metrics()
                self._segment, self._format = self.player.begin(*form, self._text), form
                self._text = ""
                self._frames[self._segment] = frame
            await self.player.push(frame.audio, *form)
        except Closed:
            await self.push_frame(frame)

    async def _hold(self, frame: Frame) -> None:
        """Frames behind speech wait for its end, except those that the transport shows by their own time."""
        timed = frame.pts is not None and not isinstance(frame, TTSStoppedFrame)
        if self._segment is None or timed or not self._running:
            await self.push_frame(frame)
            return
        self._held.append((self._segment, frame))
        self._close_segment()

    def _close_segment(self) -> None:
        self.player.end()
        self._format = None

    def _interrupt(self) -> list[Frame]:
        """Silence at once; the frames that go out in spite of it. Speech that may not be interrupted is said on."""
        if not self._running or any(not frame.interruptible for frame in self._frames.values()):
            return []
        self.player.interrupt()
        kept = [frame for _, frame in self._held if not frame.interruptible]
        self._held.clear()
        self._frames.clear()
        self._segment = self._format = None
        self._drained.set()
        return kept

    # What goes out.

    async def _give(self) -> None:
        await self._ready.wait()
        async for moment in self.player:
            await self._push_moment(moment)

    async def _push_moment(self, moment: Moment) -> None:
        if moment.i420 is not None:
            image = OutputImageRawFrame(self._rgb(moment.i420, self.player.size), self.player.size, "RGB")
            image.sync_with_audio = self._sync
            await self.push_frame(image)
        first = self._frames.get(moment.segment or "")
        if first is not None:
            if moment.began:
                await self.stop_ttfb_metrics()
            audio = TTSAudioRawFrame(moment.pcm, VOICE_RATE, 1, first.context_id)
            audio.interruptible = first.interruptible
            audio.transport_destination = first.transport_destination
            async with self._order:
                if moment.segment in self._frames:
                    await self.push_frame(audio)
        for ended in moment.ended:
            await self._let_go(ended)

    async def _let_go(self, ended: Ended) -> None:
        if self._frames.pop(ended.id, None) is None:
            return
        if ended.id == self._segment:
            self._segment = self._format = None
        while True:
            async with self._order:
                if not self._held or self._held[0][0] != ended.id:
                    break
                await self.push_frame(self._held.popleft()[1])
        self._drained.set()


class Rgb:
    """I420 to RGB, again and again."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()  # made anew for each picture it would cost 0.4 ms of 0.5

    def __call__(self, i420: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
        """Bytes of (H,W,3) for a picture ((3H/2)*W,)."""
        width, height = size
        frame = av.VideoFrame.from_ndarray(i420.reshape(height * 3 // 2, width), format="yuv420p")
        return self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray().tobytes()
