"""Sound and picture leave in step: the voice never before its picture, evenly, and nothing piles up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from engine.clock import FRAME
from streaming.tracks import VIDEO_QUEUE, OutFrame, OutQueue, VideoTrack, VoiceTrack


def frame(k: int) -> OutFrame:
    return OutFrame(k * FRAME, np.zeros((24, 16), np.uint8), {"k": k})


def voice_of(k: int) -> np.ndarray:
    return np.full(1920, (k % 50) / 100, np.float32)


def put(queue: OutQueue, k: int) -> None:
    queue.put_voice(voice_of(k))
    queue.put(frame(k))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def test_no_voice_leaves_before_the_first_picture() -> None:
    async def work() -> None:
        queue = OutQueue()
        video, voice = VideoTrack(queue, lambda _: None), VoiceTrack(queue)
        waiting = asyncio.create_task(voice.recv())
        put(queue, 0)
        picture = await video.recv()
        await asyncio.sleep(0.03)
        assert not waiting.done()
        video.sent(picture)
        packet = await waiting
        assert packet.pts == 0
        second = await voice.recv()
        assert second.pts == FRAME // 2
        assert (len(packet.samples), len(second.samples)) == (960, 960)

    run(work())


def test_after_that_a_slow_picture_does_not_hold_its_voice() -> None:
    async def work() -> None:
        queue = OutQueue()
        video, voice = VideoTrack(queue, lambda _: None), VoiceTrack(queue)
        put(queue, 0)
        video.sent(await video.recv())
        await voice.recv()
        await voice.recv()
        queue.put_voice(voice_of(1)[:960])  # and not for the rest of its frame either
        assert (await asyncio.wait_for(voice.recv(), 20)).pts == FRAME

    run(work())


def test_every_sample_of_the_voice_leaves_once_and_in_order() -> None:
    async def work() -> None:
        queue = OutQueue()
        video, voice = VideoTrack(queue, lambda _: None), VoiceTrack(queue)
        got = []
        for k in range(8):
            put(queue, k)
            video.sent(await video.recv())
            got += [await voice.recv(), await voice.recv()]
        assert [packet.pts for packet in got] == [320 * k for k in range(16)]
        expected = np.concatenate([(voice_of(k) * 32767).astype(np.int16) for k in range(8)])
        np.testing.assert_array_equal(np.concatenate([packet.samples for packet in got]), expected)

    run(work())


def test_nobody_begins_in_the_past() -> None:
    async def work() -> None:
        queue = OutQueue()
        video, voice = VideoTrack(queue, lambda _: None), VoiceTrack(queue)
        for k in range(20):  # painted while the connection was being made
            put(queue, k)
        picture = await video.recv()
        assert picture.pts == 19 * FRAME
        video.sent(picture)
        assert (await voice.recv()).pts == 19 * FRAME

    run(work())


def test_the_voice_begins_with_what_was_just_said_not_with_what_waited_for_the_picture() -> None:
    queue = OutQueue()
    for k in range(10):
        queue.put_voice(voice_of(k))
    queue.mark_sent(0)
    packets = []
    while (packet := queue.next_voice()) is not None:
        packets.append(packet)
    assert [packet.pts for packet in packets] == [9 * FRAME, 9 * FRAME + FRAME // 2]
    assert all(np.allclose(packet.samples, 32767 * 0.09, atol=1) for packet in packets)


def test_the_voice_stays_behind_by_the_engines_lookahead() -> None:
    queue = OutQueue(delay=1920)
    put(queue, 0)
    queue.mark_sent(0)
    assert queue.next_voice() is None
    queue.put_voice(voice_of(1))
    assert [packet.pts for packet in (queue.next_voice(), queue.next_voice()) if packet] == [0, FRAME // 2]
    assert queue.next_voice() is None


def test_a_stuck_line_skips_pictures_and_grows_nothing() -> None:
    async def work() -> None:
        queue = OutQueue()
        video, voice = VideoTrack(queue, lambda _: None), VoiceTrack(queue)
        put(queue, 0)
        video.sent(await video.recv())
        await voice.recv()
        for k in range(1, 1000):
            put(queue, k)
        assert len(queue.pictures) == VIDEO_QUEUE
        assert queue.voice.available <= 48_000
        assert queue.skipped == 999 - VIDEO_QUEUE
        assert (await video.recv()).pts == (1000 - VIDEO_QUEUE) * FRAME
        packet = await voice.recv()
        assert packet.pts == 975 * FRAME  # the last second of it
        np.testing.assert_array_equal(packet.samples, (voice_of(975)[:960] * 32767).astype(np.int16))

    run(work())


def test_a_long_silence_made_up_at_once_fits() -> None:
    queue = OutQueue()
    queue.put_voice(np.zeros(480_000, np.float32))
    queue.mark_sent(0)
    packet = queue.next_voice()
    assert packet is not None
    assert packet.pts == 10 * 16_000 - FRAME


def test_stopping_wakes_whoever_waits() -> None:
    async def work() -> None:
        queue = OutQueue()
        for track in (VideoTrack(queue, lambda _: None), VoiceTrack(queue)):
            waiting = asyncio.create_task(track.recv())
            await asyncio.sleep(0.01)
            track.stop()
            with pytest.raises(MediaStreamError):
                await waiting
            with pytest.raises(MediaStreamError):
                await track.recv()

    run(work())


def test_one_clock_for_sound_and_picture() -> None:
    queue = OutQueue()
    assert queue.ntp_time(0) is None
    queue.mark_sent(6400)
    now = time.time()
    sent = queue.ntp_time(6400)
    assert sent is not None
    assert abs(sent - now) < 1
    queue.mark_sent(7040)
    later = queue.ntp_time(7040)
    assert later is not None
    assert later - sent == pytest.approx(0.04, abs=1e-6)
