"""The local presenter: this machine's microphone moves the avatar, which leaves as a camera and a microphone, a film, a
stream or a page, all at once. No server is needed; ``Live`` is the engine's half of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.audio.gate import gate
from engine.engine import Engine
from engine.motion.emotion import EMOTIONS
from engine.viewpoint import Viewpoint
from streaming.live import Live, Options
from streaming.server import SWITCH_S
from streaming.tracks import OutFrame
from visavis.config import Config
from visavis.portaudio import muffled
from visavis.present_devices import NONE, Devices, Wanted
from visavis.present_keys import Keyboard, PushToTalk
from visavis.present_outputs import Outputs, Remote
from visavis.present_status import Status, StatusLine

log = logging.getLogger(__name__)
Voice = NDArray[np.float32]
TICK_S: Final = 0.05
FPS_S: Final = 2.0  # frames per second are counted over so long
WAITING: Final = 50  # pieces of the microphone (0.5 s) that wait for the event loop
TURN: Final = 0.09  # rad a press of an arrow
ARROWS: Final = {"left": (-TURN, 0.0), "right": (TURN, 0.0), "up": (0.0, TURN), "down": (0.0, -TURN)}
STEPS: Final = {"+": 0.9, "=": 0.9, "-": 1 / 0.9}
TALK: Final = "hold space, or tap it, to talk"
HELP: Final = "keys: m mute, i interrupt, 1-8 mood, arrows and + - viewpoint, 0 front, q quit"


class PresentError(ValueError):
    """Presenting ended by itself; the message says why."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What ``visavis present`` is asked for."""

    options: Options
    devices: Wanted = Wanted()
    outputs: Outputs = Outputs()
    push_to_talk: bool = False
    manner: dict[str, Any] = field(
        default_factory=dict
    )  # fields of engine.motion.manner.Manner that are not as configured
    view: Viewpoint | None = None


class Presenter:
    """``run`` once."""

    def __init__(self, engine: Engine, settings: Config, wish: Wish, shown: StatusLine) -> None:
        self._engine, self._settings, self._wish, self._shown = engine, settings, wish, shown
        self._talk = PushToTalk()
        self._muted, self._open = False, not wish.push_to_talk
        self._heard: deque[tuple[int, Voice]] = deque(maxlen=WAITING)
        self._draining = False
        self._frames: deque[float] = deque()
        self._late = 0
        self._speaking = 0.0
        self._view: Viewpoint | None = wish.view
        self._front: Viewpoint | None = None
        self._turns = 0
        self._why = ""  # it ended by itself
        self._live: Live | None = None

    async def run(self) -> None:
        """Until it is asked to stop. Raises DeviceError before it begins, PresentError when the avatar cannot go on."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            with contextlib.suppress(NotImplementedError, AttributeError):  # Windows
                self._loop.add_signal_handler(getattr(signal, name), self._stop.set)
        render = self._settings.render
        self._devices = Devices(self._wish.devices, (render.width, render.height), self._mic, self._say_from_anywhere)
        remote = Remote(self._engine, self._settings, self._wish.outputs, self._shown.say)
        try:
            await self._loop.run_in_executor(None, self._devices.open)
            live = self._live = await remote.open(self._wish.options)
            live.add(self)
            self._devices.attach(live)
            live.worker.behave(self._wish.manner)
            if self._view is not None:
                live.worker.look(self._view, 0)
            remote.begin()
            await self._until_the_end(live, remote)
        finally:
            if self._live is not None:
                await self._live.close("the presenter stops")
            await remote.close()
            await self._loop.run_in_executor(None, self._devices.close)
        if self._why:
            raise PresentError(self._why)

    async def _until_the_end(self, live: Live, remote: Remote) -> None:
        with Keyboard() as keys:
            if sys.platform != "win32":
                with contextlib.suppress(NotImplementedError):
                    self._loop.add_signal_handler(signal.SIGCONT, keys.take)
            if keys.there:
                self._shown.say(f"{TALK}; {HELP}" if self._wish.push_to_talk else HELP)
            try:
                while not self._stop.is_set():
                    now = time.perf_counter()
                    for key in keys.read():
                        self._press(key, live, now)
                    self._talk.tick(now)
                    self._shown.show(self._status(live, remote), now)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), TICK_S)
            finally:
                self._shown.end()

    # The microphone.

    def _mic(self, position: int, voice: Voice) -> None:
        """More of it, on PortAudio's thread."""
        self._heard.append((position, voice))
        if not self._draining:
            self._draining = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._draining = False
        while self._heard:
            position, voice = self._heard.popleft()
            is_open = not self._muted and (not self._wish.push_to_talk or self._talk.open)
            if self._live is not None and not self._live.closing:
                self._live.hear(position, gate(voice, self._open, is_open))
            self._open = is_open

    # An outlet of the Live.

    def frame(self, frame: OutFrame) -> None:
        """One more picture is painted: when pictures come decides when they leave."""
        now = time.perf_counter()
        self._late += not self._devices.playout.painted(frame.pts, now)
        self._frames.append(now)
        self._speaking = float(frame.stamps["speaking"])

    def voice(self, voice: Voice) -> None:
        """Speakers are outlets of their own."""

    def ended(self, why: str) -> None:
        """The session is over, and so is presenting."""
        if not self._stop.is_set():
            failure = None if self._live is None else self._live.failure
            self._why = why if failure is None else f"the engine stopped: {failure}"
            self._stop.set()

    # Keys.

    def _press(self, key: str, live: Live, now: float) -> None:
        if key == "q":
            self._stop.set()
        elif key == "m":
            self._muted = not self._muted
        elif key == "space":
            if self._wish.push_to_talk:
                self._talk.press(now)
        elif key == "i":
            live.interrupt()
        elif key in tuple("12345678"):
            live.worker.behave({"emotion": EMOTIONS[int(key) - 1]})
        elif key in ARROWS or key in STEPS or key == "0":
            self._turn(key, live)

    def _turn(self, key: str, live: Live) -> None:
        if live.opened_as is None:
            return
        self._front = self._front or live.opened_as[2]
        view = self._view or self._front
        yaw, pitch = ARROWS.get(key, (0.0, 0.0))
        view = replace(view, yaw=view.yaw + yaw, pitch=view.pitch + pitch, distance=view.distance * STEPS.get(key, 1.0))
        self._view = self._front if key == "0" else view.clamped()
        self._turns += 1
        live.worker.look(self._view, self._turns)

    # What is shown.

    def _status(self, live: Live, remote: Remote) -> Status:
        now = time.perf_counter()
        while self._frames and now - self._frames[0] > FPS_S:
            self._frames.popleft()
        devices, latency = self._devices, self._devices.latency
        return Status(
            ready=bool(self._frames) or devices.playout.known,
            talking=self._talk.open,
            push_to_talk=self._wish.push_to_talk,
            muted=self._muted,
            level_db=devices.mic.level_db if devices.mic is not None and devices.mic.device is not None else None,
            speaking=self._speaking,
            fps=len(self._frames) / FPS_S,
            late=self._late if devices.camera is None else devices.late,
            latency_ms=float(np.median(latency)) if latency else None,
            skew_ms=devices.skew.median,
            ends=devices.ends() + remote.ends(),
        )

    def _say_from_anywhere(self, text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._shown.say, text)


def check(wanted: Wanted, outputs: Outputs, settings: Config) -> None:
    """What cannot be done is said before the engine is loaded: all devices are opened and closed. Raises ValueError."""
    perceived = outputs.specs() or outputs.serve or wanted.monitor is not None
    if not perceived and wanted.camera == wanted.speaker == NONE:
        raise ValueError("nobody would see or hear it: add a camera, a speaker, --record, --push or --serve")
    devices = Devices(wanted, (settings.render.width, settings.render.height), lambda position, voice: None, log.info)
    devices.open()
    devices.close()


def present(engine: Engine, settings: Config, wish: Wish, shown: StatusLine | None = None) -> None:
    """Blocks until it is stopped. Raises DeviceError, PresentError."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # as the server does: looking through all that was loaded stops every thread for 0.2 s
    with muffled():
        asyncio.run(Presenter(engine, settings, wish, shown or StatusLine()).run())
