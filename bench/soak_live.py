"""A conversation in real time, for as long as wanted: the real server, the real engine, a viewer who speaks.

Server and viewer are processes of their own (soak_server.py, soak_viewer.py). What is looked for is what a short run
cannot show: memory that grows, sound and picture that drift apart, tasks and descriptors that stay behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.report import Measured, Metrics, between, spread, value
from bench.stream import ROOT, serving
from bench.trend import Slope, medians, slope

WARM_UP_SHARE: Final = 1 / 6  # of the run; every avatar, background and face was on once by then
WARM_UP_MOST_S: Final = 900.0
END_SHARE: Final = 1 / 12  # of the run: what is called its end (and, after the warm-up, its start)
PPM: Final = 60.0  # how much faster the microphone's clock is than the server's: a usual sound card
REPORT_EVERY_S: Final = 60.0
Line = dict[str, Any]


def run(seconds: float, log: Console, keep: Path | None = None) -> Measured:
    """``seconds`` of conversation. The lines that were written meanwhile stay in ``keep``, when given.

    Raises OSError when the server or the viewer ends before its time, ValueError when too little came to judge by.
    """
    folder = keep or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    counts = folder / "server.jsonl"
    counts.unlink(missing_ok=True)
    log.print(f"real time, {seconds / 3600:.2g} h; what comes is written to {folder}")
    loads: list[float] = []
    with serving(folder, ("bench.soak_server", str(counts), "--")) as (address, server):
        lines = _view(address, seconds, counts, folder, loads, log)
        if server.poll() is not None:
            raise OSError(f"the server ended with {server.returncode}")
    kept = [json.loads(line) for line in counts.read_text(encoding="utf-8").splitlines()]
    return evaluate(lines, kept, seconds, loads)


def _view(
    address: str, seconds: float, counts: Path, folder: Path, loads: list[float], log: Console
) -> list[Line]:  # fmt: skip
    """What the viewer said, to its end."""
    command = [sys.executable, "-m", "bench.soak_viewer", address, str(seconds), str(PPM)]
    lines: list[Line] = []
    with (folder / "viewer.log").open("wb") as errors, (folder / "viewer.jsonl").open("w", encoding="utf-8") as file:
        viewer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT)

        def read() -> None:
            assert viewer.stdout is not None
            for raw in viewer.stdout:
                file.write(raw.decode())
                file.flush()
                lines.append(json.loads(raw))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        begun = told = time.monotonic()
        try:
            while viewer.poll() is None:
                time.sleep(1.0)
                if time.monotonic() - told > REPORT_EVERY_S:
                    told = time.monotonic()
                    loads.append(os.getloadavg()[0])
                    log.print(_progress(told - begun, lines, counts))
                if time.monotonic() - begun > seconds + 120:
                    raise OSError("the viewer does not end")
        finally:
            viewer.kill()
            viewer.wait()
        reader.join(10)
    if viewer.returncode != 0:
        raise OSError(f"the viewer ended early:\n{(folder / 'viewer.log').read_text()[-2000:]}")
    return lines


def _progress(passed: float, lines: Sequence[Line], counts: Path) -> str:
    """One line of how it is going."""
    skews = [line["skew"] for line in lines[-80:] if "skew" in line]
    got = [line for line in lines if "got" in line]
    last: Line = {}
    with contextlib.suppress(OSError, IndexError, ValueError):
        last = json.loads(counts.read_text(encoding="utf-8").splitlines()[-1])
    fps = 0.0
    if len(got) > 6:
        fps = (got[-1]["got"] - got[-7]["got"]) / (got[-1]["at"] - got[-7]["at"])
    skew = f"{np.median(skews):+.1f} ms" if skews else "none"
    return (
        f"{passed / 60:5.1f} min: {last.get('rss_mb', 0):.1f} MB, {last.get('tasks')} tasks, {last.get('fds')} fds, "
        f"{last.get('objects')} objects; skew {skew}, {fps:.1f} fps; load {os.getloadavg()[0]:.1f}"
    )


def evaluate(lines: Sequence[Line], counts: Sequence[Line], seconds: float, loads: Sequence[float] = ()) -> Measured:
    """Figures of what viewer and server wrote. Raises ValueError when that is too little."""
    skews = np.array([[line["at"], line["skew"], line["arrived"]] for line in lines if "skew" in line])
    got = [line for line in lines if "got" in line]
    if len(skews) < max(20, seconds / 10) or len(got) < 3:
        raise ValueError(f"only {len(skews)} clicks were seen and heard in {seconds:.0f} s: nothing to judge by")
    begun = float(skews[0, 0])
    warm = begun + min(seconds * WARM_UP_SHARE, WARM_UP_MOST_S)
    ended = float(got[-1]["at"])
    lived = [line for line in counts if warm <= line["at"] <= ended]
    metrics: Metrics = {"hours": value((ended - begun) / 3600, "h")}
    metrics |= _memory(lived)
    metrics |= _skew(skews, warm, max(seconds * END_SHARE, 60.0))
    metrics |= _pictures(got, warm)
    if loads:
        metrics["load"] = spread(loads, "jobs waiting or running, 1 min")
    series = {"av_skew_ms": skews[:, 1].tolist(), "rss_mb": [line["rss_mb"] for line in counts]}
    return Measured({f"live.{name}": metric for name, metric in metrics.items()}, series)


def _memory(lived: Sequence[Line]) -> Metrics:
    """Slopes of what the server holds, an hour. Five minutes hang together, so they are one median."""
    at = np.array([line["at"] for line in lived]) / 3600
    if len(at) < 10:
        raise ValueError("the run is too short to tell whether memory grows")
    many = max(6, min(60, len(at) // 12))
    metrics: Metrics = {}
    for name, unit in (("rss_mb", "MB/h"), ("anonymous_mb", "MB/h"), ("blocks", "blocks/h"), ("objects", "objects/h")):
        found = slope(*medians(at, [line[name] for line in lived], many))
        metrics[name.replace("_mb", "") + "_slope_" + ("mb_h" if unit == "MB/h" else "h")] = _between(found, unit)
    metrics["rss_end_mb"] = value(float(np.median([line["rss_mb"] for line in lived[-12:]])), "MB")
    for name in ("tasks", "fds", "threads"):
        early, late = (np.median([line[name] for line in part]) for part in (lived[:12], lived[-12:]))
        metrics[f"{name}_grown"] = value(float(late - early), "")
    return metrics


def _skew(skews: NDArray[np.float64], warm: float, end: float) -> Metrics:
    """Heard minus seen, by the sender reports and the content; and how much later sound arrived than its picture."""
    at, last = skews[:, 0], float(skews[-1, 0])
    settled = at >= warm
    late, early = skews[at > last - end], skews[settled & (at < warm + end)]
    metrics: Metrics = {}
    for name, column in (("av_skew", 1), ("av_arrival", 2)):
        trend = slope(*medians(at[settled] / 3600, skews[settled, column], 60))
        metrics[f"{name}_ms"] = spread(skews[settled, column].tolist(), "ms")
        metrics[f"{name}_start_ms"] = value(float(np.median(early[:, column])), "ms")
        metrics[f"{name}_end_ms"] = value(float(np.median(late[:, column])), "ms")
        metrics[f"{name}_trend_ms_h"] = _between(trend, "ms/h")
    metrics["av_skew_abs_ms"] = spread(np.abs(skews[settled, 1]).tolist(), "ms")
    return metrics


def _pictures(got: Sequence[Line], warm: float) -> Metrics:
    """Pictures that came, and did not."""
    settled = [line for line in got if line["at"] >= warm]
    first, last = settled[0], settled[-1]
    span = last["at"] - first["at"]
    ages = [line["age_ms"] for line in settled if line["age_ms"] is not None]
    return {
        "fps": value((last["got"] - first["got"]) / span, "frames/s"),
        "freezes_200ms": value(last["freezes"] - first["freezes"], ""),
        "longest_gap_ms": value(max(line["gap_ms"] for line in settled[1:]), "ms"),
        "unread": value(last["unread"] - first["unread"], "frames"),
        "age_ms": spread(ages, "ms"),
        "age_trend_ms_h": _between(slope([line["at"] / 3600 for line in settled if line["age_ms"] is not None], ages),
                                   "ms/h"),
        "voice_skipped_by_engine_s": value(((last["dropped_ms"] or 0) - (first["dropped_ms"] or 0)) / 1000, "s"),
    }  # fmt: skip


def _between(found: Slope, unit: str) -> Any:
    return between(found.value, found.low, found.high, unit)
