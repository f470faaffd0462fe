"""The microphone's packets in order: on a line where some overtake others, one waits for those that are still coming.

On a line that keeps the order nothing waits. Knows nothing of sockets or time: how long is counted in packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from aiortc.jitterbuffer import MAX_MISORDER, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add

MOST: Final = 4  # packets that wait for one that is missing: 80 ms, less than what MicClock waits before it fills
FORGET: Final = 500  # packets in order after which one packet less is waited for: 10 s


class VoiceFrame(JitterFrame):
    """A packet of voice, and those that were waiting for it: (data, RTP time after the first's)."""

    def __init__(self, data: bytes, timestamp: int, more: list[tuple[bytes, int]]) -> None:
        super().__init__(data, timestamp)
        self.more = more


class VoiceJitterBuffer:
    """For codecs with one packet a frame: each is given out as it comes, when it is its turn."""

    def __init__(self) -> None:
        self._last: int | None = None  # number that was given out last
        self._given: list[int] = []  # and those before it, the newest at the end
        self._held: dict[int, RtpPacket] = {}
        self._patience = 0  # packets that may wait for a missing one
        self._orderly = 0  # packets since one came out of its turn

    def add(self, packet: RtpPacket) -> tuple[bool, VoiceFrame | None]:
        """(whether to ask for a key frame: never, what to decode or None)."""
        number = packet.sequence_number
        if self._last is None:
            return False, self._give([packet])
        behind = uint16_add(self._last, -number)
        if behind < MAX_MISORDER:
            self._late(number, behind)
            return False, None
        self._orderly += 1
        if self._orderly >= FORGET:
            self._orderly, self._patience = 0, max(self._patience - 1, 0)
        if self._held and uint16_add(self._last, 1) == number:
            self._orderly = 0  # it was waited for, and came
        self._held[number] = packet
        ready = list(self._ready())
        return False, self._give(ready) if ready else None

    def _late(self, number: int, behind: int) -> None:
        """It came when its place had been given up: next time that is waited for. A copy of what was had is nothing."""
        if number not in self._given:
            self._patience, self._orderly = max(self._patience, min(behind + 1, MOST)), 0

    def _ready(self) -> Iterator[RtpPacket]:
        """Takes what need not wait any more, in order."""
        assert self._last is not None
        last = self._last
        while self._held:
            number = uint16_add(last, 1)
            if number not in self._held:
                if len(self._held) <= self._patience:
                    return
                number = min(self._held, key=lambda held: uint16_add(held, -number))
            yield self._held.pop(number)
            last = number

    def _give(self, packets: list[RtpPacket]) -> VoiceFrame:
        first = packets[0]
        numbers = [packet.sequence_number for packet in packets]
        self._last = numbers[-1]
        self._given = [*self._given, *numbers][-2 * MAX_MISORDER :]
        more = [(_data(packet), (packet.timestamp - first.timestamp) & 0xFFFFFFFF) for packet in packets[1:]]
        return VoiceFrame(_data(first), first.timestamp, more)


def _data(packet: RtpPacket) -> bytes:
    """What the receiver has taken out of the packet's payload."""
    data: bytes = packet._data  # type: ignore[attr-defined]
    return data


class Decoder(Protocol):
    """As aiortc's."""

    def decode(self, encoded_frame: JitterFrame) -> list[Any]: ...


class InOrder:
    """A decoder of VoiceFrames: what came with a packet is decoded after it."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def decode(self, encoded_frame: JitterFrame) -> list[Any]:
        """All frames of ``encoded_frame``."""
        frames = list(self._decoder.decode(encoded_frame))
        for data, after in getattr(encoded_frame, "more", ()):
            frames += self._decoder.decode(JitterFrame(data=data, timestamp=encoded_frame.timestamp + after))
        return frames
