"""Video bitrate by hysteresis: a short ladder of rates, few steps, because each costs a key frame.

The receiver's estimate (REMB) says little about a line that is not filled: a still picture drags it down to
what was sent. So it counts as congestion only when it is below what is being sent, or when packets get lost.
Time is an argument.
"""

from __future__ import annotations

from typing import Final

LOSS_LIMIT: Final = 0.08
STEP: Final = 0.7
DOWN_AFTER_S: Final = 1.0  # congestion lasts so long before a step down
UP_AFTER_S: Final = 10.0  # and the line has been clear so long before a step up


class BitrateLadder:
    """``rate`` is the bit/s to encode at; ``update`` moves it one rung at a time between ``floor`` and ``top``."""

    def __init__(self, top: int, floor: int) -> None:
        rungs = [float(top)]
        while rungs[-1] * STEP > floor:
            rungs.append(rungs[-1] * STEP)
        if floor < rungs[-1]:
            rungs.append(float(floor))
        self._rungs = tuple(round(rung) for rung in rungs)
        self._rung = 0
        self._congested_since: float | None = None
        self._clear_since: float | None = None

    @property
    def rate(self) -> int:
        """Bits per second now."""
        return self._rungs[self._rung]

    def update(self, now: float, sent: float, estimate: float | None = None, loss: float | None = None) -> int:
        """One report: ``sent`` bit/s lately, the receiver's ``estimate`` bit/s and ``loss`` in [0, 1] when known."""
        congested = (estimate is not None and estimate < 0.9 * sent) or (loss is not None and loss > LOSS_LIMIT)
        if congested:
            self._clear_since = None
            self._congested_since = now if self._congested_since is None else self._congested_since
            if now - self._congested_since >= DOWN_AFTER_S and self._rung < len(self._rungs) - 1:
                self._rung += 1
                self._congested_since = now
        elif estimate is not None or loss is not None:
            self._congested_since = None
            self._clear_since = now if self._clear_since is None else self._clear_since
            if now - self._clear_since >= UP_AFTER_S and self._rung > 0:
                self._rung -= 1
                self._clear_since = now
        return self.rate
