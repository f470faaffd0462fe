import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench import load, load_inprocess, load_kill, load_live, load_overload, load_plot
from bench.load_clients import Caller, Listener, Picture, Record, Turned, until_seen
from bench.load_inprocess import measure, speech
from bench.load_kill import Loyal, at_work
from bench.load_live import Row, voice_ahead, watch
from bench.load_overload import Answers, ask, worst_p95
from bench.load_server import Mode, Server, cpu_s, family
from bench.load_traces import Painted, Pictures, Verdict, capacity, jitter, judge, lost, recovered, sublinear
from engine.config import EngineConfig, RenderConfig
from engine.engine import Engine
from streaming.config import ServerConfig, StreamConfig
from tests.streaming.double import DoubleEngine
from tests.streaming.harness import Settings, run, serving, until
from visavis.config import load as read_config

FRAME_S = 0.04


def trace(count: int = 250, late: float = 0.02, **changed: Any) -> list[Painted]:
    """Frames 0 .. count - 1, due 40 ms apart from second 10 on, each done ``late`` s after that."""
    return [Painted(k, 10 + FRAME_S * k, 10 + FRAME_S * k + late, **changed) for k in range(count)]


# What is judged.


def test_a_session_that_is_in_time_misses_nothing() -> None:
    verdict = judge(trace(), 10, 20)
    assert (verdict.expected, verdict.missed, verdict.never) == (250, 0, 0)
    assert verdict.fps == pytest.approx(25) and verdict.keeps_up
    assert verdict.late == pytest.approx([20.0] * 250)


def test_late_frames_and_frames_that_never_came_are_misses() -> None:
    frames = trace()
    frames[50] = frames[50]._replace(done=frames[50].due + 0.041)
    frames[60] = frames[60]._replace(done=frames[60].due + 0.039)
    del frames[100:103]
    verdict = judge(frames, 10, 20)
    assert (verdict.expected, verdict.missed, verdict.never) == (250, 4, 3)
    assert verdict.missed_share == pytest.approx(4 / 250) and not verdict.keeps_up
    assert verdict.longest_gap_ms == pytest.approx(160)


def test_what_is_missing_at_either_end_counts() -> None:
    frames = trace()
    assert judge(frames[100:], 10, 20).never == 100
    assert judge(frames[:150], 10, 20).never == 100
    silent = judge([], 10, 20)
    assert (silent.expected, silent.missed, silent.fps) == (250, 250, 0.0)
    with pytest.raises(ValueError, match="no frames"):
        judge(frames, 20, 20)


def test_a_voice_that_arrives_in_pieces_makes_no_misses_at_the_ends() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        begin = 12 + rng.uniform(0, 0.04)
        frames = [f._replace(due=f.due + d) for f, d in zip(trace(), rng.uniform(0, 0.02, 250), strict=True)]
        assert judge(frames, begin, begin + 4).never == 0


def test_one_percent_of_misses_is_too_many_and_half_quality_is_told() -> None:
    assert judge([*trace()[:-2], *trace(late=0.05)[-2:]], 10, 20).keeps_up
    assert not judge([*trace()[:-3], *trace(late=0.05)[-3:]], 10, 20).keeps_up
    smaller = judge([*trace()[:-100], *trace(rung=2)[-100:]], 10, 20)
    assert smaller.degraded == 100 and smaller.keeps_up and not smaller.whole


def test_a_repeated_picture_is_no_frame() -> None:
    frames = [frame._replace(repeated=k % 2 == 1) for k, frame in enumerate(trace())]
    verdict = judge(frames, 10, 20)
    assert (verdict.expected, verdict.missed, verdict.repeated, verdict.never) == (250, 125, 125, 0)
    assert verdict.fps == pytest.approx(12.5) and not verdict.keeps_up


def test_recovery_is_the_first_frame_that_speaks() -> None:
    frames = [(5.0, 0.9), (5.6, 0.1), (6.2, 0.8), (7.0, 0.9)]
    assert recovered(frames, 5.5) == pytest.approx(0.7)
    assert recovered(frames[:2], 5.5) is None and recovered([], 0) is None


def test_frames_lost_are_those_between_the_first_and_the_last() -> None:
    assert lost([7, 8, 11, 12, 12, 20]) == 9
    assert lost([]) == 0


def test_jitter_is_counted_from_the_quickest_pictures() -> None:
    media = np.arange(200) * FRAME_S
    arrived = media + 1000.0 + 0.005
    arrived[50] += 0.120
    found = jitter(media.tolist(), arrived.tolist())
    assert found[50] == pytest.approx(120) and np.median(found) == pytest.approx(0, abs=1e-6)
    assert jitter([], []) == []


def test_the_limit_is_before_the_first_number_that_fails() -> None:
    assert capacity([(1, True), (2, True), (3, False), (4, True)]) == 2
    assert capacity([(1, False)]) == 0 and capacity([]) == 0
    assert sublinear([(1, 0.5), (2, 0.9), (3, 1.3)])
    assert not sublinear([(1, 0.5), (2, 1.1)])


# Packets to pictures.


def test_packets_in_any_order_make_whole_pictures() -> None:
    pictures = Pictures()
    pictures.add(65534, 0, False, 100, 1.0)
    pictures.add(65535, 0, True, 50, 1.1)
    pictures.add(1, 3600, True, 10, 1.2)  # its first packet is still on the way
    assert [rtp for rtp, _, _ in pictures.whole] == [0]
    pictures.add(0, 3600, False, 20, 1.3)
    pictures.add(2, 7200, True, 5, 1.4)
    assert pictures.whole == [(0, 1.1, 150), (3600, 1.3, 30), (7200, 1.4, 5)]


def test_a_picture_that_lacks_a_packet_never_is_whole_and_holds_nobody_up() -> None:
    pictures = Pictures()
    number = 0
    for k in range(100):
        for part in range(3):
            if (k, part) not in ((10, 0), (20, 1), (30, 2)):
                pictures.add(number & 0xFFFF, 3600 * k, part == 2, 1, k + 0.1 * part)
            number += 1
    stamps = {rtp // 3600 for rtp, _, _ in pictures.whole}
    assert stamps >= set(range(100)) - {10, 20, 30, 31}  # 31: nobody knows whether it began with a packet more
    assert not stamps & {10, 20, 30}
    assert len(pictures._open) <= 8 and len(pictures._last) <= 8


def test_frames_without_stamps_are_judged_by_their_arrival() -> None:
    record = Record()
    record.pictures = [Picture(20 + FRAME_S * k, (2**32 - 7200 + 3600 * k) % 2**32, None, 1) for k in range(10)]
    for k in (2, 7):
        rtp = record.pictures[k].rtp
        record.stamps[rtp] = {
            "pts": 640 * (100 + k),
            "whole": 1e3 * (19.9 + FRAME_S * k),
            "done": 1e3 * (19.92 + FRAME_S * k),
        }
    rows = record.rows()
    assert [row.number for row in rows] == list(range(102, 110))
    assert rows[0].done == pytest.approx(19.92 + 2 * FRAME_S)
    assert rows[1].done == pytest.approx(20 + 3 * FRAME_S) and rows[1].due == pytest.approx(19.9 + 3 * FRAME_S)
    assert record.rows(delivered=True)[0].done == pytest.approx(20 + 2 * FRAME_S)


def test_a_voice_that_waits_for_its_picture_is_measured_on_the_sender_s_line() -> None:
    record = Record()
    record.voice = [(50 + 0.02 * k, 0.02 * k) for k in range(100)]
    record.pictures = [Picture(50.07 + FRAME_S * k, 0, FRAME_S * k, 1) for k in range(40)]
    assert voice_ahead(record, 50, 60) == pytest.approx([70.0] * 40)
    assert voice_ahead(Record(), 50, 60) == []


# Refusals.


def test_a_clear_refusal_has_a_status_a_code_a_sentence_and_a_time() -> None:
    answers = Answers()
    answers.refused = [
        Turned(503, "busy", "painting takes 31 ms of every 40 ms; try again when one has left", "3"),
        Turned(503, "busy", "painting takes 31 ms of every 40 ms; try again when one has left", None),
        Turned(500, "none", "no words", "3"),
    ]
    assert answers.clear == 1
    assert answers.words()[1].startswith("503 busy, Retry-After 3: painting takes 31 ms") and len(answers.words()) == 2


def test_what_refuses_is_heard_as_it_says_it(tmp_path: Path) -> None:
    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, max_sessions=1, sessions_per_minute=1000))
        async with serving(DoubleEngine(tmp_path, side=64), settings) as address:
            answers = Answers()
            await asyncio.gather(*(ask(address, answers) for _ in range(3)))
            assert (answers.asked, len(answers.let_in), len(answers.refused), answers.clear) == (3, 1, 2, 2)
            assert answers.refused[0].code == "full" and answers.refused[0].retry_after == "5"
            with pytest.raises(Turned, match="503 full"):
                await Caller(address, np.zeros(48000, np.int16)).open()
            await load_overload.dismiss(address, answers)
            again = Answers()
            await ask(address, again)
            assert again.let_in and not answers.unclear
        await ask(address, again)
        assert len(again.unclear) == 1

    run(work())


# Clients at a real server with an engine that costs nothing.


def said() -> np.ndarray:
    return np.asarray(np.clip(speech(), -1, 1) * 32767, np.int16)


def test_callers_and_listeners_count_what_comes_and_decode_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(DoubleEngine(tmp_path, side=64, cost_s=0.001)) as address:
            here: Any = SimpleNamespace(pid=os.getpid())
            server = Server(address, here, tmp_path)
            clients: list[Caller | Listener] = [Caller(address, said()), Listener(address, said())]
            await asyncio.gather(*(one.open() for one in clients))
            await until_seen(clients)
            await until(lambda: all(c.record.pictures[-1].media and c.record.voice[-1][1] for c in clients))  # reports
            row = await watch(clients, server, 1.5)
            assert row.sessions == 2 and row.cores > 0
            for verdict in (*row.verdicts, *row.delivered):
                assert verdict.late and min(verdict.late) >= 0  # a frame is painted after its voice came
            assert row.skews and max(map(abs, row.skews)) < 1.0  # one line for both: by construction
            assert row.voice_ahead and row.jitter
            caller = clients[0]
            assert isinstance(caller, Caller) and caller._counter is not None
            for transceiver in caller._counter.pc.getTransceivers():
                assert transceiver.receiver._RTCRtpReceiver__decoder_queue.empty()  # type: ignore[attr-defined]
            await asyncio.gather(*(one.close() for one in clients))

    run(work())


def test_a_client_comes_back_by_itself_when_its_connection_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_kill, "STUCK_S", 6.0)  # a new connection may take its time on a busy machine

    async def work() -> None:
        patient = Settings(stream=StreamConfig(heartbeat_s=30.0, consent_interval_s=5.0))  # so is the server
        async with serving(DoubleEngine(tmp_path, side=64, cost_s=0.001), patient) as address:
            caller = await Caller(address, said()).open()
            await until_seen([caller])
            loyal, seen, old = Loyal(caller, address), len(caller.record.pictures), caller.id
            assert caller._counter is not None
            caller._counter.vanish()
            await load_live.client("webrtc", address, 0, said()).close()  # one that never opened has nothing to close
            await until(lambda: loyal.returns and len(caller.record.pictures) > seen + 20, 40)
            assert loyal.returns == 1 and caller.id == old and not loyal.fresh  # the same session goes on
            await loyal.close()

    run(work())


# The engine itself.


def test_sessions_of_the_engine_are_fed_in_real_time_and_judged() -> None:
    engine = Engine(EngineConfig(render=RenderConfig(width=64, height=64, renderer="geometric")))
    engine.warm_up()
    row = measure(engine, 2, 0.6, speech(), ("ada", "leo"), settle=0.4)
    assert row["sessions"] == 2 and row["cores"] > 0 and len(row["verdicts"]) == 2
    for fields in row["verdicts"]:
        verdict = Verdict(**fields)
        assert 13 <= verdict.expected <= 16
        assert not verdict.late or min(verdict.late) > 0


def test_a_machine_s_processes_are_found_with_what_they_took() -> None:
    mine = family(os.getpid())
    assert os.getpid() in mine and "python" in mine[os.getpid()]
    assert (cpu_s(os.getpid()) or 0) > 0 and cpu_s(2**22 + 1) is None


def test_of_two_processes_the_one_that_works_is_found() -> None:
    idle = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    has = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from engine.sharedring import SharedFrameRing as R; ring = R.create(8, 64, 64); input()",
        ],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert idle.stdout is not None and idle.stdout.readline()  # what it takes to begin is over
        assert at_work([idle.pid, busy.pid]) == at_work([busy.pid, idle.pid]) == busy.pid
        deadline = time.monotonic() + 60
        while (found := at_work([busy.pid, has.pid])) != has.pid and time.monotonic() < deadline:
            pass  # it has to import the engine first
        assert found == has.pid
    finally:
        for process in (idle, busy, has):
            process.kill()
            process.communicate()


def test_the_server_s_configuration_is_one_that_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(Mode(side=128, renderer="geometric", places=7).toml(), encoding="utf-8")
    config = read_config(path)
    assert (config.render.width, config.render.renderer, config.server.max_sessions) == (128, "geometric", 7)


# What is told.


def point(sessions: int, missed: int, cores: float) -> load.Point:
    frames = [*trace()[: 250 - missed], *trace(late=0.06)[250 - missed :]]
    return load.Point(sessions, [judge(trace(), 10, 20)] * (sessions - 1) + [judge(frames, 10, 20)], cores)


def test_the_headline_is_the_worst_session_of_the_part_that_holds_the_fewest() -> None:
    points = {
        ("inprocess", 256): [point(1, 0, 0.4), point(2, 0, 0.8), point(3, 1, 1.2), point(4, 100, 1.9)],
        ("webrtc", 256): [point(1, 0, 0.5), point(2, 2, 1.0), point(3, 50, 1.8)],
        ("inprocess", 512): [point(1, 200, 1.5)],
    }
    found = load.headline(points)
    assert found["sessions"]["value"] == 2
    assert found["deadline_miss_pct"]["value"] == pytest.approx(0.8)
    assert found["fps_min"]["value"] == pytest.approx(25)
    kept = load.figures("inprocess", 256, points["inprocess", 256])
    assert kept["inprocess.256.sessions"]["value"] == 3
    assert kept["inprocess.256.n4.deadline_miss_pct"]["value"] == pytest.approx(40)
    assert kept["inprocess.256.cost_is_sublinear"]["value"] == 1
    shown = load.tables(points, {**found, **kept})
    assert shown[0].row_count == 8 and shown[1].row_count == 4
    assert load.headline({}) == {}


def test_what_is_drawn_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    points = {("inprocess", 256): [point(1, 0, 0.4), point(2, 50, 0.8)]}
    path = load_plot.draw(tmp_path / "plots", load.curves(points))
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_the_worst_p95_is_that_of_the_worst_session() -> None:
    row = Row(2, (judge(trace(), 10, 20), judge(trace(late=0.05), 10, 20)), (), (), (), (), 0.0, 1.0, 0.1)
    assert worst_p95(row) == pytest.approx(50)


def test_a_part_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"parts of load are inprocess.*got nonsense"):
        load.run(quick=True, log=Console(quiet=True), parts="inprocess,nonsense")


def test_a_part_that_fails_does_not_lose_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no machine")

    monkeypatch.setattr(load_inprocess, "ramp", broken)
    metrics = load.run(quick=True, log=Console(quiet=True), parts="inprocess,ticks").metrics
    assert metrics["failed.inprocess"]["value"] == 1 and "no machine" in metrics["failed.inprocess"]["unit"]
    assert metrics["scheduler_ticks_per_s"]["value"] > 0
