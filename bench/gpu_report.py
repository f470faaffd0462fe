"""What suite `gpu` shows: tables, what of the reach is met, and the plot: functions of its figures alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.table import Table

Metrics = Mapping[str, Mapping[str, Any]]
# What issue 7 wants of an H200, `base`, 512 x 512, 1 step: figure, which of its numbers, at most or at least, how much.
REACH: Final = (
    ("BEST.512.1.b1.whole_ms", "p99", "<=", 5.0), ("BEST.512.1.b1.frames_s", "value", ">=", 300.0),
    ("streams.count", "value", ">=", 64.0), ("overhead.replay_us", "p50", "<=", 50.0),
    ("tensorrt_over_compile", "value", ">=", 1.5), ("stage.raster.b16_ms_a_frame", "value", "<=", 0.2),
    ("startup.cached_s", "value", "<=", 5.0),
)  # fmt: skip


def best(metrics: Metrics) -> str:
    """The backend with the shortest tick of one session at 512, one step; "" without any."""
    ticks = {name: row for name, row in metrics.items() if name.endswith(".512.1.b1.tick_ms") and "p50" in row}
    found = {name.partition(".")[0]: row["p50"] for name, row in ticks.items()}
    return min(found, key=lambda name: found[name]) if found else ""


def derived(metrics: Metrics) -> dict[str, dict[str, Any]]:
    """Figures that follow from others."""
    out = {}
    for batch in (16, 4, 1):
        rows = [f"{name}.512.1.b{batch}.tick_ms" for name in ("torch-compile", "tensorrt")]
        if all(name in metrics for name in rows):
            compiled, tensorrt = (metrics[name]["p50"] for name in rows)
            out["tensorrt_over_compile"] = {"value": round(compiled / tensorrt, 3), "unit": f"x, batch {batch}"}
            break
    return out


def reach(metrics: Metrics) -> list[tuple[str, str, str, str]]:
    """(figure, wanted, measured, met) of REACH; what was not measured is said so."""
    rows = []
    for name, key, sign, wanted in REACH:
        row = metrics.get(name.replace("BEST", best(metrics)))
        if row is None or row.get(key) is None:
            rows.append((name, f"{sign} {wanted:g}", "not measured", ""))
            continue
        number = float(row[key])
        met = number <= wanted if sign == "<=" else number >= wanted
        rows.append(
            (name.replace("BEST", best(metrics)), f"{sign} {wanted:g}", f"{number:.3g}", "yes" if met else "NO")
        )
    return rows


def tables(metrics: Metrics, rehearsed: bool) -> list[Table]:
    """What is printed."""
    if rehearsed:
        table = Table("went through, no times", title="rehearsal: no times", title_justify="left")
        for name in metrics:
            table.add_row(name)
        return [table]
    ticks = Table("backend.size.steps.batch", "p50 ms", "p95", "p99", "on the GPU", "frames/s", title="A tick")
    for name, row in metrics.items():
        if name.endswith(".tick_ms"):
            base = name.removesuffix(".tick_ms")
            on_gpu, rate = metrics.get(f"{base}.gpu_ms", {}), metrics.get(f"{base}.frames_s", {})
            shown = (*(row[key] for key in ("p50", "p95", "p99")), on_gpu.get("p50", float("nan")))
            ticks.add_row(base, *(f"{number:.2f}" for number in shown), f"{rate.get('value', float('nan')):.0f}")
    stages = Table("stage.batch", "p50 ms", "p95", "p99", title="Where the GPU's time goes")
    for name, row in metrics.items():
        if name.startswith("stage.") and "p50" in row:
            stages.add_row(name.removeprefix("stage."), *(f"{row[key]:.3f}" for key in ("p50", "p95", "p99")))
    other = Table("figure", "value", "p99", "unit", title="And")
    for name, row in metrics.items():
        if name.partition(".")[0] in ("overhead", "streams", "startup", "power", "tensorrt_over_compile", "absent"):
            number = row.get("value", row.get("p50"))
            other.add_row(name, "" if number is None else f"{number:g}", f"{row.get('p99', '')}", str(row["unit"]))
    wanted = Table("reach (issue 7, on an H200)", "wanted", "measured", "met")
    for line in reach(metrics):
        wanted.add_row(*line)
    return [ticks, stages, other, wanted]


def plot(folder: Path, metrics: Metrics) -> Path:
    """Milliseconds of a tick and frames a second by batch for each backend, and the stages. Raises ValueError when
    matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'visavis[train]'") from None
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    curves: dict[str, list[tuple[int, float, float]]] = {}
    for name, row in metrics.items():
        if name.endswith(".tick_ms") and "p99" in row:
            base, _, batch = name.removesuffix(".tick_ms").rpartition(".b")
            rate = metrics.get(f"{base}.b{batch}.frames_s", {}).get("value", 0.0)
            curves.setdefault(base, []).append((int(batch), row["p99"], rate))
    for base, points in curves.items():
        points.sort()
        left.plot([p[0] for p in points], [p[1] for p in points], "o-", label=base)
        middle.plot([p[0] for p in points], [p[2] for p in points], "o-", label=base)
    left.axhline(40, color="k", lw=0.8, ls="--")
    left.set(xscale="log", yscale="log", xlabel="sessions in a tick", ylabel="ms, p99", title="a tick")
    middle.set(xscale="log", xlabel="sessions in a tick", ylabel="frames a second", title="throughput")
    stages: dict[str, dict[str, float]] = {}
    for name, row in metrics.items():
        if name.startswith("stage.") and "p50" in row:
            stage, _, batch = name.removeprefix("stage.").removesuffix("_ms").rpartition(".b")
            stages.setdefault(batch, {})[stage] = row["p50"] / int(batch)
    names = list(dict.fromkeys(stage for row in stages.values() for stage in row))
    for k, batch in enumerate(sorted(stages, key=int)):
        bottom = 0.0
        for j, stage in enumerate(names):
            height = stages[batch].get(stage, 0.0)
            right.bar(k, height, bottom=bottom, color=f"C{j}", label=stage if k == 0 else None)
            bottom += height
    right.set_xticks(range(len(stages)), sorted(stages, key=int))
    right.set(xlabel="sessions in a tick", ylabel="ms a frame on the GPU", title="stages")
    for axes in (left, middle, right):
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=7)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gpu.png"
    figure.savefig(path, dpi=110)
    return path
