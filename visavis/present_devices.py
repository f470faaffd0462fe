"""The devices of a presenter: which are wanted, opened together, and how far sound and picture leave apart."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_RATE, VOICE_RATIO
from streaming.live import Live
from streaming.tracks import OutFrame
from visavis import portaudio, pulse
from visavis.microphone import Microphone
from visavis.playout import Playout, Skew
from visavis.portaudio import Device, DeviceError
from visavis.soundcard import Port, SoundCard
from visavis.speaker import Speaker
from visavis.virtualcam import VirtualCamera

Voice = NDArray[np.float32]
NONE: Final = "none"
VIRTUAL: Final = "virtual"
CABLES: Final = ("CABLE Input", "BlackHole", "VB-Audio", "VB-Cable")  # outputs that are others' microphones
CABLE: Final = {
    "linux": "a virtual microphone needs PulseAudio or PipeWire; sudo apt install pulseaudio-utils libasound2-plugins",
    "darwin": "the virtual microphone needs BlackHole: brew install blackhole-2ch",
    "win32": "the virtual microphone needs VB-CABLE, from vb-audio.com",
}
PLUGIN: Final = "PortAudio does not reach PulseAudio: sudo apt install libasound2-plugins"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Devices by name, part of a name, or number; "" is the default one, "none" none."""

    mic: str = ""
    camera: str = ""
    speaker: str = VIRTUAL  # where calls hear the voice
    monitor: str | None = None  # where whoever presents hears it too


class Devices:
    """Opened by ``open``, attached to a Live, closed by ``close``. ``hear`` gets the microphone on PortAudio's thread,
    ``say`` on any thread what happens to devices."""

    def __init__(self, wanted: Wanted, size: tuple[int, int], hear: Callable[[int, Voice], None],
                 say: Callable[[str], None]) -> None:  # fmt: skip
        self.playout, self.skew = Playout(), Skew()
        self.latency: deque[float] = deque(maxlen=50)  # ms, sound at the microphone -> its picture leaves
        self.mic = None if wanted.mic == NONE else Microphone(hear, wanted.mic)
        self.camera = None
        if wanted.camera != NONE:
            self.camera = VirtualCamera(self.playout, size, wanted.camera, self._left, say)
        self.cable: pulse.VirtualMicrophone | None = None
        self.speakers: list[Speaker] = []
        self.calls: Speaker | None = None  # the one that calls hear
        if wanted.speaker != NONE:
            self.calls = Speaker(self.playout, wanted.speaker)
            self.speakers.append(self.calls)
        if wanted.monitor is not None:
            self.speakers.append(Speaker(self.playout, wanted.monitor))
        ports: list[Port] = [*self.speakers, *([] if self.mic is None else [self.mic])]
        self._ports = ports
        self._sound = SoundCard(say, self._renew) if ports else None

    def open(self) -> None:
        """All of them, or none. Raises DeviceError saying what to do."""
        try:
            if self.camera is not None:
                self.camera.open()
            if self.calls is not None and self.calls.wanted == VIRTUAL:
                self._find_cable(self.calls)
            if self._sound is not None:
                self._sound.start(*self._ports)
        except BaseException:
            self.close()
            raise

    def attach(self, live: Live) -> None:
        """``live``, which has heard nothing yet, gives all of them what goes out."""
        for speaker in self.speakers:
            live.add(speaker)
        if self.camera is not None:
            live.add(self.camera)

    @property
    def late(self) -> int:
        """Pictures that the camera sent too late, or not at all because the next was due."""
        return 0 if self.camera is None else self.camera.late + self.camera.skipped

    def close(self) -> None:
        """Ends all of them. Twice is no mistake."""
        if self.camera is not None:
            self.camera.close()
        if self._sound is not None:
            self._sound.stop()
        if self.cable is not None:
            self.cable.close()

    def ends(self) -> tuple[tuple[str, str], ...]:
        """(kind, name) of each; no name while it is gone."""
        found: list[tuple[str, str]] = []
        if self.mic is not None:
            found.append(("from", _name(self.mic.device)))
        if self.camera is not None:
            label = self.camera.label
            found.append(("camera", "" if label == NONE else label))
        for speaker in self.speakers:
            found.append(("voice" if speaker is self.calls else "monitor", _name(speaker.device)))
        return tuple(found)

    def _find_cable(self, speaker: Speaker) -> None:
        """Makes the virtual microphone, or finds the one that is installed, and has ``speaker`` play to it."""
        if sys.platform == "linux":
            cable = pulse.VirtualMicrophone()
            try:
                if self.mic is not None and not self.mic.wanted:
                    self.mic.wanted = _own_default()
                cable.open()
            except pulse.PulseError as problem:
                raise DeviceError(f"{CABLE['linux']} ({problem}); or choose --speaker NAME or none") from problem
            self.cable, speaker.wanted = cable, cable.sink
            self._forbid_circles(cable)
        else:
            speaker.wanted = _installed_cable(portaudio.devices())
        if not any(speaker.wanted in (device.node, device.name) for device in portaudio.devices()):
            raise DeviceError(PLUGIN)

    def _forbid_circles(self, cable: pulse.VirtualMicrophone) -> None:
        """Where there is no other device, the one that was just made is the default one of everything."""
        ours = ("", cable.source, f"{cable.sink}.monitor")
        if self.mic is not None and not self.mic.wanted and pulse.default_source() in ours:
            raise DeviceError("no microphone: the sound server has none; plug one in, or choose --mic NAME or none")
        if any(s is not self.calls and not s.wanted for s in self.speakers) and pulse.default_sink() == cable.sink:
            raise DeviceError("no headphones: the sound server has none; leave out --monitor")

    def _renew(self) -> None:
        if self.cable is not None:
            self.cable.renew()

    def _left(self, frame: OutFrame, when: float) -> None:
        """A picture left the camera: on its thread."""
        arrived = float(frame.stamps["arrived"])
        capture = 0.0 if self.mic is None else self.mic.latency_s * 1e3
        self.latency.append(time.monotonic() * 1e3 - arrived + capture)
        place = None if self.calls is None or self.calls.device is None else self.calls.heard_at(when)
        if place is not None:
            self.skew.add((frame.pts * VOICE_RATIO - place) * 1e3 / VOICE_RATE)


def _name(device: Device | None) -> str:
    return "" if device is None else device.name


def _own_default() -> str:
    """The source that is the default before there is one more; "" leaves it to PortAudio."""
    name = pulse.default_source()
    return name if any(node.name == name for node in pulse.sources()) else ""


def _installed_cable(found: list[Device]) -> str:
    for device in found:
        if device.outputs and any(cable.casefold() in device.name.casefold() for cable in CABLES):
            return device.name
    raise DeviceError(f"{CABLE.get(sys.platform, CABLE['win32'])}; or choose --speaker NAME or none")
