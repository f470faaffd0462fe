"""The sound card: streams that are opened, watched, and opened again when their devices come back. Every stream of the
process is opened here, because PortAudio sees new devices only after all are closed."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from visavis import portaudio, pulse
from visavis.portaudio import LOOK_FOR_S, Device, DeviceError, Direction, find, library, listed, nodes, quiet

log = logging.getLogger(__name__)
RATES: Final = (48_000, 44_100, 32_000, 96_000, 16_000, 192_000, 24_000, 88_200, 22_050, 11_025, 8_000)
SILENT_S: Final = 2.0  # a stream that has not called for so long is dead
WATCH_S: Final = 0.25
LOOK_S: Final = 2.0  # from one look for a device that is gone to the next; each takes longer to come, up to
LOOK_LAST_S: Final = 10.0
# After one that was found and could not be opened, which interrupts the others: twice as long each time, up to
REFUSED_S: Final = (4.0, 60.0)


class Port:
    """One direction of one device, as it is wanted; ``Microphone`` and ``Speaker`` are ports. Its stream calls
    ``_call`` on PortAudio's thread; everything else is called by ``SoundCard``."""

    direction: Direction = "input"

    def __init__(self, wanted: str = "") -> None:
        self.wanted = wanted
        self.device: Device | None = None  # None: it is not there now
        self.rate = 0
        self.channels = 0
        self.latency_s = 0.0
        self.lost = 0  # how often it has gone
        self.clock: Callable[[], float] = time.perf_counter  # time.monotonic is coarse on Windows
        self._stream: Any = None
        self._called = 0.0

    @property
    def label(self) -> str:
        """What people call it now."""
        return self.device.name if self.device is not None else "none"

    def prepare(self, module: Any) -> None:
        """The stream is about to run at ``rate`` with ``channels``: sizes what depends on them."""

    def _call(self, data: bytes | None, count: int, times: Any, status: int) -> tuple[bytes | None, int]:
        raise NotImplementedError

    def open(self, module: Any, audio: Any, device: Device) -> None:
        """Opens ``device`` at the first rate that it takes. Raises DeviceError."""
        incoming, problem = self.direction == "input", "it takes none of the usual rates"
        most = device.channels(self.direction)
        for rate in dict.fromkeys((RATES[0], int(device.rate) or RATES[0], *RATES)):
            for channels in dict.fromkeys((min(most, 2), most, 1)):
                self.rate, self.channels = rate, channels
                self.prepare(module)
                try:
                    with pulse.routed(device.node, self.direction), quiet():
                        self._stream = audio.open(
                            rate=rate, channels=channels, format=module.paFloat32, input=incoming, output=not incoming,
                            input_device_index=device.index if incoming else None,
                            output_device_index=None if incoming else device.index,
                            frames_per_buffer=self.block, stream_callback=self._call, start=False,
                        )  # fmt: skip
                        self._called = self.clock()
                        self._stream.start_stream()
                    self.latency_s = self._stream.get_input_latency() if incoming else self._stream.get_output_latency()
                except (OSError, ValueError) as refused:
                    problem = str(refused)
                    self.close()
                    continue
                self.device = device
                return
        raise DeviceError(
            f'{self.direction} "{device.name}" cannot be opened, maybe because another program holds it: {problem}'
        )

    @property
    def block(self) -> int:
        """Samples of a call: 10 ms."""
        return self.rate // 100

    def alive(self, now: float) -> bool:
        """Whether the stream still runs and calls."""
        if self._stream is None:
            return False
        try:
            active = bool(self._stream.is_active())
        except OSError:
            active = False
        return active and now - self._called < SILENT_S

    def close(self) -> None:
        """Ends the stream; a device that is gone makes PortAudio complain, and nobody needs to hear it."""
        stream, self._stream, self.device = self._stream, None, None
        if stream is not None:
            with contextlib.suppress(OSError), quiet():
                stream.close()


class SoundCard:
    """Opens ports, and keeps them open: a thread notices a device that has gone, goes on with the default one, and
    takes the wanted one again when it is back. On that thread ``say`` hears of it, and ``before`` is called before each
    look for what is missing."""

    def __init__(self, say: Callable[[str], None] = log.warning, before: Callable[[], None] = lambda: None) -> None:
        self._module = library()
        self._say, self._before = say, before
        self._ports: list[Port] = []
        self._audio: Any = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sound-card", daemon=True)
        self._looked = 0.0
        self._pause = LOOK_S
        self._refused = 0  # how often in a row

    def start(self, *ports: Port) -> None:
        """Opens ``ports``, all or none. Raises DeviceError."""
        self._ports = list(ports)
        try:
            found = self._begin()
            for port in self._ports:
                device = find(found, port.wanted, port.direction)
                if device is None:
                    raise DeviceError(missing(found, port))
                port.open(self._module, self._audio, device)
                port.wanted = device.name if port.wanted.isdigit() else port.wanted  # numbers change when one is gone
        except BaseException:
            self._end()
            raise
        self._thread.start()

    def stop(self) -> None:
        """Closes all of them."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_FOR_S + 5.0)
        self._end()

    def _begin(self) -> list[Device]:
        with quiet():
            try:
                self._audio = self._module.PyAudio()
            except OSError as problem:
                raise DeviceError(f"PortAudio does not start: {problem}") from problem
            found = listed(self._audio)
        return found + nodes(found)

    def _end(self) -> None:
        for port in self._ports:
            port.close()
        audio, self._audio = self._audio, None
        if audio is not None:
            with contextlib.suppress(OSError), quiet():
                audio.terminate()

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_S):
            try:
                self.check()
            except Exception:  # the edge of the thread: whatever a driver raised, the next look may find it well
                log.exception("looking after the sound devices")

    def check(self) -> None:
        """One look at all ports; what is missing is looked for, now and then."""
        for port in self._ports:
            now = port.clock()
            if port.device is not None and not port.alive(now):
                self._say(f'{port.direction} "{port.device.name}" is gone; going on without it')
                port.lost += 1
                port.close()
                self._pause = LOOK_S
        unhappy = [port for port in self._ports if port.device is None or _fallen(port)]
        now = time.perf_counter()
        if not unhappy or now - self._looked < self._pause:
            return
        self._looked, self._pause = now, min(1.5 * self._pause, LOOK_LAST_S)
        self._before()
        found = portaudio.look()
        if self._stop.is_set() or not any(_better(port, found) for port in unhappy):
            return
        before = [port.label for port in self._ports]
        self._end()
        try:
            found = self._begin()
        except DeviceError as problem:
            self._say(str(problem))
            return
        for port, label in zip(self._ports, before, strict=True):
            self._reopen(port, found)
            if port.label not in (label, "none"):
                self._say(f'{port.direction} is "{port.label}" now')
        refused = any(_better(port, found) for port in self._ports if port.device is None or _fallen(port))
        self._refused = self._refused + 1 if refused else 0
        self._pause = min(REFUSED_S[0] * 2**self._refused, REFUSED_S[1]) if refused else LOOK_S

    def _reopen(self, port: Port, found: list[Device]) -> None:
        choices = (find(found, port.wanted, port.direction), find(found, "", port.direction))
        for device in dict.fromkeys(choice for choice in choices if choice is not None):
            try:
                port.open(self._module, self._audio, device)
            except DeviceError as problem:
                self._say(str(problem))
                continue
            return


def _fallen(port: Port) -> bool:
    """Whether it runs on another device than the wanted one."""
    return bool(port.wanted) and port.device is not None and find([port.device], port.wanted, port.direction) is None


def _better(port: Port, found: list[Device]) -> bool:
    """Whether ``found`` has what ``port`` wants, or at least anything where it has nothing."""
    wanted = find(found, port.wanted, port.direction)
    return wanted is not None or (port.device is None and find(found, "", port.direction) is not None)


def missing(found: list[Device], port: Port) -> str:
    """What to say when there is no such device."""
    what = "microphone" if port.direction == "input" else "sound output"
    names = [f'{device.index} "{device.name}"' for device in found if device.channels(port.direction)]
    there = f"there are: {', '.join(names)}" if names else "there is none at all (`visavis devices` says more)"
    return f'no {what} "{port.wanted}"; {there}' if port.wanted else f"no {what}: {there}"
