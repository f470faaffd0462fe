"""pyvirtualcam's API without a driver, for tests: pictures are kept, or written (FAKE_CAMERA) as they come."""

from __future__ import annotations

import enum
import os
import time
from typing import Any

import numpy as np

cameras: list[Camera] = []
broken = False  # no camera can be opened
slow_s = 0.0


class PixelFormat(enum.Enum):
    I420 = "I420"


class Camera:
    def __init__(self, width: int, height: int, fps: float, *, fmt: Any, device: str | None = None) -> None:
        if broken:
            raise RuntimeError("'v4l2loopback' backend: No v4l2 loopback device found")
        assert fmt is PixelFormat.I420 and fps == 25
        self.size, self.device, self.fail, self.closed = width * height * 3 // 2, device or "/dev/video10", False, False
        self.sent: list[tuple[float, np.ndarray]] = []
        self._path = os.environ.get("FAKE_CAMERA")
        cameras.append(self)

    def send(self, frame: np.ndarray) -> None:
        if self.fail:
            raise OSError(19, "No such device")
        assert frame.shape == (self.size,) and frame.dtype == np.uint8 and frame.flags.c_contiguous
        time.sleep(slow_s)
        self.sent = [*self.sent[-500:], (time.perf_counter(), frame.copy())]
        if self._path:
            with open(self._path, "a", encoding="utf-8") as kept:
                kept.write(f"{float(frame.mean()):.3f}\n")

    def close(self) -> None:
        self.closed = True
