"""Figures of a running server in Prometheus' text format: what each frame took, what was lost, what waits.

No session, address or name is a label: the number of series does not grow with traffic.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from engine.clock import FRAME_SECONDS, SAMPLE_RATE, VOICE_RATE
from streaming.gauges import Gauges
from streaming.hub import Hub
from streaming.linestats import LineStats
from streaming.live import Live, Watcher
from streaming.portraits import Job, Portraits
from streaming.tracks import OutFrame, OutQueue

log = logging.getLogger(__name__)
SAMPLE_S: Final = 1.0  # how often what only accumulates elsewhere is read
LAG_S: Final = 0.1  # how often the event loop is asked whether it is late
DEADLINE_MS: Final = FRAME_SECONDS * 1e3  # a frame later than this after its voice was whole is a miss
PREFIX: Final = "visavis"

WORK: Final = (
    0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.012, 0.016, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08, 0.12,
    0.25, 1.0,
)  # fmt: skip
WAIT: Final = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0, 2.0)
LAG: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 1.0)
SKEW: Final = (-0.16, -0.08, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.16, 0.24, 0.5)
OPENING: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 4.0, 8.0, 16.0)
LASTING: Final = (1, 5, 15, 60, 180, 600, 1800, 3600, 4 * 3600, 24 * 3600)
REQUEST: Final = (0.001, 0.004, 0.016, 0.06, 0.25, 1.0, 4.0, 16.0)

# Why a session ended, as free words begin, and as a label says it.
REASONS: Final = {
    "asked to": "asked", "the page said bye": "left", "no heartbeat": "silent", "nobody was there": "idle",
    "not connected in time": "never_connected", "connection failed": "connection_failed",
    "connection closed": "connection_closed", "the engine stopped": "engine", "the server stops": "shutdown",
    "the offer could not be answered": "bad_offer", "the server failed": "internal",
}  # fmt: skip


def reason_label(live: Live, why: str) -> str:
    """One of a few words for why a session ended."""
    if live.failure is not None:
        return "engine"
    return next((label for words, label in REASONS.items() if why.startswith(words)), "other")


class Metrics(Watcher):
    """Everything that ``GET /metrics`` tells. On the event loop; only the text is made elsewhere."""

    def __init__(self, hub: Hub, portraits: Portraits) -> None:
        disable_created_metrics()  # a second series for each counter, which nobody reads
        self.registry = CollectorRegistry()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._tasks: list[asyncio.Task[None]] = []
        self._stages: dict[str, Histogram] = {}
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._define_frames()
        self._define_sessions()
        self._gauges = Gauges(self.registry, hub, portraits)
        portraits.watchers.append(self.enrolled)
        self._lines = LineStats(self.registry, hub, self.degradations)
        hub.watchers.append(self)

    def _define_frames(self) -> None:
        self._stage = self._histogram("stage_seconds", "Time of one stage of a frame's making.", WORK, ["stage"])
        self._frame = self._histogram("frame_seconds", "Time from the begin of work on a frame to its picture.", WORK)
        self._late = self._histogram(
            "voice_to_frame_seconds", "Time from the last voice that a frame needs to its picture.", WORK
        )
        self._age = self._histogram(
            "voice_age_seconds", "Time from the middle of a frame's own voice to its picture, lookahead included.", WAIT
        )
        self._wire = self._histogram(
            "frame_to_wire_seconds", "Time from a frame's picture to its last packet on a connection.", WORK
        )
        self._encode = self._histogram("encode_seconds", "Time of encoding one picture for one connection.", WORK)
        self._skew = self._histogram(
            "av_skew_seconds",
            "Media time that the voice sent is ahead (+) of the picture sent, when the picture has left.", SKEW,
        )  # fmt: skip
        self._frames = self._counter("frames", "Frames painted.")
        self._missed = self._counter("deadline_misses", "Frames painted later than 40 ms after their voice was whole.")
        self._sent = self._counter("frames_sent", "Pictures put on the wire, by connection.")
        self._keys = self._counter("key_frames", "Pictures sent that stand alone.")
        self._bytes = self._counter("encoded_bytes", "Bytes of encoded pictures.")
        self.degradations = self._counter(
            "degradations", "Times that something was given up to stay in time.", ["kind"]
        )
        for kind in (
            "late_frame", "skipped_picture", "dropped_voice", "lower_bitrate", "clamped_motion", "lower_quality",
            "repeated_picture",
        ):  # fmt: skip
            self.degradations.labels(kind)  # a rate over a series that is not there yet is no zero

    def _define_sessions(self) -> None:
        self._opened = self._counter("sessions_opened", "Sessions begun.")
        self._closed = self._counter("sessions_closed", "Sessions ended, by reason.", ["reason"])
        self._opening = self._histogram("session_open_seconds", "Time from opening a session to its avatar.", OPENING)
        self._lasting = self._histogram("session_seconds", "How long a session lasted.", LASTING)
        self._refused = self._counter("refusals", "Requests refused, by the code in the answer.", ["code"])
        self._requests = self._histogram(
            "http_request_seconds", "Time of answering an HTTP request.", REQUEST, ["method", "route", "status"]
        )
        self._enrolments = self._counter("enrolments", "Avatars of photographs, by how that ended.", ["result"])
        self._lag = self._histogram("event_loop_lag_seconds", "How late the event loop wakes a task.", LAG)
        info = Info(f"{PREFIX}_build", "What runs here.", registry=self.registry)
        info.info({"version": _version(), "python": platform.python_version(), "platform": platform.system().lower()})

    def _counter(self, name: str, words: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(f"{PREFIX}_{name}", words, labels, registry=self.registry)

    def _histogram(self, name: str, words: str, buckets: Iterable[float], labels: Iterable[str] = ()) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", words, labels, buckets=tuple(buckets), registry=self.registry)

    # What the sessions tell.

    def opened(self, live: Live) -> None:
        """Counts it."""
        self._opened.inc()

    def loaded(self, live: Live) -> None:
        """The first avatar of a session is the one that somebody waited for."""
        if live.shown_pts < 0:
            self._opening.observe(time.monotonic() - live.born)

    def frame(self, live: Live, frame: OutFrame) -> None:
        """What the frame took, stage by stage."""
        stamps = frame.stamps
        for name, took in stamps["stages"].items():
            stage = self._stages.get(name)
            if stage is None:
                stage = self._stages[name] = self._stage.labels(name)
            stage.observe(took / 1e3)
        late, done = stamps["done"] - stamps["whole"], stamps["done"]
        self._frames.inc()
        self._frame.observe((done - stamps["start"]) / 1e3)
        self._age.observe((done - stamps["arrived"]) / 1e3)
        self._late.observe(late / 1e3)
        if late > DEADLINE_MS:
            self._missed.inc()
            self.degradations.labels("late_frame").inc()
        for kind, stamp in (("lower_quality", "lowered"), ("repeated_picture", "repeated")):
            if stamps.get(stamp):
                self.degradations.labels(kind).inc()

    def sent(self, live: Live, frame: OutFrame, queue: OutQueue) -> None:
        """What sending it took, and where the voice was by then."""
        stamps = frame.stamps
        self._sent.inc()
        if "sent" in stamps:
            self._wire.observe((stamps["sent"] - stamps["done"]) / 1e3)
        if "encode" in stamps:
            self._encode.observe(stamps["encode"] / 1e3)
            self._bytes.inc(stamps["bytes"])
            self._keys.inc(bool(stamps.get("key")))
        if queue.voiced:
            said = (queue.origin + queue.voice.position) / VOICE_RATE
            self._skew.observe(said - frame.pts / SAMPLE_RATE)

    def closed(self, live: Live, why: str) -> None:
        """Counts it, and what it lost since it was last looked at."""
        self._closed.labels(reason_label(live, why)).inc()
        self._lasting.observe(time.monotonic() - live.born)
        self._lines.last_of(live)

    def enrolled(self, job: Job) -> None:
        """An avatar of a photograph was made, or was not."""
        self._enrolments.labels("cancelled" if job.error == "cancelled" else job.state).inc()

    def refused(self, code: str) -> None:
        """A request was refused with ``code``."""
        self._refused.labels(code).inc()

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request was answered."""
        method = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
        self._requests.labels(method, route, str(status)).observe(seconds)

    # Time.

    async def start(self) -> None:
        """Begins to sample."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._sample()), loop.create_task(self._feel())]

    async def stop(self) -> None:
        """Ends that."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.shutdown(wait=False)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            try:
                await self._lines.sample()
            except Exception:  # one connection's surprise must not end the figures of all others
                log.exception("a connection could not be read")

    async def _feel(self) -> None:
        while True:
            due = time.monotonic() + LAG_S
            await asyncio.sleep(LAG_S)
            self._lag.observe(max(time.monotonic() - due, 0.0))

    # The page.

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [web.get("/metrics", self._scrape)]

    async def _scrape(self, request: web.Request) -> web.StreamResponse:
        self._gauges.read()
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        text: Any = await asyncio.get_running_loop().run_in_executor(self._writer, encode, self.registry)
        return web.Response(body=text, headers={"Content-Type": kind})


def _version() -> str:
    try:
        return version("visavis")
    except PackageNotFoundError:
        return "unknown"
