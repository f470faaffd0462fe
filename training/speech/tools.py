"""Programs and packages that only data making needs, run as processes of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

PROCESS_LIMIT_S = 1800


class MissingPackage(RuntimeError):
    """A tool that only data making needs is not installed; the message names the package."""


def run(command: Sequence[str], stdin: str | None = None, encoding: str = "utf-8") -> str:
    """What ``command`` prints. Raises MissingPackage without the program, CalledProcessError when it fails."""
    try:
        done = subprocess.run(command, input=stdin, text=True, encoding=encoding, errors="replace",
                              capture_output=True, check=True, timeout=PROCESS_LIMIT_S)  # fmt: skip
    except FileNotFoundError as error:
        raise MissingPackage(f"{command[0]} is not installed (Debian package of that name)") from error
    return done.stdout
