"""The two outgoing tracks of a session: its pictures, and the voice that came in, on one clock.

The voice goes back as it came, 20 ms at a time, later only by the engine's lookahead; the pictures follow when they
are painted. Sender reports put both on one line (sender.py), so the receiver holds the voice until the picture is
there. The other way round, with the voice behind its picture, every wobble of the painter made the receiver buffer
more voice and then hold the picture for it: 40 ms more from glass to glass.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from engine.clock import SAMPLE_RATE, VOICE_RATE, VOICE_RATIO
from engine.ring import SampleRing

Voice = NDArray[np.float32]
VIDEO_QUEUE: Final = 3  # pictures; older ones are skipped when the encoder cannot keep up
PACKET: Final = VOICE_RATE // 50  # samples of an Opus packet


@dataclass(slots=True)
class OutFrame:
    """One frame on its way out, with the times (server ms) of its life so far."""

    pts: int
    i420: NDArray[np.uint8]
    stamps: dict[str, Any]
    interrupts: int = 0  # interruptions that it knows of
    voice: Voice | None = None  # (1920,) 48 kHz, what is heard while it is seen
    stacked: NDArray[np.uint8] | None = None  # (3 H, W) with its transparency (alpha.py), where somebody wants that
    intact: Callable[[], bool] | None = None  # whether ``i420`` still is that frame, where another process paints


@dataclass(frozen=True, slots=True)
class VoicePacket:
    """20 ms of voice, s16 mono at 48 kHz, beginning at ``pts`` (16 kHz)."""

    pts: int
    samples: NDArray[np.int16]


@dataclass(slots=True)
class OutQueue:
    """What waits for the tracks. Used on the event loop only; never blocks, never grows."""

    pictures: deque[OutFrame] = field(default_factory=lambda: deque(maxlen=VIDEO_QUEUE))
    voice: SampleRing = field(default_factory=lambda: SampleRing(VOICE_RATE))
    delay: int = 0  # samples the voice stays behind: the engine's lookahead
    origin: int = 0  # media time, in 48 kHz samples, of the first voice that is put
    skipped: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    first_pts: int | None = None  # of the first picture sent: what was before, nobody was there to see or hear
    voiced: bool = False  # whether voice was sent
    sent_pts: int = -1
    epoch: float | None = None

    def put(self, frame: OutFrame) -> None:
        """A new picture; when the queue is full its oldest one goes."""
        self.skipped += len(self.pictures) == VIDEO_QUEUE
        self.pictures.append(frame)
        self.arrived.set()

    def put_voice(self, voice: Voice) -> None:
        """More voice (n,); when the queue is full the oldest goes, in whole packets."""
        for start in range(0, len(voice), VOICE_RATE // 4):
            piece = voice[start : start + VOICE_RATE // 4]
            over = len(piece) - self.voice.free
            if over > 0:
                self.voice.read(-(-over // PACKET) * PACKET)
            self.voice.write(piece)
        self.spoken.set()

    def next_picture(self) -> OutFrame:
        """The next picture to send; the newest when none was sent yet, so that nobody begins in the past."""
        if self.first_pts is None:
            picture = self.pictures.pop()
            self.pictures.clear()
            return picture
        return self.pictures.popleft()

    def next_voice(self) -> VoicePacket | None:
        """The next packet of voice; None until it is whole, and before the first picture was sent."""
        if self.first_pts is None:
            return None
        unseen = self.first_pts * VOICE_RATIO - self._position
        if unseen > 0:
            self.voice.read(min(unseen, self.voice.available))
        if self._position < self.first_pts * VOICE_RATIO or self.voice.available - self.delay < PACKET:
            return None
        if not self.voiced:  # sent at once, what waited for the first picture would fill the receiver's buffer
            stale = self.voice.available - self.delay - 2 * PACKET
            self.voice.read(max(stale, 0) // PACKET * PACKET)
            self.voiced = True
        pts = self._position // VOICE_RATIO
        samples = np.clip(self.voice.read(PACKET), -1, 1) * np.float32(32767)
        return VoicePacket(pts, samples.astype(np.int16))

    @property
    def _position(self) -> int:
        """Media time of the next sample of voice to be sent."""
        return self.origin + self.voice.position

    def mark_sent(self, pts: int) -> None:
        """The picture at ``pts`` is on the wire."""
        if self.first_pts is None:
            self.first_pts = pts
            self.epoch = time.time() - pts / SAMPLE_RATE
        self.sent_pts = pts
        self.spoken.set()

    def ntp_time(self, pts: int) -> float | None:
        """Unix time at which media time ``pts`` left, on one straight line for sound and picture alike."""
        return None if self.epoch is None else self.epoch + pts / SAMPLE_RATE


class _Track(MediaStreamTrack):
    """A track whose end wakes whoever waits in it."""

    def __init__(self, queue: OutQueue) -> None:
        super().__init__()
        self.queue = queue

    def stop(self) -> None:
        super().stop()
        self.queue.arrived.set()
        self.queue.spoken.set()

    async def _wait(self, event: asyncio.Event) -> None:
        if self.readyState != "live":
            raise MediaStreamError
        event.clear()
        await event.wait()
        if self.readyState != "live":
            raise MediaStreamError


class VideoTrack(_Track):
    """The newest picture each time it is asked. ``on_sent`` hears of each frame that went out, with its stamps."""

    kind = "video"

    def __init__(self, queue: OutQueue, on_sent: Callable[[OutFrame], None]) -> None:
        super().__init__(queue)
        self._on_sent = on_sent

    async def recv(self) -> Any:
        """The next picture. Raises MediaStreamError once stopped."""
        while not self.queue.pictures:
            await self._wait(self.queue.arrived)
        if self.readyState != "live":
            raise MediaStreamError
        return self.queue.next_picture()

    def sent(self, frame: OutFrame) -> None:
        """Called when the last packet of ``frame`` is on the wire."""
        self.queue.mark_sent(frame.pts)
        self._on_sent(frame)


class VoiceTrack(_Track):
    """The voice that came in, 20 ms at a time."""

    kind = "audio"

    async def recv(self) -> Any:
        """The next packet. Raises MediaStreamError once stopped."""
        while (packet := self.queue.next_voice()) is None:
            await self._wait(self.queue.spoken)
        if self.readyState != "live":
            raise MediaStreamError
        return packet
