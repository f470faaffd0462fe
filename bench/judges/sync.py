"""Are lips and voice together in this video? python -m bench.judges.sync FILE [FILE ...]

Any video with a face and a voice, rendered or filmed: a face finder that knows nothing of us says where the mouth is
(by eyes, nose and temples, which do not speak), and the lip-sync expert what it sees and hears.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy import ndimage

from engine.audio.resample import Decimator
from engine.clock import FPS, FRAME, VOICE_FRAME
from engine.tracking.face import EYES, Crop, Face, FaceFinder
from training.lipsync_data import crop, log_mel
from training.lipsync_expert import Expert, Sync, judge, load_expert
from visavis import drive, sound

U8 = NDArray[np.uint8]
LONGEST: Final = 120.0  # seconds that are looked at
CALM: Final = 5  # frames over which the place of the mouth is averaged
FEWEST: Final = 20  # frames with a face
# Where the mouth's middle is: from the eyes' middle, so much of the way to under the nose and from between the temples;
# and the crop's side over the distance of the eyes' outer corners. Fitted to MouthFinder on four avatars from -40 to 40
# degrees, mouths shut and open: within 5 % of the side.
DOWN, FORTH, WIDE = 1.487, -0.437, 1.246
NOSE, TEMPLES = 2, (234, 454)  # of MediaPipe's mesh


class Verdict(NamedTuple):
    """What the expert says, of how many frames in which a face was found, and of how many in all."""

    sync: Sync
    frames: int
    total: int


def judged(path: Path, expert: Expert) -> Verdict:
    """The verdict on a video. Raises ValueError when it has no face, no voice, or cannot be read."""
    pcm = voice(path)
    finder, times, found = FaceFinder(), list[int](), list[Crop]()
    total = 0
    for number, picture in _frames(path):
        total += 1
        face = finder.step(picture)
        if face is not None:
            times.append(number)
            found.append(mouth(face))
    first, last = _longest(times)
    if last - first < FEWEST:
        raise ValueError(f"{path}: a face is seen in {last - first} frames in a row, {FEWEST} are needed")
    rows = np.array([[p.x, p.y, p.side] for p in found[first:last]])
    calm = [Crop(x, y, side, 0.0) for x, y, side in ndimage.uniform_filter1d(rows, CALM, axis=0).tolist()]
    place = dict(zip(times[first:last], calm, strict=True))
    crops = [crop(picture, place[number]) for number, picture in _frames(path) if number in place]
    mel = log_mel(pcm)[times[first] : times[last - 1] + 1]
    count = min(len(mel), len(crops))
    return Verdict(judge(expert, np.stack(crops[:count]), mel[:count].astype(np.float32)), count, total)


def mouth(face: Face) -> Crop:
    """The square around the mouth, as MouthFinder would place it."""
    points = face.points
    eyes, temples = points[list(EYES), :2].mean(0), points[list(TEMPLES), :2].mean(0)
    x, y = eyes + DOWN * (points[NOSE, :2] - eyes) + FORTH * (eyes - temples)
    return Crop(float(x), float(y), float(WIDE * np.linalg.norm(points[EYES[0]] - points[EYES[1]])), 0.0)


def voice(path: Path) -> NDArray[np.int16]:
    """The sound of a file as the engine hears it, (T, 640) at 16 kHz. Raises ValueError when there is none."""
    loud = np.concatenate(list(sound.read_voice(path, max_seconds=LONGEST)))
    frames = len(loud) // VOICE_FRAME
    decimator = Decimator()
    heard, _ = decimator.step(loud[None, : frames * VOICE_FRAME], decimator.initial_state())
    return np.clip(np.rint(heard[0] * 32767), -32768, 32767).astype(np.int16).reshape(-1, FRAME)


def _frames(path: Path) -> Iterator[tuple[int, U8]]:
    """The pictures of a video on the engine's grid of 25 a second."""
    last = -1
    for time, picture in drive.pictures(path, LONGEST):
        number = round(time * FPS)
        if number > last:
            yield number, picture
            last = number


def _longest(times: list[int]) -> tuple[int, int]:
    """(first, last + 1) of the longest run of consecutive numbers."""
    edges = [0, *(np.flatnonzero(np.diff(times) != 1) + 1).tolist(), len(times)]
    return max(zip(edges[:-1], edges[1:], strict=True), key=lambda pair: pair[1] - pair[0], default=(0, 0))


def main() -> None:
    """Command line: a table of verdicts."""
    out, expert = Console(), load_expert()
    table = Table("file", "lips late by ms", "confidence", "fit", "frames")
    for name in sys.argv[1:]:
        sync, frames, total = judged(Path(name), expert)
        table.add_row(
            name, f"{sync.offset_ms:.0f}", f"{sync.confidence:.3f}", f"{sync.fit:.3f}", f"{frames} of {total}"
        )
    out.print(table)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m bench.judges.sync FILE [FILE ...]")
    try:
        main()
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"[red]{escape(str(error))}", highlight=False)
        sys.exit(2)
