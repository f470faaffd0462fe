"""Pages that a program writes say what is there now."""

import tomllib
from importlib.metadata import version

import pytest

from tests.docs import table
from tests.docs.blocks import ROOT
from tools import clidoc, configdoc


def test_the_command_line_page_has_every_option() -> None:
    kept, made = clidoc.PAGE.read_text(encoding="utf-8"), clidoc.page()
    if f"(typer {version('typer')})" in kept:
        assert kept == made, "docs/cli.md is old: python tools/clidoc.py"
    assert clidoc.options(kept) == clidoc.options(made), "docs/cli.md is old: python tools/clidoc.py"


def test_it_would_notice_an_option_that_is_gone() -> None:
    kept = clidoc.PAGE.read_text(encoding="utf-8")
    found = clidoc.options(kept)
    assert ("visavis render", "--orbit") in found and ("visavis motion import", "--flip") in found
    assert clidoc.options(kept.replace("- `--orbit <", "- `--orbits <")) != found


def test_the_configuration_page_has_every_key() -> None:
    kept = configdoc.PAGE.read_text(encoding="utf-8")
    assert kept == configdoc.page(), "docs/configuration.md is old: python tools/configdoc.py"
    keys = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))
    for section, values in keys.items():
        part = kept.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        assert all(f"| `{name}` |" in part for name in values), section


@pytest.mark.parametrize("line", ['name = "a # b"  # text with a hash', "names = []   # none", "wide = 512"])
def test_a_line_of_the_configuration_is_read_whole(line: str) -> None:
    ((key),) = configdoc.read(line)
    assert isinstance(key, configdoc.Key)
    assert key.default == line.split("=")[1].rpartition("  #")[0].strip() or key.default == "512"


def test_the_table_of_commands_is_current() -> None:
    print(table.table())
    kept = table.PAGE.read_text(encoding="utf-8")
    assert kept == table.page(), "docs/development.md is old: python -m tests.docs.table"
