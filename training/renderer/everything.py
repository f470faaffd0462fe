"""From nothing to weights on one machine, in a given time: data, teacher, student, export. What is done stays done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from training.run import console

DATA, TEACH, TUNE = 0.35, 0.35, 0.25  # shares of the time; the rest is for starting and for export
ENOUGH = 8  # cooked clips without which there is nothing to learn from
STOPS_WITHIN = 120.0  # seconds that a run may take to stop at a clip's end


def everything(
    folder: Path, out: Path, speech: Path, size: str, device: str, minutes: float, clips: int, workers: int,
    batch: int, pixels: int,
) -> None:  # fmt: skip
    """Photographs and cooks for a third of the time, then teaches, tunes and exports ``out``/renderer_SIZE.onnx.

    Raises ValueError when a step fails, and when the time was too short for any data.
    """
    studio, cooked = folder / "studio", folder / "cooked"
    begin = time.monotonic()
    making = []
    for split, count in (("held-out", max(8, clips // 50)), ("train", clips)):
        source, target = studio / split, cooked / split
        making.append(_start("training.studio", "make", "--clips", count, "--split", split, "--size", pixels, "--out",
                             source, "--speech", speech, "--workers", workers))  # fmt: skip
        _until(lambda source=source: (source / "plan.json").exists(), making)
        making.append(_start("training.renderer", "cook", "--data", source, "--out", target, "--follow"))
    _watch(making, begin + 60.0 * minutes * DATA)
    there = [len(list((cooked / split).glob("*.clip"))) for split in ("held-out", "train")]
    console.print(f"{there[1]} clips to learn from, {there[0]} to judge by")
    if min(there) < 1 or there[1] < ENOUGH:
        raise ValueError(f"{minutes:g} minutes gave {there[1]} clips; {ENOUGH} at least are needed: give it more time")
    common = ["--data", cooked / "train", "--held", cooked / "held-out", "--out", out, "--device", device]
    common += ["--threads", max(1, (os.cpu_count() or 2) - 1), "--resume"]
    _run("training.renderer", "teach", *common, "--size", size, "--batch", batch, "--minutes", minutes * TEACH)
    _run("training.renderer", "tune", *common, "--batch", max(1, batch // 2), "--minutes", minutes * TUNE)
    _run("training.renderer", "export", "--run", out / "student.pt", "--out", out, "--name", f"renderer_{size}")


def _start(module: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", module, *map(str, arguments)], start_new_session=True)


def _run(module: str, *arguments: object) -> None:
    if _start(module, *arguments).wait():
        raise ValueError(f"python -m {module} {' '.join(map(str, arguments))} failed; what went wrong is said above")


def _until(there: object, making: Sequence[subprocess.Popen[bytes]]) -> None:
    assert callable(there)
    while not there():
        _alive(making)
        time.sleep(0.5)


def _watch(making: Sequence[subprocess.Popen[bytes]], end: float) -> None:
    """Waits until all are done or the time is over; then stops them as a person would, by Ctrl-C."""
    try:
        while time.monotonic() < end and any(process.poll() is None for process in making):
            _alive(making)
            time.sleep(1.0)
    finally:
        for process in making:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process in making:
            try:
                process.wait(STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _alive(making: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in making:
        if process.poll():
            raise ValueError(f"{' '.join(map(str, process.args[1:]))} failed; what went wrong is said above")  # type: ignore[index]
