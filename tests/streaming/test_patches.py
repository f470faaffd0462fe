"""What takes the place of aiortc's defaults."""

from __future__ import annotations

import aioice.ice
import aiortc.rtcpeerconnection
import aiortc.rtcrtpreceiver
import av
import numpy as np
import pytest
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket

from streaming import patches
from streaming.config import StreamConfig
from streaming.mictrack import MicReader
from streaming.reorder import VoiceJitterBuffer
from streaming.sender import MediaSender


def packet(number: int) -> RtpPacket:
    made = RtpPacket(sequence_number=number % 65536, timestamp=number * 960)
    made._data = bytes([number % 256])  # type: ignore[attr-defined]
    return made


def given(numbers: list[int]) -> list[int]:
    buffer = VoiceJitterBuffer()
    return [number for number in numbers if buffer.add(packet(number))[1] is not None]


def test_each_voice_packet_comes_out_as_it_comes_in() -> None:
    buffer = VoiceJitterBuffer()
    ask, frame = buffer.add(packet(7))
    assert not ask
    assert frame is not None
    assert (frame.data, frame.timestamp) == (b"\x07", 6720)
    assert given([1, 2, 3, 5, 6]) == [1, 2, 3, 5, 6]


def test_repeats_and_stragglers_are_dropped() -> None:
    assert given([10, 11, 11, 13, 12, 14]) == [10, 11, 13, 14]


def test_the_sequence_wraps_and_may_begin_anew() -> None:
    assert given([65534, 65535, 65536, 65537]) == [65534, 65535, 65536, 65537]
    assert given([5000, 5001, 20, 21]) == [5000, 5001, 20, 21]


def test_install_puts_everything_in_place_twice_over() -> None:
    for seconds in (1.0, 2.0):
        patches.install(StreamConfig(consent_interval_s=seconds, bitrate=1_500_000))
        assert aiortc.rtcpeerconnection.RTCRtpSender is MediaSender
        assert MediaSender.bitrate == 1_500_000
        assert seconds == aioice.ice.CONSENT_INTERVAL
        assert isinstance(aiortc.rtcrtpreceiver.JitterBuffer(16, 4), VoiceJitterBuffer)  # type: ignore[arg-type]
        assert isinstance(aiortc.rtcrtpreceiver.JitterBuffer(512, is_video=True), JitterBuffer)
    patches.install(StreamConfig())


def test_an_aiortc_without_the_place_to_patch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aioice.ice, "CONSENT_FAILURES")
    with pytest.raises(ImportError, match="CONSENT_FAILURES"):
        patches.install(StreamConfig())


def test_a_host_with_only_loopback_offers_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "_host_addresses", lambda v4, v6: [])
    assert patches.host_addresses(True, True) == ["127.0.0.1", "::1"]
    assert patches.host_addresses(True, False) == ["127.0.0.1"]
    monkeypatch.setattr(patches, "_host_addresses", lambda v4, v6: ["192.0.2.2"])
    assert patches.host_addresses(True, True) == ["192.0.2.2"]


def frame(samples: np.ndarray, layout: str, rate: int, fmt: str = "s16", pts: int = 0) -> av.AudioFrame:
    made = av.AudioFrame.from_ndarray(samples, format=fmt, layout=layout)
    made.sample_rate, made.pts = rate, pts
    return made


def test_stereo_opus_becomes_mono_at_its_place() -> None:
    stereo = np.stack([np.full(960, 16384), np.full(960, 0)], axis=1).astype(np.int16).reshape(1, -1)
    [(position, samples)] = MicReader().read(frame(stereo, "stereo", 48_000, pts=4800))
    assert position == 4800
    np.testing.assert_allclose(samples, 0.25)
    assert samples.dtype == np.float32


def test_other_rates_are_resampled() -> None:
    reader, total, peak = MicReader(), 0, 0.0
    for k in range(20):
        tone = (8000 * np.sin(np.arange(160 * k, 160 * (k + 1)) / 8000 * 2 * np.pi * 300)).astype(np.int16)
        for position, samples in reader.read(frame(tone[None], "mono", 8_000, pts=160 * k)):
            assert abs(position - 960 * k) <= 960
            total, peak = total + len(samples), max(peak, float(np.abs(samples).max()))
    assert abs(total - 20 * 960) <= 200
    assert 0.2 < peak < 0.3
