"""The examples as they stand in examples/, with rooms and viewers that need no account."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from ..double import DoubleEngine
from ..harness import run, until
from .speech import frames

SAMPLE = Path(__file__).parents[3] / "streaming" / "web" / "sample.wav"
SECRET = "a secret of some length"


async def sound(seconds: float) -> Any:
    for frame in frames(seconds):
        yield frame


def test_livekit_agent_in_its_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("livekit.agents")
    from livekit.agents import AgentSession

    from examples import livekit_agent
    from streaming.integrations.livekit import AvatarSession

    from .room import FakeRoom, Hall

    monkeypatch.delenv("VISAVIS_WORKER", raising=False)

    class Worn(DoubleEngine):
        def open(self, avatar: str = "leo", **options: Any) -> Any:
            assert avatar == "leo"
            return super().open("ada", **options)

    async def work() -> None:
        room, session = FakeRoom(Hall()), AgentSession()
        avatar = await livekit_agent.talk(session, room, Worn(tmp_path, side=64, cost_s=0.0))  # type: ignore[arg-type]
        assert isinstance(avatar, AvatarSession)
        said = session.say("hello", audio=sound(0.2))
        await asyncio.wait_for(said.wait_for_playout(), 10)
        assert not said.interrupted and set(room.local_participant.tracks) == {"avatar_audio", "avatar_video"}
        await avatar.aclose()
        await session.aclose()

    run(work())
    process = SimpleNamespace(userdata={})
    monkeypatch.setattr(livekit_agent, "shared_engine", lambda: "engine")
    livekit_agent.prewarm(process)  # type: ignore[arg-type]
    assert process.userdata == {"engine": "engine"}


def test_livekit_agent_with_a_worker_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("livekit.agents")
    from livekit import api
    from livekit.agents import AgentSession

    from examples import livekit_agent, livekit_avatar_worker
    from streaming.integrations.livekit_worker import Worker

    from .room import FakeRoom, Hall

    class Named(DoubleEngine):
        def avatars(self) -> Any:
            return [*super().avatars(), SimpleNamespace(id="leo")]

    async def work() -> None:
        hall, made = Hall(), []

        def make_room() -> FakeRoom:
            made.append(FakeRoom(hall, "visavis-avatar", connected=False))
            return made[-1]

        engine = Named(tmp_path, side=64, cost_s=0.0)
        worker = Worker(engine, SECRET, max_rooms=1, make_room=make_room)  # type: ignore[arg-type]
        server = TestServer(livekit_avatar_worker.make_app(worker))
        await server.start_server()
        for name, value in {
            "VISAVIS_WORKER": str(server.make_url("")),
            "VISAVIS_SECRET": SECRET,
            "LIVEKIT_URL": "ws://127.0.0.1:1",
            "LIVEKIT_API_KEY": "key",
            "LIVEKIT_API_SECRET": "secret" * 8,
        }.items():
            monkeypatch.setenv(name, value)
        room, session = FakeRoom(hall), AgentSession()
        avatar = await livekit_agent.talk(session, room)  # type: ignore[arg-type]
        claims = api.TokenVerifier("key", "secret" * 8).verify(made[0].token)
        assert claims.attributes == {"lk.publish_on_behalf": "agent"} and claims.kind == "agent"
        assert claims.video is not None and claims.video.room == "hall"
        await avatar.wait_for_join(timeout=10)
        said = session.say("hello", audio=sound(0.2))
        await asyncio.wait_for(said.wait_for_playout(), 10)
        assert [method for caller, method, _ in hall.calls if caller != "agent"] == [
            "lk.playback_started",
            "lk.playback_finished",
        ]
        with pytest.raises(RuntimeError, match="all 1 rooms of this worker are taken"):
            await livekit_agent.talk(AgentSession(), room)  # type: ignore[arg-type]
        await avatar.aclose()
        await session.aclose()
        await room.disconnect()
        await until(lambda: not worker._rooms, what="the worker stays in an empty room")
        assert not made[0].isconnected()
        await server.close()

    run(work())


def test_a_worker_says_what_is_wrong_and_keeps_nothing(tmp_path: Path) -> None:
    pytest.importorskip("livekit.agents")
    from examples import livekit_avatar_worker
    from streaming.integrations.livekit_worker import Worker

    from .room import FakeRoom, Hall

    async def work() -> None:
        worker = Worker(
            DoubleEngine(tmp_path, side=64, cost_s=0.0),  # type: ignore[arg-type]
            SECRET,
            make_room=lambda: FakeRoom(Hall(), connected=False),  # type: ignore[arg-type,return-value]
        )
        server = TestServer(livekit_avatar_worker.make_app(worker))
        await server.start_server()
        good = {"url": "ws://host", "token": "t", "agent": "agent", "avatar": ""}
        cases: list[tuple[Any, str, int, str]] = [
            (good, "wrong", 401, "secret"),
            (b"{", SECRET, 400, "JSON"),
            ({**good, "more": 1}, SECRET, 400, "url, token, agent, avatar"),
            ({**good, "token": ""}, SECRET, 400, "not be empty"),
            ({**good, "url": "file:///etc/passwd"}, SECRET, 400, "wss://"),
            ({**good, "avatar": "../ada"}, SECRET, 400, "no avatar"),
            ({**good, "url": "ws://refused"}, SECRET, 502, "the server refused"),
        ]
        async with ClientSession() as http:
            for body, secret, status, said in cases:
                headers = {"Authorization": f"Bearer {secret}"}
                form = {"data": body} if isinstance(body, bytes) else {"json": body}
                async with http.post(server.make_url("/launch"), headers=headers, **form) as response:
                    assert (response.status, said in await response.text()) == (status, True), await response.text()
            async with http.get(server.make_url("/health")) as response:
                assert await response.json() == {"rooms": 0, "most": 4}
        await server.close()

    run(work())
    with pytest.raises(ValueError, match="16 characters"):
        Worker(DoubleEngine(tmp_path), "short")  # type: ignore[arg-type]


class Mic(MediaStreamTrack):
    """Somebody who says what is in a file, then nothing."""

    kind = "audio"

    def __init__(self, samples: np.ndarray) -> None:
        super().__init__()
        self._samples, self._k, self._begun = samples, 0, time.monotonic()

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(max(self._begun + 0.02 * self._k - time.monotonic(), 0))
        packet = self._samples[960 * self._k : 960 * (self._k + 1)]
        frame = av.AudioFrame.from_ndarray(np.pad(packet, (0, 960 - len(packet)))[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, self._k = 48_000, 960 * self._k, self._k + 1
        return frame


def sample(seconds: float) -> np.ndarray:
    with av.open(str(SAMPLE)) as file:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        pieces = [out.to_ndarray().ravel() for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(pieces)[: int(seconds * 48_000)]


def test_pipecat_bot_repeats_what_a_viewer_says_over_real_webrtc(tmp_path: Path) -> None:
    pytest.importorskip("pipecat")
    from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
    from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
    from pipecat.workers.runner import WorkerRunner

    from examples import pipecat_bot

    async def work() -> None:
        sizes, loud = set(), []

        async def watch(track: MediaStreamTrack) -> None:
            try:
                while True:
                    frame: Any = await track.recv()
                    if track.kind == "video":
                        sizes.add((frame.width, frame.height))
                    else:
                        loud.append(int(np.abs(frame.to_ndarray()).max()) > 1500)
            except MediaStreamError:
                pass

        viewer = RTCPeerConnection()
        viewer.addTransceiver(Mic(sample(1.2)), direction="sendrecv")
        viewer.addTransceiver("video", direction="recvonly")
        viewer.createDataChannel("control")
        viewer.on("track", lambda track: tasks.append(asyncio.ensure_future(watch(track))))
        tasks: list[asyncio.Future[None]] = []
        await viewer.setLocalDescription(await viewer.createOffer())
        connection = SmallWebRTCConnection()
        await connection.initialize(viewer.localDescription.sdp, "offer")
        transport = SmallWebRTCTransport(connection, pipecat_bot.transport_params())
        worker = pipecat_bot.make_worker(transport, DoubleEngine(tmp_path, side=512, cost_s=0.0))
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.ensure_future(runner.run())
        answer = connection.get_answer()
        await viewer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await until(lambda: sum(loud) > 10 and sizes == {(512, 512)}, timeout=25, what=f"{sum(loud)} loud, {sizes}")
        await worker.cancel()
        await viewer.close()
        await asyncio.wait_for(running, 10)
        await asyncio.gather(*tasks)

    run(work())
