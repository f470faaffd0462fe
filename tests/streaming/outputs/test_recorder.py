"""Recordings: they play up to their last second however they end, and what they are called stays in their folder."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine.clock import FPS, VOICE_RATE, VOICE_RATIO
from streaming.config import OutputsConfig, StreamConfig
from streaming.live import Live, Options
from streaming.outputs import OutputError, Spec, open_output
from streaming.provenance import XMP_BOX
from streaming.tracks import OutFrame

from ..double import DoubleEngine
from ..harness import run, until
from .clap import claps, skews
from .stage import STATEMENT, Stage

ROOT = Path(__file__).parents[3]


def record(folder: Path, name: str = "a.mp4", **asked: Any) -> tuple[Stage, Any]:
    stage = Stage()
    spec = Spec("file", name=name, **asked)
    return stage, open_output(stage, spec, OutputsConfig(folder=str(folder)), STATEMENT)  # type: ignore[arg-type]


def test_a_recording_has_every_frame_its_voice_and_what_it_is(tmp_path: Path) -> None:
    async def work() -> None:
        stage, output = record(tmp_path)
        await stage.play(75)
        await output.close()
        assert [said["state"] for said in stage.said] == ["starting", "running", "ended"]
        assert (output.frames, output.dropped) == (75, 0) and not stage.outlets

    run(work())
    path = tmp_path / "a.mp4"
    with av.open(str(path)) as film:
        assert "AI-generated" in film.metadata["comment"]
        assert sum(1 for _ in film.decode(video=0)) == 75
    assert XMP_BOX in path.read_bytes() and np.abs(skews(path)).max() < 5
    told = subprocess.run(["ffprobe", "-v", "error", "-show_streams", path], capture_output=True, text=True, check=True)
    assert told.stderr == "" and "codec_name=h264" in told.stdout and "codec_name=aac" in told.stdout


def child(folder: Path, limit: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.streaming.outputs.stage", str(folder), str(limit)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_all_but_the_last_second(tmp_path: Path) -> None:
    recording = child(tmp_path)
    assert recording.stdout is not None
    told: dict[str, Any] = {}
    for line in recording.stdout:
        told = json.loads(line)
        if told["frames"] > 4 * FPS:
            break
    recording.kill()
    recording.wait()
    with av.open(str(tmp_path / "cut.mp4")) as film:
        frames = sum(1 for _ in film.decode(video=0))
    assert frames >= told["frames"] - FPS - 1  # the last fragment was not whole yet
    assert np.abs(skews(tmp_path / "cut.mp4")).max() < 5


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    recording = child(tmp_path, 150_000)
    told = [json.loads(line) for line in recording.communicate(timeout=120)[0].splitlines()]
    assert recording.returncode == 0 and told[-1]["state"] == "failed"
    assert "File too large" in told[-1]["error"] and "cut.mp4" in told[-1]["error"]
    path = tmp_path / "cut.mp4"
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", path]
    checked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert checked.stderr == "" and 100_000 < path.stat().st_size <= 150_000
    flashes, _ = claps(path)
    assert len(flashes) >= 2 and np.abs(skews(path)).max() < 5


BAD_NAMES = (
    "../a.mp4", "/etc/a.mp4", ".a.mp4", "a\\b.mp4", "a/b.mp4", "a.mp4\n", "a.avi", "con.mp4", "a" * 200 + ".mp4",
    "a:b.mp4", "-a.mp4", "..mp4", "a\0.mp4",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    async def work() -> None:
        with pytest.raises(OutputError, match="name"):
            record(tmp_path, name)
        assert not list(tmp_path.iterdir())

    run(work())


def test_a_name_that_is_taken_or_a_folder_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        (tmp_path / "a.mp4").write_text("somebody's")
        with pytest.raises(OutputError, match="already"):
            record(tmp_path)
        with pytest.raises(OutputError, match="outputs.folder"):
            record(tmp_path / "none")
        with pytest.raises(OutputError, match="outputs.folder"):
            open_output(Stage(), Spec("file"), OutputsConfig())  # type: ignore[arg-type]
        assert (tmp_path / "a.mp4").read_text() == "somebody's"

    run(work())


def test_recordings_of_one_second_have_names_of_their_own_and_none_is_left_without_a_picture(tmp_path: Path) -> None:
    async def work() -> None:
        outputs = [record(tmp_path, "")[1] for _ in range(3)]
        assert len({output.where for output in outputs}) == 3
        await asyncio.gather(*(output.close() for output in outputs))
        assert not list(tmp_path.iterdir())

    run(work())


def test_a_slow_disk_costs_pictures_and_never_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        stage, output = record(tmp_path)
        turns, slow = threading.Event(), output._file.write  # it stands still until it turns

        def write(data: bytes) -> int:
            turns.wait(60)
            return slow(data)

        monkeypatch.setattr(output._file, "write", write)
        begun = time.monotonic()
        await stage.play(100, at_most=10**6)
        assert time.monotonic() - begun < 30  # nobody waited for the disk
        assert output.dropped > 0
        turns.set()
        await output.close()
        assert output.frames + output.dropped == 100

    run(work())
    flashes, beeps = claps(tmp_path / "a.mp4")
    assert len(beeps) == 4 and len(flashes) >= 1  # all of the voice
    assert all(np.abs(beeps - flash).min() < 0.005 for flash in flashes)


class Hum:
    """A Source that never pauses, so that an interruption holds."""

    def take(self, count: int, position: int) -> np.ndarray:
        return (0.5 * np.sin(2 * np.pi * 440 * (position + np.arange(count)) / 48_000)).astype(np.float32)

    def shown(self, frame: OutFrame) -> None: ...
    def interrupted(self) -> None: ...


def test_a_session_of_its_own_is_recorded_with_what_viewers_hear(tmp_path: Path) -> None:
    """An interruption cuts the voice of viewers; a recording hears what they hear."""

    async def work() -> None:
        live = Live(DoubleEngine(tmp_path / "av", side=64, cost_s=0.0), Options("ada", "upper", 0), StreamConfig())  # type: ignore[arg-type]
        live.start()
        await until(lambda: live.shown_pts > 0)
        spec = Spec("file", name="a.mp4")
        output = open_output(live, spec, OutputsConfig(folder=str(tmp_path)), STATEMENT)
        assert not live.held
        live.speak(Hum())
        await until(lambda: output.frames > 20)
        live.interrupt()
        cut = live.edge  # the film is as late as its encoder
        await until(lambda: live.shown_pts * VOICE_RATIO > cut + VOICE_RATE)
        await live.close("enough")
        await output.close()
        assert output.state == "ended"

    run(work())
    with av.open(str(tmp_path / "a.mp4")) as film:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
    loud = np.abs(sound[: len(sound) // 4800 * 4800]).reshape(-1, 4800).max(1) > 0.2  # by tenths of a second
    assert loud[:5].any() and not loud[-6:].any()
