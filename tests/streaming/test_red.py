"""Voice that comes twice: lost packets are mended by the next one, and nothing is heard twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from streaming.encoders import VoiceEncoder
from streaming.red import PACKET, RedDecoder, blocks, get_decoder

from .double import DoubleEngine
from .harness import Viewer, run, serving


def red(now: bytes, before: bytes | None, behind: int = PACKET) -> bytes:
    """A payload as RFC 2198 section 3 draws it, payload type 111."""
    if before is None:
        return bytes([111]) + now
    head = (1 << 31) | (111 << 24) | (behind << 10) | len(before)
    return head.to_bytes(4, "big") + bytes([111]) + before + now


def voice(count: int) -> list[bytes]:
    encoder = VoiceEncoder()
    time = np.arange(PACKET * count) / 48_000
    samples = (9000 * np.sin(2 * np.pi * 330 * time)).astype(np.int16)
    return [encoder.encode(samples[k * PACKET :][:PACKET], k * PACKET)[0] for k in range(count)]


def test_payloads_come_apart() -> None:
    assert blocks(red(b"now", b"before"), 2000) == [(1040, b"before"), (2000, b"now")]
    assert blocks(red(b"now", None), 2000) == [(2000, b"now")]
    assert blocks(red(b"", None), 2000) == []


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xff\xff\xff", b"\xff" * 40, red(b"x", b"y" * 50)[:20]])
def test_broken_payloads_are_no_harm(payload: bytes) -> None:
    assert all(isinstance(data, bytes) for _, data in blocks(payload, 5))


def test_what_got_lost_is_heard_and_nothing_twice() -> None:
    packets, decoder = voice(40), RedDecoder()
    lost = {7, 12, 20, 21, 39}
    heard = {}
    for k, packet in enumerate(packets):
        if k in lost:
            continue
        for frame in decoder.decode(JitterFrame(red(packet, packets[k - 1] if k else None), k * PACKET)):
            assert frame.pts not in heard
            heard[frame.pts // PACKET] = frame.to_ndarray()
    assert sorted(heard) == [k for k in range(40) if k not in (20, 39)]  # two in a row: one of them is mended
    whole = get_decoder(RTCRtpCodecParameters("audio/opus", 48_000, 2, 111))
    plain = [whole.decode(JitterFrame(packet, k * PACKET))[0].to_ndarray() for k, packet in enumerate(packets)]
    for k in range(3, 19):
        np.testing.assert_array_equal(heard[k], plain[k])  # mended is not merely like it


def test_a_stream_that_begins_anew_is_heard() -> None:
    packets, decoder = voice(4), RedDecoder()
    for start in (0, 10_000_000, 48_000):
        for k, packet in enumerate(packets):
            assert decoder.decode(JitterFrame(red(packet, None), start + k * PACKET))


def test_only_those_who_offer_it_are_asked_for_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(DoubleEngine(tmp_path, side=64)) as address:
            viewer = await Viewer(address).open()
            assert " red/48000" not in viewer.pc.remoteDescription.sdp
            await viewer.close()

    run(work())
