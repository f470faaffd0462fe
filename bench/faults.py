"""Suite ``faults``: what bad lines, slow viewers, stalls, busy machines, clock steps and kills do to a session.

The server is a process of its own whose engine shows a film (stand_in.py); viewers are without a browser (viewer.py),
but for ``line`` and ``kernel``, which have modules of their own. Full disks, broken recordings and dying engines are
tests (tests/streaming/test_faults.py, tests/streaming/outputs).
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench import faults_kernel, faults_line
from bench.faults_line import browsing
from bench.line import Condition, Line, Relay
from bench.report import Measured, Metrics, value
from bench.soak_viewer import read_wav
from bench.stand_in import film
from bench.stream import serving, write_voice
from bench.viewer import Clicks, Viewer, Voice, read_strip
from streaming import patches
from streaming.config import StreamConfig

PARTS: Final = ("slow", "stall", "hog", "clock", "killed", "kernel", "line")
CALM_S: Final = 6.0  # of a session before the fault
AFTER_S: Final = 12.0
STALL_S: Final = 2.0
HOG_S: Final = 5.0
FRESH_MS: Final = 300.0  # a picture that is older when it arrives is late


@dataclass
class Record:
    """What a viewer got: rows (arrival s, age ms) of pictures, and clicks (media time s, arrival s) seen and heard."""

    viewer: Viewer | None = None
    pictures: list[tuple[float, float]] = field(default_factory=list)
    seen: list[tuple[float, float]] = field(default_factory=list)
    heard: list[tuple[float, float]] = field(default_factory=list)
    clicks: Clicks = field(default_factory=Clicks)
    offset_ms: float = 0.0  # how far the server's wall clock was set forward

    def see(self, frame: av.VideoFrame, rtp: int, now: float) -> None:
        """A picture has come."""
        strip = read_strip(np.asarray(frame.to_ndarray()[: frame.height]))
        if strip is None or self.viewer is None:
            return
        age = ((int((time.time() + self.offset_ms / 1e3) * 1e4) - strip.stamp + 2**31) % 2**32 - 2**31) / 10
        self.pictures.append((now, age))
        moment = self.viewer.pictures_line.moment(rtp)
        if strip.onset and moment is not None:
            self.seen.append((moment + (strip.onset - 1) / 1e3, now))

    def hear(self, samples: NDArray[np.int16], rtp: int, now: float) -> None:
        """20 ms of sound have come."""
        begin = None if self.viewer is None else self.viewer.voice_line.moment(rtp)
        if begin is not None and (click := self.clicks.find(samples, begin)) is not None:
            self.heard.append((click, now))

    def skew(self, low: float, high: float) -> float | None:
        """Median of heard minus seen in ms, of clicks that arrived in [low, high)."""
        seen = [moment for moment, at in self.seen if low <= at < high]
        heard = [moment for moment, _ in self.heard]
        pairs = [min((h - s for h in heard), key=abs) for s in seen] if heard else []
        near = [1e3 * pair for pair in pairs if abs(pair) < 0.4]
        return float(np.median(near)) if near else None


def run(quick: bool, log: Console, parts: str | None = None) -> Measured:
    """Each part once. Raises ValueError for one that is not known."""
    wanted = parts.split(",") if parts else list(PARTS)
    if unknown := sorted(set(wanted) - set(PARTS)):
        raise ValueError(f"parts of the faults are {', '.join(PARTS)}; got {', '.join(unknown)}")
    patches.install(StreamConfig())
    metrics: Metrics = {}
    for name in wanted:
        log.print(f"part {name}")
        metrics |= _part(name, quick, log)
        log.print({k: v.get("value", v.get("p50")) for k, v in metrics.items() if k.startswith(name)})
    metrics["load"] = value(os.getloadavg()[0], "jobs waiting or running, 1 min")
    return Measured(metrics)


def _part(name: str, quick: bool, log: Console) -> Metrics:
    if name == "line":
        return faults_line.run(quick, log).metrics
    if name != "kernel":
        return _alone(name)
    try:
        return {f"kernel.{key}": metric for key, metric in faults_kernel.run().items()}
    except OSError as problem:  # not on every machine may one make a namespace
        log.print(f"left out: {problem}")
        return {}


def _alone(name: str) -> Metrics:
    """A part with a server of its own."""
    work: dict[str, Callable[..., Any]] = {
        "slow": slow, "stall": stall, "hog": hog, "clock": clock, "killed": killed,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        voice = read_wav(write_voice(Path(folder) / "voice.wav", 40))
        module = ("bench.soak_server", f"{folder}/counts", "--film", str(film(faults_line.FILM)), "--")
        with serving(Path(folder), module) as (address, server):
            found: dict[str, tuple[float | None, str]] = asyncio.run(work[name](address, server, voice))
    return {f"{name}.{key}": value(np.nan if got is None else got, unit) for key, (got, unit) in found.items()}


@contextlib.asynccontextmanager
async def watched(
    address: str, voice: NDArray[np.int16], down: Condition | None = None
) -> AsyncIterator[tuple[Viewer, Record]]:
    """A viewer who speaks and says that it is there, with what it gets; ``down``: its line from the server."""
    record = Record()
    relay = None if down is None else Relay(Line(((0.0, Condition()),), 1), Line(((0.0, down),), 2))
    ways: dict[str, Any] = {}
    if relay is not None:
        await relay.start()
        ways = {"offer": relay.offer, "answer": relay.answer}
    viewer = Viewer(
        address, voice=Voice(voice), seen=record.see, heard=record.hear,
        options={"avatar": "ada", "marker": True}, **ways,
    )  # fmt: skip
    record.viewer = viewer
    await viewer.open()
    heart = asyncio.ensure_future(_beat(viewer))
    try:
        yield viewer, record
    finally:
        heart.cancel()
        await viewer.close()
        if relay is not None:
            relay.close()


async def _beat(viewer: Viewer) -> None:
    while True:
        await asyncio.sleep(0.5)
        viewer.say("ping", viewer.pose, t=0.0)


def fps(record: Record, low: float, high: float) -> float:
    """Pictures a second that arrived in [low, high)."""
    return sum(low <= at < high for at, _ in record.pictures) / (high - low)


def longest_gap(record: Record, low: float, high: float) -> float:
    """The longest time without a picture in [low, high), ms."""
    times = [low, *(at for at, _ in record.pictures if low <= at < high), high]
    return 1e3 * float(np.diff(times).max())


def recovery(record: Record, since: float) -> float | None:
    """Seconds from ``since`` until ten pictures in a row were in time; None when that never was."""
    late = [(at, age) for at, age in record.pictures if at >= since]
    for k in range(len(late) - 10):
        if all(age < FRESH_MS for _, age in late[k : k + 10]):
            return late[k][0] - since
    return None


async def _around(record: Record, begin: float, end: float) -> dict[str, tuple[float | None, str]]:
    """Figures of a fault from ``begin`` to ``end``: before, meanwhile and after."""
    await asyncio.sleep(AFTER_S)
    now = time.monotonic()
    return {
        "before.fps": (fps(record, begin - CALM_S / 2, begin), "frames/s"),
        "longest_gap_ms": (longest_gap(record, begin, now), "ms"),
        "recovery_s": (recovery(record, end), "s"),
        "after.fps": (fps(record, now - 6, now), "frames/s"),
        "skew_before_ms": (record.skew(0, begin), "ms"),
        "skew_after_ms": (record.skew(end + 3, now), "ms"),
    }


async def slow(address: str, server: subprocess.Popen[bytes], voice: NDArray[np.int16]) -> dict[str, Any]:
    """Somebody else's line carries 200 kbit/s."""
    async with watched(address, voice) as (_, other):
        await asyncio.sleep(CALM_S)
        begin = time.monotonic()
        async with watched(address, voice, Condition(rate=200_000)) as (_, starved):
            await asyncio.sleep(AFTER_S)
            end = time.monotonic()
        return {
            "other.before.fps": (fps(other, begin - CALM_S / 2, begin), "frames/s"),
            "other.fps": (fps(other, begin, end), "frames/s"),
            "other.longest_gap_ms": (longest_gap(other, begin, end), "ms"),
            "starved.fps": (fps(starved, begin, end), "frames/s"),
        }


async def stall(address: str, server: subprocess.Popen[bytes], voice: NDArray[np.int16]) -> dict[str, Any]:
    """The server's event loop does nothing for two seconds."""
    async with watched(address, voice) as (viewer, record):
        await asyncio.sleep(CALM_S)
        begin = time.monotonic()
        server.send_signal(signal.SIGUSR1)
        await asyncio.sleep(STALL_S)
        found = await _around(record, begin, begin + STALL_S)
        return {**found, "connected": (viewer.pc.connectionState == "connected", "")}


async def hog(address: str, server: subprocess.Popen[bytes], voice: NDArray[np.int16]) -> dict[str, Any]:
    """Twice as many busy processes as there are cores, for five seconds."""
    async with watched(address, voice) as (_, record):
        await asyncio.sleep(CALM_S)
        begin = time.monotonic()
        spawn = multiprocessing.get_context("spawn")
        hogs = [spawn.Process(target=_spin, args=(HOG_S,), daemon=True) for _ in range(2 * (os.cpu_count() or 2))]
        for one in hogs:
            one.start()
        while any(one.is_alive() for one in hogs):
            await asyncio.sleep(0.02)
        end = time.monotonic()
        during = fps(record, begin, end)
        return {**await _around(record, begin, end), "during.fps": (during, "frames/s")}


def _spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def clock(address: str, server: subprocess.Popen[bytes], voice: NDArray[np.int16]) -> dict[str, Any]:
    """The server's wall clock is set an hour forward."""
    async with watched(address, voice) as (_, record):
        await asyncio.sleep(CALM_S)
        begin = time.monotonic()
        server.send_signal(signal.SIGUSR2)
        record.offset_ms = 3_600_000.0
        return await _around(record, begin, begin)


async def killed(address: str, server: subprocess.Popen[bytes], voice: NDArray[np.int16]) -> dict[str, Any]:
    """The server is killed, without a word to anybody: how soon a viewer without a browser knows, and how soon the page
    says so."""
    with tempfile.TemporaryDirectory() as folder:
        page = multiprocessing.get_context("spawn").Process(target=_page, args=(address, f"{folder}/said"), daemon=True)
        page.start()
        async with watched(address, voice) as (viewer, record):
            while page.is_alive() and not Path(f"{folder}/said.live").exists():
                await asyncio.sleep(0.1)
            await asyncio.sleep(CALM_S)
            begin = time.monotonic()
            server.kill()
            while viewer.pc.connectionState == "connected" and time.monotonic() - begin < 30:
                await asyncio.sleep(0.02)
            noticed = time.monotonic() - begin
        await asyncio.get_running_loop().run_in_executor(None, page.join, 60)
        said = Path(f"{folder}/said")
        shown = float(said.read_text()) - begin if said.exists() else None
        return {
            "before.fps": (fps(record, begin - 3, begin), "frames/s"),
            "noticed_s": (noticed, "s"),
            "page_says_so_s": (shown, "s"),
        }


def _page(address: str, path: str) -> None:
    """The real page: ``path``.live is there once it shows pictures, ``path`` holds when it said that they are lost."""
    with tempfile.TemporaryDirectory() as folder, browsing(write_voice(Path(folder) / "voice.wav", 20)) as browser:
        page = browser.new_page(viewport={"width": 900, "height": 700}, bypass_csp=True)
        page.goto(address)
        page.wait_for_selector("#avatars button")
        page.click("#begin")
        page.wait_for_function("document.querySelector('#stage').classList.contains('live')", timeout=40_000)
        Path(f"{path}.live").touch()
        page.wait_for_function("document.querySelector('#status').dataset.state === 'lost'", timeout=60_000)
        Path(path).write_text(str(time.monotonic()))
