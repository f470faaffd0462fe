"""RTMP and RTSP to a media server, from a process of its own: a server that does not answer blocks FFmpeg, and with it
every thread of its process, for as long as it likes. A connection that is lost is made again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from streaming.live import Live, Voice
from streaming.outputs.feed import Feed, Item
from streaming.outputs.output import OutputError, Spec
from streaming.outputs.pusher import HEAD
from streaming.outputs.reconnecting import Reconnecting
from streaming.tracks import OutFrame

ROOT: Final = Path(__file__).parents[2]
CONNECT_S: Final = 15.0  # a server that has not taken the stream by then is not there
STALL_S: Final = 8.0  # one that took nothing for so long is gone
KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "SSL_CERT_FILE", "LANG", "LC_ALL")


class Push(Reconnecting):
    """Pictures go to the process as they are, and are encoded there. ``give_up_s`` without a connection ends it."""

    def __init__(self, live: Live, spec: Spec, tags: Mapping[str, str], give_up_s: float) -> None:
        super().__init__(live, spec, give_up_s)
        self._tags = dict(tags)
        self._arrived = asyncio.Event()
        self._feed = Feed(live.edge, self._arrived.set)
        self._size: tuple[int, int] | None = None  # (height, width) of the pictures that come
        self._taking = False  # whether there is a connection to send them to

    def _finish(self) -> None:
        super()._finish()
        self._arrived.set()

    def frame(self, frame: OutFrame) -> None:
        self._size = frame.i420.shape[0] * 2 // 3, frame.i420.shape[1]
        if self._taking:
            self._feed.put(frame)
            self.dropped = self._feed.dropped
        self._arrived.set()

    def voice(self, voice: Voice) -> None:
        self._feed.put_voice(voice)

    async def _connection(self) -> None:
        """One connection, to its end. Raises OutputError when it is not ours."""
        while self._size is None and not self._closing.is_set():
            await self._wait()
        if self._closing.is_set():
            return
        process = await _spawn()
        try:
            assert process.stdin is not None and process.stdout is not None
            asked = {"kind": self.spec.kind, "url": self.spec.url, "size": self._size, "bitrate": self.spec.bitrate,
                     "tags": self._tags}  # fmt: skip
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            said = await _said(process.stdout, CONNECT_S)
            if said.get("state") != "running":
                raise OutputError(said.get("error") or f"no answer in {CONNECT_S:g} s")
            self._note("running")
            hearing = asyncio.ensure_future(self._hear(process.stdout))
            try:
                await self._send(process.stdin, hearing)
            finally:
                hearing.cancel()
        finally:
            self._taking = False
            await _end(process)

    async def _send(self, pipe: asyncio.StreamWriter, hearing: asyncio.Future[str]) -> None:
        self._feed.clear()
        self._taking = True
        while not self._closing.is_set():
            item = self._feed.take()
            if item is None:
                await self._wait()
                continue
            try:
                for part in _parts(item):
                    pipe.write(part)
                async with asyncio.timeout(STALL_S):
                    await pipe.drain()
            except TimeoutError:
                raise OutputError(f"the server took nothing for {STALL_S:g} s") from None
            except ConnectionError:
                raise OutputError(await _last(hearing)) from None
            if hearing.done():
                raise OutputError(await _last(hearing))
            self.frames += item.picture is not None
        pipe.close()  # the process writes what it has, and ends
        await _last(hearing)

    async def _hear(self, stream: asyncio.StreamReader) -> str:
        """To the end of what the process says: what went wrong."""
        before, error = self.bytes, ""
        while said := await _said(stream, None):
            self.bytes = before + int(said.get("bytes", 0))
            error = said.get("error", "")
        return error

    async def _wait(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()


def _parts(item: Item) -> list[bytes | memoryview]:
    picture = b"" if item.picture is None else item.picture.data.cast("B")
    voice = item.voice.tobytes()
    return [HEAD.pack(item.pts, item.position, len(voice), len(picture)), voice, picture]


async def _spawn() -> Process:
    """The process; it gets no secret but by its standard input, where nobody else sees the stream's key."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "streaming.outputs.pusher", stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=ROOT,
            env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError as problem:
        raise OutputError(f"the process that sends could not be started: {problem.strerror}") from problem


async def _said(stream: asyncio.StreamReader, seconds: float | None) -> dict[str, Any]:
    """What the process says next; nothing when it ended, or said nothing in time."""
    try:
        async with asyncio.timeout(seconds):
            said = json.loads(await stream.readline() or b"{}")
            return said if isinstance(said, dict) else {}
    except (TimeoutError, ValueError):
        return {}


async def _last(hearing: asyncio.Future[str]) -> str:
    """What the process said when it ended."""
    try:
        return await asyncio.wait_for(asyncio.shield(hearing), 2.0) or "the connection was lost"
    except TimeoutError:
        return "the connection was lost"


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1.0)
    finally:  # also when nobody waits any more: FFmpeg might for ever
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
