"""What ``visavis present`` says while it runs: one line of a terminal, or a line every few seconds without one."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from typing import Final, TextIO

BAR: Final = 10
LOW_DB, HIGH_DB = -50.0, 0.0
CLEAR: Final = "\r\x1b[K"
_COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Status:
    """What is known at one moment. None: not known, or not there."""

    ready: bool  # the avatar is there
    talking: bool  # the microphone is let through
    push_to_talk: bool
    muted: bool
    level_db: float | None  # of the microphone
    speaking: float  # 0 to 1, as the engine hears it
    fps: float
    late: int  # pictures that came too late for their time, so far
    latency_ms: float | None  # sound in the microphone -> its picture leaves
    skew_ms: float | None  # of sound and picture where they leave, +: sound late
    ends: tuple[tuple[str, str], ...]  # what is connected: (kind, name); no name: it has gone


class _Painter:
    """Puts text in a style, where there are colours."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, style: str) -> str:
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if self._colour and style else text


def line(status: Status, width: int, colour: bool) -> str:
    """``status`` in at most ``width`` columns."""
    paint = _Painter(colour)
    if not status.ready:
        return _cut(paint("putting the avatar on ...", "dim"), width)
    parts = [_voice(status, paint), paint("speaks", "green") if status.speaking > 0.5 else paint("      ", "dim")]
    parts.append(f"{status.fps:4.1f} fps")
    parts.append(paint(f"{status.late} late", "yellow" if status.late else "dim"))
    if status.latency_ms is not None:
        parts.append(f"{status.latency_ms:3.0f} ms")
    if status.skew_ms is not None:
        parts.append(paint(f"A/V {status.skew_ms:+3.0f} ms", "yellow" if abs(status.skew_ms) > 20 else ""))
    ends = [f"{kind} {name}" if name else paint(f"{kind} GONE", "red") for kind, name in status.ends]
    return _cut("  ".join((*parts, " · ".join(ends))), width)


def _voice(status: Status, paint: _Painter) -> str:
    if status.level_db is None:
        return paint("mic ----------", "dim")
    share = (status.level_db - LOW_DB) / (HIGH_DB - LOW_DB)
    full = min(max(round(share * BAR), 0), BAR)
    bar = "|" * full + "." * (BAR - full)
    if status.muted:
        return paint(f"mic {bar} MUTED", "red")
    if status.push_to_talk:
        return paint(f"mic {bar} TALK ", "green") if status.talking else paint(f"mic {bar} space", "yellow")
    return f"mic {paint(bar, 'red' if status.level_db > -1 else 'green')}"


def _cut(text: str, width: int) -> str:
    """At most ``width`` columns of it, styles whole."""
    out, left = [], width
    for piece in re.split(r"(\x1b\[[0-9;]*m)", text):
        if _STYLE.fullmatch(piece):
            out.append(piece)
        else:
            out.append(piece[:left])
            left -= len(out[-1])
    return "".join(out)


class StatusLine:
    """Writes status lines to ``stream``: over each other on a terminal, one every ``EVERY_S`` elsewhere."""

    EVERY_S: Final = 5.0
    REFRESH_S: Final = 0.2

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.live = self._stream.isatty()
        self.colour = self.live and not os.environ.get("NO_COLOR")
        self._shown = False
        self._next = 0.0

    def show(self, status: Status, now: float) -> None:
        """Shows ``status``, when it is time to."""
        if now < self._next:
            return
        self._next = now + (self.REFRESH_S if self.live else self.EVERY_S)
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self._write(CLEAR + line(status, width, self.colour))
            self._shown = True
        else:
            self._write(line(status, 1000, False) + "\n")

    def say(self, text: str) -> None:
        """A line that stays, above the status."""
        self._write(f"{CLEAR if self._shown else ''}{text}\n")
        self._shown, self._next = False, 0.0

    def end(self) -> None:
        """The next thing that is written begins on a line of its own."""
        if self._shown:
            self._write("\n")
            self._shown = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more: the avatar goes on
            self._next = float("inf")
