"""Commands that change a machine, or belong to it: what they name must be there."""

import functools
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
import yaml

from .blocks import ROOT, Command, commands
from .ways import SYSTEM, rule_of

LOOKED_UP = [command for command in commands() if (rule := rule_of(command.text)) is not None and rule.way == SYSTEM]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMPOSE: Final = {"up": {"--detach", "-d", "--build"}, "down": set(), "logs": {"--follow"}, "ps": set()}


def extras(words: list[str]) -> None:
    """`pip install`: the extras of what it installs from here."""
    for word in words:
        if found := re.fullmatch(r"(?:\.|visavis)\[([\w,-]+)\]", word):
            unknown = set(found[1].split(",")) - set(PROJECT["optional-dependencies"])
            assert not unknown, f"no extra {unknown}"


def packages(words: list[str]) -> None:
    """`apt install`: Debian's packages, as far as this machine keeps a list of them."""
    names = [word for word in words[words.index("install") + 1 :] if not word.startswith("-")]
    assert names
    if shutil.which("apt-cache") is None or "python3-venv" not in known():
        pytest.skip("this machine keeps no list of Debian's packages")
    missing = set(names) - known()
    assert not missing, f"Debian has no {missing}"


@functools.cache
def known() -> set[str]:
    """Names of all Debian packages, asked for once: each question would read the lists again."""
    said = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, text=True, check=False)
    return set(said.stdout.split())


def target(words: list[str]) -> None:
    """`make`: what it would run, without running it."""
    made = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    if words[1:] == ["serve"]:
        assert "visavis serve --open" in made.stdout


def compose(words: list[str]) -> None:
    """`docker compose`: its files, profile, command and options."""
    assert words[:2] == ["docker", "compose"], "only compose is used"
    files, rest, services = [], words[2:], {}
    while rest[0].startswith("-"):
        files += [rest[1]] if rest[0] == "-f" else []
        for name in files or ["compose.yaml"]:
            services |= yaml.safe_load((ROOT / "deploy" / name).read_text(encoding="utf-8"))["services"]
        if rest[0] == "--profile":
            assert any(rest[1] in service.get("profiles", []) for service in services.values()), f"no profile {rest[1]}"
        rest = rest[2:]
    assert rest[0] in COMPOSE and set(rest[1:]) <= COMPOSE[rest[0]], rest


def unit(words: list[str]) -> None:
    """`systemctl`: a unit of ours that can be enabled."""
    text = (ROOT / "deploy" / f"{words[-1].removesuffix('.service')}.service").read_text(encoding="utf-8")
    assert "enable" not in words or "[Install]" in text


def module(words: list[str]) -> None:
    """`python -m NAME` or `python FILE`, and the files that are named."""
    if words[1] == "-m":
        assert find_spec(words[2]) is not None
    else:
        assert (ROOT / words[1]).is_file()
    for word in words[2:]:
        if word.startswith(("docs/", "bench/", "tests/")):
            assert (ROOT / word).exists(), f"there is no {word}"


def library(words: list[str]) -> None:
    """A program of an extra: its own list of commands has this one."""
    name = words[0]
    place = Path(sys.executable).with_name(name)
    if not place.exists():
        pytest.skip(f"{name} is not installed")
    said = told(place, words[1])
    for option in (word for word in words[2:] if word.startswith("-")):
        assert option.partition("=")[0] in said, f"{name} {words[1]} has no {option}"


@functools.cache
def told(program: Path, command: str) -> str:
    """What a program's command says of itself."""
    said = subprocess.run([program, command, "--help"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return said.stdout


CHECKS: Final[dict[str, Callable[[list[str]], None]]] = {
    "pip": extras, "/opt/visavis/bin/pip": extras, "apt": packages, "apt-get": packages, "make": target,
    "docker": compose, "systemctl": unit, "python": module, "pytest": module, "mkdocs": library, "ray": library,
}  # fmt: skip


def copied(command: str, place: Path) -> None:
    """Runs ``command`` in a copy of deploy/ with `/etc` and `/opt` below ``place``."""
    shutil.copytree(ROOT / "deploy", place / "deploy", ignore=shutil.ignore_patterns("secrets", ".env"))
    for folder in ("etc/visavis", "etc/systemd/system", "opt"):
        (place / folder).mkdir(parents=True)
    for name in ("etc/visavis/config.toml", "deploy/.env"):  # what the lines before it made
        shutil.copy(place / "deploy" / ("visavis.systemd.toml" if "toml" in name else ".env.example"), place / name)
    here = place / "deploy" if (place / "deploy" / shlex.split(command)[1]).exists() else place
    asked = ["sh", "-euc", re.sub(r"(?<=\s)/(?=etc/|opt/)", f"{place}/", command)]
    done = subprocess.run(asked, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", LOOKED_UP, ids=lambda command: command.text[:80])
def test_what_it_names_is_there(command: Command, tmp_path: Path) -> None:
    for part in (part.removeprefix("sudo ").strip() for part in command.text.split("&&")):
        words = [part] if part.startswith("(") else shlex.split(part)
        if words[0] in CHECKS:
            CHECKS[words[0]](words)
        elif words[:3] == ["python3", "-m", "venv"]:
            assert find_spec("venv") is not None
        elif words[0] in (".", "cd"):
            place = words[1].replace(".venv/bin", str(Path(sys.executable).parent))
            assert (ROOT / place).exists()
        else:
            copied(command.text, tmp_path)
            return


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (extras, "pip install .[nothing]"),
        (target, "make nothing"),
        (unit, "systemctl start nothing"),
        (compose, "docker compose --profile nothing up"),
        (compose, "docker compose up --nothing"),
    ],
)
def test_wrong_names_are_noticed(check: Callable[[list[str]], None], line: str) -> None:
    with pytest.raises((AssertionError, OSError)):
        check(shlex.split(line))
