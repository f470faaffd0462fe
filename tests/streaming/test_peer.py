"""A whole session without a browser: media both ways, the control protocol, and an end that leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession

from streaming import signalling
from streaming.config import ServerConfig, StreamConfig
from streaming.control import RATE
from streaming.live import Live

from .double import DoubleEngine
from .harness import PATIENT, Settings, Viewer, run, serving, sessions, until, until_sessions


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.001)


def test_pictures_and_the_viewers_own_voice_come_back(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            await until(lambda: len(viewer.sounds) > 60 and len(viewer.pictures) > 30)
            times = np.array([picture.pts for picture in viewer.pictures[5:30]])
            assert (np.diff(times) % 3600 == 0).all()  # 40 ms of a 90 kHz clock, or a skipped frame

            def pitch() -> float:
                spectrum = np.abs(np.fft.rfft(np.concatenate(viewer.sounds[-25:]).astype(float)))
                return float(np.argmax(spectrum)) * 48_000 / (2 * (len(spectrum) - 1))

            await until(lambda: abs(pitch() - 440) < 5, what="it is not his voice")  # half a second of it, unbroken
            await viewer.close()

    run(work())


def test_pictures_come_without_a_word_spoken(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address, speaks=False).open()
            await until(lambda: len(viewer.pictures) > 10)
            await viewer.close()

    run(work())


def test_h264_is_sent_when_configured(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine, Settings(stream=StreamConfig(codec="h264", heartbeat_s=60))) as address:
            viewer = await Viewer(address).open()
            answer = viewer.pc.remoteDescription.sdp
            assert answer.index("H264/90000") < answer.index("VP8/90000")
            await until(lambda: len(viewer.pictures) > 10)
            await viewer.close()

    run(work())


def test_the_control_protocol_both_ways(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address, options={"avatar": "ben", "framing": "head", "seed": 4}).open()
            await until(lambda: viewer.heard("hello"), what="no hello")
            hello = viewer.heard("hello")[-1]
            assert (hello["avatar"], hello["framing"], hello["session"]) == ("ben", "head", viewer.id)
            assert hello["viewpoint"]["distance"] == 1.05
            await until(lambda: viewer.pose.readyState == "open", what="the pose channel did not open")
            viewer.say("ping", viewer.pose, t=123.5)
            await until(lambda: viewer.heard("pong"))
            assert viewer.heard("pong")[0]["t"] == 123.5
            viewer.say("viewpoint", viewer.pose, yaw=0.4, pitch=0, distance=1, seq=77)
            await until(lambda: any(f["seq"] == 77 for m in viewer.heard("stamps") for f in m["frames"]))
            assert engine.opened[-1].controls.viewpoint.yaw == 0.4
            stamp = viewer.heard("stamps")[-1]["frames"][-1]
            assert stamp["arrived"] <= stamp["start"] <= stamp["done"] <= stamp["sent"]
            assert {"rtp", "encode", "bytes", "stages", "pts"} <= set(stamp)
            viewer.say("avatar", id="ada")
            await until(lambda: viewer.heard("hello")[-1]["avatar"] == "ada")
            viewer.say("framing", name="upper")
            await until(lambda: viewer.heard("hello")[-1]["framing"] == "upper")
            viewer.say("bye")
            await until_sessions(address, 0, 20)
            await viewer.close()

    run(work())


def test_mute_silences_what_the_engine_hears(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            await until(lambda: viewer.heard("hello") and viewer.sounds and np.abs(viewer.sounds[-1]).max() > 1000)
            viewer.say("mute", on=True)
            await until(lambda: np.abs(np.concatenate(viewer.sounds[-10:])).max() < 50, what="still heard")
            viewer.say("mute", on=False)
            await until(lambda: np.abs(viewer.sounds[-1]).max() > 1000, what="silent for good")
            await viewer.close()

    run(work())


def test_how_to_behave_reaches_the_session_and_no_other(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            await until(lambda: viewer.heard("hello") and viewer.pose.readyState == "open")
            mine = engine.opened[-1]
            other = await Viewer(address).open()
            await until(lambda: other.heard("hello"))
            theirs = engine.opened[-1]
            before = theirs.controls
            viewer.say("emotion", name="happy", intensity=0.4)
            viewer.say("gaze", at=[0.3, 0.1])
            viewer.say("strength", head=0.5)
            viewer.say("actions", weights={"browInnerUp": 0.9})
            viewer.say("listening", on=True)
            viewer.say("text", text="the weather is lovely")
            await until(lambda: mine.controls.manner.meaning is not None and mine.controls.manner.listening)
            manner = mine.controls.manner
            assert (manner.emotion, manner.intensity, manner.gaze) == ("happy", 0.4, (0.3, 0.1))
            assert (manner.head, manner.gesture, manner.actions) == (0.5, 1.0, (("browInnerUp", 0.9),))
            viewer.say("text", text="")
            viewer.say("viewpoint", viewer.pose, yaw=0.2, pitch=0, distance=1, seq=3)
            await until(lambda: mine.controls.manner.meaning is None and mine.controls.seq == 3)
            assert mine.controls.manner.emotion == "happy"  # a viewpoint leaves the rest as it is
            viewer.say("framing", name="head")
            await until(lambda: viewer.heard("hello")[-1]["framing"] == "head")
            assert mine.controls.manner.emotion == "happy"
            viewer.say("text", text="no words")
            viewer.say("emotion", name="bored")
            await until(lambda: len(viewer.heard("error")) == 2)
            assert {(m["about"], m["code"]) for m in viewer.heard("error")} == {
                ("text", "refused"),
                ("emotion", "bad_field"),
            }
            assert theirs.controls == before
            await viewer.close()
            await other.close()

    run(work())


def test_an_interruption_cuts_the_voice_until_new_speech(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            await until(lambda: viewer.heard("hello") and viewer.sounds and np.abs(viewer.sounds[-1]).max() > 1000)
            await until(lambda: viewer.heard("stamps"), what="no stamps")
            viewer.say("interrupt")
            await until(lambda: np.abs(np.concatenate(viewer.sounds[-10:])).max() < 50, what="still heard")
            stamps = lambda: [f for m in viewer.heard("stamps") for f in m["frames"]]  # noqa: E731
            await until(lambda: stamps()[-1]["interrupted"], what="no frame says so")  # stamps come five at a time
            assert not stamps()[0]["interrupted"]
            assert np.abs(engine.opened[-1].inbox._data).max() > 0.1  # the engine hears on, to find the next speech
            viewer.say("mute", on=True)  # a pause ...
            await until(lambda: engine.opened[-1].paused)
            viewer.say("mute", on=False)  # ... and new speech
            await until(lambda: np.abs(viewer.sounds[-1]).max() > 1000, what="silent for good")
            await viewer.close()

    run(work())


def test_junk_on_the_control_channel_is_answered_and_harmless(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer, other = await Viewer(address).open(), await Viewer(address).open()
            await until(lambda: viewer.heard("hello") and len(other.pictures) > 5)
            for raw in ("x", "[]", b"\x00\xff" * 50, '{"v":1,"type":"viewpoint","yaw":NaN}', "y" * 10_000, "{" * 4000):
                viewer.control.send(raw)
            for known, name in enumerate(("../../secret", "nobody"), start=7):  # of two at once only the last is loaded
                viewer.say("avatar", id=name)
                await until(
                    lambda known=known: len(viewer.heard("error")) == known, what="not every message was answered"
                )
            assert all(error["message"] for error in viewer.heard("error"))
            seen, others = len(viewer.pictures), len(other.pictures)
            await until(lambda: len(viewer.pictures) > seen + 5 and len(other.pictures) > others + 5)
            assert viewer.heard("hello")[-1]["avatar"] == "ada"
            await asyncio.gather(viewer.close(), other.close())

    run(work())


def test_a_flood_of_messages_is_cut_off_not_queued(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            await until(lambda: viewer.heard("hello"))
            begun = time.monotonic()
            for k in range(2000):
                viewer.say("ping", t=k)
            seen = len(viewer.pictures)
            await until(lambda: len(viewer.pictures) > seen + 10, what="the flood stopped the pictures")
            assert len(viewer.heard("pong")) <= RATE * (1 + time.monotonic() - begun)
            await viewer.close()

    run(work())


def test_an_engine_that_fails_ends_only_its_own_session(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            good = await Viewer(address).open()
            await until(lambda: len(good.pictures) > 5)
            bad = await Viewer(address).open()
            await until(lambda: bad.heard("hello"))
            engine.opened[-1].fail = True
            await until_sessions(address, 1, 20)
            await until(lambda: bad.heard("error"), what="nobody was told")
            assert "out of paint" in bad.heard("error")[0]["message"]
            seen = len(good.pictures)
            await until(lambda: len(good.pictures) > seen + 5)
            await asyncio.gather(good.close(), bad.close())

    run(work())


def test_an_engine_that_cannot_open_a_session_is_told_from_a_bad_offer(
    engine: DoubleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[Exception] = []
    note, answer = Live._note_failure, signalling.answer

    def noted(live: Live, problem: Exception) -> None:
        note(live, problem)
        failed.append(problem)

    async def slow_answer(*arguments: Any, **options: Any) -> str:
        await until(lambda: failed)  # the engine has failed before the answer is ready
        return await answer(*arguments, **options)

    monkeypatch.setattr(Live, "_note_failure", noted)
    monkeypatch.setattr(signalling, "answer", slow_answer)
    engine.fail_open = True

    async def work() -> None:
        async with serving(engine) as address:
            with pytest.raises(AssertionError, match=r"engine.*never opens"):
                await Viewer(address).open()
            assert await sessions(address) == 0

    run(work())


async def ends(address: str) -> set[str]:
    """Why sessions have ended so far."""
    async with ClientSession() as http, http.get(f"{address}metrics") as response:
        return set(re.findall(r'visavis_sessions_closed_total\{reason="(\w+)"\}', await response.text()))


def test_a_closed_viewer_is_gone_at_its_goodbye_and_a_vanished_one_before_long(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine, Settings(stream=StreamConfig(heartbeat_s=4.0))) as address:
            polite, killed = await Viewer(address).open(), await Viewer(address).open()
            await until(lambda: polite.heard("hello") and killed.heard("hello"))
            await polite.close()
            await until_sessions(address, 1, 20.0)
            assert await ends(address) == {"connection_closed"}  # nobody waited for its heartbeat
            await killed.vanish()
            await until_sessions(address, 0, 30.0)
            await killed.close()

    run(work())


def test_a_page_that_only_falls_silent_is_let_go(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine, Settings(stream=StreamConfig(heartbeat_s=2.0))) as address:
            viewer = await Viewer(address).open()
            await until(lambda: viewer.heard("hello"))
            await until_sessions(address, 0, 20.0)
            await until(lambda: viewer.heard("bye"), what="it was not told")
            assert viewer.heard("bye")[-1]["reason"] == "no heartbeat"
            await viewer.close()

    run(work())


def resident_mb() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_sixty_sessions_come_and_go_and_leave_nothing(engine: DoubleEngine) -> None:
    async def cycle(address: str, k: int) -> None:
        viewer = await Viewer(address).open()
        await until(lambda: len(viewer.pictures) > 2 and viewer.heard("hello"), what=f"cycle {k} got no picture")
        await viewer.close()
        await until_sessions(address, 0, 20.0)

    def census() -> tuple[int, int, int]:
        gc.collect()
        threads = [t for t in threading.enumerate() if not t.name.startswith(("asyncio", "encode", "open"))]
        return len(asyncio.all_tasks()), len(threads), len(os.listdir("/proc/self/fd"))

    async def work() -> None:
        server = ServerConfig(port=0, sessions_per_minute=10_000, max_sessions=1)
        async with serving(engine, Settings(server=server, stream=PATIENT)) as address:
            for k in range(10):  # pools, caches and allocators fill up
                await cycle(address, k)
            before, memory = census(), [resident_mb()]
            for k in range(60):
                await cycle(address, k)
                if k % 20 == 19:
                    memory.append(resident_mb())
            await until(lambda: census()[0] <= before[0] + 1, what="tasks are left over")  # the last are let end
            await until(lambda: census()[1] <= before[1], what="threads are left over")
            await until(lambda: census()[2] <= before[2] + 2, what="files or sockets are left over")
            grown = np.diff(memory)  # what is kept grows every time; a thread's arena, or a pool, once
            assert grown.min() < 8, f"memory grew by {grown.round()} MB, every 20 sessions"

    run(work(), 280)


def test_the_server_stops_with_sessions_open(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            await until(lambda: viewer.heard("hello"))
            assert await sessions(address) == 1
        assert not [t for t in threading.enumerate() if t.name.startswith("session-") and t.is_alive()]
        await viewer.close()

    run(work())
