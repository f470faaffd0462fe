"""Traces for OpenTelemetry, where wanted: sessions, requests, avatars, enrolments, and now and then a frame by stages.

The packages (extra ``otel``) are imported only when an endpoint is configured.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streaming.config import ObserveConfig
from streaming.guard import ServeError
from streaming.hub import Hub
from streaming.live import Live, Watcher
from streaming.logs import SESSION
from streaming.portraits import Job, Portraits
from streaming.tracks import OutFrame, OutQueue

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
FLUSH_MS: Final = 3000
MISSING: Final = "traces need OpenTelemetry: pip install 'visavis[otel]', or leave observe.otlp_endpoint empty"


def tracer_of(observe: ObserveConfig) -> Tracer | None:
    """A tracer that exports to ``observe.otlp_endpoint``, or to where OpenTelemetry's own variables point; None where
    nothing is configured. Raises ServeError when the packages are not there."""
    if not observe.otlp_endpoint and not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as problem:
        raise ServeError(f"{MISSING} ({problem})") from None
    endpoint = f"{observe.otlp_endpoint.rstrip('/')}/v1/traces" if observe.otlp_endpoint else None
    provider = TracerProvider(resource=Resource.create({"service.name": "visavis"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider.get_tracer("visavis")


@dataclass(slots=True)
class _Session:
    span: Span
    loaded: bool = False
    painted: int = 0
    sent: int = -1  # pts of the last sampled frame whose sending is still awaited


class RequestSpan:
    """The span of one HTTP request."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, status: int, code: str) -> None:
        """The answer is known; ``code`` is that of a refusal, or empty."""
        self._span.set_attribute("http.response.status_code", status)
        if code:
            self._span.set_attribute("visavis.refusal", code)
        if SESSION.get():
            self._span.set_attribute("visavis.session", SESSION.get())
        self._span.end()


class Traces(Watcher):
    """Makes spans of what it hears. Every ``every``-th frame of a session is one, with its stages as children."""

    def __init__(self, hub: Hub, portraits: Portraits, tracer: Tracer, every: int) -> None:
        self._tracer, self._every = tracer, every
        self._sessions: dict[str, _Session] = {}
        hub.watchers.append(self)
        portraits.watchers.append(self.enrolled)

    def request(self, method: str, route: str) -> RequestSpan:
        """Begins the span of a request."""
        attributes = {"http.request.method": method, "http.route": route}
        return RequestSpan(self._tracer.start_span(f"{method} {route}", attributes=attributes))

    def opened(self, live: Live) -> None:
        """A session's span begins."""
        about: dict[str, Any] = {
            "visavis.session": live.id,
            "visavis.avatar": live.options.avatar,
            "visavis.seed": live.options.seed,
        }
        self._sessions[live.id] = _Session(
            self._tracer.start_span("session", attributes=about, start_time=_unix(live.born * 1e3))
        )

    def loaded(self, live: Live) -> None:
        """The first avatar is there; a later one is an event."""
        session = self._sessions.get(live.id)
        if session is None or live.opened_as is None:
            return
        avatar, framing, _ = live.opened_as
        about = {"visavis.avatar": avatar, "visavis.framing": framing}
        if session.loaded:
            session.span.add_event("wears", about)
            return
        session.loaded = True
        span = self._child("avatar", session.span, live.born * 1e3, about)
        span.end()

    def frame(self, live: Live, frame: OutFrame) -> None:
        """One frame in ``every`` becomes a span with its stages."""
        session = self._sessions.get(live.id)
        if session is None:
            return
        session.painted += 1
        if (session.painted - 1) % self._every:
            return
        stamps, session.sent = frame.stamps, frame.pts
        about: dict[str, Any] = {"visavis.pts": frame.pts, "visavis.speaking": stamps["speaking"]}
        about["visavis.voice_to_frame_ms"] = stamps["done"] - stamps["whole"]
        span = self._child("frame", session.span, stamps["start"], about)
        at = stamps["start"]
        for name, took in stamps["stages"].items():
            self._child(name, span, at).end(_unix(at + took))
            at += took
        span.end(_unix(stamps["done"]))

    def sent(self, live: Live, frame: OutFrame, queue: OutQueue) -> None:
        """The way of a sampled frame to the wire, once, with its encoding."""
        session, stamps = self._sessions.get(live.id), frame.stamps
        if session is None or session.sent != frame.pts or "sent" not in stamps:
            return
        session.sent = -1
        about = {"visavis.pts": frame.pts, "visavis.encode_ms": stamps.get("encode", 0.0)}
        about["visavis.bytes"] = stamps.get("bytes", 0)
        self._child("send", session.span, stamps["done"], about).end(_unix(stamps["sent"]))

    def closed(self, live: Live, why: str) -> None:
        """A session's span ends."""
        session = self._sessions.pop(live.id, None)
        if session is not None:
            session.span.set_attributes({"visavis.reason": why, "visavis.frames": session.painted})
            if live.failure is not None:
                session.span.record_exception(live.failure)
            session.span.end()

    def enrolled(self, job: Job) -> None:
        """An enrolment has ended."""
        ended = (job.ended or time.monotonic()) * 1e3
        about = {"visavis.state": job.state, "visavis.step": job.step}
        self._tracer.start_span("enrolment", attributes=about, start_time=_unix(job.begun * 1e3)).end(_unix(ended))

    async def stop(self) -> None:
        """Ends what is still open, and sends it."""
        for session in self._sessions.values():
            session.span.end()
        self._sessions.clear()
        flush = getattr(self._tracer, "span_processor", None)
        if flush is not None:
            await asyncio.get_running_loop().run_in_executor(None, flush.force_flush, FLUSH_MS)

    def _child(self, name: str, parent: Span, start: float, attributes: dict[str, Any] | None = None) -> Span:
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(parent)
        return self._tracer.start_span(name, context=context, attributes=attributes, start_time=_unix(start))


def _unix(ms: float) -> int:
    """Nanoseconds of Unix time for ``ms`` of the server's clock (``time.monotonic``)."""
    return time.time_ns() + round((ms - time.monotonic() * 1e3) * 1e6)
