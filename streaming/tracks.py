"""The two outgoing tracks of a session, fed from one queue of frames: same pts, one clock.

The picture of a frame goes out first; its voice is let go only once that picture has been sent, in two
20 ms packets, so a receiver never holds sound whose lips it does not have.
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

VIDEO_QUEUE: Final = 3  # pictures; older ones are skipped when the encoder cannot keep up
VOICE_QUEUE: Final = 25  # frames of voice, one second; older ones are dropped when the line is stuck
PACKET: Final = VOICE_RATE // 50  # samples of an Opus packet
PACKET_S: Final = PACKET / VOICE_RATE


@dataclass(slots=True)
class OutFrame:
    """One frame on its way out, with the times (server ms) of its life so far."""

    pts: int
    i420: NDArray[np.uint8]
    voice: NDArray[np.float32]
    stamps: dict[str, Any]


@dataclass(slots=True)
class OutQueue:
    """Frames from the engine to the tracks. Used on the event loop only; never blocks, never grows."""

    pictures: deque[OutFrame] = field(default_factory=lambda: deque(maxlen=VIDEO_QUEUE))
    voices: deque[OutFrame] = field(default_factory=lambda: deque(maxlen=VOICE_QUEUE))
    skipped: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    shown: asyncio.Event = field(default_factory=asyncio.Event)
    sent_pts: int = -1
    epoch: float | None = None

    def put(self, frame: OutFrame) -> None:
        """A new frame; when a queue is full its oldest entry goes."""
        self.skipped += len(self.pictures) == VIDEO_QUEUE
        self.pictures.append(frame)
        self.voices.append(frame)
        self.arrived.set()

    def mark_sent(self, pts: int) -> None:
        """The picture at ``pts`` is on the wire: its voice may follow."""
        if self.epoch is None:
            self.epoch = time.time() - pts / SAMPLE_RATE
        self.sent_pts = pts
        self.shown.set()

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
        self.queue.shown.set()

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
        return self.queue.pictures.popleft()

    def sent(self, frame: OutFrame) -> None:
        """Called when the last packet of ``frame`` is on the wire."""
        self.queue.mark_sent(frame.pts)
        self._on_sent(frame)


@dataclass(frozen=True, slots=True)
class VoicePacket:
    """20 ms of voice, s16 mono at 48 kHz, beginning at ``pts`` (16 kHz)."""

    pts: int
    samples: NDArray[np.int16]


class VoiceTrack(_Track):
    """The delayed voice, 20 ms at a time, never ahead of its picture."""

    kind = "audio"

    def __init__(self, queue: OutQueue) -> None:
        super().__init__(queue)
        self._second: VoicePacket | None = None
        self._last = 0.0

    async def recv(self) -> Any:
        """The next packet. Raises MediaStreamError once stopped."""
        if self._second is not None:
            await self._pace()
            packet, self._second = self._second, None
            return packet
        while not self.queue.voices or self.queue.voices[0].pts > self.queue.sent_pts:
            await self._wait(self.queue.shown)
        if self.readyState != "live":
            raise MediaStreamError
        frame = self.queue.voices.popleft()
        samples = (np.clip(frame.voice, -1, 1) * 32767).astype(np.int16)
        half = frame.pts + PACKET // VOICE_RATIO
        self._second = VoicePacket(half, samples[PACKET:])
        self._last = time.monotonic()
        return VoicePacket(frame.pts, samples[:PACKET])

    async def _pace(self) -> None:
        """Keeps the second packet of a frame 20 ms behind the first, unless more frames are waiting already."""
        due = self._last + PACKET_S - time.monotonic()
        if due > 0 and not (self.queue.voices and self.queue.voices[0].pts <= self.queue.sent_pts):
            await asyncio.sleep(due)
        if self.readyState != "live":
            raise MediaStreamError
