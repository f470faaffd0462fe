"""Processes of a server are killed while sessions speak: how soon do they speak again, and who else notices?"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console

from bench.load_clients import Caller, Client, Turned, until_seen
from bench.load_live import client, voice, within
from bench.load_server import CLUSTER, Mode, Server, cpu_s, running
from bench.load_traces import judge, lost, recovered
from bench.stream import ROOT
from engine.clock import FPS
from streaming import patches
from streaming.config import StreamConfig

CALM_S: Final = 4.0
WAIT_S: Final = 20.0
SILENT_S: Final = 0.6  # without a picture, after which a client asks what is the matter, as the page does
STUCK_S: Final = 3.0  # and after so long it comes anew, though its session is said to be alive
AGAIN_S: Final = 0.15
LOOK_S: Final = 1.0  # in which a process that works shows it
EACH: Final = 2  # sessions of each of a cluster's workers, if they are spread evenly
APART_S: Final = 2.0  # by when a cluster's edges know of the last session, and where there is room
RING: Final = "visavis-frames"  # what engine/sharedring.py calls its memory
Choice = tuple[int, set[str]]  # the process to kill, and the sessions that it has


@dataclass(frozen=True)
class Killed:
    """What became of the sessions when process ``victim`` was killed. ``recovery``: seconds for each of its sessions to
    speak again, None for one that did not in WAIT_S; ``fresh``: those that began anew, without what they were before;
    ``lost``: frames of media time that nobody saw, of each; ``others_lost``: the same of another worker's sessions."""

    victim: str
    recovery: tuple[float | None, ...]
    fresh: int
    lost: tuple[int, ...]
    others_lost: tuple[int, ...] = ()


class Loyal:
    """A caller that comes back: when nothing more is seen, it asks for its session, and resumes it."""

    def __init__(self, caller: Caller, address: str) -> None:
        self.caller, self.first = caller, caller.id
        self.returns = self.fresh = 0
        self.problem = ""  # why it could not come back, the last time
        self._address = address
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            silent = time.monotonic() - self.caller.record.pictures[-1].arrived
            if silent > STUCK_S or (silent > SILENT_S and not await self._alive()):
                await self._return()

    async def _alive(self) -> bool:
        """Whether the server says that the session is: then its connection may yet go on."""
        where, limit = f"{self._address}v1/sessions/{self.caller.id}", aiohttp.ClientTimeout(2.0)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with aiohttp.ClientSession(timeout=limit) as http, http.get(where) as response:
                return response.status == 200 and (await response.json()).get("state") == "alive"
        return False

    async def _return(self) -> None:
        """A new connection, with the old session if it can be had."""
        try:
            await self.caller.open(resume=self.caller.id)
        except OSError as problem:
            self.problem = str(problem)
            await asyncio.sleep(AGAIN_S)
            return
        self.fresh += self.caller.answer.get("resumed") is not True
        self.returns += 1
        await self._first_picture(time.monotonic())

    async def _first_picture(self, since: float) -> None:
        """Gives a new connection its time."""
        while time.monotonic() - since < STUCK_S and self.caller.record.pictures[-1].arrived < since:
            await asyncio.sleep(0.02)

    def lost(self, since: float, end: float) -> int:
        """Frames that were not seen around ``since``, by media time; of a session that began anew, by the clock."""
        rows = within(self.caller.record.rows(), since - 1.0, end)
        if self.fresh or not rows:
            return judge(rows, since - 1.0, end).never
        silent = end - max(row.done for row in rows)
        return lost(row.number for row in rows) + (round(FPS * silent) if silent > SILENT_S else 0)

    async def close(self) -> None:
        """Lets go."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.caller.close()


async def kill(
    address: str, victim: str, choose: Callable[[Sequence[str]], Choice], count: int, log: Console, apart: float = 0.0
) -> Killed:
    """``count`` sessions, opened ``apart`` seconds, speak (fewer, if not all are let in), the process that ``choose``
    gives for their ids is killed, and they are watched for WAIT_S or until all of its sessions speak again. Raises
    OSError when none is in."""
    callers, loyal = await _callers(address, count, apart, log), list[Loyal]()
    try:
        await until_seen(callers, 60.0)
        loyal = [Loyal(one, address) for one in callers if isinstance(one, Caller)]
        await asyncio.sleep(CALM_S)
        pid, hit = await asyncio.to_thread(choose, [one.first for one in loyal])
        begun = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        theirs = [one for one in loyal if one.first in hit]
        found: list[float | None] = [None]
        while time.monotonic() - begun < WAIT_S and None in found:
            await asyncio.sleep(0.1)
            found = [recovered(one.caller.record.spoken(begun), begun) for one in theirs]
        await asyncio.sleep(2.0)
        end = time.monotonic()
        others = tuple(one.lost(begun, end) for one in loyal if one.first not in hit)
        gone = tuple(one.lost(begun, end) for one in theirs)
        result = Killed(victim, tuple(found), sum(one.fresh for one in theirs), gone, others)
        log.print(f"{result}; came back {[one.returns for one in loyal]} times", highlight=False)
        for problem in {one.problem for one in loyal if one.problem}:
            log.print(f"on the way back: {problem}", highlight=False, markup=False)
        return result
    finally:
        await asyncio.gather(*(one.close() for one in loyal or callers), return_exceptions=True)


async def _callers(address: str, count: int, apart: float, log: Console) -> list[Client]:
    said, callers = voice(), list[Client]()
    for k in range(count):
        try:
            callers.append(await client("webrtc", address, k, said).open())
            await asyncio.sleep(apart)
        except Turned as turned:
            log.print(f"{k} of {count} are let in: {turned}", highlight=False)
            if not callers:
                raise
            break
    return callers


def processes(server: Server) -> dict[str, list[int]]:
    """Process ids by what they are: "server" when it is one process, else "media" and "inference"; there may be one
    more of the last that only waits to take over."""
    found: dict[str, list[int]] = {}
    for pid, command in server.family().items():
        words = command.split()
        if "streaming.child" in words and words[-1] in ("media", "inference"):
            found.setdefault(words[-1], []).append(pid)
    return found or {"server": [server.process.pid]}


def at_work(pids: Sequence[int]) -> int:
    """The one that has sessions: pictures are shared memory in it. Where no process has, the one that takes the most of
    a core in the next moment; one that is still beginning may take more than one that paints."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if RING in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8"):
                return pid
    before = {pid: cpu_s(pid) or 0.0 for pid in pids}
    time.sleep(LOOK_S if len(pids) > 1 else 0.0)
    return max(pids, key=lambda pid: (cpu_s(pid) or 0.0) - before[pid])


def worker_of(cluster: str, ids: Sequence[str]) -> Choice:
    """The cluster's worker that has the first of ``ids``: those begin with its name. Raises OSError when it is not
    there."""
    command = [sys.executable, "-m", "visavis.cli", "cluster", "status", "--json", "--name", cluster]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    if told.returncode != 0:
        raise OSError(f"the cluster says nothing of itself: {told.stderr.strip()[-300:]}")
    name = ids[0].rpartition("-")[0]
    workers: list[dict[str, Any]] = json.loads(told.stdout.splitlines()[-1])["workers"]
    for worker in workers:
        if worker["name"] == name:
            return int(worker["pid"]), {one for one in ids if one.rpartition("-")[0] == name}
    raise OSError(f"session {ids[0]} is at none of {', '.join(worker['name'] for worker in workers)}")


def run(mode: Mode, count: int, log: Console, *, whole: bool = True) -> list[Killed]:
    """Each kind of process once, with a server of its own; the one that paints alone, unless ``whole``. Raises OSError
    when none starts."""
    patches.install(StreamConfig())
    results: list[Killed] = []
    names: list[str] = [""]  # what there is, is seen when the first runs
    while names:
        name = names.pop(0)
        with running(mode) as server:
            if not name:
                name, *names = sorted(processes(server))  # inference, then media
                names = names if whole else []

            def choose(ids: Sequence[str], server: Server = server, name: str = name) -> Choice:
                return at_work(processes(server)[name]), set(ids)

            results.append(asyncio.run(kill(server.address, name, choose, count, log)))
    return results


def run_cluster(mode: Mode, log: Console) -> Killed | None:
    """A worker of a cluster of two, on this machine; None where Ray is not installed. Raises OSError when it does not
    start."""
    if importlib.util.find_spec("ray") is None:
        return None
    patches.install(StreamConfig())
    with running(mode, cluster=True) as server:
        return asyncio.run(kill(server.address, "worker", lambda ids: worker_of(CLUSTER, ids), 2 * EACH, log, APART_S))
