"""What load does to sessions, from the times of their frames: functions of traces alone.

Deadline of a frame: the arrival of the last sample of its own voice, and 40 ms for each frame of lookahead (until then
it cannot be painted), and 40 ms to paint it. A frame that is painted later, or never, or only repeats the picture
before, is a miss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from engine.clock import FPS, FRAME_SECONDS

LEAST_FPS: Final = 24.0
MOST_MISSED: Final = 0.01  # of a session's frames
SAME_S: Final = 1.5 * FRAME_SECONDS  # times on the 40 ms grid that are closer belong to neighbours


class Painted(NamedTuple):
    """One frame: its ``number`` (pts / 640), when the last voice it needs was ``due`` and when it was ``done`` (s)."""

    number: int
    due: float
    done: float
    rung: int = 0  # of the plan of degradation; 0 is full quality
    repeated: bool = False  # there was no time for a new picture: it shows the one before


@dataclass(frozen=True)
class Verdict:
    """One session for a while. ``late``: ms from due to done of each frame; ``missed`` has those in it that came
    late, ``never``, or ``repeated`` the picture before; ``fps`` counts new pictures."""

    expected: int
    fps: float
    late: tuple[float, ...]
    missed: int
    never: int
    repeated: int
    degraded: int
    longest_gap_ms: float

    @property
    def missed_share(self) -> float:
        """Of all frames that should have been."""
        return self.missed / max(self.expected, 1)

    @property
    def keeps_up(self) -> bool:
        """24 fps or more, less than 1 % of the frames missed."""
        return self.fps >= LEAST_FPS and self.missed_share < MOST_MISSED

    @property
    def whole(self) -> bool:
        """That, and less than 1 % of the frames below full quality."""
        return self.keeps_up and self.degraded < MOST_MISSED * self.expected


def judge(frames: Iterable[Painted], begin: float, end: float, budget: float = FRAME_SECONDS) -> Verdict:
    """The frames that were due in [begin, end) s. One that is missing between two others, or before the first or after
    the last, was never painted. Raises ValueError for an empty stretch."""
    if end <= begin:
        raise ValueError(f"a stretch from {begin} to {end} s has no frames")
    rows = sorted({frame.number: frame for frame in frames if begin <= frame.due < end}.values())
    if not rows:
        many = round((end - begin) * FPS)
        return Verdict(many, 0.0, (), many, many, 0, 0, 1e3 * (end - begin))
    numbers, due = np.array([row.number for row in rows]), np.array([row.due for row in rows])
    done = np.array([row.done for row in rows])
    inner = int((np.diff(numbers) - 1).sum())
    outer = _missing(float(due[0]) - begin) + _missing(end - float(due[-1]) - FRAME_SECONDS)
    late, never = done - due, inner + outer
    again = np.array([row.repeated for row in rows])
    gaps = np.diff([begin, *np.sort(done), max(end, done.max())])
    return Verdict(
        expected=len(rows) + never,
        fps=float((~again).sum()) / (end - begin),
        late=tuple((1e3 * late).tolist()),
        missed=int(((late > budget) | again).sum()) + never,
        never=never,
        repeated=int(again.sum()),
        degraded=sum(row.rung > 0 for row in rows),
        longest_gap_ms=float(1e3 * gaps.max()),
    )


def _missing(seconds: float) -> int:
    """Whole frames that are missing at an edge; one may be across it."""
    return max(int((seconds + 1e-6) / FRAME_SECONDS) - (seconds < SAME_S), 0)


def recovered(frames: Iterable[tuple[float, float]], since: float, speaking: float = 0.5) -> float | None:
    """Seconds from ``since`` to the first frame after it that speaks; None when none does. ``frames``: (arrival s,
    chance that its voice is speech), of pictures that were made after ``since``."""
    times = [at for at, chance in frames if at > since and chance >= speaking]
    return min(times) - since if times else None


def lost(numbers: Iterable[int]) -> int:
    """Frames that are missing between the first and the last of ``numbers``."""
    have = set(numbers)
    return max(have) - min(have) + 1 - len(have) if have else 0


def jitter(media: Sequence[float], arrived: Sequence[float]) -> list[float]:
    """How much later (ms) than the quickest hundredth each picture came, by its media time: what a viewer's buffer has
    to bridge. Both (n,) s; their clocks may differ."""
    travel = np.asarray(arrived, np.float64) - np.asarray(media, np.float64)
    return list(1e3 * (travel - np.percentile(travel, 1))) if travel.size else []


@dataclass
class Pictures:
    """Puts packets together, without looking into them: RTP time and arrival of each whole picture, in ``whole``."""

    whole: list[tuple[int, float, int]] = field(default_factory=list)  # RTP time, arrival s, bytes
    _open: dict[int, dict[int, int]] = field(default_factory=dict)  # RTP time -> {sequence number: bytes}
    _last: dict[int, int] = field(default_factory=dict)  # RTP time -> sequence number with the marker
    _ends: list[int] = field(default_factory=list)  # the last markers

    def add(self, sequence: int, rtp: int, marker: bool, size: int, now: float) -> None:
        """One packet of any order; ``marker``: it is a picture's last."""
        parts = self._open.setdefault(rtp, {})
        parts[sequence] = size
        if marker:
            self._last[rtp] = sequence
            self._ends = [*self._ends[-8:], sequence]
        for stamp in tuple(self._open):  # a marker that came late may complete its neighbour
            if self._is_whole(stamp):
                self.whole.append((stamp, now, sum(self._open.pop(stamp).values())))
                del self._last[stamp]
        while len(self._open) > 8:  # what is lost is lost
            oldest = next(iter(self._open))
            del self._open[oldest]
            self._last.pop(oldest, None)

    def _is_whole(self, rtp: int) -> bool:
        end = self._last.get(rtp)
        if end is None:
            return False
        have, count = self._open[rtp], len(self._open[rtp])
        first = (end - count + 1) & 0xFFFF
        if any((first + k) & 0xFFFF not in have for k in range(count)):
            return False
        before = (first - 1) & 0xFFFF
        return before in self._ends or (not self.whole and len(self._ends) == 1)


def capacity(worst: Sequence[tuple[int, bool]]) -> int:
    """The most sessions that all keep up, of (sessions, whether all do) in rising order: before the first to fail."""
    most = 0
    for sessions, fine in worst:
        if not fine:
            return most
        most = sessions
    return most


def sublinear(costs: Sequence[tuple[int, float]], slack: float = 0.03) -> bool:
    """Whether n sessions cost no more than n times one, of (sessions, cores busy) that begins with one session.
    ``slack``: of the measurement."""
    one = costs[0][1] / costs[0][0]
    return all(cores <= (1 + slack) * one * sessions for sessions, cores in costs)
