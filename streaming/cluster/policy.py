"""How many workers there shall be, from how much of their deadline budget is left. Pure: time is an argument.

Load is counted in workers: one that has a quarter of its budget left is three quarters of a worker. Up at once, by as
many as are missing when the new ones will be there; down one at a time, after a long calm.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engine.schedule.room import Room
from streaming.cluster.config import ClusterConfig

WINDOW_S: Final = 10.0  # that load is judged by
GUESS: Final = 0.1  # of a worker that a session is taken to cost before there is one
WORST: Final = 0.95  # quantile of the load that is "the worst moment"


@dataclass(frozen=True, slots=True)
class Sample:
    """The cluster at one moment: ``used`` in workers, ``sessions`` open, ``refused`` since the sample before."""

    at: float
    used: float
    sessions: int
    refused: int


class Autoscaler:
    """Tell it what the workers told, then ask how many there shall be."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._samples: deque[Sample] = deque()
        self._asked: deque[tuple[float, int]] = deque()  # (when, how many): falling, so the first is the most

    def hear(self, now: float, rooms: Iterable[Room], refused: int = 0) -> None:
        """What every worker that serves has left at ``now`` (seconds, never backwards); ``refused``: openings that
        found no room since the last call."""
        there = tuple(rooms)
        used = sum(1.0 - room.headroom for room in there)
        self._samples.append(Sample(now, used, sum(room.sessions for room in there), refused))
        while self._samples[0].at < now - WINDOW_S:
            self._samples.popleft()

    def hold(self, now: float, count: int) -> None:
        """There are ``count`` workers, for whatever reason: they stay until it has been calm for long enough."""
        self._ask(now, min(count, self._config.max_workers))

    def wanted(self, now: float) -> int:
        """How many workers there shall be, from min_workers to max_workers."""
        config = self._config
        self._ask(now, min(max(self._needed(), config.min_workers), config.max_workers))
        while self._asked[0][0] < now - config.calm_s:
            self._asked.popleft()
        return self._asked[0][1]

    def _ask(self, now: float, count: int) -> None:
        while self._asked and self._asked[-1][1] <= count:
            self._asked.pop()
        self._asked.append((now, count))

    def _needed(self) -> int:
        if not self._samples:
            return 0
        config, last = self._config, self._samples[-1]
        loads = sorted(sample.used for sample in self._samples)
        mean, worst = sum(loads) / len(loads), loads[math.ceil(WORST * len(loads)) - 1]
        coming = self._coming(last)
        calm = (max(mean, last.used) + coming) / (1.0 - config.headroom)
        hard = (worst + coming) / (1.0 - config.tail)
        return math.ceil(max(calm, hard) - 1e-9)

    def _coming(self, last: Sample) -> float:
        """Load of the sessions that will have come until a worker that is started now is there: as many a second as
        joined or were refused lately."""
        first = self._samples[0]
        span = last.at - first.at
        if span <= 0.0:
            return 0.0
        refused = sum(sample.refused for sample in self._samples) - first.refused
        growth = max(last.sessions - first.sessions, 0) + refused
        each = last.used / last.sessions if last.sessions and last.used > 0 else GUESS
        return growth / max(span, 1.0) * self._config.start_s * each
