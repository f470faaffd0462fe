"""Suite ``load``: how many sessions at once, what the next one costs, what overload and dead processes do to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import load_inprocess, load_kill, load_live, load_overload, load_plot
from bench.load_server import Mode, settings
from bench.load_traces import Verdict, capacity, sublinear
from bench.report import Measured, Metrics, spread, value

PARTS: Final = ("inprocess", "websocket", "webrtc", "overload", "kill", "ticks")
QUICK: Final = ("inprocess", "webrtc", "kill", "ticks")  # in a minute
SIDE: Final = 256  # of the sessions that the headline counts
LARGE: Final = 512
MOST: Final = 10
TICK_SESSIONS: Final = 1000


@dataclass(frozen=True)
class Plan:
    """How much of it: seconds for each number of sessions, the most of them by size in pixels, the ``first`` number at
    a server; sessions that speak when something is killed, seconds of the scheduler's own time. ``whole``: more is
    killed than the process that paints."""

    seconds: float
    most: dict[int, int]
    first: int
    killed: int
    ticks_s: float
    whole: bool


FULL: Final = Plan(10.0, {SIDE: MOST, LARGE: 4}, first=1, killed=2, ticks_s=10.0, whole=True)
SHORT: Final = Plan(3.0, {SIDE: 2}, first=2, killed=1, ticks_s=2.0, whole=False)


@dataclass
class Point:
    """What so many sessions of one part and size were like."""

    sessions: int
    verdicts: Sequence[Verdict]
    cores: float
    headroom: float | None = None
    refusal: str | None = None

    @property
    def fine(self) -> bool:
        """Whether each of them keeps up, at full quality."""
        return all(verdict.whole for verdict in self.verdicts)

    @property
    def in_time(self) -> bool:
        """Whether each of them keeps up, in whatever quality."""
        return all(verdict.keeps_up for verdict in self.verdicts)

    @property
    def late(self) -> list[float]:
        """Of all their frames, ms from the last voice to the picture."""
        return [ms for verdict in self.verdicts for ms in verdict.late]

    @property
    def fps(self) -> float:
        """Of the session that has the fewest."""
        return min(verdict.fps for verdict in self.verdicts)

    @property
    def missed_pct(self) -> float:
        """Of the session that missed the most."""
        return 100 * max(verdict.missed_share for verdict in self.verdicts)

    @property
    def degraded_pct(self) -> float:
        """Of all frames, those below full quality."""
        frames = sum(len(verdict.late) for verdict in self.verdicts)
        return 100 * sum(verdict.degraded for verdict in self.verdicts) / max(frames, 1)


@dataclass
class Results:
    """What the parts found, in the order in which they ran."""

    metrics: Metrics = field(default_factory=dict)
    points: dict[tuple[str, int], list[Point]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)


def run(
    *, quick: bool, log: Console, parts: str | None = None, processes: str | None = None, renderer: str = "neural"
) -> Measured:
    """The parts, one after the other: ``inprocess`` (sessions of the engine alone), ``websocket`` (agents and their
    viewers at a real server), ``webrtc`` (microphones and viewers), ``overload``, ``kill``, ``ticks``; ``cost`` is in
    the first three. ``processes`` sets server.processes. Raises ValueError for a part that is not known.
    """
    asked = parts.split(",") if parts else QUICK if quick else PARTS
    wanted = list(dict.fromkeys("inprocess" if name == "cost" else name for name in asked))
    if unknown := sorted(set(wanted) - set(PARTS)):
        raise ValueError(f"parts of load are {', '.join((*PARTS, 'cost'))}; got {', '.join(unknown)}")
    plan, found = SHORT if quick else FULL, Results()
    mode = Mode(SIDE, renderer, processes or "")
    work: dict[str, Callable[[], None]] = {
        "inprocess": lambda: _inprocess(plan, mode, found, log),
        "websocket": lambda: _live("websocket", plan, mode, found, log),
        "webrtc": lambda: _live("webrtc", plan, mode, found, log),
        "overload": lambda: _overload(plan, mode, found, log),
        "kill": lambda: _kill(plan, mode, found, log),
        "ticks": lambda: _ticks(plan, found, log),
    }
    for name in wanted:
        log.print(f"part {name}")
        try:
            work[name]()
            found.metrics[f"failed.{name}"] = value(0, "")
        except (OSError, RuntimeError) as problem:  # the others are still worth knowing
            why = str(problem).strip() or type(problem).__name__
            found.metrics[f"failed.{name}"] = value(1, why.splitlines()[-1][:200])
            found.words.append(f"part {name} failed: {why}")
    metrics = {**headline(found.points), **found.metrics}
    for words in found.words:
        log.print(words, highlight=False, markup=False)
    return Measured(
        metrics, series(found.points), tables=tables(found.points, metrics),
        draw=lambda folder: load_plot.draw(folder, curves(found.points)),
    )  # fmt: skip


def _inprocess(plan: Plan, mode: Mode, found: Results, log: Console) -> None:
    for side, most in plan.most.items():
        points = found.points.setdefault(("inprocess", side), [])
        for row in load_inprocess.ramp(side, plan.seconds, most, mode.renderer):
            points.append(Point(row["sessions"], row["verdicts"], row["cores"], row["headroom"], row["refusal"]))
            log.print(f"{side}: {said(points[-1])}")
        found.metrics |= figures("inprocess", side, points)


def _live(kind: load_live.Kind, plan: Plan, mode: Mode, found: Results, log: Console) -> None:
    counts = range(plan.first, plan.most[SIDE] + 1)
    rows, refusal, family = load_live.ramp(kind, mode, plan.seconds, counts, log)
    points = found.points[kind, mode.side] = [Point(r.sessions, r.verdicts, r.cores) for r in rows]
    begin = f"{kind}.{mode.side}"
    found.metrics |= figures(kind, mode.side, points)
    for row in rows:
        name = f"{begin}.n{row.sessions}"
        sent = Point(row.sessions, row.delivered, row.cores)
        found.metrics |= spreads(f"{name}.delivered_ms", sent.late)
        found.metrics |= spreads(f"{name}.jitter_ms", row.jitter)
        found.metrics |= spreads(f"{name}.voice_ahead_ms", row.voice_ahead)
        found.metrics |= spreads(f"{name}.av_skew_ms", row.skews)
        found.metrics[f"{name}.longest_gap_ms"] = value(max(v.longest_gap_ms for v in row.delivered), "ms")
        found.metrics[f"{name}.voice_dropped_ms"] = value(row.dropped_ms, "ms")
        found.metrics[f"{name}.client_cores"] = value(row.client_cores, "cores")
    found.metrics[f"{begin}.server_processes"] = value(len(family), f"processes ({processes_word(mode)})")
    if refusal is not None:
        found.metrics[f"{begin}.refused_at"] = value(rows[-1].sessions + 1 if rows else 1, "sessions")
        found.words.append(f"{kind}: after {rows[-1].sessions if rows else 0} sessions: {refusal}")


def processes_word(mode: Mode) -> str:
    """What the server was told about processes."""
    if "processes" not in settings():
        return "one"
    from streaming.config import ServerConfig

    return mode.processes or f"server.processes = {ServerConfig().processes}"


def _overload(plan: Plan, mode: Mode, found: Results, log: Console) -> None:
    result = load_overload.run(mode, plan.seconds, plan.most[mode.side], log)
    asked, refused = result.answers, len(result.answers.refused)
    metrics: Metrics = {
        "overload_refused": value(refused, f"of {asked.asked} openings"),
        "overload_p95_ms": value(load_overload.worst_p95(result.during), "ms"),
        "overload.admitted": value(result.before.sessions, "sessions"),
        "overload.let_in_later": value(len(asked.let_in), "sessions"),
        "overload.clear": value(asked.clear, f"of {refused} refusals"),
        "overload.unclear": value(len(asked.unclear), "openings"),
        "overload.before_p95_ms": value(load_overload.worst_p95(result.before), "ms"),
        "overload.before_missed_pct": value(Point(0, result.before.verdicts, 0).missed_pct, "%"),
        "overload.during_missed_pct": value(Point(0, result.during.verdicts, 0).missed_pct, "%"),
        "overload.answer_ms": spread(asked.times, "ms"),
        "overload.burst_admitted": value(
            len(result.burst_answers.let_in), f"of {result.burst_answers.asked} openings at once"
        ),
        "overload.burst_refused": value(
            len(result.burst_answers.refused), f"of {result.burst_answers.asked} openings at once"
        ),
        "overload.burst_unclear": value(len(result.burst_answers.unclear), "openings"),
    }
    if result.burst is not None:
        burst = Point(0, result.burst.verdicts, 0)
        metrics["overload.burst_p95_ms"] = value(load_overload.worst_p95(result.burst), "ms")
        metrics["overload.burst_missed_pct"] = value(burst.missed_pct, "%")
        metrics["overload.burst_fps_min"] = value(burst.fps, "frames/s")
    found.metrics |= numbers(metrics)
    for words in {*asked.words(), *result.burst_answers.words()}:
        found.words.append(f"refused: {words}")
    for words in sorted({*asked.unclear, *result.burst_answers.unclear}):
        found.words.append(f"unclear: {words}")


def _kill(plan: Plan, mode: Mode, found: Results, log: Console) -> None:
    mode = Mode(mode.side, mode.renderer, mode.processes or ("split" if "processes" in settings() else ""))
    times: list[float | None] = []
    outcomes = load_kill.run(mode, plan.killed, log, whole=plan.whole)
    if plan.whole and (worker := load_kill.run_cluster(mode, log)) is not None:
        outcomes.append(worker)
    for killed in outcomes:
        name, many = f"kill.{killed.victim}", f"of {len(killed.recovery)} sessions"
        times += killed.recovery
        found.metrics[f"{name}.came_back"] = value(sum(t is not None for t in killed.recovery), many)
        found.metrics[f"{name}.began_anew"] = value(killed.fresh, many)
        found.metrics[f"{name}.frames_lost"] = value(max(killed.lost), "frames")
        if killed.others_lost:
            others = f"frames, the worst of {len(killed.others_lost)} sessions elsewhere"
            found.metrics[f"{name}.others_lost"] = value(max(killed.others_lost), others)
        if all(t is not None for t in killed.recovery):
            found.metrics[f"{name}.recovery_s"] = value(max(t for t in killed.recovery if t is not None), "s")
        else:
            found.words.append(f"kill: not all sessions spoke again within {load_kill.WAIT_S:g} s ({killed.victim})")
    if times and None not in times:
        found.metrics["worker_kill_recovery_s"] = value(max(t for t in times if t is not None), "s")


def _ticks(plan: Plan, found: Results, log: Console) -> None:
    try:
        from bench.ticks import ticks
    except ImportError:
        found.words.append("ticks: this version has no scheduler to simulate")
        return
    rate = ticks(TICK_SESSIONS, plan.ticks_s)
    log.print(f"{rate:.3g} session-ticks a second")
    found.metrics["scheduler_ticks_per_s"] = value(rate, "ticks/s")


def figures(part: str, side: int, points: Sequence[Point]) -> Metrics:
    """What is kept of a ramp."""
    begin = f"{part}.{side}"
    metrics: Metrics = {
        f"{begin}.sessions": value(capacity([(p.sessions, p.fine) for p in points]), "sessions"),
        f"{begin}.sessions_degraded": value(capacity([(p.sessions, p.in_time) for p in points]), "sessions"),
    }
    for point in points:
        name = f"{begin}.n{point.sessions}"
        metrics[f"{name}.fps_min"] = value(point.fps, "frames/s")
        metrics[f"{name}.deadline_miss_pct"] = value(point.missed_pct, "%")
        metrics |= spreads(f"{name}.latency_ms", point.late)
        metrics[f"{name}.degraded_pct"] = value(point.degraded_pct, "%")
        metrics[f"{name}.cores"] = value(point.cores, "cores")
        metrics[f"{name}.cpu_per_session"] = value(point.cores / point.sessions, "cores")
        if point.headroom is not None:
            metrics[f"{name}.headroom"] = value(point.headroom, "")
    fine = [(p.sessions, p.cores) for p in points if p.fine]
    if len(fine) > 1:
        metrics[f"{begin}.cost_is_sublinear"] = value(sublinear(fine), f"1: up to {fine[-1][0]} sessions")
    return metrics


def headline(points: dict[tuple[str, int], list[Point]]) -> Metrics:
    """The sessions of 256 x 256 that keep up in each part that was measured, and the worst of them."""
    ramps = {part: ramp for (part, side), ramp in points.items() if side == SIDE and ramp}
    if not ramps:
        return {}
    most = {part: capacity([(p.sessions, p.fine) for p in ramp]) for part, ramp in ramps.items()}
    sessions = min(most.values())
    at = [point for ramp in ramps.values() for point in ramp if point.sessions == max(sessions, 1)]
    each = ", ".join(f"{part} {count}" for part, count in most.items())
    return {
        "sessions": value(sessions, f"sessions ({each})"),
        "fps_min": value(min(point.fps for point in at), "frames/s"),
        "deadline_miss_pct": value(max(point.missed_pct for point in at), "%"),
        "sessions_degraded": value(
            min(capacity([(p.sessions, p.in_time) for p in ramp]) for ramp in ramps.values()), "sessions"
        ),
    }


def spreads(name: str, samples: Sequence[float]) -> Metrics:
    """The figure, if anything was measured."""
    return {name: spread(samples, "ms")} if samples else {}


def numbers(metrics: Metrics) -> Metrics:
    """Without those that are no number: what was not there is not told."""
    return {name: m for name, m in metrics.items() if not math.isnan(float(m["value" if "value" in m else "p50"]))}


def said(point: Point) -> str:
    """One line of it."""
    p50, p99 = np.percentile(point.late, (50, 99)) if point.late else (math.nan, math.nan)
    return (
        f"{point.sessions} sessions: {point.fps:.1f} fps at least, {point.missed_pct:.1f} % missed at most, "
        f"painted {p50:.0f} ms (p99 {p99:.0f}) after the voice, {point.cores:.2f} cores"
    )


def series(points: dict[tuple[str, int], list[Point]]) -> dict[str, list[float]]:
    """Lateness of the frames of each number of sessions."""
    return {f"{part}.{side}.n{p.sessions}": p.late for (part, side), ramp in points.items() for p in ramp}


def curves(points: dict[tuple[str, int], list[Point]]) -> list[load_plot.Curve]:
    """What is drawn: a curve for each part and size."""
    found = []
    for (part, side), ramp in points.items():
        rows = [p for p in ramp if p.late]
        late = [np.percentile(p.late, (50, 95, 99)) for p in rows]
        found.append(
            load_plot.Curve(
                f"{part}, {side} x {side}", [p.sessions for p in rows], [p.missed_pct for p in rows],
                [float(row[1]) for row in late], [float(row[2]) for row in late], [p.cores for p in rows],
            )
        )  # fmt: skip
    return found


def tables(points: dict[tuple[str, int], list[Point]], metrics: Metrics) -> list[Table]:
    """The ramps, and what else was found."""
    shown = []
    if points:
        table = Table(title="sessions at once; the worst session's fps and misses")
        for column in ("part", "sessions", "fps", "missed", "p50", "p95", "p99 ms", "degraded", "cores", "each", ""):
            table.add_column(column, justify="left" if column == "part" else "right")
        for (part, side), ramp in points.items():
            for p in ramp:
                late = np.percentile(p.late, (50, 95, 99)) if p.late else [math.nan] * 3
                table.add_row(
                    f"{part} {side}", str(p.sessions), f"{p.fps:.1f}", f"{p.missed_pct:.2f} %",
                    *(f"{ms:.1f}" for ms in late), f"{p.degraded_pct:.0f} %", f"{p.cores:.2f}",
                    f"{p.cores / p.sessions:.3f}", "keeps up" if p.fine else "degraded" if p.in_time else "too many",
                )  # fmt: skip
        shown.append(table)
    rest = {name: m for name, m in metrics.items() if name.split(".")[0] not in {part for part, _ in points}}
    if rest:
        table = Table(title="and besides")
        for column in ("figure", "value", "unit"):
            table.add_column(column, overflow="fold")
        for name, m in rest.items():
            table.add_row(name, _cell(m), str(m["unit"]))
        shown.append(table)
    return shown


def _cell(metric: dict[str, Any]) -> str:
    keys: Iterable[str] = ("value",) if "value" in metric else ("p50", "p95", "p99")
    return " / ".join(f"{metric[key]:g}" for key in keys)
