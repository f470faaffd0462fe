"""What a player gives out: 40 ms of an avatar at a time, and what became of the speech in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Voice = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ended:
    """Segment ``id`` is over: ``position`` seconds of it were handed out. Comes once for each segment."""

    id: str
    position: float
    interrupted: bool


@dataclass(slots=True)
class Moment:
    """40 ms of the avatar; longer where pictures had to be left out, shorter where one segment follows another.

    ``i420`` ((3H/2)*W,) uint8, the caller's to keep, or None when there is only sound; ``voice`` (n,) 48 kHz float32,
    heard while the picture is seen, until media time ``end`` (48 kHz); ``segment``: what is being said, None for
    silence. ``began``: segments whose first sound this holds, ``ended``: those whose last one it does.
    """

    end: int
    i420: NDArray[np.uint8] | None
    voice: Voice
    segment: str | None
    began: list[str] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Whether nothing is said in it."""
        return self.segment is None and not self.ended

    @property
    def pcm(self) -> bytes:
        """The voice as int16."""
        return (np.clip(self.voice, -1, 1) * np.float32(32767)).astype("<i2").tobytes()
