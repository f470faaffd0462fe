"""What every figure means and which way is better: bench/glossary.toml, read and written into docs/benchmarks.md.

``python -m bench.glossary docs/benchmarks.md`` writes a table for each suite between that page's marks.
"""

from __future__ import annotations

import functools
import re
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("glossary.toml")
WAYS: Final = {"less": "↓", "more": "↑", "near0": "→ 0", "none": ""}


@dataclass(frozen=True, slots=True)
class Entry:
    """Figures whose names fit ``pattern``. ``better``: less, more, near0 or none."""

    pattern: str
    better: str
    says: str


@functools.cache
def entries() -> dict[str, tuple[Entry, ...]]:
    """By suite, in the order of the file. Raises ValueError for a direction that is none."""
    found = {}
    for suite, table in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        found[suite] = tuple(Entry(pattern, *row) for pattern, row in table.items())
        if wrong := [entry.pattern for entry in found[suite] if entry.better not in WAYS]:
            raise ValueError(f"{FILE.name}: [{suite}] {wrong[0]}: the first word is one of {', '.join(WAYS)}")
    return found


def look_up(suite: str, metric: str) -> Entry | None:
    """The entry of a figure; None when nothing describes it."""
    return next((entry for entry in entries().get(suite, ()) if fnmatchcase(metric, entry.pattern)), None)


def table(suite: str) -> str:
    """The entries of a suite in Markdown."""
    rows = [f"| `{e.pattern}` | {WAYS[e.better]} | {e.says} |" for e in entries().get(suite, ())]
    return "\n".join(["| figure | better | |", "|---|---|---|", *rows]) if rows else ""


def written(document: str) -> str:
    """``document`` with each suite's table between ``<!-- figures of SUITE: begin -->`` and ``end``."""

    def fill(mark: re.Match[str]) -> str:
        suite = mark["suite"]
        return f"<!-- figures of {suite}: begin -->\n{table(suite)}\n<!-- figures of {suite}: end -->"

    pattern = r"<!-- figures of (?P<suite>\w+): begin -->.*?<!-- figures of (?P=suite): end -->"
    return re.sub(pattern, fill, document, flags=re.DOTALL)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
