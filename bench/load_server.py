"""A real server for suite ``load``: ``visavis serve`` with its own configuration; its processes and what they cost."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from bench.stream import serving
from streaming.config import ServerConfig

TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
CLUSTER: Final = "load"  # its name
PLACES: Final = 12  # sessions that the setting itself allows: what refuses is to be the engine


@dataclass(frozen=True)
class Mode:
    """What is measured: size, renderer, processes (the setting; "" leaves the default), places (max_sessions)."""

    side: int = 256
    renderer: str = "neural"
    processes: str = ""
    places: int = PLACES

    def toml(self) -> str:
        """The configuration of it."""
        server: dict[str, Any] = {"max_sessions": self.places, "sessions_per_minute": 100_000, "linger_s": 5.0}
        if self.processes:
            server["processes"] = f'"{self.processes}"'
        lines = ["[server]", *(f"{key} = {value}" for key, value in server.items())]
        lines += ["[render]", f"width = {self.side}", f"height = {self.side}", f'renderer = "{self.renderer}"']
        return "\n".join([*lines, "[portrait]", "enabled = false"]) + "\n"


@dataclass(frozen=True)
class Server:
    """A server that runs: where, and its first process."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def family(self) -> dict[int, str]:
        """Its processes and their descendants, with what they were started as."""
        return family(self.process.pid)

    def cores_since(self, before: dict[int, float], begun: float) -> float:
        """Cores that were busy since ``before``, which ``cpu`` gave at ``begun``; those that ended are not counted."""
        now = self.cpu()
        used = sum(now[pid] - before.get(pid, 0.0) for pid in now)
        return used / (time.monotonic() - begun)

    def cpu(self) -> dict[int, float]:
        """Seconds of a core that each of its processes has taken."""
        return {pid: seconds for pid in self.family() if (seconds := cpu_s(pid)) is not None}


def settings() -> set[str]:
    """Names of the settings that this version's ``[server]`` has."""
    return {f.name for f in fields(ServerConfig)}


@contextlib.contextmanager
def running(mode: Mode, *, cluster: bool = False) -> Iterator[Server]:
    """A server, warm; or a ``cluster`` of two workers on this machine. Raises OSError when it does not start."""
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        config = Path(folder) / "config.toml"
        config.write_text(mode.toml(), encoding="utf-8")
        more: dict[str, Any] = {"more": ("--config", str(config))}
        if cluster:
            two = ("--workers", "2", "--max", "2", "--name", CLUSTER)
            more = {
                "module": ("visavis.cli", "cluster"), "word": "start", "more": (*more["more"], *two), "end_s": 60.0
            }  # fmt: skip
        with serving(Path(folder), **more) as (address, process):
            yield Server(address, process, Path(folder) / "server.log")


def parents() -> dict[int, int]:
    """Parent of each process of this machine."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            found[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    return found


def family(root: int) -> dict[int, str]:
    """``root`` and its descendants, with their command lines."""
    parent_of = parents()
    kin = {root}
    while more := {pid for pid, parent in parent_of.items() if parent in kin} - kin:
        kin |= more
    found = {}
    for pid in sorted(kin):
        with contextlib.suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def cpu_s(pid: int) -> float | None:
    """Seconds of a core that a process took so far; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(stat[11]) + int(stat[12])) / TICKS
