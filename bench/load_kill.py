"""Processes of a server are killed while sessions speak: how soon do they speak again, and who else notices?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from rich.console import Console

from bench.load_clients import Caller, Turned, until_seen
from bench.load_live import client, voice, within
from bench.load_server import Mode, Server, running
from bench.load_traces import judge, lost, recovered
from streaming import patches
from streaming.config import StreamConfig

CALM_S: Final = 5.0
WAIT_S: Final = 20.0
SILENT_S: Final = 0.6  # without a picture, after which a client asks what is the matter, as the page does
AGAIN_S: Final = 0.15


@dataclass(frozen=True)
class Killed:
    """What became of the sessions when process ``victim`` was killed. ``recovery``: seconds for each to speak again,
    None for one that did not in WAIT_S; ``fresh``: sessions that began anew, without what they were before; ``lost``:
    frames of media time that nobody saw, of each; ``others_lost``: of sessions that another worker has."""

    victim: str
    recovery: tuple[float | None, ...]
    fresh: int
    lost: tuple[int, ...]
    others_lost: tuple[int, ...] = ()


class Loyal:
    """A caller that comes back: when nothing more is seen, it asks for its session, and resumes it."""

    def __init__(self, caller: Caller, address: str) -> None:
        self.caller, self._address = caller, address
        self.returns = 0
        self.fresh = 0
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            pictures = self.caller.record.pictures
            if pictures and time.monotonic() - pictures[-1].arrived < SILENT_S:
                continue
            if await self._status() != "alive":
                await self._return()

    async def _status(self) -> str:
        """What the server says of the session: "alive" while its connection may yet go on."""
        try:
            limit = aiohttp.ClientTimeout(2.0)
            async with (
                aiohttp.ClientSession(timeout=limit) as http,
                http.get(f"{self._address}v1/sessions/{self.caller.id}") as response,
            ):
                if response.status != 200:
                    return "gone" if response.status < 500 else "away"
                state = str((await response.json()).get("state", "alive"))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return "away"
        return state

    async def _return(self) -> None:
        """A new connection, with the old session if it can be had."""
        await self.caller.close()
        old = self.caller.id
        with contextlib.suppress(OSError):
            try:
                await self.caller.open(resume=old)
                self.fresh += self.caller.answer.get("resumed") is not True
            except Turned as turned:
                if turned.code != "bad_field":  # else a server that knows nothing of it
                    raise
                await self.caller.open()
                self.fresh += 1
            self.returns += 1
            await self._first_picture(time.monotonic())
            return
        await asyncio.sleep(AGAIN_S)

    async def _first_picture(self, since: float) -> None:
        """Gives a new connection its time."""
        while time.monotonic() - since < 3.0 and self.caller.record.pictures[-1].arrived < since:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Lets go."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.caller.close()


def victims(server: Server) -> dict[str, int]:
    """Process ids by what they are: "server" when it is one process, else "media" and "inference"."""
    found: dict[str, int] = {}
    for pid, command in server.family().items():
        for part in ("inference", "media"):
            if f"streaming.{part}" in command or f"visavis-{part}" in command or command.endswith(part):
                found.setdefault(part, pid)
    return found or {"server": server.process.pid}


async def kill(server: Server, name: str, pid: int, count: int, log: Console) -> Killed:
    """``count`` sessions speak, ``pid`` is killed, and they are watched for WAIT_S or until all speak again."""
    said = voice()
    callers = [await client("webrtc", server.address, k, said).open() for k in range(count)]
    await until_seen(callers)
    loyal = [Loyal(one, server.address) for one in callers if isinstance(one, Caller)]
    try:
        await asyncio.sleep(CALM_S)
        begun = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        found: list[float | None] = [None] * count
        while time.monotonic() - begun < WAIT_S and None in found:
            await asyncio.sleep(0.1)
            found = [recovered(one.caller.record.spoken(begun), begun) for one in loyal]
        await asyncio.sleep(2.0)
        for one in loyal:
            log.print(f"{name} killed: {found}, came back {one.returns} times, {one.fresh} of them anew")
        return Killed(name, tuple(found), sum(one.fresh for one in loyal), tuple(_lost(one, begun) for one in loyal))
    finally:
        await asyncio.gather(*(one.close() for one in loyal), return_exceptions=True)


def _lost(one: Loyal, begun: float) -> int:
    """Frames that are missing around ``begun``, by media time; of a session that began anew, by the clock."""
    rows = within(one.caller.record.rows(), begun - 1.0, begun + WAIT_S)
    if one.fresh or not rows:
        return judge(rows, begun - 1.0, max((row.due for row in rows), default=begun) + 0.04).never
    return lost(row.number for row in rows)


def run(mode: Mode, count: int, log: Console, wanted: Sequence[str] = ()) -> list[Killed]:
    """Each kind of process once (or those ``wanted``), with a server of its own. Raises OSError when none starts."""
    patches.install(StreamConfig())
    results: list[Killed] = []
    names: list[Any] = [None]
    while names:
        name = names.pop(0)
        with running(mode) as server:
            found = victims(server)
            if name is None:
                first, *names = [part for part in found if not wanted or part in wanted]
                name = first
            results.append(asyncio.run(kill(server, name, found[name], count, log)))
    return results
