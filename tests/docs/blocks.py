"""What README.md and docs/ tell a reader to type: fenced blocks, and the commands in those that are a shell's."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
SHELLS: Final = ("sh", "bash", "shell", "console")
FENCE: Final = re.compile(
    r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)(?P=ticks) *$",
    re.S | re.M,
)
OURS: Final = re.compile(r"(visavis|python3?|pip|make|curl|docker|sudo|apt|ray|mkdocs) \S")  # begins a command


class Block(NamedTuple):
    """A fenced block: its file, its first line there, its language and text."""

    file: str
    line: int
    language: str
    text: str


class Command(NamedTuple):
    """One command, without its comment, and where it stands."""

    place: str
    text: str


def pages() -> list[Path]:
    """Every page that somebody may copy from."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        yield Block(name, line, found["language"], textwrap.dedent(found["text"]))


def of(*languages: str) -> list[Block]:
    """All blocks in these languages."""
    return [block for path in pages() for block in blocks(path) if block.language in languages]


def bare(line: str) -> str:
    """A line of shell without its comment."""
    quote = ""
    for index, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index].rstrip()
    return line.rstrip()


def commands() -> list[Command]:
    """Every command of every shell block, the same one once."""
    seen: dict[str, Command] = {}
    for block in of(*SHELLS):
        waiting, first = "", 0
        for number, line in enumerate(block.text.splitlines(), block.line):
            first = first if waiting else number
            waiting += bare(line).removeprefix("$ ")
            if waiting.endswith("\\"):
                waiting = waiting[:-1]
                continue
            text = " ".join(re.split(r"\s+(?=(?:[^'\"]|'[^']*'|\"[^\"]*\")*$)", waiting)).strip()
            if text:
                seen.setdefault(text, Command(f"{block.file}:{first}", text))
            waiting = ""
    return list(seen.values())


def unmarked() -> list[str]:
    """Places of commands that stand where nobody collects them: indented, or in a block without a shell's name."""
    wrong = []
    for path in pages():
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        for block in blocks(path):
            if block.language in ("", "text") and not text.startswith("# Command line"):
                lines = enumerate(block.text.splitlines(), block.line)
                wrong += [f"{block.file}:{number}" for number, line in lines if OURS.match(line)]
        blank = FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
        for number, line in enumerate(blank.splitlines(), 1):
            if line.startswith("    ") and OURS.match(line.strip()) and not blank.splitlines()[number - 2].strip():
                wrong.append(f"{name}:{number}")
    return wrong
