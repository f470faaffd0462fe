"""Traces: what becomes a span, when it began and ended, and that nothing is imported where nobody asked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from streaming import traces
from streaming.config import ObserveConfig, PortraitConfig, ServerConfig, StreamConfig
from streaming.guard import ServeError
from streaming.hub import Hub
from streaming.live import Options
from streaming.portraits import Job, Portraits

from .double import DoubleEngine
from .harness import PATIENT, Settings, Viewer, run, serving, until, until_sessions

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="traces need: pip install visavis[otel]")


@pytest.fixture
def exporter() -> Any:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: Any) -> Any:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("visavis")


def named(spans: Sequence[Any], name: str) -> list[Any]:
    return [span for span in spans if span.name == name]


def test_a_session_is_a_span_over_its_avatar_and_some_of_its_frames(exporter: Any, tracer: Any, tmp_path: Path) -> None:
    async def work() -> None:
        engine = DoubleEngine(tmp_path)
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        portraits = Portraits(PortraitConfig(folder=str(tmp_path)), engine)  # type: ignore[arg-type]
        traced = traces.Traces(hub, portraits, tracer, every=5)
        live = hub.open(Options("ada", "upper", 7))
        await until(lambda: len(named(exporter.get_finished_spans(), "frame")) >= 4)
        await live.close("asked to")
        for watcher in portraits.watchers:
            watcher(Job("own-1", "me", "yes", b"", state="done"))
        await traced.stop()

    run(work())
    spans = exporter.get_finished_spans()
    (session,), (avatar,) = named(spans, "session"), named(spans, "avatar")
    assert session.attributes["visavis.reason"] == "asked to" and session.attributes["visavis.seed"] == 7
    frames = named(spans, "frame")
    assert len(frames) == -(-session.attributes["visavis.frames"] // 5) >= 4
    for child in (avatar, *frames):
        assert child.parent.span_id == session.context.span_id
        assert session.start_time - 10_000_000 <= child.start_time <= child.end_time <= session.end_time + 10_000_000
    stages = [span for span in spans if span.parent and span.parent.span_id == frames[0].context.span_id]
    assert [span.name for span in stages] == ["mel", "vad", "motion", "body", "raster", "shade", "yuv"]
    for earlier, later in zip(stages, stages[1:], strict=False):
        assert abs(later.start_time - earlier.end_time) < 1_000_000
    assert named(spans, "enrolment")[0].attributes["visavis.state"] == "done"


def test_a_request_and_a_sampled_frame_on_the_wire_are_spans(
    exporter: Any, tracer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.observe.tracer_of", lambda observe: tracer)

    async def work() -> None:
        settings = Settings(observe=ObserveConfig(trace_every=1), stream=PATIENT)
        async with serving(DoubleEngine(tmp_path), settings) as address:
            viewer = await Viewer(address).open()
            await until(lambda: len(viewer.pictures) > 10 and viewer.heard("hello"))
            await until(lambda: named(exporter.get_finished_spans(), "send"), what="no frame was traced to the wire")
            viewer.say("bye")
            await until_sessions(address, 0, 20)
            await viewer.close()
        offer = named(exporter.get_finished_spans(), "POST /v1/sessions")[0]
        assert offer.attributes["visavis.session"] == viewer.id
        assert offer.attributes["http.response.status_code"] == 201
        sent = named(exporter.get_finished_spans(), "send")
        assert sent and sent[0].attributes["visavis.bytes"] > 0 and sent[0].end_time > sent[0].start_time

    run(work())


def test_without_an_endpoint_nothing_of_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in traces.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert traces.tracer_of(ObserveConfig()) is None
    look = "import sys, streaming.app; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_traces_that_are_wanted_but_not_installed_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ServeError, match=r"pip install 'visavis\[otel\]'"):
        traces.tracer_of(ObserveConfig(otlp_endpoint="http://127.0.0.1:4318"))


def test_spans_reach_a_collector(tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()

    async def work() -> None:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        settings = Settings(observe=ObserveConfig(otlp_endpoint=endpoint, trace_every=1))
        async with serving(DoubleEngine(tmp_path), settings) as address:
            viewer = await Viewer(address).open()
            await until(lambda: len(viewer.pictures) > 3)
            await viewer.close()

    try:
        run(work())
        asyncio.run(until(lambda: any(b"raster" in body for _, body in got), what="no stage of a frame came"))
    finally:
        server.shutdown()
    assert got and {path for path, _ in got} == {"/v1/traces"}
