"""Decoders for tests: RTP payloads back to pictures."""

from __future__ import annotations

import av
import numpy as np
from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import vp8_depayload


def decode_vp8(frames: list[list[bytes]]) -> list[np.ndarray]:
    """Payloads of successive frames -> I420 pictures, (H * 3 / 2, W) u8 each."""
    return _decode("libvpx", [b"".join(map(vp8_depayload, payloads)) for payloads in frames])


def decode_h264(frames: list[list[bytes]]) -> list[np.ndarray]:
    """The same for H.264."""
    return _decode("h264", [b"".join(map(h264_depayload, payloads)) for payloads in frames])


def _decode(name: str, packets: list[bytes]) -> list[np.ndarray]:
    codec = av.CodecContext.create(name, "r")
    frames = [frame for data in packets for frame in codec.decode(av.Packet(data))]
    frames += codec.decode(None)
    return [frame.to_ndarray(format="yuv420p") for frame in frames]
