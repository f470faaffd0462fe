"""Two results side by side: which figures changed by more than their spread, and to the better or the worse."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.all import SUMMARY
from bench.glossary import look_up

# Standard error of a quantile of n samples of a normal distribution, in standard deviations times sqrt(n).
QUANTILES: Final = {"p50": 1.253, "p95": 2.113, "p99": 3.733}
TO_P95: Final = 1.645  # standard deviations from the median to p95
INDEPENDENT: Final = 100  # samples that are taken as they are; more are frames in a row, of which one a second counts
A_SECOND: Final = 25


@dataclass(frozen=True, slots=True)
class Row:
    """One figure in both. ``spread``: how far it may be off, in its unit; None when nothing says."""

    suite: str
    metric: str
    key: str  # p50, p95, p99 or value
    unit: str
    a: float
    b: float
    spread: float | None
    better: str  # less, more, near0, none
    noise: float

    @property
    def ratio(self) -> float:
        """B over A; NaN when A is 0."""
        return self.b / self.a if self.a else math.nan

    @property
    def change(self) -> float:
        """By how much of A it changed; infinite from 0."""
        return abs(self.b - self.a) / abs(self.a) if self.a else math.inf if self.b else 0.0

    @property
    def verdict(self) -> str:
        """same, better, worse, changed (neither is better), or unsure: it changed, and no spread says whether that is
        chance."""
        if self.change <= self.noise or (self.spread is not None and abs(self.b - self.a) <= self.spread):
            return "same"
        if self.spread is None:
            return "unsure"
        return {True: "better", False: "worse", None: "changed"}[self.gain]

    @property
    def gain(self) -> bool | None:
        """Whether B is better; None where neither way is."""
        nearer = abs(self.b) < abs(self.a)
        return {"less": self.b < self.a, "more": self.b > self.a, "near0": nearer}.get(self.better)


@dataclass
class Comparison:
    """What two folders have in common. ``warnings``: what makes them hard to compare, in words."""

    names: tuple[str, str]
    rows: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)


def load(path: Path) -> dict[str, dict[str, Any]]:
    """The results at ``path``, a file or a folder, by suite. Raises ValueError for what is none."""
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    found = {}
    for file in files:
        if path.is_dir() and (file.name == SUMMARY or file.name.startswith(".")):
            continue
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            for name, metric in result["metrics"].items():
                if not isinstance(metric, dict) or "unit" not in metric:
                    raise ValueError(f"{name} has no unit")
            found[str(result["suite"])] = result
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is no result of bench/run.py: {error!r:.200}") from None
    if not found:
        raise ValueError(f"{path}: no results of bench/run.py in it; they are SUITE.json")
    return found


def folders(a: Path, b: Path, noise: float = 0.03) -> Comparison:
    """Every figure that both have. ``noise``: the share by which nothing is said to have changed."""
    before, after = load(a), load(b)
    both = [suite for suite in before if suite in after]
    if not both:
        raise ValueError(f"nothing to compare: {a} has {', '.join(before)}; {b} has {', '.join(after)}")
    found = Comparison((str(a), str(b)))
    for suite in both:
        one, other = before[suite], after[suite]
        found.headings.append(f"{suite}: {_when(one)} → {_when(other)}")
        found.warnings += [f"{suite}: {text}" for text in differences(one, other)]
        found.rows += rows(suite, one["metrics"], other["metrics"], noise)
    for path, mine, theirs in ((a, before, after), (b, after, before)):
        if alone := [suite for suite in mine if suite not in theirs]:
            found.warnings.append(f"only in {path}: {', '.join(alone)}")
    return found


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """What is not the same about the machines, in words: then a ratio says little about the program."""
    was, now = a.get("machine", {}), b.get("machine", {})
    for key in ("cpu", "threads", "gpu", "system", "python"):
        if was.get(key) != now.get(key):
            yield f"another {'machine' if key in ('cpu', 'threads', 'gpu') else key}: {was.get(key)} → {now.get(key)}"
    for name, machine in (("A", was), ("B", now)):
        load = machine.get("load_1min") or 0.0
        if load > (machine.get("threads") or 1):
            yield f"{name} was measured on a busy machine: load {load:.1f} on {machine.get('threads')} threads"
    if a.get("earlier") or b.get("earlier"):
        yield "parts were kept from earlier runs, at other commits: see `earlier` in the results"


def rows(suite: str, a: Mapping[str, Any], b: Mapping[str, Any], noise: float) -> Iterator[Row]:
    """A row for every number that both have of a figure with the same unit."""
    for name, one in a.items():
        other = b.get(name)
        if other is None or other["unit"] != one["unit"]:
            continue
        entry = look_up(suite, name)
        for key in ("p50", "p95", "p99", "value"):
            was, now = one.get(key), other.get(key)
            if isinstance(was, int | float) and isinstance(now, int | float) and math.isfinite(was + now):
                better = entry.better if entry else "none"
                yield Row(suite, name, key, one["unit"], was, now, spread(one, other, key), better, noise)


def spread(a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> float | None:
    """How far two values of a figure may lie apart by chance: twice the standard error of their difference, or half of
    both intervals. None when neither says."""
    if key in QUANTILES and all(each.get("n") and each.get("p95") is not None for each in (a, b)):
        return 2 * math.hypot(*(_error(each, key) for each in (a, b)))
    if all(each.get("low") is not None and each.get("high") is not None for each in (a, b)):
        up = b["value"] >= a["value"]
        return (
            (a["high"] - a["value"]) + (b["value"] - b["low"])
            if up
            else (a["value"] - a["low"]) + (b["high"] - b["value"])
        )
    return None


def _error(metric: Mapping[str, Any], key: str) -> float:
    n = metric["n"] if metric["n"] <= INDEPENDENT else max(INDEPENDENT, metric["n"] / A_SECOND)
    deviation: float = (metric["p95"] - metric["p50"]) / TO_P95
    return QUANTILES[key] * deviation / math.sqrt(n)


def worse(found: Comparison, by: float) -> list[Row]:
    """Figures that got worse by more than that share: beyond their spread, or without one."""
    return [row for row in found.rows if row.verdict in ("worse", "unsure") and row.gain is False and row.change > by]


def show(found: Comparison, console: Console, *, every_row: bool = False) -> None:
    """Warnings first, then what changed, then how much did not."""
    for heading in found.headings:
        console.print(heading, highlight=False)
    for warning in found.warnings:
        console.print(f"[bold yellow]mind:[/] {warning}", highlight=False)
    for title, verdicts in (
        ("beyond the spread", ("worse", "better", "changed")),
        ("changed, and nothing says whether by chance (one value, no interval)", ("unsure",)),
        ("within the spread", ("same",) if every_row else ()),
    ):
        if shown := [row for verdict in verdicts for row in found.rows if row.verdict == verdict]:
            console.print(_table(title, shown))
    counts = {
        word: sum(row.verdict == word for row in found.rows)
        for word in ("worse", "better", "changed", "unsure", "same")
    }
    console.print(
        f"{len(found.rows)} numbers: {counts['worse']} worse, {counts['better']} better, {counts['changed']} changed "
        f"otherwise, {counts['unsure']} without a spread, {counts['same']} as they were"
        + ("" if every_row or not counts["same"] else " (--all shows them)"),
        highlight=False,
    )  # fmt: skip


def _table(title: str, shown: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("figure", overflow="fold")
    for column in ("", "A", "B", "ratio", "± by chance"):
        table.add_column(column, justify="right")
    for column in ("unit", ""):
        table.add_column(column)
    style = {"worse": "red", "better": "green"}
    word = {True: "better?", False: "worse?", None: ""}
    for row in shown:
        said = word[row.gain] if row.verdict == "unsure" else "" if row.verdict == "same" else row.verdict
        table.add_row(
            f"{row.suite}.{row.metric}", row.key if row.key != "value" else "", f"{row.a:.4g}", f"{row.b:.4g}",
            "" if math.isnan(row.ratio) else f"{row.ratio:.3f}", "" if row.spread is None else f"{row.spread:.2g}",
            row.unit, f"[{style.get(row.verdict, 'default')}]{said}[/]",
        )  # fmt: skip
    return table


def _when(result: Mapping[str, Any]) -> str:
    return f"{result.get('commit', '?')} of {str(result.get('date', '?'))[:16]}"
