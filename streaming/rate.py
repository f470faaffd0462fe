"""How many bits a second a line takes, told by what its receiver reports, and what picture that is enough for.

Three witnesses: lost packets (after draft-ietf-rmcat-gcc-02 section 6), the receiver's own estimate (REMB, which
carries its judgement of delay), and round trips that grow, for receivers that send no estimate. A line that is not
filled proves nothing: its rate neither falls because little was sent, nor rises beyond what was tried. Time is an
argument.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

LOSS_CLEAR: Final = 0.02  # lost packets up to here are no sign of a full line
LOSS_FULL: Final = 0.10  # and from here on they are; between the two the rate stays
GROWTH: Final = ((3.0, 1.04), (10.0, 1.08), (math.inf, 1.2))  # a second, while a cut is not longer ago than this
NEAR_GROWTH: Final = ((15.0, 1.01), (math.inf, 1.03))  # the same about where the line was full last time
CUT: Final = 0.85  # of what was sent, when delay grows
TRIED: Final = 1.5  # the rate rises to at most so many times what was sent lately
QUEUE_MS: Final = 80.0  # a round trip longer than the shortest by this: packets queue on the way
ROUND_TRIPS_KEPT_S: Final = 60.0  # the shortest of so long is what the line takes without a queue
COLLAPSE: Final = 0.25  # share of lost packets from which a queue is better left to drain first
PAUSE_S: Final = 0.4  # at most so long
COLLAPSES_APART_S: Final = 1.5  # and not again before, as what was lost earlier is still reported
REST_S: Final = 0.5  # between two cuts, beside the round trip: a cut shows in reports only after that
ENOUGH: Final = 20  # packets that a share of lost ones is told of, at least
PLENTY: Final = 100  # and at least so many, unless they take a second, or
CLEARLY: Final = 0.4  # so many of them were lost that it is no chance


class LossMeter:
    """Share of packets lost between reports, from their running totals: a report that was itself lost costs nothing."""

    def __init__(self) -> None:
        self._highest: int | None = None
        self._lost = 0
        self._at = 0.0

    def add(self, now: float, highest: int, lost: int) -> float | None:
        """[0, 1] since the last answer; None while too few packets were expected since to tell chance from trouble."""
        if self._highest is None or highest < self._highest:
            self._highest, self._lost, self._at = highest, lost, now
            return None
        expected = highest - self._highest
        if expected < ENOUGH:
            return None
        share = min(max(lost - self._lost, 0) / expected, 1.0)
        if expected < PLENTY and now - self._at < 1.0 and share < CLEARLY:
            return None
        self._highest, self._lost, self._at = highest, lost, now
        return share


class RateController:
    """``rate`` is the bit/s to encode at, between ``floor`` and ``ceiling``; every report moves it at once."""

    def __init__(self, start: int, ceiling: int, floor: int) -> None:
        self._floor = min(floor, ceiling)
        self._ceiling = ceiling
        self._rate = float(min(max(start, self._floor), ceiling))
        self._growing = True  # whether it grew since it was cut
        self._sent: deque[tuple[float, float]] = deque()  # peaks of what was sent lately
        self._estimate: float | None = None
        self._round_trips: deque[tuple[float, float]] = deque()
        self._grown_at: float | None = None
        self._cut_at = -math.inf
        self._full: float | None = None  # where the rate was when the line was full last time
        self.paused_until = -math.inf  # a queue drains: nothing should be sent before, and then a whole picture
        self.loss = 0.0  # share of packets lost, last report
        self.round_trip: float | None = None  # seconds, last report

    @property
    def rate(self) -> int:
        """Bits per second now."""
        return round(self._rate)

    @property
    def ceiling(self) -> int:
        """Bits per second that are never exceeded."""
        return self._ceiling

    @ceiling.setter
    def ceiling(self, value: int) -> None:
        self._ceiling = max(value, self._floor)
        self._rate = min(self._rate, self._ceiling)

    def note_sent(self, now: float, rate: float) -> None:
        """``rate`` bit/s left in the last second."""
        while self._sent and (self._sent[-1][1] <= rate or len(self._sent) > 200):
            self._sent.pop()
        self._sent.append((now, rate))
        while self._sent[0][0] < now - 5.0:
            self._sent.popleft()

    def note_loss(self, now: float, share: float) -> None:
        """A report: ``share`` in [0, 1] of the packets was lost."""
        self.loss = share
        if share > COLLAPSE and now - self.paused_until > COLLAPSES_APART_S:
            shortest = min((seconds for _, seconds in self._round_trips), default=0.0)
            self.paused_until = now + min((self.round_trip or 0.0) - shortest + 0.1, PAUSE_S)
        if share > LOSS_FULL:
            arrived = CUT * self._sending * (1 - share)  # less than came through, so that what queues drains
            self._cut(now, min(self._rate * (1 - 0.5 * share), max(arrived, 0.5 * self._rate)))
        elif share < LOSS_CLEAR:
            self._grow(now)
        else:
            self._grown_at = now

    def note_estimate(self, now: float, estimate: float) -> None:
        """The receiver thinks that the line takes ``estimate`` bit/s."""
        before, self._estimate = self._estimate, estimate
        falls = before is None or estimate < 0.97 * before  # one that stays low may be slow to rise, as browsers' are
        if falls and estimate < 0.95 * self._sending:
            queues = self.loss > LOSS_FULL or self.queueing  # then less than the line takes, so that it drains
            self._cut(now, CUT * estimate if queues else estimate, at_once=True)

    def note_round_trip(self, now: float, seconds: float) -> None:
        """A report came back ``seconds`` after its question."""
        self.round_trip = seconds
        self._round_trips.append((now, seconds))
        while self._round_trips[0][0] < now - ROUND_TRIPS_KEPT_S or len(self._round_trips) > 256:
            self._round_trips.popleft()
        drains = len(self._round_trips) > 1 and seconds < 0.9 * self._round_trips[-2][1]
        if self.queueing and not drains:
            self._cut(now, CUT * min(self._rate, self._sending))

    @property
    def _sending(self) -> float:
        return self._sent[-1][1] if self._sent else 0.0

    @property
    def _queue_s(self) -> float:
        """Seconds that packets wait on the way: the least of the last three round trips counts, so it is no jitter."""
        if len(self._round_trips) < 4:
            return 0.0
        shortest = min(seconds for _, seconds in self._round_trips)
        return min(self._round_trips[-k][1] for k in (1, 2, 3)) - shortest

    @property
    def queueing(self) -> bool:
        """Whether packets wait on the way, because there are more than the line takes."""
        return self._queue_s > QUEUE_MS / 1000

    def _cut(self, now: float, rate: float, *, at_once: bool = False) -> None:
        """Down to ``rate``. ``at_once``: what is said is how much the line takes, not by how much less to send."""
        self._grown_at = now
        rests = now - self._cut_at < REST_S + (self.round_trip or 0.0)
        if rate >= self._rate or (rests and not at_once):
            return
        if self._growing:  # else it is still on its way down from there
            self._full = self._rate if self._rate > 1.2 * self._floor else None  # so near the floor a cut tells nothing
        self._cut_at, self._growing = now, False
        self._rate = max(rate, float(self._floor))

    def _grow(self, now: float) -> None:
        since = 0.0 if self._grown_at is None else min(now - self._grown_at, 1.0)
        self._grown_at = now
        limit = min(TRIED * max((rate for _, rate in self._sent), default=0.0) + 10_000, float(self._ceiling))
        if self.queueing or self._rate >= limit:
            return
        near = self._full is not None and 0.85 < self._rate / self._full < 1.1
        growth = next(g for until, g in (NEAR_GROWTH if near else GROWTH) if now - self._cut_at <= until)
        self._rate = min(self._rate * growth**since, limit)
        self._growing = True


@dataclass(frozen=True, slots=True)
class Shape:
    """What is encoded: pictures ``scale`` times as high and wide, every ``every``-th of them."""

    scale: float
    every: int


SHAPES: Final = (Shape(1.0, 1), Shape(0.75, 1), Shape(0.5, 1), Shape(0.5, 2))  # from a good line to the poorest
BITS_A_PIXEL: Final = 0.01  # below this a smaller picture, shown large, is nearer to the original (docs/network.md)
ROOM: Final = 1.4  # a larger picture only when the rate is so many times what it needs
STAY_S: Final = 5.0  # and after so long: each change costs a key frame


class ShapeChooser:
    """The shape that a rate is enough for. Down at once, up slowly."""

    def __init__(self) -> None:
        self._level = 0
        self._since = -math.inf

    def choose(self, now: float, rate: float, pixels: int, fps: float) -> Shape:
        """For ``rate`` bit/s and pictures of ``pixels`` at ``fps`` where nothing has to be saved."""
        level = self._level
        while level < len(SHAPES) - 1 and rate < _needed(SHAPES[level], pixels, fps):
            level += 1
        while level > 0 and now - self._since >= STAY_S and rate > ROOM * _needed(SHAPES[level - 1], pixels, fps):
            level -= 1
        if level != self._level:
            self._level, self._since = level, now
        return SHAPES[level]


def _needed(shape: Shape, pixels: int, fps: float) -> float:
    return BITS_A_PIXEL * pixels * shape.scale**2 * fps / shape.every
