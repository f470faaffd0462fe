"""What connections say of their lines: RTCP's round trip, loss and jitter, and what was sent, lost and given up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streaming.hub import Hub
from streaming.live import Live
from streaming.peer import Peer

ROUND_TRIP: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
LOSS: Final = (0.0, 0.005, 0.01, 0.02, 0.05, 0.08, 0.12, 0.2, 0.4)
JITTER: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
CLOCKS: Final = {"video": 90_000, "audio": 48_000}  # Hz of RTP time


@dataclass(slots=True)
class Seen:
    """What counters elsewhere stood at when they were last read."""

    values: dict[str, float] = field(default_factory=dict)
    owner: Any = None

    def grown(self, name: str, value: float) -> float:
        """By how much the counter ``name`` grew."""
        last, self.values[name] = self.values.get(name, 0.0), value
        return max(value - last, 0.0)

    def fell(self, name: str, value: float) -> bool:
        """Whether the level ``name`` is lower than before, by a tenth or more."""
        last, self.values[name] = self.values.get(name, value), value
        return value < 0.9 * last


class LineStats:
    """Reads every connection when asked to. Counters of those that ended in between are read once more."""

    def __init__(self, registry: CollectorRegistry, hub: Hub, degradations: Counter) -> None:
        self._hub, self._degradations = hub, degradations
        self._peers: dict[str, Seen] = {}
        self._lives: dict[str, Seen] = {}

        def histogram(name: str, words: str, buckets: Iterable[float]) -> Histogram:
            return Histogram(f"visavis_{name}", words, ["kind"], buckets=tuple(buckets), registry=registry)

        def counter(name: str, words: str, labels: Iterable[str] = ("kind",)) -> Counter:
            return Counter(f"visavis_{name}", words, labels, registry=registry)

        self._round_trip = histogram("round_trip_seconds", "Round trip by RTCP, once a receiver's report.", ROUND_TRIP)
        self._loss = histogram("remote_loss_ratio", "Share of packets lost, by each receiver's report.", LOSS)
        self._jitter = histogram("remote_jitter_seconds", "Jitter of arrival, by each receiver's report.", JITTER)
        self._mic_jitter = histogram("received_jitter_seconds", "Jitter of arrival here, sampled each second.", JITTER)
        self._sent = counter("sent_packets", "RTP packets sent.")
        self._sent_bytes = counter("sent_bytes", "Bytes of RTP payload sent.")
        self._lost = counter("remote_lost_packets", "Packets sent that receivers say they never got.")
        self._got = counter("received_packets", "RTP packets received.")
        self._missed = counter("received_lost_packets", "Packets that never came in.")
        self._skipped = counter("pictures_skipped", "Pictures painted that a connection had no time to send.", ())
        self._dropped = counter("voice_dropped_seconds", "Voice that the engine skipped to catch up.", ())
        self._rate = Gauge(
            "visavis_video_bytes_per_second", "Rate of video: sent, and encoded for; over all connections.",
            ["rate", "of"], registry=registry,
        )  # fmt: skip

    async def sample(self) -> None:
        """Reads all connections and sessions."""
        peers = dict(self._hub.peers)
        for name, peer in peers.items():
            await self._read(peer, self._peers.setdefault(name, Seen(owner=peer)))
        for name in self._peers.keys() - self._hub.peers.keys():
            await self._read(self._peers[name].owner, self._peers.pop(name))
        for live in tuple(self._hub.lives.values()):
            self._read_live(live, self._lives.setdefault(live.id, Seen()))
        self._read_rates(peers.values())

    def last_of(self, live: Live) -> None:
        """Reads a session that ends."""
        self._read_live(live, self._lives.pop(live.id, Seen()))

    def _read_live(self, live: Live, seen: Seen) -> None:
        dropped = seen.grown("dropped", live.worker.dropped_ms)
        if dropped:
            self._dropped.inc(dropped / 1e3)
            self._degradations.labels("dropped_voice").inc()
        clamped = seen.grown("clamped", live.worker.clamped)
        if clamped:
            self._degradations.labels("clamped_motion").inc(clamped)

    async def _read(self, peer: Peer, seen: Seen) -> None:
        skipped = seen.grown("skipped", peer.queue.skipped)
        if skipped:
            self._skipped.inc(skipped)
            self._degradations.labels("skipped_picture").inc(skipped)
        for sender in peer.connection.getSenders():
            if seen.fell("target", getattr(sender, "target_rate", 0)) and sender.kind == "video":
                self._degradations.labels("lower_bitrate").inc()
            for stat in (await sender.getStats()).values():
                if stat.type == "outbound-rtp":
                    self._sent.labels(stat.kind).inc(seen.grown(f"sent {stat.kind}", stat.packetsSent))
                    self._sent_bytes.labels(stat.kind).inc(seen.grown(f"bytes {stat.kind}", stat.bytesSent))
                elif stat.type == "remote-inbound-rtp":
                    self._read_report(stat, seen)
        for receiver in peer.connection.getReceivers():
            for stat in (await receiver.getStats()).values():
                if stat.type == "inbound-rtp":
                    got = seen.grown(f"got {stat.kind}", stat.packetsReceived)
                    self._got.labels(stat.kind).inc(got)
                    self._missed.labels(stat.kind).inc(seen.grown(f"missed {stat.kind}", stat.packetsLost))
                    if got:
                        self._mic_jitter.labels(stat.kind).observe(stat.jitter / CLOCKS[stat.kind])

    def _read_report(self, stat: Any, seen: Seen) -> None:
        """One receiver report, if it is a new one."""
        if not seen.grown(f"report {stat.kind}", stat.timestamp.timestamp()):
            return
        self._lost.labels(stat.kind).inc(seen.grown(f"lost {stat.kind}", stat.packetsLost))
        self._loss.labels(stat.kind).observe(stat.fractionLost / 256)
        self._jitter.labels(stat.kind).observe(stat.jitter / CLOCKS[stat.kind])
        if stat.roundTripTime is not None:
            self._round_trip.labels(stat.kind).observe(max(stat.roundTripTime, 0.0))

    def _read_rates(self, peers: Iterable[Peer]) -> None:
        senders = [s for peer in peers for s in peer.connection.getSenders() if s.kind == "video"]
        for rate in ("sent", "target"):
            values = [getattr(sender, f"{rate}_rate", 0.0) / 8 for sender in senders] or [0.0]
            self._rate.labels(rate, "min").set(min(values))
            self._rate.labels(rate, "mean").set(sum(values) / len(values))
