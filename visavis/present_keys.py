"""Keys of a terminal, one at a time as they are pressed, and what holding one means. The terminal is put back as it
was, whatever ends the program."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

REPEAT_S: Final = 0.25  # a held key repeats at least so often
FIRST_S: Final = 0.8  # and begins to after at most so long
_ESCAPES: Final = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left",
    b"\x1bOA": "up", b"\x1bOB": "down", b"\x1bOC": "right", b"\x1bOD": "left",
}  # fmt: skip
_WINDOWS: Final = {"H": "up", "P": "down", "M": "right", "K": "left"}


class PushToTalk:
    """Terminals tell of presses, not of releases, but a held key repeats. So a tap switches talking on or off, and
    holding the key talks for as long as it is held. Time is an argument, in seconds."""

    def __init__(self) -> None:
        self.open = False
        self._pressed = -10.0
        self._held = False

    def press(self, now: float) -> None:
        """The key was pressed, or repeats."""
        repeats = now - self._pressed < (REPEAT_S if self._held else FIRST_S)
        self._pressed = now
        if not self.open:
            self.open, self._held = True, False
        elif repeats:
            self._held = True
        else:
            self.open = self._held = False
            self._pressed = -10.0

    def tick(self, now: float) -> None:
        """Time goes on: a held key that repeats no more was let go."""
        if self._held and now - self._pressed > REPEAT_S:
            self.open = self._held = False


def decode(data: bytes) -> Iterator[str]:
    """What a terminal sent -> names of keys: "up", "space", or the character itself."""
    while data:
        if data[0] == 0x1B:
            name = _ESCAPES.get(data[:3], "")
            taken = 3 if name else max(len(data), 1)  # an escape that is not known, or the key itself
        else:
            taken = next((size for size in range(1, 5) if _text(data[:size])), 1)
            text = _text(data[:taken])
            name = "space" if text == " " else text.lower()
        data = data[taken:]
        if name:
            yield name


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return ""


class Keyboard:
    """Between ``with`` and its end, keys come at once and are not shown; Ctrl+C goes on to work. Without a terminal
    (a pipe, a service, a job in the background) there are no keys, and nothing is changed."""

    def __init__(self) -> None:
        self.there = _there()
        self._before: Any = None

    def __enter__(self) -> Keyboard:
        self.take()
        atexit.register(self.give_back)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()
        atexit.unregister(self.give_back)

    def take(self) -> None:
        """Keys come at once: again after somebody stopped the program and went on with it."""
        if not self.there or sys.platform == "win32":
            return
        import termios
        import tty

        if self._before is None:
            self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)

    def give_back(self) -> None:
        """The terminal is as it was."""
        if self._before is not None and sys.platform != "win32":
            import termios

            with contextlib.suppress(termios.error, ValueError):  # the terminal is gone
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
            self._before = None

    def read(self) -> list[str]:
        """The keys that wait; none when none do. Never waits."""
        if not self.there:
            return []
        if sys.platform == "win32":
            return list(_windows_keys())
        import select

        waiting, _, _ = select.select([sys.stdin], [], [], 0)
        data = os.read(sys.stdin.fileno(), 64) if waiting else b""
        self.there = self.there and not (waiting and not data)  # the other end hung up
        return list(decode(data))


def _windows_keys() -> Iterator[str]:
    import msvcrt

    console: Any = msvcrt
    while console.kbhit():
        key = console.getwch()
        name = _WINDOWS.get(console.getwch(), "") if key in "\x00\xe0" else key.lower().replace(" ", "space")
        if name:
            yield name


def _there() -> bool:
    """Whether keys of a terminal come to this program: not to one in the background, which would be stopped."""
    try:
        if not sys.stdin.isatty():
            return False
        return sys.platform == "win32" or os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
