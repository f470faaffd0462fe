"""A Live without any connection: outlets, sources, interruptions, and an end that leaves nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from engine.clock import FRAME, VOICE_RATIO
from streaming import protocol
from streaming.config import ServerConfig, StreamConfig
from streaming.guard import Refusal
from streaming.hub import Hub
from streaming.live import Live, Options, Watcher
from streaming.tracks import OutFrame

from .double import DoubleEngine
from .harness import run, until

OPTIONS = Options("ada", "upper", 0)


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.0)


class Kept:
    """An outlet that keeps everything."""

    def __init__(self) -> None:
        self.frames: list[OutFrame] = []
        self.voices: list[np.ndarray] = []
        self.ends: list[str] = []

    def frame(self, frame: OutFrame) -> None:
        self.frames.append(frame)

    def voice(self, voice: np.ndarray) -> None:
        self.voices.append(voice)

    def ended(self, why: str) -> None:
        self.ends.append(why)


class Counter:
    """A source that says the numbers of its samples, so that whoever hears them knows when they were taken."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.pts: list[int] = []
        self.stops = 0

    def take(self, count: int, position: int) -> np.ndarray:
        self.positions.append(position)
        return ((np.arange(position, position + count) % 1000) / 1000).astype(np.float32)

    def shown(self, frame: OutFrame) -> None:
        self.pts.append(frame.pts)

    def interrupted(self) -> None:
        self.stops += 1


def live_of(engine: DoubleEngine) -> Live:
    """One that leaves no voice out, however late this machine lets it paint."""
    live = Live(engine, OPTIONS, StreamConfig())  # type: ignore[arg-type]
    live.worker._backlog = 10**9
    return live


def test_every_outlet_gets_every_frame_and_one_that_comes_late_gets_the_rest(engine: DoubleEngine) -> None:
    async def work() -> None:
        live, first, second = live_of(engine), Kept(), Kept()
        live.add(first)
        live.start()
        await until(lambda: len(first.frames) > 5)
        live.add(second)
        await until(lambda: len(second.frames) > 5)
        live.remove(first)
        gone = len(first.frames)
        await asyncio.sleep(0.1)
        await live.close("enough")
        assert len(first.frames) == gone and first.ends == [] and second.ends == ["enough"]
        assert [frame.pts for frame in first.frames] == [FRAME * k for k in range(gone)]
        assert second.frames[0].pts > first.frames[4].pts

    run(work())


def test_a_source_is_asked_without_gaps_and_its_words_come_out_where_they_belong(engine: DoubleEngine) -> None:
    async def work() -> None:
        live, kept, source = live_of(engine), Kept(), Counter()
        live.add(kept)
        live.speak(source)
        live.start()
        await until(lambda: len(kept.frames) > 10)
        await live.close("enough")
        assert (np.diff(source.positions) > 0).all() and source.pts == [frame.pts for frame in kept.frames]
        begin = source.positions[0]
        for frame in kept.frames[2:]:
            assert frame.voice is not None
            start = frame.pts * VOICE_RATIO
            if start >= begin:
                np.testing.assert_allclose(frame.voice, (np.arange(start, start + 1920) % 1000) / 1000, atol=1e-6)
        heard = np.concatenate(kept.voices)[begin:]
        np.testing.assert_allclose(heard, (np.arange(begin, begin + len(heard)) % 1000) / 1000, atol=1e-6)

    run(work())


def test_the_microphone_is_overheard_while_a_source_speaks(engine: DoubleEngine) -> None:
    async def work() -> None:
        live, heard = live_of(engine), []
        live.speak(Counter())
        live.overhear(heard.append)
        live.hear(0, np.full(960, 0.5, np.float32))
        assert len(heard) == 1 and live.edge == 0
        live.speak(None)
        live.hear(960, np.full(960, 0.5, np.float32))
        assert len(heard) == 1 and live.edge > 0
        live.start()
        await live.close("enough")

    run(work())


def test_an_interruption_silences_what_goes_out_and_tells_the_source(engine: DoubleEngine) -> None:
    async def work() -> None:
        live, kept, source = live_of(engine), Kept(), Counter()
        live.add(kept)
        live.speak(source)
        live.start()
        await until(lambda: len(kept.frames) > 5)
        assert live.obey(protocol.Interrupt())
        before = len(kept.voices)
        await until(lambda: len(kept.voices) > before + 5)
        assert source.stops == 1
        assert max(float(np.abs(voice).max()) for voice in kept.voices[before + 1 :]) == 0.0
        await live.close("enough")

    run(work())


def test_everybody_who_listens_is_told_who_is_there_and_when_it_ends(engine: DoubleEngine) -> None:
    async def work() -> None:
        live, early, late = live_of(engine), [], []
        live.listen(early.append)
        live.start()
        await until(lambda: early)
        live.listen(late.append)
        live.forget(early.append)
        await live.close("enough")
        assert json.loads(early[0])["type"] == json.loads(late[0])["type"] == "hello"
        assert json.loads(late[-1]) == {"v": 1, "type": "bye", "reason": "enough"}

    run(work())


def test_the_hub_ends_what_nobody_holds_and_opens_no_more_than_it_may(engine: DoubleEngine) -> None:
    async def work() -> None:
        hub = Hub(engine, ServerConfig(max_sessions=2, linger_s=0.5), StreamConfig())  # type: ignore[arg-type]
        await hub.start()
        alone, held = hub.open(OPTIONS), hub.open(OPTIONS)
        held.speak(Counter())
        with pytest.raises(Refusal) as full:
            hub.open(OPTIONS)
        assert full.value.code == "full"
        await until(lambda: alone.id not in hub.lives, what="a session that nobody holds goes on")
        assert list(hub.lives) == [held.id]
        with pytest.raises(Refusal):
            hub.get(alone.id)
        await hub.stop()
        assert not hub.lives
        with pytest.raises(Refusal) as late:
            hub.open(OPTIONS)
        assert late.value.code == "draining"

    run(work())


class Broken(Kept):
    """An outlet, and a source, that fails whenever it is called; so does its end."""

    def frame(self, frame: OutFrame) -> None:
        raise MemoryError("a broken outlet")

    def ended(self, why: str) -> None:
        super().ended(why)
        raise RuntimeError("a broken end")

    def take(self, count: int, position: int) -> np.ndarray:
        raise RuntimeError("a broken source")

    def shown(self, frame: OutFrame) -> None:
        raise RuntimeError("a broken source")

    def interrupted(self) -> None:
        pass


def test_an_outlet_that_fails_is_removed_and_keeps_nothing_from_the_others(engine: DoubleEngine) -> None:
    async def work() -> None:
        live, broken, kept, source = live_of(engine), Broken(), Kept(), Counter()
        live.add(broken)
        live.add(kept)
        live.speak(source)
        live.start()
        await until(lambda: len(kept.frames) > 5 and len(source.pts) > 5)
        assert live.outlets == [kept] and broken.ends == ["it failed"]
        await live.close("enough")
        assert kept.ends == ["enough"] and not live.worker._thread.is_alive()

    run(work())


def test_a_source_that_fails_stops_neither_time_nor_pictures(engine: DoubleEngine) -> None:
    async def work() -> None:
        live, kept = live_of(engine), Kept()
        live.add(kept)
        live.speak(Broken())
        live.start()
        await until(lambda: len(kept.frames) > 5)
        assert live.source is None
        await live.close("enough")

    run(work())


def test_a_place_is_free_again_whatever_fails_at_a_sessions_end(engine: DoubleEngine) -> None:
    class Careless(Watcher):
        def closed(self, live: Live, why: str) -> None:
            raise RuntimeError("a broken watcher")

    async def work() -> None:
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        hub.watchers.append(Careless())
        live, broken = hub.open(OPTIONS), Broken()
        live.add(broken)

        def fail(message: str) -> None:
            raise ConnectionError

        live.listen(fail)
        caller = asyncio.ensure_future(live.close("enough"))
        await asyncio.sleep(0)
        caller.cancel()  # who asked for it is gone: it ends all the same
        await live.close("once more")
        assert broken.ends == ["enough"] and not hub.lives

    run(work())


def test_an_outlet_that_comes_after_the_end_hears_of_it(engine: DoubleEngine) -> None:
    async def work() -> None:
        live, late = live_of(engine), Kept()
        live.start()
        await live.close("enough")
        live.add(late)
        assert late.ends == ["enough"] and live.outlets == []

    run(work())


def test_a_session_that_could_not_begin_takes_no_place(engine: DoubleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: object) -> None:
        raise RuntimeError("can't start new thread")

    async def work() -> None:
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        with pytest.raises(RuntimeError):
            hub.open(OPTIONS)
        assert not hub.lives and not hub.owners

    monkeypatch.setattr("threading.Thread.start", start)
    run(work())
