"""Voice that comes twice (RED, RFC 2198): each packet of Opus carries the one before it, so a lost one is mended by the
next, without waiting and without asking."""

from __future__ import annotations

import logging
from typing import Any, Final

from aiortc.codecs import get_decoder as _get_decoder
from aiortc.codecs.base import Decoder
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av import FFmpegError
from av.frame import Frame

log = logging.getLogger(__name__)
RED: Final = "audio/red"
PACKET: Final = 960  # samples of 20 ms at 48 kHz
OLD: Final = 48_000  # samples: a packet so much older than the last begins a new stream


class Lasting(Decoder):
    """A decoder of voice that goes on after any packet. An empty one, which RFC 3550 section 5.1 allows as padding, is
    the end of the stream to libavcodec: nothing that comes later would be heard."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def decode(self, encoded_frame: JitterFrame) -> list[Frame]:
        """The packet's sound; none of an empty or a broken one."""
        if not encoded_frame.data:
            return []
        try:
            return list(self._decoder.decode(encoded_frame))
        except FFmpegError as problem:
            log.debug("a packet of voice of %d bytes: %s", len(encoded_frame.data), problem)
            return []


class RedDecoder(Decoder):
    """Opus in RED payloads, in order -> sound; what was heard already is left out."""

    def __init__(self) -> None:
        self._opus = Lasting(OpusDecoder())
        self._next: int | None = None  # timestamp

    def decode(self, encoded_frame: JitterFrame) -> list[Frame]:
        """The frame's sound, after that of a lost packet before it when it brings it."""
        stamp = encoded_frame.timestamp
        if self._next is not None and stamp < self._next - OLD:
            self._next = None
        found = blocks(encoded_frame.data, stamp)
        if self._next is None:
            found = found[-1:]
        heard: list[Frame] = []
        for at, data in found:
            if self._next is None or at >= self._next:
                frames = self._opus.decode(JitterFrame(data=data, timestamp=at))
                self._next = at + sum(getattr(frame, "samples", PACKET) for frame in frames)
                heard += frames
        return heard


def blocks(payload: bytes, stamp: int) -> list[tuple[int, bytes]]:
    """(timestamp, data) of each block, the oldest first; none of a payload that breaks off."""
    heads, position = [], 0
    while position < len(payload) and payload[position] & 0x80:  # another head follows: RFC 2198 section 3
        word = int.from_bytes(payload[position : position + 4], "big")
        heads.append((stamp - (word >> 10 & 0x3FFF), word & 0x3FF))
        position += 4
    position += 1
    found = []
    for at, size in heads:
        found.append((at, payload[position : position + size]))
        position += size
    return [*found, (stamp, payload[position:])] if position < len(payload) else []


def get_decoder(codec: RTCRtpCodecParameters) -> Any:
    """What decodes voice: aiortc's decoder, or RedDecoder."""
    return RedDecoder() if codec.mimeType.lower() == RED else Lasting(_get_decoder(codec))
