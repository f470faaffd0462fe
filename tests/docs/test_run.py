"""Commands of the documentation that end soon: each runs to its end, on small inputs."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from visavis.cli import app

from .blocks import Command, commands
from .place import furnish
from .ways import RUN, rule_of

CONFIGURED = ("render", "drive", "avatars", "doctor", "motion record", "motion play")
FOUND = [command for command in commands() if (rule := rule_of(command.text)) is not None and rule.way == RUN]


def argv(command: str) -> list[str]:
    """The words after `visavis`, with a configuration that makes small pictures."""
    rule = rule_of(command)
    assert rule is not None
    words = shlex.split(command)[1:] + list(rule.extra)
    return words + (["--config", "small.toml"] if " ".join(words).startswith(CONFIGURED) else [])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What commands find that others have made: a film with a face, motion files, an ARKit CSV."""
    folder = tmp_path_factory.mktemp("typed")
    furnish(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "film.toml").write_text(
            '[render]\nwidth = 256\nheight = 256\nframing = "head"\nrenderer = "geometric"\n'
        )
        for line in (
            "render speech.wav -o video.mp4 -c film.toml --motion out.vmotion",
            "motion export out.vmotion take.csv",
        ):
            done = CliRunner().invoke(app, line.split())
            assert done.exit_code == 0, done.output
    for name in ("take.vmotion", "talk.vmotion"):
        (folder / name).write_bytes((folder / "out.vmotion").read_bytes())
    (folder / "PATH").symlink_to("me.avatar")
    return folder


@pytest.mark.parametrize("command", FOUND, ids=lambda command: command.text[:80])
def test_it_runs_to_its_end(command: Command, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = argv(command.text)
    monkeypatch.chdir(made)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(made))
    done = CliRunner().invoke(app, words)
    allowed = (0, 1) if words[0] == "doctor" else (0,)  # 1: it found something that is not well
    assert done.exit_code in allowed, f"{command.place}: {command.text}\n{done.output}\n{done.exception!r}"
    for option in ("-o", "--output", "--motion"):
        if option in words:
            assert (made / words[words.index(option) + 1]).stat().st_size > 100


def test_a_command_that_is_wrong_fails(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    assert CliRunner().invoke(app, argv("visavis render speech.wav --avatar nobody")).exit_code != 0
