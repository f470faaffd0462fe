"""One enrolment as a process with all its children: fed, listened to, bounded in time, ended as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

log = logging.getLogger(__name__)
WORKER: Final = (sys.executable, "-m", "training.portrait.worker")
CONFINE: Final = Path(__file__).with_name("confine.py")
MEMORY: Final = 5 << 30  # bytes of address space of a worker: a usual one takes 2.9 GB, 1.6 of them resident
MEMORY_A_CORE: Final = 256 << 20  # threads have stacks and arenas
FILE: Final = 64 << 20  # bytes of a file it writes: the largest of a pack has 3 MB
FILES: Final = 256  # open at once; a usual one has 11
# What a worker is told of its surroundings: no token, no credential, nothing else that happens to be there.
TOLD: Final = (
    "PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "SYSTEMROOT", "PATHEXT", "COMSPEC", "VIRTUAL_ENV", "PYTHONPATH",
    "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "XDG_CACHE_HOME",
)  # fmt: skip
TOLD_KINDS: Final = ("LC_", "NUMBA_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "COV_")
ROOT: Final = Path(__file__).parents[1]  # where ``training`` lies beside this package
REFUSED: Final = 3  # exit status of a worker that has said {"error": ...}
LINE: Final = 1 << 16  # bytes of the longest line a worker may print
TAIL: Final = 2000  # bytes of its stderr that are kept
NICE: Final = 5  # running sessions come first
WORDS: Final = 500  # characters of an error or warning
MISSING: Final = "this server has no portrait maker: pip install 'visavis[portrait]' there, then start it again"


class WorkerError(RuntimeError):
    """An enrolment came to nothing; the message says why, and what to do, to whoever sent the photograph."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a worker is asked for. It may write below ``work`` alone, and leaves the avatar at ``work/id``."""

    command: Sequence[str]
    id: str
    name: str
    consent: str
    work: Path

    async def run(self, photo: bytes, seconds: float, progress: Callable[[str, float], None]) -> tuple[str, ...]:
        """Warnings, once the avatar is made; ``progress`` hears steps and shares. Raises WorkerError.

        Whatever happens, cancellation included, no process of it is left when this returns.
        """
        process = await self._start(seconds)
        told = _Told(progress)
        try:
            async with asyncio.timeout(seconds):
                _, _, tail = await asyncio.gather(
                    _feed(process, photo), told.listen(process.stdout), _last(process.stderr)
                )  # fmt: skip
                code = await process.wait()
        except TimeoutError:
            raise WorkerError(
                f"making the avatar took longer than {seconds:.0f} s and was stopped: try again when this server is "
                "less busy, or with a smaller photograph"
            ) from None
        finally:
            await _end(process)
        return told.outcome(code, tail)

    async def _start(self, seconds: float) -> Process:
        asked = {"out": self.work / self.id, "id": self.id, "name": self.name, "consent": self.consent}
        command = [
            *_confined(seconds),
            *self.command,
            *(f"--{key}={value}" for key, value in asked.items()),
        ]  # a name may begin with "-"
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT, limit=LINE, start_new_session=True,
            env={**_surroundings(), "TMPDIR": str(self.work), "TEMP": str(self.work), "TMP": str(self.work)},
        )  # fmt: skip
        _yield_to_sessions(process.pid)
        return process


def _confined(seconds: float) -> list[str]:
    """What goes before a command so that it runs within limits; nothing where there are none."""
    if os.name != "posix":
        return []
    cores = os.cpu_count() or 1
    limits = {
        "cpu_s": int(seconds * max(cores, 2)) + 1, "memory": MEMORY + cores * MEMORY_A_CORE, "file": FILE,
        "files": FILES,
    }  # fmt: skip
    return [sys.executable, "-I", str(CONFINE), json.dumps(limits)]


def _surroundings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in TOLD or name.startswith(TOLD_KINDS)}


class _Told:
    """What a worker says, line by line; its last word counts."""

    def __init__(self, progress: Callable[[str, float], None]) -> None:
        self._progress = progress
        self._last: dict[str, Any] = {}

    async def listen(self, stream: asyncio.StreamReader | None) -> None:
        """To the end of its output."""
        assert stream is not None
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than LINE; what came of it is thrown away by asyncio
                continue
            if not line:
                return
            with contextlib.suppress(ValueError, RecursionError):
                self._hear(json.loads(line))

    def _hear(self, said: Any) -> None:
        if not isinstance(said, dict):
            return
        if "step" in said:
            share = said.get("share")
            if not isinstance(share, int | float) or not math.isfinite(share):
                share = 0.0
            self._progress(str(said["step"])[:80], min(max(float(share), 0.0), 1.0))
        if "done" in said or "error" in said:
            self._last = said

    def outcome(self, code: int, tail: bytes) -> tuple[str, ...]:
        """Warnings of an enrolment that went well. Raises WorkerError for any other."""
        done, error = self._last.get("done"), self._last.get("error")
        if code == 0 and isinstance(done, dict):
            return tuple(str(warning)[:WORDS] for warning in list(done.get("warnings") or ())[:20])
        if code == REFUSED and isinstance(error, str) and error:
            raise WorkerError(error[:WORDS])
        said = tail.decode(errors="replace").strip()
        log.warning("an enrolment ended with status %d: %s", code, said or "no word")
        if "No module named" in said:
            raise WorkerError(MISSING)
        if code == -getattr(signal, "SIGXCPU", 0) != 0:
            raise WorkerError("the enrolment took more of the processor than it may: try a smaller photograph")
        if code == -signal.SIGKILL:
            raise WorkerError("the enrolment was killed, perhaps for want of memory: try a smaller photograph")
        raise WorkerError(f"the enrolment broke off (status {code}); the server's log says why")


async def _feed(process: Process, photo: bytes) -> None:
    """Gives a worker its photograph; one that has ended before takes none."""
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(photo)
        await process.stdin.drain()
    process.stdin.close()


async def _last(stream: asyncio.StreamReader | None) -> bytes:
    """The end of a stream, when it has come."""
    assert stream is not None
    tail = b""
    while chunk := await stream.read(LINE):
        tail = (tail + chunk)[-TAIL:]
    return tail


async def _end(process: Process) -> None:
    """Kills what is left of a worker and of its children, and waits for it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)  # its own session's: it was started so
    await asyncio.shield(process.wait())


def _yield_to_sessions(pid: int) -> None:
    """Lowers a process's claim on the processor, as far as this system lets us."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
    with contextlib.suppress(OSError):  # Linux with autogroups shares time between sessions, whatever their nice
        Path(f"/proc/{pid}/autogroup").write_text(str(NICE))
