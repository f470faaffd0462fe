"""What every output has: what was asked for, a state that can be told, counters, an end."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from streaming import protocol
from streaming.live import Live, Voice
from streaming.tracks import OutFrame

log = logging.getLogger(__name__)
Kind = Literal["file", "rtmp", "rtsp", "whip"]
KINDS: Final = ("file", "rtmp", "rtsp", "whip")
STATES: Final = ("starting", "running", "reconnecting", "ended", "failed")
END_S: Final = 12.0  # an output that is told to end has so long to write what it has


class OutputError(ValueError):
    """An output that cannot be, or cannot go on; the message says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What somebody asks for. ``name``: of the file (its ending says what is written; nothing: one is made up).
    ``url`` and ``token``: of the media server. ``bitrate``: bit/s of video; 0 as configured."""

    kind: Kind
    url: str = field(default="", repr=False)
    name: str = ""
    token: str = field(default="", repr=False)
    bitrate: int = 0


class Output(ABC):
    """An Outlet of a Live from ``start`` to its end, on the event loop. ``changed`` hears of every new state.

    ``holds``: whether it keeps a session alive that nobody else has a use for.
    """

    holds: ClassVar[bool] = True
    alpha: ClassVar[bool] = False

    def __init__(self, live: Live, spec: Spec) -> None:
        self.id = secrets.token_urlsafe(9)
        self.live, self.spec = live, spec
        self.state, self.error = "starting", ""
        self.frames = self.dropped = self.bytes = self.reconnects = 0
        self.born = time.monotonic()
        self.changed: Callable[[Output], None] = lambda output: None
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()

    @property
    def where(self) -> str:
        """Where it goes, without what is secret: a file's name, or scheme and host."""
        return place(self.spec.url)

    def start(self) -> None:
        """Begins. Raises OutputError when it cannot be."""
        self._begin()
        self.live.add(self)
        self._tell()

    @abstractmethod
    def _begin(self) -> None:
        """Gets ready to take frames."""

    @abstractmethod
    def _finish(self) -> None:
        """Begins to end; ``_note("ended")`` comes when that is done."""

    @abstractmethod
    def frame(self, frame: OutFrame) -> None:
        """One more frame."""

    @abstractmethod
    def voice(self, voice: Voice) -> None:
        """More voice."""

    def ended(self, why: str) -> None:
        """The session is over: what is there is finished."""
        self._finish()

    async def close(self) -> None:
        """Ends it, and waits until everything is written. A second call waits for the first."""
        self.live.remove(self)
        if self.state not in ("ended", "failed"):
            self._finish()
        try:
            async with asyncio.timeout(END_S):
                await self._over.wait()
        except TimeoutError:
            self._note("failed", f"it did not end in {END_S:g} s")

    def told(self) -> dict[str, Any]:
        """As JSON: state and counters, no secrets."""
        return {
            "id": self.id, "kind": self.spec.kind, "to": self.where, "state": self.state, "error": self.error,
            "frames": self.frames, "dropped": self.dropped, "bytes": self.bytes, "reconnects": self.reconnects,
            "seconds": round(time.monotonic() - self.born, 1),
        }  # fmt: skip

    def _note(self, state: str, error: str = "") -> None:
        """A new state, on the event loop; nothing comes after the end."""
        if self.state in ("ended", "failed") or (state, error) == (self.state, self.error):
            return
        self.state, self.error = state, error
        if state in ("ended", "failed"):
            self.live.remove(self)
            self._over.set()
        level = logging.WARNING if error else logging.INFO
        log.log(level, "session %s: output to %s: %s%s", self.live.id, self.where, state, error and f" ({error})")
        self._tell()

    def _tell(self) -> None:
        self.changed(self)
        self.live.tell(protocol.encode("output", output=self.told()))


def place(url: str) -> str:
    """Scheme and host of an address: the rest may be a stream key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
