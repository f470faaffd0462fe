"""Results as one page to read: plots, then every figure with its spread and what it means. No script, no network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from bench import compare, report_svg
from bench.all import SUMMARY
from bench.glossary import WAYS, look_up
from bench.report_charts import Chart, charts

Results = Mapping[str, Mapping[str, Any]]
MANY: Final = 40  # rows of a table that is folded when the page opens
# What somebody who reads a minute should see: suite, metric, words.
HEADLINES: Final = (
    ("latency", "engine_ms", "voice complete → picture painted"),
    ("stream", "glass_to_glass_ms", "glass to glass, in a browser"),
    ("stream", "voice_to_photon_ms", "voice → its lips on screen"),
    ("stream", "first_frame_ms", "click → first frame"),
    ("stream", "av_skew_abs_ms", "lips and voice apart"),
    ("load", "sessions", "sessions at once"),
    ("load", "deadline_miss_pct", "frames late, all of them busy"),
    ("load", "worker_kill_recovery_s", "a worker is killed → speaking again"),
    ("render", "ours.psnr_db", "pictures against photographs"),
    ("motion", "ours.asterisk.f1_6", "lips, F1 of six shapes"),
    ("portrait", "closure_seen", "p, b, m with lips seen to close"),
    ("soak", "rss_slope_mb_h", "memory grows"),
    ("soak", "interrupt_ms", "interrupted → mouth shut"),
    ("fuzz", "fuzz_crashes", "inputs not answered"),
)
STYLE: Final = Path(__file__).with_name("report.css")


def write(results: Path, page: Path, suites: Mapping[str, str]) -> None:
    """The results at ``results`` (a folder, or one file) as a page. Raises ValueError when there are none."""
    found = compare.load(results)
    order = {suite: found[suite] for suite in (*suites, *found) if suite in found}
    summary = results / SUMMARY
    run = json.loads(summary.read_text(encoding="utf-8")) if results.is_dir() and summary.is_file() else None
    page.parent.mkdir(parents=True, exist_ok=True)
    partial = page.with_name(f".{page.name}.part")
    partial.write_text(html(order, suites, run), encoding="utf-8")
    partial.replace(page)


def html(results: Results, suites: Mapping[str, str], run: Mapping[str, Any] | None = None) -> str:
    """The whole page. ``suites``: name -> about; ``run``: what ``all`` says of its suites."""
    jumps = " ".join(f'<a href="#{suite}">{suite}</a>' for suite in results)
    parts = [
        *_head(results),
        f"<nav class=small>{jumps}</nav>",
        *_outcomes(run),
        *_cards(results),
        *(_figure(chart) for chart in charts(results)),
        *(part for suite in results for part in _suite(suite, results[suite], suites.get(suite, ""))),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Visavis: benchmarks</title><style>{report_svg.STYLE}{STYLE.read_text(encoding='utf-8')}</style>"
        f"<main>{''.join(parts)}</main></html>\n"
    )


def _head(results: Results) -> Iterator[str]:
    machines = {_machine(result) for result in results.values()}
    commits = sorted({str(result.get("commit", "?")) for result in results.values()})
    dates = sorted(str(result.get("date", ""))[:10] for result in results.values())
    yield "<h1>Visavis: benchmarks</h1>"
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    where = f"{'; '.join(sorted(machines))}. {when}, commit{'s' * (len(commits) > 1)} {', '.join(commits)}."
    yield f'<p class="soft">{escape(where)}</p>'
    minds = []
    if len(machines) > 1:
        minds.append("These results are of <b>different machines</b>: no speed of one is to be set against another's.")
    if len(commits) > 1:
        minds.append("They are of different commits: each table says which.")
    if busy := [suite for suite, result in results.items() if _busy(result)]:
        minds.append(
            f"{escape(', '.join(busy))}: more jobs than threads ran on the machine when this was written; what the "
            "suite itself starts counts too. Speeds may be too slow."
        )
    yield from (f'<p class="mind small">{mind}</p>' for mind in minds)


def _outcomes(run: Mapping[str, Any] | None) -> Iterator[str]:
    """How ``all`` went: a line when all is well, a row for each suite that is not done."""
    if run is None:
        return
    rows = run["outcomes"]
    done = sum(row["how"] == "done" for row in rows)
    took = f"{run['seconds'] / 60:.1f} minutes{', quick' if run['quick'] else ''}"
    yield f"<p>{done} of {len(rows)} suites done in {took}.</p>"
    others = [row for row in rows if row["how"] != "done"]
    if others:
        lines = "".join(
            f'<tr><td>{escape(row["suite"])}<td class="{"soft" if row["how"] == "skipped" else "bad"}">{row["how"]}'
            f"<td>{escape(row['why'])}"
            for row in others
        )
        yield f"<table>{lines}</table>"


def _cards(results: Results) -> Iterator[str]:
    cards = []
    for suite, name, words in HEADLINES:
        metric = results.get(suite, {}).get("metrics", {}).get(name)
        if metric is None:
            continue
        if "p50" in metric:
            more = f"p95 {_number(metric['p95'])}, p99 {_number(metric['p99'])}, n {metric['n']:,}"
        else:
            more = _interval(metric) or "one value"
        big = f"{_number(metric.get('p50', metric.get('value')))} <span>{escape(metric['unit'])}</span>"
        label, foot = f'<span class="small">{escape(words)}</span>', f'<span class="soft small">{more} · {suite}</span>'
        cards.append(f'<div class="card">{label}<b>{big}</b>{foot}</div>')
    yield f'<div class="cards">{"".join(cards)}</div>'


def _figure(chart: Chart) -> str:
    note = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", re.sub(r"`(.+?)`", r"<code>\1</code>", escape(chart.note)))
    return f"<figure>{chart.drawing}<figcaption>{note}</figcaption></figure>"


def _suite(suite: str, result: Mapping[str, Any], about: str) -> Iterator[str]:
    metrics: Mapping[str, Any] = result["metrics"]
    yield f'<h2 id="{suite}">{suite}</h2><p>{escape(about)}</p>'
    load = result.get("machine", {}).get("load_1min")
    said = f"{_machine(result)}, load {load:.1f}" if load is not None else _machine(result)
    line = f"{result.get('commit')} · {str(result.get('date'))[:16].replace('T', ' ')} · {said}"
    if earlier := result.get("earlier"):
        kept = ", ".join(f"{name} ({row['commit']}, {row['date'][:10]})" for name, row in earlier.items())
        line += f". Kept from earlier: {kept}"
    yield f'<p class="soft small">{escape(line)}</p>'
    groups = _groups(metrics)
    for group, names in groups.items():
        table = _table(suite, {name: metrics[name] for name in names})
        if len(metrics) <= MANY and len(groups) == 1:
            yield table
        else:
            yield f"<details><summary>{escape(group)}: {len(names)} figures</summary>{table}</details>"


def _groups(metrics: Mapping[str, Any]) -> dict[str, list[str]]:
    """Few figures are one group; many are parted by their first words until the parts are short."""
    if len(metrics) <= MANY:
        return {"": list(metrics)}
    found: dict[str, list[str]] = {}
    for name in metrics:
        found.setdefault(name.split(".")[0] if "." in name else "the suite's own", []).append(name)
    return found


def _table(suite: str, metrics: Mapping[str, Any]) -> str:
    rows = []
    for name, metric in metrics.items():
        entry = look_up(suite, name)
        means, way = (entry.says, WAYS[entry.better]) if entry else ("", "")
        cells = [_number(metric.get(key)) for key in ("p50", "p95", "p99")]
        if "p50" not in metric:
            cells = [_number(metric.get("value")), "", ""]
        spread = _interval(metric) or (f"n {metric['n']:,}" if "n" in metric else "none" if "value" in metric else "")
        figures = "".join(f'<td class="n">{cell}' for cell in cells)
        rest = f'<td>{escape(metric["unit"])}<td class="n">{spread}<td>{way}<td>{escape(means)}'
        rows.append(f"<tr><td><code>{escape(name)}</code>{figures}{rest}")
    numbers = "".join(f'<th class="n">{key}' for key in ("p50 or value", "p95", "p99"))
    head = f'<tr><th>figure{numbers}<th>unit<th class="n">spread<th>better<th>'
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _interval(metric: Mapping[str, Any]) -> str:
    if metric.get("low") is None or metric.get("high") is None:
        return ""
    return f"{_number(metric['low'])} to {_number(metric['high'])}"


def _number(value: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    if not math.isfinite(value):
        return "never" if math.isinf(value) else "not seen"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _machine(result: Mapping[str, Any]) -> str:
    machine = result.get("machine", {})
    gpu: Sequence[str] = machine.get("gpu") or []
    cpu, threads = machine.get("cpu", "an unknown machine"), machine.get("threads", "?")
    return f"{cpu}, {threads} threads, {', '.join(gpu) or 'no GPU'}"


def _busy(result: Mapping[str, Any]) -> bool:
    machine = result.get("machine", {})
    return (machine.get("load_1min") or 0.0) > (machine.get("threads") or 1)
