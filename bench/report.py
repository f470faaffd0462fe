"""What a benchmark says: metrics, the machine they were taken on, a table to read and a JSON file to keep."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from visavis.devices import cpu_name, gpu_names

Metric = dict[str, Any]
Metrics = dict[str, Metric]
LEAST_IN_PART: Final = 50  # samples in a part of a series, or its p99 is only its largest
MOST_PARTS: Final = 60


@dataclass
class Measured:
    """What a suite returns: its metrics, and the raw samples (all in ``unit``) for a plot.

    ``tables`` are shown in place of the list of metrics, and ``draw`` (a folder -> the PNG) in place of the plot.
    """

    metrics: Metrics
    series: dict[str, list[float]] = field(default_factory=dict)
    unit: str = "ms"
    tables: Sequence[Table] = ()
    draw: Callable[[Path], Path] | None = None


def value(number: float, unit: str) -> Metric:
    """One figure."""
    return {"value": round(float(number), 4), "unit": unit}


def between(number: float, low: float, high: float, unit: str) -> Metric:
    """One figure with its 95% interval."""
    return {**value(number, unit), "low": round(float(low), 4), "high": round(float(high), 4)}


def spread(samples: Sequence[float], unit: str) -> Metric:
    """Median, p95 and p99 of ``samples``; raises ValueError when there are none: no figure is made up."""
    if not len(samples):
        raise ValueError("no samples were measured")
    p50, p95, p99 = np.percentile(np.asarray(samples, np.float64), (50, 95, 99))
    return {"p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3), "n": len(samples), "unit": unit}


def machine() -> dict[str, Any]:
    """The machine, as far as a reader needs it to judge the figures."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": cpu_name(),
        "threads": os.cpu_count(),
        "gpu": gpu_names(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1min": load,
    }


def commit() -> str:
    """The commit measured, with "+" when files differ from it."""
    root = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def document(
    suite: str, metrics: Mapping[str, Metric], series: Mapping[str, Sequence[float]] | None = None, unit: str = ""
) -> dict[str, Any]:
    """The JSON document of one run; ``series`` are summed up in it, in order."""
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    result = {"suite": suite, "commit": commit(), "date": date, "machine": machine(), "metrics": dict(metrics)}
    windows = {name: over_time(samples, unit) for name, samples in (series or {}).items()}
    if kept := {name: window for name, window in windows.items() if window is not None}:
        result["over_time"] = kept
    return result


def over_time(samples: Sequence[float], unit: str) -> dict[str, Any] | None:
    """p50 and p99 of equal parts of ``samples``, in order; None when there are too few to have any."""
    parts = min(MOST_PARTS, len(samples) // LEAST_IN_PART)
    if parts < 3:
        return None
    inside = len(samples) // parts
    cut = np.asarray(samples[: parts * inside], np.float64).reshape(parts, inside)
    p50, p99 = np.percentile(cut, (50, 99), axis=1).round(3)
    return {"unit": unit, "n": inside, "p50": p50.tolist(), "p99": p99.tolist()}


def merged(path: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """``result``, and what the document at ``path`` has besides; ``earlier`` says when, by a figure's first word."""
    if not path.is_file():
        return dict(result)
    old = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: metric for name, metric in old["metrics"].items() if name not in result["metrics"]}
    origin = {"commit": old["commit"], "date": old["date"], "load_1min": old["machine"].get("load_1min")}
    was = old.get("earlier", {})
    earlier = {part: was.get(part, origin) for part in dict.fromkeys(name.split(".")[0] for name in kept)}
    both = {"over_time": {**old.get("over_time", {}), **result.get("over_time", {})}}
    return {
        **result,
        "metrics": {**result["metrics"], **kept},
        **(both if both["over_time"] else {}),
        "earlier": earlier,
    }


def save(path: Path, result: Mapping[str, Any]) -> None:
    """Writes ``result`` as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = json.dumps(result, indent=2)
    text = re.sub(r"\[[-\d.e,\s]+\]", lambda numbers: " ".join(numbers[0].split()), text)  # a series is one line
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)


def heading(result: Mapping[str, Any]) -> str:
    """What was measured where, on a line."""
    where = result["machine"]
    return f"{result['suite']} · {result['commit']} · {where['cpu']}, {where['threads']} threads"


def show(result: Mapping[str, Any], console: Console) -> None:
    """Prints ``result`` as a table."""
    table = Table(title=heading(result))
    table.add_column("metric", overflow="fold")
    for column in ("p50", "p95", "p99", "value"):
        table.add_column(column, justify="right")
    table.add_column("unit")
    for name, metric in result["metrics"].items():
        cells = ["" if metric.get(key) is None else f"{metric[key]:g}" for key in ("p50", "p95", "p99", "value")]
        table.add_row(name, *cells, metric["unit"])
    console.print(table)


def plot(folder: Path, suite: str, series: Mapping[str, Sequence[float]], unit: str) -> Path:
    """One PNG with a line per series. Raises ValueError when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'visavis[train]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, samples in series.items():
        axes.plot(samples, label=name, linewidth=0.8)
    axes.set(xlabel="frame", ylabel=unit, title=suite)
    axes.legend(fontsize="small")
    path = folder / f"{suite}.png"
    figure.savefig(path, dpi=110)
    return path
