"""LiveKit's real runner, queues, receivers and AgentSession around an avatar; only the room is made up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("livekit.agents")

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.metrics.base import AvatarMetrics
from livekit.agents.voice.avatar import AudioSegmentEnd, DataStreamAudioOutput, QueueAudioOutput
from livekit.agents.voice.io import AudioOutput

from engine.clock import VOICE_FRAME
from engine.engine import Engine
from streaming.integrations.livekit import AvatarSession, VisavisVideoGenerator, perform
from streaming.integrations.livekit_worker import serve_room
from streaming.integrations.player import Player, playing
from streaming.live import EngineFailure

from ..double import DoubleEngine
from ..harness import run, until
from .room import FakeRoom, Hall
from .speech import frames, pitch


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.0)


def player_of(engine: DoubleEngine | Engine) -> Player:
    return Player(engine)  # type: ignore[arg-type]


class Heard:
    """What an agent is told of its speech."""

    def __init__(self, output: AudioOutput) -> None:
        self.started, self.finished = 0, []
        output.on("playback_started", lambda event: setattr(self, "started", self.started + 1))
        output.on("playback_finished", self.finished.append)


class Watched:
    """What a participant sees and hears of another's real tracks."""

    def __init__(self, tracks: dict[str, Any]) -> None:
        self.pictures: list[tuple[float, int]] = []  # arrival, size of the mouth
        self.sounds: list[tuple[float, np.ndarray]] = []
        self._streams: list[Any] = []
        self._tasks = [
            asyncio.ensure_future(self._see(tracks["avatar_video"])),
            asyncio.ensure_future(self._hear(tracks["avatar_audio"])),
        ]

    async def _see(self, track: rtc.LocalVideoTrack) -> None:
        self._streams.append(stream := rtc.VideoStream(track))
        async for event in stream:
            luma = np.frombuffer(event.frame.data, np.uint8)[: event.frame.width * event.frame.height]
            self.pictures.append((asyncio.get_running_loop().time(), int((luma == 60).sum())))

    async def _hear(self, track: rtc.LocalAudioTrack) -> None:
        self._streams.append(stream := rtc.AudioStream(track, sample_rate=48_000, num_channels=1))
        async for event in stream:
            self.sounds.append((asyncio.get_running_loop().time(), np.frombuffer(event.frame.data, np.int16).copy()))

    def opened(self, since: float, rest: int) -> float:
        """When the mouth was first larger than ``rest``; 0 when it never was."""
        return next((at for at, mouth in self.pictures if at > since and mouth > rest), 0.0)

    def sounded(self, since: float) -> float:
        """When a voice was first heard."""
        return next((at for at, sound in self.sounds if at > since and np.abs(sound).max() > 2000), 0.0)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for stream in self._streams:
            await stream.aclose()


async def speak(output: AudioOutput, seconds: float, hertz: float = 440.0) -> None:
    for frame in frames(seconds, hertz=hertz):
        await output.capture_frame(frame)
    output.flush()


def remote_output(agent: FakeRoom) -> DataStreamAudioOutput:
    return DataStreamAudioOutput(
        agent,  # type: ignore[arg-type]
        destination_identity="visavis-avatar",
        wait_remote_track=rtc.TrackKind.KIND_VIDEO,
        clear_buffer_timeout=9.0,
        wait_playback_start=True,
    )


def test_the_generator_gives_pictures_alone_then_pictures_each_before_its_voice(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with playing(player_of(engine)) as player:
            generator, out = VisavisVideoGenerator(player), []

            async def push() -> None:
                for frame in frames(0.3):
                    await generator.push_audio(frame)
                await generator.push_audio(AudioSegmentEnd())

            async for item in generator:
                out.append(item)
                if len(out) == 5:
                    pushing = asyncio.ensure_future(push())
                if isinstance(item, AudioSegmentEnd):
                    break
            assert not pushing.done() or not pushing.exception()
            kinds = "".join("s" if isinstance(item, rtc.AudioFrame) else "v" for item in out[:-1])
            assert kinds[:5] == "vvvvv" and set(kinds.lstrip("v").split("v")) == {"s"} and kinds.endswith("vs")
            sounds = [item for item in out if isinstance(item, rtc.AudioFrame)]
            assert all(sound.samples_per_channel % VOICE_FRAME == 0 and sound.sample_rate == 48_000 for sound in sounds)
            picture = out[0]
            assert (picture.width, picture.height, picture.type) == (64, 64, rtc.VideoBufferType.I420)
            assert len(picture.data) == 64 * 64 * 3 // 2

    run(work())


def test_the_end_of_a_segment_is_pushed_back_until_it_was_said_or_cut(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with playing(player_of(engine)) as player:
            generator = VisavisVideoGenerator(player)

            async def read() -> None:
                async for _ in generator:
                    pass

            reading = asyncio.ensure_future(read())
            for frame in frames(1.0):
                await generator.push_audio(frame)
            ending = asyncio.ensure_future(generator.push_audio(AudioSegmentEnd()))
            await asyncio.sleep(0.1)
            assert not ending.done()
            await asyncio.wait_for(ending, 20)
            for frame in frames(5):
                await generator.push_audio(frame)
            ending = asyncio.ensure_future(generator.push_audio(AudioSegmentEnd()))
            await asyncio.sleep(0.1)
            generator.clear_buffer()
            await asyncio.wait_for(ending, 20)
            reading.cancel()

    run(work())


def test_in_a_room_lips_and_voice_of_the_real_tracks_are_together(engine: DoubleEngine) -> None:
    async def work() -> None:
        hall = Hall()
        room, output = FakeRoom(hall), QueueAudioOutput(wait_playback_start=True)
        async with playing(player_of(engine)) as player:
            runner = perform(room, player, output)  # type: ignore[arg-type]
            heard = Heard(output)
            await runner.start()
            tracks = room.local_participant.tracks
            await until(lambda: len(tracks) == 2)
            watched = Watched(tracks)
            await until(lambda: len(watched.pictures) > 5)
            rest, apart = min(mouth for _, mouth in watched.pictures), []
            for word in range(3):  # a machine that stood still may have parted one of them
                begun = asyncio.get_running_loop().time()
                await speak(output, 0.4)
                event = await asyncio.wait_for(output.wait_for_playout(), 10)
                assert event.playback_position == pytest.approx(0.4, abs=0.002) and not event.interrupted
                assert heard.started == len(heard.finished) == word + 1
                await until(lambda begun=begun: watched.opened(begun, 2 * rest) and watched.sounded(begun))
                apart.append(abs(watched.opened(begun, 2 * rest) - watched.sounded(begun)))
                await asyncio.sleep(0.5)  # the last of it comes
            voice = np.concatenate([sound for _, sound in watched.sounds])
            assert pitch(voice) == pytest.approx(440, rel=0.01)
            assert np.median(apart) < 0.4
            await watched.stop()
            await runner.aclose()

    run(work())


def test_after_each_of_ten_interruptions_the_agent_hears_of_it_and_speaks_again(engine: DoubleEngine) -> None:
    async def work() -> None:
        room, output = FakeRoom(Hall()), QueueAudioOutput(wait_playback_start=True)
        async with playing(player_of(engine)) as player:
            runner, heard = perform(room, player, output), Heard(output)  # type: ignore[arg-type]
            await runner.start()
            for turn in range(10):
                await speak(output, 3)
                await until(lambda turn=turn: heard.started == 2 * turn + 1)
                await asyncio.sleep(0.007 * turn)
                output.clear_buffer()
                output.clear_buffer()
                event = await asyncio.wait_for(output.wait_for_playout(), 10)
                assert event.interrupted and 0 <= event.playback_position < 1
                await speak(output, 0.1)
                event = await asyncio.wait_for(output.wait_for_playout(), 10)
                assert not event.interrupted and event.playback_position == pytest.approx(0.1, abs=0.002)
                assert heard.started == 2 * turn + 2 and len(heard.finished) == 2 * turn + 2
            await runner.aclose()

    run(work())


async def at_random(output: AudioOutput, turns: int) -> None:
    """What agents do, in no order: speak, queue more, interrupt at any moment, wait for the end or not."""
    chance = random.Random(7)
    for _ in range(turns):
        for frame in frames(chance.choice([0.05, 0.05, 0.2, 0.3])):
            await output.capture_frame(frame)
            if chance.random() < 0.4:
                await asyncio.sleep(chance.choice([0, 0, 0.01, 0.05]))
        output.flush()
        for _ in range(chance.choice([0, 0, 1, 3])):
            await asyncio.sleep(chance.choice([0, 0.02]))
        if chance.random() < 0.6:
            output.clear_buffer()
            await asyncio.wait_for(output.wait_for_playout(), 10)
    await asyncio.wait_for(output.wait_for_playout(), 20)


def test_whatever_an_agent_does_every_segment_it_captured_is_answered_once(engine: DoubleEngine) -> None:
    async def work() -> None:
        room, output = FakeRoom(Hall()), QueueAudioOutput(wait_playback_start=True)
        async with playing(player_of(engine)) as player:
            runner, heard = perform(room, player, output), Heard(output)  # type: ignore[arg-type]
            await runner.start()
            await at_random(output, 20)
            assert len(heard.finished) == output.captured_playout_segments == 20
            assert heard.started == sum(event.playback_position > 0 for event in heard.finished)
            await runner.aclose()

    run(work())


def test_the_same_for_an_agent_elsewhere(engine: DoubleEngine, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        hall = Hall()
        agent, worker = FakeRoom(hall, "agent"), FakeRoom(hall, "visavis-avatar")
        output = remote_output(agent)
        heard = Heard(output)
        async with playing(player_of(engine)) as player:
            serving = asyncio.ensure_future(serve_room(worker, player, "agent"))  # type: ignore[arg-type]
            await at_random(output, 20)
            assert len(heard.finished) == output.captured_playout_segments == 20
            assert heard.started == sum(event.playback_position > 0 for event in heard.finished)
            assert "arbitrarily" not in caplog.text, "the agent had to give up waiting"
            await agent.disconnect()
            await asyncio.wait_for(serving, 10)

    run(work())


def test_an_agent_elsewhere_streams_its_voice_and_is_called_back(engine: DoubleEngine) -> None:
    async def work() -> None:
        hall = Hall()
        agent, worker = FakeRoom(hall, "agent"), FakeRoom(hall, "visavis-avatar")
        output = remote_output(agent)
        heard = Heard(output)
        async with playing(player_of(engine)) as player:
            serving = asyncio.ensure_future(serve_room(worker, player, "agent"))  # type: ignore[arg-type]
            for turn in range(2):
                await speak(output, 2)
                await until(lambda turn=turn: heard.started == 2 * turn + 1)
                await asyncio.sleep(0.015 * turn)
                output.clear_buffer()
                event = await asyncio.wait_for(output.wait_for_playout(), 10)
                assert event.interrupted and 0 <= event.playback_position < 1
                await speak(output, 0.1)
                event = await asyncio.wait_for(output.wait_for_playout(), 10)
                assert not event.interrupted and event.playback_position == pytest.approx(0.1, abs=0.002)
            assert heard.started == len(heard.finished) == 4
            told = [method for caller, method, _ in hall.calls if caller == "visavis-avatar"]
            assert told == ["lk.playback_started", "lk.playback_finished"] * 4
            await agent.local_participant.set_attributes({"lk.agent.state": "thinking"})
            assert player.live.state == "thinking"
            await agent.disconnect()
            await asyncio.wait_for(serving, 20)

    run(work())


class Silent(Agent):
    """An agent whose words come with their sound."""

    def __init__(self) -> None:
        super().__init__(instructions="none")


async def sound(seconds: float) -> AsyncIterator[rtc.AudioFrame]:
    for frame in frames(seconds):
        yield frame


def test_a_real_agent_session_speaks_through_the_avatar_and_can_be_interrupted(engine: DoubleEngine) -> None:
    async def work() -> None:
        hall = Hall()
        room, session, metrics = FakeRoom(hall), AgentSession(), []
        avatar = AvatarSession(engine=engine)  # type: ignore[arg-type]
        avatar.on("metrics_collected", metrics.append)
        await avatar.start(session, room=room)  # type: ignore[arg-type]
        await session.start(Silent())
        assert avatar.avatar_identity == "agent"
        await avatar.wait_for_join(timeout=20)
        for _ in range(2):
            said = session.say("a word", audio=sound(0.2))
            await asyncio.wait_for(said.wait_for_playout(), 10)
            assert not said.interrupted
            cut = session.say("a long speech", audio=sound(10))
            await until(lambda: session.agent_state == "speaking")
            await asyncio.sleep(0.1)
            await asyncio.wait_for(session.interrupt(), 10)
            await asyncio.wait_for(cut.wait_for_playout(), 10)
            assert cut.interrupted
        await until(lambda: metrics)
        assert isinstance(metrics[0], AvatarMetrics) and metrics[0].metadata.model_provider == "visavis"
        await until(lambda: avatar.player.live.state == "listening")
        await avatar.aclose()
        await avatar.aclose()
        assert room.isconnected()
        await session.aclose()

    run(work())


def test_nothing_is_lost_of_a_greeting_before_somebody_watches(engine: DoubleEngine) -> None:
    async def work() -> None:
        hall = Hall()
        hall.subscribed.clear()
        room, output = FakeRoom(hall), QueueAudioOutput(wait_playback_start=True)
        async with playing(player_of(engine)) as player:
            runner, heard = perform(room, player, output), Heard(output)  # type: ignore[arg-type]
            await runner.start()
            await speak(output, 0.3)
            await asyncio.sleep(0.4)
            assert heard.started == 0
            hall.subscribed.set()
            event = await asyncio.wait_for(output.wait_for_playout(), 10)
            assert event.playback_position == pytest.approx(0.3, abs=0.002)
            await runner.aclose()

    run(work())


def test_when_the_engine_fails_the_agent_goes_on_speaking(engine: DoubleEngine) -> None:
    async def work() -> None:
        room, output = FakeRoom(Hall()), QueueAudioOutput(wait_playback_start=True)
        async with playing(player_of(engine)) as player:
            runner, heard = perform(room, player, output), Heard(output)  # type: ignore[arg-type]
            await runner.start()
            await speak(output, 0.4)
            await until(lambda: heard.started)
            engine.opened[-1].fail = True
            assert not (await asyncio.wait_for(output.wait_for_playout(), 10)).interrupted
            await speak(output, 0.2)
            event = await asyncio.wait_for(output.wait_for_playout(), 10)
            assert event.playback_position == pytest.approx(0.2, abs=0.002) and player.failure is not None
            await runner.aclose()

    run(work())


def test_the_real_engine_speaks_in_a_room(real_engine: Engine) -> None:
    async def work() -> None:
        room, output = FakeRoom(Hall()), QueueAudioOutput(wait_playback_start=True)
        async with playing(player_of(real_engine)) as player:
            runner = perform(room, player, output)  # type: ignore[arg-type]
            await runner.start()
            await speak(output, 0.4, hertz=200)
            event = await asyncio.wait_for(output.wait_for_playout(), 10)
            assert event.playback_position == pytest.approx(0.4, abs=0.002)
            await runner.aclose()

    run(work())


def test_a_session_without_its_avatar_can_go_on(engine: DoubleEngine) -> None:
    async def work() -> None:
        engine.fail_open = True
        session = AgentSession()
        with pytest.raises(EngineFailure, match="never opens"):
            await AvatarSession(engine=engine).start(session, room=FakeRoom(Hall()))  # type: ignore[arg-type]
        await session.start(Silent())
        await session.aclose()

    run(work())
