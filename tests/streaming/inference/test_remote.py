"""A session in the inference process: the same as one here, and more stubborn."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.clock import FRAME
from engine.config import AvatarConfig, EngineConfig, RenderConfig
from engine.engine import Engine
from engine.render.composite import Backdrop
from engine.sharedring import SharedFrameRing
from engine.viewpoint import Viewpoint
from streaming.inference.crew import Crew
from streaming.inference.engine import RemoteEngine
from streaming.inference.wire import VERSION, Kind, Wire
from streaming.process import ProcessError
from streaming.tracks import OutFrame
from streaming.working import Worker, work_on

from ..double import DoubleEngine
from ..test_worker import Ear, end

SIDE = 64
REAL = EngineConfig(render=RenderConfig(width=SIDE, height=SIDE, renderer="geometric"))


class Copying(Ear):
    """Keeps pictures as they were when they came."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[np.ndarray] = []
        self.stacked: list[np.ndarray | None] = []

    def frame(self, frame: OutFrame) -> None:
        self.pictures.append(frame.i420.copy())
        self.stacked.append(None if frame.stacked is None else frame.stacked.copy())
        super().frame(frame)


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> DoubleEngine:
    return DoubleEngine(tmp_path_factory.mktemp("avatars"), side=SIDE, cost_s=0.0)


@pytest.fixture(scope="module")
def crew(double: DoubleEngine) -> Iterator[Crew]:
    crew = Crew(functools.partial(DoubleEngine, double.folder, side=SIDE, cost_s=0.0))
    crew.wait_ready()
    yield crew
    crew.close()


@pytest.fixture(scope="module")
def remote(crew: Crew) -> Iterator[RemoteEngine]:
    engine = RemoteEngine(REAL, crew.address)
    engine.warm_up()
    yield engine
    engine.close()


@pytest.fixture(params=["here", "there"])
def engine(request: pytest.FixtureRequest, double: DoubleEngine) -> Any:
    return double if request.param == "here" else request.getfixturevalue("remote")


def start(engine: Any, ear: Ear, avatar: str = "ada", seed: int = 0, backlog_ms: float = 2000) -> Worker:
    worker = work_on(engine, avatar, "upper", seed, ear, marker=False, max_backlog_ms=backlog_ms)
    worker.start()
    ear.wait(lambda: ear.said, 30)
    return worker


def voice_of(frames: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, frames * 1920).astype(np.float32)


def test_every_forty_milliseconds_of_voice_become_a_frame_with_that_voice(engine: Any) -> None:
    ear, voice = Copying(), voice_of(20)
    worker = start(engine, ear)
    for at in range(0, len(voice), 1111):
        worker.push(voice[at : at + 1111])
        whole = min(at + 1111, len(voice)) // 1920
        ear.wait(lambda whole=whole: len(ear.frames) == whole)  # a picture that nobody looked at is painted over
    end(worker)  # type: ignore[arg-type]
    assert [frame.pts for frame in ear.frames] == [k * FRAME for k in range(20)]
    assert ear.said == [("opened", "ada", "upper", 1.6)]
    for k, frame in enumerate(ear.frames):
        np.testing.assert_array_equal(frame.voice, voice[k * 1920 : (k + 1) * 1920])
        assert frame.stamps["arrived"] <= frame.stamps["start"] <= frame.stamps["done"] <= time.monotonic() * 1e3


def test_both_paint_the_same_pictures(double: DoubleEngine, remote: RemoteEngine) -> None:
    painted = []
    for engine in (double, remote):
        ear = Copying()
        worker = start(engine, ear)
        worker.look(Viewpoint(0.3, -0.1), 9)
        for known, part in enumerate(np.split(voice_of(6), 6)):  # slower than a ring is painted over
            worker.push(part)
            ear.wait(lambda ear=ear, known=known: len(ear.frames) > known)
        end(worker)  # type: ignore[arg-type]
        assert ear.frames[-1].stamps["seq"] == 9
        painted.append(ear.pictures)
    np.testing.assert_array_equal(*painted)


def test_interruptions_are_counted_here_and_known_to_the_frames(engine: Any) -> None:
    ear = Ear()
    worker = start(engine, ear)
    worker.push(np.full(1920, 0.3, np.float32))
    ear.wait(lambda: len(ear.frames) == 1)
    assert worker.interrupt(True) == 1 and worker.interrupt(True) == 2
    worker.push(np.full(1920, 0.3, np.float32))
    ear.wait(lambda: len(ear.frames) == 2)
    worker.push(np.full(1920, 0.3, np.float32), resumes=True)
    ear.wait(lambda: len(ear.frames) == 3)
    end(worker)  # type: ignore[arg-type]
    assert [(frame.interrupts, frame.stamps["interrupted"]) for frame in ear.frames] == [
        (0, False), (2, True), (2, False),
    ]  # fmt: skip


def test_avatar_framing_background_and_words_change_live_or_are_refused(engine: Any) -> None:
    ear = Ear()
    worker = start(engine, ear)
    worker.change("avatar", avatar="ben")
    ear.wait(lambda: len(ear.said) == 2)
    worker.change("framing", framing="head")
    ear.wait(lambda: len(ear.said) == 3)
    worker.change("avatar", avatar="nobody")
    worker.tell("no words")
    ear.wait(lambda: len(ear.said) == 5)
    worker.behave(
        {"emotion": "happy", "style": (0.1, 0.2, 0.3, 0.4), "gaze": (0.1, 0.2), "actions": (("jawOpen", 1.0),)}
    )
    worker.push(np.zeros(1920, np.float32))
    ear.wait(lambda: ear.frames)
    end(worker)  # type: ignore[arg-type]
    assert ear.said[1:3] == [("opened", "ben", "upper", 1.6), ("opened", "ben", "head", 1.05)]
    assert sorted(said[:2] for said in ear.said[3:]) == [("refused", "avatar"), ("refused", "text")]


def test_pictures_come_with_their_transparency_where_that_is_wanted(double: DoubleEngine, remote: RemoteEngine) -> None:
    painted = []
    for engine in (double, remote):
        ear = Copying()
        worker = start(engine, ear)
        worker.change("background", backdrop=Backdrop("colour", (200, 10, 10)))
        worker.see_through(True)
        while not ear.stacked or ear.stacked[-1] is None or ear.pictures[-1][-1, 0] == 128:
            known = len(ear.frames)
            worker.push(np.zeros(1920, np.float32))
            ear.wait(lambda ear=ear, known=known: len(ear.frames) > known)
        end(worker)  # type: ignore[arg-type]
        painted.append((ear.pictures[-1], ear.stacked[-1]))
    np.testing.assert_array_equal(painted[0][0], painted[1][0])
    np.testing.assert_array_equal(painted[0][1], painted[1][1])


def test_a_session_that_cannot_be_opened_says_so_and_leaves_the_others_alone(remote: RemoteEngine) -> None:
    ear, other = Ear(), Ear()
    worker = start(remote, other)
    bad = start(remote, ear, avatar="nobody")
    assert ear.said[0][0] == "died" and "nobody" in ear.said[0][1]
    assert bad.join(20)
    worker.push(np.zeros(1920, np.float32))
    other.wait(lambda: other.frames)
    end(worker)  # type: ignore[arg-type]


def test_a_client_that_reads_nothing_holds_nobody_up(crew: Crew, double: DoubleEngine) -> None:
    """Another crew, of which this test is the media process, and stuck."""
    own = Crew(functools.partial(DoubleEngine, double.folder, side=SIDE, cost_s=0.0))
    own.wait_ready()
    link = socket.socket(socket.AF_UNIX)
    link.connect(own.address)
    wire, rings, count = Wire(link), [SharedFrameRing.create(8, SIDE, SIDE) for _ in range(2)], 400
    wire.send(Kind.HELLO, 0, {"version": VERSION})
    about = {"id": "x", "avatar": "ada", "framing": "upper", "seed": 0, "marker": False, "keeps": False}
    about |= {"max_backlog_ms": 60_000, "at": 0, "interrupts": 0}
    for number, ring in enumerate(rings):
        wire.send(Kind.OPEN, number, about, descriptors=[ring.descriptor])
    for k in range(count):
        for number in range(2):
            more = {"at": k * 1920, "resumes": False, "arrived": 0.0}
            while not wire.send(Kind.PUSH, number, more, np.zeros(1920, np.float32).tobytes(), needed=False):
                time.sleep(0.01)  # as fast as it is heard
    until(lambda: all(int(ring._count[0]) >= count for ring in rings), 60)  # painted to the last, though nobody looks
    link.close()
    own.close()


def test_an_inference_process_that_is_stuck_holds_nobody_up_and_media_time_goes_on(
    crew: Crew, remote: RemoteEngine
) -> None:
    ear = Ear()
    worker = start(remote, ear, backlog_ms=240)
    (pid,) = crew.pids
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(400):  # 16 s of voice, more than the system and the wire hold
            worker.push(np.zeros(1920, np.float32))  # returns
    finally:
        os.kill(pid, signal.SIGCONT)
    last = 399 * FRAME

    def painted() -> bool:
        return bool(ear.frames) and ear.frames[-1].pts == last

    for _ in range(30):  # while what waited is read, what is said now may be left out with it
        worker.push(np.zeros(1920, np.float32))
        last += FRAME
        with ear.event:
            if ear.event.wait_for(painted, 1.0):
                break
    for _ in range(6):
        worker.push(np.zeros(1920, np.float32))
        last += FRAME
        ear.wait(painted)
    end(worker)  # type: ignore[arg-type]
    assert worker.dropped_ms > 10_000
    assert all(b.pts > a.pts for a, b in zip(ear.frames, ear.frames[1:], strict=False))


def until(done: Callable[[], Any], seconds: float) -> None:
    end_at = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end_at, "it did not come"
        time.sleep(0.01)


def test_an_engine_that_cannot_be_made_is_said_in_its_own_words() -> None:
    crew = Crew(functools.partial(Engine, EngineConfig(avatar=AvatarConfig(folders=("/nowhere",)))))
    with pytest.raises(ProcessError, match="/nowhere"):
        crew.wait_ready()
    crew.close()
    assert not Path(crew.address).parent.exists()


def test_a_parent_that_is_killed_leaves_no_process_no_folder_and_no_memory(tmp_path: Path) -> None:
    before = shared()
    script = tmp_path / "parent.py"
    script.write_text(
        "import functools, sys, time\n"
        "from pathlib import Path\n"
        "from streaming.inference.crew import Crew\n"
        "from streaming.inference.engine import RemoteEngine\n"
        "from tests.streaming.double import DoubleEngine\n"
        "from tests.streaming.inference.test_remote import REAL, Ear, start\n"
        "if __name__ == '__main__':\n"
        f"    crew = Crew(functools.partial(DoubleEngine, Path({str(tmp_path)!r}), side=64, cost_s=0.0))\n"
        "    crew.wait_ready()\n"
        "    engine = RemoteEngine(REAL, crew.address)\n"
        "    engine.warm_up()\n"
        "    worker = start(engine, Ear())\n"
        "    print(*crew.pids, crew.address, flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid, address = parent.stdout.readline().split()
        parent.kill()
    until(lambda: not _alive(int(pid)), 30)
    assert not Path(address).parent.exists()
    until(lambda: not left(before), 20)


def shared() -> set[str]:
    """Shared memory with a name of Python's or ours."""
    names = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
    return {name for name in names if name.startswith(("visavis", "psm_", "sem.mp"))}


def left(before: set[str]) -> set[str]:
    """What of it came after ``before`` and is nobody's: tests beside this one have some of their own."""
    held, found = set(), set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            held |= {line.split()[4] for line in maps.read_text(errors="replace").splitlines() if "/dev/shm/" in line}
    for name in shared() - before:
        with contextlib.suppress(OSError):  # it is gone meanwhile
            if str(Path("/dev/shm", name).stat().st_ino) not in held:
                found.add(name)
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def test_sessions_go_on_in_the_next_process_when_theirs_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    crew = Crew(functools.partial(Engine, REAL), spare=1)
    crew.wait_ready()
    engine = RemoteEngine(REAL, crew.address)
    engine.warm_up()
    ears = [Copying(), Copying()]
    workers = [start(engine, ear, seed=seed, backlog_ms=60_000) for seed, ear in enumerate(ears)]
    workers[0].look(Viewpoint(0.4), 5)
    workers[1].interrupt()
    voice = voice_of(1)

    def speak(frames: int) -> None:
        goal = [ear.frames[-1].pts + frames * FRAME if ear.frames else (frames - 2) * FRAME for ear in ears]
        for _ in range(frames):
            for worker in workers:
                worker.push(voice)
        for ear, pts in zip(ears, goal, strict=True):
            ear.wait(lambda ear=ear, pts=pts: ear.frames and ear.frames[-1].pts >= pts, 30)

    for _ in range(6):  # more at once than sockets hold may be left out
        speak(10)  # two seconds and more: snapshots were sent
    until(lambda: crew.settled, 200)
    assert all(worker._kept for worker in workers)  # type: ignore[attr-defined]
    before = [len(ear.frames) for ear in ears]
    painting = engine.painter
    os.kill(painting, signal.SIGKILL)
    until(lambda: engine.connections == 2 and all(worker._wire for worker in workers), 200)  # type: ignore[attr-defined]
    speak(10)
    for ear, worker, count in zip(ears, workers, before, strict=True):
        pts = [frame.pts for frame in ear.frames]
        assert all(b > a for a, b in zip(pts, pts[1:], strict=False)) and not any(at % FRAME for at in pts)
        assert pts[-1] >= 68 * FRAME  # media time went on
        assert [said[0] for said in ear.said] == ["opened"]  # nobody was told of anything
        assert len(ear.frames) > count
        end(worker)  # type: ignore[arg-type]
    assert ears[0].frames[-1].stamps["seq"] == 5 and ears[1].frames[-1].interrupts == 1
    until(lambda: painting not in crew.pids, 20)
    assert "begins anew" not in capfd.readouterr().err  # it went on from its snapshot
    engine.close()
    crew.close()
    assert not crew.pids and not Path(crew.address).parent.exists()


def test_a_session_that_ends_every_process_it_is_painted_in_is_given_up(tmp_path: Path) -> None:
    """The processes are a thread here: each is there, is told of the session, and is gone."""
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(tmp_path / "door"))
    door.listen(4)

    def die() -> None:
        with contextlib.suppress(OSError):  # the door is closed
            while True:
                wire = Wire(door.accept()[0])
                wire.send(Kind.HELLO, 0, {"version": VERSION, "pid": 0, "size": [SIDE, SIDE]})
                for message in wire.messages():
                    if message.kind == Kind.OPEN:
                        os.close(message.descriptors[0])
                        wire.close()

    threading.Thread(target=die, daemon=True).start()
    engine, ear = RemoteEngine(REAL, str(tmp_path / "door")), Ear()
    worker = start(engine, ear)
    assert len(ear.said) == 1 and ear.said[0][0] == "died" and "ended 3 times" in ear.said[0][1]
    assert worker.join(20) and not engine._workers
    engine.close()
    door.close()
