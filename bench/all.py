"""Every suite that this machine can run, one after the other: each a process of its own, with a limit and a reason."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bench import report

ROOT: Final = Path(__file__).resolve().parent.parent
QUICK_S: Final = 600.0  # what all suites may take together with --quick
GRACE_S: Final = 15.0  # between asking a suite to stop and stopping it
SUMMARY: Final = "all.json"
# Suite -> seconds it takes on two quiet cores, quick and whole: for the time that is left, and for its limit.
EXPECTED: Final = {
    "latency": (25, 80), "stream": (45, 130), "present": (40, 90), "agents": (50, 120), "outputs": (60, 150),
    "motion": (60, 600), "render": (90, 900), "soak": (600, 5400), "faults": (45, 900), "fuzz": (35, 720),
    "precision": (20, 60), "watermark": (60, 600), "portrait": (90, 1800), "kernels": (30, 60), "gpu": (60, 300),
    "load": (60, 600), "processes": (100, 250), "speed": (60, 600),
}  # fmt: skip
# What a suite is told besides when all are quick: a part of it.
QUICK_ARGUMENTS: Final[dict[str, tuple[str, ...]]] = {"faults": ("--parts", "stall,killed")}
ALONE: Final = "not with --quick: its quickest form takes a minute or more; run it on its own"
NOT_QUICK: Final = ("soak", "watermark", "portrait", "processes")
IF_IT_FITS: Final = ("render",)  # goes last when all are quick
LIMIT: Final = 4.0  # times what is expected, and
LEAST_LIMIT_S: Final = 120.0

Command = Callable[[str, Path], list[str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one suite went. ``how``: done, failed, stopped (at its limit) or skipped; ``why``: in words, unless done."""

    suite: str
    how: str
    seconds: float = 0.0
    why: str = ""

    @property
    def bad(self) -> bool:
        """Whether somebody should look."""
        return self.how in ("failed", "stopped")


def run(
    suites: Mapping[str, str],
    folder: Path,
    *,
    quick: bool,
    log: Console,
    command: Command | None = None,
    absent: Callable[[str], str | None] | None = None,
    budget_s: float | None = None,
) -> list[str]:
    """Runs ``suites`` (name -> about) into ``folder``: SUITE.json, SUITE.log, and all.json. -> those that went wrong.

    ``command`` makes a suite's command line, ``absent`` says why one cannot run, ``budget_s`` is what all may take.
    """
    command, absent = command or _command(quick), absent or missing
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if quick:
        suites = dict(sorted(suites.items(), key=lambda row: row[0] in IF_IT_FITS))
    before = _seconds_before(folder, quick)
    expected = {name: before.get(name) or _expected(name, quick) for name in suites}
    budget = budget_s if budget_s is not None else QUICK_S if quick else float("inf")
    outcomes: list[Outcome] = []
    started = time.monotonic()
    with _ended_by_sigterm(), _progress(log) as progress:
        bar = progress.add_task("", total=len(suites), left=0.0)
        for number, name in enumerate(suites):
            waiting = sum(expected[other] for other in list(suites)[number + 1 :] if not (quick and other in NOT_QUICK))
            progress.update(bar, description=name, left=expected[name] + waiting)
            remaining = budget - GRACE_S - (time.monotonic() - started)
            limit = min(max(LIMIT * expected[name], LEAST_LIMIT_S), remaining)
            if reason := (ALONE if quick and name in NOT_QUICK else absent(name)):
                outcome = Outcome(name, "skipped", why=reason)
            elif remaining < expected[name]:
                outcome = Outcome(name, "skipped", why=f"no time left of the {budget:g} s for all")
            else:

                def tick(taken: float, expected_s: float = expected[name], waiting_s: float = waiting) -> None:
                    progress.update(bar, left=max(expected_s - taken, 0) + waiting_s)

                outcome = _one(name, folder, command(name, folder), limit, tick)
            outcomes.append(outcome)
            progress.update(bar, advance=1)
            said = f"{outcome.how:8} {name} {outcome.seconds:.0f} s  {escape(outcome.why)}"
            log.print(said.rstrip(), highlight=False, soft_wrap=True)
            _keep(folder, outcomes, quick, time.monotonic() - started)
    log.print(table(outcomes, time.monotonic() - started))
    return [outcome.suite for outcome in outcomes if outcome.bad]


def missing(suite: str) -> str | None:
    """Why ``suite`` cannot run on this machine, and what helps; None when it can."""

    def programs(*names: str, packages: str) -> str | None:
        gone = [name for name in names if shutil.which(name) is None]
        return f"{', '.join(gone)} missing: apt install {packages}" if gone else None

    def modules(*names: str, advice: str) -> str | None:
        gone = [name for name in names if importlib.util.find_spec(name) is None]
        return f"Python's {', '.join(gone)} missing: {advice}" if gone else None

    def browser() -> str | None:
        if not (shutil.which("chromium") or shutil.which("google-chrome")):
            return "no Chromium: apt install chromium"
        return modules("playwright", advice="pip install -e '.[dev]'")

    def judge() -> str | None:
        from bench.judges.identity import ADVICE, MODEL

        return None if any(MODEL.parent.glob(f"{MODEL.name}*")) else f"no judge of identity: {ADVICE}"

    def photographs() -> str | None:
        places = ("data/studio/held512", "data/studio/bench512", "data/speech")
        told = "no held-out photographs, and no speech to make some: python -m training.speech make --out data/speech"
        return None if any((ROOT / place).is_dir() for place in places) else told

    train = "pip install -e '.[train]'"
    checks: dict[str, Callable[[], str | None]] = {
        "gpu": lambda: None if report.gpu_names() else "no NVIDIA GPU",
        "stream": browser,
        "faults": browser,
        "present": lambda: programs("pulseaudio", "pactl", "pacat", packages="pulseaudio pulseaudio-utils"),
        "motion": lambda: modules("pocketsphinx", advice=train),
        "soak": lambda: modules("pocketsphinx", advice=train),
        "precision": lambda: modules("torch", "onnx", advice=train),
        "speed": lambda: modules("torch", "onnx", advice=train),
        "render": lambda: modules("torch", "moderngl", "PIL", advice=train) or judge() or photographs(),
        "portrait": lambda: modules("torch", "PIL", "scipy", advice=train) or judge(),
    }
    return checks[suite]() if suite in checks else None


def table(outcomes: list[Outcome], seconds: float) -> Table:
    """How they all went."""
    shown = Table("suite", "", "seconds", "why", title=f"all: {seconds:.0f} s", title_justify="left")
    for outcome in outcomes:
        style = {"done": "green", "skipped": "dim"}.get(outcome.how, "red")
        shown.add_row(outcome.suite, f"[{style}]{outcome.how}[/]", f"{outcome.seconds:.0f}", escape(outcome.why))
    return shown


def _command(quick: bool) -> Command:
    def of(suite: str, folder: Path) -> list[str]:
        more = ["--quick", *QUICK_ARGUMENTS.get(suite, ())] if quick else []
        return [sys.executable, str(ROOT / "bench" / "run.py"), suite, *more, "--json", str(folder / f"{suite}.json")]

    return of


def _one(suite: str, folder: Path, command: list[str], limit: float, tick: Callable[[float], None]) -> Outcome:
    """One suite, and everything that it started, within ``limit`` seconds."""
    path, began = folder / f"{suite}.log", time.monotonic()
    wide = {**os.environ, "COLUMNS": "200"}  # a last word is a line
    with path.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=wide, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            while process.poll() is None and time.monotonic() - began < limit:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
                tick(time.monotonic() - began)
            late = process.poll() is None
        finally:
            _end(process)
    seconds = time.monotonic() - began
    if late:
        return Outcome(suite, "stopped", seconds, f"took more than {limit:.0f} s; {_last_words(path)}")
    if process.returncode:
        return Outcome(suite, "failed", seconds, _last_words(path) or f"status {process.returncode}, no word")
    return Outcome(suite, "done", seconds)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Whoever ends this program ends the suite that runs, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: Any) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a suite that still runs, politely first, and whatever it left behind."""
    group = process.pid  # its own session, so its own group
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    process.wait()


def _last_words(log: Path) -> str:
    """The last line of a log that says something: what a suite failed with."""
    text = re.sub(r"[\u2500-\u259f]+", "", log.read_bytes()[-4000:].decode("utf-8", "replace"))  # bars and boxes
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return next((line[:300] for line in reversed(lines) if any(c.isalnum() for c in line)), "")


def _expected(suite: str, quick: bool) -> float:
    short, long = EXPECTED.get(suite, (60, 600))
    return float(short if quick else long)


def _seconds_before(folder: Path, quick: bool) -> dict[str, float]:
    """How long suites took when they were last run like this into ``folder``."""
    try:
        told: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if told["quick"] != quick or told["machine"]["cpu"] != report.machine()["cpu"]:
            return {}
        return {row["suite"]: float(row["seconds"]) for row in told["outcomes"] if row["how"] == "done"}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep(folder: Path, outcomes: list[Outcome], quick: bool, seconds: float) -> None:
    rows = [asdict(outcome) | {"seconds": round(outcome.seconds, 1)} for outcome in outcomes]
    head = {"quick": quick, "commit": report.commit(), "seconds": round(seconds, 1), "machine": report.machine()}
    report.save(folder / SUMMARY, {**head, "outcomes": rows})


class _Left(ProgressColumn):
    """About how long it still takes: what is expected of the suites that are left."""

    def render(self, task: Task) -> Text:
        minutes, seconds = divmod(int(task.fields["left"]), 60)
        return Text(f"about {minutes}:{seconds:02} left", style="progress.remaining")


def _progress(log: Console) -> Progress:
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), _Left())
    return Progress(*columns, console=log, transient=True)
