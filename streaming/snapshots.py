"""Where sessions leave what they could go on from, should their process or machine end: here, or elsewhere."""

from __future__ import annotations

import time
from typing import Final, Protocol

from streaming.cluster.shelf import Shelf

MOST: Final = 64 << 20  # bytes that are kept here
KEEP_S: Final = 60.0


class Snapshots(Protocol):
    """Keeps the newest snapshot (engine/snapshot.py) of each session for a minute or so. Used on the event loop."""

    def put(self, name: str, data: bytes) -> None:
        """The newest of session ``name``: about once a second. Hands it over, and waits for nothing."""

    def over(self, name: str) -> None:
        """Session ``name`` has ended as it should: nobody will go on with it."""

    async def get(self, name: str) -> bytes | None:
        """The newest of session ``name``, whichever worker had it; None when nobody has one. Takes a second at most."""


class Here:
    """Snapshots in this process's own memory: for what ends without it."""

    def __init__(self, most: int = MOST, keep_s: float = KEEP_S) -> None:
        self._shelf = Shelf(most, keep_s)

    def put(self, name: str, data: bytes) -> None:
        """As Snapshots.put."""
        self._shelf.put({name: data}, time.monotonic())

    def over(self, name: str) -> None:
        """As Snapshots.over."""
        self._shelf.drop(name)

    async def get(self, name: str) -> bytes | None:
        """As Snapshots.get."""
        kept = self._shelf.get(name, time.monotonic())
        return None if kept is None else kept.data
