"""Suite ``soak``: what only shows after hours, after a thousand viewers, or on a bad line.

Parts, each on its own by ``--parts``: ``live`` (a conversation in real time), ``cycles`` (viewers who come and go),
``real`` (some of that with the real engine), ``line`` (loss and jitter, in a real browser), ``interrupt`` (how soon the
mouth shuts, in a real browser), ``voice`` (ten hours of voice, compressed), ``fuzz`` (junk on every way in).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from rich.console import Console

from bench.report import Measured, Metrics

HOURS: Final = 1.0
QUICK_HOURS: Final = 4 / 60
PARTS: Final = ("live", "cycles", "real", "line", "interrupt", "voice", "fuzz")
PROMISED: Final = {  # what the suite is known by, besides fuzz_inputs and fuzz_crashes -> which figure that is
    "rss_slope_mb_h": "live.rss_slope_mb_h",
    "av_skew_end_ms": "live.av_skew_end_ms",
    "leaked_tasks": "cycles.leaked_tasks",
    "loss5_fps": "line.loss5_jitter50.fps",
    "interrupt_ms": "interrupt.to_closed_ms",
}


def run(
    quick: bool = False, log: Console | None = None, hours: float | None = None, parts: str | None = None
) -> Measured:
    """``hours`` is how long ``live`` lasts. Raises ValueError for a part that is not known."""
    log = log or Console(stderr=True)
    wanted = parts.split(",") if parts else list(PARTS)
    if unknown := sorted(set(wanted) - set(PARTS)):
        raise ValueError(f"parts of the soak are {', '.join(PARTS)}; got {', '.join(unknown)}")
    known = _parts(quick, log, hours if hours is not None else QUICK_HOURS if quick else HOURS)
    metrics: Metrics = {}
    series: dict[str, list[float]] = {}
    for name in wanted:
        log.print(f"part {name}")
        measured = known[name]()
        metrics |= measured.metrics
        series |= measured.series
    short = {name: metrics[full] for name, full in PROMISED.items() if full in metrics}
    return Measured({**short, **metrics}, series)


def _parts(quick: bool, log: Console, hours: float) -> dict[str, Callable[[], Measured]]:
    """What runs for each part; a part's module is imported when it runs."""

    def of(module: str, *arguments: Any, **named: Any) -> Callable[[], Measured]:
        return lambda: import_module(f"bench.{module}").run(*arguments, **named)

    return {
        "live": of("soak_live", 3600 * hours, log),
        "cycles": of("soak_cycles", 60 if quick else 1000, log),
        "real": of("soak_cycles", 12 if quick else 50, log, real=True),
        "line": of("faults_line", quick, log, ("clean", "loss5_jitter50")),
        "interrupt": of("faults_interrupt", quick, log),
        "voice": of("soak_voice", quick, log),
        "fuzz": lambda: _fuzz(quick, log),
    }


def _fuzz(quick: bool, log: Console) -> Measured:
    """Junk on every way in: bench/fuzz.py."""
    from bench import fuzz

    measured = fuzz.run(inputs=2_000 if quick else 20_000, seed=1, log=log, quick=quick)
    short = {name: measured.metrics[name] for name in ("fuzz_inputs", "fuzz_crashes")}
    rest = {f"fuzz.{name}": metric for name, metric in measured.metrics.items() if name not in short}
    return Measured({**short, **rest})
