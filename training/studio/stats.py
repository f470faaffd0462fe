"""What a data set holds: how its people, views, light, faces and hands are spread, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from training.studio.people import sample, who
from training.studio.shards import StudioError, manifests

One = TypeVar("One")


class Facts(NamedTuple):
    """Counts by name. ``tables``: title to (value, share of 1); ``cost``: name to text."""

    tables: dict[str, list[tuple[str, float]]]
    cost: dict[str, str]


def facts(folder: Path) -> Facts:
    """Counts what is in ``folder``. Raises StudioError when nothing is."""
    shards = list(manifests(folder))
    rows = [row for shard in shards for row in shard["clips"]]
    if not rows:
        raise StudioError(f"{folder} holds no clips; make some: python -m training.studio make --out {folder}")
    numbers = sorted({row["person"] for row in rows})
    people, born = [sample(number) for number in numbers], [who(number) for number in numbers]
    frames = [row["frames"] for row in rows]
    yaw, pitch = (np.degrees([angle for row in rows for angle in row[name]]) for name in ("yaw", "pitch"))
    tables = {
        "sex": _shares(born, lambda one: one.sex),
        "years": _bins([one.years for one in born], (18, 30, 40, 50, 60, 70, 80)),
        "origin": _shares(born, lambda one: one.origin),
        "skin, 0 light": _bins([one.tone for one in born], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        "hair": _shares(people, lambda p: p.style),
        "beard": _shares(people, lambda p: p.beard),
        "top": _shares(people, lambda p: p.top),
        "glasses": _shares(people, lambda p: p.glasses),
        "earrings": _shares(people, lambda p: p.earrings),
        "kind": _weighted(rows, lambda row: [row["kind"]]),
        "framing": _weighted(rows, lambda row: [row["framing"]]),
        "camera": _weighted(rows, lambda row: [row["camera"]]),
        "light": _weighted(rows, lambda row: [row["light"]]),
        "place": _weighted(rows, lambda row: [row["place"]]),
        "speech": _weighted(rows, lambda row: [row["speech"].split("-")[1] if "-" in row["speech"] else "silence"]),
        "face": _weighted(rows, lambda row: row["expressions"] or ["speech alone"]),
        "gesture": _weighted(rows, lambda row: [row["gesture"]]),
        "yaw": _bins(yaw, range(-75, 76, 15)),
        "pitch": _bins(pitch, range(-25, 26, 10)),
    }
    return Facts(tables, _cost(shards, len(rows), sum(frames), len(people)))


def _cost(shards: list[dict[str, Any]], clips: int, frames: int, people: int) -> dict[str, str]:
    size = sum(shard["bytes"] for shard in shards)
    seconds = sum(shard["made"].get("seconds", 0.0) for shard in shards)
    devices = Counter(str(shard["made"].get("device", "unknown")) for shard in shards)
    return {
        "clips": f"{clips:,}", "frames": f"{frames:,} ({frames / 25 / 60:.1f} minutes)", "people": f"{people:,}",
        "size": f"{size / 1e9:.2f} GB, {size / 1e3 / frames:.0f} MB per 1000 frames",
        "speed": f"{frames / seconds:.2f} frames/s a worker, building people included" if seconds else "unknown",
        "made on": ", ".join(devices),
    }  # fmt: skip


def _shares(people: Sequence[One], name: Callable[[One], str]) -> list[tuple[str, float]]:
    counted = Counter(map(name, people))
    return [(value, count / len(people)) for value, count in counted.most_common()]


def _weighted(rows: Iterable[dict[str, Any]], names: Callable[[dict[str, Any]], list[str]]) -> list[tuple[str, float]]:
    """Share of frames by what ``names`` gives; shares may add up to more than 1."""
    counted, total = Counter[str](), 0
    for row in rows:
        total += row["frames"]
        for name in names(row):
            counted[name] += row["frames"]
    return [(value, count / total) for value, count in counted.most_common()]


def _bins(values: Any, edges: Sequence[float]) -> list[tuple[str, float]]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    pairs = zip(edges, edges[1:], strict=False)
    return [(f"{a:g} to {b:g}", float(n) / len(values)) for (a, b), n in zip(pairs, counts, strict=True)]
