"""Large frames leave spread over time; voice leaves twice on a line that loses packets, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

from aiortc.rtp import RtcpByePacket, RtpPacket

from streaming.pacer import BURST, LOSSY_FOR_S, SPREAD_S, Bucket, Line, PacedTransport, line_of


class Wire:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def _send_rtp(self, data: bytes) -> None:
        self.sent.append(data)


def packet(number: int, ssrc: int = 5, size: int = 100) -> bytes:
    made = RtpPacket(sequence_number=number, payload=bytes(size))
    made.ssrc = ssrc
    return made.serialize()


def test_a_usual_frame_leaves_at_once_and_a_large_one_spread() -> None:
    bucket = Bucket()
    assert [bucket.wait(0.0, 1200, 1e6) for _ in range(10)] == [0.0] * 10
    waits = [bucket.wait(0.0, 1200, 1e6) for _ in range(20)]
    assert waits[0] > 0
    assert waits == sorted(waits)
    assert waits[-1] <= 0.024
    assert bucket.wait(1.0, BURST, 1e6) == 0.0  # a second later it is full again


def test_no_packet_waits_longer_than_until_the_next_frame() -> None:
    bucket = Bucket()
    assert max(bucket.wait(0.0, 1200, 10_000) for _ in range(500)) <= SPREAD_S


def test_voice_leaves_twice_where_packets_get_lost_and_once_elsewhere() -> None:
    async def work() -> None:
        wire: Any = Wire()
        voice, pictures = (PacedTransport(wire, kind, 5, lambda: 1e6) for kind in ("audio", "video"))
        assert voice.line is pictures.line is line_of(wire)
        a, b, c = (packet(k) for k in range(3))
        for data in (a, b):
            await voice._send_rtp(data)
        assert wire.sent == [a, b]
        voice.line.note_loss(asyncio.get_running_loop().time(), 0.05)
        await voice._send_rtp(c)
        assert wire.sent == [a, b, c, b]  # one packet later: losses come in pairs
        wire.sent.clear()
        for data in (packet(9, ssrc=6), bytes(RtcpByePacket(sources=[5]))):
            await voice._send_rtp(data)
        await pictures._send_rtp(a)
        assert len(wire.sent) == 3

    asyncio.run(work())


def test_a_line_is_lossy_until_nothing_was_lost_for_long() -> None:
    line = Line()
    assert not line.lossy(0.0)
    line.note_loss(0.0, 0.005)
    assert not line.lossy(0.0)
    line.note_loss(1.0, 0.03)
    assert line.lossy(1.0 + LOSSY_FOR_S / 2)
    assert not line.lossy(2.0 + LOSSY_FOR_S)
