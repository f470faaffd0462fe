"""Large frames leave spread over time; voice leaves twice on a line that loses packets, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

from aiortc.rtp import RtcpByePacket, RtpPacket

from streaming.pacer import (
    BURST,
    LOSSY_FOR_S,
    RESENDS_AT_ONCE,
    SPREAD_S,
    Bucket,
    Line,
    PacedTransport,
    Resends,
    line_of,
)


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
        voice.line.note_loss(asyncio.get_running_loop().time(), 0.05, False)
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
    line.note_loss(0.0, 0.005, True)
    assert not line.lossy(0.0)
    line.note_loss(1.0, 0.03, True)
    assert line.lossy(1.0 + LOSSY_FOR_S / 2)
    assert not line.lossy(2.0 + LOSSY_FOR_S)
    line.note_loss(100.0, 0.2, True)
    assert not line.lossy(101.0)  # on a full line twice is too much
    assert line.lossy(110.0)


def test_many_lost_packets_make_a_line_full_only_where_others_wait_or_nearly_all_is_lost() -> None:
    radio, drowned = Line(), Line()
    radio.note_loss(0.0, 0.12, False)
    assert radio.lossy(0.1)
    drowned.note_loss(0.0, 0.4, False)
    assert not drowned.lossy(0.1)


def test_lost_packets_are_sent_again_twice_a_round_trip_at_most_and_not_without_end() -> None:
    resends = Resends()
    assert resends.copies(0.0, 7, 1e6, 0.1, False) == 1
    assert resends.copies(0.04, 7, 1e6, 0.1, False) == 0
    assert resends.copies(0.1, 7, 1e6, 0.1, False) == 1
    many = [resends.copies(0.2, number, 1e5, 0.1, False) for number in range(100, 200)]
    assert sum(many) < RESENDS_AT_ONCE
    later = [resends.copies(1.2, number, 1e5, 0.1, False) for number in range(200, 300)]
    assert sum(later) == 5  # half of 100 kbit/s in packets of 1200 bytes


def test_what_is_asked_for_again_goes_before_what_may_still_be_on_its_way() -> None:
    resends = Resends()
    for number in range(100):
        resends.copies(0.0, number, 1e6, 0.1, False)
    assert resends.copies(0.001, 100, 1e6, 0.1, False) == 0
    assert resends.copies(0.002, 100, 1e6, 0.1, False) == 1  # though it was refused before
    assert resends.copies(0.003, 100, 1e6, 0.1, False) == 0  # and now it is on its way


def test_on_a_lossy_line_it_leaves_twice_first_of_all_what_is_asked_for_again() -> None:
    resends = Resends()
    counts = [resends.copies(0.0, number, 1e5, 0.1, True) for number in range(30)]
    assert counts[0] == 2 and 1 in counts and counts[-1] == 0 and counts == sorted(counts, reverse=True)
    assert resends.copies(0.2, 0, 1e5, 0.1, True) == 2
    assert Resends().copies(0.0, 0, 1e5, 0.1, False) == 1


def test_what_is_older_than_a_key_frame_is_not_sent_again() -> None:
    async def work() -> None:
        wire: Any = Wire()
        pictures = PacedTransport(wire, "video", 5, lambda: 1e6)
        for number in (65534, 65535, 0, 1):
            if number == 0:
                pictures.whole()
            await pictures._send_rtp(packet(number))
        assert [pictures.needed(number) for number in (65534, 65535, 0, 1)] == [False, False, True, True]

    asyncio.run(work())
