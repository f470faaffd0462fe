"""The avatar as a camera that other programs can choose, paced by the playout: on Linux by V4L2; elsewhere, or where it
is installed, by pyvirtualcam (extra ``camera``)."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FPS, VOICE_RATIO
from streaming.tracks import OutFrame
from visavis import v4l2
from visavis.playout import Playout
from visavis.portaudio import DeviceError

log = logging.getLogger(__name__)
WAITING: Final = 20  # pictures (0.8 s); older ones are left out
RETRY_S: Final = 2.0
LATE_S: Final = 0.010
PACKAGE: Final = "the virtual camera needs pyvirtualcam: pip install 'visavis[camera]'"
DRIVER: Final = {
    "linux": "there is no virtual camera: sudo apt install v4l2loopback-dkms, then "
    "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Visavis",
    "darwin": "there is no virtual camera: install OBS Studio 30 or later, and press its Start Virtual Camera once",
    "win32": "there is no virtual camera: install OBS Studio, which brings one (it need not run)",
}


class CameraError(DeviceError):
    """A virtual camera that cannot be opened; the message says what to install or load."""


def library() -> Any:
    """The module ``pyvirtualcam``, or on Linux without it ``visavis.v4l2``, which does the same. Raises CameraError
    saying what to install."""
    try:
        return importlib.import_module("pyvirtualcam")
    except ImportError as problem:
        if sys.platform == "linux":
            return v4l2
        missing = isinstance(problem, ModuleNotFoundError) and problem.name == "pyvirtualcam"
        raise CameraError(PACKAGE if missing else f"pyvirtualcam cannot be used ({problem}): {PACKAGE}") from None


def nodes() -> list[tuple[str, str]]:
    """(path, name) of the video devices that v4l2loopback made; none elsewhere than on Linux."""
    found = []
    for folder in sorted(Path("/sys/devices/virtual/video4linux").glob("video*")):
        with contextlib.suppress(OSError):
            found.append(
                (f"/dev/{folder.name}", (folder / "name").read_text(encoding="utf-8", errors="replace").strip())
            )
    return found


class VirtualCamera:
    """An outlet of a Live. Its own thread sends each picture when it is due; a slow camera loses pictures, no more.

    ``left`` hears of each picture, on that thread: (frame, when it was sent).
    """

    def __init__(
        self,
        playout: Playout,
        size: tuple[int, int],
        device: str = "",
        left: Callable[[OutFrame, float], None] = lambda frame, when: None,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self._playout, self._size, self._wanted, self._left, self._say = playout, size, device, left, say
        self._module = library()
        self._camera: Any = None
        self._waiting: deque[OutFrame] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="virtual-camera", daemon=True)
        self.sent = self.late = self.skipped = 0

    @property
    def label(self) -> str:
        """What it is called, "none" while it is gone."""
        camera = self._camera
        return "none" if camera is None else str(camera.device)

    def open(self) -> None:
        """Opens the camera and begins to send. Raises CameraError."""
        self._camera = self._opened()
        self._thread.start()

    def close(self) -> None:
        """Ends it; what still waits is not sent."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._drop()

    # An outlet of a Live.

    def frame(self, frame: OutFrame) -> None:
        """Keeps a copy until it is due."""
        kept = OutFrame(frame.pts, frame.i420.copy(), frame.stamps)
        with self._wake:
            self._waiting.append(kept)
            while len(self._waiting) > WAITING:
                self._waiting.popleft()
                self.skipped += 1
            self._wake.notify()

    def voice(self, voice: NDArray[np.float32]) -> None:
        """A camera has no sound."""

    def ended(self, why: str) -> None:
        """Whoever opened it closes it."""

    # Its thread.

    def _run(self) -> None:
        while (frame := self._next()) is not None:
            if self._camera is None:
                self._retry()
                continue
            try:
                self._camera.send(np.ascontiguousarray(frame.i420).reshape(-1))
            except (OSError, RuntimeError, ValueError) as problem:
                self._say(f"the virtual camera is gone ({problem}); trying again")
                self._drop()
                continue
            now = time.perf_counter()
            self.sent += 1
            self.late += now > self._playout.due(frame.pts * VOICE_RATIO) + LATE_S
            self._left(frame, now)

    def _next(self) -> OutFrame | None:
        """The next picture, when it is due; None at the end. Of several that are overdue only the last is sent."""
        with self._wake:
            while not self._stopping:
                now = time.perf_counter()
                while len(self._waiting) > 1 and self._due(self._waiting[1]) <= now:
                    self._waiting.popleft()
                    self.skipped += 1
                if self._waiting and self._due(self._waiting[0]) <= now:
                    return self._waiting.popleft()
                self._wake.wait(self._due(self._waiting[0]) - now if self._waiting else None)
            return None

    def _due(self, frame: OutFrame) -> float:
        return self._playout.due(frame.pts * VOICE_RATIO) if self._playout.known else 0.0

    def _retry(self) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._stopping, RETRY_S)
        if self._stopping:
            return
        try:
            self._camera = self._opened()
        except CameraError as problem:
            log.info("%s", problem)
            return
        self._say(f"the virtual camera is back: {self.label}")

    def _opened(self) -> Any:
        width, height = self._size
        pixels = self._module.PixelFormat.I420
        try:
            return self._module.Camera(width, height, FPS, fmt=pixels, device=self._wanted or None)
        except (OSError, RuntimeError, ValueError) as problem:
            what = DRIVER.get(sys.platform, DRIVER["linux"])
            wanted = f' "{self._wanted}"' if self._wanted else ""
            told = " ".join(str(problem).split())
            raise CameraError(f"the virtual camera{wanted} cannot be opened: {what}. ({told})") from None

    def _drop(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.close()
            except (OSError, RuntimeError) as problem:
                log.info("closing the virtual camera: %s", problem)
