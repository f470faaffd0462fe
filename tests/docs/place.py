"""A folder with what the documentation's commands are given, and a server that one of them starts."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .blocks import ROOT

SMALL: Final = """
[render]
width = 96
height = 96
renderer = "geometric"
[server]
port = 0
[schedule]
enabled = false  # a machine that is busy with other tests refuses nobody
"""
SAMPLE: Final = ROOT / "streaming" / "web" / "sample.wav"
SPOKEN_S: Final = 0.4


def speech(path: Path, seconds: float = SPOKEN_S) -> None:
    """The beginning of the page's sample."""
    with wave.open(str(SAMPLE)) as whole, wave.open(str(path), "wb") as part:
        part.setparams(whole.getparams())
        whole.setpos(whole.getframerate() // 2)
        part.writeframes(whole.readframes(round(seconds * whole.getframerate())))


def furnish(folder: Path) -> None:
    """Puts into ``folder`` what the pages suppose to be there."""
    (folder / "small.toml").write_text(SMALL)
    speech(folder / "speech.wav")
    shutil.copytree(ROOT / "engine/assets/avatars/ada", folder / "me.avatar")
    shutil.copy(ROOT / "docs/images/enrol.jpg", folder / "me.jpg")
    (folder / "recordings").mkdir()


def opener(folder: Path) -> Path:
    """A browser that keeps the address it was told to open."""
    path = folder / "browser"
    path.write_text(f'#!/bin/sh\necho "$1" > {shlex.quote(str(folder))}/opened\n')
    path.chmod(0o700)
    return path


@dataclass(frozen=True)
class Server:
    """A server that runs: where it is, and the folder it was started in."""

    port: int
    folder: Path
    env: dict[str, str]

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"


@contextlib.contextmanager
def started(command: str, folder: Path) -> Iterator[Server]:
    """``command`` in ``folder``, once it says where it is; stopped as Ctrl+C stops it, and it must end well."""
    words = [sys.executable, "-m", "visavis.cli", *shlex.split(command)[1:], "--config", "small.toml"]
    env = os.environ | {"HOME": str(folder), "BROWSER": str(opener(folder)), "PYTHONPATH": str(ROOT)}
    env |= {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "DATA", "CONFIG")}
    server = subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    try:
        assert server.stdout is not None
        for line in server.stdout:
            said.append(line)
            if found := re.search(r"http://localhost:(\d+)", line):
                yield Server(int(found[1]), folder, env)
                break
        else:
            raise AssertionError(f"{command} did not start:\n{''.join(said)}")
        server.send_signal(signal.SIGINT)
        rest, _ = server.communicate(timeout=60)
        assert server.returncode == 0, "".join(said) + rest
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
