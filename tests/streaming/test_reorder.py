"""Voice packets in order: nothing waits on a line that keeps the order, and little is lost on one that does not."""

from __future__ import annotations

import random

from aiortc.codecs.opus import OpusDecoder, OpusEncoder
from aiortc.rtp import RtpPacket
from av import AudioFrame

from streaming.reorder import MOST, InOrder, VoiceJitterBuffer


def packet(number: int, data: bytes = b"") -> RtpPacket:
    made = RtpPacket(sequence_number=number % 65536, timestamp=number * 960 % 2**32)
    made._data = data or bytes([number % 256])  # type: ignore[attr-defined]
    return made


def played(numbers: list[int]) -> list[list[int]]:
    """What is given out after each of ``numbers``, by RTP time."""
    buffer, given = VoiceJitterBuffer(), []
    for number in numbers:
        frame = buffer.add(packet(number))[1]
        times = [] if frame is None else [frame.timestamp, *(frame.timestamp + after for _, after in frame.more)]
        given.append([time // 960 for time in times])
    return given


def test_a_lost_packet_holds_nothing_up() -> None:
    assert played([1, 2, 4, 5, 8, 9]) == [[1], [2], [4], [5], [8], [9]]


def test_after_one_came_late_the_next_is_waited_for() -> None:
    assert played([1, 3, 2, 4, 6, 5, 7]) == [[1], [3], [], [4], [], [5, 6], [7]]


def test_one_that_never_comes_is_given_up_as_soon_as_the_line_was_ever_late() -> None:
    given = played([1, 3, 2, 4, 6, 7, 8, 9])
    assert given[4:] == [[], [], [6, 7, 8], [9]]


def test_copies_do_not_make_it_wait() -> None:
    assert played([1, 1, 2, 2, 1, 4, 4, 5]) == [[1], [], [2], [], [], [4], [], [5]]


def test_a_line_that_has_kept_the_order_for_long_is_trusted_again() -> None:
    orderly = list(range(4, 3000))
    given = played([1, 3, 2, *orderly, 3001, 3002])
    assert given[-2:] == [[3001], [3002]]


def test_numbers_wrap_while_packets_wait() -> None:
    assert played([65533, 65535, 65534, 65536, 65538, 65537]) == [[65533], [65535], [], [65536], [], [65537, 65538]]


def test_with_50_ms_of_jitter_nearly_all_of_a_voice_comes_in_order() -> None:
    rng = random.Random(3)
    arrivals = sorted(range(2000), key=lambda number: 20 * number + rng.uniform(0, 50))
    given = [number for some in played(arrivals) for number in some]
    assert given == sorted(given) and len(given) > 0.98 * len(arrivals)
    waiting = max(sum(number > max(some) for number in arrivals[:k]) for k, some in enumerate(played(arrivals)) if some)
    assert waiting <= 3000 and MOST == 4


def test_what_was_held_is_decoded_too_in_its_place() -> None:
    encoder, decoder, buffer = OpusEncoder(), InOrder(OpusDecoder()), VoiceJitterBuffer()
    coded = []
    for k in range(8):
        frame = AudioFrame(format="s16", layout="stereo", samples=960)
        frame.sample_rate, frame.pts = 48_000, 960 * k
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        coded += encoder.encode(frame)[0]
    times = []
    for number in (0, 2, 1, 3, 5, 4, 6):
        held = buffer.add(packet(number, coded[number]))[1]
        times += [] if held is None else [frame.pts for frame in decoder.decode(held)]
    assert times == [960 * k for k in (0, 2, 3, 4, 5, 6)]
