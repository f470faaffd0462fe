"""Playout: when media time leaves this machine. One line for pictures at the camera and sound at the loudspeaker.

Time is an argument everywhere (seconds of any monotonic clock); media time is counted in 48 kHz samples.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Final

import numpy as np

from engine.clock import VOICE_RATE, VOICE_RATIO

WINDOW: Final = {"picture": 250, "sound": 500}  # what was late lately decides: some ten seconds of each
SHARE: Final = {"picture": 95.0, "sound": 99.0}  # per cent that must be there in time
MOST_S: Final = 0.25  # later than the usual one: what is later still is late, or the machine is too slow anyway
MARGIN_S: Final = 0.004
SETTLE: Final = 25  # pictures, from the first on, that set the line at once; what they needed is then forgotten
EVERY_S: Final = 0.2
GROW: Final = 0.004  # s/s: the line moves no faster than sound can follow it unheard (speaker.BEND)
SHRINK: Final = 0.001
LOOSE_S: Final = 0.010  # a line that is later than it must be by less stays
LEAP_S: Final = 0.12  # one that is too early by so much is not crept after
IDLE_S: Final = 0.04  # one that is too late by so much is mended at once while nobody speaks


class Playout:
    """``due`` says when media time leaves. It is as early as nearly all pictures and sounds can be in time for.

    Told by several threads: of pictures by the event loop, of sound by PortAudio's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needs = {kind: deque[float](maxlen=size) for kind, size in WINDOW.items()}
        self._pictures = 0
        self.quiet = False  # whether nothing is heard now; whoever plays sound says so
        self._line: float | None = None  # when media time 0 was due
        self._looked = -math.inf

    @property
    def known(self) -> bool:
        """Whether anything is known of when things come; before, nothing is due."""
        return self._line is not None

    def due(self, position: float) -> float:
        """When ``position`` leaves. Asked only once it is ``known``."""
        assert self._line is not None
        return self._line + position / VOICE_RATE

    def position(self, now: float) -> float:
        """What leaves at ``now``: the other way round."""
        assert self._line is not None
        return (now - self._line) * VOICE_RATE

    def painted(self, pts: int, now: float) -> bool:
        """The picture at ``pts`` (16 kHz) is there. Whether it is in time."""
        in_time = self._line is None or now <= self.due(pts * VOICE_RATIO)
        self.needs("picture", now - pts * VOICE_RATIO / VOICE_RATE, now)
        return in_time

    def needs(self, kind: str, line: float, now: float) -> None:
        """A ``kind`` of thing could leave in time only if media time 0 were due at ``line`` or later."""
        with self._lock:
            self._needs[kind].append(line)
            self._pictures += kind == "picture"
            settling = self._pictures <= SETTLE
            if kind == "picture" and self._pictures in (1, SETTLE):  # the first of all, and those that caught up
                for told in self._needs.values():
                    told.clear()
                self._needs[kind].append(line)
            if now - self._looked < EVERY_S and not settling:
                return
            passed, self._looked = min(max(now - self._looked, 0.0), 1.0), now
            if self._pictures:
                self._move(settling, passed)

    def _move(self, settling: bool, passed: float) -> None:
        wanted = max(_needed(told, SHARE[kind]) for kind, told in self._needs.items() if told) + MARGIN_S
        short = 0.0 if self._line is None else wanted - self._line
        if self._line is None or short > LEAP_S or (settling and short > 0):
            self._line = wanted
        elif short > 0:
            self._line += min(short, GROW * passed)
        elif short < -IDLE_S and self.quiet and len(self._needs["picture"]) > SETTLE:
            self._line = wanted
        elif short < -LOOSE_S:
            self._line -= min(-LOOSE_S - short, SHRINK * passed)


def _needed(told: deque[float], share: float) -> float:
    usual, most = np.percentile(told, (50.0, share))
    return float(min(most, usual + MOST_S))


class Skew:
    """How far sound and picture were apart where they left, in ms (+: sound late), over the last ``size`` pictures."""

    def __init__(self, size: int = 250) -> None:
        self._last: deque[float] = deque(maxlen=size)
        self.count = 0
        self.worst = 0.0

    def add(self, ms: float) -> None:
        """One more picture left."""
        self._last.append(ms)
        self.count += 1
        self.worst = max(self.worst, abs(ms))

    @property
    def median(self) -> float | None:
        """The middle of the last ones; None before the first."""
        return float(np.median(self._last)) if self._last else None

    def within(self, ms: float) -> float:
        """Share of the last ones that were no further apart than so much."""
        return float(np.mean(np.abs(self._last) <= ms)) if self._last else 1.0
