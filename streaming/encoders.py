"""Video encoders tuned for a talking face on a live line, in place of aiortc's own.

VP8: no denoiser (pictures here have no sensor noise; aiortc's costs 2 dB), fastest real-time speed, constant
bitrate, key frames only when asked for. H.264: x264 with a fast preset (aiortc leaves it at *medium*), the real
frame rate, a short rate-control buffer. Nothing here knows about RTP beyond cutting a frame into payloads.
"""

from __future__ import annotations

import fractions
import random
from abc import ABC, abstractmethod
from typing import Final, Protocol

import av
import numpy as np
from aiortc.codecs.h264 import H264Encoder as _AiortcH264
from aiortc.codecs.vpx import VpxPayloadDescriptor
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from engine.clock import FPS

PAYLOAD_MAX: Final = 1200  # bytes; leaves room for RTP, SRTP and a TURN header in a 1280-byte path MTU
VIDEO_CLOCK: Final = 90_000  # Hz, the RTP clock of video


class VideoEncoder(Protocol):
    """Turns I420 pictures into RTP payloads. ``bitrate`` may be set at any time."""

    bitrate: int

    def encode(self, i420: NDArray[np.uint8], pts: int, key: bool) -> list[bytes]:
        """(H * 3 / 2, W) u8 at ``pts`` (90 kHz) -> payloads, in order. ``key`` asks for a complete picture."""
        ...


class _Codec(ABC):
    """An FFmpeg encoder that is opened again only when the picture's size or the bitrate changes."""

    name: str

    def __init__(self, bitrate: int) -> None:
        self.bitrate = bitrate
        self._context: VideoCodecContext | None = None

    @abstractmethod
    def _options(self) -> dict[str, str]:
        """FFmpeg options for the bitrate now."""

    def _encode(self, i420: NDArray[np.uint8], pts: int, key: bool) -> bytes:
        height, width = i420.shape[0] * 2 // 3, i420.shape[1]
        context = self._context
        if context is None or (context.width, context.height, context.bit_rate) != (width, height, self.bitrate):
            context = self._context = self._open(width, height)
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        frame.pts = pts
        frame.time_base = fractions.Fraction(1, VIDEO_CLOCK)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        return b"".join(bytes(packet) for packet in context.encode(frame))

    def _open(self, width: int, height: int) -> VideoCodecContext:
        context = av.CodecContext.create(self.name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.bit_rate = self.bitrate
        context.framerate = fractions.Fraction(FPS, 1)
        context.time_base = fractions.Fraction(1, VIDEO_CLOCK)
        context.gop_size = 3000
        context.thread_count = 1 if width * height <= 640 * 480 else 2
        context.options = self._options()
        return context


class Vp8Encoder(_Codec):
    """libvpx VP8 (RFC 6386), packetised as RFC 7741."""

    name = "libvpx"

    def __init__(self, bitrate: int) -> None:
        super().__init__(bitrate)
        self._picture_id = random.randrange(1 << 15)

    def encode(self, i420: NDArray[np.uint8], pts: int, key: bool) -> list[bytes]:
        data = self._encode(i420, pts, key)
        self._picture_id = (self._picture_id + 1) % (1 << 15)
        return packetize_vp8(data, self._picture_id)

    def _options(self) -> dict[str, str]:
        rate = str(self.bitrate)
        return {
            "deadline": "realtime",
            "cpu-used": "-12",
            "lag-in-frames": "0",
            "noise-sensitivity": "0",
            "static-thresh": "1",
            "partitions": "0",
            "minrate": rate,  # equal to maxrate: constant bitrate
            "maxrate": rate,
            "bufsize": str(self.bitrate // 2),
            "undershoot-pct": "100",
            "overshoot-pct": "15",
            "qmin": "4",
            "qmax": "56",
        }


class H264Encoder(_Codec):
    """x264 baseline (ITU-T H.264), packetised as RFC 6184 mode 1 by aiortc's own cutter."""

    name = "libx264"

    def encode(self, i420: NDArray[np.uint8], pts: int, key: bool) -> list[bytes]:
        data = self._encode(i420, pts, key)
        return list(_AiortcH264._packetize(_AiortcH264._split_bitstream(data)))

    def _options(self) -> dict[str, str]:
        return {
            "preset": "veryfast",
            "tune": "zerolatency",
            "profile": "baseline",
            "level": "31",
            "maxrate": str(self.bitrate),
            "bufsize": str(self.bitrate // 4),
            "forced-idr": "1",
        }


def open_encoder(mime: str, bitrate: int) -> VideoEncoder:
    """The encoder for an RTP codec name such as "video/VP8". Raises ValueError for one we do not send."""
    kinds: dict[str, type[Vp8Encoder] | type[H264Encoder]] = {"video/vp8": Vp8Encoder, "video/h264": H264Encoder}
    if mime.lower() not in kinds:
        raise ValueError(f"no encoder for {mime}; the offer must accept one of {', '.join(kinds)}")
    return kinds[mime.lower()](bitrate)


def packetize_vp8(data: bytes, picture_id: int) -> list[bytes]:
    """One VP8 frame as RTP payloads (RFC 7741 section 4): each with its descriptor, the first with S set."""
    payloads = []
    for start in range(0, len(data), PAYLOAD_MAX):
        head = VpxPayloadDescriptor(partition_start=int(start == 0), partition_id=0, picture_id=picture_id)
        payloads.append(bytes(head) + data[start : start + PAYLOAD_MAX])
    return payloads
