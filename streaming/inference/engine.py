"""An engine whose sessions are painted in another process: who can be worn is known here, everything else is there."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NoReturn

from engine import avatar as packs
from engine.avatar import Avatar, AvatarError
from engine.config import EngineConfig
from engine.engine import Engine
from engine.schedule.room import Room
from engine.watermark import Mark, Payload
from streaming.inference.wire import VERSION, Kind, Message, Wire, WireError
from streaming.inference.worker import RemoteWorker

log = logging.getLogger(__name__)
LATER_S: Final = 0.02  # before a connection is tried again
PATIENCE_S: Final = 60.0  # without an inference process, after which sessions are given up
SILENCE_S: Final = 20  # seconds in which an inference process that says nothing is looked for, before it is ended
ANSWER_S: Final = 60.0  # for an avatar to be loaded
RESTARTING: Final = "the engine is being restarted; try again in a moment"


class RemoteEngine(Engine):
    """As Engine, where whatever paints listens at ``address``: a RemoteWorker is a session of it.

    When the connection ends, the next one is made at once, and every session goes on there.
    """

    def __init__(self, config: EngineConfig, address: str) -> None:
        super().__init__(config)
        self._address = address
        self._workers: dict[int, RemoteWorker] = {}
        self._numbers, self._questions = itertools.count(1), itertools.count(1)
        self._answers: dict[int, Future[str]] = {}
        self._change = threading.Condition()
        self._wire: Wire | None = None
        self._told: Room | None = None
        self._pid = 0  # of whoever paints
        self._heard = 0  # messages
        self._closed = False
        self.connections = 0  # made so far
        self.lost_at: float | None = None  # monotonic: when the last one ended
        for work, name in ((self._run, "inference"), (self._watch, "inference-watch")):
            threading.Thread(target=work, name=name, daemon=True).start()

    @property
    def painter(self) -> int:
        """Number of the process that paints; 0 while there is none."""
        return self._pid

    # Sessions.

    def enlist(self, worker: RemoteWorker) -> None:
        """``worker`` wants to be painted from now on."""
        with self._change:
            worker.number = next(self._numbers)
            self._workers[worker.number] = worker
            wire = self._wire
        if wire is not None:
            worker.connect(wire)

    def dismiss(self, worker: RemoteWorker) -> None:
        """It is over."""
        with self._change:
            self._workers.pop(worker.number, None)

    def room(self) -> Room:
        """What was told last, a tenth of a second ago at most; no room while nobody paints."""
        told = self._told
        return Room(len(self._workers), 0.0, RESTARTING, 1.0) if told is None else told

    # What an engine is asked for besides.

    def hide(self, folder: Path) -> None:
        """As Engine.hide, on both sides."""
        super().hide(folder)
        self._ask({"what": "hide", "folder": str(folder)})

    def forget(self, avatar: str) -> None:
        """As Engine.forget, on both sides."""
        super().forget(avatar)
        self._ask({"what": "forget", "name": avatar})

    def avatar(self, name: str) -> Avatar:
        """Has it loaded where it is painted, and reads it here without keeping it. Raises AvatarError when it cannot be
        worn."""
        answer = self._ask({"what": "avatar", "name": name})
        problem = answer.result(ANSWER_S) if answer is not None else ""
        if problem:
            raise AvatarError(problem)
        return packs.load(self._unlisted(name) or packs.find(name, self._folders))

    def mark(self, avatar: str, seed: int = 0) -> Mark | None:
        """As Engine.mark, without loading the avatar."""
        if not self.config.watermark.enabled:
            return None
        render, payload = self.config.render, Payload.of(self.meta(avatar).id, seed)
        return Mark(payload, render.height, render.width, self.config.watermark.key)

    def open(self, *about: Any, **more: Any) -> NoReturn:
        """Sessions are not opened here: `RemoteWorker` is one."""
        raise RuntimeError("sessions of this engine are painted in another process")

    def warm_up(self, seconds: float = 120.0) -> None:
        """Waits until somebody is there who paints, and is warm. Raises OSError when nobody is."""
        with self._change:
            if not self._change.wait_for(lambda: self._told is not None, seconds):
                raise TimeoutError(f"no inference process was there after {seconds:g} s")

    def close(self) -> None:
        """Ends the connection; sessions that are left end with an error."""
        with self._change:
            self._closed, wire = True, self._wire
            self._change.notify_all()
        if wire is not None:
            wire.close()

    # The connection.

    def _ask(self, question: dict[str, Any]) -> Future[str] | None:
        """Asks for something that is no session's; the answer says what is wrong. None when nobody is there."""
        answer: Future[str] = Future()
        with self._change:
            number, wire = next(self._questions), self._wire
            if wire is None:
                return None
            self._answers[number] = answer
        wire.send(Kind.ASK, number, question)
        return answer

    def _run(self) -> None:
        """Connects, listens, and connects again."""
        since = time.monotonic()
        while not self._closed:
            link = self._connected()
            if link is None:
                if time.monotonic() - since > PATIENCE_S:
                    self._give_up()
                    since = time.monotonic()
                time.sleep(LATER_S)
                continue
            wire = Wire(link)
            try:
                for message in wire.messages():
                    if message.kind == Kind.HELLO:
                        self._begin(wire, message)
                    else:
                        self._hear(message)
            except Exception:  # the edge of the thread: this connection's end, not that of all sessions
                log.exception("the inference process")
                wire.close()
            since = time.monotonic()
            self._lose(wire)
        self._give_up()

    def _connected(self) -> socket.socket | None:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(self._address)
        except OSError:
            link.close()
            return None
        return link

    def _begin(self, wire: Wire, hello: Message) -> None:
        size = [self.config.render.height, self.config.render.width]
        if hello.fields["version"] != VERSION or hello.fields["size"] != size:
            raise WireError(f"the inference process is not of this server: {hello.fields}")
        self._pid = hello.fields["pid"]
        wire.send(Kind.HELLO, 0, {"version": VERSION})
        if self._hidden is not None:
            wire.send(Kind.ASK, 0, {"what": "hide", "folder": str(self._hidden)})
        with self._change:
            self._wire, self.connections = wire, self.connections + 1
            workers = list(self._workers.values())
        for worker in workers:
            worker.connect(wire)
        if self.connections > 1:
            log.warning("another inference process goes on with %d sessions", len(workers))

    def _hear(self, message: Message) -> None:
        self._heard += 1
        if message.kind == Kind.ROOM:
            with self._change:
                self._told = Room(**message.fields)
                self._change.notify_all()
        elif message.kind == Kind.ANSWER:
            with self._change:
                answer = self._answers.pop(message.session, None)
            if answer is not None:
                answer.set_result(message.fields["problem"])
        else:
            worker = self._workers.get(message.session)
            if worker is not None:
                worker.hear(message)

    def _lose(self, wire: Wire) -> None:
        """The connection has ended."""
        if wire.stuck and self._pid:
            log.error("the inference process takes nothing, or says nothing, any more, and is ended")
            _kill(self._pid)
        self._pid = 0
        with self._change:
            self._wire = self._told = None
            self.lost_at = time.monotonic()
            workers, answers = list(self._workers.values()), list(self._answers.values())
            self._answers.clear()
        if not self._closed:
            log.error("the inference process is gone; its %d sessions go on in the next one", len(workers))
        for answer in answers:
            answer.set_result(RESTARTING)
        for worker in workers:
            worker.disconnect()

    def _give_up(self) -> None:
        for worker in list(self._workers.values()):
            worker.fail("the inference process is gone")

    def _watch(self) -> None:
        """Ends a process that has said nothing for long: it says what room it has, ten times a second."""
        before, silent = -1, 0
        while not self._closed:
            time.sleep(1.0)
            heard, wire = self._heard, self._wire
            silent = silent + 1 if wire is not None and heard == before else 0
            before = heard
            if wire is not None and silent >= SILENCE_S:
                wire.give_up()
                silent = 0


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
