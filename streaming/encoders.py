"""Video encoders tuned for a talking face on a live line, in place of aiortc's own.

VP8: no denoiser (pictures here have no sensor noise; aiortc's costs 2 dB), fastest real-time speed, constant
bitrate, key frames only when asked for. H.264: x264 with a fast preset (aiortc leaves it at *medium*), the real
frame rate, a short rate-control buffer. The bitrate changes without a key frame. Nothing here knows about RTP beyond
cutting a frame into payloads.
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
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from engine.clock import FPS, VOICE_RATE

PAYLOAD_MAX: Final = 1200  # bytes; leaves room for RTP, SRTP and a TURN header in a 1280-byte path MTU
VIDEO_CLOCK: Final = 90_000  # Hz, the RTP clock of video
FRAME_TICKS: Final = VIDEO_CLOCK // FPS
VOICE_BITRATE: Final = 48_000  # of Opus, one voice up to 20 kHz
KEY_FRAMES_WORTH: Final = 6  # a key frame of VP8 takes at most the bits of so many frames


class VideoEncoder(Protocol):
    """Turns I420 pictures into RTP payloads. ``bitrate`` may be set at any time, and costs no key frame. ``alone``:
    whether the last picture was a key frame."""

    bitrate: int
    alone: bool

    def encode(self, i420: NDArray[np.uint8], pts: int, key: bool, size: tuple[int, int] | None = None) -> list[bytes]:
        """(H * 3 / 2, W) u8 at ``pts`` (90 kHz) -> payloads, in order. ``key`` asks for a complete picture; ``size`` is
        the (width, height) to encode at, even numbers, another one than the picture's where bits are few."""
        ...


class _Codec(ABC):
    """An FFmpeg encoder that is opened again only when the encoded size changes."""

    name: str

    def __init__(self, bitrate: int, ceiling: int = 0) -> None:
        self.bitrate = bitrate
        self._ceiling = max(bitrate, ceiling)
        self._context: VideoCodecContext | None = None
        self._previous: int | None = None  # pts
        self.alone = False

    @abstractmethod
    def _open(self, width: int, height: int) -> VideoCodecContext:
        """A context for the bitrate now."""

    @abstractmethod
    def _follow(self, context: VideoCodecContext, frame: av.VideoFrame, since: int) -> None:
        """Makes ``context`` keep the bitrate of now; ``frame`` comes ``since`` ticks after the one before."""

    def _encode(self, i420: NDArray[np.uint8], pts: int, key: bool, size: tuple[int, int] | None) -> bytes:
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        width, height = size or (frame.width, frame.height)
        if (frame.width, frame.height) != (width, height):
            frame = frame.reformat(width, height, interpolation="AREA")
        context = self._context
        if context is None or (context.width, context.height) != (width, height):
            context = self._context = self._open(width, height)
        frame.pts = pts
        frame.time_base = fractions.Fraction(1, VIDEO_CLOCK)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        since = FRAME_TICKS if self._previous is None else min(max(pts - self._previous, 1), 4 * FRAME_TICKS)
        self._previous = pts
        self._follow(context, frame, since)
        packets = context.encode(frame)
        self.alone = any(packet.is_keyframe for packet in packets)
        return b"".join(bytes(packet) for packet in packets)

    def _context_of(self, width: int, height: int, bitrate: int, options: dict[str, str]) -> VideoCodecContext:
        context = av.CodecContext.create(self.name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.bit_rate = bitrate
        context.framerate = fractions.Fraction(FPS, 1)
        context.time_base = fractions.Fraction(1, VIDEO_CLOCK)
        context.gop_size = 3000
        context.thread_count = 1 if width * height <= 640 * 480 else 2
        context.options = options
        return context


class Vp8Encoder(_Codec):
    """libvpx VP8 (RFC 6386), packetised as RFC 7741.

    FFmpeg hands libvpx its bitrate once. But libvpx shares that bitrate among frames by their durations, so it is told
    durations in a time of its own: where the rate is half of the first one, frames seem half as long.
    """

    name = "libvpx"

    def __init__(self, bitrate: int, ceiling: int = 0) -> None:
        super().__init__(bitrate, ceiling)
        self._picture_id = random.randrange(1 << 15)
        self._opened_with = bitrate
        self._time = 0

    def encode(self, i420: NDArray[np.uint8], pts: int, key: bool, size: tuple[int, int] | None = None) -> list[bytes]:
        data = self._encode(i420, pts, key, size)
        self._picture_id = (self._picture_id + 1) % (1 << 15)
        return packetize_vp8(data, self._picture_id)

    def _follow(self, context: VideoCodecContext, frame: av.VideoFrame, since: int) -> None:
        seeming = max(round(since * self.bitrate / self._opened_with), 1)
        self._time += seeming
        frame.pts, frame.duration = self._time, seeming

    def _open(self, width: int, height: int) -> VideoCodecContext:
        self._opened_with, self._time = self.bitrate, 0
        return self._context_of(width, height, self.bitrate, self._options())

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
            "qmax": "60",
            "max-intra-rate": str(KEY_FRAMES_WORTH * 100),
        }


class H264Encoder(_Codec):
    """x264 baseline (ITU-T H.264), packetised as RFC 6184 mode 1 by aiortc's own cutter."""

    name = "libx264"

    def encode(self, i420: NDArray[np.uint8], pts: int, key: bool, size: tuple[int, int] | None = None) -> list[bytes]:
        data = self._encode(i420, pts, key, size)
        return list(_AiortcH264._packetize(_AiortcH264._split_bitstream(data)))

    def _follow(self, context: VideoCodecContext, frame: av.VideoFrame, since: int) -> None:
        context.bit_rate = min(self.bitrate, self._ceiling)  # FFmpeg tells x264 before it hands over the frame

    def _open(self, width: int, height: int) -> VideoCodecContext:
        options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "profile": "baseline",
            "level": "31",
            "maxrate": str(self._ceiling),
            "bufsize": str(self._ceiling // 4),
            "forced-idr": "1",
        }
        # Opened below its buffer's rate, x264 would stay at the rate that it was opened with.
        context = self._context_of(width, height, self._ceiling, options)
        context.open()
        return context


class VoiceEncoder:
    """Opus (RFC 6716) for one voice: mono, 20 ms a packet. aiortc's sends it as two channels, at twice the rate."""

    def __init__(self) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.format, context.layout, context.sample_rate = "s16", "mono", VOICE_RATE
        context.bit_rate, context.time_base = VOICE_BITRATE, fractions.Fraction(1, VOICE_RATE)
        context.options = {"application": "voip", "frame_duration": "20"}
        self._context = context

    def encode(self, samples: NDArray[np.int16], pts: int) -> list[bytes]:
        """(960,) at ``pts`` (48 kHz) -> one payload."""
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = VOICE_RATE, pts, fractions.Fraction(1, VOICE_RATE)
        return [bytes(packet) for packet in self._context.encode(frame)]


def open_encoder(mime: str, bitrate: int, ceiling: int = 0) -> VideoEncoder:
    """The encoder for an RTP codec name such as "video/VP8", whose bitrate will never exceed ``ceiling``. Raises
    ValueError for one we do not send."""
    kinds: dict[str, type[Vp8Encoder] | type[H264Encoder]] = {"video/vp8": Vp8Encoder, "video/h264": H264Encoder}
    if mime.lower() not in kinds:
        raise ValueError(f"no encoder for {mime}; the offer must accept one of {', '.join(kinds)}")
    return kinds[mime.lower()](bitrate, ceiling)


def packetize_vp8(data: bytes, picture_id: int) -> list[bytes]:
    """One VP8 frame as RTP payloads (RFC 7741 section 4): each with its descriptor, the first with S set."""
    payloads = []
    for start in range(0, len(data), PAYLOAD_MAX):
        head = VpxPayloadDescriptor(partition_start=int(start == 0), partition_id=0, picture_id=picture_id)
        payloads.append(bytes(head) + data[start : start + PAYLOAD_MAX])
    return payloads
