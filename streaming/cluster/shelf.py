"""A shelf for snapshots of sessions: the newest of each, for a while, in so much memory. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """One session's snapshot, and when it came."""

    at: float
    data: bytes


class Shelf:
    """At most ``most`` bytes, each session's for ``keep_s`` seconds; what was put there longest ago goes first."""

    def __init__(self, most: int, keep_s: float) -> None:
        self._most, self._keep_s = most, keep_s
        self._kept: OrderedDict[str, Kept] = OrderedDict()  # oldest first
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, found: Mapping[str, bytes], now: float) -> None:
        """The newest of some sessions, by id."""
        for name, data in found.items():
            self.drop(name)
            self._kept[name] = Kept(now, data)
            self.size += len(data)
        self.clear(now)

    def get(self, name: str, now: float) -> Kept | None:
        """What there is of session ``name``; it stays, for whoever asks may ask again."""
        self.clear(now)
        return self._kept.get(name)

    def drop(self, name: str) -> None:
        """Session ``name`` is over. One that is not there is no mistake."""
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.size -= len(kept.data)

    def clear(self, now: float) -> None:
        """Lets go of what is too old, and of the oldest while there is too much."""
        while self._kept:
            name, oldest = next(iter(self._kept.items()))
            if now - oldest.at <= self._keep_s and self.size <= self._most:
                return
            self.drop(name)
