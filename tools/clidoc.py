"""docs/cli.md: every command and option of `visavis`, by typer's own generator. `python tools/clidoc.py` writes it."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "cli.md"
HEAD: Final = """# Command line

Made by `python tools/clidoc.py` (typer {version}) from the commands themselves: change their help, not this page. Each
says the same with `--help`. A mistake of yours is one line and exit status 2; `VISAVIS_DEBUG=1` shows the traceback.

"""


def page() -> str:
    """The page as it should be now."""
    asked = [sys.executable, "-m", "typer", "visavis.cli", "utils", "docs", "--name", "visavis"]
    made = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    text = html.unescape(made).replace("**Usage**:\n\n```console\n$ ", "```text\n")
    text = re.sub(r"^\* `(--help|--(install|show)-completion)`:.*\n", "", text, flags=re.M)  # everybody's
    text = re.sub(r"\*\*Options\*\*:\n\n(?!\*)", "", text)
    text = re.sub(r"^# `visavis`\n\n", "", text)
    text = re.sub(r"^## `visavis (\w[\w-]*)`$", r"## visavis \1", text, flags=re.M)
    text = re.sub(r"^### `visavis ([\w -]+)`$", r"### visavis \1", text, flags=re.M)
    lines = [line.replace("[", "\\[") if line.startswith("* ") else line.rstrip() for line in text.splitlines()]
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return HEAD.format(version=version("typer")) + re.sub(r"^\* ", "- ", body, flags=re.M) + "\n"


def options(text: str) -> set[tuple[str, str]]:
    """What a page says there is, whatever version of typer wrote it: (command, option or argument)."""
    found, command = set(), "visavis"
    for line in text.splitlines():
        if line.startswith(("## ", "### ")):
            command = line.lstrip("# ")
        elif match := re.match(r"- `([^`<\[ ]+(?:, [^`<\[ ]+)*)", line):
            found.add((command, match[1]))
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
