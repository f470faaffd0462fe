"""The virtual camera of Linux: the kernel header's own numbers and layouts, and pictures written byte for byte."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from visavis import v4l2

HEADER = Path("/usr/include/linux/videodev2.h")
PROGRAM = r"""
#include <linux/videodev2.h>
#include <stddef.h>
#include <stdio.h>
#define P(x) printf("%lu\n", (unsigned long)(x))
int main() {
  P(VIDIOC_QUERYCAP); P(VIDIOC_S_FMT); P(VIDIOC_S_PARM);
  P(offsetof(struct v4l2_capability, capabilities)); P(offsetof(struct v4l2_capability, device_caps));
  P(offsetof(struct v4l2_format, fmt.pix.width)); P(offsetof(struct v4l2_format, fmt.pix.pixelformat));
  P(offsetof(struct v4l2_format, fmt.pix.colorspace)); P(offsetof(struct v4l2_format, fmt.pix.quantization));
  P(offsetof(struct v4l2_streamparm, parm.output.timeperframe));
  P(V4L2_BUF_TYPE_VIDEO_OUTPUT); P(V4L2_CAP_VIDEO_OUTPUT); P((unsigned)V4L2_CAP_DEVICE_CAPS); P(V4L2_FIELD_NONE);
  P(V4L2_COLORSPACE_SRGB); P(V4L2_YCBCR_ENC_601); P(V4L2_QUANTIZATION_LIM_RANGE); P(V4L2_PIX_FMT_YUV420);
  P(V4L2_PIX_FMT_PRIV_MAGIC);
}
"""


@pytest.mark.skipif(shutil.which("g++") is None or not HEADER.is_file(), reason="no compiler, or no kernel headers")
def test_numbers_and_layouts_are_the_kernel_headers(tmp_path: Path) -> None:
    source, program = tmp_path / "p.cc", tmp_path / "p"
    source.write_text(PROGRAM)
    subprocess.run(["g++", "-o", str(program), str(source)], check=True)
    told = [int(line) for line in subprocess.run([str(program)], capture_output=True, text=True).stdout.split()]
    assert told == [
        v4l2.QUERYCAP, v4l2.S_FMT, v4l2.S_PARM, 84, 88, 8, 16, 32, 48, 12,
        v4l2.OUTPUT, v4l2.OUTPUT, v4l2.DEVICE_CAPS, v4l2.PROGRESSIVE, v4l2.SRGB, v4l2.BT601, v4l2.LIMITED, v4l2.I420,
        v4l2.MAGIC,
    ]  # fmt: skip


class Driver:
    """v4l2loopback's answers; its device is a plain file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, takes: bool = True) -> None:
        self.device, self.takes, self.size = folder / "video10", takes, (0, 0)
        self.forced: tuple[int, int] | None = None
        self.device.touch()
        monkeypatch.setattr(v4l2, "ioctl", self.ioctl)
        monkeypatch.setattr(v4l2, "candidates", lambda: [str(self.device)])

    def ioctl(self, fd: int, request: int, buffer: bytearray) -> int:
        if request == v4l2.QUERYCAP:
            caps = v4l2.OUTPUT if self.takes else 1
            buffer[:] = v4l2.CAPABILITY.pack(b"v4l2 loopback", b"Visavis", b"", 1, v4l2.DEVICE_CAPS | 3, caps)
        if request == v4l2.S_FMT:
            kind, width, height, *rest = v4l2.FORMAT.unpack(buffer)
            self.size = self.forced or (width, height)
            buffer[:] = v4l2.FORMAT.pack(kind, *self.size, *rest)
        return 0


def test_pictures_reach_the_device_byte_for_byte(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = Driver(monkeypatch, tmp_path)
    camera = v4l2.Camera(34, 46, 25, fmt=v4l2.PixelFormat.I420)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 69, 34), np.uint8)
    for picture in pictures:
        camera.send(picture.reshape(-1))
    camera.close()
    assert driver.size == (34, 46) and camera.device == str(driver.device)
    assert driver.device.read_bytes() == pictures.tobytes()
    with pytest.raises(OSError):
        camera.send(pictures[0])


def test_a_picture_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Driver(monkeypatch, tmp_path)
    camera = v4l2.Camera(34, 46, 25)
    with pytest.raises(ValueError, match="2346 bytes, got 10"):
        camera.send(np.zeros(10, np.uint8))
    camera.close()


@pytest.mark.parametrize(
    ("takes", "forced", "words"), [(False, None, "takes no pictures"), (True, (640, 480), "640x480")]
)
def test_a_device_that_will_not_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, takes: bool, forced: tuple[int, int] | None, words: str
) -> None:
    Driver(monkeypatch, tmp_path, takes).forced = forced
    with pytest.raises(RuntimeError, match=words):
        v4l2.Camera(34, 46, 25)


def test_without_a_device_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(v4l2, "VIRTUAL", tmp_path)
    with pytest.raises(RuntimeError, match="v4l2loopback"):
        v4l2.Camera(34, 46, 25)
    with pytest.raises(RuntimeError, match="No such file"):
        v4l2.Camera(34, 46, 25, device=str(tmp_path / "video3"))
