"""Who steps sessions: what a Live asks of it, wherever that is."""

from __future__ import annotations

from typing import Any, Protocol

from engine.engine import Engine
from engine.render.composite import Backdrop
from engine.viewpoint import Viewpoint
from streaming.past import Listener, Past, Voice
from streaming.worker import SessionWorker


class Worker(Protocol):
    """One session that is stepped: on a thread of this process (worker.py), or in another process (inference/).

    Any thread may call it, and none of its methods waits, except ``join``. See SessionWorker for what each does.
    """

    @property
    def waiting(self) -> int: ...
    @property
    def dropped_ms(self) -> float: ...
    @property
    def clamped(self) -> int: ...
    @property
    def lookahead(self) -> int: ...

    def start(self) -> None: ...
    def push(self, voice: Voice, resumes: bool = False) -> None: ...
    def look(self, view: Viewpoint, seq: int) -> None: ...
    def behave(self, changes: dict[str, Any]) -> None: ...
    def interrupt(self, announced: bool = False) -> int: ...
    def tell(self, text: str, hint: bool = False) -> None: ...
    def change(
        self, about: str, avatar: str | None = None, framing: str | None = None, backdrop: Backdrop | None = None
    ) -> None: ...
    def see_through(self, on: bool) -> None: ...
    def stop(self) -> None: ...
    def join(self, timeout: float) -> bool: ...


def work_on(
    engine: Engine, avatar: str, framing: str, seed: int, listener: Listener, *, marker: bool, max_backlog_ms: float,
    keeps: bool = False, resumed: bytes = b"",
) -> Worker:  # fmt: skip
    """A session of ``engine``, where that has its sessions. ``keeps``: Listener.kept hears what it could go on from;
    ``resumed``: it goes on from that. Raises SnapshotError when it cannot."""
    from streaming.inference.engine import RemoteEngine
    from streaming.inference.worker import RemoteWorker

    if isinstance(engine, RemoteEngine):
        return RemoteWorker(
            engine, avatar, framing, seed, listener, marker=marker, max_backlog_ms=max_backlog_ms, keeps=keeps,
            resumed=resumed,
        )  # fmt: skip
    worker = SessionWorker(
        engine, avatar, framing, seed, listener, marker=marker, max_backlog_ms=max_backlog_ms, keeps=keeps,
        resumed=resumed,
    )  # fmt: skip
    if resumed:
        past = Past.of(resumed)
        worker.go_on(past, past.left_out)
    return worker
