"""docs/configuration.md: every key of config.toml with its type, from the file and the dataclasses it becomes.

`python tools/configdoc.py` writes it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Final, NamedTuple, get_args, get_origin, get_type_hints

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "configuration.md"
SECTION: Final = re.compile(r"\[(?P<name>[a-z_]+)\]\s*(?:#\s*(?P<about>.*))?")
KEY: Final = re.compile(r"(?P<name>[a-z_]+) = (?P<default>(?:\"[^\"]*\"|[^#\"])*?)\s*(?:#\s*(?P<about>.*))?")
HEAD: Final = """# config.toml

Made by `python tools/configdoc.py` from [config.toml](../config.toml), which has every key with its default, and from
the dataclasses it becomes. `--config FILE` (`-c`) of any command reads such a file; it needs only the keys that differ.
An unknown key, a wrong type or a value that cannot be is an error that names the key and, where one is near, what was
meant. Options of the command line come before the file.

```toml
[render]
width = 256
height = 256
[server]
port = 9000
```
"""


class Key(NamedTuple):
    """A line of config.toml."""

    section: str
    name: str
    default: str
    about: str


def read(text: str) -> Iterator[tuple[str, str] | Key]:
    """Sections, as (name, what it is about), and their keys, in the file's order."""
    section = ""
    for line in text.splitlines():
        if match := SECTION.fullmatch(line):
            section = match["name"]
            yield section, match["about"] or ""
        elif match := KEY.fullmatch(line):
            yield Key(section, match["name"], match["default"].strip(), match["about"] or "")
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"config.toml: not one key a line: {line!r}")


def said(hint: Any) -> str:
    """A type as one would say it in TOML."""
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return f"list of {said(inner)}"
    if isinstance(hint, UnionType):
        return " or ".join(said(kind) for kind in get_args(hint))
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(hint, "table")


def page() -> str:
    """The page as it should be now."""
    sys.path.insert(0, str(ROOT))
    from visavis.config import Config

    kinds = get_type_hints(Config)
    rows = [HEAD]
    for line in read((ROOT / "config.toml").read_text(encoding="utf-8")):
        if isinstance(line, Key):
            hint = get_type_hints(kinds[line.section])[line.name]
            assert line.name in {field.name for field in fields(kinds[line.section])}
            about = line.about.replace("|", "\\|")
            rows.append(f"| `{line.name}` | {said(hint)} | `{line.default}` | {about} |\n")
        else:
            about = f"{line[1]}\n\n" if line[1] else ""
            rows.append(f"\n## {line[0]}\n\n{about}| key | type | default | |\n|---|---|---|---|\n")
    return "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
