"""``visavis present`` without hardware: doubles of sound card and camera, the real engine or its double."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from engine.clock import FRAME
from engine.config import RenderConfig
from streaming.config import ServerConfig
from streaming.live import Options
from tests.streaming.double import DoubleEngine
from visavis import cli
from visavis.config import Config
from visavis.present import Presenter, PresentError, Wish
from visavis.present_devices import Wanted
from visavis.present_outputs import Outputs
from visavis.present_status import StatusLine

from .sound import Machine

SIDE = 64
CONFIG = Config(render=RenderConfig(width=SIDE, height=SIDE), server=ServerConfig(port=0))
WISH = Wish(Options("ada", "upper", 0), Wanted(speaker="Cable"))


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=SIDE, cost_s=0.0)


@pytest.fixture
def studio(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A microphone that hears a tone now and then, and a loudspeaker that others take for a microphone."""
    monkeypatch.delenv("FAKE_SOUND_MANUAL")
    machine.plug("Jabra", inputs=1)
    machine.plug("Cable", outputs=2)
    return machine


def during(engine: DoubleEngine, wish: Wish, look: Callable[[Presenter], object]) -> tuple[Presenter, str]:
    """Presents until ``look``, asked again and again, gives something; what was shown."""
    shown = io.StringIO()
    status = StatusLine(shown)
    status.EVERY_S = 0.0  # type: ignore[misc]
    presenter = Presenter(engine, CONFIG, wish, status)  # type: ignore[arg-type]

    async def work() -> None:
        task, end = asyncio.ensure_future(presenter.run()), time.monotonic() + 40
        while not task.done() and not look(presenter):
            assert time.monotonic() < end, shown.getvalue()
            await asyncio.sleep(0.02)
        if not task.done():
            presenter._stop.set()
        await task

    asyncio.run(work())
    return presenter, shown.getvalue()


def played(machine: Machine) -> np.ndarray:
    pieces = [np.concatenate(stream.played) for stream in machine.module.streams if stream.device["name"] == "Cable"]
    return np.concatenate([piece for piece in pieces if len(piece)] or [np.zeros((1, 2), np.float32)])


def test_the_microphone_moves_a_camera_and_is_heard_at_the_cable(engine: DoubleEngine, studio: Machine) -> None:
    def done(presenter: Presenter) -> bool:
        cameras, devices = studio.camera.cameras, getattr(presenter, "_devices", None)
        if not cameras or len(cameras[0].sent) <= 40 or np.abs(played(studio)).max() < 0.25:
            return False
        moved = len({round(float(pixels.mean()), 2) for _, pixels in cameras[0].sent}) > 1
        return moved and devices.skew.count > 10 and bool(devices.latency)

    presenter, shown = during(engine, WISH, done)
    pictures = np.stack([pixels for _, pixels in studio.camera.cameras[0].sent])
    assert len(np.unique(pictures.reshape(len(pictures), -1).mean(1).round(2))) > 1, "the mouth moves"
    sound = played(studio)
    np.testing.assert_array_equal(sound[:, 0], sound[:, 1])
    assert np.abs(sound).max() == pytest.approx(0.3, abs=0.06)  # resampling rings where a late machine left a gap
    assert presenter._devices.skew.count > 10 and presenter._devices.latency
    assert "from Jabra · camera /dev/video10 · voice Cable" in shown
    assert not studio.streams and studio.camera.cameras[0].closed and studio.module._users == 0


def test_keys_do_what_they_say(engine: DoubleEngine, studio: Machine) -> None:
    state: dict[str, object] = {}

    def done(presenter: Presenter) -> bool:
        live = presenter._live
        if live is None or live.opened_as is None or not engine.opened:
            return False
        session = engine.opened[-1]
        if not state:
            for key in ("2", "left", "up", "m", "?"):
                presenter._press(key, live, 0.0)
            state["sent"] = True
        view = session.controls.viewpoint
        if session.controls.manner.emotion != "happy" or view.yaw >= 0 or view.pitch <= 0:
            return False
        state["view"] = view
        presenter._press("q", live, 0.0)
        return presenter._stop.is_set() and presenter._muted

    during(engine, replace(WISH, push_to_talk=True), done)
    assert state["view"].pitch > 0  # type: ignore[attr-defined]


def test_muted_and_between_taps_nothing_is_heard(engine: DoubleEngine, studio: Machine) -> None:
    count: list[int] = []

    def done(presenter: Presenter) -> bool:
        cameras, mic = studio.camera.cameras, getattr(presenter, "_devices", None)
        if mic is not None and mic.mic is not None and mic.mic.level_db > -20:
            count.append(len(cameras[0].sent))
        return bool(count) and len(cameras[0].sent) > count[0] + 30

    during(engine, replace(WISH, push_to_talk=True), done)
    assert np.abs(played(studio)).max() == 0.0


def test_a_microphone_that_is_pulled_out_leaves_the_avatar_alive(
    engine: DoubleEngine, studio: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def done(presenter: Presenter) -> bool:
        cameras = studio.camera.cameras
        sent = len(cameras[0].sent) if cameras else 0
        if not steps and sent > 5:
            studio.unplug("Jabra")
            steps.append(sent)
        devices = getattr(presenter, "_devices", None)
        if len(steps) == 1 and ("from", "") in devices.ends():
            steps.append(sent)
            studio.plug("Jabra", inputs=1, first=True)
        return len(steps) == 2 and ("from", "Jabra") in devices.ends() and sent > steps[1] + 10

    _, shown = during(engine, WISH, done)
    assert 'input "Jabra" is gone; going on without it' in shown and 'input is "Jabra" now' in shown


def test_an_engine_that_fails_is_said_and_everything_is_given_back(engine: DoubleEngine, studio: Machine) -> None:
    engine.fail_open = True
    with pytest.raises(PresentError, match="the engine stopped: this engine never opens"):
        during(engine, WISH, lambda presenter: False)
    assert not studio.streams and all(camera.closed for camera in studio.camera.cameras)


def test_a_page_can_watch_it(engine: DoubleEngine, studio: Machine) -> None:
    def done(presenter: Presenter) -> bool:
        return presenter._live is not None and presenter._live.shown_pts > 3 * FRAME

    wish = replace(WISH, devices=Wanted(camera="none", speaker="none"), outputs=Outputs(serve=True))
    _, shown = during(engine, wish, done)
    assert "page: http://localhost:" in shown and "/web/source.html?session=" in shown and "viewers 0" in shown


unix = pytest.mark.skipif(sys.platform == "win32", reason="terminals are others there")


@contextlib.contextmanager
def terminal():
    import pty
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    try:
        yield ours, theirs
        assert termios.tcgetattr(theirs) == before, "the terminal is not as it was"
    finally:
        os.close(ours)
        os.close(theirs)


def until_shown(ours: int, words: str, seen: list[str], timeout: float = 90.0) -> None:
    """Reads the terminal until ``words`` are on it."""
    import select

    end = time.monotonic() + timeout
    while words not in "".join(seen):
        assert time.monotonic() < end, "".join(seen)
        if select.select([ours], [], [], 0.2)[0]:
            seen.append(os.read(ours, 4096).decode("utf-8", "replace"))


PROGRAM = """
from pathlib import Path
from tests.streaming.double import DoubleEngine
from tests.visavis.test_present import CONFIG, SIDE, WISH
from visavis.present import present
import sys
present(DoubleEngine(Path(sys.argv[1]), side=SIDE), CONFIG, WISH)
"""


def test_it_is_filmed_too_with_its_voice(engine: DoubleEngine, studio: Machine, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    wish = replace(WISH, devices=Wanted(camera="none", speaker="none"), outputs=Outputs(record=path))

    heard: list[int] = []  # how far the film was when the microphone heard its tone

    def done(presenter: Presenter) -> bool:
        live, devices = presenter._live, getattr(presenter, "_devices", None)
        if live is not None and devices is not None and devices.mic.level_db > -20 and not heard:
            heard.append(max(live.shown_pts, 0))
        return live is not None and bool(heard) and live.shown_pts > max(heard[0] + 25 * FRAME, 60 * FRAME)

    _, shown = during(engine, wish, done)
    assert "film film.mkv" in shown and f"{path}: " in shown
    with av.open(str(path)) as container:
        voice = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 40
    assert np.abs(voice).max() == pytest.approx(0.3, abs=0.05)


@unix
def test_in_a_terminal_it_obeys_keys_and_leaves_the_terminal_as_it_was(studio: Machine, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures.txt"
    environment = {**os.environ, "FAKE_CAMERA": str(pictures), "TERM": "xterm", "COLUMNS": "150"}
    environment["PYTHONPATH"] += f"{os.pathsep}{Path.cwd()}"
    with terminal() as (ours, theirs):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)], stdin=theirs, stdout=theirs, stderr=theirs,
            env=environment, preexec_fn=_own_terminal,
        )  # fmt: skip
        try:
            seen: list[str] = []
            until_shown(ours, "fps", seen)
            for key, words in ((b"m", "MUTED"), (b"m", "|"), (b"\x1b[A3i", "fps")):
                os.write(ours, key)
                seen.clear()
                until_shown(ours, words, seen)
            while not pictures.exists() or len(pictures.read_text().splitlines()) <= 5:
                seen.clear()
                until_shown(ours, "fps", seen)
            os.write(ours, b"\x03")  # Ctrl+C
            assert process.wait(60) == 0, "".join(seen)
        finally:
            process.kill()
    assert len(pictures.read_text().splitlines()) > 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--speaker", "Cable", "--mic", "nobody"], 'no microphone "nobody"; there are: 0 "Jabra"'),
        (["--speaker", "nobody"], 'no sound output "nobody"; there are: 1 "Cable"'),
        (["--background", "transparent"], "--serve"),
        (["--avatar", "nobody"], "nobody"),
        (["--record", "film.avi"], "ends in .mp4, .mkv, .webm"),
        (["--record", "nowhere/film.mp4"], "no folder"),
        (["--push", "ftp://somewhere/x"], "--push takes rtmp"),
        (["--speaker", "Cable", "--emotion", "sleepy"], "choose one of neutral"),
        (["--framing", "feet"], "framing must be one of head, upper"),
        (["--mic", "none", "--camera", "none", "--speaker", "none"], "nobody would see or hear it"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_engine_loads(studio: Machine, arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(cli.app, ["present", *arguments])
    assert isinstance(done.exception, ValueError) and words in str(done.exception)
    assert not studio.streams and all(camera.closed for camera in studio.camera.cameras)


def _own_terminal() -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@unix
@pytest.mark.parametrize("end", ["raise RuntimeError", "sys.exit(3)", "os.kill(os.getpid(), 15)", "pass"])
def test_the_terminal_is_given_back_however_it_ends(end: str) -> None:
    code = (
        "import asyncio, os, signal, sys, termios\n"
        "from visavis.present_keys import Keyboard\n"
        "signal.signal(signal.SIGTERM, lambda *told: sys.exit(4))\n"
        "with Keyboard() as keys:\n"
        "    assert keys.there and not termios.tcgetattr(0)[3] & termios.ICANON\n"
        f"    {end}\n"
    )
    with terminal() as (_, theirs):
        subprocess.run(
            [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=_own_terminal,
            timeout=90, check=False,
        )  # fmt: skip
