"""Voice that comes twice: lost packets are mended by the next one, and nothing is heard twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from streaming import patches
from streaming.encoders import VoiceEncoder
from streaming.red import PACKET, RedDecoder, blocks, get_decoder
from streaming.reorder import VoiceFrame

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


@pytest.mark.parametrize("name", ["audio/opus", "audio/red", "audio/PCMU", "audio/PCMA"])
@pytest.mark.parametrize("bad", [b"", b"\x6f", b"\xff" * 3, bytes(80), b"\xff" * 2000])
def test_voice_goes_on_after_a_packet_that_is_empty_or_broken(name: str, bad: bytes) -> None:
    def sound(between: bytes | None) -> list[int]:
        decoder = patches.decoder(RTCRtpCodecParameters(name, 48_000 if packs else 8000, 2 if packs else 1, 111))
        for k, packet in enumerate(packets):
            if k == 5 and between is not None:
                decoder.decode(VoiceFrame(between, k * PACKET, [(between, PACKET), (packet, 2 * PACKET)]))
            now = decoder.decode(VoiceFrame(packet, (k + 3) * PACKET, []))
        return [int(np.abs(frame.to_ndarray().astype(np.int32)).max()) for frame in now]

    packs = name in ("audio/opus", "audio/red")
    coded = voice(12) if packs else [bytes(range(80, 240))] * 12
    packets = [red(one, None) for one in coded] if name == "audio/red" else coded
    assert sound(None)[0] > 1000
    assert sound(bad) == pytest.approx(sound(None), rel=0.2)


def test_what_was_held_behind_a_broken_packet_is_heard() -> None:
    decoder = patches.decoder(RTCRtpCodecParameters("audio/opus", 48_000, 2, 111))
    first, second = voice(2)
    held = VoiceFrame(first, 0, [(b"\xff" * 3, PACKET), (second, 2 * PACKET)])
    assert [frame.pts for frame in decoder.decode(held)] == [0, 2 * PACKET]


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
