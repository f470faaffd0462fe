"""Between a sender and its line: large frames leave spread over time, and where packets get lost, voice leaves twice,
and so does what is asked for again.

A key frame is twenty packets. Sent in one burst they overrun the queue of a slow line, and a key frame of which a part
is missing brings the next one. A voice packet that is lost is heard; sent once more one packet later, with the same
number, it takes its place in any receiver's buffer (RFC 3550 knows it by that number; SRTP drops it where it is not
needed), without anything negotiated.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiortc.rtp import is_rtcp

from streaming.encoders import PAYLOAD_MAX
from streaming.rate import COLLAPSE, LOSS_FULL

BURST: Final = 12_000  # bytes that may leave at once: a usual frame at 2 Mbit/s
FASTER: Final = 4.0  # what is beyond leaves at so many times the bitrate
SPREAD_S: Final = 0.03  # no packet waits longer: the next frame comes after 0.04
RESEND_SHARE: Final = 0.5  # of the bitrate, for packets that are sent again
RESENDS_AT_ONCE: Final = 15
RESENDS_KEPT: Final = 256
KEPT_FOR_AGAIN: Final = 5  # of them, for what is asked for a second time
SOON: Final = 0.5  # of a round trip: what is asked for once more earlier is still on its way
TWICE_APART_S: Final = 0.008  # between what is sent again and its copy: losses come in bursts
LOSSY: Final = 0.01  # share of lost packets from which voice is sent twice
LOSSY_FOR_S: Final = 30.0  # and for so long after the last time
FULL_FOR_S: Final = 5.0  # a line that was full gets nothing twice for so long


@dataclass(slots=True)
class Line:
    """What the senders of one connection know of the way to their receiver."""

    lost_at: float = -math.inf  # when a report last told of lost packets
    full_at: float = -math.inf  # and when because there were too many

    def note_loss(self, now: float, share: float, queueing: bool) -> None:
        """A report: ``share`` in [0, 1] of the packets was lost. ``queueing``: and others waited on the way, so that
        it was a full line that lost them; one that loses a quarter is full whatever else is known of it."""
        if share >= LOSSY:
            self.lost_at = now
        if share > COLLAPSE or (share >= LOSS_FULL and queueing):
            self.full_at = now

    def lossy(self, now: float) -> bool:
        """Whether packets got lost lately, and not because there were too many of them."""
        return now - self.lost_at < LOSSY_FOR_S and now - self.full_at > FULL_FOR_S


_lines: WeakKeyDictionary[Any, Line] = WeakKeyDictionary()


def line_of(transport: Any) -> Line:
    """The one line that all senders of a DTLS transport share."""
    return _lines.setdefault(transport, Line())


class Bucket:
    """Bytes that may leave now. Time is an argument."""

    def __init__(self) -> None:
        self._level = float(BURST)
        self._at = -math.inf

    def wait(self, now: float, size: int, rate: float) -> float:
        """Takes ``size`` bytes; seconds to wait before they leave, on a line of ``rate`` bytes a second."""
        self._level = min(self._level + (now - self._at) * rate, BURST) if self._at > -math.inf else self._level
        self._at = now
        self._level = max(self._level - size, -SPREAD_S * rate)
        return max(-self._level / rate, 0.0)


class Resends:
    """Which lost packets are worth sending again: on a full line they would only displace the next ones.

    Where packets overtake each other, half of those that are asked for are still on their way. What is asked for again
    is not; so a part of the allowance is kept for that.
    """

    def __init__(self) -> None:
        self._asked: dict[int, float] = {}  # when it was sent again, by number; -inf: it was not, though asked for
        self._allowance = float(RESENDS_AT_ONCE)
        self._at = -math.inf

    def copies(self, now: float, number: int, rate: float, round_trip: float, lossy: bool) -> int:
        """How many times packet ``number`` may be sent again, now that it is asked for, on a line of ``rate`` bit/s
        that is, or is not, ``lossy``: 0 to 2."""
        if self._at > -math.inf:
            grown = (now - self._at) * RESEND_SHARE * rate / (8 * PAYLOAD_MAX)
            self._allowance = min(self._allowance + grown, RESENDS_AT_ONCE)
        self._at = now
        again = number in self._asked
        sent = self._asked.pop(number, -math.inf)
        self._asked[number] = sent
        if len(self._asked) > RESENDS_KEPT:
            del self._asked[next(iter(self._asked))]
        kept = 0 if again else KEPT_FOR_AGAIN
        if self._allowance < 1 + kept or now - sent < SOON * round_trip:
            return 0
        count = 2 if lossy and self._allowance >= 2 + 2 * kept else 1
        self._allowance -= count
        self._asked[number] = now
        return count


class PacedTransport:
    """A DTLS transport as its sender sees it."""

    def __init__(self, transport: Any, kind: str, ssrc: int, rate: Callable[[], float]) -> None:
        self._transport, self._kind, self._ssrc, self._rate = transport, kind, ssrc.to_bytes(4, "big"), rate
        self._bucket = Bucket()
        self._previous = b""
        self._whole_next, self._whole_from = False, 0
        self.line = line_of(transport)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def whole(self) -> None:
        """A key frame comes next: nobody needs what was before."""
        self._whole_next = True

    def needed(self, number: int) -> bool:
        """Whether packet ``number`` is not older than the last key frame."""
        return (number - self._whole_from) & 0xFFFF < 0x8000

    async def _send_rtp(self, data: bytes) -> None:
        if is_rtcp(data) or data[8:12] != self._ssrc:  # reports, and packets that are sent again, do not queue
            return await self._transport._send_rtp(data)
        if self._whole_next:
            self._whole_next, self._whole_from = False, int.from_bytes(data[2:4], "big")
        if self._kind == "video":
            wait = self._bucket.wait(monotonic(), len(data), FASTER * self._rate() / 8)
            if wait >= 0.001:
                await asyncio.sleep(wait)
        await self._transport._send_rtp(data)
        if self._kind == "audio":
            previous, self._previous = self._previous, data
            if previous and self.line.lossy(monotonic()):
                await self._transport._send_rtp(previous)
