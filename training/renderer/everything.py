"""From nothing to weights on one machine, in a given time: data, teacher, student, export. What is done stays done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from training.run import console

DATA, TEACH, TUNE = 0.35, 0.35, 0.25  # shares of the time; the rest is for starting and for export
ENOUGH = 8  # cooked clips without which there is nothing to learn from
STOPS_WITHIN = 120.0  # seconds that a run may take to stop at a clip's end
HELD_OUT, TRAIN = "held-out", "train"


def everything(
    folder: Path, out: Path, speech: Path, size: str, device: str, minutes: float, clips: int, workers: int,
    batch: int, lanes: int = 1, enough: int = ENOUGH,
) -> None:  # fmt: skip
    """Photographs and cooks for a third of the time, then teaches, tunes and exports ``out``/renderer_SIZE.onnx.

    Raises ValueError when a step fails, and when the time was too short for any data.
    """
    gather(folder, speech, 60.0 * minutes * DATA, clips, workers, lanes, enough)
    cooked = folder / "cooked"
    common = ["--data", cooked / TRAIN, "--held", cooked / HELD_OUT, "--out", out, "--device", device]
    common += ["--threads", max(1, (os.cpu_count() or 2) - 1), "--resume"]
    _run("training.renderer", "teach", *common, "--size", size, "--batch", batch, "--minutes", minutes * TEACH)
    _run("training.renderer", "tune", *common, "--batch", max(1, batch // 2), "--minutes", minutes * TUNE)
    _run("training.renderer", "export", "--run", out / "student.pt", "--out", out, "--name", f"renderer_{size}")


def gather(
    folder: Path, speech: Path, seconds: float, clips: int, workers: int, lanes: int = 1, enough: int = ENOUGH
) -> None:
    """Photographs and cooks into ``folder``/studio and ``folder``/cooked until ``clips`` are there or the time is over.

    ``lanes`` data sets of their own seeds are made side by side, each cooked by a process of its own: one cook keeps up
    with one or two of the ``workers`` that photograph. Raises ValueError when a process fails, and when the time was
    too short for ``enough`` clips; what is there stays, and the same call goes on.
    """
    end = time.monotonic() + seconds
    making: list[subprocess.Popen[bytes]] = []
    try:
        for lane in range(-1, lanes):
            split, name = (HELD_OUT, HELD_OUT) if lane < 0 else (TRAIN, f"{TRAIN}/{lane}")
            count = max(min(clips, ENOUGH), clips // 50) if lane < 0 else -(-clips // lanes)
            making += _lane(folder, name, split, max(lane, 0), count, speech, max(1, workers // (lanes + 1)), making)
        _wait(making, end)
    finally:
        _stop(making)
    there = [len(list((folder / "cooked" / split).rglob("*.clip"))) for split in (HELD_OUT, TRAIN)]
    console.print(f"{there[1]} clips to learn from, {there[0]} to judge by")
    if there[0] < 1 or there[1] < enough:
        raise ValueError(
            f"{seconds / 60:.3g} minutes gave {there[1]} clips; {enough} at least are needed: give it more time"
        )


def _lane(
    folder: Path, name: str, split: str, seed: int, clips: int, speech: Path, workers: int,
    others: Sequence[subprocess.Popen[bytes]],
) -> list[subprocess.Popen[bytes]]:  # fmt: skip
    """A maker, and the cook that follows it."""
    source, target = folder / "studio" / name, folder / "cooked" / name
    maker = _start("training.studio", "make", "--clips", clips, "--split", split, "--size", 512, "--seed", seed,
                   "--out", source, "--speech", speech, "--workers", workers)  # fmt: skip
    try:
        _until((source / "plan.json").exists, [*others, maker])
    except BaseException:
        _stop([maker])
        raise
    return [maker, _start("training.renderer", "cook", "--data", source, "--out", target, "--follow")]


def _start(module: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", module, *map(str, arguments)], start_new_session=True)


def _run(module: str, *arguments: object) -> None:
    if _start(module, *arguments).wait():
        raise ValueError(f"python -m {module} {' '.join(map(str, arguments))} failed; what went wrong is said above")


def _until(there: Callable[[], bool], making: Sequence[subprocess.Popen[bytes]]) -> None:
    while not there():
        _alive(making)
        time.sleep(0.5)


def _wait(making: Sequence[subprocess.Popen[bytes]], end: float) -> None:
    """Until all are done or the time is over."""
    while time.monotonic() < end and any(process.poll() is None for process in making):
        _alive(making)
        time.sleep(1.0)


def _stop(making: Sequence[subprocess.Popen[bytes]]) -> None:
    """As a person would, by Ctrl-C."""
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
