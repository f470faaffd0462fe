"""How many machines, on paper: what a session costs, how many fit a worker, how many workers a crowd needs, the bill.

Every number that goes in says where it is from: measured here (by which result), published by others, or assumed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from engine.clock import FPS

RESULTS: Final = Path(__file__).parent / "results"
SINGLE: Final = ("motion_step_ms", "body_pose_ms", "raster_ms", "shade_ms", "guide_ms", "composite_ms", "yuv_ms",
                 "watermark_ms")  # stages of one thread  # fmt: skip
NETWORK_THREADS: Final = 2  # of the painting network in bench/results/latency.json
VOICE_KBITS: Final = 48.0  # streaming/encoders.py: Opus, one voice
PAYLOAD, HEADERS = 1200, 50  # bytes of video in a packet; of RTP, SRTP's tag, UDP and IP around it
VOICE_PACKETS: Final = 50  # a second
SESSION_HTTP: Final = 6  # requests of a session's life: page, health, offer, candidates, bye
Kind = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Given:
    """A number that goes in, its unit, and where it is from."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Inputs:
    """Everything the model is told. ``slots``: sessions that a worker takes at once."""

    kind: Kind
    given: dict[str, Given]

    def __getitem__(self, name: str) -> float:
        return self.given[name].value

    @property
    def slots(self) -> int:
        """Sessions a worker admits: what its cores carry within the admission bound, or what its GPU is said to."""
        if self.kind == "gpu":
            return max(int(self["gpu_streams"] + 1e-9), 1)
        return max(int(self["cores"] * self["bound"] * 1e3 / FPS / (self["paint_ms"] + self["send_ms"]) + 1e-9), 1)

    @property
    def worker_price(self) -> float:
        """An hour of a worker: its cores, and its GPU with the cores that send."""
        if self.kind == "cpu":
            return self["cores"] * self["core_price"]
        return self["gpu_price"] + self["core_price"] * math.ceil(
            self.slots * FPS * self["send_ms"] / 1e3 / self["bound"]
        )

    @property
    def egress_mbits(self) -> float:
        """From a worker to one viewer, headers included."""
        video = self["video_mbits"] * (PAYLOAD + HEADERS) / PAYLOAD
        return video + 1e-3 * VOICE_KBITS + 8e-6 * HEADERS * VOICE_PACKETS

    @property
    def ingress_mbits(self) -> float:
        """From one microphone to a worker, headers included."""
        return 1e-3 * VOICE_KBITS + 8e-6 * HEADERS * VOICE_PACKETS


def inputs(
    kind: Kind = "cpu", side: int = 512, changed: Mapping[str, float] | None = None, results: Path = RESULTS
) -> Inputs:
    """What is known by default, with ``changed`` values instead. Raises ValueError for a name that is none, a number
    that makes no sense, or a size that nobody measured."""
    given, changed = {**_measured(side, results), **_assumed()}, changed or {}
    if unknown := sorted(set(changed) - set(given)):
        raise ValueError(f"inputs are {', '.join(given)}; got {', '.join(unknown)}")
    for name, number in changed.items():
        if not math.isfinite(number) or number < 0 or (number == 0 and name not in MAY_BE_ZERO):
            raise ValueError(f"{name} must be a number above 0, got {number}")
        given[name] = Given(float(number), given[name].unit, "given on the command line")
    if not 0 < given["bound"].value <= 1 or not given["turn_share"].value <= 1 or given["swing"].value > 1:
        raise ValueError("bound, turn_share and swing are shares: 0 to 1")
    return Inputs(kind, given)


MAY_BE_ZERO: Final = frozenset({"turn_share", "swing", "flash", "core_price", "gpu_price", "gb_price", "sigma"})


def _assumed() -> dict[str, Given]:
    rows = {
        "cores": (2, "cores", "of a worker; the machine that was measured had 2, more are assumed to be as good"),
        "bound": (0.85, "of a frame's 40 ms", "admission bound, an assumption"),
        "gpu_streams": (3, "sessions", "PUBLISHED by others, not ours: SoulX-FlashHead Lite, 3 streams of 25 fps on an "
                        "RTX 4090 (its README); NVIDIA Maxine Speech Live Portrait, 3 of 30 fps on L40 (its manual)"),
        "mean_s": (400, "s", "length of a session, log-normal: assumption"),
        "sigma": (1.0, "", "of its logarithm: assumption"),
        "swing": (0.6, "of the peak", "how much fewer come at the quietest hour: assumption"),
        "flash": (0.5, "of the peak's arrivals", "a crowd on top, 15 minutes at the peak: assumption"),
        "boot_s": (120, "s", "from the autoscaler's wish to a worker that takes sessions: assumption"),
        "scale_every_s": (30, "s", "how often the autoscaler looks: assumption"),
        "mtbf_h": (720, "h", "between two deaths of a worker: assumption"),
        "drain_s": (900, "s", "a worker that goes may still serve so long: assumption"),
        "deploy_h": (2, "h", "a new version reaches all workers within: assumption"),
        "avatars": (1000, "avatars", "popular by Zipf's law: assumption"),
        "turn_share": (0.15, "of sessions", "behind a relay: assumption"),
        "edge_requests": (500, "requests/s", "that one edge process proxies: assumption"),
        "refusals": (0.01, "of openings", "target"),
        "core_price": (0.04, "$/h", "assumption: put your own"),
        "gpu_price": (0.60, "$/h", "of a GPU of that class: assumption, put your own"),
        "gb_price": (0.02, "$/GB", "of what leaves: assumption, put your own"),
    }  # fmt: skip
    return {name: Given(float(value), unit, source) for name, (value, unit, source) in rows.items()}


def _measured(side: int, results: Path) -> dict[str, Given]:
    """Core-ms a frame of painting and sending, and Mbit/s of video, from kept results. A whole server under load says
    more than stages of a lone session: its figure is taken where there is one."""
    sending = _read(results, "outputs")["viewers_1_ms"]["value"]
    rate = _read(results, "stream")["video_bitrate"]["value"]
    found = {
        "send_ms": Given(sending, "core-ms/frame", "measured: outputs.json viewers_1_ms (VP8, Opus, encryption)"),
        "video_mbits": Given(rate, "Mbit/s", "measured: stream.json video_bitrate (512 × 512, what the line took)"),
    }
    for part, sends in (("webrtc", True), ("inprocess", False)):
        if (whole := _under_load(part, side, results)) is not None:
            name, cores = whole
            source = f"measured: load.json {name}" + (", sending in it" if sends else "")
            found["paint_ms"] = Given(1e3 * cores / FPS, "core-ms/frame", source)
            return found | ({"send_ms": Given(1e-9, "core-ms/frame", "in paint_ms")} if sends else {})
    if side != 512:
        raise ValueError(
            f"{side} x {side} was not measured: run `python bench/run.py load`, or give --set paint_ms=..."
        )
    stages = _read(results, "latency")
    alone = sum(stages[name]["p50"] for name in SINGLE if name in stages)
    paint = alone + NETWORK_THREADS * stages["network_ms"]["p50"]
    source = f"measured: latency.json, medians of its stages, the network's twice ({NETWORK_THREADS} threads)"
    return found | {"paint_ms": Given(paint, "core-ms/frame", source)}


def _under_load(part: str, side: int, results: Path) -> tuple[str, float] | None:
    """Cores of each session of the largest crowd that a part of suite load carried in time, if that was measured."""
    metrics = _read(results, "load") if (results / "load.json").is_file() else {}
    carried = int(metrics.get(f"{part}.{side}.sessions", {}).get("value", 0))
    name = f"{part}.{side}.n{carried}.cpu_per_session"
    return (name, float(metrics[name]["value"])) if name in metrics else None


def _read(results: Path, suite: str) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads((results / f"{suite}.json").read_text(encoding="utf-8"))["metrics"]
        return metrics
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{results / f'{suite}.json'} is needed: {error}; measure it: python bench/run.py {suite}"
        ) from None


def erlang_b(offered: float, servers: int) -> float:
    """Share of arrivals that find ``servers`` all taken, when ``offered`` would be there at once on average.

    M/G/c/c: whatever the lengths' distribution (Erlang 1917; insensitivity: Sevastyanov 1957).
    """
    lost = 1.0
    for c in range(1, servers + 1):
        lost = offered * lost / (c + offered * lost)
    return lost


def servers_for(offered: float, refusals: float) -> int:
    """Fewest servers with which at most that share is refused."""
    lost, c = 1.0, 0
    while lost > refusals:
        c += 1
        lost = offered * lost / (c + offered * lost)
    return c


def workers_pooled(sessions: float, slots: int, refusals: float) -> int:
    """Workers if every free slot were found: no router does better."""
    return math.ceil(servers_for(sessions, refusals) / slots)


def workers_split(sessions: float, slots: int, refusals: float) -> int:
    """Workers if sessions went to one at random, and were refused when it is full: no sane router does worse."""
    low, high = 1, max(2, math.ceil(4 * (sessions + 4) / refusals))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if erlang_b(sessions / middle, slots) <= refusals else (middle + 1, high)
    return low


def target_load(given: Inputs) -> float:
    """How full the autoscaler may keep workers: a flash crowd must fit until new ones are up.

    While the scaler looks and a worker boots, flash * N * lag / length more sessions come than leave.
    """
    lag = given["boot_s"] + given["scale_every_s"]
    return 1 / (1 + given["flash"] * min(lag / given["mean_s"], 1.0))


@dataclass(frozen=True, slots=True)
class Bill:
    """What runs at the busiest, and what an hour costs on average, in dollars."""

    workers: float
    egress_gbits: float
    ingress_gbits: float
    turn_gbits: float
    edges: int
    compute: float
    traffic: float

    @property
    def hour(self) -> float:
        """All of it."""
        return self.compute + self.traffic


def bill(given: Inputs, peak: float, mean: float, peak_workers: float, mean_workers: float) -> Bill:
    """``peak`` and ``mean`` sessions at once, on so many workers. A relayed viewer's media pass a relay both ways."""
    out, into, relayed = given.egress_mbits, given.ingress_mbits, given["turn_share"]
    requests = SESSION_HTTP * peak * (1 + given["flash"]) / given["mean_s"]
    edges = max(math.ceil(requests / given["edge_requests"]), 2 if peak > 10 else 1)
    gigabytes = mean * (out * (1 + relayed) + into * relayed) * 3600 / 8e3
    compute = mean_workers * given.worker_price + edges * given["core_price"]
    return Bill(
        peak_workers, peak * out / 1e3, peak * into / 1e3, peak * relayed * (out + into) / 1e3, edges, compute,
        gigabytes * given["gb_price"],
    )  # fmt: skip
