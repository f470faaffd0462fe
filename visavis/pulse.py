"""PulseAudio, or PipeWire in its place, through ``pactl``: its devices, and a microphone for other programs to choose.

The microphone is a sink that plays nowhere, and a source that gives out what is played there: programs that hide
monitors (browsers do) show it too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

PACTL_S: Final = 5.0
NAME: Final = "visavis"
TITLE: Final = "Visavis"


class PulseError(OSError):
    """PulseAudio cannot do it; the message says what."""


@dataclass(frozen=True, slots=True)
class Node:
    """A source or a sink."""

    name: str  # for machines
    description: str  # for people
    channels: int
    rate: float
    monitor: bool = False


def available() -> bool:
    """Whether a PulseAudio or PipeWire server answers."""
    try:
        _pactl("info")
    except PulseError:
        return False
    return True


def sources() -> list[Node]:
    """What can be recorded from, without the monitors; none without a server."""
    return [node for node in _list("sources") if not node.monitor]


def sinks() -> list[Node]:
    """What can be played to; none without a server."""
    return _list("sinks")


def default_source() -> str:
    """The name of the source that programs record from by themselves; "" when there is none."""
    try:
        return _pactl("get-default-source").strip()
    except PulseError:
        return ""


def default_sink() -> str:
    """The name of the sink that programs play to by themselves; "" when there is none."""
    try:
        return _pactl("get-default-sink").strip()
    except PulseError:
        return ""


@contextlib.contextmanager
def routed(node: str, direction: str) -> Iterator[None]:
    """A stream that is opened meanwhile through PortAudio's device "pulse" goes to, or comes from, ``node``."""
    if not node:
        yield
        return
    key = "PULSE_SOURCE" if direction == "input" else "PULSE_SINK"
    before = os.environ.get(key)
    os.environ[key] = node
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before


class VirtualMicrophone:
    """From ``open`` to ``close`` other programs can choose a microphone called Visavis. ``sink`` is what to play to."""

    def __init__(self) -> None:
        self.sink = ""
        self.source = ""
        self._modules: list[str] = []

    def open(self) -> None:
        """Makes it; what a killed predecessor left is removed. Raises PulseError."""
        taken = _clear_away()
        name = NAME if not taken else f"{NAME}_{os.getpid()}"
        title = TITLE if not taken else f"{TITLE} {os.getpid()}"
        owner = f"visavis.pid={os.getpid()}"
        kept = {"sink": default_sink(), "source": default_source()}  # it is for calls, not for everything that plays
        try:
            self._load(
                "module-null-sink", f"sink_name={name}", "rate=48000", "channels=2",
                f"sink_properties=device.description='{title} loudspeaker' {owner}",
            )  # fmt: skip
            self._load(
                "module-remap-source", f"master={name}.monitor", f"source_name={name}_microphone",
                f"source_properties=device.description='{title} microphone' {owner}",
            )  # fmt: skip
        except PulseError:
            self.close()
            raise
        for kind, before in kept.items():
            if before:
                with contextlib.suppress(PulseError):
                    _pactl(f"set-default-{kind}", before)
        self.sink, self.source = name, f"{name}_microphone"

    def renew(self) -> None:
        """Makes it again where the server has lost it: one that was started again knows nothing of it."""
        if self.sink and self.sink not in [node.name for node in sinks()]:
            with contextlib.suppress(PulseError):
                self._modules.clear()
                self.open()

    def close(self) -> None:
        """Removes it. Twice is no mistake."""
        for module in reversed(self._modules):
            with contextlib.suppress(PulseError):
                _pactl("unload-module", module)
        self._modules.clear()
        self.sink = self.source = ""

    def _load(self, module: str, *arguments: str) -> None:
        quoted = [argument if "_properties=" not in argument else _quote(argument) for argument in arguments]
        self._modules.append(_pactl("load-module", module, *quoted).strip())


def _quote(argument: str) -> str:
    key, _, value = argument.partition("=")
    return f'{key}="{value}"'


def _clear_away() -> bool:
    """Removes the modules of programs that have ended without doing so. Whether a living one has the name."""
    taken = False
    for line in _pactl("list", "short", "modules").splitlines():
        number, _, rest = line.partition("\t")
        owner = rest.partition("visavis.pid=")[2]
        digits = owner[: len(owner) - len(owner.lstrip("0123456789"))]
        if not digits:
            continue
        if _lives(int(digits)):
            taken = True
            continue
        with contextlib.suppress(PulseError):
            _pactl("unload-module", number)
    return taken


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _list(kind: str) -> list[Node]:
    try:
        told = json.loads(_pactl("-f", "json", "list", kind))
    except (PulseError, ValueError):
        return []
    return [_node(fields) for fields in told if isinstance(fields, dict)]


def _node(fields: dict[str, Any]) -> Node:
    layout = str(fields.get("sample_specification", "")).split()  # "s16le 2ch 48000Hz"
    numbers = [int(part.rstrip("chHz")) for part in layout if part.rstrip("chHz").isdigit()]
    channels, rate = (numbers + [2, 48_000])[:2] if len(numbers) >= 2 else (2, 48_000)
    name = str(fields.get("name", ""))
    monitor = bool(fields.get("monitor_source") and name.endswith(".monitor")) or name.endswith(".monitor")
    return Node(name, str(fields.get("description") or name), channels, float(rate), monitor)


def _pactl(*arguments: str) -> str:
    """What ``pactl`` prints. Raises PulseError."""
    tool = shutil.which("pactl")
    if tool is None:
        raise PulseError("pactl is missing: sudo apt install pulseaudio-utils")
    try:
        done = subprocess.run(
            [tool, *arguments], capture_output=True, text=True, timeout=PACTL_S, check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PulseError(f"pactl {arguments[0]}: the sound server does not answer") from None
    if done.returncode:
        told = done.stderr.strip().splitlines()
        raise PulseError(f"pactl {arguments[0]}: {told[0] if told else 'failed'}")
    return done.stdout
