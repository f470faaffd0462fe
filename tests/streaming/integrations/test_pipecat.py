"""Pipecat's real pipeline and output transport around an avatar; only the far end of the transport is made up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pipecat")

from pipecat.frames.frames import (
    AggregatedTextFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    OutputImageRawFrame,
    StartFrame,
    TextFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserStartedSpeakingFrame,
)
from pipecat.metrics.metrics import TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.utils.text.base_text_aggregator import TextType
from pipecat.workers.runner import WorkerRunner

from engine.clock import VOICE_FRAME
from engine.engine import Engine
from kernels.yuv import to_i420
from streaming.integrations.pipecat import Rgb, VisavisVideoService

from ..double import DoubleEngine
from ..harness import run, until
from .speech import pitch, tone

RATE = 24_000


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.0)


def service_of(engine: DoubleEngine | Engine, **options: Any) -> VisavisVideoService:
    return VisavisVideoService(engine=engine, **options)  # type: ignore[arg-type]


class Sink(FrameProcessor):
    """Keeps what comes down."""

    def __init__(self, ready: bool = True) -> None:
        super().__init__()
        self.frames: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction == FrameDirection.DOWNSTREAM:
            self.frames.append(frame)
        await self.push_frame(frame, direction)

    def of(self, *kinds: type) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kinds)]


class Speaker(BaseOutputTransport):
    """A transport whose far end plays at the pace of time and notes when what was shown and heard."""

    def __init__(self, **params: Any) -> None:
        super().__init__(
            TransportParams(audio_out_enabled=True, video_out_enabled=True, audio_out_end_silence_secs=0, **params)
        )
        self.pictures: list[tuple[float, int]] = []  # time, size of the mouth
        self.sounds: list[tuple[float, np.ndarray]] = []
        self._due = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now)
        self.sounds.append((self._due, np.frombuffer(frame.audio, np.int16)))
        await asyncio.sleep(max(self._due - now, 0))  # one chunk ahead of what is heard, as transports are
        self._due += len(frame.audio) / 2 / frame.sample_rate
        return True

    async def write_video_frame(self, frame: OutputImageRawFrame) -> bool:
        luma = np.frombuffer(frame.image, np.uint8).reshape(*frame.size[::-1], 3)[..., 1]
        self.pictures.append((asyncio.get_running_loop().time(), int((abs(luma.astype(int) - 58) < 12).sum())))
        return True

    def heard(self, since: float) -> list[float]:
        """When there was sound."""
        return [at for at, _ in self.sounds if at > since]

    def open(self, since: float, rest: float) -> list[float]:
        """When the mouth was larger than ``rest``."""
        return [at for at, mouth in self.pictures if at > since and mouth > rest]

    @property
    def voice(self) -> np.ndarray:
        return np.concatenate([sound for _, sound in self.sounds]) if self.sounds else np.zeros(1, np.int16)


@contextlib.asynccontextmanager
async def running(*processors: FrameProcessor, ends: bool = True) -> AsyncIterator[PipelineWorker]:
    """A pipeline that has started; at the end it ends by an EndFrame, if nothing ended it before."""
    worker = PipelineWorker(
        Pipeline(list(processors)),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
        params=PipelineParams(enable_metrics=True, audio_out_sample_rate=RATE),
    )
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def note(*_: Any) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    task = asyncio.ensure_future(runner.run())
    try:
        await asyncio.wait_for(started.wait(), 20)
        yield worker
        if ends:
            await worker.queue_frame(EndFrame())
        await asyncio.wait_for(task, 20)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def speech(seconds: float, hertz: float = 440.0, context: str = "turn") -> list[Frame]:
    """A turn as a TTS gives it, faster than it is said."""
    pcm = tone(seconds, RATE, hertz)
    pieces = [pcm[at : at + 4800] for at in range(0, len(pcm), 4800)]
    audio = [TTSAudioRawFrame(piece, RATE, 1, context) for piece in pieces]
    return [TTSStartedFrame(context), *audio, TTSStoppedFrame(context)]


def seconds(sink: Sink) -> float:
    """How much of a tone came down; on a machine that is too slow with pauses between."""
    voice = np.concatenate([np.frombuffer(frame.audio, np.int16) for frame in sink.of(TTSAudioRawFrame)])
    return float(np.abs(voice.astype(float)).sum() / (8000 * 2 / np.pi) / 48_000)


def about(duration: float) -> Any:
    return pytest.approx(duration, rel=0.05)


async def say(worker: PipelineWorker, *frames: Frame) -> None:
    for frame in frames:
        await worker.queue_frame(frame)


def test_speech_becomes_pictures_and_its_own_voice_and_is_heard_once(engine: DoubleEngine) -> None:
    async def work() -> None:
        speaker, sink = Speaker(video_out_width=64, video_out_height=64), Sink()
        async with running(service_of(engine), sink, speaker) as worker:
            await until(lambda: len(sink.of(OutputImageRawFrame)) > 3, what="no idle pictures")
            assert not sink.of(OutputAudioRawFrame)
            await say(worker, *speech(0.6))
            await until(lambda: sink.of(TTSStoppedFrame))
        images, sounds = sink.of(OutputImageRawFrame), sink.of(TTSAudioRawFrame)
        assert all(
            image.size == (64, 64) and image.format == "RGB" and len(image.image) == 64 * 64 * 3 for image in images
        )
        assert all(len(sound.audio) % (2 * VOICE_FRAME) == 0 and sound.sample_rate == 48_000 for sound in sounds)
        assert {sound.context_id for sound in sounds} == {"turn"} and seconds(sink) == about(0.6)
        order = [type(frame) for frame in sink.of(TTSStartedFrame, TTSAudioRawFrame, TTSStoppedFrame)]
        assert order == [TTSStartedFrame, *[TTSAudioRawFrame] * len(sounds), TTSStoppedFrame]
        media = sink.of(OutputImageRawFrame, TTSAudioRawFrame)  # metrics overtake both
        for sound in sounds:  # each picture comes right before the voice that belongs to it
            assert isinstance(media[media.index(sound) - 1], OutputImageRawFrame)
        loud = speaker.voice
        assert pitch(loud, RATE) == pytest.approx(440, rel=0.03)
        assert np.abs(loud.astype(float)).sum() == pytest.approx(0.6 * RATE * 8000 * 2 / np.pi, rel=0.05)

    run(work())


@pytest.mark.parametrize(("sync", "live"), [(True, False), (False, True)])
def test_lips_move_with_the_voice_in_both_ways_of_showing_pictures(
    engine: DoubleEngine, sync: bool, live: bool
) -> None:
    async def work() -> None:
        speaker = Speaker(video_out_width=64, video_out_height=64, video_out_is_live=live, video_out_framerate=30)
        async with running(service_of(engine, sync_with_audio=sync), speaker) as worker:
            await until(lambda: len(speaker.pictures) > 5)
            rest, apart = max(mouth for _, mouth in speaker.pictures), []
            for word in range(9):  # a machine that stood still may have parted one, or shown nothing of it
                begun = asyncio.get_running_loop().time()
                await say(worker, *speech(0.4, context=f"word {word}"))
                await until(lambda begun=begun: speaker.heard(begun))
                await until(lambda: speaker.pictures[-1][1] <= rest and speaker.pictures[-1][0] > speaker.sounds[-1][0])
                await asyncio.sleep(0.5)  # the last of it comes
                if seen := speaker.open(begun, 1.5 * rest):
                    heard = speaker.heard(begun)
                    apart.append((abs(seen[0] - heard[0]), abs(seen[-1] - heard[-1])))
                if len(apart) == 3:
                    break
        assert len(apart) == 3
        begins, ends = np.median(apart, axis=0)
        assert begins < 0.4 and (live or ends < 0.4)

    run(work())


def test_after_each_of_ten_interruptions_it_is_silent_at_once_and_speaks_again(engine: DoubleEngine) -> None:
    async def work() -> None:
        speaker, sink, service = Speaker(video_out_width=64, video_out_height=64), Sink(), service_of(engine)
        push = service.push_frame

        async def slowly(frame: Any, direction: Any = FrameDirection.DOWNSTREAM) -> None:
            await asyncio.sleep(0.02 * isinstance(frame, TTSAudioRawFrame))  # an interruption comes meanwhile
            await push(frame, direction)

        service.push_frame = slowly
        async with running(service, sink, speaker) as worker:
            for turn in range(10):
                before = len(sink.of(TTSAudioRawFrame))
                await say(worker, *speech(5, context=f"long {turn}"), TextFrame("never said"))
                await until(lambda before=before: len(sink.of(TTSAudioRawFrame)) > before + 3)
                await worker.queue_frame(InterruptionFrame())
                await until(lambda turn=turn: len(sink.of(InterruptionFrame)) > turn)
                at = sink.frames.index(sink.of(InterruptionFrame)[-1])
                await say(worker, *speech(0.1, 1000, f"short {turn}"))
                await until(lambda turn=turn: len(sink.of(TTSStoppedFrame)) > turn)
                after = [frame for frame in sink.frames[at:] if isinstance(frame, TTSAudioRawFrame)]
                assert {frame.context_id for frame in after} == {f"short {turn}"}
            assert [frame.context_id for frame in sink.of(TTSStoppedFrame)] == [f"short {turn}" for turn in range(10)]
            assert not [frame for frame in sink.of(TextFrame) if frame.text == "never said"]

    run(work())


def test_what_comes_after_speech_waits_for_it_and_speech_after_it_for_that(engine: DoubleEngine) -> None:
    async def work() -> None:
        sink, speaker = Sink(), Speaker(video_out_width=64, video_out_height=64)
        async with running(service_of(engine), sink, speaker) as worker:
            first, second = speech(0.2, context="a"), speech(0.2, context="b")
            await say(
                worker, TextFrame("0"), *first, TextFrame("1"), *second, TextFrame("2"), LLMFullResponseEndFrame()
            )
            timed = TextFrame("timed")
            timed.pts = 1
            await worker.queue_frame(timed)
            await until(lambda: sink.of(LLMFullResponseEndFrame))
        texts = [frame.text for frame in sink.of(TextFrame)]
        assert texts == ["0", "timed", "1", "2"]
        marks = sink.of(TextFrame, TTSStartedFrame, TTSAudioRawFrame, TTSStoppedFrame)
        names = [getattr(frame, "text", None) or frame.context_id for frame in marks]
        assert "".join(name for name, _ in groupby(name for name in names if name != "timed")) == "0a1b2"

    run(work())


def test_an_end_frame_lets_it_finish_and_a_cancel_stops_it(engine: DoubleEngine) -> None:
    async def work() -> None:
        sink, service = Sink(), service_of(engine)
        async with running(service, sink, Speaker(video_out_width=64, video_out_height=64)) as worker:
            await say(worker, *speech(0.5))
        assert seconds(sink) == about(0.5) and isinstance(sink.frames[-1], EndFrame)
        assert service.player.live.closing
        sink, service = Sink(), service_of(engine)
        loop = asyncio.get_running_loop()
        async with running(service, sink, Speaker(video_out_width=64, video_out_height=64), ends=False) as worker:
            await say(worker, *speech(30))
            await until(lambda: sink.of(TTSAudioRawFrame))
            begun = loop.time()
            await worker.cancel()
        assert loop.time() - begun < 20 and service.player.live.closing

    run(work())


def test_the_bot_speaks_for_pipecat_exactly_while_it_is_heard_and_ttfb_is_told(engine: DoubleEngine) -> None:
    async def work() -> None:
        sink, after, service = Sink(), Sink(), service_of(engine)
        speaker = Speaker(video_out_width=64, video_out_height=64)
        async with running(service, sink, speaker, after) as worker:
            await say(worker, *speech(0.3))
            await until(lambda: after.of(BotStoppedSpeakingFrame))
        assert len(after.of(BotStartedSpeakingFrame)) == len(after.of(BotStoppedSpeakingFrame)) == 1
        ttfb = [data for frame in sink.of(MetricsFrame) for data in frame.data if isinstance(data, TTFBMetricsData)]
        assert [data.processor for data in ttfb if data.value > 0] == [service.name]

    run(work())


def test_speech_that_may_not_be_interrupted_is_said_on(engine: DoubleEngine) -> None:
    async def work() -> None:
        sink = Sink()
        async with running(service_of(engine), sink, Speaker(video_out_width=64, video_out_height=64)) as worker:
            frames = speech(0.4)
            for frame in frames:
                frame.interruptible = False
            await say(worker, *frames)
            await until(lambda: sink.of(TTSAudioRawFrame))
            await worker.queue_frame(InterruptionFrame())
            await until(lambda: sink.of(TTSStoppedFrame))
        assert seconds(sink) == about(0.4)

    run(work())


def test_the_avatar_knows_the_text_of_what_it_says(tmp_path: Path) -> None:
    meant: list[str] = []

    class Reader(DoubleEngine):
        def meaning(self, text: str) -> tuple[float, ...]:
            meant.append(text)
            return super().meaning(text)

    async def work() -> None:
        sink = Sink()
        service = service_of(Reader(tmp_path, side=64, cost_s=0.0))
        async with running(service, sink, Speaker(video_out_width=64, video_out_height=64)) as worker:
            for words in ("Look up there.", "It is huge."):
                text = AggregatedTextFrame(words, TextType.SENTENCE)
                text.will_be_spoken, text.pts = (
                    True,
                    1,
                )  # as a TTS sends it: ahead of its sound, and not behind the sound before
                await say(worker, text, *speech(0.15)[1:-1])
                await until(lambda words=words: words in meant)  # else it may be old before it is understood
            await say(worker, TTSStoppedFrame("turn"))
        assert meant == ["Look up there.", "It is huge."] and seconds(sink) == about(0.3)

    run(work())


def test_the_avatar_listens_while_the_viewer_speaks(engine: DoubleEngine) -> None:
    async def work() -> None:
        service = service_of(engine)
        async with running(service, Speaker(video_out_width=64, video_out_height=64)) as worker:
            await worker.queue_frame(UserStartedSpeakingFrame())
            await until(lambda: service.player.live.state == "listening")

    run(work())


def test_without_an_avatar_the_voice_goes_through_and_the_pipeline_hears_why(engine: DoubleEngine) -> None:
    async def work() -> None:
        engine.fail_open = True
        sink = Sink()
        async with running(service_of(engine), sink, Speaker(video_out_width=64, video_out_height=64)) as worker:
            await say(worker, *speech(0.2))
            await until(lambda: sink.of(TTSStoppedFrame))
        assert sum(len(frame.audio) for frame in sink.of(TTSAudioRawFrame)) == len(tone(0.2, RATE))
        assert not sink.of(OutputImageRawFrame)

    run(work())


def test_colours_come_back_as_they_were_painted() -> None:
    painted = np.empty((64, 64, 3), np.uint8)
    painted[:32], painted[32:] = (200, 120, 90), (30, 60, 160)
    back = np.frombuffer(Rgb()(to_i420(painted).ravel(), (64, 64)), np.uint8).reshape(64, 64, 3)
    assert np.abs(back.astype(int) - painted)[[10, 50]].max() <= 3


def test_the_real_engine_speaks_in_a_pipeline(real_engine: Engine) -> None:
    async def work() -> None:
        sink = Sink()
        async with running(service_of(real_engine), sink, Speaker(video_out_width=128, video_out_height=128)) as worker:
            await say(worker, *speech(0.4, 200))
        assert seconds(sink) == about(0.4) and sink.of(OutputImageRawFrame)[0].size == (128, 128)

    run(work())


def test_without_a_transport_an_end_frame_still_lets_it_finish(engine: DoubleEngine) -> None:
    async def work() -> None:
        sink = Sink()
        async with running(service_of(engine), sink) as worker:
            await say(worker, *speech(0.2))
        assert seconds(sink) == about(0.2) and len(sink.of(TTSStoppedFrame)) == 1

    run(work())
