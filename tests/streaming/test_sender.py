"""The RTP sender: sender reports on one media line, key frames on request, a bitrate that does not flutter."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
    pack_remb_fci,
)

from engine.clock import FRAME
from streaming.quality import Quality
from streaming.sender import NTP_EPOCH, OPUS_DELAY, MediaSender
from streaming.tracks import OutFrame, OutQueue, VideoTrack, VoiceTrack

VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000, payloadType=96)
OPUS = RTCRtpCodecParameters(mimeType="audio/opus", clockRate=48_000, channels=2, payloadType=97)


class Wire:
    """A transport that keeps what is sent."""

    state = "connected"
    _stats_id = "wire"

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def _send_rtp(self, data: bytes) -> None:
        self.sent.append(data)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def put(queue: OutQueue, k: int) -> None:
    if queue.voice.position + queue.voice.available == 0:
        queue.put_voice(np.zeros(k * 1920, np.float32))
    queue.put_voice(np.zeros(1920, np.float32))
    queue.put(OutFrame(k * FRAME, np.full((96, 64), 90, np.uint8), {"pts": k * FRAME}))


async def send(sender: MediaSender, codec: RTCRtpCodecParameters, origin: int) -> Any:
    """What aiortc's loop does for one frame: ask for it, then send its packets."""
    frame = await sender._next_encoded_frame(codec)
    sender._RTCRtpSender__rtp_timestamp = (origin + frame.timestamp) & 0xFFFFFFFF  # type: ignore[attr-defined]
    return frame


async def report(sender: MediaSender, rtp: int) -> float | None:
    """Unix time that the sender pairs with RTP time ``rtp``; None when it sends no report."""
    packet = RtcpSrPacket(ssrc=sender._ssrc, sender_info=RtcpSenderInfo(0, rtp & 0xFFFFFFFF, 0, 0))
    wire = sender.transport
    before = len(wire.sent)
    await sender._send_rtcp([packet])
    return packet.sender_info.ntp_timestamp / 2**32 - NTP_EPOCH if len(wire.sent) > before else None


def pair() -> tuple[OutQueue, list[OutFrame], MediaSender, MediaSender]:
    queue, gone = OutQueue(), []
    wire: Any = Wire()
    return queue, gone, MediaSender(VideoTrack(queue, gone.append), wire), MediaSender(VoiceTrack(queue), wire)


def test_reports_of_sound_and_picture_lie_on_one_line() -> None:
    async def work() -> None:
        queue, _, video, voice = pair()
        assert await report(video, 5) is None  # nothing is known yet: better silent than wrong
        for k in range(100, 104):
            put(queue, k)
            await send(video, VP8, 4_000_000_000)
            if k > 100:
                await send(voice, OPUS, 77)
                await send(voice, OPUS, 77)
        put(queue, 104)
        await send(video, VP8, 4_000_000_000)
        await send(voice, OPUS, 77)
        pts = 103 * FRAME
        seen = await report(video, 4_000_000_000 + pts * 90_000 // 16_000)
        heard = await report(voice, 77 + pts * 3 + OPUS_DELAY)
        assert seen is not None
        assert heard is not None
        assert abs(seen - heard) < 1e-6
        assert abs(seen - time.time()) < 60  # it is Unix time
        later = await report(video, 4_000_000_000 + (pts + 16_000) * 90_000 // 16_000)
        assert later is not None
        assert abs(later - seen - 1.0) < 1e-6

    run(work())


def test_the_line_goes_on_when_rtp_time_wraps() -> None:
    async def work() -> None:
        queue, _, video, _ = pair()
        long = 20 * 3600 * 25  # twenty hours; 2^32 ticks of 90 kHz are thirteen
        put(queue, 0)
        await send(video, VP8, 1000)
        put(queue, 1)
        await send(video, VP8, 1000)
        begin = await report(video, 1000)
        queue.mark_sent(long * FRAME)
        moment = await report(video, 1000 + long * 3600)
        assert begin is not None
        assert moment is not None
        assert abs(moment - begin - 20 * 3600) < 1e-3

    run(work())


def test_stamps_say_when_and_as_what_a_frame_left() -> None:
    async def work() -> None:
        queue, gone, video, _ = pair()
        for k in range(3):
            put(queue, k)
            await send(video, VP8, 500)
        assert [frame.pts for frame in gone] == [0, FRAME]  # the third is still being sent
        assert gone[1].stamps["rtp"] == 500 + 3600
        assert gone[1].stamps["bytes"] > 0
        assert gone[1].stamps["sent"] >= gone[0].stamps["sent"]

    run(work())


async def ask_for_key(video: MediaSender) -> None:
    await video._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=video._ssrc, fci=b""))


def is_key(frame: Any) -> bool:
    return frame.payloads[0][4] & 1 == 0  # four bytes of descriptor, then the VP8 frame tag


def test_a_picture_loss_report_brings_a_key_frame() -> None:
    async def work() -> None:
        queue, _, video, _ = pair()
        keys = []
        for k in range(12):
            if k == 7:
                await ask_for_key(video)
            put(queue, k)
            keys.append(is_key(await send(video, VP8, 0)))
        assert np.flatnonzero(keys).tolist() == [0, 7]

    run(work())


def test_a_storm_of_requests_brings_no_storm_of_key_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue, _, video, _ = pair()
        keys = []
        for k in range(30):
            monkeypatch.setattr("streaming.sender.time.monotonic", lambda k=k: 100 + 0.041 * k)
            if k >= 5:
                await ask_for_key(video)
            put(queue, k)
            keys.append(is_key(await send(video, VP8, 0)))
        assert np.flatnonzero(keys).tolist() == [0, 5, 15, 25]  # 0.4 s apart

    run(work())


def receiver_report(video: MediaSender, highest: int, lost: int) -> RtcpRrPacket:
    info = RtcpReceiverInfo(
        video._ssrc, fraction_lost=0, packets_lost=lost, highest_sequence=highest, jitter=0, lsr=0, dlsr=0
    )
    return RtcpRrPacket(ssrc=1, reports=[info])


def test_estimates_of_a_quiet_line_do_not_touch_the_rate_but_loss_does() -> None:
    async def work() -> None:
        queue, _, video, _ = pair()
        put(queue, 0)
        await send(video, VP8, 0)
        remb = RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=pack_remb_fci(300_000, [video._ssrc]))
        for _ in range(50):
            await video._handle_rtcp_packet(remb)
        assert video.target_rate == MediaSender.bitrate_start
        await video._handle_rtcp_packet(receiver_report(video, 100, 0))
        await video._handle_rtcp_packet(receiver_report(video, 200, 50))
        assert video.loss == 0.5
        assert video.target_rate < MediaSender.bitrate_start

    run(work())


def test_the_answer_to_a_sender_report_tells_the_round_trip() -> None:
    async def work() -> None:
        queue, _, video, _ = pair()
        for k in range(2):
            put(queue, k)
            await send(video, VP8, 0)
        packet = RtcpSrPacket(ssrc=video._ssrc, sender_info=RtcpSenderInfo(0, 3600, 0, 0))
        await video._send_rtcp([packet])
        video._RTCRtpSender__lsr_time = time.time()  # type: ignore[attr-defined]  # aiortc's own loop notes it
        await asyncio.sleep(0.1)
        answer = receiver_report(video, 100, 0)
        answer.reports[0].lsr = packet.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF
        answer.reports[0].dlsr = round(0.04 * 65536)
        await video._handle_rtcp_packet(answer)
        assert video.round_trip is not None
        assert 0.05 < video.round_trip < 5

    run(work())


def test_a_viewer_chooses_rows_pictures_a_second_and_rate() -> None:
    async def work() -> None:
        queue, _, video, _ = pair()
        video.choose(Quality(height=64, fps=12.5, bitrate=300_000))
        assert video.target_rate == 300_000
        sizes, count = [], 0
        for k in range(10):
            queue.put(OutFrame(k * FRAME, np.full((192, 128), 90, np.uint8), {}))
            frame = await video._next_encoded_frame(VP8)
            if frame is not None:
                count += 1
                sizes.append(frame.payloads[0][10:14] if is_key(frame) else None)
        assert count == 5
        width, height = struct.unpack("<HH", sizes[0])  # RFC 6386 section 9.1
        assert (width, height) == (64, 64)
        video.choose(Quality())
        assert video._control.ceiling == MediaSender.bitrate

    run(work())


def test_a_poor_line_gets_a_smaller_picture() -> None:
    async def work() -> None:
        queue, _, video, _ = pair()
        large = np.full((1536, 1024), 90, np.uint8)
        queue.put(OutFrame(0, large, {}))
        await send(video, VP8, 0)
        video._control.ceiling = 150_000
        queue.put(OutFrame(FRAME, large, {}))
        frame = await send(video, VP8, 0)
        assert struct.unpack("<HH", frame.payloads[0][10:14]) == (768, 768)

    run(work())


def test_after_a_collapse_nothing_is_sent_for_a_moment_and_then_a_whole_picture() -> None:
    async def work() -> None:
        queue, _, video, _ = pair()
        sent = []
        for k in range(6):
            video._control.paused_until = time.monotonic() + 5 if 2 <= k < 4 else 0.0
            put(queue, k)
            frame = await video._next_encoded_frame(VP8)
            sent.append(None if frame is None else is_key(frame))
        assert sent == [True, False, None, None, True, False]

    run(work())


@pytest.mark.parametrize(("lost", "queueing", "times"), [(0.0, False, 1), (0.05, False, 2), (0.12, True, 1)])
def test_what_is_asked_for_again_leaves_twice_where_packets_get_lost_but_not_on_a_full_line(
    lost: float, queueing: bool, times: int
) -> None:
    async def work() -> None:
        _, _, video, _ = pair()
        video._RTCRtpSender__rtp_history[7] = RtpPacket(sequence_number=7, payload=bytes(100))  # type: ignore[attr-defined]
        video.transport.line.note_loss(time.monotonic(), lost, queueing)
        await video._retransmit(7)
        while video._copies:
            await asyncio.gather(*video._copies)
        assert len(video.transport._transport.sent) == times

    run(work())


def test_a_copy_that_finds_no_line_any_more_is_forgotten() -> None:
    async def work() -> None:
        _, _, video, _ = pair()
        video._RTCRtpSender__rtp_history[7] = RtpPacket(sequence_number=7, payload=bytes(100))  # type: ignore[attr-defined]
        video.transport.line.note_loss(time.monotonic(), 0.05, False)
        await video._retransmit(7)

        async def closed(data: bytes) -> None:
            raise ConnectionError

        video.transport._transport._send_rtp = closed
        assert await asyncio.gather(*video._copies) == [None]

    run(work())
