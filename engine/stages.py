"""Stage timings of one frame: how long each verb of ``Session.step`` took."""

from __future__ import annotations

from time import perf_counter


class Stages:
    """Milliseconds by stage name, measured from one mark to the next. Measures; nothing decides by it."""

    __slots__ = ("_last", "times")

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._last = perf_counter()

    def mark(self, name: str) -> None:
        """Books the time since the previous mark under ``name``."""
        now = perf_counter()
        self.times[name] = self.times.get(name, 0.0) + 1e3 * (now - self._last)
        self._last = now
