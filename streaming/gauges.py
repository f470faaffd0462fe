"""How things stand at the moment they are asked for: sessions, connections, queues, enrolments."""

from __future__ import annotations

import threading
from collections import Counter as Count
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from engine.clock import VOICE_RATE
from streaming.hub import Hub
from streaming.live import Live
from streaming.outputs.output import Output
from streaming.portraits import Portraits

STATES: Final = ("loading", "live", "closing")
ROLES: Final = ("steers", "watches")


class Gauges:
    """``read`` sets every gauge from what is there, on the event loop."""

    def __init__(self, registry: CollectorRegistry, hub: Hub, portraits: Portraits) -> None:
        self._hub, self._portraits = hub, portraits

        def gauge(name: str, words: str, labels: Iterable[str] = ()) -> Gauge:
            return Gauge(f"visavis_{name}", words, labels, registry=registry)

        self._sessions = gauge("sessions", "Sessions now, by state.", ["state"])
        self._limit = gauge("sessions_limit", "Sessions that may be open at once.")
        self._headroom = gauge("headroom", "Share of the deadline budget that full quality leaves; 0 or less: none.")
        self._draining = gauge("draining", "1 once the server takes no new sessions.")
        self._speakers = gauge("sessions_by_voice", "Sessions now, by who gives the voice.", ["voice"])
        self._peers = gauge("connections", "WebRTC connections now, by what they may do.", ["role"])
        self._outlets = gauge("outlets", "Whoever takes pictures and voice of a session now, by type.", ["type"])
        self._outputs = gauge("outputs", "Recordings and media servers now, by kind and state.", ["kind", "state"])
        self._pictures = gauge("queue_pictures", "Pictures that wait to be encoded, over all connections.", ["of"])
        self._waiting = gauge(
            "queue_voice_seconds",
            "Voice that waits: to be sent (out), for the engine (engine), to be said by an agent (speech).",
            ["queue", "of"],
        )
        self._threads = gauge("threads", "Threads of this process.")
        self._active = gauge("enrolments_active", "Avatars that are being made of photographs, by state.", ["state"])

    def read(self) -> None:
        """Sets them all."""
        lives, peers = tuple(self._hub.lives.values()), tuple(self._hub.peers.values())
        _count(self._sessions, STATES, map(_state, lives))
        _count(self._speakers, ("microphone", "agent"), ("agent" if live.source else "microphone" for live in lives))
        _count(self._peers, ROLES, ("steers" if peer.steers else "watches" for peer in peers))
        self._outlets.clear()
        _count(self._outlets, (), (type(outlet).__name__ for live in lives for outlet in live.outlets))
        self._outputs.clear()
        outputs = [outlet for live in lives for outlet in live.outlets if isinstance(outlet, Output)]
        for (kind, state), count in Count((output.spec.kind, output.state) for output in outputs).items():
            self._outputs.labels(kind, state).set(count)
        self._limit.set(self._hub.server.max_sessions)
        self._headroom.set(self._hub.engine.room().headroom)
        self._draining.set(self._hub.draining)
        self._threads.set(threading.active_count())
        _levels(self._pictures, [len(peer.queue.pictures) for peer in peers])
        _levels(self._waiting, [peer.queue.voice.available / VOICE_RATE for peer in peers], "out")
        _levels(self._waiting, [live.worker.waiting / VOICE_RATE for live in lives], "engine")
        _levels(self._waiting, [getattr(live.source, "queued_ms", 0.0) / 1e3 for live in lives], "speech")
        _count(self._active, ("waiting", "running"), self._portraits.states())


def _state(live: Live) -> str:
    return "closing" if live.closing else "loading" if live.opened_as is None else "live"


def _count(gauge: Gauge, known: Sequence[str], found: Iterable[str]) -> None:
    counts = Count(found)
    for label in (*known, *(counts.keys() - set(known))):
        gauge.labels(label).set(counts[label])


def _levels(gauge: Gauge, values: Sequence[float], *labels: str) -> None:
    gauge.labels(*labels, "sum").set(sum(values))
    gauge.labels(*labels, "max").set(max(values, default=0))
