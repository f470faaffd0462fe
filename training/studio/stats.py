"""What a data set holds: how its people, views, light, faces and hands are spread, and what it costs."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from training.bake.identities import Identity
from training.studio.people import sample
from training.studio.shards import StudioError, manifests


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
    people = [sample(number) for number in sorted({row["person"] for row in rows})]
    frames = [row["frames"] for row in rows]
    yaw, pitch = (np.degrees([angle for row in rows for angle in row[name]]) for name in ("yaw", "pitch"))
    tables = {
        "sex": _shares(people, lambda p: "woman" if p.phenotype["gender"] > 0.5 else "man"),
        "skin": _shares(people, _tone),
        "hair": _shares(people, lambda p: p.style),
        "beard": _shares(people, lambda p: p.beard),
        "top": _shares(people, lambda p: p.top),
        "glasses": _shares(people, lambda p: p.glasses),
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


def _shares(people: list[Identity], name: Callable[[Identity], str]) -> list[tuple[str, float]]:
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


def _bins(values: Any, edges: range) -> list[tuple[str, float]]:
    counts, _ = np.histogram(values, np.array(edges, float))
    pairs = zip(edges, edges[1:], strict=False)
    return [(f"{a:+d}..{b:+d}", float(n) / len(values)) for (a, b), n in zip(pairs, counts, strict=True)]


def _tone(person: Identity) -> str:
    """Lightness of the skin in five steps."""
    lightness = colorsys.rgb_to_hls(*person.skin)[1]
    return ("darkest", "dark", "medium", "light", "lightest")[int(np.clip((lightness - 0.2) / 0.12, 0, 4))]
