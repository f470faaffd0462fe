"""Motion files (``.vmotion``): recorded Motion in an open format, docs/motion_format.md.

A safetensors file with two tensors, ``motion`` (T, SIZE) float32 and ``pts`` (T,) int64, and a header that names every
number in it. A file is written whole or not at all, and checked when it is read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from engine.clock import FPS, FRAME, SAMPLE_RATE
from engine.motion.frame import ACTIONS, CHANNELS, JOINTS, SIZE, Motion

FORMAT: Final = "vmotion"
VERSION: Final = 1
SUFFIX: Final = ".vmotion"
LONGEST: Final = 24 * 3600 * FPS  # frames


class TapeError(ValueError):
    """A motion file that cannot be used; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Tape:
    """Recorded motion: rows (T, SIZE) as Motion.pack gives them, pts (T,) of each frame's first 16 kHz sample,
    ascending, and notes about where it came from."""

    motion: NDArray[np.float32]
    pts: NDArray[np.int64]
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.motion.ndim != 2 or self.motion.shape[1] != SIZE or self.pts.shape != (len(self.motion),):
            raise TapeError(f"a tape has motion (T, {SIZE}) and pts (T,), got {self.motion.shape}, {self.pts.shape}")
        if not len(self.motion):
            raise TapeError("there is no motion in it (0 frames)")
        if not np.isfinite(self.motion).all():
            raise TapeError(f"frame {int(np.argwhere(~np.isfinite(self.motion))[0, 0])} is not finite")
        if self.pts[0] < 0 or (np.diff(self.pts) <= 0).any():
            raise TapeError("its times do not ascend")

    def __len__(self) -> int:
        return len(self.motion)

    @property
    def seconds(self) -> float:
        """From the first frame's beginning to the last one's end."""
        return float(self.pts[-1] - self.pts[0] + FRAME) / SAMPLE_RATE

    def at(self, index: int) -> Motion | None:
        """What is shown in video frame ``index`` counted from the tape's beginning; None once it is over.

        A frame that was recorded comes back bit for bit; a gap shows the frame before it.
        """
        time = int(self.pts[0]) + index * FRAME
        place = int(np.searchsorted(self.pts, time, side="right")) - 1
        if place < 0 or time >= int(self.pts[-1]) + FRAME:
            return None
        return Motion.unpack(self.motion[place]).clipped()


class Recorder:
    """Writes frames to a temporary file beside ``path`` as they come; ``path`` appears when all went well.

    As a context manager it closes itself; on an error nothing is left. Memory does not grow with time.
    """

    def __init__(self, path: Path, notes: Mapping[str, str] | None = None) -> None:
        if not path.parent.is_dir():
            raise ValueError(f"{path}: the folder {path.parent} does not exist; make it first")
        self._path, self._notes = path, dict(notes or {})
        self._raw = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file = self._raw.open("wb")
        self._pts: list[int] = []

    def write(self, pts: int, motion: Motion) -> None:
        """Adds one frame; ``pts`` must ascend."""
        if self._pts and pts <= self._pts[-1]:
            raise ValueError(f"frames must come in order, got pts {pts} after {self._pts[-1]}")
        self._file.write(motion.pack().tobytes())
        self._pts.append(pts)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()
        try:
            if kind is None:
                rows = np.memmap(self._raw, np.float32, "r").reshape(-1, SIZE) if self._pts else np.zeros((0, SIZE))
                save(self._path, Tape(np.asarray(rows, np.float32), np.array(self._pts, np.int64), self._notes))
        finally:
            with suppress(FileNotFoundError):
                self._raw.unlink()


def save(path: Path, tape: Tape) -> None:
    """Writes a motion file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        tensors: dict[str, NDArray[Any]] = {
            "motion": np.ascontiguousarray(tape.motion),
            "pts": np.ascontiguousarray(tape.pts),
        }
        save_file(tensors, str(temporary), metadata=_header(tape.notes))
        temporary.chmod(0o644)  # the writer makes it private
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def read(path: Path) -> Tape:
    """Reads and checks a motion file. Raises TapeError, naming the file and what is wrong with it."""
    if not path.is_file():
        raise TapeError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = file.metadata() or {}
            _check(header, path)
            tensors = {name: file.get_tensor(name) for name in ("motion", "pts") if name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TapeError(f"{path}: not a motion file, or a broken one ({error})") from error
    for name, kind in (("motion", np.float32), ("pts", np.int64)):
        if name not in tensors or tensors[name].dtype != kind:
            raise TapeError(f'{path}: a motion file has a tensor "{name}" of {np.dtype(kind).name}')
    if len(tensors["motion"]) > LONGEST:
        raise TapeError(f"{path}: {len(tensors['motion'])} frames; at most a day ({LONGEST}) can be read")
    try:
        return Tape(tensors["motion"], tensors["pts"], json.loads(header.get("notes", "{}")))
    except (TapeError, ValueError) as error:
        raise TapeError(f"{path}: {error}") from error


def resample(times: NDArray[np.float64], rows: NDArray[np.float32], notes: Mapping[str, str]) -> Tape:
    """Rows (N, SIZE) at ``times`` in seconds, ascending, of any rate -> a tape at 25 Hz, interpolated linearly.

    Raises TapeError when there are no rows.
    """
    if not len(times):
        raise TapeError("there is no motion in it (0 frames)")
    times = times - times[0]
    count = min(math.floor(float(times[-1]) * FPS + 1e-6) + 1, LONGEST)
    grid = np.arange(count) / FPS
    right = np.clip(np.searchsorted(times, grid, side="right"), 1, max(len(times) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(times) - 1)
    span = np.maximum(times[right] - times[left], 1e-9)
    way = np.clip((grid - times[left]) / span, 0.0, 1.0).astype(np.float32)[:, None]
    mixed = rows[left] + (rows[right] - rows[left]) * way
    return Tape(mixed.astype(np.float32), np.arange(count, dtype=np.int64) * FRAME, notes)


def _header(notes: Mapping[str, str]) -> dict[str, str]:
    channels: list[dict[str, Any]] = []
    start = 0
    for channel in CHANNELS:
        size = int(np.prod(channel.shape))
        channels.append({"name": channel.name, "start": start, "shape": list(channel.shape), "unit": channel.unit,
                         "low": channel.low, "high": channel.high, "meaning": channel.meaning})  # fmt: skip
        start += size
    return {
        "format": FORMAT, "version": str(VERSION), "fps": str(FPS), "pts_rate": str(SAMPLE_RATE),
        "channels": json.dumps(channels), "actions": json.dumps(ACTIONS), "joints": json.dumps(JOINTS),
        "notes": json.dumps(dict(notes)),
    }  # fmt: skip


def _check(header: Mapping[str, str], path: Path) -> None:
    if header.get("format") != FORMAT:
        raise TapeError(f"{path}: not a motion file (a safetensors file of another kind)")
    if header.get("version") != str(VERSION):
        raise TapeError(f"{path}: motion format version {header.get('version')}, this is {VERSION}; update visavis")
    expected = _header({})
    for name in ("pts_rate", "actions", "joints"):
        if header.get(name) != expected[name]:
            raise TapeError(f'{path}: its "{name}" are not those of version {VERSION}')
