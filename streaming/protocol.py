"""Control protocol v1: JSON messages on the data channel, strict on the way in (docs/protocol.md).

``parse`` turns one message into a frozen dataclass or raises ProtocolError, which becomes the error reply.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from engine.motion.emotion import STYLE
from engine.motion.manner import GAZES, Manner
from engine.render import composite
from engine.render.composite import Backdrop
from engine.viewpoint import Viewpoint
from streaming.quality import Quality

VERSION: Final = 1
MAX_BYTES: Final = 4096
MAX_TEXT: Final = 2000  # characters of the coming speech
FRAMINGS: Final = ("upper", "head")
STATES: Final = ("idle", "listening", "thinking", "speaking")


class ProtocolError(ValueError):
    """A message that is refused: ``code`` for programs, ``message`` for people, ``about`` the message's type."""

    def __init__(self, code: str, message: str, about: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.about = code, message, about


@dataclass(frozen=True, slots=True)
class Hello:
    """The client's first message: what it is."""

    client: str


@dataclass(frozen=True, slots=True)
class SetViewpoint:
    """Where the viewer wants to look from. ``seq`` comes back in the stamps of the first frame that knows it."""

    viewpoint: Viewpoint
    seq: int
    time: float


@dataclass(frozen=True, slots=True)
class SetAvatar:
    """Change who is talking, live."""

    id: str


@dataclass(frozen=True, slots=True)
class SetFraming:
    """Change between upper body and head, live."""

    name: str


@dataclass(frozen=True, slots=True)
class SetBackground:
    """Change what is behind the avatar, live."""

    backdrop: Backdrop


@dataclass(frozen=True, slots=True)
class Mute:
    """True: engine and agent hear silence, whatever the microphone sends."""

    on: bool


@dataclass(frozen=True, slots=True)
class SetManner:
    """How the avatar is to behave from now on: ``changes`` are fields of engine.motion.manner.Manner, checked."""

    about: str
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SetText:
    """What the coming speech says; empty when it is not known any more. ``hint``: no error when it cannot be read."""

    text: str
    hint: bool = False


@dataclass(frozen=True, slots=True)
class SetState:
    """What the avatar is at: one of STATES."""

    name: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The avatar stops speaking at once, until new speech begins."""


@dataclass(frozen=True, slots=True)
class SpeechBegin:
    """Agents only: the next segment of speech; its sound follows as binary messages. See speech.Speech.begin."""

    id: str
    rate: int
    channels: int
    text: str
    emotion: str | None
    intensity: float


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """Agents only: all of the segment's sound was sent."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Agents only: whether the viewer's microphone is sent to the agent."""

    on: bool


@dataclass(frozen=True, slots=True)
class SetQuality:
    """What this connection is sent, at most."""

    quality: Quality


@dataclass(frozen=True, slots=True)
class Ping:
    """Keeps the session alive; ``time`` (client ms) comes back in the pong beside the server's clock."""

    time: float


@dataclass(frozen=True, slots=True)
class Bye:
    """The client is leaving."""


Message = (
    Hello | SetViewpoint | SetAvatar | SetFraming | SetBackground | SetManner | SetText | SetState | Interrupt | Mute
    | SpeechBegin | SpeechEnd | Listen | SetQuality | Ping | Bye
)  # fmt: skip
Fields = dict[str, Any]


def parse(raw: str | bytes, *, agent: bool = False) -> Message:
    """One message, of an ``agent`` or of a page. Raises ProtocolError: too_large, bad_json, bad_version, unknown_type
    or bad_field."""
    if len(raw) > MAX_BYTES or len(raw if isinstance(raw, bytes) else raw.encode("utf-8", "replace")) > MAX_BYTES:
        raise ProtocolError("too_large", f"a message has at most {MAX_BYTES} bytes, got {len(raw)}")
    try:
        fields = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("bad_json", f"not JSON: {str(error)[:120]}") from None
    if not isinstance(fields, dict):
        raise ProtocolError("bad_json", f"a message is a JSON object, got {type(fields).__name__}")
    about = fields.get("type")
    if not isinstance(about, str):
        raise ProtocolError("unknown_type", 'a message needs a "type" string')
    if fields.get("v") != VERSION or isinstance(fields.get("v"), bool):
        got = str(fields.get("v"))[:20]
        raise ProtocolError("bad_version", f"this server speaks version {VERSION}, got {got}", about[:40])
    readers = _AGENT_READERS if agent else _READERS
    if about not in readers:
        known = ", ".join(sorted(readers))
        raise ProtocolError("unknown_type", f'unknown type "{about[:40]}"; known: {known}', about[:40])
    reader = _Reader(about, {key: value for key, value in fields.items() if key not in ("v", "type")})
    message = readers[about](reader)
    reader.finish()
    return message


def encode(kind: str, **fields: Any) -> str:
    """One server message as compact JSON. Raises ValueError when a number is not finite."""
    return json.dumps({"v": VERSION, "type": kind, **fields}, separators=(",", ":"), allow_nan=False)


def error(problem: ProtocolError) -> str:
    """The reply to a refused message."""
    return encode("error", code=problem.code, message=problem.message, about=problem.about)


class _Reader:
    """Takes typed fields out of one message; what is left over at the end is an error."""

    def __init__(self, about: str, fields: Fields) -> None:
        self._about, self._fields = about, fields

    def text(self, name: str, limit: int = 100, default: str | None = None) -> str:
        value = self._take(name, default)
        if not isinstance(value, str) or len(value) > limit:
            raise self._bad(name, f"text of at most {limit} characters", value)
        return value

    def flag(self, name: str) -> bool:
        value = self._take(name, None)
        if not isinstance(value, bool):
            raise self._bad(name, "true or false", value)
        return value

    def number(self, name: str, default: float | None = None) -> float:
        return self._finite(name, self._take(name, default))

    def count(self, name: str, default: int | None = None) -> int:
        value = self._take(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
            raise self._bad(name, "a whole number from 0 to 2147483647", value)
        return value

    def pair(self, name: str, default: tuple[float, float]) -> tuple[float, float]:
        value = self._take(name, list(default))
        if not isinstance(value, list) or len(value) != 2:
            raise self._bad(name, "two numbers", value)
        return self._finite(name, value[0]), self._finite(name, value[1])

    def numbers(self, name: str) -> dict[str, float]:
        """An object of numbers by name."""
        value = self._take(name, None)
        if not isinstance(value, dict):
            raise self._bad(name, "an object of numbers", value)
        return {str(key): self._finite(f"{name}.{str(key)[:40]}", number) for key, number in value.items()}

    def has(self, name: str) -> bool:
        return name in self._fields

    def either(self, name: str, words: tuple[str, ...]) -> str | tuple[float, float]:
        """One of ``words``, or two numbers."""
        value = self._take(name, None)
        if isinstance(value, list) and len(value) == 2:
            return self._finite(name, value[0]), self._finite(name, value[1])
        if not isinstance(value, str) or value not in words:
            expected = ", ".join(f'"{word}"' for word in words)
            raise self._bad(name, f"{expected} or two numbers", value)
        return value

    def present(self, names: tuple[str, ...]) -> dict[str, float]:
        """The numbers that are given, of ``names``; at least one."""
        found = {name: self.number(name) for name in names if name in self._fields}
        if not found:
            raise ProtocolError("bad_field", f'"{self._about}" needs one of {", ".join(names)}', self._about)
        return found

    def manner(self, **changes: Any) -> SetManner:
        """Changes that a Manner can take; otherwise the Manner's own words say why not."""
        try:
            Manner(**changes)
        except ValueError as problem:
            raise ProtocolError("bad_field", str(problem)[:300], self._about) from None
        return SetManner(self._about, changes)

    def finish(self) -> None:
        if self._fields:
            name = next(iter(self._fields))
            raise ProtocolError("bad_field", f'"{self._about}" has no field "{name[:40]}"', self._about)

    def _finite(self, name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
            raise self._bad(name, "a number", value)
        if not math.isfinite(value):
            raise self._bad(name, "a finite number", value)
        return float(value)

    def _take(self, name: str, default: object) -> Any:
        if name in self._fields:
            return self._fields.pop(name)
        if default is None:
            raise ProtocolError("bad_field", f'"{self._about}" needs the field "{name}"', self._about)
        return default

    def _bad(self, name: str, expected: str, got: object) -> ProtocolError:
        shown = json.dumps(got, default=str)[:60]
        return ProtocolError("bad_field", f'"{self._about}.{name}" must be {expected}, got {shown}', self._about)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _read_viewpoint(reader: _Reader) -> SetViewpoint:
    yaw, pitch, distance = reader.number("yaw"), reader.number("pitch"), reader.number("distance")
    pan_x, pan_y = reader.pair("pan", (0.0, 0.0))
    view = Viewpoint(yaw, pitch, distance, pan_x, pan_y).clamped()
    return SetViewpoint(view, reader.count("seq", 0), reader.number("t", 0.0))


def _read_framing(reader: _Reader) -> SetFraming:
    name = reader.text("name")
    if name not in FRAMINGS:
        raise ProtocolError("bad_field", f'"framing.name" must be one of {", ".join(FRAMINGS)}', "framing")
    return SetFraming(name)


def _read_state(reader: _Reader) -> SetState:
    name = reader.text("name")
    if name not in STATES:
        raise ProtocolError("bad_field", f'"state.name" must be one of {", ".join(STATES)}', "state")
    return SetState(name)


def _read_background(reader: _Reader) -> SetBackground:
    try:
        backdrop = composite.parse(reader.text("show"), files=False)  # a client must not be able to name a file here
    except ProtocolError:
        raise
    except ValueError as problem:
        raise ProtocolError("bad_field", str(problem)[:300], "background") from None
    if backdrop.transparent:
        raise ProtocolError("bad_field", "a video call has no transparency; show a colour and key it out", "background")
    return SetBackground(backdrop)


def _read_emotion(reader: _Reader) -> SetManner:
    return reader.manner(emotion=reader.text("name"), intensity=reader.number("intensity", 0.65))


def _read_style(reader: _Reader) -> SetManner:
    given = reader.present(STYLE)
    return reader.manner(style=tuple(given.get(name, 0.5) for name in STYLE))


def _read_actions(reader: _Reader) -> SetManner:
    return reader.manner(actions=tuple(reader.numbers("weights").items()))


def _read_chance(reader: _Reader) -> SetManner:
    changes: Fields = {}
    if reader.has("seed"):
        changes["seed"] = reader.count("seed")
    if reader.has("temperature") or not changes:
        changes["temperature"] = reader.number("temperature")
    return reader.manner(**changes)


def _read_speech(reader: _Reader) -> SpeechBegin:
    emotion = reader.text("emotion") if reader.has("emotion") else None
    return SpeechBegin(
        reader.text("id"), reader.count("rate"), reader.count("channels", 1), reader.text("text", MAX_TEXT, ""),
        emotion, reader.number("intensity", 0.65),
    )  # fmt: skip


def _read_quality(reader: _Reader) -> SetQuality:
    given: Fields = {name: reader.count(name) for name in ("height", "bitrate") if reader.has(name)}
    if reader.has("fps"):
        given["fps"] = reader.number("fps")
    try:
        return SetQuality(Quality(**given))
    except ValueError as problem:
        raise ProtocolError("bad_field", f'"quality": {problem}', "quality") from None


_READERS: Final[dict[str, Callable[[_Reader], Message]]] = {
    "hello": lambda reader: Hello(reader.text("client", default="unnamed")),
    "viewpoint": _read_viewpoint,
    "avatar": lambda reader: SetAvatar(reader.text("id")),
    "framing": _read_framing,
    "background": _read_background,
    "emotion": _read_emotion,
    "gaze": lambda reader: reader.manner(gaze=reader.either("at", GAZES)),
    "strength": lambda reader: reader.manner(**reader.present(("head", "gesture"))),
    "style": _read_style,
    "chance": _read_chance,
    "actions": _read_actions,
    "listening": lambda reader: reader.manner(listening=reader.flag("on")),
    "state": _read_state,
    "text": lambda reader: SetText(reader.text("text", MAX_TEXT)),
    "interrupt": lambda reader: Interrupt(),
    "mute": lambda reader: Mute(reader.flag("on")),
    "quality": _read_quality,
    "ping": lambda reader: Ping(reader.number("t")),
    "bye": lambda reader: Bye(),
}
_AGENT_READERS: Final[dict[str, Callable[[_Reader], Message]]] = {
    **_READERS,
    "speech.begin": _read_speech,
    "speech.end": lambda reader: SpeechEnd(),
    "listen": lambda reader: Listen(reader.flag("on")),
}
