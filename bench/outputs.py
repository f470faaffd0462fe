"""Suite `outputs`: what a viewer, a recording and a push cost a server, in milliseconds of a core for each picture."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiohttp import ClientSession
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from rich.console import Console

from bench.report import Measured, value
from bench.stand_in import FilmEngine, film
from engine.clock import FPS
from streaming import patches
from streaming.config import OutputsConfig
from streaming.server import start
from tests.streaming.outputs.endpoint import Endpoint
from visavis.config import Config

ROOT: Final = Path(__file__).parent.parent
SETTLE_S: Final = 4.0
TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Eyes:
    """A viewer by WHEP that counts what it gets."""

    def __init__(self, http: ClientSession, session: str) -> None:
        self._http, self._session = http, session
        self.pictures = 0
        self._connection = RTCPeerConnection()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> Eyes:
        """Raises ValueError when the server does not let it in."""
        self._connection.on("track", lambda track: self._tasks.append(asyncio.ensure_future(self._watch(track))))
        for kind in ("audio", "video"):
            self._connection.addTransceiver(kind, direction="recvonly")
        await self._connection.setLocalDescription(await self._connection.createOffer())
        path, sdp = f"/v1/sessions/{self._session}/whep", self._connection.localDescription.sdp
        async with self._http.post(path, data=sdp, headers={"Content-Type": "application/sdp"}) as response:
            answer = await response.text()
            if response.status != 201:
                raise ValueError(answer)
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return self

    async def _watch(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                self.pictures += track.kind == "video"

    async def close(self) -> None:
        """Leaves."""
        await self._connection.close()
        for task in self._tasks:
            task.cancel()


def cpu_s(root: int) -> float:
    """Seconds of a core that a process and its children took so far."""
    used = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(folder.name) == root or int(fields[1]) == root:
                used += (int(fields[11]) + int(fields[12])) / TICKS
    return used


class Meter:
    """Milliseconds of a core for each picture that arrives, beyond what the session takes without it."""

    def __init__(self, server: int, seconds: float) -> None:
        self._server, self._seconds = server, seconds
        self._alone = 0.0  # seconds of a core a second

    async def _load(self, pictures: Callable[[], Awaitable[int]]) -> tuple[float, int]:
        await asyncio.sleep(SETTLE_S)
        before, begun, seen = cpu_s(self._server), time.monotonic(), await pictures()
        await asyncio.sleep(self._seconds)
        return (cpu_s(self._server) - before) / (time.monotonic() - begun), await pictures() - seen

    async def alone(self) -> float:
        """What the session itself takes for a frame: to be asked for first."""

        async def none() -> int:
            return 0

        self._alone, _ = await self._load(none)
        return 1e3 * self._alone / FPS

    async def cost(self, pictures: Callable[[], Awaitable[int]]) -> float:
        """``pictures`` counts those that arrived. Raises ValueError when hardly any does."""
        load, count = await self._load(pictures)
        if count < self._seconds:
            raise ValueError(f"only {count} pictures arrived in {self._seconds:g} s")
        return 1e3 * (load - self._alone) * self._seconds / count


async def _output(http: ClientSession, session: str, asked: dict[str, Any], meter: Meter) -> float:
    """What an output costs. Raises ValueError when it does not work."""
    path = f"/v1/sessions/{session}/outputs"
    async with http.post(path, json=asked) as response:
        opened = await response.json()
        if response.status != 201:
            raise ValueError(str(opened))

    async def frames() -> int:
        async with http.get(f"{path}/{opened['id']}") as response:
            return int((await response.json())["frames"])

    cost = await meter.cost(frames)
    async with http.delete(f"{path}/{opened['id']}") as response:
        told = await response.json()
        if told["state"] != "ended":
            raise ValueError(f"an output of kind {asked['kind']} did not work: {told}")
    return cost


@contextlib.contextmanager
def _receiver() -> Any:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = f"rtmp://127.0.0.1:{one.getsockname()[1]}/live/key"
    command = ["ffmpeg", "-v", "quiet", "-listen", "1", "-i", url, "-c", "copy", "-f", "null", "-"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield url
    finally:
        process.kill()
        process.wait()


async def _measure(address: str, meter: Meter, viewers: tuple[int, ...], log: Console) -> dict[str, float]:
    found: dict[str, float] = {}
    async with ClientSession(address) as http, Endpoint().serving() as whip:
        async with http.post("/v1/sessions", json={"type": "agent"}) as response:
            session = (await response.json())["id"]
        found["session"] = await meter.alone()
        log.print(f"the session alone: {found['session']:.2f} ms a frame")
        for count in viewers:
            watching = [await Eyes(http, session).open() for _ in range(count)]

            async def seen(watching: list[Eyes] = watching) -> int:
                return sum(eyes.pictures for eyes in watching)

            found[f"viewers_{count}"] = await meter.cost(seen)
            log.print(f"{count} viewers: {found[f'viewers_{count}']:.2f} ms a picture")
            await asyncio.gather(*(eyes.close() for eyes in watching))
        with _receiver() as rtmp:
            asked: dict[str, dict[str, Any]] = {
                "file": {"kind": "file"},
                "whip": {"kind": "whip", "url": f"{whip.address}/whip"},
                "rtmp": {"kind": "rtmp", "url": rtmp},
            }
            for name, spec in asked.items():
                found[name] = await _output(http, session, spec, meter)
                log.print(f"{name}: {found[name]:.2f} ms a picture")
    return found


def run(*, quick: bool, log: Console) -> Measured:
    """A session of 512 x 512 of a real avatar that was painted before, so that nothing is counted but what it costs to
    send: alone, with 1, 4 and 8 viewers by WHEP (VP8; quick: 1 and 4), recorded (H.264, AAC), sent by WHIP (H.264) and
    by RTMP (H.264, AAC, its process counted). Milliseconds of a core for each picture that arrived, beyond what the
    session takes alone (for each of its frames): 40 is a core at 25 fps. Receivers are on the same machine, in other
    processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.outputs", folder]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None and server.stdin is not None
            address = server.stdout.readline().strip()
            try:
                meter = Meter(server.pid, 4 if quick else 15)
                found = asyncio.run(_measure(address, meter, (1, 4) if quick else (1, 4, 8), log))
            finally:
                server.stdin.close()
    return Measured({f"{name}_ms": value(cost, "ms/picture") for name, cost in found.items()})


async def _serve(folder: Path) -> None:
    """The server, until standard input ends."""
    engine = FilmEngine(folder / "avatars", np.load(film(folder / "film.npy")))
    given = Config()
    settings = replace(given, server=replace(given.server, port=0), outputs=OutputsConfig(folder=str(folder)))
    patches.install(settings.stream)
    runner, address = await start(settings, engine)  # type: ignore[arg-type]
    try:
        print(address, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
