"""One face through a film: landmarks of every picture in the face's own frame, and how the head is held, steadied.

A film is known as a whole, so what steadies it looks both ways in time and lags behind nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file
from scipy.signal import savgol_filter

from engine.motion.frame import K
from engine.tracking.face import MESH, Crop, Face, FaceFinder
from engine.tracking.solve import BASIS, Solver, turned
from training.portrait.face import everybody, mirror

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Array = NDArray[Any]

VIEW: Final = 384  # pixels a side of what the landmarks are read from
ROOM: Final = 2.2  # its side in the film over that of the landmarks' box
STRAY: Final = 1.2  # of the face's size: who appears farther from where the face was lost is somebody else
AGAIN: Final = 5  # pictures between two searches for a lost face
SMALLEST: Final = 24.0  # pixels between the outer eye corners
FEWEST: Final = 5  # pictures with a face
CALIBRATION: Final = 400  # faces that the resting one is looked for in, at most
AWAY: Final = math.radians(60.0)  # of the head's turn: from there on landmarks are guesses, and nothing is dubbed
WINDOW: Final = 7  # pictures over which the head's pose is a parabola
CHOICES: Final = ("largest", "left", "right")
EYES: Final = (33, 263)


class TrackError(ValueError):
    """A film in which nobody can be followed; the message says why and what to do."""


class Follower:
    """Finds the same face in one picture after the other. ``choice`` says whom, where several are seen at first."""

    def __init__(self, choice: str = "largest") -> None:
        if choice not in CHOICES:
            raise TrackError(f"--face is one of {', '.join(CHOICES)}; got {choice!r}")
        self._choice, self._finders = choice, (FaceFinder(), FaceFinder())
        self._box: Crop | None = None  # where it was last seen
        self._lost = 0  # pictures since
        self.others = 0  # most other faces seen at once

    def step(self, picture: U8) -> Face | None:
        """The face in an (H, W, 3) RGB picture, in its pixels; None when it is not there."""
        if self._box is None or self._lost:
            if self._lost % AGAIN == 0 and (found := self._search(picture)) is not None:
                self._box, self._lost = found, 0
                self._finders = (FaceFinder(), FaceFinder())
            else:
                self._lost += 1
                return None
        assert self._box is not None
        face = self._look(picture, self._box)
        if face is None or _apart(face.points) < SMALLEST:
            self._lost += 1
            return None
        self._box, self._lost = _around(face.points), 0
        return face

    def _search(self, picture: U8) -> Crop | None:
        boxes = everybody(picture)
        self.others = max(self.others, sum(box.side > 0.4 * boxes[0].side for box in boxes) - 1 if boxes else 0)
        if self._box is not None:
            last = self._box
            near = [
                b for b in boxes if math.hypot(b.x - last.x, b.y - last.y) < STRAY * last.side * (1 + self._lost / 50)
            ]
            return min(near, key=lambda b: math.hypot(b.x - last.x, b.y - last.y), default=None)
        large = [box for box in boxes if box.side > 0.4 * boxes[0].side]
        if self._choice == "left":
            return min(large, key=lambda b: b.x, default=None)
        if self._choice == "right":
            return max(large, key=lambda b: b.x, default=None)
        return large[0] if large else None

    def _look(self, picture: U8, box: Crop) -> Face | None:
        """Landmarks as the mean of what is seen and what is seen in a mirror, which halves the detector's noise."""
        side = ROOM * box.side
        corner = np.array([box.x - 0.5 * side, box.y - 0.5 * side])
        scale = side / VIEW
        view = _view(picture, corner, side)
        plain = self._finders[0].step(view)
        other = self._finders[1].step(np.ascontiguousarray(view[:, ::-1]))
        if plain is None:
            return None
        points = plain.points.astype(np.float64)
        if other is not None:
            back = other.points[mirror()].astype(np.float64)
            back[:, 0] = VIEW - back[:, 0]
            if np.abs(back[:, :2] - points[:, :2]).mean() < 0.1 * _apart(points):
                points = 0.5 * (points + back)
        points[:, :2] = points[:, :2] * scale + corner
        points[:, 2] *= scale
        return Face(points.astype(np.float32), plain.score)


@dataclass(frozen=True)
class Poses:
    """How the head is held in each of T pictures: turn (T, 3, 3) face to camera (x right, y up, z toward it), scale
    (T,) pixels a metre, shift (T, 2) pixels where the face's origin is seen, y down."""

    turn: F64
    scale: F64
    shift: F64

    def project(self, at: int, points: F64) -> F64:
        """Pixels (n, 2) of points (n, 3) of the face in picture ``at``."""
        seen = self.scale[at] * (points @ self.turn[at].T)[:, :2] * [1.0, -1.0]
        return np.asarray(seen + self.shift[at])

    def plane(self, at: int, depth: float) -> tuple[F64, F64]:
        """(2, 2) and (2,): pixels of (x, y, depth) of the face are the one times (x, y) plus the other."""
        axes = self.scale[at] * self.turn[at][:2] * [[1.0], [-1.0]]
        return axes[:, :2], self.shift[at] + axes[:, 2] * depth


@dataclass(frozen=True)
class Track:
    """A face through T pictures of ``size`` (H, W). seen (T,): whether it was found, and not in profile;
    pixels (T, 468, 2) as detected; moved (T, 468, 3) metres that each landmark is off the person's neutral face, in the
    face's frame; neutral (468, 3); drift (T, 468, 3) metres: what a turned head alone changes in what the detector sees
    of a still face; poses; solved (T, 52): facial actions as far as landmarks tell them; others: how many other faces
    were seen at once."""

    size: tuple[int, int]
    seen: NDArray[np.bool_]
    pixels: F32
    moved: F32
    neutral: F64
    drift: F32
    poses: Poses
    solved: F64
    others: int

    def __len__(self) -> int:
        return len(self.seen)


def track(faces: Sequence[Face | None], size: tuple[int, int], others: int = 0) -> Track:
    """The track of the faces of all pictures, None where there was none. Raises TrackError when there are too few."""
    seen = np.array([face is not None for face in faces], bool)
    found = [face for face in faces if face is not None]
    if len(found) < FEWEST:
        raise TrackError(
            f"a face was found in {len(found)} of {len(faces)} pictures; it should look toward the camera, well lit, "
            "and its eyes be at least as far apart as 24 pixels"
        )
    solver = Solver()
    solver.calibrate(found[:: math.ceil(len(found) / CALIBRATION)], size)
    count = len(faces)
    pixels, moved, drift = (np.zeros((count, MESH, axes), np.float32) for axes in (2, 3, 3))
    turn, scale, shift = np.tile(np.eye(3), (count, 1, 1)), np.ones(count), np.zeros((count, 2))
    solved = np.zeros((count, K))
    height, width = size
    for at in np.flatnonzero(seen).tolist():
        face = faces[at]
        assert face is not None
        now = solver.measure(face, size)
        if abs(math.atan2(now.rotation[0, 2], now.rotation[2, 2])) > AWAY:
            seen[at] = False
            continue
        pixels[at], turn[at], scale[at] = face.points[:MESH, :2], now.rotation, 1e3 / now.place[2]
        shift[at] = now.place[0] * scale[at] + 0.5 * width, 0.5 * height - now.place[1] * scale[at]
        drift[at] = 1e-3 * np.tensordot(turned(solver.turn(now)), _drift(), 1)
        moved[at] = now.points - solver.neutral.points
        solved[at] = solver.step(face, size, float(at) * 1e3).face  # so far apart in time that nothing is smoothed
    if seen.sum() < FEWEST:
        raise TrackError(
            f"the face looks aside in all but {int(seen.sum())} pictures; it should be seen from the front"
        )
    raw = Poses(turn, scale, shift)
    return Track(size, seen, pixels, moved, solver.neutral.points, drift, _steadied(raw, seen), solved, others)


@cache
def _drift() -> F64:
    return np.asarray(load_file(BASIS)["turn"].astype(np.float64))


def _steadied(poses: Poses, seen: NDArray[np.bool_]) -> Poses:
    """Within each run of pictures that show the face, every part of a pose as a parabola over WINDOW pictures."""
    turn, scale, shift = poses.turn.copy(), poses.scale.copy(), poses.shift.copy()
    for first, last in runs(seen):
        if last - first < 3:
            continue
        part = slice(first, last)
        shift[part] = _smooth(shift[part])
        scale[part] = np.exp(_smooth(np.log(scale[part])[:, None])[:, 0])
        u, _, vt = np.linalg.svd(_smooth(turn[part].reshape(-1, 9)).reshape(-1, 3, 3))
        turn[part] = u @ vt
    return replace(poses, turn=turn, scale=scale, shift=shift)


def _smooth(rows: F64) -> F64:
    window = min(WINDOW, len(rows) - (1 - len(rows) % 2))
    return np.asarray(savgol_filter(rows, window, min(2, window - 1), axis=0, mode="interp"))


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, last + 1) of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _view(picture: U8, corner: F64, side: float) -> U8:
    """(VIEW, VIEW, 3): a square of the picture, averaged down or enlarged; black beside the picture."""
    height, width = picture.shape[:2]
    low = np.floor(corner).astype(int)
    high = np.ceil(corner + side).astype(int)
    inside = [max(low[1], 0), min(high[1], height), max(low[0], 0), min(high[0], width)]
    patch = np.zeros((high[1] - low[1], high[0] - low[0], 3), np.uint8)
    if inside[0] < inside[1] and inside[2] < inside[3]:
        patch[inside[0] - low[1] : inside[1] - low[1], inside[2] - low[0] : inside[3] - low[0]] = picture[
            inside[0] : inside[1], inside[2] : inside[3]
        ]
    begin = corner - low
    box = (float(begin[0]), float(begin[1]), float(begin[0] + side), float(begin[1] + side))
    return np.asarray(Image.fromarray(patch).resize((VIEW, VIEW), Image.Resampling.BILINEAR, box=box))


def _around(points: Array) -> Crop:
    high, low = points[:MESH, :2].max(0), points[:MESH, :2].min(0)
    middle = 0.5 * (high + low)
    return Crop(float(middle[0]), float(middle[1]), float((high - low).max()), 0.0)


def _apart(points: Array) -> float:
    return float(np.linalg.norm(points[EYES[0], :2] - points[EYES[1], :2]))
