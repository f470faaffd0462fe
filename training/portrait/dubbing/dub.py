"""Dubber: pictures of a film in, the same pictures with another mouth out.

Three passes over a film, none of which keeps it: ``track.Follower`` looks at every picture; the few that show the
inside of the mouth best are kept (``wanted``, ``keep``); then each is painted (``step``). Sound, files and watermarks
are the caller's.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.portrait.dubbing import warp
from training.portrait.dubbing.edges import corrected, offsets, parted
from training.portrait.dubbing.inside import Inside, Piece, words
from training.portrait.dubbing.lips import Lips, off_teeth
from training.portrait.dubbing.track import Track, runs

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Array = NDArray[Any]

FADE: Final = 4  # pictures in which a found face takes to its new mouth, and a lost one leaves it
BACK: Final = 0.4e-3  # metres of lip that are left where they are, beside teeth
LOOKS: Final = 12  # pictures in which the eyes are looked at for how white drawn teeth are
SOFT: Final = 0.6  # pixels over which the lips' edge goes over into the mouth


class Dubber:
    """``faces`` (T, 52): facial actions of each of the track's pictures; those of the mouth are used."""

    def __init__(self, track: Track, faces: Array) -> None:
        self._track, self._faces = track, faces
        self._lips = Lips(track, faces)
        self._words = words(track, self._lips)
        self._ring = warp.ring(self._lips.resting)
        self._edges: tuple[list[float], list[float]] = ([], [])
        self._kept: dict[int, Piece] = {}
        self._inside: Inside | None = None
        self._strength = _strength(track.seen)
        seen = np.flatnonzero(track.seen)
        self._looks = frozenset(seen[:: max(len(seen) // LOOKS, 1)].tolist())

    @property
    def wanted(self) -> frozenset[int]:
        """The pictures that ``keep`` is to be given before the first ``step``."""
        return self._looks | {word.view for word in self._words if word.view >= 0}

    @property
    def openings(self) -> tuple[int, int]:
        """How often the mouth opens onto teeth that the film shows, and onto drawn ones."""
        own = sum(word.view >= 0 for word in self._words)
        return own, len(self._words) - own

    def keep(self, at: int, picture: U8) -> None:
        """Takes from picture ``at`` what others will need of it."""
        points = self._track.pixels[at]
        self._kept[at] = Piece.of(picture, points)
        axes, _ = self._track.poses.plane(at, 0.0)
        mouth = parted(picture, points, float(self._track.poses.scale[at]))
        if mouth is not None:
            for kept, new in zip(self._edges, offsets(mouth, points, -axes[:, 1]), strict=True):
                kept.extend(new)

    def _settle(self) -> Inside:
        """What lies between the lips, once everything is kept that is wanted."""
        missing = self.wanted - set(self._kept)
        if missing:
            raise ValueError(f"{len(missing)} wanted pictures were not kept, among them {min(missing)}")
        self._track = corrected(self._track, self._edges)
        self._lips = Lips(self._track, self._faces)
        inside = Inside(self._track, self._lips, self._words)
        for at, piece in self._kept.items():
            inside.keep(at, piece, at in self._looks)
        self._kept.clear()
        return inside

    def step(self, at: int, picture: U8) -> U8:
        """Picture ``at`` (H, W, 3) with its new mouth; the same array when there is nothing to change."""
        strength = float(self._strength[at])
        if strength <= 0.0:
            return picture
        if picture.shape[:2] != self._track.size:
            raise ValueError(f"picture {at} is {picture.shape[:2]}, the track's are {self._track.size}")
        self._inside = inside = self._inside or self._settle()
        mouth, poses = self._lips.step(at), self._track.poses
        scale = float(poses.scale[at])
        before = off_teeth(mouth.before, BACK * scale)
        moved = warp.warp(before, mouth.after, poses.project(at, self._ring), self._track.size)
        if moved is None:
            return picture
        (x, y), (height, width) = moved.corner, moved.moves.shape
        old = picture[y : y + height, x : x + width]
        source = _without_teeth(picture, mouth.before, scale)
        new = np.where(moved.moves[..., None], warp.look_up(source, moved.where, moved.moves), old)
        box = _box(moved.inside)
        if box is not None:
            rows, columns = box
            corner = (x + columns.start, y + rows.start)
            share = moved.inside[rows, columns]
            share = np.minimum(gaussian_filter(share, SOFT), np.sqrt(share))[..., None]
            behind = inside.paint(at, picture, mouth, corner, share.shape[:2])
            new[rows, columns] += share * (behind - new[rows, columns])
        changed = moved.moves | (moved.inside > 0)
        out = picture.copy()
        mixed = old + np.float32(strength) * (new - old)
        out[y : y + height, x : x + width] = np.where(
            changed[..., None], np.clip(np.rint(mixed), 0, 255).astype(np.uint8), old
        )
        return out


def _without_teeth(picture: U8, points: F64, scale: float) -> U8:
    """The picture with lip instead of what is seen between its lips; the same array when they are shut."""
    mouth = parted(picture, points, scale)
    if mouth is None:
        return picture
    out, (x, y) = picture.copy(), mouth.corner
    lips = np.rint(mouth.lips()).astype(np.uint8)
    out[y : y + lips.shape[0], x : x + lips.shape[1]] = lips
    return out


def _strength(seen: NDArray[np.bool_]) -> F32:
    """(T,) how far each picture is dubbed: 0 where no face is, in FADE pictures to 1; at once where the film begins or
    ends."""
    out = np.zeros(len(seen), np.float32)
    for first, last in runs(seen):
        place = np.arange(first, last)
        into = (place - first + 1) / (FADE + 1) if first > 0 else np.ones(len(place))
        away = (last - place) / (FADE + 1) if last < len(seen) else np.ones(len(place))
        out[first:last] = np.clip(np.minimum(into, away), 0.0, 1.0)
    return out


def _box(share: F32) -> tuple[slice, slice] | None:
    """Rows and columns of what is not 0, two pixels more; None when all of it is."""
    rows, columns = np.flatnonzero(share.any(1)), np.flatnonzero(share.any(0))
    if not len(rows):
        return None
    return slice(max(rows[0] - 2, 0), rows[-1] + 3), slice(max(columns[0] - 2, 0), columns[-1] + 3)
