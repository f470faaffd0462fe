"""Bad lines, clocks that jump, a loop that stalls, viewers by the dozen: what a session goes on through, and leaves."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from pathlib import Path

import aiortc.clock
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
import numpy as np
import pytest

from bench.line import Condition, Line
from bench.soak_cycles import ENDINGS, cycle
from bench.viewer import Viewer as Watcher
from streaming import patches
from streaming.config import ServerConfig, StreamConfig

from .double import DoubleEngine
from .harness import Settings, Viewer, run, serving, until, until_sessions
from .lossy import Got, behind

LOSSY = Condition(loss=0.05, delay=10, jitter=50)
CLEAN = Condition()


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.001)


def carried(condition: Condition, packets: int = 4000, size: int = 500) -> list[float]:
    """Arrivals in the order of sending, one packet each ms."""
    line = Line(((0.0, condition),), seed=4)
    return [at for k in range(packets) for at in line.carry(k / 1000, size)]


def test_a_line_loses_delays_and_repeats_as_it_is_told_the_same_every_time() -> None:
    assert carried(CLEAN) == [k / 1000 for k in range(4000)]
    assert 0.03 < 1 - len(carried(Condition(loss=0.05))) / 4000 < 0.07
    assert carried(LOSSY) == carried(LOSSY)
    late = np.array(carried(Condition(delay=20, jitter=50))) - np.arange(4000) / 1000
    assert 0.02 <= late.min() < 0.021 and 0.069 < late.max() <= 0.0701
    assert np.any(np.diff(carried(Condition(jitter=50))) < 0)
    assert np.all(np.diff(carried(Condition(jitter=50, overtaking=False))) >= 0)
    assert 4300 < len(carried(Condition(duplicate=0.1))) < 4500


def test_losses_come_in_bursts_where_they_should() -> None:
    line = Line(((0.0, Condition(loss=0.05, burst=4)),), seed=2)
    kept = [bool(line.carry(k / 1000, 100)) for k in range(40_000)]
    begun = sum(not now and before for before, now in zip(kept, kept[1:], strict=False))
    assert 0.04 < 1 - np.mean(kept) < 0.06 and 3 < kept.count(False) / begun < 5


def test_a_narrow_line_passes_its_rate_and_drops_what_would_wait_too_long() -> None:
    line = Line(((0.0, CLEAN), (1.0, Condition(rate=400_000, queue=100))), seed=1)
    arrivals = [at for k in range(3000) for at in line.carry(k / 1000, 472)]
    narrow = [at for at in arrivals if at > 1.2]
    assert (len(narrow) - 1) * 500 * 8 / (narrow[-1] - narrow[0]) == pytest.approx(400_000, rel=0.01)
    assert line.dropped > 1000 and max(narrow) < 3.2


def test_pictures_go_on_through_loss_and_jitter(engine: DoubleEngine) -> None:
    settings = Settings(server=ServerConfig(port=0, connect_timeout_s=40.0))  # handshakes get lost too

    async def work() -> None:
        async with serving(engine, settings) as address, behind(address, LOSSY, seed=3) as (viewer, got, relay):
            await until(lambda: got.share_of_pictures(75) > 0.8, 60, "the pictures stopped")
            assert relay.down.lost > 0
            await until(lambda: viewer.control.readyState == "open", 20)
            viewer.say("ping", viewer.control, t=1.0)  # what must arrive arrives, however often it is lost
            await until(lambda: any(m["type"] == "pong" and m["t"] == 1.0 for m in viewer.messages), 20)

    run(work())


def test_a_voice_whose_packets_overtake_each_other_is_heard(engine: DoubleEngine) -> None:
    at = np.arange(48_000) / 48_000
    tone = (8000 * np.sin(2 * np.pi * 400 * at)).astype(np.int16)

    async def work() -> None:
        async with serving(engine) as address:
            overtaking = Condition(delay=5, jitter=50)
            async with behind(address, overtaking, CLEAN, voice=tone) as (_, got, _):
                await until(lambda: len(got.sounds) > 200 and steady(got) > 0.9, 40, "it is not heard")

    def steady(got: Got) -> float:
        """How much of what came last is there, 5 ms at a time: what is missing is silent."""
        heard = np.concatenate([samples for _, samples in got.sounds[-120:]]).astype(float).reshape(-1, 240)
        loud = np.sqrt((heard**2).mean(axis=1))
        return float((loud > 0.5 * np.median(loud)).mean())

    run(work())


def test_a_viewer_on_a_line_that_carries_nearly_nothing_slows_nobody_else(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            starved = Condition(rate=30_000, queue=100)
            async with (
                behind(address, CLEAN, starved) as (_, little, relay),
                behind(address, CLEAN) as (_, all_of_it, _),
            ):
                await until(lambda: len(all_of_it.pictures) > 75, 30)
                assert relay.down.dropped > len(little.pictures)
                await until(lambda: all_of_it.share_of_pictures(75) > 0.9, 30, "the other one is slow too")

    run(work())


def test_the_wall_clock_may_jump_an_hour_either_way(engine: DoubleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    wall, jump = time.time, [0.0]

    async def work() -> None:
        async with serving(engine) as address, behind(address, CLEAN) as (viewer, got, _):
            monkeypatch.setattr(time, "time", lambda: wall() + jump[0])
            for jump[0] in (0.0, 3600.0, -3600.0):
                had = len(got.pictures)
                told = {line: line.reports for line in (viewer.pictures_line, viewer.voice_line)}
                await until(lambda had=had: len(got.pictures) > had + 25, 20, "pictures stopped")
                await until(lambda told=told: all(line.reports > n + 1 for line, n in told.items()), 20, "no reports")
                await until(lambda: got.share_of_pictures(25) > 0.9, 20, "pictures are missing")
                await until(lambda: apart(viewer, got) < 0.5, 20, "picture and voice are not of one moment")
            assert viewer.pc.connectionState == "connected"

    def apart(viewer: Watcher, got: Got) -> float:
        """Seconds between what is about to be shown and what is about to be played."""
        seen, heard = viewer.pictures_line.moment(got.pictures[-1]), viewer.voice_line.moment(got.sounds[-1][0])
        assert seen is not None and heard is not None
        return abs(seen - heard)

    run(work())


def test_what_measures_spans_in_a_connection_knows_no_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    patches.install(StreamConfig())
    before, sent = aiortc.clock.current_ms(), aiortc.rtcsctptransport.time.time()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= aiortc.clock.current_ms() - before < 5000
    for module in (aiortc.rtcsctptransport, aiortc.rtcrtpsender, aiortc.rtcrtpreceiver):
        assert 0 <= module.time.time() - sent < 5


def test_after_the_event_loop_stalled_pictures_and_voice_are_in_time_again(engine: DoubleEngine) -> None:
    settings = Settings(stream=StreamConfig(heartbeat_s=2.0))

    async def work() -> None:
        async with serving(engine, settings) as address, behind(address, CLEAN) as (viewer, got, _):
            await until(lambda: len(got.pictures) > 25 and viewer.messages, 20)
            time.sleep(2.5)  # longer than a page may be silent, but it was the server that did not listen
            had = len(got.pictures)
            await until(lambda: len(got.pictures) > had + 25, 20, "pictures stopped")
            session = engine.opened[-1]
            assert session.inbox.available < 0.3 * 48_000 and viewer.pc.connectionState == "connected"
            viewer.say("ping", viewer.control, t=2.0)
            await until(lambda: any(m["type"] == "pong" and m["t"] == 2.0 for m in viewer.messages))

    run(work())


def test_an_engine_thread_that_dies_ends_its_session_at_once_and_says_so(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            first = await Viewer(address).open()
            await until(lambda: first.heard("hello") and first.pictures)
            doomed = engine.opened[-1]
            second = await Viewer(address).open()
            await until(lambda: second.pictures)
            doomed.fail = True
            await until(lambda: first.heard("bye"), 20, "nobody told the viewer")
            assert first.heard("error")[-1]["code"] == "engine"
            had = len(second.pictures)
            await until(lambda: len(second.pictures) > had + 10)
            await asyncio.gather(first.close(), second.close())

    run(work())


def test_viewers_who_come_and_go_in_every_way_leave_nothing(engine: DoubleEngine) -> None:
    settings = Settings(
        server=ServerConfig(port=0, sessions_per_minute=10_000, max_sessions=32, connect_timeout_s=8.0, linger_s=2.0),
        stream=StreamConfig(heartbeat_s=8.0),  # viewers here send no pings, and leave when they have seen pictures
    )

    async def work() -> None:
        async with serving(engine, settings) as address:
            await asyncio.gather(*(cycle(address, ending) for ending in ENDINGS))
            await until_sessions(address, 0, 60)
            gc.collect()
            tasks, threads = len(asyncio.all_tasks()), names()
            ended: list[str] = []
            for _ in range(6):  # two, but where some come too late to see anything
                ended += await asyncio.gather(*(cycle(address, ending) for ending in (*ENDINGS, "bye", "vanish")))
                if least(ended) >= 2:
                    break
            assert least(ended) >= 2, ended
            await until_sessions(address, 0, 60)
            await until(lambda: len(asyncio.all_tasks()) <= tasks, 20, "tasks stayed behind")
            await until(lambda: names() <= threads, 20, "threads stayed behind")

    run(work(), 240)


def least(ended: list[str]) -> int:
    """How often the rarest of all endings was met."""
    return min(ended.count(ending) for ending in ENDINGS)


def names() -> set[str]:
    """Threads that are not a pool's."""
    pools = ("asyncio_", "encode", "read", "open", "ThreadPool")
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith(pools)}
