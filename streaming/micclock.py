"""The microphone as a media clock: packets in, an unbroken 48 kHz voice out, at the pace of real time.

Knows nothing of sockets or WebRTC: arrival times are arguments (seconds of any monotonic clock).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_FRAME, VOICE_RATE

Voice = NDArray[np.float32]

REANCHOR_S: Final = 0.07  # packets out of place for so long, not all at once, mean the path itself changed: follow it
AHEAD_S: Final = 0.5  # audio arriving faster than time itself is cut off here
LATE_TICK_S: Final = 0.035  # a tick so long after the one before was held up
FOLLOW: Final = 0.002  # share of the offset between the two clocks that one packet corrects (10 s at 50 a second)
PACKET_S: Final = 0.02  # and no more than this share of so much: 0.2 % faster or slower than real time


@dataclass(slots=True)
class MicStats:
    """Milliseconds of voice, by what became of them."""

    received_ms: float = 0.0
    filled_ms: float = 0.0
    late_ms: float = 0.0
    early_ms: float = 0.0


class MicClock:
    """Puts packets at their place on one timeline; gaps and stalls become silence, so media time follows real time.

    Both methods return the samples to append to the voice, (n,) float32 in [-1, 1], possibly none.
    """

    def __init__(self, now: float, slack_s: float = 0.1) -> None:
        self._origin = now  # real time at which media time 0 is due
        self._slack = slack_s
        self._edge = 0  # 48 kHz samples handed out so far
        self._offset: int | None = None  # media position minus packet position
        self._misplaced_since: float | None = None
        self._ticked = now
        self._stalled = True  # nothing usable since the last silence was made up
        self.stats = MicStats()

    @property
    def edge(self) -> int:
        """Media time handed out so far, in 48 kHz samples."""
        return self._edge

    def packet(self, position: int, samples: Voice, now: float) -> Voice:
        """One decoded packet: ``samples`` (n,) begin at ``position`` on the sender's own 48 kHz timeline."""
        samples = np.clip(np.nan_to_num(np.asarray(samples, np.float32), nan=0.0, posinf=0.0, neginf=0.0), -1, 1)
        length = len(samples)
        self.stats.received_ms += _ms(length)
        if self._offset is None:
            begin = _whole_frame(max(self._edge, self._due(now) - length))
            self._offset, self._origin = begin - position, now - (begin + length) / VOICE_RATE
        due = self._due(now)
        start = position + self._offset
        if start + length <= self._edge or start + length > due + _samples(AHEAD_S):
            start = self._misplaced(start, position, now)
        else:
            self._misplaced_since = None
        if start + length <= self._edge:
            self.stats.late_ms += _ms(length)
            return np.zeros(0, np.float32)
        if start + length > due + _samples(AHEAD_S):
            self.stats.early_ms += _ms(length)
            return np.zeros(0, np.float32)
        off = (start + length - due) / VOICE_RATE
        self._origin -= FOLLOW * min(max(off, -PACKET_S), PACKET_S)
        return self._append(start, samples)

    def tick(self, now: float) -> Voice:
        """Call every 20 ms or so: silence for what should have come and has not.

        While packets flow, a call that comes late makes up nothing: whoever held it up held up them too, and they are
        next. Without any, time must not stand still on a machine where every call comes late.
        """
        on_time, self._ticked = now - self._ticked < LATE_TICK_S, now
        behind = self._due(now) - self._edge if on_time or self._stalled else 0
        if behind <= (0 if self._stalled else _samples(self._slack)):
            return np.zeros(0, np.float32)
        self._stalled = True
        self.stats.filled_ms += _ms(behind)
        self._edge += behind
        return np.zeros(behind, np.float32)

    def _due(self, now: float) -> int:
        return _samples(now - self._origin)

    def _misplaced(self, start: int, position: int, now: float) -> int:
        """Where a packet goes that is out of its time: nowhere, unless that has become the rule."""
        if self._misplaced_since is None:
            self._misplaced_since = now
        if now - self._misplaced_since < REANCHOR_S:
            return start
        self._misplaced_since = None
        self._offset = _whole_frame(self._edge) - position
        return position + self._offset

    def _append(self, start: int, samples: Voice) -> Voice:
        gap, skip = max(start - self._edge, 0), max(self._edge - start, 0)
        kept = samples[skip:]
        self.stats.late_ms += _ms(skip)
        self._stalled = False
        self.stats.filled_ms += _ms(gap)
        voice = np.concatenate([np.zeros(gap, np.float32), kept]) if gap else np.ascontiguousarray(kept)
        self._edge += len(voice)
        return voice


def _whole_frame(samples: int) -> int:
    """The next frame boundary: packets that begin there complete a frame with their last sample, not halfway."""
    return -(-samples // VOICE_FRAME) * VOICE_FRAME


def _samples(seconds: float) -> int:
    return int(seconds * VOICE_RATE)


def _ms(samples: int) -> float:
    return samples * 1000.0 / VOICE_RATE
