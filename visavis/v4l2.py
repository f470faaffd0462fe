"""A Linux video device that other programs see as a camera, written to directly: v4l2loopback's own interface.

The kernel's API (include/uapi/linux/videodev2.h) by ``ioctl``; the same few methods as pyvirtualcam's Camera, so either
serves.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

if sys.platform == "linux":
    from fcntl import ioctl
else:

    def ioctl(fd: int, request: int, buffer: bytearray) -> int:
        """There is no such device elsewhere."""
        raise OSError("V4L2 is Linux's")


VIRTUAL: Final = Path("/sys/devices/virtual/video4linux")  # where devices without hardware are listed
OUTPUT: Final = 2  # V4L2_BUF_TYPE_VIDEO_OUTPUT, and the bit V4L2_CAP_VIDEO_OUTPUT
DEVICE_CAPS: Final = 0x8000_0000  # V4L2_CAP_DEVICE_CAPS: device_caps is filled in
PROGRESSIVE: Final = 1  # V4L2_FIELD_NONE
SRGB: Final = 8  # V4L2_COLORSPACE_SRGB
BT601, LIMITED = 1, 2  # V4L2_YCBCR_ENC_601, V4L2_QUANTIZATION_LIM_RANGE
MAGIC: Final = 0xFEED_CAFE  # V4L2_PIX_FMT_PRIV_MAGIC: what follows it is filled in
I420: Final = int.from_bytes(b"YU12", "little")  # V4L2_PIX_FMT_YUV420

CAPABILITY: Final = struct.Struct("=16s32s32sIII12x")  # struct v4l2_capability
FORMAT: Final = struct.Struct("=I4x12I152x")  # struct v4l2_format with its v4l2_pix_format
RATE: Final = struct.Struct("=IIIIIII176x")  # struct v4l2_streamparm with its v4l2_outputparm


def request(number: int, size: int, write: bool) -> int:
    """The number of an ioctl of V4L2 (_IOR, or with ``write`` _IOWR, of type 'V')."""
    return (3 if write else 2) << 30 | size << 16 | ord("V") << 8 | number


QUERYCAP: Final = request(0, CAPABILITY.size, write=False)
S_FMT: Final = request(5, FORMAT.size, write=True)
S_PARM: Final = request(22, RATE.size, write=True)


class PixelFormat:
    """The formats that ``Camera`` takes."""

    I420 = "I420"


class Camera:
    """One device, open for pictures of one size. ``device``: its path, or the first that takes pictures.

    Raises RuntimeError when there is none or it refuses, as pyvirtualcam does.
    """

    def __init__(
        self, width: int, height: int, fps: float, *, fmt: str = PixelFormat.I420, device: str | None = None
    ) -> None:
        if fmt != PixelFormat.I420:
            raise ValueError(f"pictures are I420 here, got {fmt}")
        self.width, self.height, self.fps = width, height, fps
        refused = []
        for path in [device] if device else candidates():
            try:
                self._fd = self._opened(path)
            except OSError as problem:
                refused.append(f"{path}: {problem.strerror or problem}")
                continue
            self.device = path
            return
        raise RuntimeError("; ".join(refused) or "no video device of v4l2loopback is there")

    def send(self, frame: NDArray[np.uint8]) -> None:
        """Shows ``frame``, I420 of any shape. Raises OSError when the device is gone."""
        data = np.ascontiguousarray(frame).data.cast("B")
        size = self.width * self.height * 3 // 2
        if data.nbytes != size:
            raise ValueError(f"a picture of {self.width}x{self.height} has {size} bytes, got {data.nbytes}")
        written = os.write(self._fd, data)
        if written != data.nbytes:
            raise OSError(f"{self.device} took {written} of {data.nbytes} bytes")

    def close(self) -> None:
        """Gives the device back."""
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def _opened(self, path: str) -> int:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._prepare(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _prepare(self, fd: int) -> None:
        told = bytearray(CAPABILITY.size)
        ioctl(fd, QUERYCAP, told)
        *_, every, own = CAPABILITY.unpack(told)
        if not (own if every & DEVICE_CAPS else every) & OUTPUT:
            raise OSError("it takes no pictures (a camera, or in use: exclusive_caps lets one program write)")
        size = self.width * self.height * 3 // 2
        asked = bytearray(
            FORMAT.pack(
                OUTPUT, self.width, self.height, I420, PROGRESSIVE, self.width, size, SRGB, MAGIC, 0, BT601, LIMITED, 0
            )
        )
        ioctl(fd, S_FMT, asked)
        _, width, height, pixels, *_ = FORMAT.unpack(asked)
        if (width, height, pixels) != (self.width, self.height, I420):
            raise OSError(f"it wants {width}x{height}; no other program may read it while the size changes")
        with contextlib.suppress(OSError):  # only told to readers
            ioctl(fd, S_PARM, bytearray(RATE.pack(OUTPUT, 0, 0, 1000, round(1000 * self.fps), 0, 0)))


def candidates() -> list[str]:
    """Paths of the devices that have no hardware behind them, lowest number first."""
    names = (folder.name for folder in VIRTUAL.glob("video*"))
    return [f"/dev/{name}" for name in sorted(names, key=lambda name: (len(name), name))]
