"""What a Dockerfile says and which files its build is given: read, without a container engine."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any, Final

KNOWN: Final = (
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "VOLUME",
    "WORKDIR",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its word, what follows with variables put in, and its options (``--from=build``)."""

    word: str
    rest: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """What follows, as a list: JSON's, or a shell's words."""
        return json.loads(self.rest) if self.rest.startswith("[") else shlex.split(self.rest)

    @property
    def command(self) -> list[str]:
        """What follows, as a program and its arguments."""
        return json.loads(self.rest) if self.rest.startswith("[") else ["/bin/sh", "-c", self.rest]


@dataclass(slots=True)
class Stage:
    """From one FROM to the next."""

    image: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def last(self, word: str) -> Step | None:
        """The last instruction of a kind: the one that holds."""
        return next((step for step in reversed(self.steps) if step.word == word), None)

    def environment(self, base: dict[str, str]) -> dict[str, str]:
        """``base`` with every ENV on top, as the program will see it."""
        known = dict(base)
        for step in self.steps:
            if step.word == "ENV":
                known |= {name: Template(value).safe_substitute(known) for name, value in _pairs(step.rest)}
        return known


def read(path: Path) -> list[Stage]:
    """The stages of a Dockerfile. Raises ValueError for what this reader does not know."""
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for line in _lines(path.read_text(encoding="utf-8")):
        word, _, rest = line.partition(" ")
        if word not in KNOWN:
            raise ValueError(f"{path}: {word} is not known here")
        if word == "ARG":
            arguments |= dict(_pairs(rest))
        elif word == "FROM":
            image, *name = _filled(rest, arguments).split(" AS ")
            stages.append(Stage(image.strip(), name[0].strip() if name else str(len(stages))))
        else:
            stages[-1].steps.append(_step(word, rest, arguments))
    return stages


def _step(word: str, rest: str, arguments: dict[str, str]) -> Step:
    options: dict[str, str] = {}
    while word in ("COPY", "HEALTHCHECK") and (found := re.match(r"--([\w-]+)=(\S+)\s+", rest)):
        options[found[1]] = found[2]
        rest = rest[found.end() :]
    return Step(word, rest if word in ("ENV", "RUN") else _filled(rest, arguments), options)


def _lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [line.strip() for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines() if line.strip()]


def _pairs(rest: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (word.partition("=") for word in shlex.split(rest))]


def _filled(text: str, arguments: dict[str, str]) -> str:
    return Template(text).safe_substitute(arguments)


def arguments_of(path: Path) -> dict[str, str]:
    """The defaults of every ARG."""
    lines = (line.partition(" ") for line in _lines(path.read_text(encoding="utf-8")))
    return dict(pair for word, _, rest in lines if word == "ARG" for pair in _pairs(rest))


def ignored(name: str, rules: list[str]) -> bool:
    """Whether .dockerignore's ``rules`` keep ``name`` from a build: the last rule that fits a path, or a folder above
    it, decides."""
    path, out = PurePosixPath(name), False
    above = [str(part) for part in (*reversed(path.parents), path) if str(part) != "."]
    for rule in rules:
        lets_in, pattern = rule.startswith("!"), rule.removeprefix("!").strip("/")
        if any(_fits(part, pattern) for part in above):
            out = not lets_in
    return out


def _fits(name: str, pattern: str) -> bool:
    names, patterns = name.split("/"), pattern.split("/")
    if patterns[0] == "**":
        return len(names) >= len(patterns) - 1 and _fits("/".join(names[-len(patterns) + 1 :]), "/".join(patterns[1:]))
    return len(names) == len(patterns) and all(fnmatchcase(*pair) for pair in zip(names, patterns, strict=True))


def rules_of(root: Path) -> list[str]:
    """The rules of ``root``/.dockerignore."""
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def context(root: Path) -> list[str]:
    """Files that a build is given: what git keeps or would keep, less what is ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    rules = rules_of(root)
    return [name for name in names if name and (root / name).is_file() and not ignored(name, rules)]


def missing(stages: list[Stage], files: list[str]) -> list[str]:
    """What a COPY asks for and the build's context does not have."""
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    known = {*files, *folders}
    copies = (step for stage in stages for step in stage.steps if step.word == "COPY" and "from" not in step.options)
    return [source for step in copies for source in step.words[:-1] if source.strip("/") not in known]


def said(step: Step | None) -> list[str]:
    """The words of an instruction that may be absent."""
    found: Any = [] if step is None else step.words
    return list(found)
