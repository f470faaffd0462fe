"""Figures of an edge in Prometheus' text format, and those of its workers put together, each with its worker's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

TOOK: Final = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.06, 0.25, 1.0, 4.0, 16.0)
PREFIX: Final = "visavis_edge"


class Figures:
    """Counts what an edge does. ``workers`` says how many there are of each kind, ``sockets`` how many are open."""

    def __init__(self, workers: Callable[[], Mapping[str, int]], sockets: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            f"{PREFIX}_requests_total", "Requests answered, by who answered and the class of the status",
            ("by", "status"), registry=registry,
        )  # fmt: skip
        self._took = Histogram(
            f"{PREFIX}_request_seconds",
            "From a request's head to its answer's",
            ("by",),
            buckets=TOOK,
            registry=registry,
        )
        self._workers = Gauge(f"{PREFIX}_workers", "Workers, by how they are", ("state",), registry=registry)
        Gauge(f"{PREFIX}_websockets", "WebSockets that are open", registry=registry).set_function(sockets)
        self._ask = workers

    def answered(self, by: str, status: int, seconds: float) -> None:
        """One more answer: ``by`` "edge" or "worker"."""
        self._requests.labels(by, f"{status // 100}xx").inc()
        self._took.labels(by).observe(seconds)

    def text(self) -> str:
        """All of them."""
        for state, count in self._ask().items():
            self._workers.labels(state).set(count)
        return generate_latest(self._registry).decode()


def together(told: Mapping[str, str]) -> str:
    """The figures of several workers by name, as one text: each sample with a label ``worker``, unless there is one."""
    if len(told) == 1:
        return next(iter(told.values()))
    heads: dict[str, str] = {}
    lines: dict[str, list[str]] = {}
    for worker, text in told.items():
        for family in text_string_to_metric_families(text):
            words = family.documentation.replace("\\", "\\\\").replace("\n", "\\n")
            name = family.name + "_total" * (family.type == "counter")
            heads.setdefault(family.name, f"# HELP {name} {words}\n# TYPE {name} {family.type}")
            lines.setdefault(family.name, []).extend(_line(sample, worker) for sample in family.samples)
    return "".join(f"{head}\n" + "".join(f"{line}\n" for line in lines[name]) for name, head in heads.items())


def _line(sample: Sample, worker: str) -> str:
    labels = {**sample.labels, "worker": worker}
    said = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{sample.name}{{{said}}} {sample.value}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
