"""Logs: one line an event, as text or JSON, with the session and the request it belongs to.

``SESSION`` and ``REQUEST`` are set where a session or a request begins and follow into every task and callback of it;
a thread follows when it is started with a copy of the context. Lines that repeat are counted instead of written, and
what the configuration holds secret never reaches a line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from streaming.config import ServerConfig

SESSION: ContextVar[str] = ContextVar("session", default="")  # id of the session that is being worked on
REQUEST: ContextVar[str] = ContextVar("request", default="")  # id of the HTTP request that is being answered
CHATTY: Final = ("aioice", "aiortc")  # at level info they tell every address that a viewer tries
BURST: Final = 5  # lines alike that are written in a window; the others are counted
WINDOW_S: Final = 10.0
KINDS: Final = 512  # kinds of lines that are remembered
LINE: Final = 8000  # characters of a message, and of a traceback
HIDDEN: Final = "[hidden]"
TOKENS: Final = re.compile(
    r"""(?i)\b(bearer\s+|(?:token|secret|credential|password)(?:\s*=\s*["']?|["']\s*:\s*["'])|token\.)([^\s"',&;]+)"""
)
SIGNED: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")  # a short-lived token, wherever it stands


def setup(
    form: str = "text", level: str = "warning", secrets: Iterable[str] = (), stream: TextIO | None = None
) -> logging.Handler:
    """Has the whole process log to ``stream`` (stderr). ``secrets`` are never written. Returns the handler."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(secrets) if form == "json" else TextLines(secrets))
    handler.addFilter(Context())
    handler.addFilter(Repeats())
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    ACCESS.setLevel(logging.INFO)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    return handler


def secrets_of(server: ServerConfig) -> list[str]:
    """What ``server`` holds that no line may tell."""
    known: tuple[str, ...] = (server.token, server.token_key, server.turn_credential, server.turn_secret)
    known += tuple(named.secret for named in server.tokens)
    return [secret for secret in known if secret]


class Context(logging.Filter):
    """Gives a record its ``session`` and ``request``, unless whoever logged it has."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True."""
        record.session = getattr(record, "session", "") or SESSION.get()
        record.request = getattr(record, "request", "") or REQUEST.get()
        return True


@dataclass(slots=True)
class _Kind:
    since: float
    written: int = 0
    left_out: int = 0


class Repeats(logging.Filter):
    """Lets ``burst`` records of a kind (place in the code, words, type of error) through in any ``window``; the next
    that goes through says how many did not."""

    def __init__(
        self, burst: int = BURST, window: float = WINDOW_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._burst, self._window, self._clock = burst, window, clock
        self._kinds: OrderedDict[tuple[Any, ...], _Kind] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if record.name == ACCESS.name:  # asked for, and each one another request
            return True
        problem = record.exc_info[0] if record.exc_info else None
        name, now = (record.name, record.levelno, record.lineno, str(record.msg)[:200], problem), self._clock()
        with self._lock:
            kind = self._kinds.get(name)
            if kind is None or now - kind.since > self._window:
                left_out = 0 if kind is None else kind.left_out
                kind = self._kinds[name] = _Kind(now)
                if left_out:
                    record.left_out = left_out
            self._kinds.move_to_end(name)
            if len(self._kinds) > KINDS:
                self._kinds.popitem(last=False)
            kind.written += 1
            kind.left_out += kind.written > self._burst
            return kind.written <= self._burst


class _Lines(logging.Formatter):
    """One line a record; ``secrets`` and whatever looks like a token are hidden."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def _words(self, record: logging.LogRecord) -> str:
        words = self._hide(record.getMessage())[:LINE]
        left_out = getattr(record, "left_out", 0)
        return f"{words} ({left_out} more like it were left out)" if left_out else words

    def _traceback(self, record: logging.LogRecord) -> str:
        return self._hide(self.formatException(record.exc_info))[-LINE:] if record.exc_info else ""

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return SIGNED.sub(HIDDEN, TOKENS.sub(rf"\1{HIDDEN}", text))


class TextLines(_Lines):
    """``2026-11-22 10:00:00.123 WARNING streaming.live session=... : words``; line breaks of the words are kept out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it."""
        moment = datetime.fromtimestamp(record.created).isoformat(" ", "milliseconds")
        about = "".join(f" {name}={value}" for name, value in _belongs(record).items())
        words = self._words(record).replace("\r", "\\r").replace("\n", "\\n")  # no client writes lines of its own
        line = f"{moment} {record.levelname} {record.name}{about}: {words}"
        return f"{line}\n{self._traceback(record)}" if record.exc_info else line


class JsonLines(_Lines):
    """One JSON object a line: time (UTC), level, logger, message, and session, request, error where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": moment, "level": record.levelname.lower(), "logger": record.name}
        line |= {"message": self._words(record), **_belongs(record), **getattr(record, "fields", {})}
        if record.exc_info:
            line["error"] = self._traceback(record)
        return json.dumps(line, ensure_ascii=False, default=str)


def _belongs(record: logging.LogRecord) -> dict[str, str]:
    about = {name: getattr(record, name, "") for name in ("session", "request")}
    return {name: value for name, value in about.items() if value}


ACCESS: Final = logging.getLogger("visavis.access")
