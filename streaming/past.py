"""What is known of a session outside of it: who hears of its doings, and what a snapshot says of its past."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine import snapshot
from engine.session import Session
from engine.viewpoint import Viewpoint
from streaming.tracks import OutFrame

log = logging.getLogger(__name__)
Voice = NDArray[np.float32]


class Listener(Protocol):
    """Hears of the worker's doings, on the worker's thread: must only hand them over."""

    def frame(self, frame: OutFrame) -> None: ...
    def opened(self, avatar: str, framing: str, view: Viewpoint) -> None: ...
    def refused(self, about: str, problem: Exception) -> None: ...
    def died(self, problem: Exception) -> None: ...
    def kept(self, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Past:
    """What a snapshot says of its session besides what is in it. ``taken`` and ``left_out``: 48 kHz samples, which
    together are the media time of the next."""

    avatar: str
    framing: str
    seed: int
    taken: int = 0
    left_out: int = 0
    interrupts: int = 0

    def kept(self, session: Session) -> bytes | None:
        """A snapshot of ``session``, on its own thread; None when none can be taken, which is worth less than it."""
        try:
            return snapshot.take(session, asdict(self))
        except Exception:  # whatever it was, the next one would fail too
            log.exception("no snapshots are kept of this session")
            return None

    @classmethod
    def of(cls, data: bytes) -> Past:
        """That of a snapshot. Raises SnapshotError."""
        about = snapshot.read(data).about
        try:
            past = cls(**about)  # type: ignore[arg-type]
        except TypeError:
            raise snapshot.SnapshotError("the snapshot does not say whose it is") from None
        numbers = past.seed, past.taken, past.left_out, past.interrupts
        if any(type(number) is not int or number < 0 for number in numbers):
            raise snapshot.SnapshotError("the snapshot does not say when it was taken")
        return past


def restore(session: Session, data: bytes) -> None:
    """Has ``session`` go on from a snapshot, where there is one that it can go on from."""
    try:
        if data:
            snapshot.restore(session, data)
    except snapshot.SnapshotError as problem:
        log.warning("the session begins anew: %s", problem)


def edge_of(resumed: bytes) -> int:
    """Media time, in 48 kHz samples, at which a session goes on from a snapshot; 0 where there is none."""
    past = Past.of(resumed) if resumed else None
    return 0 if past is None else past.taken + past.left_out
