"""Looking for the watermark in a file: a video, a picture, or a folder of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from engine.clock import FPS
from engine.watermark import Detector, Verdict

U8 = NDArray[np.uint8]

PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FIRST_LOOK: Final = 5 * FPS  # pictures; then after twice as many each time
LOOKS: Final = 16  # so often at most: 45 hours


class WatermarkError(ValueError):
    """A file in which nothing can be looked for; the message says why and what to do."""


def detect(path: Path, key: str, seen: Callable[[int], None] | None = None) -> tuple[Verdict, int]:
    """What is found in ``path``, and in how many pictures; stops as soon as it is sure. ``seen`` hears how many there
    were so far. Raises WatermarkError for what cannot be read, or holds no picture."""
    detector: Detector | None = None
    look = FIRST_LOOK
    for luma in pictures(path):
        if detector is None:
            detector = Detector(*luma.shape)
        detector.step(luma)
        if seen is not None:
            seen(detector.frames)
        if detector.frames == look:
            look *= 2
            verdict = detector.decide(key, LOOKS)
            if verdict.found:
                return verdict, detector.frames
    if detector is None:
        raise WatermarkError(f"{path}: there is no picture in it; give a video, a picture or a folder of pictures")
    return detector.decide(key, LOOKS), detector.frames


def length(path: Path) -> int | None:
    """About how many pictures there are; None when nobody knows."""
    if path.is_dir():
        return len(_listed(path))
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.frames:
                return stream.frames
            if container.duration is not None and stream.average_rate is not None:
                return round(container.duration / av.time_base * stream.average_rate)
    except (av.FFmpegError, OSError, IndexError):
        pass
    return None


def pictures(path: Path) -> Iterator[U8]:
    """Luma (H,W) of each picture, all scaled to the size that the first one asks for. A video that breaks off
    is read up to there. Raises WatermarkError when not one picture can be read."""
    if not path.exists():
        raise WatermarkError(f"{path}: no such file")
    files, size, count = _listed(path) if path.is_dir() else [path], None, 0
    for file in files:
        try:
            with av.open(str(file)) as container:
                if not container.streams.video:
                    raise WatermarkError(f"{file}: there is sound in it, but no picture")
                for frame in container.decode(video=0):
                    height, width = size = size or Detector.size_for(frame.height, frame.width)
                    scaled = frame.reformat(width=width, height=height, format="yuv420p", interpolation="BICUBIC")
                    yield np.ascontiguousarray(scaled.to_ndarray()[:height])
                    count += 1
        except (av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, WatermarkError):
                raise
            if count and not path.is_dir():
                return
            raise WatermarkError(f"{file}: not a video or picture that can be read ({error})") from error


def _listed(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
    if not found:
        raise WatermarkError(f"{folder}: no picture in this folder; it should hold files that end in {PICTURES}")
    return found
