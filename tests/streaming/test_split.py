"""`visavis serve` as several processes: it serves, outlives the end of each of them, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession
from aiortc import InvalidStateError

from streaming.guard import ServeError
from streaming.split import hold_port, splits
from tests.processes import alive

from .harness import Viewer, run, until

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")


def test_auto_is_several_processes_where_there_are_cores_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not splits("one", 64) and not splits("auto", 2) and splits("auto", 8) and splits("split", 1)
    monkeypatch.setattr(sys, "platform", "win32")
    assert not splits("auto", 8)
    with pytest.raises(ServeError, match='set it to "one"'):
        splits("split", 8)


def children(pid: int) -> dict[int, str]:
    """Processes of a server: their numbers and names."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            if int(folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                words = folder.joinpath("cmdline").read_bytes().split(b"\0")
                if b"streaming.child" in words:
                    found[int(folder.name)] = words[words.index(b"streaming.child") + 2].decode()
    return found


def named(pid: int, name: str) -> list[int]:
    return [child for child, kind in children(pid).items() if kind == name]


@contextlib.asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[tuple[subprocess.Popen[str], str]]:
    """`visavis serve`, with its temporary files in ``tmp_path``, and its address."""
    config = tmp_path / "config.toml"
    config.write_text(
        '[server]\nport = 0\nprocesses = "split"\n[render]\nwidth = 64\nheight = 64\nrenderer = "geometric"\n'
        "[portrait]\nenabled = false\n"
    )
    command = [sys.executable, "-m", "visavis", "serve", "--config", str(config)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    try:
        line = await asyncio.to_thread(server.stdout.readline)
        yield server, next(word for word in line.split() if word.startswith("http"))
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


async def ready(address: str) -> bool:
    with contextlib.suppress(ClientError):
        async with ClientSession() as http, http.get(f"{address}v1/avatars") as answer:
            return answer.status == 200
    return False


async def again(address: str) -> None:
    async with asyncio.timeout(200):
        while not await ready(address):
            await asyncio.sleep(0.02)


async def beating(viewer: Viewer) -> None:
    """Says that somebody is there, as the page does."""
    while True:
        with contextlib.suppress(InvalidStateError):
            viewer.say("ping", t=0)
        await asyncio.sleep(1)


@LINUX
def test_it_serves_through_the_end_of_each_process_and_ends_with_all_of_them(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path) as (server, address):
            await again(address)
            viewer = await Viewer(address).open()
            beat = asyncio.create_task(beating(viewer))
            await until(lambda: len(viewer.pictures) > 3, 200)
            painting = named(server.pid, "inference")[0]
            await until(lambda: len(named(server.pid, "inference")) == 2, 200)
            os.kill(painting, signal.SIGKILL)
            viewer.pictures.clear()  # those that were on their way are not 25
            await until(lambda: len(viewer.pictures) > 25, 200, "no pictures from the next inference process")
            assert not viewer.heard("bye") and not viewer.heard("error")

            (web,) = named(server.pid, "web")
            os.kill(web, signal.SIGKILL)
            viewer.pictures.clear()
            await until(lambda: len(viewer.pictures) > 10, 200, "the web process carries no media")
            await again(address)
            beat.cancel()
            await viewer.close()

            for media in named(server.pid, "media"):
                os.kill(media, signal.SIGKILL)
            await asyncio.sleep(0.2)
            await again(address)
            other = await Viewer(address).open()
            beat = asyncio.create_task(beating(other))
            await until(lambda: len(other.pictures) > 3, 200)
            beat.cancel()
            await other.close()

            mine = children(server.pid)
            server.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.wait, 200)
            assert server.returncode == 0
            assert not any(map(alive, mine))
            assert not list(tmp_path.glob("visavis-*"))

    run(work(), 500)


@LINUX
def test_a_server_that_is_killed_takes_its_processes_with_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path) as (server, _):
            mine = children(server.pid)
            assert {"web", "media", "inference"} <= set(mine.values())
            server.kill()
            await until(lambda: not any(map(alive, mine)), 200)
            assert not list(tmp_path.glob("visavis-*"))

    run(work(), 500)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the port is not held")
def test_a_held_port_is_of_the_process_that_asks_for_it_by_number() -> None:
    with hold_port("127.0.0.1") as held, socket.socket() as stranger, socket.socket() as web:
        port = held.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
        web.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio's servers do
        web.bind(("127.0.0.1", port))
        web.listen()
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = tmp_path / "config.toml"
        config.write_text(f'[server]\nport = {port}\nprocesses = "split"\n')
        command = [sys.executable, "-m", "visavis", "serve", "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and f"port {port} is busy" in done.stderr
