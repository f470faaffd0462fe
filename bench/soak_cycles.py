"""Viewers who come and go, a thousand times and in every way: what stays behind in the server?

The engine is the tests' stand-in unless ``real``: connections are what is tried, not pictures. The server is a process
of its own that counts what it holds (soak_server.py). Endings: ``bye``, ``delete`` (over HTTP), ``close`` (the DTLS
alert of a closed page), ``vanish`` (a killed tab), ``abort`` (the request is cut while the offer is on its way),
``deaf`` (the answer is never used, so no media ever connects).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import numpy as np
from rich.console import Console

from bench.report import Measured, Metrics, value
from bench.stream import serving
from bench.viewer import Viewer, Voice
from engine.clock import VOICE_RATE
from streaming import patches
from streaming.config import StreamConfig

ENDINGS: Final = ("bye", "delete", "close", "vanish", "abort", "deaf")
AT_ONCE: Final = 6
REAL_AT_ONCE: Final = 2
WARM_UP: Final = 36  # cycles before the first count: threads of pools, caches of code
PICTURES: Final = 3  # that are waited for before the end
OPEN_S: Final = 20.0
SETTLE_S: Final = 60.0  # in which all sessions must have ended
Line = dict[str, Any]


def run(cycles: int, log: Console, *, real: bool = False) -> Measured:
    """``cycles`` viewers. Raises OSError when a session cannot be opened, or does not end."""
    patches.install(StreamConfig())
    folder = Path(tempfile.mkdtemp(prefix="soak-cycles-"))
    counts = folder / "server.jsonl"
    module = ("bench.soak_server", str(counts), "--every", "0.5", "--collect", *(() if real else ("--double",)), "--")
    log.print(f"{cycles} viewers come and go{', with the real engine' if real else ''}")
    began = time.monotonic()
    with serving(folder, module) as (address, _):
        first, middle, last, met = asyncio.run(_rounds(address, cycles, counts, REAL_AT_ONCE if real else AT_ONCE, log))
    took = 1e3 * (time.monotonic() - began) / cycles
    metrics = {"cycles": value(cycles, ""), "cycle_ms": value(took, "ms"), **judge(first, last)}
    metrics["grown_rss_second_half_mb"] = judge(middle, last)["grown_rss_mb"]
    metrics |= {f"ended.{name}": value(count, "") for name, count in met.items()}
    name = "cycles_real" if real else "cycles"
    return Measured({f"{name}.{key}": metric for key, metric in metrics.items()})


def judge(before: Sequence[Line], after: Sequence[Line]) -> Metrics:
    """What is more afterwards than it was before."""

    def grown(name: str) -> float:
        return float(np.median([line[name] for line in after]) - np.median([line[name] for line in before]))

    return {
        "leaked_tasks": value(grown("tasks"), ""),
        "leaked_threads": value(grown("threads"), ""),
        "leaked_fds": value(grown("fds"), ""),
        "grown_objects": value(grown("objects"), ""),
        "grown_blocks": value(grown("blocks"), ""),
        "grown_rss_mb": value(grown("rss_mb"), "MB"),
    }


async def _rounds(
    address: str, cycles: int, counts: Path, at_once: int, log: Console
) -> tuple[list[Line], list[Line], list[Line], Counter[str]]:
    """Counts before, after half of them and after all; and how many ended how."""
    met: Counter[str] = Counter()
    await _round(address, WARM_UP if at_once > REAL_AT_ONCE else 2 * len(ENDINGS), at_once, Counter(), log)
    first = await _settled(address, counts)
    await _round(address, cycles // 2, at_once, met, log)
    middle = await _settled(address, counts)
    await _round(address, cycles - cycles // 2, at_once, met, log)
    return first, middle, await _settled(address, counts), met


async def _round(address: str, cycles: int, at_once: int, met: Counter[str], log: Console) -> None:
    """``cycles`` viewers, ``at_once`` at a time, their endings in turn."""
    numbers = iter(range(cycles))

    async def come_and_go() -> None:
        for k in numbers:
            ending = ENDINGS[k % len(ENDINGS)]
            met[await cycle(address, ending)] += 1
            if (k + 1) % 100 == 0:
                log.print(f"{k + 1} of {cycles}")

    await asyncio.gather(*(come_and_go() for _ in range(at_once)))


async def cycle(address: str, ending: str) -> str:
    """One viewer who comes and goes by ``ending``. "late" when no pictures came: on a busy machine the server gives up
    some of them before they connect, which must leave nothing behind either."""
    pictures: list[int] = []
    voice = Voice(np.zeros(VOICE_RATE, np.int16))
    viewer = Viewer(address, voice=voice, seen=lambda frame, rtp, now: pictures.append(rtp), options={"avatar": "ada"})
    await viewer.offer()
    try:
        if ending == "abort":
            await _cut_off(address, viewer.pc.localDescription.sdp)
        elif ending == "deaf":
            await viewer.post(take=False)
        else:
            await viewer.post()
            try:
                await asyncio.wait_for(_until(lambda: len(pictures) >= PICTURES), OPEN_S)
            except TimeoutError:
                return "late"
            await _leave(viewer, ending)
        return ending
    finally:
        await viewer.close()


async def _leave(viewer: Viewer, ending: str) -> None:
    if ending == "bye":
        await asyncio.wait_for(_until(lambda: viewer.control.readyState == "open"), OPEN_S)
        viewer.say("bye")
        await asyncio.sleep(0.1)
    elif ending == "delete":
        if await viewer.delete() != 204:
            raise OSError("a session could not be deleted")
    elif ending == "vanish":
        viewer.vanish()


async def _cut_off(address: str, sdp: str) -> None:
    """A request that is broken off before its answer."""
    body = {"sdp": sdp, "type": "offer", "avatar": "ada"}
    with contextlib.suppress(asyncio.TimeoutError):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.02)) as http:
            await http.post(f"{address}v1/sessions", json=body)


async def _until(done: Any) -> None:
    while not done():
        await asyncio.sleep(0.01)


async def _settled(address: str, counts: Path) -> list[Line]:
    """The last counts of the server, once it has no session and has been looked through for what is dead."""
    deadline = time.monotonic() + SETTLE_S
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{address}v1/health") as response:
                left = int((await response.json())["sessions"])
            if left == 0:
                break
            if time.monotonic() > deadline:
                raise OSError(f"{left} sessions have not ended {SETTLE_S:.0f} s after their viewers left")
            await asyncio.sleep(0.2)
    await asyncio.sleep(8.0)  # tasks that end on their own time, and several counts
    lines = counts.read_text(encoding="utf-8").splitlines()[-5:]
    return [json.loads(line) for line in lines]
