"""The thread that paints: frames for voice, bounded backlog, changes on the fly, and an end that comes."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.clock import FRAME
from engine.render.composite import Backdrop
from engine.schedule.core import Core
from engine.schedule.turns import Clock, Place, Turns
from engine.viewpoint import Viewpoint
from streaming import worker as worker_module
from streaming.tracks import OutFrame
from streaming.worker import SessionWorker

from .double import DoubleEngine


class Ear:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.frames: list[OutFrame] = []
        self.said: list[tuple[Any, ...]] = []
        self.snapshots: list[bytes] = []
        self.event = threading.Condition()

    def _note(self, keep: list[Any], item: Any) -> None:
        with self.event:
            keep.append(item)
            self.event.notify_all()

    def frame(self, frame: OutFrame) -> None:
        self._note(self.frames, frame)

    def opened(self, avatar: str, framing: str, view: Viewpoint) -> None:
        self._note(self.said, ("opened", avatar, framing, view.distance))

    def refused(self, about: str, problem: Exception) -> None:
        self._note(self.said, ("refused", about, str(problem)))

    def died(self, problem: Exception) -> None:
        self._note(self.said, ("died", str(problem)))

    def kept(self, data: bytes) -> None:
        self._note(self.snapshots, data)

    def wait(self, done: Any, timeout: float = 20.0) -> None:
        with self.event:
            assert self.event.wait_for(done, timeout), (len(self.frames), self.said)


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.0)


def start(engine: DoubleEngine, ear: Ear, **options: Any) -> SessionWorker:
    worker = SessionWorker(engine, "ada", "upper", 0, ear, **options)  # type: ignore[arg-type]
    worker.start()
    ear.wait(lambda: ear.said)
    return worker


def end(worker: SessionWorker) -> None:
    worker.stop()
    assert worker.join(20)


def test_every_forty_milliseconds_of_voice_become_a_frame(engine: DoubleEngine) -> None:
    ear = Ear()
    worker = start(engine, ear, max_backlog_ms=1500)
    voice = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * 1920).astype(np.float32)
    for start_at in range(0, len(voice), 1111):
        worker.push(voice[start_at : start_at + 1111])
    ear.wait(lambda: len(ear.frames) == 20)
    end(worker)
    assert [frame.pts for frame in ear.frames] == [k * FRAME for k in range(20)]
    heard = engine.opened[-1].inbox._data[: len(voice)]
    np.testing.assert_array_equal(heard, voice)
    stamps = ear.frames[3].stamps
    assert stamps["arrived"] <= stamps["start"] <= stamps["done"]
    assert set(stamps["stages"]) >= {"motion", "raster"}


def test_the_last_viewpoint_counts_from_the_next_frame(engine: DoubleEngine) -> None:
    ear = Ear()
    worker = start(engine, ear)
    for seq in range(1, 8):
        worker.look(Viewpoint(0.1 * seq), seq)
    worker.push(np.zeros(1920, np.float32))
    ear.wait(lambda: ear.frames)
    end(worker)
    assert ear.frames[0].stamps["seq"] == 7


def test_an_engine_that_falls_behind_skips_ahead_and_its_frames_say_so(engine: DoubleEngine) -> None:
    ear, turns = Ear(), threading.Semaphore(0)
    worker = start(engine, ear, max_backlog_ms=200)
    session, step = engine.opened[-1], engine.opened[-1].step

    def slow(paint: bool = True) -> Any:
        turns.acquire()
        return step(paint)

    session.step = slow  # type: ignore[method-assign]
    for k in range(20):  # two seconds: 2.5 times what it can paint, which takes as long as 100 ms of voice
        for _ in range(5):
            worker.push(np.zeros(960, np.float32))
        turns.release()
        ear.wait(lambda k=k: len(ear.frames) > k)
    worker.stop()
    turns.release(100)
    assert worker.join(20)
    assert 20 <= len(ear.frames) <= 21
    assert worker.dropped_ms >= 400
    assert worker.dropped_ms % 40 == 0
    steps = np.diff([frame.pts for frame in ear.frames])
    assert (steps % FRAME == 0).all()
    assert steps.max() > FRAME
    assert ear.frames[-1].pts > 1.4 * 16_000  # near the end of the voice, not half of it behind
    assert ear.frames[-1].stamps["pts"] == ear.frames[-1].pts


def test_an_interruption_while_much_voice_waits_moves_no_picture_out_of_its_time(engine: DoubleEngine) -> None:
    ear = Ear()
    worker = SessionWorker(engine, "ada", "upper", 0, ear, max_backlog_ms=1500)  # type: ignore[arg-type]
    voice = (np.arange(24 * 1920) % 9600 / 9600).astype(np.float32)
    worker.start()
    ear.wait(lambda: ear.said)
    for start in range(0, len(voice), 8 * 1920):
        worker.push(voice[start : start + 8 * 1920])  # as much at once as comes after a stall
        worker.interrupt()
        ear.wait(lambda start=start: ear.frames and ear.frames[-1].pts * 3 >= start + 7 * 1920)
    worker.stop()
    assert worker.join(20)
    assert [frame.pts for frame in ear.frames] == [FRAME * k for k in range(24)]
    for frame in ear.frames:
        assert frame.voice is not None
        np.testing.assert_array_equal(frame.voice, voice[frame.pts * 3 : frame.pts * 3 + 1920])


def test_avatar_and_framing_change_live(engine: DoubleEngine) -> None:
    ear = Ear()
    worker = start(engine, ear)
    worker.change("avatar", avatar="ben")
    ear.wait(lambda: len(ear.said) == 2)
    worker.change("framing", framing="head")
    ear.wait(lambda: len(ear.said) == 3)
    worker.push(np.zeros(1920, np.float32))
    ear.wait(lambda: ear.frames)
    end(worker)
    assert [said[1:] for said in ear.said] == [("ada", "upper", 1.6), ("ben", "upper", 1.6), ("ben", "head", 1.05)]
    assert len(engine.opened) == 1  # the session went on


def test_the_background_changes_live_and_stays_behind_the_next_avatar(engine: DoubleEngine) -> None:
    ear = Ear()
    worker = start(engine, ear)
    worker.change("background", backdrop=Backdrop("colour", (1, 2, 3)))
    ear.wait(lambda: engine.opened)
    until = time.monotonic() + 20
    while engine.opened[0].parts.renderer.backdrop.kind != "image" and time.monotonic() < until:
        time.sleep(0.01)
    assert engine.opened[0].parts.renderer.backdrop.picture[0, 0].tolist() == [1, 2, 3]
    worker.change("avatar", avatar="ben")
    ear.wait(lambda: len(ear.said) == 2)
    assert engine.opened[0].parts.renderer.backdrop == Backdrop("colour", (1, 2, 3))
    end(worker)


def test_an_avatar_that_cannot_be_worn_changes_nothing(engine: DoubleEngine) -> None:
    ear = Ear()
    worker = start(engine, ear)
    worker.change("avatar", avatar="nobody")
    ear.wait(lambda: len(ear.said) == 2)
    assert ear.said[1][:2] == ("refused", "avatar")
    worker.push(np.zeros(1920, np.float32))
    ear.wait(lambda: ear.frames)
    end(worker)


def test_an_engine_that_fails_is_reported_and_the_thread_ends(engine: DoubleEngine) -> None:
    engine.fail_open = True
    ear = Ear()
    worker = start(engine, ear)
    assert ear.said == [("died", "this engine never opens")]
    assert worker.join(20)


def test_stop_ends_a_waiting_thread_at_once(engine: DoubleEngine) -> None:
    worker = start(engine, Ear())
    begun = time.monotonic()
    end(worker)
    assert time.monotonic() - begun < 15


def test_changes_that_come_together_are_all_made(engine: DoubleEngine) -> None:
    """The second is prepared before the first is worn."""
    ear = Ear()
    worker = start(engine, ear)
    gate = threading.Event()
    worker_module.OPENERS.submit(gate.wait, 20.0)  # somebody else's avatar loads
    worker.change("avatar", avatar="ben")
    worker.change("framing", framing="head")
    gate.set()
    ear.wait(lambda: any(said[:3] == ("opened", "ben", "head") for said in ear.said))
    worker.stop()
    assert worker.join(20.0)


def test_of_changes_that_wait_only_the_last_is_loaded_and_none_once_stopped(engine: DoubleEngine) -> None:
    ear, loaded, renderer = Ear(), [], engine.renderer
    worker = start(engine, ear)
    engine.renderer = lambda name, *rest, **named: loaded.append(name) or renderer(name, *rest, **named)  # type: ignore
    gate = threading.Event()
    worker_module.OPENERS.submit(gate.wait, 20.0)
    for name in ("ben", "ada") * 50 + ("ben",):
        worker.change("avatar", avatar=name)
    gate.set()
    ear.wait(lambda: any(said[:2] == ("opened", "ben") for said in ear.said))
    assert loaded == ["ben"]
    worker.stop()
    assert worker.join(20.0)
    worker.change("avatar", avatar="ada")
    worker_module.OPENERS.submit(lambda: None).result(20.0)
    assert loaded == ["ben"]


def test_a_change_that_fails_in_an_unforeseen_way_is_answered(engine: DoubleEngine) -> None:
    ear = Ear()
    worker = start(engine, ear)

    def broken(*_: object) -> np.ndarray:
        raise RuntimeError("out of colours")

    engine.behind = broken  # type: ignore[method-assign, assignment]
    worker.change("background", backdrop=Backdrop("colour", colour=(1, 2, 3)))
    ear.wait(lambda: ("refused", "background", "out of colours") in ear.said)
    worker.stop()
    assert worker.join(20.0)


class Scheduled(DoubleEngine):
    """One place for all sessions."""

    def join(self, clock: Clock) -> Place:
        if not hasattr(self, "turns"):
            self.turns = Turns(Core(), clock)
        return self.turns.join()


def test_a_session_that_waits_for_its_turn_ends_when_it_is_told_to(tmp_path: Path) -> None:
    engine, ear = Scheduled(tmp_path, side=64, cost_s=0.0), Ear()
    other = engine.join(lambda: 0.0)  # time stands still: a turn that takes long would be written off
    with other.turn(0.0, 0.0) as turn:
        assert turn.granted
        worker = start(engine, ear)
        worker.push(np.zeros(1920, np.float32))
        until = time.monotonic() + 20
        while not engine.turns.report().waiting and time.monotonic() < until:
            time.sleep(0.005)
        assert engine.turns.report().waiting == 1 and not ear.frames
        end(worker)
    assert engine.turns.report().sessions == 1, "only the other one is left"


def test_sessions_that_share_a_machine_all_paint_and_say_how_well(tmp_path: Path) -> None:
    engine, ears = Scheduled(tmp_path, side=64, cost_s=0.002), [Ear() for _ in range(3)]
    workers = [start(engine, ear, max_backlog_ms=1500) for ear in ears]
    for worker in workers:
        worker.push(np.zeros(20 * 1920, np.float32))
    for ear in ears:
        ear.wait(lambda ear=ear: len(ear.frames) == 20)
    for worker in workers:
        end(worker)
    assert engine.turns.report().sessions == 0 and engine.turns.report().frames == 60
    for ear in ears:
        assert [frame.pts for frame in ear.frames] == [k * FRAME for k in range(20)]
        assert {frame.stamps["rung"] for frame in ear.frames} == {0}
        assert not any("lowered" in frame.stamps or "repeated" in frame.stamps for frame in ear.frames)


def test_a_session_that_never_opens_leaves_its_place(tmp_path: Path) -> None:
    engine, ear = Scheduled(tmp_path, side=64, fail_open=True), Ear()
    worker = start(engine, ear)
    end(worker)
    assert engine.turns.report().sessions == 0 and ear.said[0][0] == "died"
