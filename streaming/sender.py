"""An RTP sender for our tracks: own encoders in own threads, exact sender reports, a rate that follows the line.

Takes the place of aiortc's RTCRtpSender (see patches.py). A track that is not ours is sent by aiortc's code.
Three things differ. Video is encoded by encoders.py. What receivers report feeds RateController, which moves the
bitrate, and below a certain rate size and frame rate, instead of re-creating the codec at every estimate. And sender
reports pair RTP time with the *media* clock that sound and picture share, not with the moment a packet happened to
leave, so a receiver's lip-sync is exact (RFC 3550 section 6.4.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpSendParameters
from aiortc.rtcrtpsender import RTCEncodedFrame, RTCRtpSender
from aiortc.rtp import (
    RTCP_PSFB_APP,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)

from engine.clock import FPS, FRAME, SAMPLE_RATE, VOICE_RATE, VOICE_RATIO
from streaming.encoders import VIDEO_CLOCK, VideoEncoder, VoiceEncoder, open_encoder
from streaming.pacer import TWICE_APART_S, PacedTransport, Resends
from streaming.quality import Quality
from streaming.rate import LossMeter, RateController, Shape, ShapeChooser
from streaming.red import RED
from streaming.tracks import OutFrame, VideoTrack, VoicePacket, VoiceTrack

NTP_EPOCH: Final = 2_208_988_800  # seconds from 1900 to 1970
ENCODERS: Final = ThreadPoolExecutor(max(2, (os.cpu_count() or 2) // 2), thread_name_prefix="encode")
KEY_FRAMES_APART_S: Final = 0.4  # a request that comes sooner after a key frame waits: storms of them starve a line
REPORTS_KEPT: Final = 16  # sender reports whose answers still tell the round trip
SIZES: Final = 8  # encoded widths and heights are multiples of it
OPUS_DELAY: Final = 312  # samples of look-ahead in libopus' voip mode: the decoder's output is late by them


@dataclass(slots=True)
class SentWindow:
    """Bits per second over the last second."""

    sizes: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, now: float, size: int) -> float:
        self.sizes.append((now, size))
        while self.sizes[0][0] < now - 1.0:
            self.sizes.popleft()
        return sum(size for _, size in self.sizes) * 8.0


class MediaSender(RTCRtpSender):
    """Sends a VideoTrack or a VoiceTrack; anything else as aiortc does."""

    bitrate: int = 2_000_000
    bitrate_start: int = 1_000_000
    bitrate_floor: int = 150_000

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._control = RateController(self.bitrate_start, self.bitrate, self.bitrate_floor)
        self._shapes = ShapeChooser()
        self._losses = LossMeter()
        self._quality = Quality()
        self._video: VideoEncoder | None = None
        self._opus: VoiceEncoder | None = None
        self._resends = Resends()
        self._copies: set[asyncio.Task[None]] = set()  # on their way
        self._key = False
        self._key_at = -1.0
        self._paced: PacedTransport | None = None
        self._sent = SentWindow()
        self._sent_rate = 0.0
        self._sent_pts: int | None = None  # of the last picture that was encoded
        self._asked: dict[int, float] = {}  # when a sender report left, by what its answer calls it
        self._origin: int | None = None  # RTP time of pts 0
        self._previous: tuple[int, OutFrame | None] | None = None  # RTP time asked for, and the frame

    @property
    def transport(self) -> Any:
        """The DTLS transport, with our pace."""
        real = super().transport
        if self._paced is None or self._paced._transport is not real:
            self._paced = PacedTransport(real, self.kind, self._ssrc, lambda: self._control.rate)
        return self._paced

    @property
    def target_rate(self) -> int:
        """Bits per second that the line is thought to take."""
        return self._control.rate

    @property
    def loss(self) -> float:
        """Share of packets lost, as last reported."""
        return self._control.loss

    @property
    def round_trip(self) -> float | None:
        """Seconds, as last reported."""
        return self._control.round_trip

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """As aiortc's; what is sent is never wrapped (RED), though it may come first among what is received."""
        parameters.codecs = sorted(parameters.codecs, key=lambda codec: codec.mimeType.lower() == RED)
        await super().send(parameters)

    def choose(self, quality: Quality) -> None:
        """From the next frame on at most this."""
        self._quality = quality
        self._control.ceiling = min(quality.bitrate or self.bitrate, self.bitrate)

    @property
    def sent_rate(self) -> float:
        """Bits per second of payload over the last second."""
        return self._sent_rate

    def rtp_time(self, pts: int) -> int | None:
        """The RTP timestamp that media time ``pts`` carries on the wire, once known."""
        if self._origin is None:
            return None
        return (self._origin + pts * self._clock_rate // SAMPLE_RATE) & 0xFFFFFFFF

    @property
    def _clock_rate(self) -> int:
        return VIDEO_CLOCK if self.kind == "video" else VOICE_RATE

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        track = self.track
        if not isinstance(track, VideoTrack | VoiceTrack):
            return await super()._next_encoded_frame(codec)
        self._note_previous(track)
        data = await track.recv()
        if not self._enabled:
            return None
        loop = asyncio.get_running_loop()
        if isinstance(data, OutFrame):
            shape = self._shape(data)
            if self._pauses(time.monotonic()):
                return None
            if self._sent_pts is not None and data.pts - self._sent_pts < (shape.every - 0.5) * FRAME:
                return None
            payloads = await loop.run_in_executor(ENCODERS, self._encode_video, codec, data, shape)
            self._sent_pts = data.pts
            stamp = data.pts * VIDEO_CLOCK // SAMPLE_RATE
            self._previous = (stamp, data)
        else:
            payloads = self._encode_voice(data)  # 0.1 ms: not worth a thread
            stamp = data.pts * VOICE_RATIO
            self._previous = (stamp, None)
        now = time.monotonic()
        self._sent_rate = self._sent.add(now, sum(map(len, payloads)))
        self._control.note_sent(now, self._sent_rate)
        level: Any = None if isinstance(data, OutFrame) else _level(data)  # None: no level in the packet's header
        return RTCEncodedFrame(payloads, stamp, level) if payloads else None

    def _note_previous(self, track: VideoTrack | VoiceTrack) -> None:
        """aiortc asks for the next frame right after the last packet of the previous one was sent."""
        if self._previous is None:
            return
        stamp, frame = self._previous
        self._previous = None
        if self._origin is None:
            self._origin = (self._RTCRtpSender__rtp_timestamp - stamp) & 0xFFFFFFFF  # type: ignore[attr-defined]
        if frame is not None and isinstance(track, VideoTrack):
            frame.stamps["rtp"] = self.rtp_time(frame.pts)
            frame.stamps["sent"] = time.monotonic() * 1e3
            track.sent(frame)

    def _shape(self, frame: OutFrame) -> Shape:
        """What the line is good for, and the viewer asks for."""
        rows, columns = frame.i420.shape[0] * 2 // 3, frame.i420.shape[1]
        asked = self._quality
        most = min((asked.height or rows) / rows, 1.0)
        every = max(round(FPS / (asked.fps or FPS)), 1)
        shape = self._shapes.choose(time.monotonic(), self._control.rate, round(rows * columns * most**2), FPS / every)
        return replace(shape, scale=shape.scale * most, every=shape.every * every)

    def _pauses(self, now: float) -> bool:
        """Whether the line is to drain. What comes first after that is whole: much of what was before got lost."""
        if now < self._control.paused_until:
            self._key = True
            return True
        return False

    def _encode_video(self, codec: RTCRtpCodecParameters, frame: OutFrame, shape: Shape) -> list[bytes]:
        if self._video is None:
            self._video = open_encoder(codec.mimeType, self._control.rate, self.bitrate)
        self._video.bitrate = self._control.rate
        rows, columns = frame.i420.shape[0] * 2 // 3, frame.i420.shape[1]
        size = None if shape.scale == 1.0 else (_whole(columns * shape.scale), _whole(rows * shape.scale))
        start = time.monotonic()
        key = self._key and start - self._key_at >= KEY_FRAMES_APART_S
        if key:
            self._key, self._key_at = False, start
        payloads = self._video.encode(frame.i420, frame.pts * VIDEO_CLOCK // SAMPLE_RATE, key, size)
        frame.stamps["encode"] = (time.monotonic() - start) * 1e3
        frame.stamps["bytes"] = sum(map(len, payloads))
        frame.stamps["key"] = self._video.alone
        if self._video.alone:
            self.transport.whole()
        return payloads

    def _encode_voice(self, packet: VoicePacket) -> list[bytes]:
        if self._opus is None:
            self._opus = VoiceEncoder()
        return self._opus.encode(packet.samples, packet.pts * VOICE_RATIO)

    async def _retransmit(self, sequence_number: int) -> None:
        now = time.monotonic()
        if now < self._control.paused_until or not self.transport.needed(sequence_number):
            return  # a whole picture comes next, or came since
        lossy = self.transport.line.lossy(now) and not self._control.queueing
        copies = self._resends.copies(now, sequence_number, self._control.rate, self.round_trip or 0.0, lossy)
        if copies:
            await super()._retransmit(sequence_number)
            if copies == 2:
                copy = asyncio.ensure_future(self._retransmit_copy(sequence_number))
                self._copies.add(copy)
                copy.add_done_callback(self._copies.discard)

    async def _retransmit_copy(self, sequence_number: int) -> None:
        """A picture waits another round trip for what is lost a second time."""
        await asyncio.sleep(TWICE_APART_S)
        with contextlib.suppress(ConnectionError):  # the line is gone
            await super()._retransmit(sequence_number)

    def _send_keyframe(self) -> None:
        self._key = True
        super()._send_keyframe()

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        now = time.monotonic()
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                estimate, ssrcs = unpack_remb_fci(packet.fci)
            except ValueError:
                return
            if self._ssrc in ssrcs:
                self._control.note_estimate(now, estimate)
            return
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == self._ssrc:
                    self._note_report(now, report)
        await super()._handle_rtcp_packet(packet)

    def _note_report(self, now: float, report: RtcpReceiverInfo) -> None:
        asked = self._asked.get(report.lsr)
        if asked is not None:
            self._control.note_round_trip(now, max(now - asked - report.dlsr / 65536, 0.0))
        share = self._losses.add(now, report.highest_sequence, report.packets_lost)
        if share is not None:
            self.transport.line.note_loss(now, share, self._control.queueing)
            self._control.note_loss(now, share)

    async def _send_rtcp(self, packets: list[AnyRtcpPacket]) -> None:
        track = self.track
        report = packets[0] if packets else None
        if isinstance(track, VideoTrack | VoiceTrack) and isinstance(report, RtcpSrPacket):
            moment = self._media_moment(track, report.sender_info.rtp_timestamp)
            if moment is None:
                return  # nothing sent yet, or the clocks are not paired yet: say nothing rather than guess
            report.sender_info.ntp_timestamp = int((moment + NTP_EPOCH) * 2**32)
            asked = (report.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF
            self._RTCRtpSender__lsr = asked
            self._asked[asked] = time.monotonic()
            if len(self._asked) > REPORTS_KEPT:
                del self._asked[next(iter(self._asked))]
        await super()._send_rtcp(packets)

    def _media_moment(self, track: VideoTrack | VoiceTrack, rtp: int) -> float | None:
        """Unix time of RTP time ``rtp`` on the one line shared by sound and picture."""
        if self._origin is None:
            return None
        about = track.queue.sent_pts * self._clock_rate // SAMPLE_RATE  # RTP time wraps, media time does not
        since = about + ((rtp - self._origin - about + 2**31) & 0xFFFFFFFF) - 2**31
        delay = OPUS_DELAY / VOICE_RATE if self.kind == "audio" else 0.0
        start = track.queue.ntp_time(0)
        return None if start is None else start + since / self._clock_rate - delay


def _whole(length: float) -> int:
    return max(round(length / SIZES), 2) * SIZES


def _level(packet: VoicePacket) -> int:
    """RFC 6464 audio level in dBov, -127 (silence) to 0."""
    power = float(np.mean(np.square(packet.samples, dtype=np.float64)))
    return -127 if power < 1.0 else max(-127, min(0, round(10 * np.log10(power / 32768.0**2))))
