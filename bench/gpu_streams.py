"""How many sessions at 25 fps a GPU carries in real time; power and memory meanwhile."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from bench.gpu_rig import OnGpu, crowd
from engine.clock import FRAME_SECONDS, VOICE_FRAME
from engine.gpu.session import GpuSession

LATE: Final = 40.0  # milliseconds that 99 of 100 frames must be done in
SECONDS, WARM = 20.0, 2.0
MOST: Final = 512
FIELDS: Final = {"power.draw": "W", "memory.used": "MiB", "utilization.gpu": "%", "clocks.sm": "MHz"}


def live(engine: OnGpu, count: int, voice: np.ndarray, seconds: float) -> list[float]:
    """Milliseconds from the last sample of each frame's voice to its picture, of ``count`` sessions on threads of their
    own for so many seconds, each beginning at another moment of the 40 ms. The first WARM seconds do not count.

    A session that falls behind works through what it has heard: its frames are late by as much."""
    sessions, late = crowd(engine, count), [list[float]() for _ in range(count)]
    go, begin = threading.Event(), [0.0]
    problems: list[BaseException] = []

    def run(number: int, session: GpuSession) -> None:
        go.wait()
        start = begin[0] + FRAME_SECONDS * number / count
        try:
            for frame in range(int(seconds / FRAME_SECONDS)):
                due = start + (frame + 1) * FRAME_SECONDS
                time.sleep(max(0.0, due - time.perf_counter()))
                at = (frame + 13 * number) * VOICE_FRAME % (len(voice) - VOICE_FRAME)
                session.push_voice(voice[at : at + VOICE_FRAME])
                while session.step() is not None:
                    late[number].append(1e3 * (time.perf_counter() - due))
        except BaseException as problem:  # told by the thread that waits
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(k, one), daemon=True) for k, one in enumerate(sessions)]
    for thread in threads:
        thread.start()
    begin[0] = time.perf_counter() + 0.2
    go.set()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    skip = int(min(WARM, seconds / 2) / FRAME_SECONDS)
    return [value for own in late for value in own[skip:]]


def most(works: Callable[[int], bool], first: int = 16, limit: int = MOST, tries: int = 12) -> int:
    """The largest number for which ``works`` is true, as far as ``tries`` find it: doubled or halved from ``first``,
    then halved between. 0 when not even one works."""
    good, bad, count = 0, limit + 1, first
    for _ in range(tries):
        if works(count):
            good = count
        else:
            bad = count
        if bad - good <= max(1, good // 16):
            break
        count = min(2 * good, limit) if bad > limit else (good + bad) // 2
    return good


class Meter:
    """Power, memory, load and clock of the GPU while it is open, four times a second, as nvidia-smi tells them. Reads
    nothing where that program is not."""

    def __enter__(self) -> Meter:
        self.rows: list[list[float]] = []
        self._process: subprocess.Popen[str] | None = None
        if shutil.which("nvidia-smi"):
            command = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits", "-lms", "250"]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            row = parsed(line)
            if row is not None:
                self.rows.append(row)

    def told(self) -> dict[str, dict[str, Any]]:
        """Mean and highest of each field, by its name."""
        table = np.array(self.rows[2:] or self.rows)
        if not len(table):
            return {}
        return {
            name: {"value": round(float(table[:, k].mean()), 1), "high": float(table[:, k].max()), "unit": unit}
            for k, (name, unit) in enumerate(FIELDS.items())
        }


def parsed(line: str) -> list[float] | None:
    """A line of nvidia-smi as numbers; None for one that is not."""
    try:
        row = [float(word) for word in line.split(",")]
    except ValueError:
        return None
    return row if len(row) == len(FIELDS) else None
