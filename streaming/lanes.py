"""Lanes: cores of their own for sessions that are painted at the same time.

Linux alone; elsewhere the system does as it likes. Without, two painting threads may wait for one core while the other
has just been left idle for a moment by the event loop: that costs up to half a frame.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection

from streaming.place import cores


class Lanes:
    """The machine's cores, shared out among ``count`` lanes. Belongs to a thread, which sits down before each turn."""

    def __init__(self, count: int, known: Collection[int] | None = None) -> None:
        """``known``: the cores to share out; by default all that the calling thread may use."""
        self._all = sorted(cores() if known is None else known)
        self.parts = [self._all[k * len(self._all) // count : (k + 1) * len(self._all) // count] for k in range(count)]
        self._part = self._all  # that the thread was last told to keep to

    def sit(self, lane: int | None) -> None:
        """The calling thread keeps to the cores of ``lane`` from now on; None: to any."""
        part = self._all if lane is None or lane >= len(self.parts) else self.parts[lane]
        if part and part is not self._part:
            with contextlib.suppress(OSError):  # a core that was taken away meanwhile
                os.sched_setaffinity(0, part)
            self._part = part


def anywhere() -> None:
    """The calling thread, which was just begun, may run on any core of the process: a thread is born to those of the
    one that begins it."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, os.sched_getaffinity(os.getpid()))
