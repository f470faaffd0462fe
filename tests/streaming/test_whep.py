"""Viewers by WHEP: one POST, late ones in sync from their first picture, and nobody suffers from another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtcpSrPacket

from streaming import patches
from streaming.app import HUB
from streaming.config import ServerConfig, StreamConfig
from streaming.hub import Hub
from streaming.live import Options
from streaming.peer import Over
from streaming.server import start
from streaming.tracks import OutFrame

from .double import DoubleEngine
from .harness import Settings, Tone, run, until

SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=128, cost_s=0.0)


@dataclass
class Watcher:
    """A WHEP client on aiortc."""

    http: ClientSession
    session: str
    kinds: tuple[str, ...] = ("audio", "video")
    speaks: bool = False
    frames: dict[str, list[Any]] = field(default_factory=lambda: {"audio": [], "video": []})

    reports: dict[str, tuple[float, int]] = field(default_factory=dict)  # by kind: (NTP seconds, RTP time)

    async def open(self, status: int = 201) -> Watcher:
        self.pc = RTCPeerConnection()
        self._tasks: list[asyncio.Task[None]] = []
        self.pc.on("track", lambda track: self._tasks.append(asyncio.ensure_future(self._watch(track))))
        for kind in self.kinds:
            if self.speaks and kind == "audio":
                self.pc.addTransceiver(Tone(), direction="sendrecv")
            else:
                self.pc.addTransceiver(kind, direction="recvonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        path, offer = f"/v1/sessions/{self.session}/whep", self.pc.localDescription.sdp
        async with self.http.post(path, data=offer, headers=SDP) as response:
            self.body, self.headers = await response.text(), response.headers
            assert response.status == status, self.body
        if status == 201:
            await self.pc.setRemoteDescription(RTCSessionDescription(self.body, "answer"))
            for receiver in self.pc.getReceivers():
                self._note_reports(receiver)
        return self

    def _note_reports(self, receiver: Any) -> None:
        handle = receiver._handle_rtcp_packet

        async def note(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                told = packet.sender_info
                self.reports[receiver.track.kind] = (told.ntp_timestamp / 2**32, told.rtp_timestamp)
            await handle(packet)

        receiver._handle_rtcp_packet = note

    async def _watch(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                self.frames[track.kind].append(await track.recv())

    async def close(self) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()

    async def vanish(self) -> None:
        for transport in {receiver.transport for receiver in self.pc.getReceivers()}:
            for protocol in transport.transport._connection._protocols:
                protocol.transport.close()


@contextlib.asynccontextmanager
async def session(
    engine: DoubleEngine, settings: Settings | None = None, hubs: list[Hub] | None = None
) -> AsyncIterator[tuple[ClientSession, str]]:
    """A server with a session that nobody watches yet; ``hubs`` gets its hub, to be looked into."""
    settings = settings or Settings()
    patches.install(settings.stream)
    runner, address = await start(settings, engine)  # type: ignore[arg-type]
    if hubs is not None:
        hubs.append(runner.app[HUB])
    try:
        async with ClientSession(address) as http, http.post("/v1/sessions", json={"type": "agent"}) as response:
            yield http, (await response.json())["id"]
    finally:
        await runner.cleanup()


def test_a_viewer_sees_and_hears_with_one_post_and_leaves_with_a_delete(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with session(engine) as (http, name):
            viewer = await Watcher(http, name).open()
            assert viewer.headers["Content-Type"] == "application/sdp" and viewer.headers["ETag"].startswith('"')
            place = viewer.headers["Location"]
            assert place.startswith(f"/v1/sessions/{name}/whep/")
            await until(lambda: len(viewer.frames["video"]) > 10 and len(viewer.frames["audio"]) > 10, 20)
            async with http.delete(place) as response:
                assert response.status == 200
            async with http.delete(place) as response:
                assert response.status == 404
            await until(lambda: viewer.pc.connectionState == "closed", 20)
            await viewer.close()

    run(work())


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_a_viewer_may_take_only_one_of_the_two(engine: DoubleEngine, kind: str) -> None:
    async def work() -> None:
        async with session(engine) as (http, name):
            viewer = await Watcher(http, name, (kind,)).open()
            await until(lambda: len(viewer.frames[kind]) > 20, 20)
            await viewer.close()

    run(work())


def test_a_viewer_is_not_heard(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with session(engine) as (http, name):
            viewer = await Watcher(http, name, speaks=True).open()
            await until(lambda: len(viewer.frames["audio"]) > 40, 20)
            loudest = max(float(np.abs(frame.to_ndarray()).max()) for frame in viewer.frames["audio"])
            assert loudest < 10 and "a=sendrecv" not in viewer.body
            await viewer.close()

    run(work())


class Claps:
    """A Source that is loud for the first fifth of every second of media time: mouths open there."""

    def take(self, count: int, position: int) -> np.ndarray:
        place = position + np.arange(count)
        return (0.5 * np.sin(2 * np.pi * 1000 * place / 48_000) * (place % 48_000 < 9_600)).astype(np.float32)

    def shown(self, frame: OutFrame) -> None: ...
    def interrupted(self) -> None: ...


def onsets(times: np.ndarray, levels: np.ndarray, step: float) -> np.ndarray:
    """Where ``levels`` (n,) rise beyond the middle of their range, from one to the next, ``step`` seconds later: where
    some were left out between the two, nobody knows when."""
    over = levels > (levels.min() + levels.max()) / 2
    return times[1:][over[1:] & ~over[:-1] & (np.diff(times) < 1.1 * step)]


def skews(viewer: Watcher) -> np.ndarray:
    """Seconds by which a viewer's voice is later than its lips, by what he saw and heard, each put on the server's
    clock by its sender reports: of each clap."""
    moments = {}
    for receiver in viewer.pc.getReceivers():
        kind, rate = receiver.track.kind, 48_000 if receiver.track.kind == "audio" else 90_000
        ntp, rtp = viewer.reports[kind]
        first = receiver._RTCRtpReceiver__timestamp_mapper._origin  # type: ignore[attr-defined]
        since = (first - rtp + 2**31) % 2**32 - 2**31
        moments[kind] = [ntp + (since + frame.pts) / rate for frame in viewer.frames[kind]]
    open_mouths = []
    for frame in viewer.frames["video"]:
        luma = frame.to_ndarray(format="gray")
        open_mouths.append(float(((luma > 50) & (luma < 75)).sum()))
    sound = [np.abs(frame.to_ndarray().reshape(-1, 2)[:, 0]).astype(np.float64) for frame in viewer.frames["audio"]]
    parts = [start + np.arange(len(piece)) / 48_000 for start, piece in zip(moments["audio"], sound, strict=False)]
    times = np.concatenate(parts)
    beeps = onsets(times[::48], np.concatenate(sound)[: len(times)].reshape(-1, 48).max(1), 0.001)  # by milliseconds
    lips = onsets(np.array(moments["video"])[: len(open_mouths)], np.array(open_mouths), 0.04)
    apart = np.array([beep - lips[np.abs(lips - beep).argmin()] for beep in beeps if len(lips)])
    return apart[np.abs(apart) < 0.5]


def test_a_late_viewer_begins_at_once_with_a_whole_picture_and_in_sync(engine: DoubleEngine) -> None:
    async def work() -> None:
        hubs: list[Hub] = []
        async with session(engine, hubs=hubs) as (http, name):
            hubs[0].lives[name].speak(Claps())
            early = await Watcher(http, name).open()
            await until(lambda: len(early.frames["video"]) > 30, 20)
            late = await Watcher(http, name).open()
            await until(lambda: all(len(viewer.frames["video"]) > 90 for viewer in (early, late)), 30)
            await until(lambda: all(len(viewer.reports) == 2 for viewer in (early, late)), 20)
            first, later = (late.frames["video"][k].to_ndarray(format="gray").astype(float) for k in (0, 5))
            assert np.abs(first - later).mean() < 10  # whole, not made of what he has not seen
            async with asyncio.timeout(40):
                while min(len(claps := skews(early)), len(others := skews(late))) < 3:
                    await asyncio.sleep(1)
            skew = [float(np.median(claps)), float(np.median(others))]
            assert np.abs(skew).max() < 0.02 and abs(skew[0] - skew[1]) < 0.01, skew
            await asyncio.gather(early.close(), late.close())

    run(work(), 120)


def test_a_full_house_says_so_and_a_viewer_who_vanished_leaves_his_place(engine: DoubleEngine) -> None:
    settings = Settings(server=ServerConfig(port=0, max_viewers=1, sessions_per_minute=10_000))

    async def work() -> None:
        async with session(engine, settings) as (http, name):
            first = await Watcher(http, name).open()
            await until(lambda: first.frames["video"], 20)
            second = await Watcher(http, name).open(status=503)
            assert "places" in second.body and second.headers["Retry-After"]
            await first.vanish()
            for _ in range(300):  # ICE consent: some five seconds
                async with http.post(
                    f"/v1/sessions/{name}/whep", data=second.pc.localDescription.sdp, headers=SDP
                ) as got:
                    if got.status == 201:
                        break
                await asyncio.sleep(0.1)
            assert got.status == 201
            await asyncio.gather(first.close(), second.close())

    run(work())


def test_what_cannot_be_is_refused_as_the_draft_says(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with session(engine) as (http, name):
            endpoint = f"/v1/sessions/{name}/whep"
            viewer = await Watcher(http, name).open()
            place, tag = viewer.headers["Location"], viewer.headers["ETag"]
            trickle = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag}
            late = "a=mid:0\r\na=candidate:1 1 UDP 2122252543 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"
            line = late.splitlines(keepends=True)[1]
            cases = [
                ("GET", endpoint, None, {}, 405),
                ("PUT", endpoint, "x", {}, 405),
                ("POST", endpoint, "x", {"Content-Type": "text/plain"}, 415),
                ("POST", endpoint, "nonsense", SDP, 400),
                ("POST", endpoint + "?alpha=2", "nonsense", SDP, 400),
                ("POST", endpoint + "?height=tall", "nonsense", SDP, 400),
                ("POST", "/v1/sessions/none/whep", "nonsense", SDP, 404),
                ("PATCH", place, late, trickle, 204),
                ("PATCH", place, late, {**trickle, "If-Match": '"another"'}, 412),
                ("PATCH", place, late, {**trickle, "If-Match": "*"}, 422),
                ("PATCH", place, late, {"Content-Type": trickle["Content-Type"]}, 204),
                ("PATCH", place, late, {**trickle, "Content-Type": "text/plain"}, 415),
                ("PATCH", place, "a=candidate:junk", trickle, 400),
                ("PATCH", place, late.replace("mid:0", "mid:7"), trickle, 400),
                (
                    "PATCH",
                    place,
                    late.replace("typ host\r\n", "typ host\r\n" + 62 * line),
                    trickle,
                    400,
                ),  # 65 with the first
                ("DELETE", f"{endpoint}/{name}", None, {}, 404),  # the session itself is nobody's viewer
            ]
            for method, path, body, headers, status in cases:
                async with http.request(method, path, data=body, headers=headers) as response:
                    assert response.status == status, (method, path, body, await response.text())
            await until(lambda: len(viewer.frames["video"]) > 5, 20)  # and nothing of it hurt him
            await viewer.close()

    run(work())


def test_pages_of_allowed_origins_may_ask_before_they_ask(engine: DoubleEngine) -> None:
    server = replace(Settings().server, allowed_origins=("https://shop.example",))

    async def work() -> None:
        async with session(engine, Settings(server=server)) as (http, name):
            asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
            async with http.options(f"/v1/sessions/{name}/whep", headers=asked) as response:
                assert response.status == 204 and response.headers["Accept-Post"] == "application/sdp"
                assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
                assert "Location" in response.headers["Access-Control-Expose-Headers"]

    run(work())


def test_a_transparent_picture_may_be_asked_for_in_any_size(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with session(engine) as (http, name):
            pc = RTCPeerConnection()
            pc.addTransceiver("video", direction="recvonly")
            await pc.setLocalDescription(await pc.createOffer())
            path = f"/v1/sessions/{name}/whep?alpha=1&height=2160"
            async with http.post(path, data=pc.localDescription.sdp, headers=SDP) as response:
                assert response.status == 201, await response.text()
            await pc.close()

    run(work())


def test_a_session_that_ends_while_a_viewer_comes_leaves_no_socket(
    engine: DoubleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        patches.install(StreamConfig())
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        pc = RTCPeerConnection()
        pc.addTransceiver("video", direction="recvonly")
        await pc.setLocalDescription(await pc.createOffer())
        loop, made = asyncio.get_running_loop(), []
        create = loop.create_datagram_endpoint

        async def creates(*arguments: Any, **options: Any) -> Any:
            transport, protocol = await create(*arguments, **options)
            made.append(transport)
            return transport, protocol

        monkeypatch.setattr(loop, "create_datagram_endpoint", creates)
        refused = 0
        for turns in range(16):  # of the event loop, until the end comes
            live = hub.open(Options("ada", "upper", 0))
            answering = asyncio.ensure_future(hub.connect(live, steers=False).answer(pc.localDescription.sdp))
            for _ in range(turns):
                await asyncio.sleep(0)
            await hub.end(live.id, "enough")
            with contextlib.suppress(Over):
                refused += 1
                await answering
                refused -= 1
        assert refused and made and all(transport.is_closing() for transport in made)
        assert not hub.peers and not hub.lives
        await pc.close()

    run(work())
