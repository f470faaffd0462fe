"""Does every package of the default install have a wheel for other systems? Asks pip's resolver; installs nothing.

python tools/wheels.py [EXTRA ...]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[1]
GLIBC: Final = range(36, 16, -1)  # Debian 12's 2.36 and all that it can run
SYSTEMS: Final = {  # pip's platforms, and what environment markers see there
    "Linux x86-64": (tuple(f"manylinux_2_{minor}_x86_64" for minor in GLIBC), "linux", "x86_64"),
    "Linux arm64": (tuple(f"manylinux_2_{minor}_aarch64" for minor in GLIBC), "linux", "aarch64"),
    "Windows x86-64": (("win_amd64",), "win32", "AMD64"),
    "macOS 14 arm64": (("macosx_14_0_arm64", "macosx_11_0_arm64"), "darwin", "arm64"),
    "macOS 14 x86-64": (("macosx_14_0_x86_64", "macosx_10_13_x86_64"), "darwin", "x86_64"),
}
PYTHON: Final = "3.12"


def needed(extras: list[str], system: str, machine: str) -> list[str]:
    """The requirements that hold on a system."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    given = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    there = {"sys_platform": system, "platform_machine": machine, "python_version": PYTHON}
    known = [Requirement(one) for one in given]
    return [str(one).partition(";")[0] for one in known if one.marker is None or one.marker.evaluate(there)]


def resolve(name: str, extras: list[str]) -> str:
    """What pip says, in a line."""
    platforms, system, machine = SYSTEMS[name]
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--target", target]
        command += ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
        command += [word for platform in platforms for word in ("--platform", platform)]
        done = subprocess.run([*command, *needed(extras, system, machine)], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "all there" if done.returncode == 0 else " ".join(errors)[:300]


if __name__ == "__main__":
    for one in SYSTEMS:
        print(f"{one}: {resolve(one, sys.argv[1:])}", flush=True)
