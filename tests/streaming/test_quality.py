"""What a viewer may ask of its picture."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import numpy as np
import pytest
from aiohttp import ClientSession
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from streaming.quality import Quality, read

from .double import DoubleEngine
from .harness import Viewer, run, serving, until


def test_a_query_is_read_and_the_rest_of_it_left_alone() -> None:
    assert read({}) == Quality()
    assert read({"height": "256", "fps": "12.5", "session": "x"}) == Quality(256, 12.5)
    assert read({"bitrate": "400000"}) == Quality(bitrate=400_000)


@pytest.mark.parametrize(
    ("words", "named"),
    [({"height": "tall"}, "height"), ({"fps": "0"}, "fps"), ({"bitrate": "7"}, "bitrate"), ({"fps": "nan"}, "fps")],
)
def test_what_makes_no_sense_is_named(words: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read(words)


def test_a_picture_becomes_smaller_and_rarer_for_the_viewer_who_asked(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(DoubleEngine(tmp_path, side=256)) as address:
            asking, other = await Viewer(address).open(), await Viewer(address).open()
            await until(lambda: asking.pictures and other.pictures and asking.heard("hello"), 20, "no pictures")
            assert asking.pictures[-1].height == 256
            asking.say("quality", height=128, fps=5)
            await until(lambda: asking.pictures[-1].height == 128, 20, "the picture stays large")
            before = len(other.pictures)
            await until(lambda: len(other.pictures) >= before + 30, 20, "the other one got nothing")
            small = lambda: [picture.pts for picture in asking.pictures if picture.height == 128]  # noqa: E731
            await until(lambda: len(small()) > 4, 20, "the one who asked got nothing more")
            assert np.diff(small()).min() >= 5 * 3600  # 5 a second of 25, by their own times
            assert other.pictures[-1].height == 256
            asking.say("quality")
            await until(lambda: asking.pictures[-1].height == 256, 20, "the picture stays small")
            asking.say("quality", height=3)
            await until(lambda: asking.heard("error"), 20)
            assert "height must lie in" in asking.heard("error")[0]["message"]
            await asking.close()
            await other.close()

    run(work())


def test_a_whep_viewer_chooses_in_its_address(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(DoubleEngine(tmp_path, side=256)) as address:
            own = await Viewer(address).open()
            pc = RTCPeerConnection()
            heights: list[int] = []

            async def watch(track: MediaStreamTrack) -> None:
                with contextlib.suppress(MediaStreamError):
                    while True:
                        heights.append((await track.recv()).height)

            tasks = []
            pc.on("track", lambda track: tasks.append(asyncio.ensure_future(watch(track))))
            pc.addTransceiver("video", direction="recvonly")
            await pc.setLocalDescription(await pc.createOffer())
            url, sdp = f"{address}v1/sessions/{own.id}/whep?height=128", {"Content-Type": "application/sdp"}
            offer = pc.localDescription.sdp
            async with ClientSession() as http, http.post(url, data=offer, headers=sdp) as response:
                assert response.status == 201
                answer = await response.text()
            await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: len(heights) > 3, 20, "no pictures")
            assert set(heights) == {128}
            await pc.close()
            await asyncio.gather(*tasks, return_exceptions=True)
            await own.close()

    run(work())
