"""What /metrics says of a server that works: frames, lines, queues, ends and refusals, and who may read it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from streaming.config import PortraitConfig, ServerConfig, StreamConfig
from streaming.hub import Hub
from streaming.live import Options
from streaming.metrics import Metrics
from streaming.portraits import Job, Portraits
from streaming.tracks import OutFrame, OutQueue

from .double import DoubleEngine
from .harness import Settings, Viewer, run, serving, until, until_sessions

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path)


def samples_of(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def scrape(address: str, token: str = "") -> Samples:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with ClientSession() as http, http.get(f"{address}metrics", headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/plain"
        return samples_of(await response.text())


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"visavis_{name}", tuple(sorted(labels.items()))), 0.0)


def test_a_session_with_a_viewer_shows_in_every_figure(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            await until(lambda: len(viewer.pictures) > 30 and len(viewer.sounds) > 30 and viewer.heard("hello"))
            samples: Samples = {}

            async def reported() -> bool:
                samples.update(await scrape(address))
                return value(samples, "round_trip_seconds_count", kind="video") > 0

            for _ in range(200):
                if await reported():
                    break
                await asyncio.sleep(0.1)
            assert value(samples, "frames_total") > 30
            assert value(samples, "frames_sent_total") > 20 and value(samples, "key_frames_total") >= 1
            assert value(samples, "encoded_bytes_total") > 1000
            assert value(samples, "av_skew_seconds_count") > 20
            # the double looks nothing ahead: voice is sent as it comes, at most a picture's making ahead of the picture
            assert value(samples, "av_skew_seconds_bucket", le="-0.16") == 0
            assert value(samples, "sessions", state="live") == 1 == value(samples, "sessions_opened_total")
            assert value(samples, "connections", role="steers") == 1
            assert value(samples, "outlets", type="Peer") == 1
            assert value(samples, "sessions_by_voice", voice="microphone") == 1
            assert value(samples, "session_open_seconds_count") == 1
            assert value(samples, "round_trip_seconds_count", kind="video") > 0
            assert value(samples, "remote_loss_ratio_count", kind="video") > 0
            assert value(samples, "sent_packets_total", kind="audio") > 30
            assert value(samples, "received_packets_total", kind="audio") > 30
            assert value(samples, "video_bytes_per_second", rate="sent", of="mean") > 0
            assert value(samples, "event_loop_lag_seconds_count") > 5
            assert samples["process_open_fds", ()] > 5 and value(samples, "threads") > 1
            viewer.say("bye")
            await until_sessions(address, 0, 20)
            samples = await scrape(address)
            frames = value(samples, "frames_total")  # not while they are painted: figures are told one after another
            assert frames > 30
            assert value(samples, "stage_seconds_count", stage="motion") == frames
            assert value(samples, "stage_seconds_count", stage="raster") == frames
            assert value(samples, "frame_seconds_count") == value(samples, "voice_to_frame_seconds_count") == frames
            assert value(samples, "sessions_closed_total", reason="left") == 1
            assert value(samples, "sessions", state="live") == 0 and value(samples, "session_seconds_count") == 1
            await viewer.close()

    run(work())


def test_no_label_tells_who_it_was(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            await until(lambda: len(viewer.pictures) > 5)
            async with ClientSession() as http:
                async with http.get(f"{address}v1/sessions/{viewer.id}/whatever?token=secret") as response:
                    await response.read()
                async with http.get(f"{address}metrics") as response:
                    text = await response.text()
            for personal in (viewer.id, "secret", "whatever", "127.0.0.1"):
                assert personal not in text
            await viewer.close()

    run(work())


def test_refusals_are_counted_by_code(engine: DoubleEngine) -> None:
    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, max_sessions=1, sessions_per_minute=1000))
        async with serving(engine, settings) as address, ClientSession() as http:
            for body in ("{", '{"type": "agent"}', '{"type": "agent"}'):
                await (await http.post(f"{address}v1/sessions", data=body)).read()
            samples = await scrape(address)
            assert value(samples, "refusals_total", code="bad_json") == 1
            assert value(samples, "refusals_total", code="full") == 1
            route = {"method": "POST", "route": "/v1/sessions"}
            assert value(samples, "http_request_seconds_count", **route, status="201") == 1
            assert value(samples, "http_request_seconds_count", **route, status="503") == 1

    run(work())


def test_others_need_a_token_with_the_scope_for_metrics(engine: DoubleEngine) -> None:
    from streaming.config import TokenConfig

    async def work() -> None:
        tokens = (TokenConfig("prometheus", "a-secret-of-enough-letters", scopes=("metrics",)),
                  TokenConfig("shop", "another-secret-of-letters"))  # fmt: skip
        server = ServerConfig(port=0, behind_proxy=True, token="the-servers-own-token", tokens=tokens)
        async with serving(engine, Settings(server=server)) as address, ClientSession() as http:
            address = address.split("#")[0]
            for token, status in (("", 401), ("wrong", 401), (tokens[1].secret, 403)):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                async with http.get(f"{address}metrics", headers=headers) as response:
                    assert response.status == status, token
            assert value(await scrape(address, tokens[0].secret), "refusals_total", code="bad_token") == 2
            await scrape(address, server.token)
            async with http.get(
                f"{address}v1/avatars/ada", headers={"Authorization": f"Bearer {tokens[0].secret}"}
            ) as response:
                assert response.status in (200, 403)
            async with http.post(
                f"{address}v1/sessions", headers={"Authorization": f"Bearer {tokens[0].secret}"}, json={"type": "agent"}
            ) as response:
                assert response.status == 403

    run(work())


def test_without_metrics_there_is_no_such_page(engine: DoubleEngine) -> None:
    async def work() -> None:
        from streaming.config import ObserveConfig

        settings = Settings(observe=ObserveConfig(metrics=False))
        async with serving(engine, settings) as address, ClientSession() as http:
            async with http.get(f"{address}metrics") as response:
                assert response.status == 404
            async with http.get(f"{address}readyz") as response:
                assert response.status == 200

    run(work())


def frame_of(**stamps: Any) -> OutFrame:
    known = {"start": 1000.0, "done": 1020.0, "arrived": 950.0, "whole": 990.0, "stages": {"raster": 8.0}}
    return OutFrame(640, np.zeros((3, 2), np.uint8), {**known, **stamps})


@pytest.fixture
def made(engine: DoubleEngine, tmp_path: Path) -> Callable[[], tuple[Metrics, Portraits]]:
    def make() -> tuple[Metrics, Portraits]:
        portraits = Portraits(PortraitConfig(folder=str(tmp_path)), engine)  # type: ignore[arg-type]
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        return Metrics(hub, portraits), portraits

    return make


def figure(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"visavis_{name}", labels) or 0.0


def test_a_frame_more_than_40_ms_after_its_voice_misses_its_deadline(
    made: Callable[[], tuple[Metrics, Portraits]],
) -> None:
    metrics, _ = made()
    live: Any = SimpleNamespace()
    metrics.frame(live, frame_of(done=1030.0))
    metrics.frame(live, frame_of(done=1030.1))
    metrics.frame(live, frame_of(done=1100.0))
    assert figure(metrics, "deadline_misses_total") == 2 == figure(metrics, "degradations_total", kind="late_frame")
    assert figure(metrics, "voice_to_frame_seconds_bucket", le="0.04") == 1
    assert figure(metrics, "stage_seconds_sum", stage="raster") == pytest.approx(0.024)


def test_skew_is_what_the_voice_sent_is_ahead_of_the_picture_sent(
    made: Callable[[], tuple[Metrics, Portraits]],
) -> None:
    metrics, _ = made()
    live: Any = SimpleNamespace()
    queue = OutQueue(origin=0)
    metrics.sent(live, frame_of(), queue)
    assert figure(metrics, "av_skew_seconds_count") == 0  # no voice was sent yet
    queue.put_voice(np.zeros(48 * 70, np.float32))
    queue.mark_sent(0)
    for _ in range(3):
        queue.next_voice()  # 60 ms of voice are gone, and the picture of 40 ms
    metrics.sent(live, frame_of(), queue)
    assert figure(metrics, "av_skew_seconds_bucket", le="0.0") == 0
    assert figure(metrics, "av_skew_seconds_bucket", le="0.02") == 1


def test_enrolments_are_counted_by_how_they_ended(made: Callable[[], tuple[Metrics, Portraits]]) -> None:
    metrics, portraits = made()
    job = Job("own-1", "me", "yes", b"")
    for watcher in portraits.watchers:
        watcher(replace(job, state="done"))
        watcher(replace(job, state="failed", error="cancelled"))
        watcher(replace(job, state="failed", error="no face"))
    for result in ("done", "cancelled", "failed"):
        assert figure(metrics, "enrolments_total", result=result) == 1


def test_voice_that_the_engine_skipped_is_counted_up_to_the_end(engine: DoubleEngine, tmp_path: Path) -> None:
    async def work() -> None:
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        metrics = Metrics(hub, Portraits(PortraitConfig(folder=str(tmp_path)), engine))  # type: ignore[arg-type]
        live = hub.open(Options("ada", "upper", 0))
        await until(lambda: live.shown_pts > 0)
        live.worker.push(np.zeros(48_000, np.float32))
        dropped = live.worker.dropped_ms
        assert dropped > 0
        await live.close("asked to")
        assert figure(metrics, "voice_dropped_seconds_total") == pytest.approx(live.worker.dropped_ms / 1e3)
        assert figure(metrics, "degradations_total", kind="dropped_voice") == 1
        assert figure(metrics, "sessions_closed_total", reason="asked") == 1

    run(work())


def test_every_name_and_label_is_one_that_prometheus_takes(made: Callable[[], tuple[Metrics, Portraits]]) -> None:
    metrics, _ = made()
    families = list(metrics.registry.collect())
    assert len(families) > 30
    for family in families:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name) and family.documentation
