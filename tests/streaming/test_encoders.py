"""Encoders give pictures back, keep to one key frame, and open again only when they must."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import VpxPayloadDescriptor

from streaming.encoders import PAYLOAD_MAX, H264Encoder, Vp8Encoder, open_encoder, packetize_vp8

from .decode import decode_h264, decode_vp8

DECODE = {"video/VP8": decode_vp8, "video/H264": decode_h264}


def pictures(n: int, side: int = 128) -> list[np.ndarray]:
    """A soft blob that wanders over a gradient."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    out = []
    for k in range(n):
        blob = np.exp(-((x - 0.5 - 0.2 * np.sin(k / 5)) ** 2 + (y - 0.5) ** 2) * 40)
        luma = (60 + 60 * x + 100 * blob).astype(np.uint8)
        out.append(np.concatenate([luma, np.full((side // 2, side), 120, np.uint8)]))
    return out


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


def is_key_vp8(payloads: list[bytes]) -> bool:
    _, data = VpxPayloadDescriptor.parse(payloads[0])
    return data[0] & 1 == 0  # RFC 6386 section 9.1


def is_key_h264(payloads: list[bytes]) -> bool:
    data = b"".join(map(h264_depayload, payloads))
    return any(unit[:1] and unit[0] & 31 == 5 for unit in data.split(b"\0\0\1"))  # an IDR slice, ITU-T H.264 table 7-1


@pytest.mark.parametrize("mime", ["video/VP8", "video/H264"])
def test_pictures_come_back(mime: str) -> None:
    source, encoder = pictures(30), open_encoder(mime, 1_000_000)
    frames = [encoder.encode(picture, k * 3600, False) for k, picture in enumerate(source)]
    decoded = DECODE[mime](frames)
    assert len(decoded) == len(source)
    assert min(psnr(a, b) for a, b in zip(source[5:], decoded[5:], strict=True)) > 33
    assert max(len(payload) for frame in frames for payload in frame) <= 1300


def test_vp8_has_one_key_frame_until_asked_for_another() -> None:
    encoder = Vp8Encoder(1_000_000)
    keys = [is_key_vp8(encoder.encode(p, k * 3600, k == 40)) for k, p in enumerate(pictures(60))]
    assert np.flatnonzero(keys).tolist() == [0, 40]


@pytest.mark.parametrize(("mime", "is_key"), [("video/VP8", is_key_vp8), ("video/H264", is_key_h264)])
def test_only_another_size_brings_a_key_frame_another_rate_does_not(
    mime: str, is_key: Callable[[list[bytes]], bool]
) -> None:
    encoder = open_encoder(mime, 1_000_000, 1_500_000)
    keys = []
    for k, picture in enumerate(pictures(6) + pictures(3, 64)):
        encoder.bitrate = 1_000_000 if k < 3 else 700_000
        keys.append(is_key(encoder.encode(picture, k * 3600, False)))
    assert np.flatnonzero(keys).tolist() == [0, 6]


@pytest.mark.parametrize("mime", ["video/VP8", "video/H264"])
def test_the_stream_keeps_to_each_rate_that_it_is_told(mime: str) -> None:
    rng, encoder, k = np.random.default_rng(0), open_encoder(mime, 400_000, 800_000), 0
    noise = [np.full((192, 128), 120, np.uint8) for _ in range(10)]
    for picture in noise:
        picture[:128] = rng.integers(60, 190, (128, 128))
    for rate in (400_000, 800_000, 300_000):
        encoder.bitrate = rate
        sizes = []
        for _ in range(75):
            sizes.append(sum(map(len, encoder.encode(noise[k % 10], k * 3600, False))))
            k += 1
        assert 0.8 < sum(sizes[25:]) * 8 / 2.0 / rate < 1.15


@pytest.mark.parametrize(("mime", "decode"), DECODE.items())
def test_a_smaller_picture_is_sent_where_it_is_asked_for(mime: str, decode: Callable[..., list[np.ndarray]]) -> None:
    encoder = open_encoder(mime, 500_000)
    small, shapes = (96, 64), []
    for k, picture in enumerate(pictures(4)):
        shapes.append(encoder.encode(picture, k * 3600, False, None if k < 2 else small))
    assert decode(shapes[:2])[0].shape[1] == 128
    assert decode(shapes[2:])[0].shape[1] == 96  # begins anew: decodable without what was before


def test_h264_makes_key_frames_on_demand() -> None:
    encoder = H264Encoder(1_000_000)
    keys = [is_key_h264(encoder.encode(p, k * 3600, k == 20)) for k, p in enumerate(pictures(30))]
    assert np.flatnonzero(keys).tolist() == [0, 20]


def test_vp8_payloads_mark_the_frames_first_packet_only() -> None:
    data = bytes(range(256)) * 20
    payloads = packetize_vp8(data, 77)
    parsed = [VpxPayloadDescriptor.parse(payload) for payload in payloads]
    assert [p.partition_start for p, _ in parsed] == [1] + [0] * (len(parsed) - 1)
    assert {p.picture_id for p, _ in parsed} == {77}
    assert b"".join(rest for _, rest in parsed) == data
    assert max(map(len, payloads)) <= PAYLOAD_MAX + 4


def test_an_unknown_codec_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="video/VP9"):
        open_encoder("video/VP9", 1_000_000)
