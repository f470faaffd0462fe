"""What suite ``load`` draws: sessions against misses, against lateness, and against the cores they take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.load_traces import MOST_MISSED
from engine.clock import FRAME_SECONDS

MS: Final = (5, 10, 20, 40, 80, 160, 320, 640)


@dataclass(frozen=True)
class Curve:
    """One part and size: by number of ``sessions``, misses in %, p95 and p99 in ms, and cores busy."""

    name: str
    sessions: Sequence[int]
    missed_pct: Sequence[float]
    p95: Sequence[float]
    p99: Sequence[float]
    cores: Sequence[float]


def draw(folder: Path, curves: Sequence[Curve]) -> Path:
    """One PNG of three plots. Raises ValueError when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'visavis[train]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    misses, late, cores = figure.subplots(1, 3)
    for k, curve in enumerate(curves):
        colour, x = f"C{k}", curve.sessions
        misses.plot(x, curve.missed_pct, "o-", color=colour, label=curve.name)
        late.plot(x, curve.p95, "o-", color=colour, label=f"{curve.name}, p95")
        late.plot(x, curve.p99, "o:", color=colour, alpha=0.6)
        cores.plot(x, curve.cores, "o-", color=colour, label=curve.name)
        if curve.cores:
            one = curve.cores[0] / x[0]
            cores.plot(x, [one * n for n in x], "--", color=colour, alpha=0.35)
    misses.axhline(100 * MOST_MISSED, color="grey", linewidth=0.8)
    misses.set_yscale("symlog", linthresh=1.0)
    misses.set(ylabel="frames missed, worst session, %", title="Deadlines missed (line: 1 %)", ylim=(0, 110))
    misses.set_yticks((0, 0.5, 1, 3, 10, 30, 100), labels=("0", "0.5", "1", "3", "10", "30", "100"), minor=False)
    late.axhline(1e3 * FRAME_SECONDS, color="grey", linewidth=0.8)
    late.set_yscale("log")
    late.set_yticks([], minor=True)
    late.set_yticks(MS, labels=map(str, MS), minor=False)
    late.set(ylabel="ms from the last voice to the picture", title="Lateness: p95, p99 dotted (line: deadline)")
    cores.axhline(os.cpu_count() or 1, color="grey", linewidth=0.8)
    cores.set(ylabel="cores busy", title="Cost (dashed: n times one session)", ylim=(0, None))
    for axes in (misses, late, cores):
        axes.set_xlabel("sessions at once")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(fontsize="x-small")
    path = folder / "load.png"
    figure.savefig(path, dpi=110)
    return path
