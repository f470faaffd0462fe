"""What suite ``speed`` shows: what is compared, how long it takes, its parts, and what others say of theirs; a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from bench.speed_run import RUNTIMES

Metrics = Mapping[str, Mapping[str, Any]]
DEADLINE: Final = 40.0  # ms a picture at 25 fps
OWN: Final = {"shipped": ", as shipped (8 bits)", "whole": ", the whole frame"}


def tables(systems: Sequence[Any], metrics: Metrics, runtimes: Sequence[str]) -> list[Table]:
    """For the terminal."""
    from bench.networks.systems import PUBLISHED

    threads = metrics["networks.threads"]["value"]
    out = [_table("what is compared; weights of others are random, ours are shipped",
                  ["system", "paints", "size", "M parameters", "GFLOP a picture", "steps", "not in it", "licence"],
                  [compared(system, metrics) for system in systems])]  # fmt: skip
    for runtime in runtimes:
        title = (
            f"{RUNTIMES[runtime]}, {threads:g} threads, batch 1; times ours: the same precision, 256 or 512, by rounds"
        )
        columns = ["network", "p50 ms", "p95 ms", "n", "fps at most", "Mpixel/s", "times ours", "error"]
        out.append(_table(title, columns, timed(systems, metrics, runtime)))
    parts = parts_rows(systems, metrics, runtimes)
    if parts:
        out.append(_table("parts, p50 ms a run", ["part", "runs a picture", *(RUNTIMES[r] for r in runtimes)], parts))
    out.append(_table("what others have published, on their machines: no ratio to the above",
                      ["system", "machine", "speed", "source"], PUBLISHED))  # fmt: skip
    return out


def compared(system: Any, metrics: Metrics) -> list[str]:
    """One system's row of what is compared."""
    name, (width, height) = f"networks.{system.name}", system.size
    return [
        system.title, system.paints, f"{width} x {height}", f"{metrics[f'{name}.parameters']['value']:.1f}",
        f"{metrics[f'{name}.gflop']['value']:.1f}", system.steps, system.missing, system.licence,
    ]  # fmt: skip


def timed(systems: Sequence[Any], metrics: Metrics, runtime: str) -> list[list[str]]:
    """A row a network, and for ours also what is shipped and the whole frame; "-" where it was not timed."""
    out = []
    for system in systems:
        for kind in (None, *OWN):
            name = f"{runtime}.{system.name}" + (f".{kind}" if kind else "")
            if kind is None or f"{name}.ms_per_frame" in metrics:
                out.append([system.title + (OWN[kind] if kind else ""), *_times(metrics, name, system.pixels),
                            _error(metrics, name, system, kind)])  # fmt: skip
    return out


def _times(metrics: Metrics, name: str, pixels: int) -> list[str]:
    ms = metrics.get(f"{name}.ms_per_frame")
    if ms is None:
        return ["-"] * 6
    times = metrics.get(f"{name}.of_ours")
    return [
        rounded(ms["p50"]), rounded(ms["p95"]), str(ms["n"]), f"{1e3 / ms['p50']:.3g}",
        f"{pixels / ms['p50'] / 1e3:.3g}", f"{times['value']:.3g}" if times else "-",
    ]  # fmt: skip


def _error(metrics: Metrics, name: str, system: Any, kind: str | None) -> str:
    if kind is not None:
        return f"{metrics[f'{name}.error']['value']:.2g}"
    found = [m["value"] for key, m in metrics.items()
             if key.startswith(f"{name}.") and key.endswith(".error") and key.split(".")[-2] not in OWN]  # fmt: skip
    return f"{max(found):.2g}" if found else "-"


def parts_rows(systems: Sequence[Any], metrics: Metrics, runtimes: Sequence[str]) -> list[list[str]]:
    """Parts of those that have several."""
    out = []
    for system in systems:
        for part in system.parts if len(system.parts) > 1 else ():
            cells = [metrics.get(f"{runtime}.{system.name}.{part.name}.run_ms") for runtime in runtimes]
            often = f"{part.per_frame:.3g}" if part.per_frame else "0 (once a person)"
            out.append([f"{system.title}: {part.name}", often, *(rounded(c["p50"]) if c else "-" for c in cells)])
    return out


def titled(system: Any) -> str:
    """With its size, where the title does not say it."""
    width, height = system.size
    return str(system.title) if system.title.endswith(str(width)) else f"{system.title}, {width} x {height}"


def bars(systems: Sequence[Any], metrics: Metrics, runtimes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Median milliseconds by title and runtime, of what was timed."""
    out: dict[str, dict[str, float]] = {}
    for system in systems:
        for kind in (None, *OWN):
            for runtime in runtimes:
                ms = metrics.get(f"{runtime}.{system.name}{f'.{kind}' if kind else ''}.ms_per_frame")
                if ms is not None:
                    out.setdefault(titled(system) + (OWN[kind] if kind else ""), {})[runtime] = ms["p50"]
    return out


def plot(drawn: Mapping[str, Mapping[str, float]], path: Path) -> Path:
    """Bars by system and runtime, and the deadline, as one PNG. Raises ValueError without matplotlib or times."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'visavis[train]'") from None
    if not drawn:
        raise ValueError("no network was timed: there is nothing to draw")
    figure = Figure(figsize=(10, 1.2 + 0.42 * len(drawn)), layout="constrained")
    axes, titles = figure.subplots(), list(drawn)[::-1]
    names = [name for name in RUNTIMES if any(name in times for times in drawn.values())]
    height, shades = 0.8 / len(names), {"ort_f32": 0.45, "openvino_f32": 0.7, "openvino_bf16": 1.0}
    for i, name in enumerate(names):
        for y, title in enumerate(titles):
            if name in drawn[title]:
                colour = "#c2410c" if title.startswith("Visavis") else "#475569"
                at = y + 0.4 - (i + 0.5) * height
                axes.barh(at, drawn[title][name], height * 0.9, color=colour, alpha=shades[name])
                axes.text(drawn[title][name] * 1.05, at, rounded(drawn[title][name]), va="center", fontsize=6.5)
    axes.axvline(DEADLINE, color="black", linewidth=1, linestyle="--")
    axes.text(DEADLINE * 1.03, len(titles) - 0.45, "40 ms: 25 fps", fontsize=7)
    axes.set_xscale("log")
    axes.set(
        yticks=range(len(titles)),
        xlabel="ms a picture, median; light to dark: " + ", ".join(RUNTIMES[n] for n in names),
    )
    axes.set_yticklabels(titles, fontsize=8)
    axes.set_title("networks alone, and our whole frame, on the same cores; weights of others are random", fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def rounded(ms: float) -> str:
    """With three digits, and never as a power of ten."""
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


def _table(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if "ms" in column or column in _RIGHT else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    return table


_RIGHT: Final = frozenset({"n", "fps at most", "Mpixel/s", "times ours", "error", "M parameters", "GFLOP a picture"})
