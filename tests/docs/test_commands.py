"""Every command in the documentation has a way to be tried, and none stands where nobody collects it."""

from pathlib import Path

import pytest

from .blocks import ROOT, bare, commands, unmarked
from .ways import MEANS, RULES, rule_of


def test_every_command_is_classified() -> None:
    unknown = [f"{command.place}: {command.text}" for command in commands() if rule_of(command.text) is None]
    what = (
        "no test tries these commands of the documentation. Say in tests/docs/ways.py how each is tried (run, started, "
        "asked, parsed, what it names looked up), then write the table: python -m tests.docs.table"
    )
    assert not unknown, "\n".join([what, *unknown])


def test_no_command_hides_outside_a_shell_block() -> None:
    hidden = unmarked()
    assert not hidden, f"write these commands in a block that begins with ```sh, so that they are tried: {hidden}"


def test_rules_mean_something_and_name_tests_that_exist() -> None:
    assert {rule.way for rule in RULES} == set(MEANS)
    for rule in RULES:
        assert not rule.by or (ROOT / rule.by).is_file(), f"{rule.pattern}: there is no {rule.by}"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("visavis serve   # comment", "visavis serve"),
        ('present --background "#204060" --monitor', 'present --background "#204060" --monitor'),
        ("# nothing", ""),
        ("curl host/page#anchor", "curl host/page#anchor"),
    ],
)
def test_comments_are_told_from_colours_and_anchors(line: str, kept: str) -> None:
    assert bare(line) == kept


def test_the_collector_finds_what_a_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from . import blocks

    page = tmp_path / "README.md"
    page.write_text(
        "# A\n\n```sh\nvisavis  serve \\\n  --open  # now\n```\n\n```\nvisavis avatars\n```\n\n    visavis devices\n"
    )
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(blocks, "ROOT", tmp_path)
    assert blocks.commands() == [blocks.Command("README.md:4", "visavis serve --open")]
    assert blocks.unmarked() == ["README.md:9", "README.md:12"]
