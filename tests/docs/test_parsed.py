"""Commands too long, or too much for a test: their programs' own parsers must take exactly these arguments."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from .blocks import ROOT, Command, commands
from .ways import PARSE, rule_of

PARSED = [command for command in commands() if (rule := rule_of(command.text)) is not None and rule.way == PARSE]


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    """What each parser said, all of them in one process: most of its time goes into imports."""
    wanted = [shlex.split(re.sub(r"^sudo ", "", command.text)) for command in PARSED]
    asked = [sys.executable, "-m", "tests.docs.parse"]
    done = subprocess.run(asked, input=json.dumps(wanted), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip((command.text for command in PARSED), map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("command", PARSED, ids=lambda command: command.text[:80])
def test_its_program_takes_exactly_these_arguments(command: Command, answers: dict[str, str]) -> None:
    said = answers[command.text]
    if said.startswith("skip:"):
        pytest.skip(said)
    assert not said, f"{command.place}: {command.text}\n{said}"


def test_a_wrong_option_is_noticed() -> None:
    asked = [sys.executable, "-m", "tests.docs.parse"]
    export = ["visavis", "export", "--backend", "onnx"]
    wrong = [[*export, "--no-such"], ["visavis", "nothing"], export]
    done = subprocess.run(asked, input=json.dumps(wrong), cwd=ROOT, capture_output=True, text=True, check=True)
    option, command, right = map(json.loads, done.stdout.splitlines())
    assert "--no-such" in option and "nothing" in command and right == ""
