"""A wall clock that never jumps: what the wall clock was when this process began, and the time that has passed since.

Stands in aiortc where that measures spans by the wall clock (round trips, retransmission, jitter): somebody who sets
the clock, or a leap, must not stall a session.
"""

from __future__ import annotations

import datetime
import time as _time
from typing import Final

_BEGUN: Final = _time.time() - _time.monotonic()


def time() -> float:
    """Unix time in seconds, on the line it was on at the beginning."""
    return _BEGUN + _time.monotonic()


def current_datetime() -> datetime.datetime:
    """The same as aiortc's own clock gives it."""
    return datetime.datetime.fromtimestamp(time(), datetime.UTC)
