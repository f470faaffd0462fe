"""What waits for an output's encoder: frames with their voice, copied, bounded. Whole pictures go when it is slow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME, VOICE_RATE, VOICE_RATIO
from streaming.tracks import OutFrame, Voice

PICTURES: Final = 25  # that wait, a second; at 512 x 512 they take 10 MB
ITEMS: Final = 500  # that wait, pictures or not: 20 s of voice
VOICE_KEPT_S: Final = 10  # that is ahead of its pictures


@dataclass(frozen=True, slots=True)
class Item:
    """40 ms for an output; more voice where frames were left out by the engine."""

    pts: int  # 16 kHz
    picture: NDArray[np.uint8] | None  # (H * 3 / 2, W) I420 of its own; None: left out here
    position: int  # media time of the first sample of voice, 48 kHz
    voice: Voice  # (n,) 48 kHz, up to the end of the frame


class Feed:
    """Filled on the event loop, emptied by anybody: one puts, one takes. ``wake`` is called after each item.

    The voice is what goes out to viewers (cut while an interruption holds), and unbroken where the engine skipped
    frames: media time tells where each picture belongs.
    """

    def __init__(self, edge: int, wake: Callable[[], None]) -> None:
        self.dropped = 0  # pictures that nobody took in time
        self._wake = wake
        self._items: deque[Item] = deque()
        self._pictures = 0  # put so far, and taken so far: each counted by one side alone
        self._taken = 0
        self._voice: deque[Voice] = deque()
        self._ahead = 0  # samples in _voice
        self._position = edge  # media time of the first of them

    def put_voice(self, voice: Voice) -> None:
        """More voice (n,), as it comes in."""
        self._voice.append(voice)
        self._ahead += len(voice)
        while self._ahead > VOICE_KEPT_S * VOICE_RATE:
            self._cut(len(self._voice[0]))

    def put(self, frame: OutFrame) -> None:
        """One more frame; the first is one whose voice is there from its beginning."""
        start, end = frame.pts * VOICE_RATIO, (frame.pts + FRAME) * VOICE_RATIO
        if start < self._position and not self._pictures:
            return  # painted of voice that came before anybody was here
        if not self._pictures:
            self._cut(start - self._position)
        full = self._pictures - self._taken >= PICTURES
        if full or len(self._items) >= ITEMS:
            self.dropped += 1
        if len(self._items) >= ITEMS:
            self._cut(end - self._position)
            return
        picture = None if full else np.array(frame.i420)  # the ring's slot is painted over after six frames
        self._pictures += picture is not None
        position = self._position
        self._items.append(Item(frame.pts, picture, position, self._cut(end - position)))
        self._wake()

    def take(self) -> Item | None:
        """The next item; None while there is none."""
        try:
            item = self._items.popleft()
        except IndexError:
            return None
        self._taken += item.picture is not None
        return item

    def clear(self) -> None:
        """Forgets what waits: a connection that begins, begins now."""
        while self.take() is not None:
            pass

    def _cut(self, count: int) -> Voice:
        """The next ``count`` samples of voice, or as many as there are; they are no longer kept."""
        parts: list[Voice] = []
        while count > 0 and self._voice:
            voice = self._voice[0]
            if len(voice) <= count:
                parts.append(self._voice.popleft())
            else:
                parts.append(voice[:count])
                self._voice[0] = voice[count:]
            count -= len(parts[-1])
        cut = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        self._ahead -= len(cut)
        self._position += len(cut)
        return cut
