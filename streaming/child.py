"""Run as a program: one of the server's processes. A socket tells it what to do; it ends with whoever told it."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from streaming import place

LENGTH: Final = struct.Struct("<I")
GRACE_S: Final = 5.0  # that a process may take to end after its parent did
log = logging.getLogger(__name__)


class Orders:
    """The way back to the parent: what it wants ("drain", "stop"; "" once it is gone), and what it is told."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._lock = link, threading.Lock()
        self._told: list[str] = []
        self._hear: Callable[[str], None] | None = None
        self.at_end: list[Callable[[], None]] = []  # done when the parent is gone, before everything is

    def listen(self, hear: Callable[[str], None]) -> None:
        """``hear`` gets every word, the earlier ones too, on a thread of its own."""
        with self._lock:
            self._hear = hear
            for word in self._told:
                hear(word)

    def tell(self, what: str, **fields: Any) -> None:
        """Reports to the parent; it may be gone."""
        try:
            self._link.sendall(json.dumps({"what": what, **fields}).encode() + b"\n")
        except OSError:
            log.debug("nobody is left to be told: %s", what)

    def follow(self) -> None:
        """Reads the words as they come; the last is that nobody is left."""
        while True:
            try:
                data = self._link.recv(64)
            except OSError:
                data = b""
            for word in data.decode().split() if data else [""]:
                self._heed(word)
            if not data:
                return

    def _heed(self, word: str) -> None:
        with self._lock:
            self._told.append(word)
            hear = self._hear
        if not word:
            threading.Timer(GRACE_S, os._exit, (1,)).start()
            for call in self.at_end:
                call()
        if hear is not None:
            hear(word)
        elif not word:
            os._exit(1)


def main() -> None:
    """Reads what to do, and does it."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they come to all processes at once; the parent says who ends when
        signal.signal(number, signal.SIG_IGN)
    link = socket.socket(fileno=int(sys.argv[1]))
    parcel = pickle.loads(_exactly(link, LENGTH.unpack(_exactly(link, LENGTH.size))[0]))
    place.take(parcel["place"])  # before numba and OpenVINO look how many cores there are
    orders = Orders(link)
    threading.Thread(target=orders.follow, name="orders", daemon=True).start()
    if parcel["logs"] is not None:
        from streaming import logs

        logs.setup(*parcel["logs"])
    try:
        pickle.loads(parcel["work"])(orders)
    except Exception as problem:  # the edge of the process
        known = isinstance(problem, ValueError | OSError)
        if not known:
            log.exception("process %s", sys.argv[2])
        orders.tell("failed", why=str(problem)[:500], known=known)
        sys.exit(1)


def _exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = link.recv(count - len(data))
        if not piece:
            sys.exit(1)  # the parent is gone before it said anything
        data += piece
    return data


if __name__ == "__main__":
    main()
