"""What a lip-sync system says and when: rows of ``time,viseme[,open]``, kept as CSV, painted onto the 10 ms grid.

``time`` is the moment the value is at the output, in seconds of audio already heard, so that waiting shows. A value
holds until the next row; rows are painted in the order of the file. ``viseme`` is one of the 15 Oculus names, or a
mouth shape of Rhubarb (A-H, X); ``open`` is how far the mouth is open, in any unit, and may be left out.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.motion.lips import VISEMES

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

HOP_SECONDS: Final = 0.01

# What an onlooker tells apart: eight classes (the finest that Rhubarb's shapes allow), and six of them.
CLASSES_8: Final = ("sil", "closed", "teeth", "narrow", "mid", "open", "round", "pucker")
CLASSES_6: Final = ("sil", "closed", "teeth", "narrow", "open", "round")
_EIGHT: Final = {
    "sil": "sil", "PP": "closed", "FF": "teeth", "E": "mid", "aa": "open", "RR": "round", "O": "round", "U": "pucker",
}  # fmt: skip
TO_8: Final = np.array([CLASSES_8.index(_EIGHT.get(name, "narrow")) for name in VISEMES])
EIGHT_TO_6: Final = np.array([CLASSES_6.index({"mid": "open", "pucker": "round"}.get(c, c)) for c in CLASSES_8])

# Mouth shapes of Rhubarb Lip Sync, after the description in its README.
SHAPES: Final = {
    "X": "sil", "A": "closed", "B": "narrow", "C": "mid", "D": "open", "E": "round", "F": "pucker", "G": "teeth",
    "H": "narrow",
}  # fmt: skip
# How far the mouth is open when a system does not say: by viseme, and by class of eight.
OPEN: Final = np.array([0, 0, 0.15, 0.3, 0.3, 0.35, 0.3, 0.2, 0.3, 0.35, 1, 0.6, 0.4, 0.7, 0.35], np.float32)
OPEN_8: Final = np.array([0, 0, 0.15, 0.3, 0.6, 1, 0.5, 0.35], np.float32)


class Cue(NamedTuple):
    """From ``time`` seconds on the system says ``viseme``, with the mouth ``open`` that far (None: not said)."""

    time: float
    viseme: str
    open: float | None = None


class Track(NamedTuple):
    """One prompt on the 10 ms grid, (hops,) each: index in VISEMES (-1 where only a coarser shape is known), index in
    CLASSES_8, and opening."""

    said: Labels
    eight: Labels
    opening: Array

    def __len__(self) -> int:
        return self.said.size


def of_visemes(said: Labels, opening: Array | None = None) -> Track:
    """The track of visemes (hops,) already on the grid; without ``opening`` it is that of each viseme."""
    return Track(said, TO_8[said], OPEN[said] if opening is None else np.asarray(opening, np.float32))


def has_shapes(tracks: Iterable[Sequence[Cue]]) -> bool:
    """Whether a system speaks in Rhubarb's shapes. "E" is a name in both alphabets, so all its cues decide together.

    Raises ValueError for a name in neither alphabet, or for a mixture.
    """
    names = {cue.viseme for cues in tracks for cue in cues}
    if names <= set(VISEMES):
        return False
    if names <= set(SHAPES):
        return True
    raise ValueError(f"unknown or mixed viseme names {sorted(names - set(VISEMES))}")


def paint_cues(cues: Sequence[Cue], hops: int, shapes: bool = False) -> Track:
    """``cues`` on the grid: a hop shows the last row whose time is not after its centre; silence before the first."""
    said = np.full(hops, -1 if shapes else 0, np.int64)
    eight, opening = np.zeros(hops, np.int64), np.zeros(hops, np.float32)
    for cue in cues:
        first = max(0, int(np.ceil(cue.time / HOP_SECONDS - 0.5 - 1e-9)))
        if shapes:
            kind = CLASSES_8.index(SHAPES[cue.viseme])
            usual = OPEN_8[kind]
        else:
            said[first:] = VISEMES.index(cue.viseme)
            kind = int(TO_8[VISEMES.index(cue.viseme)])
            usual = OPEN[VISEMES.index(cue.viseme)]
        eight[first:] = kind
        opening[first:] = usual if cue.open is None else cue.open
    return Track(said, eight, opening)


def read_cues(path: Path) -> list[Cue]:
    """The rows of a CSV. Raises ValueError, naming file and line, for anything that is not a row of cues."""
    with open(path, newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if not {"time", "viseme"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path}: expected the columns time,viseme[,open], got {reader.fieldnames}")
        cues = []
        for row in reader:
            try:
                time, opening = float(row["time"]), float(row["open"]) if row.get("open") else None
                if not np.isfinite(time) or (opening is not None and not np.isfinite(opening)):
                    raise ValueError("not a finite number")
                cues.append(Cue(time, row["viseme"].removeprefix("viseme_"), opening))
            except (TypeError, ValueError, AttributeError) as error:
                raise ValueError(f"{path}:{reader.line_num}: not a row of cues: {error}") from None
    return cues


def write_cues(path: Path, cues: Sequence[Cue]) -> None:
    """Writes ``cues`` as CSV, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(partial, "w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["time", "viseme", "open"])
        rows.writerows([f"{c.time:.4f}", c.viseme, "" if c.open is None else f"{c.open:.4f}"] for c in cues)
    os.replace(partial, path)
