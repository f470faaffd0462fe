"""Lip-sync peers in the same run: our lips now, theirs by the answers they gave, on the same recordings.

Answers are kept by `python -m bench.peers` and suite ``motion``. A peer whose answers are not on this machine is shown
with the figures of the committed run, and marked; those are no figures of this run and do not get into its JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench import motion, prompts
from bench.motion_report import WHOLE_FILE, about, heads, rows, systems_of
from bench.ours import Talker
from bench.peers import PEERS
from bench.report import Metrics
from engine.config import MotionConfig
from training.speech.tools import MissingPackage

SET: Final = "asterisk"
KEPT: Final = Path(__file__).parent / "results" / "motion.json"


def lips(log: Console) -> tuple[Metrics, Table]:
    """Scores of this run, and a table with those of the committed run beside. Raises ValueError without the speech."""
    try:
        said = list(prompts.asterisk(full=False))
    except MissingPackage as error:
        raise ValueError(f"no speech to score lips on: {error}") from error
    talker = Talker(MotionConfig().lookahead)
    everybody = {"ours": motion._ours(talker), "baseline.loudness": motion._loudness}
    everybody |= {name: motion._peer(peer, kept_only=True) for name, peer in PEERS.items()}
    metrics = motion._scored(SET, said, everybody, log, set())
    table = merged(metrics, json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else None)
    return {f"lips.{name}": metric for name, metric in metrics.items()}, table


def merged(now: Metrics, kept: dict[str, Any] | None) -> Table:
    """A row a system, best first: of this run, else of the committed one."""
    table = Table(title=f"lips: {about(now, SET)}", title_justify="left")
    for i, column in enumerate([*heads(now, SET), "when"]):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    found = [(row, "now") for row in rows(now, SET)]
    if kept is not None:
        old = {k: m for k, m in kept["metrics"].items() if not k.startswith("ours.lookahead")}
        here = set(systems_of(now, SET))
        for system, row in zip(systems_of(old, SET), rows(old, SET), strict=True):
            if system not in here:
                found.append((row, f"{kept['date'][:10]}, {kept['commit']}"))
    for row, when in sorted(found, key=lambda pair: -float(pair[0][4])):
        table.add_row(*row, when)
    table.caption = f"* reads the whole recording or a transcript first: {', '.join(sorted(WHOLE_FILE))}"
    return table
