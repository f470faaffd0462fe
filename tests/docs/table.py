"""The table of how each command is tried, in docs/development.md: `python -m tests.docs.table` writes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from .blocks import ROOT, commands
from .ways import MEANS, rule_of

PAGE: Final[Path] = ROOT / "docs" / "development.md"
PART: Final = re.compile(r"(<!-- commands: begin -->\n).*?(<!-- commands: end -->)", re.S)


def table() -> str:
    """What is done with every command, way by way, in the order of the pages."""
    rows: dict[str, list[str]] = {way: [] for way in MEANS}
    for command in commands():
        rule = rule_of(command.text)
        if rule is not None:
            page = command.place.rpartition(":")[0].removeprefix("docs/")
            shown = command.text.replace("|", "\\|")
            ticks = "``" if "`" in shown else "`"
            by = f"; one runs in {rule.by}" if rule.by and rule.way != "run" else ""
            added = f", with `{' '.join(rule.extra)}`" if rule.extra else ""
            rows[rule.way].append(f"| {ticks}{shown}{ticks} | {page}{added}{by} |")
    counts = "\n".join(f"| [{way}](#{way.replace(' ', '-')}) | {len(rows[way])} | {MEANS[way]} |" for way in MEANS)
    parts = [f"| | commands | each |\n|---|---:|---|\n{counts}\n"]
    for way, lines in rows.items():
        parts.append(f"#### {way}\n\n| command | where |\n|---|---|\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def page() -> str:
    """docs/development.md as it should be now."""
    return PART.sub(lambda found: f"{found[1]}\n{table()}\n{found[2]}", PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(table())
