"""How many machines, how much network, what an hour costs: ``python -m bench.capacity --sessions 1000000``.

On paper and by simulating a day. ``--sweep`` does 1 to 1,000,000 sessions on workers of both kinds; ``--into
docs/scale.md`` puts its tables there, ``--plot docs/images`` draws.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from bench import report, report_svg
from bench.capacity_model import (
    Bill,
    Inputs,
    Kind,
    bill,
    inputs,
    servers_for,
    target_load,
    workers_pooled,
    workers_split,
)
from bench.capacity_sim import Day, Scenario, simulate
from bench.report_svg import Line

SWEEP: Final = (1, 10, 1_000, 100_000, 1_000_000)
STEP_S: Final = 10.0
COARSE: Final = 300_000
COARSE_STEP_S: Final = 30.0  # sessions from which steps are longer
BEGIN: Final = "<!-- tables of bench/capacity.py: begin -->"
END: Final = "<!-- tables of bench/capacity.py: end -->"

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Answer:
    """For one crowd: workers on paper (every free slot found; any worker at random), a simulated day, and the bill."""

    sessions: float
    pooled: int
    split: int
    day: Day
    bill: Bill
    took_s: float

    @property
    def given(self) -> Inputs:
        """What went in."""
        return self.day.given

    def row(self) -> dict[str, Any]:
        """As numbers, for JSON."""
        day = self.day
        hours = day.scenario.seconds / 3600
        return {
            "sessions": self.sessions, "kind": self.given.kind, "slots": self.given.slots,
            "workers_pooled": self.pooled, "workers_split": self.split,
            "workers_peak": int(day.paid.max()), "workers_mean": round(float(day.paid.mean()), 2),
            "sessions_peak": int(day.sessions.max()), "sessions_mean": round(float(day.sessions.mean()), 1),
            "refused": day.refusals, "refused_worst_5min": day.worst_refusals() if day.judged else None,
            "resumed_an_hour": day.resumed / hours, "lost_an_hour": day.lost / hours, "died": day.died,
            "far_from_avatar": day.far / max(int(day.came.sum()), 1),
            "load_p50": float(np.median(day.load_p50)), "load_p99": float(np.max(day.load_p99)),
            "seconds_to_simulate": round(self.took_s, 1), **asdict(self.bill), "dollars_an_hour": self.bill.hour,
        }  # fmt: skip


def answer(given: Inputs, sessions: float, *, seed: int = 0, hours: float = 24.0, progress: Any = None) -> Answer:
    """The whole of it for a crowd of ``sessions`` at once at the busiest hour."""
    began = time.perf_counter()
    step = COARSE_STEP_S if sessions >= COARSE else STEP_S
    day = simulate(given, Scenario(sessions, seconds=3600 * hours, step_s=step, seed=seed), progress)
    cost = bill(given, int(day.sessions.max()), float(day.sessions.mean()), int(day.paid.max()), float(day.paid.mean()))
    pooled = workers_pooled(sessions, given.slots, given["refusals"])
    split = workers_split(sessions, given.slots, given["refusals"])
    return Answer(sessions, pooled, split, day, cost, time.perf_counter() - began)


def headings() -> tuple[str, ...]:
    """Of a table of answers."""
    return (
        "sessions at once", "workers: any free slot found", "at random", "simulated, at most", "mean",
        "refused", "worst 5 min", "resumed an hour", "lost", "out Gbit/s", "in", "TURN", "edges", "$ an hour", "each",
    )  # fmt: skip


def cells(a: Answer) -> tuple[str, ...]:
    """One row of it."""
    day, hours = a.day, a.day.scenario.seconds / 3600
    worst = f"{100 * day.worst_refusals():.2g} %" if day.judged else "-"
    return (
        f"{a.sessions:,.0f}", f"{a.pooled:,}", f"{a.split:,}", f"{int(day.paid.max()):,}", f"{day.paid.mean():,.1f}",
        f"{100 * day.refusals:.2g} %", worst, f"{day.resumed / hours:,.1f}",
        f"{day.lost / hours:,.1f}", f"{a.bill.egress_gbits:,.3g}", f"{a.bill.ingress_gbits:,.3g}",
        f"{a.bill.turn_gbits:,.3g}", f"{a.bill.edges:,}", f"{a.bill.hour:,.2f}",
        f"{a.bill.hour / max(day.sessions.mean(), 1e-9):.3f}",
    )  # fmt: skip


def inputs_markdown(many: Sequence[Inputs]) -> str:
    """What goes in, once, with where each number is from."""
    rows = {name: given for one in many for name, given in one.given.items()}
    lines = [f"| `{name}` | {given.value:,.4g} | {given.unit} | {given.source} |" for name, given in rows.items()]
    return "\n".join(["| input | | | from |", "|---|---:|---|---|", *lines])


def markdown(answers: Sequence[Answer]) -> str:
    """Everything for docs/scale.md."""
    machine = report.machine()
    kinds = {a.given.kind: a.given for a in answers}
    most = max(a.sessions for a in answers)
    upto = f" --sessions {most:.0f}" if most < SWEEP[-1] else ""
    parts = [
        f"`python -m bench.capacity --sweep{upto} --into docs/scale.md --plot docs/images` at {report.commit()} on "
        f"{machine['cpu']}, {machine['threads']} threads; simulating took "
        f"{sum(a.took_s for a in answers):,.0f} s."
    ]
    for kind, given in kinds.items():
        parts += [
            f"### Workers with {given['cores']:g} cores of a processor"
            if kind == "cpu"
            else "### Workers with a GPU, as others publish theirs",
            _slots_said(given),
            "| " + " | ".join(headings()) + " |\n|" + "---:|" * len(headings()),
        ]
        parts[-1] += "".join(f"\n| {' | '.join(cells(a))} |" for a in answers if a.given.kind == kind)
    return "\n\n".join([*parts, "### What went in", inputs_markdown(list(kinds.values()))])


def _slots_said(given: Inputs) -> str:
    said = (
        f"A worker takes {given.slots} session{'s' * (given.slots > 1)} and costs {given.worker_price:.3g} $ an hour; "
    )
    return said + f"the autoscaler keeps it {100 * target_load(given):.0f} % full."


def into(document: str, tables: str) -> str:
    """``document`` with the tables between its marks. Raises ValueError when it has none."""
    if BEGIN not in document or END not in document:
        raise ValueError(f"the document has no place for tables: it needs the lines {BEGIN} and {END}")
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{tables}\n{END}", document, flags=re.DOTALL)


def plots(answers: Sequence[Answer]) -> Iterator[tuple[str, str]]:
    """(file name, SVG): the largest crowd's day, and how full slots may be by the crowd's size."""
    big = max(answers, key=lambda a: a.sessions)
    day = big.day
    every = max(len(day.at_s) // 400, 1)
    hours = (day.at_s[::every] / 3600).tolist()
    yield "capacity_day.svg", report_svg.alone(report_svg.lines(
        f"A day of {big.sessions:,.0f} sessions, simulated", "hour", "sessions, slots",
        [Line("sessions", hours, day.sessions[::every].tolist(), 1),
         Line("slots that take newcomers", hours, (day.up[::every] * day.given.slots).tolist(), 2),
         Line("slots that are paid for", hours, (day.paid[::every] * day.given.slots).tolist(), 3, dashed=True)],
        height=340))  # fmt: skip
    sizes = [float(n) for n in np.unique(np.round(np.logspace(0, 5, 31)))]
    lines = []
    for colour, slots in enumerate((1, 3, 30), 1):
        share = [n / (slots * workers_split(n, slots, 0.01)) for n in sizes]
        lines.append(Line(f"at random, {slots} a worker", sizes, share, colour, dashed=True))
    pooled = [n / servers_for(n, 0.01) for n in sizes]
    yield "capacity_size.svg", report_svg.alone(report_svg.lines(
        "How full slots may be while 1 % are refused", "sessions at once", "sessions for each slot",
        [Line("every free slot found", sizes, pooled, 4), *lines], log_x=True, height=340))  # fmt: skip


@app.command()
def main(
    sessions: Annotated[
        float | None, typer.Option("--sessions", help="At once, at the busiest hour; 1000.", min=1e-3)
    ] = None,
    worker: Annotated[str, typer.Option("--worker", help="cpu, gpu, or both.")] = "both",
    side: Annotated[int, typer.Option("--side", help="Pixels a side; what was measured.")] = 512,
    given: Annotated[list[str] | None, typer.Option("--set", help="NAME=NUMBER, another input; repeatable.")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="1, 10, 1000, 100000, 1000000, up to --sessions.")] = False,
    hours: Annotated[float, typer.Option("--hours", help="Of the simulated day.", min=0.1, max=24)] = 24.0,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    json: Annotated[Path | None, typer.Option("--json", help="Write inputs and answers here.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw into this folder.")] = None,
    page: Annotated[Path | None, typer.Option("--into", help="Put the tables into this page.")] = None,
) -> None:
    """Workers, network and cost for a crowd: on paper, and by simulating a day of it."""
    log, out = Console(stderr=True), Console() if sys.stdout.isatty() else Console(width=200)
    changed = dict(_pair(text) for text in given or [])
    if worker not in ("cpu", "gpu", "both"):
        raise ValueError(f"--worker is cpu, gpu or both; got {worker!r}")
    kinds: tuple[Kind, ...] = ("cpu", "gpu") if worker == "both" else ("cpu",) if worker == "cpu" else ("gpu",)
    known = {kind: inputs(kind, side, changed) for kind in kinds}
    crowds = [n for n in SWEEP if n <= (sessions or SWEEP[-1])] if sweep else [sessions or 1000.0]
    answers = []
    with Progress(console=log, transient=True) as progress:
        for kind in kinds:
            for count in crowds:
                bar = progress.add_task(f"{count:,.0f} on {kind}", total=1.0)
                answers.append(
                    answer(known[kind], count, seed=seed, hours=hours,
                           progress=lambda share, bar=bar: progress.update(bar, completed=share))
                )  # fmt: skip
                progress.remove_task(bar)
    _show(answers, out)
    if json is not None:
        told = {kind: {name: asdict(one) for name, one in known[kind].given.items()} for kind in kinds}
        report.save(json, {"inputs": told, "answers": [a.row() for a in answers]})
    for name, drawing in plots(answers) if plot else ():
        assert plot is not None
        plot.mkdir(parents=True, exist_ok=True)
        (plot / name).write_text(drawing, encoding="utf-8")
    if page is not None:
        page.write_text(into(page.read_text(encoding="utf-8"), markdown(answers)), encoding="utf-8")


def _show(answers: Sequence[Answer], out: Console) -> None:
    for kind in dict.fromkeys(a.given.kind for a in answers):
        rows = [a for a in answers if a.given.kind == kind]
        table = Table(*headings(), title=f"{kind}: {_slots_said(rows[0].given)}", title_justify="left")
        for a in rows:
            table.add_row(*cells(a))
        out.print(table)
    for name, one in {name: one for a in answers for name, one in a.given.given.items()}.items():
        out.print(f"{name} = {one.value:.4g} {one.unit}: {one.source}", markup=False, highlight=False)


def _pair(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        raise ValueError(f"--set takes NAME=NUMBER, got {text!r}") from None


if __name__ == "__main__":
    try:
        app()
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"[red]capacity:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
