"""docs/security.md says what is there: its tests, its keys, its defaults, its targets."""

from __future__ import annotations

import re
from pathlib import Path

from bench.fuzz import TARGETS
from streaming.tokens import SCOPES
from visavis.config import Config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text("utf-8")


def test_the_tests_it_names_are_there() -> None:
    files = {path.name: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    everything = "\n".join(files.values())
    named = set(re.findall(r"`(?:tests/\w+/)?(test_\w+(?:\.py)?)`", TEXT))
    assert len(named) > 15
    for name in named:
        assert name in files or f"def {name}(" in everything, name


def test_the_keys_and_defaults_it_names_are_those_of_the_configuration() -> None:
    config = Config()
    rows = [row.split("|")[1:-1] for row in TEXT.partition("## Limits")[2].partition("##")[0].split("\n") if "`" in row]
    checked = 0
    for _, keys, defaults in (row for row in rows if len(row) == 3):
        named = re.findall(r"`(\w+)\.(\w+)`", keys)
        numbers = re.findall(r"\d+(?:\.\d+)?", defaults)
        for (section, key), number in zip(named, numbers, strict=False):
            assert float(getattr(getattr(config, section), key)) == float(number), f"{section}.{key}"
            checked += 1
    assert checked >= 15
    for section, key in re.findall(r"`(server|limits|outputs|portrait|agents)\.(\w+)`", TEXT):
        assert hasattr(getattr(config, section), key), f"{section}.{key}"


def test_its_scopes_and_targets_are_all_there_are() -> None:
    told = TEXT.partition("Scopes:")[2].partition("A route that nobody")[0]
    assert set(re.findall(r"`(\w+)`", told)) == set(SCOPES) - {"server"}
    assert f"{len(TARGETS)} targets" in TEXT
