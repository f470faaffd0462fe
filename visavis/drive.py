"""Motion from a video or a camera: every picture's face is found, then all of them are turned into one motion tape."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME_SECONDS
from engine.motion.frame import Motion
from engine.motion.tape import Tape, resample
from engine.tracking.face import Face, FaceFinder
from engine.tracking.solve import Solver

U8 = NDArray[np.uint8]

LARGEST: Final = 640  # pixels of the longer side that a face is looked for in
HOLD: Final = 0.4  # seconds that a face which is lost keeps what it did
FADE: Final = 0.5  # seconds in which it then goes to rest
FEWEST: Final = 5  # pictures with a face


class DriveError(ValueError):
    """A video that no motion can be taken from; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One picture: when it is shown, in seconds from the sound's beginning, its size (H, W), and the face in it."""

    time: float
    size: tuple[int, int]
    face: Face | None


def pictures(path: Path, max_seconds: float) -> Iterator[tuple[float, U8]]:
    """(seconds from the sound's beginning, (H, W, 3) RGB) of each picture of a video file, turned as it is shown.

    Raises DriveError for a file without pictures, a broken one, or one that is longer than ``max_seconds``.
    """
    if not path.is_file():
        raise DriveError(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DriveError(f"{path}: there is no picture in it; give a video with a face")
            begin = _beginning(container)
            for frame in container.decode(video=0):
                time = float(frame.time or 0.0) - begin
                if time > max_seconds:
                    raise DriveError(
                        f"{path}: longer than {max_seconds / 60:.0f} minutes; cut it, or raise --max-minutes"
                    )
                yield time, _rgb(frame)
    except (av.FFmpegError, OSError) as error:
        raise DriveError(f"{path}: not a video that can be read ({error})") from error


def camera(number: int, seconds: float) -> Iterator[tuple[float, U8]]:
    """The same from camera ``number`` of this machine, for so many seconds."""
    kind, name = {
        "darwin": ("avfoundation", str(number)), "win32": ("dshow", f"video={number}"),
    }.get(sys.platform, ("v4l2", f"/dev/video{number}"))  # fmt: skip
    try:
        with av.open(name, format=kind) as container:
            begin: float | None = None
            for frame in container.decode(video=0):
                begin = float(frame.time or 0.0) if begin is None else begin
                if float(frame.time or 0.0) - begin > seconds:
                    return
                yield float(frame.time or 0.0) - begin, _rgb(frame)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DriveError(f"camera {number} cannot be used ({error}); plug one in, or close what holds it") from error


def look(source: Iterator[tuple[float, U8]]) -> Iterator[Sight]:
    """The face in each picture."""
    finder = FaceFinder()
    for time, picture in source:
        yield Sight(time, picture.shape[:2], finder.step(picture))


def motion_of(sights: Sequence[Sight], notes: dict[str, str] | None = None) -> Tape:
    """A tape at 25 Hz of what the face does, beginning with the sound; calibrated on the whole of it.

    Raises DriveError when there are too few faces.
    """
    faces = [sight.face for sight in sights if sight.face is not None]
    if len(faces) < FEWEST:
        raise DriveError(
            f"a face was found in {len(faces)} of {len(sights)} pictures; it should look toward the camera, well lit, "
            "and fill a fifth of the picture or more"
        )
    solver, size = Solver(), sights[0].size
    solver.calibrate(faces[:: max(len(faces) // 600, 1)], size)
    rest, last, seen = Motion.rest().pack(), Motion.rest().pack(), -10.0
    times, rows = [0.0], []
    for sight in sights:
        if sight.face is not None:
            last, seen = solver.step(sight.face, sight.size, sight.time).pack(), sight.time
        lost = min(max((sight.time - seen - HOLD) / FADE, 0.0), 1.0)
        times.append(sight.time - 0.5 * FRAME_SECONDS)  # a frame's motion is that of its middle
        rows.append(last + (rest - last) * np.float32(lost))
    rows.insert(0, rows[0])
    at, kept = np.array(times), np.stack(rows)
    order = np.concatenate([[0], 1 + np.flatnonzero(at[1:] > 0.0)])
    order = order[np.concatenate([[True], np.diff(np.maximum.accumulate(at[order])) > 0])]
    return resample(at[order], kept[order], notes or {})


def _beginning(container: av.container.InputContainer) -> float:
    """When the sound begins, or without sound the picture, on the container's clock."""
    stream = (container.streams.audio or container.streams.video)[0]
    return 0.0 if stream.start_time is None or stream.time_base is None else float(stream.start_time * stream.time_base)


def _rgb(frame: av.VideoFrame) -> U8:
    scale = min(LARGEST / max(frame.width, frame.height), 1.0)
    width, height = max(round(frame.width * scale), 2), max(round(frame.height * scale), 2)
    picture: U8 = np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # phones film upright and say so in the margin
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
