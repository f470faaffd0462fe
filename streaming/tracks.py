"""The two outgoing tracks of a session: frames and their voice, same pts, one clock.

A frame's voice leaves when work on its picture begins, evenly, in two 20 ms packets; the picture follows when it is
painted. Sender reports put both on one line (sender.py), so the receiver holds the voice until the picture is there.
The other way round, with the voice behind the picture, every wobble of the painter made the receiver buffer more
voice and then hold the picture for it: 40 ms more from glass to glass.
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

Voice = NDArray[np.float32]
VIDEO_QUEUE: Final = 3  # pictures; older ones are skipped when the encoder cannot keep up
VOICE_QUEUE: Final = 25  # frames of voice, one second; older ones are dropped when the line is stuck
PACKET: Final = VOICE_RATE // 50  # samples of an Opus packet
PACKET_S: Final = PACKET / VOICE_RATE
RISE: Final = 0.3
FALL: Final = 0.005  # a frame; so eight seconds to forget a late one
HOLD_S: Final = 0.015


@dataclass(slots=True)
class OutFrame:
    """One frame on its way out, with the times (server ms) of its life so far."""

    pts: int
    i420: NDArray[np.uint8]
    stamps: dict[str, Any]


@dataclass(slots=True)
class OutQueue:
    """Frames from the engine to the tracks. Used on the event loop only; never blocks, never grows."""

    pictures: deque[OutFrame] = field(default_factory=lambda: deque(maxlen=VIDEO_QUEUE))
    voices: deque[tuple[int, Voice]] = field(default_factory=lambda: deque(maxlen=VOICE_QUEUE))
    skipped: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    first_pts: int | None = None  # of the first picture sent: what was painted before, nobody was there to see
    sent_pts: int = -1
    epoch: float | None = None

    def put(self, frame: OutFrame) -> None:
        """A new picture; when the queue is full its oldest one goes."""
        self.skipped += len(self.pictures) == VIDEO_QUEUE
        self.pictures.append(frame)
        self.arrived.set()

    def put_voice(self, pts: int, voice: Voice) -> None:
        """The voice (1920,) of the frame at ``pts``; when the queue is full the oldest goes."""
        self.voices.append((pts, voice))
        self.spoken.set()

    def mark_sent(self, pts: int) -> None:
        """The picture at ``pts`` is on the wire."""
        if self.first_pts is None:
            self.first_pts = pts
            self.epoch = time.time() - pts / SAMPLE_RATE
        self.sent_pts = pts
        self.spoken.set()

    def next_picture(self) -> OutFrame:
        """The next picture to send; the newest when none was sent yet, so that nobody begins in the past."""
        if self.first_pts is None:
            picture = self.pictures.pop()
            self.pictures.clear()
            return picture
        return self.pictures.popleft()

    def voice_ready(self) -> bool:
        """Whether a voice is there, and somebody who has seen a picture."""
        while self.voices and self.first_pts is not None and self.voices[0][0] < self.first_pts:
            self.voices.popleft()
        return bool(self.voices) and self.first_pts is not None

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


@dataclass(frozen=True, slots=True)
class VoicePacket:
    """20 ms of voice, s16 mono at 48 kHz, beginning at ``pts`` (16 kHz)."""

    pts: int
    samples: NDArray[np.int16]


class VoicePacer:
    """When to let a frame's voice go: soon, but evenly, for an uneven stream makes the receiver buffer more of it.

    Follows the upper edge of how late frames are on the media line: up by a third at once, down over seconds; no frame
    is held longer than HOLD_S. Time is an argument, in seconds.
    """

    def __init__(self) -> None:
        self._edge: float | None = None

    def due(self, pts: int, ready: float) -> float:
        """The moment, ``ready`` or a little later, at which the voice at ``pts`` is to leave."""
        late = ready - pts / SAMPLE_RATE
        edge = late if self._edge is None else min(self._edge, late + HOLD_S)
        off = late - edge
        self._edge = edge + (RISE * min(off, HOLD_S) if off > 0 else FALL * off)
        return ready + max(self._edge - late, 0.0)


class VoiceTrack(_Track):
    """The voice of the frames, 20 ms at a time."""

    kind = "audio"

    def __init__(self, queue: OutQueue) -> None:
        super().__init__(queue)
        self._pacer = VoicePacer()
        self._second: VoicePacket | None = None
        self._last = 0.0

    async def recv(self) -> Any:
        """The next packet. Raises MediaStreamError once stopped."""
        if self._second is not None:
            await self._until(self._last + PACKET_S)
            packet, self._second = self._second, None
            return packet
        while not self.queue.voice_ready():
            await self._wait(self.queue.spoken)
        pts, voice = self.queue.voices.popleft()
        await self._until(self._pacer.due(pts, time.monotonic()))
        samples = (np.clip(voice, -1, 1) * 32767).astype(np.int16)
        self._second = VoicePacket(pts + PACKET // VOICE_RATIO, samples[PACKET:])
        return VoicePacket(pts, samples[:PACKET])

    async def _until(self, due: float) -> None:
        """Sleeps until ``due``, unless the next frame's voice is waiting too: then it is late already."""
        wait = due - time.monotonic()
        if wait > 0 and not self.queue.voice_ready():
            await asyncio.sleep(wait)
        if self.readyState != "live":
            raise MediaStreamError
        self._last = time.monotonic()
