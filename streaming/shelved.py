"""Snapshots of sessions as files in a folder of the server's own: they outlive each of its processes but the first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from engine.snapshot import LONGEST

log = logging.getLogger(__name__)
KEEP_S: Final = 60.0
BEHIND: Final = 32  # writes that may wait; more are left out: the next snapshot is a second away
NAME: Final = re.compile(r"[a-z0-9-]{1,80}")  # of a session, and so of a file


class Shelved:
    """As Snapshots (snapshots.py): written and read on a thread of its own, so that no disk stops the event loop."""

    def __init__(self, folder: Path, keep_s: float = KEEP_S) -> None:
        self._folder, self._keep_s = folder, keep_s
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._waiting = 0

    def put(self, name: str, data: bytes) -> None:
        """As Snapshots.put."""
        if self._waiting < BEHIND and NAME.fullmatch(name) and len(data) <= LONGEST:
            self._waiting += 1
            self._writer.submit(self._put, name, data)

    def over(self, name: str) -> None:
        """As Snapshots.over."""
        if NAME.fullmatch(name):
            with contextlib.suppress(RuntimeError):  # the process is ending
                self._writer.submit(self._drop, name)

    async def get(self, name: str) -> bytes | None:
        """As Snapshots.get."""
        if not NAME.fullmatch(name):
            return None
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._get, name)

    def _put(self, name: str, data: bytes) -> None:
        part = self._folder / f".{name}"
        try:
            part.write_bytes(data)
            os.replace(part, self._folder / name)  # whoever reads sees all of it, or the one before
        except OSError as problem:
            log.warning("snapshots cannot be kept: %s", problem)
        finally:
            self._waiting -= 1
        self._sweep()

    def _drop(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder / name).unlink()

    def _get(self, name: str) -> bytes | None:
        self._sweep()
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None

    def _sweep(self) -> None:
        """What nobody came back for goes."""
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > self._keep_s:
                        path.unlink()
