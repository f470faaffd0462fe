"""PortAudio through PyAudio (extra ``mic``): which sound devices there are, and quiet about it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from visavis import pulse

log = logging.getLogger(__name__)
Direction = Literal["input", "output"]
LOOK_FOR_S: Final = 15.0  # a look that takes longer is given up
HOST_APIS: Final = ("Windows WASAPI", "Core Audio", "ALSA", "Windows DirectSound", "MME")  # best first
INSTALL: Final = {
    "linux": "sudo apt install portaudio19-dev gcc python3-dev, then pip install 'visavis[mic]'",
    "darwin": "brew install portaudio, then pip install 'visavis[mic]'",
    "win32": "pip install 'visavis[mic]'",
}


class DeviceError(ValueError):
    """A sound device or camera that cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device as PortAudio lists it, or a node of PulseAudio or PipeWire that is reached through ``index``."""

    index: int
    name: str
    api: str
    inputs: int  # channels
    outputs: int
    rate: float  # Hz, what it runs at when nobody asks for another
    defaults: tuple[bool, bool] = (False, False)  # whether it is the default input, output
    node: str = ""

    def default(self, direction: Direction) -> bool:
        """Whether it is the one that is used when nobody asks for another."""
        return self.defaults[direction == "output"]

    def channels(self, direction: Direction) -> int:
        """How many channels it has that way."""
        return self.inputs if direction == "input" else self.outputs


def library() -> Any:
    """The module ``pyaudio``. Raises DeviceError saying what to install."""
    _hush_alsa()
    how = INSTALL.get(sys.platform, INSTALL["linux"])
    try:
        return importlib.import_module("pyaudio")
    except ModuleNotFoundError as problem:
        if problem.name != "pyaudio":
            raise DeviceError(f"PyAudio is broken ({problem}); install it again: {how}") from problem
        raise DeviceError(f"this machine's sound needs PyAudio: {how}") from None
    except (ImportError, OSError) as problem:  # its C part does not find PortAudio
        raise DeviceError(f"PyAudio does not find PortAudio ({problem}): {how}") from problem


@functools.cache
def _hush_alsa() -> Any:
    """ALSA prints what it meets, an underrun too, over whatever a terminal shows; what matters comes as an error."""
    if sys.platform != "linux":
        return None
    os.environ.setdefault("JACK_NO_START_SERVER", "1")  # looking for devices must not start a sound server
    try:
        alsa = ctypes.CDLL("libasound.so.2")
    except OSError:
        return None
    handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)(
        lambda *told: None
    )
    alsa.snd_lib_error_set_handler(handler)
    return handler  # ALSA keeps the address alone


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What ALSA and JACK print while they look around is not for people: it goes nowhere meanwhile."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def muffled() -> Iterator[None]:
    """For as long as streams run: what PortAudio prints when a device is pulled out goes nowhere, what Python prints
    still comes."""
    sys.stderr.flush()
    kept, before, nowhere = os.dup(2), sys.stderr, os.open(os.devnull, os.O_WRONLY)
    try:
        with os.fdopen(os.dup(kept), "w", buffering=1, errors="replace") as stream:
            sys.stderr = stream
            os.dup2(nowhere, 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                sys.stderr = before
    finally:
        os.close(kept)
        os.close(nowhere)


def devices() -> list[Device]:
    """All there are now, PulseAudio's and PipeWire's nodes after PortAudio's own. Raises DeviceError."""
    module = library()
    with quiet():
        try:
            audio = module.PyAudio()
        except OSError as problem:
            raise DeviceError(f"PortAudio does not start: {problem}") from problem
        try:
            return listed(audio) + nodes(listed(audio))
        finally:
            audio.terminate()


def listed(audio: Any) -> list[Device]:
    """What an open PyAudio lists; the default devices are those of the best host API that has any."""
    apis = [audio.get_host_api_info_by_index(i) for i in range(audio.get_host_api_count())]
    apis.sort(key=lambda api: HOST_APIS.index(api["name"]) if api["name"] in HOST_APIS else len(HOST_APIS))
    usual = [
        next((int(api[key]) for api in apis if int(api.get(key, -1)) >= 0), -1)
        for key in ("defaultInputDevice", "defaultOutputDevice")
    ]
    names = {int(api["index"]): str(api["name"]) for api in apis}
    order = {int(api["index"]): place for place, api in enumerate(apis)}
    infos = [audio.get_device_info_by_index(i) for i in range(audio.get_device_count())]
    infos.sort(key=lambda info: (order.get(int(info["hostApi"]), len(order)), info["index"]))
    found = []
    for info in infos:
        index, channels = int(info["index"]), (int(info["maxInputChannels"]), int(info["maxOutputChannels"]))
        api, defaults = names.get(int(info["hostApi"]), ""), (index == usual[0], index == usual[1])
        found.append(Device(index, str(info["name"]), api, *channels, float(info["defaultSampleRate"]), defaults))
    return found


def nodes(found: list[Device]) -> list[Device]:
    """PulseAudio's and PipeWire's own devices, which PortAudio reaches through one of its own ("pulse")."""
    way = next((device for device in found if device.name == "pulse"), None)
    if way is None:
        return []
    sources = [
        Device(way.index, n.description, "PulseAudio", n.channels, 0, n.rate, node=n.name) for n in pulse.sources()
    ]
    sinks = [Device(way.index, n.description, "PulseAudio", 0, n.channels, n.rate, node=n.name) for n in pulse.sinks()]
    return sources + sinks


def find(found: list[Device], wanted: str, direction: Direction) -> Device | None:
    """The device with this number or name, or a part of the name; "" is the default. None when there is none."""
    fitting = [device for device in found if device.channels(direction)]
    if not wanted:
        return next((d for d in fitting if d.default(direction)), fitting[0] if fitting else None)
    if wanted.isdigit():
        return next((device for device in fitting if device.index == int(wanted) and not device.node), None)
    name = wanted.casefold()
    tests: tuple[Callable[[Device], bool], ...] = (
        lambda device: name in (device.name.casefold(), device.node.casefold()),
        lambda device: device.name.casefold().startswith(name),
        lambda device: name in device.name.casefold() or name in device.node.casefold(),
    )
    return next((device for test in tests for device in fitting if test(device)), None)


def look() -> list[Device]:
    """``devices`` as another process sees them now, while this one has streams open; nothing on any failure."""
    command = [sys.executable, "-m", "visavis.portaudio"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LOOK_FOR_S, check=True)
        return [Device(**{**fields, "defaults": tuple(fields["defaults"])}) for fields in json.loads(done.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, KeyError) as problem:
        log.info("cannot look for sound devices: %s", problem)
        return []


if __name__ == "__main__":  # what ``look`` runs
    print(json.dumps([asdict(device) for device in devices()]))
