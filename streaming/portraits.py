"""Avatars that people make of themselves: one process an enrolment, few at once, a short queue, a place to keep them.

How an avatar is made is not known here: ``training.portrait.worker`` reads a photograph from stdin and prints JSON
lines, ``{"step", "share"}`` as it goes, then ``{"done": {"warnings"}}`` or ``{"error"}``. It works in a folder of its
own; what is finished is moved to where avatars are kept, under an id that nobody can guess, and the rest is removed
whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.avatar import AvatarError
from engine.engine import HIDDEN_ID, Engine
from streaming.config import PortraitConfig
from streaming.enrolment import WORKER, Enrolment, WorkerError
from streaming.wardrobe import OPENERS

log = logging.getLogger(__name__)
REMEMBERED_S: Final = 900.0  # an enrolment that has ended is still told of for so long
SWEEP_S: Final = 600.0
LEFT_OVER_S: Final = 7200.0  # age of a hidden folder that no server can still be at
WORK: Final = re.compile(rf"\.{HIDDEN_ID.pattern}")


class NoRoom(RuntimeError):
    """As many enrolments as may run and wait are there already."""


@dataclass
class Job:
    """One enrolment. ``state``: "waiting", "running", "done" or "failed", then with ``error`` in words."""

    id: str
    name: str
    consent: str
    photo: bytes = field(repr=False)
    state: str = "waiting"
    step: str = ""
    share: float = 0.0  # of the work, in [0, 1]
    error: str = ""
    warnings: tuple[str, ...] = ()
    asked: bool = False  # whether anybody has asked how far it is
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None  # time.monotonic()
    task: asyncio.Task[None] | None = None


class Portraits:
    """Every enrolment of one server, and the avatars that came of them. On the event loop."""

    def __init__(self, config: PortraitConfig, engine: Engine, command: Sequence[str] = WORKER) -> None:
        self._config, self._engine, self._command = config, engine, tuple(command)
        self.folder = Path(config.folder).expanduser().absolute() if config.folder else data_folder()
        self._jobs: dict[str, Job] = {}
        self._turn = asyncio.Semaphore(config.at_once)
        self._coming = 0  # photographs that are still on their way in
        self._sweeper: asyncio.Task[None] | None = None
        self.stopping: Callable[[], bool] = lambda: False
        self.watchers: list[Callable[[Job], None]] = []  # hear of every enrolment that ended

    def start(self) -> None:
        """Lets the engine find the avatars that are kept, and begins to remove those whose time is over."""
        self._engine.hide(self.folder)
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep_on())

    async def close(self) -> None:
        """Ends every enrolment with all its processes, and waits until that is done."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        tasks += [] if self._sweeper is None else [self._sweeper]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Holds a place for a photograph while it comes in. Raises NoRoom when all are taken, or nothing may begin."""
        if self.stopping():
            raise NoRoom("this server is about to stop and takes no photographs")
        most = self._config.at_once + self._config.queue
        if len(self._active()) + self._coming >= most:
            raise NoRoom(f"{most} photographs are being worked on or waiting; try again in a minute")
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    def submit(self, name: str, consent: str, photo: bytes) -> Job:
        """Begins, or queues, the enrolment of a photograph."""
        job = Job(f"own-{secrets.token_hex(16)}", name, consent, photo)
        self._jobs[job.id] = job
        job.task = asyncio.get_running_loop().create_task(self._enrol(job))
        return job

    def find(self, name: str) -> Job | None:
        """The enrolment with this id, while it is remembered."""
        job = self._jobs.get(name)
        if job is not None:
            job.asked = True
        return job

    def states(self) -> list[str]:
        """Of each enrolment that has not ended: "waiting" or "running"."""
        return [job.state for job in self._active()]

    def ahead(self, job: Job) -> int:
        """Enrolments that must end before this one can begin, those at work included."""
        active = self._active()
        return active.index(job) if job in active and job.state == "waiting" else 0

    async def cancel(self, job: Job) -> None:
        """Ends an enrolment, and removes the avatar if there is one: as if it had never been asked for."""
        if job.task is not None:
            job.task.cancel()
            await asyncio.gather(job.task, return_exceptions=True)
        self._jobs.pop(job.id, None)
        await self.remove(job.id)

    def kept(self, name: str) -> bool:
        """Whether an avatar of this id, made here, is kept."""
        return HIDDEN_ID.fullmatch(name) is not None and (self.folder / name).is_dir()

    def touch(self, name: str) -> None:
        """Somebody wants this avatar: its time begins anew."""
        if self.kept(name):
            with contextlib.suppress(OSError):
                os.utime(self.folder / name)

    async def remove(self, name: str) -> bool:
        """Removes an avatar made here; False when there is none. Sessions that wear it go on until they change."""
        if not self.kept(name):
            return False
        self._engine.forget(name)
        await asyncio.to_thread(_remove, self.folder / name)
        return True

    def _active(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state in ("waiting", "running")]

    async def _forget_old(self, now: float) -> None:
        """Forgets enrolments that ended long ago. One that nobody ever asked about leaves no avatar: whoever sent the
        photograph went away before the answer came, and nobody knows its id."""
        for job in [job for job in self._jobs.values() if job.ended is not None and now - job.ended > REMEMBERED_S]:
            del self._jobs[job.id]
            if not job.asked:
                await self.remove(job.id)

    async def _enrol(self, job: Job) -> None:
        work, state = self.folder / f".{job.id}", "failed"
        try:
            async with self._turn:
                job.state = "running"
                await asyncio.to_thread(_make, work)
                enrolment = Enrolment(self._command, job.id, job.name, job.consent, work)
                job.warnings = await enrolment.run(job.photo, self._config.timeout_s, lambda *at: _progress(job, *at))
                await _to_its_end(asyncio.get_running_loop().run_in_executor(OPENERS, self._keep, job, work))
                state, job.share = "done", 1.0
        except asyncio.CancelledError:
            job.error = "cancelled"
            raise
        except WorkerError as problem:
            job.error = str(problem)
        except OSError as problem:
            log.exception("portrait %s", job.id)
            job.error = f"the server cannot keep avatars ({problem.strerror}); its log says where"
        except Exception:  # the edge of the task: one photograph's bug must not stay without an answer
            log.exception("portrait %s", job.id)
            job.error = "the server failed on this photograph; its log says why"
        finally:
            job.photo = b""
            await asyncio.shield(asyncio.to_thread(_remove, work))
            job.state, job.ended, job.task = state, time.monotonic(), None
            for watcher in self.watchers:
                watcher(job)

    def _keep(self, job: Job, work: Path) -> None:
        """Moves a finished avatar to the others and loads it, so that the first session need not wait."""
        made = work / job.id
        if not (made / "avatar.toml").is_file():
            raise WorkerError("the enrolment ended without an avatar; this is a bug: please report it")
        made.replace(self.folder / job.id)
        os.utime(self.folder / job.id)
        try:
            self._engine.avatar(job.id)
        except AvatarError as problem:
            log.error("%s", problem)
            _remove(self.folder / job.id)
            raise WorkerError("the avatar that was made cannot be opened; the server's log says why") from None

    async def _sweep_on(self) -> None:
        while True:
            try:
                await self._forget_old(time.monotonic())
                for name in await asyncio.to_thread(self._sweep, time.time()):
                    self._engine.forget(name)
            except OSError as problem:
                log.warning("%s: %s", self.folder, problem)
            await asyncio.sleep(SWEEP_S)

    def _sweep(self, now: float) -> list[str]:
        """Removes what has not been asked for in ``keep_hours``, and what a killed server left; ids removed."""
        if not self.folder.is_dir():
            return []
        keep = self._config.keep_hours * 3600
        gone = []
        for path in self.folder.iterdir():
            age = now - path.stat().st_mtime
            over = keep > 0 and age > keep and HIDDEN_ID.fullmatch(path.name)
            if over or (WORK.match(path.name) and age > LEFT_OVER_S):
                _remove(path)
                gone.append(path.name)
        return gone


def data_folder() -> Path:
    """Where this user's avatars are kept: as XDG, or the platform, says."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        given = os.environ.get("XDG_DATA_HOME", "")
        base = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "share"
    return base / "visavis" / "portraits"


def _progress(job: Job, step: str, share: float) -> None:
    job.step, job.share = step, max(job.share, share)


async def _to_its_end(work: asyncio.Future[None]) -> None:
    """Waits for what a thread does even when cancelled, and is cancelled then."""
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def _make(work: Path) -> None:
    work.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    work.mkdir(mode=0o700)


def _remove(path: Path) -> None:
    """Out of sight at once, whole, then file by file."""
    if not path.name.startswith("."):
        with contextlib.suppress(FileNotFoundError):
            path = path.replace(path.with_name(f".{path.name}.{secrets.token_hex(4)}"))
    shutil.rmtree(path, ignore_errors=True)
