"""The figures of suite ``motion`` as tables, Markdown and a plot: functions of its metrics alone.

``python -m bench.motion_report RESULT.json DOCUMENT.md PLOT.png`` draws a kept result again: the tables go between the
two marks of the document.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

Metrics = Mapping[str, Mapping[str, Any]]

# What a table says of a system on a set: (figure, heading, digits).
COLUMNS: Final = (
    ("lag_ms", "lag ms", 0), ("f1_15", "F1-15", 3), ("f1_8", "F1-8", 3), ("f1_6", "F1-6", 3),
    ("closure_recall", "closures found", 2), ("closure_precision", "closures right", 2),
    ("opening_corr", "opening r (said)", 2), ("f1_6_at_0", "F1-6, lag kept", 3),
)  # fmt: skip
PAINTED: Final = (
    ("painted_closure_recall", "painted closures found", 2), ("painted_closure_precision", "right", 2),
    ("painted_opening_corr", "opening r", 2), ("painted_lag_ms", "lag ms", 0), ("false_open_pct", "false open %", 2),
    ("silent_frames", "silent frames", 0),
)  # fmt: skip
TITLES: Final = {
    "ours": "Visavis", "rhubarb": "Rhubarb", "rhubarb_text": "Rhubarb + transcript", "headaudio": "HeadAudio",
    "wawa": "wawa-lipsync", "pylipsync": "pylipsync (uLipSync)", "openfacefx": "openfacefx naive (transcript)",
    "baseline.loudness": "loudness alone", "ours.lookahead0": "Visavis, lookahead 0",
    "ours.lookahead1": "Visavis, lookahead 1", "ours.lookahead2": "Visavis, lookahead 2",
}  # fmt: skip
WHOLE_FILE: Final = frozenset({"rhubarb", "rhubarb_text", "openfacefx"})
SETS: Final = {
    "asterisk": "Asterisk, one woman's real prompts", "librivox": "Librivox, real readers",
    "tts": "Harvard sentences, two synthetic voices",
    "asterisk_pauses": "the same as one call with pauses",
    "asterisk_10db": "Asterisk in pink noise, 10 dB",
    "asterisk_babble10db": "Asterisk among four other voices, 10 dB", "asterisk_8khz": "Asterisk over an 8 kHz line",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reach:
    """A figure we promised: ``at_least`` or at most ``target``."""

    metric: str
    target: float
    at_least: bool = True

    def met(self, metrics: Metrics) -> bool | None:
        """Whether it is reached; None when it was not measured."""
        if self.metric not in metrics:
            return None
        got = _number(metrics[self.metric])
        return got >= self.target if self.at_least else got <= self.target


REACH: Final = (
    Reach("ours.asterisk.f1_15", 0.60), Reach("ours.asterisk.f1_6", 0.72), Reach("ours.asterisk.closure_recall", 0.93),
    Reach("ours.asterisk.closure_precision", 0.85), Reach("ours.asterisk.opening_corr", 0.8),
    Reach("ours.asterisk.lag_ms", 20, False), Reach("ours.asterisk.lag_ms", -20), Reach("ours.librivox.f1_15", 0.52),
    Reach("ours.librivox.f1_6", 0.64), Reach("ours.librivox.closure_recall", 0.85),
    Reach("ours.librivox.closure_precision", 0.77), Reach("ours.librivox.opening_corr", 0.72),
    Reach("false_open_pct", 1.0, False), Reach("ours.es.closure_recall", 0.85), Reach("ours.fr.closure_recall", 0.85),
    Reach("ours.it.closure_recall", 0.85), Reach("ours.ru.closure_recall", 0.85), Reach("emotion_acc", 0.8),
    Reach("beat_alignment.head.p", 0.05, False), Reach("diversity.lip_gap_mm", 0.1, False),
    Reach("step_ms", 4.0, False), Reach("step_cpu_ms", 4.0, False),
)  # fmt: skip
BEGIN: Final = "<!-- figures of bench/run.py motion: begin -->"
END: Final = "<!-- figures of bench/run.py motion: end -->"
KEPT_IN_NOISE: Final = 0.85  # share of F1-15 that noise and a narrow line must leave


def _number(metric: Mapping[str, Any]) -> float:
    return float(metric["value"] if "value" in metric else metric["p99"])


def systems_of(metrics: Metrics, name: str) -> list[str]:
    """The systems that were scored on set ``name``, best F1-6 first."""
    ending = f".{name}.f1_6"
    found = [key.removesuffix(ending) for key in metrics if key.endswith(ending)]
    return sorted(found, key=lambda s: -_number(metrics[f"{s}{ending}"]))


def sets_of(metrics: Metrics) -> list[str]:
    """The sets that were scored, in the order of the run."""
    return [key.removesuffix(".prompts") for key in metrics if key.endswith(".prompts")]


def _cell(metrics: Metrics, key: str, digits: int) -> str:
    return f"{_number(metrics[key]):.{digits}f}" if key in metrics else "-"


def rows(metrics: Metrics, name: str) -> list[list[str]]:
    """The table of one set as text: a row a system."""
    out = []
    for system in systems_of(metrics, name):
        title = TITLES.get(system, system) + (" *" if system in WHOLE_FILE else "")
        lead = metrics.get(f"ours.{name}.lead_over.{system}.f1_6")
        ahead = f"{lead['value']:+.3f} [{lead['low']:+.3f}, {lead['high']:+.3f}]" if lead else ""
        out.append([title, *(_cell(metrics, f"{system}.{name}.{c}", digits) for c, _, digits in COLUMNS), ahead])
    return out


def heads(metrics: Metrics, name: str) -> list[str]:
    """The headings of ``rows``."""
    return ["system", *(heading for _, heading, _ in COLUMNS), "our lead in F1-6 [95%]"]


def about(metrics: Metrics, name: str) -> str:
    """What set ``name`` is, and how much of it there is."""
    title = SETS.get(name, f"unseen language: {name}")
    return f"{title} ({_cell(metrics, f'{name}.prompts', 0)} recordings, {_cell(metrics, f'{name}.seconds', 0)} s)"


def painted_rows(metrics: Metrics) -> list[list[str]]:
    """What our pictures show, a row a set (and a lookahead)."""
    out = []
    for name in sets_of(metrics):
        for system in ("ours", "ours.lookahead0", "ours.lookahead1", "ours.lookahead2"):
            if f"{system}.{name}.painted_closure_recall" in metrics:
                cells = [_cell(metrics, f"{system}.{name}.{c}", digits) for c, _, digits in PAINTED]
                out.append([f"{about(metrics, name)}: {TITLES[system]}", *cells])
    return out


def reach_rows(metrics: Metrics) -> list[list[str]]:
    """What was promised, what was measured, and whether it is enough."""
    out = []
    for reach in REACH:
        met = reach.met(metrics)
        if met is not None:
            sign = ">=" if reach.at_least else "<="
            out.append([reach.metric, f"{sign} {reach.target:g}", f"{_number(metrics[reach.metric]):.3f}", _yes(met)])
    clean = metrics.get("ours.asterisk.f1_15")
    for name in ("asterisk_10db", "asterisk_8khz"):
        changed = metrics.get(f"ours.{name}.f1_15")
        if clean and changed:
            kept = _number(changed) / max(_number(clean), 1e-9)
            out.append([f"F1-15 kept, {name}", f">= {KEPT_IN_NOISE:g}", f"{kept:.3f}", _yes(kept >= KEPT_IN_NOISE)])
    for key, metric in metrics.items():
        if key.startswith("ours.asterisk.lead_over.") and key.endswith(".f1_6"):
            out.append([key, "interval > 0", f"[{metric['low']:.3f}, {metric['high']:.3f}]", _yes(metric["low"] > 0)])
    return out


def _yes(met: bool) -> str:
    return "yes" if met else "NO"


def tables(metrics: Metrics) -> list[Table]:
    """What a run prints: a table a set, what is painted, everything else, and what was promised."""
    out = [_table(about(metrics, name), heads(metrics, name), rows(metrics, name)) for name in sets_of(metrics)]
    out.append(_table("painted", ["set", *(h for _, h, _ in PAINTED)], painted_rows(metrics)))
    scored = tuple(f".{name}." for name in sets_of(metrics))
    rest = [(k, m) for k, m in metrics.items() if not any(s in f".{k}" for s in scored)]
    rest = [(k, m) for k, m in rest if not k.endswith((".prompts", ".seconds"))]
    out.append(_table("and", ["metric", "figure", "unit"], [[k, _plain(m), str(m["unit"])] for k, m in rest]))
    out.append(_table("reach", ["figure", "promised", "measured", "met"], reach_rows(metrics)))
    return out


def _plain(metric: Mapping[str, Any]) -> str:
    if "p50" in metric:
        return f"p50 {metric['p50']:g}, p95 {metric['p95']:g}, p99 {metric['p99']:g}"
    return f"{metric['value']:g}"


def _table(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for row in cells:
        table.add_row(*row)
    return table


def markdown(metrics: Metrics) -> str:
    """The same tables for a document."""
    parts = []
    for name in sets_of(metrics):
        parts.append(_markdown(f"### {about(metrics, name)}", heads(metrics, name), rows(metrics, name)))
    parts.append("\\* reads the whole recording (or a transcript) before its first answer; the others listen.")
    parts.append(_markdown("### What the pictures show", ["set", *(h for _, h, _ in PAINTED)], painted_rows(metrics)))
    parts.append(_markdown("### Reach", ["figure", "promised", "measured", "met"], reach_rows(metrics)))
    return "\n\n".join(parts) + "\n"


def _markdown(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [columns, *cells]]
    lines.insert(1, "|---|" + "---:|" * (len(columns) - 1))
    return f"{title}\n\n" + "\n".join(lines)


def plot(metrics: Metrics, path: Path) -> Path:
    """F1-15, F1-6 and closures of every system on real speech, with 95% intervals, as one PNG.

    Raises ValueError when matplotlib is not installed or nothing was scored.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'visavis[train]'") from None
    names = [n for n in ("asterisk", "librivox") if systems_of(metrics, n)] or sets_of(metrics)[:1]
    if not names:
        raise ValueError("nothing was scored: there is nothing to draw")
    figures = (("f1_15", "F1, 15 visemes"), ("f1_6", "F1, 6 mouth classes"), ("closure_recall", "lip closures found"),
               ("closure_precision", "lip closures that are right"))  # fmt: skip
    figure = Figure(figsize=(13, 3.4 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), len(figures), squeeze=False, sharey="row")
    for line, name in zip(grid, names, strict=True):
        systems = systems_of(metrics, name)[::-1]
        for axes, (key, title) in zip(line, figures, strict=True):
            for y, system in enumerate(systems):
                metric = metrics.get(f"{system}.{name}.{key}")
                if metric is None:
                    axes.text(0.01, y, "does not say", va="center", fontsize=7, color="0.5")
                    continue
                colour = "#c2410c" if system == "ours" else "#f0b590" if system.startswith("ours") else "#64748b"
                axes.barh(y, metric["value"], color=colour, height=0.7, hatch="//" if system in WHOLE_FILE else "",
                          edgecolor="white")  # fmt: skip
                axes.plot([metric["low"], metric["high"]], [y, y], color="black", linewidth=1)
            axes.set(xlim=(0, 1), title=f"{title}", yticks=range(len(systems)))
            axes.set_yticklabels([TITLES.get(s, s) for s in systems], fontsize=8)
            axes.grid(axis="x", alpha=0.3)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel(about(metrics, name).replace(" (", "\n("), fontsize=8)
    figure.supxlabel("lag removed; line: 95% bootstrap interval over recordings; hatched: reads the whole file or a "
                     "transcript first", fontsize=8)  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def into(document: str, result: Mapping[str, Any]) -> str:
    """``document`` with the tables of ``result`` between its marks. Raises ValueError when it has no marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no place for tables: it needs the lines {BEGIN} and {END}")
    machine = result["machine"]
    made = f"Measured {result['date'][:10]} at {result['commit']} on {machine['cpu']}, {machine['threads']} threads."
    return f"{before}{BEGIN}\n{made}\n\n{markdown(result['metrics'])}{END}{after}"


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python -m bench.motion_report RESULT.json DOCUMENT.md PLOT.png")
    kept, page = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    page.write_text(into(page.read_text(encoding="utf-8"), kept), encoding="utf-8")
    plot(kept["metrics"], Path(sys.argv[3]))
