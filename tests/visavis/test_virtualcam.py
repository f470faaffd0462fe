"""The avatar as a camera, on a double of pyvirtualcam."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from engine.clock import FRAME
from streaming.tracks import OutFrame
from visavis import v4l2, virtualcam
from visavis.playout import Playout
from visavis.virtualcam import CameraError, VirtualCamera

from .sound import Machine

SIDE = 16


def picture(index: int) -> OutFrame:
    return OutFrame(index * FRAME, np.full((SIDE * 3 // 2, SIDE), index, np.uint8), {"arrived": 0.0})


def until(done: Callable[[], object], timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.002)


def test_pictures_leave_in_order_when_they_are_due_and_are_copied_before(machine: Machine) -> None:
    playout, left = Playout(), []
    camera = VirtualCamera(playout, (SIDE, SIDE), left=lambda frame, when: left.append((frame.pts, when)))
    camera.open()
    begun = time.perf_counter()
    playout.painted(0, begun + 0.1)
    for index in range(6):
        frame = picture(index)
        camera.frame(frame)
        frame.i420[:] = 99  # the painter uses its memory again
    until(lambda: camera.sent + camera.skipped == 6)
    camera.close()
    numbers = [int(pixels[0]) for _, pixels in machine.camera.cameras[0].sent]
    assert numbers == sorted(set(numbers)) == [pts // FRAME for pts, _ in left] and set(numbers) <= set(range(6))
    assert numbers[-1] == 5 and machine.camera.cameras[0].closed
    assert all(when >= playout.due(pts * 3) - 1e-4 for pts, when in left), "nothing leaves before its time"
    assert camera.label == "none"


def test_a_slow_camera_loses_pictures_and_holds_nobody_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.camera, "slow_s", 0.2)
    playout = Playout()
    camera = VirtualCamera(playout, (SIDE, SIDE))
    camera.open()
    playout.painted(0, time.perf_counter() - 5.0)
    begun = time.perf_counter()
    for index in range(100):
        camera.frame(picture(index))
    assert time.perf_counter() - begun < 5.0, "not 100 times 0.2 s"
    until(lambda: camera.sent + camera.skipped == 100)
    camera.close()
    numbers = [int(pixels[0]) for _, pixels in machine.camera.cameras[0].sent]
    assert numbers == sorted(numbers) and numbers[-1] == 99 and camera.skipped >= 80


def test_a_camera_that_goes_is_opened_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtualcam, "RETRY_S", 0.01)
    playout, said = Playout(), []
    camera = VirtualCamera(playout, (SIDE, SIDE), say=said.append)
    camera.open()
    playout.painted(0, time.perf_counter())
    machine.camera.cameras[0].fail = True
    index = 0

    def back() -> bool:
        nonlocal index
        index += 1
        camera.frame(picture(index % 200))
        return camera.sent > 0

    until(back)
    camera.close()
    assert "is gone" in said[0] and said[1] == "the virtual camera is back: /dev/video10"
    assert len(machine.camera.cameras) == 2 and all(opened.closed for opened in machine.camera.cameras)


@pytest.mark.parametrize(
    ("system", "words"),
    [("linux", "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Visavis"), ("darwin", "OBS"), ("win32", "OBS")],
)
def test_no_camera_at_all_says_how_to_get_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, system: str, words: str
) -> None:
    monkeypatch.setattr(machine.camera, "broken", True)
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(CameraError, match=words):
        VirtualCamera(Playout(), (SIDE, SIDE)).open()


@pytest.mark.skipif(bool(virtualcam.nodes()), reason="there is a virtual camera here")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other drivers")
def test_without_a_driver_the_commands_that_load_it_are_said() -> None:
    with pytest.raises(CameraError, match="sudo modprobe v4l2loopback .* card_label=Visavis"):
        VirtualCamera(Playout(), (SIDE, SIDE)).open()


def test_linux_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    monkeypatch.setattr(sys, "platform", "linux")
    assert virtualcam.library() is v4l2


def test_elsewhere_no_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(CameraError, match=r"pip install 'visavis\[camera\]'"):
        VirtualCamera(Playout(), (SIDE, SIDE))
