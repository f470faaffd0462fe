"""RTMP and RTSP to a real receiver (ffmpeg), which comes late, dies, and comes back; and to one that says nothing."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from streaming.config import OutputsConfig
from streaming.outputs import Output, Spec, open_output, push

from ..harness import free_ports, run, until
from .clap import claps
from .stage import STATEMENT, Stage

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on this machine")


@contextmanager
def receiver(kind: str, url: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    listen = ["-listen", "1"] if kind == "rtmp" else ["-rtsp_flags", "listen"]
    command = ["ffmpeg", "-v", "quiet", "-y", *listen, "-i", url, "-c", "copy", "-f", "matroska", str(path)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def played(stage: Stage, output: Output, seconds: float) -> None:
    """Plays at the pace of time until ``output`` has sent so much more."""
    loop, goal = asyncio.get_running_loop(), output.frames + seconds * 25
    begun = loop.time()
    while output.frames < goal:
        assert loop.time() - begun < 60, output.told()
        await stage.play(1, at_most=10**6)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["rtmp", "rtsp"])
def test_a_server_gets_lips_and_voice_together_also_when_it_was_gone(tmp_path: Path, kind: str) -> None:
    url = f"{kind}://127.0.0.1:{free_ports()}/live/secret-key"
    paths = [tmp_path / "first.mkv", tmp_path / "second.mkv"]

    async def work() -> None:
        stage = Stage()
        spec = Spec(kind, url=url, bitrate=400_000)  # type: ignore[arg-type]
        output = open_output(stage, spec, OutputsConfig(), STATEMENT)  # type: ignore[arg-type]
        for number, path in enumerate(paths):
            with receiver(kind, url, path) as process:
                await played(stage, output, 3.4 if number else 0.5)
                assert output.state == "running" and (output.reconnects > 0) >= (number > 0)
                if number:
                    await output.close()
                    assert await asyncio.to_thread(process.wait, 30) == 0  # it was told of the end
        assert output.state == "ended" and output.bytes > 0
        assert "reconnecting" in [said["state"] for said in stage.said]
        assert not any("secret-key" in str(said) for said in stage.said)

    run(work(), timeout=150)
    flashes, beeps = claps(paths[1])
    assert len(flashes) >= 2 and all(np.abs(beeps - flash).min() < 0.02 for flash in flashes[:-1])
    with av.open(str(paths[1])) as film:
        assert {stream.codec_context.name for stream in film.streams} == {"h264", "aac"}


def test_a_server_that_says_nothing_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "CONNECT_S", 4.0)

    async def work() -> None:
        stage, longest = Stage(), 0.0
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen()
            url = f"rtmp://127.0.0.1:{mute.getsockname()[1]}/live/key"
            output = open_output(stage, Spec("rtmp", url=url), OutputsConfig(), None)  # type: ignore[arg-type]
            begun = time.monotonic()
            while output.state != "reconnecting":
                assert time.monotonic() - begun < 30
                before = time.monotonic()
                await stage.play(1, at_most=10**6)
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - before)
            assert "no answer" in output.error and longest < 3.5  # FFmpeg itself would wait for ever, and hold the GIL
            await output.close()
            assert output.state == "ended"

    run(work())


def test_a_server_that_is_never_there_is_given_up_and_its_address_told_without_the_key() -> None:
    async def work() -> None:
        stage = Stage()
        spec = Spec("rtmp", url=f"rtmp://127.0.0.1:{free_ports()}/live/secret-key")
        output = open_output(stage, spec, OutputsConfig(give_up_s=0.2), None)  # type: ignore[arg-type]
        await stage.play(1, at_most=9)
        await until(lambda: output.state == "failed", 20)
        assert "refused" in output.error and "secret-key" not in str(output.told()) + repr(output.spec)
        assert not stage.outlets
        await output.close()

    run(work())


def test_no_process_stays_when_an_output_is_told_twice_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its session, and then by whoever opened it, while the server says nothing."""
    processes, spawn = [], push._spawn

    async def spawned() -> asyncio.subprocess.Process:
        processes.append(await spawn())
        return processes[-1]

    monkeypatch.setattr(push, "_spawn", spawned)

    async def work() -> None:
        stage = Stage()
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen()
            url = f"rtmp://127.0.0.1:{mute.getsockname()[1]}/live/key"
            output = open_output(stage, Spec("rtmp", url=url), OutputsConfig(), None)  # type: ignore[arg-type]
            await stage.play(1, at_most=9)
            await until(lambda: processes)
            await asyncio.to_thread(mute.accept)  # FFmpeg waits for an answer from here on
            output.ended("the session is over")
            await asyncio.sleep(0.1)
            await output.close()
            assert output.state == "ended" and processes[0].returncode is not None

    run(work())
