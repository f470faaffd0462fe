"""Where every landmark of a filmed face goes when its mouth says something else.

Lips and chin are placed anew: the person's own resting face, moved by the new actions as the landmark basis has it, in
the pose that the head has in the picture. Around them the face follows less and less; eyes and brow stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import nnls

from engine.clock import FPS
from engine.motion.blend import MOUTH
from engine.motion.frame import ACTION_INDEX, ACTIONS, Motion
from engine.motion.lips import lip_gap
from engine.motion.tape import Tape, resample
from engine.tracking.solve import BASIS
from training.portrait.dubbing.track import Track

F64 = NDArray[np.float64]
Array = NDArray[Any]

# The inner edge of the lips: upper and lower one from the right corner to the left, corners in both.
UPPER: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
STILL, FREE = 2.5e-3, 9e-3  # metres: landmarks that no mouth moves farther stay, and from here on they are placed anew
MET, APART = 0.2, 1.4  # millimetres of gap at which lips are shut, and from which on they are as open as they say
SHUT: Final = 1.2e-3  # metres between the lips of a resting mouth that count as shut
OPENERS: Final = (
    "jawOpen", "mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthFunnel",
)  # fmt: skip
RIDGE: Final = 2e-3  # metres: what an opener costs
MOODS: Final = tuple(
    ACTION_INDEX[name + side] for name in ("mouthSmile", "mouthFrown") for side in ("Left", "Right")
)  # the part of an expression that stays while speaking
SLOW: Final = 0.8  # seconds: a smile lasts, the spread lips of a vowel do not


@dataclass(frozen=True)
class Mouth:
    """One picture's mouth: before, after (468, 2) pixels of all landmarks; gap in millimetres between the new lips;
    old_gap between those in the picture; jaw, old_jaw (2,) metres that the chin is off its resting place, in the face's
    frame (x right, y up)."""

    before: F64
    after: F64
    gap: float
    old_gap: float
    jaw: F64
    old_jaw: F64


class Lips:
    """The mouth of one track. ``faces`` (T, 52): actions of each picture, of which those of the mouth are used."""

    def __init__(self, track: Track, faces: Array) -> None:
        if faces.shape != (len(track), len(ACTIONS)):
            raise ValueError(f"faces must be {(len(track), len(ACTIONS))}, got {faces.shape}")
        self._track, self._faces = track, faces
        self.resting = closed(track.neutral)
        self._share = placed()[:, None]

    def gap(self, at: int) -> float:
        """Millimetres between the lips that picture ``at`` is to have; 0 when they meet."""
        return max(float(lip_gap(self._faces[at])), 0.0)

    def shown(self, at: int) -> tuple[float, float]:
        """Millimetres between the lips, and between the mouth's corners, that picture ``at`` of the film shows."""
        points = self._track.neutral + self._track.moved[at]
        return 1e3 * float(_gaps(points)[5]), 1e3 * float(np.linalg.norm(points[308] - points[78]))

    def width(self, at: int) -> float:
        """Millimetres between the mouth's corners that picture ``at`` is to have."""
        points = self._aim(at)
        return 1e3 * float(np.linalg.norm(points[308] - points[78]))

    def step(self, at: int) -> Mouth:
        """The mouth of picture ``at``, in which the face must have been seen."""
        aim, before = self._aim(at), self._track.pixels[at]
        after = before + self._share * (self._track.poses.project(at, aim) - before)
        now = self._track.neutral + self._track.moved[at]
        rest = self.resting + self._track.drift[at]
        chin = [152, 175, 199, 200]
        jaw, old = ((points[chin, :2] - rest[chin, :2]).mean(0) for points in (aim, now))
        return Mouth(before, after, self.gap(at), self.shown(at)[0], jaw, old)

    def _aim(self, at: int) -> F64:
        """(468, 3) metres in the face's frame."""
        face = np.where(MOUTH, self._faces[at], 0.0)
        points = self.resting + self._track.drift[at] + np.tensordot(face, deltas(), 1)
        return meeting(points, self.gap(at))


def meeting(points: F64, gap: float) -> F64:
    """``points`` (468, 3) with lips that never cross, and that meet all along when ``gap`` millimetres say so."""
    out = points.copy()
    upper, lower = out[list(UPPER)], out[list(LOWER)]
    apart = np.clip((gap - MET) / (APART - MET), 0.0, 1.0)
    apart = apart * apart * (3 - 2 * apart)
    middle, half = 0.5 * (upper + lower), 0.5 * (upper - lower)
    half[:, 1] = np.maximum(half[:, 1], 0.0) * apart
    half[:, 2] *= apart
    out[list(UPPER)], out[list(LOWER)] = middle + half, middle - half
    return out


def off_teeth(points: F64, most: float) -> F64:
    """Landmarks (468, 2) in pixels with the inner edge of the lips drawn back into them, by ``most`` pixels where the
    mouth is open: what shines beside a lip is not to be taken along with it."""
    out = points.copy()
    upper, lower = points[list(UPPER[1:-1])], points[list(LOWER[1:-1])]
    apart = upper - lower
    length = np.linalg.norm(apart, axis=1, keepdims=True)
    back = apart / np.maximum(length, 1e-6) * np.minimum(most, 0.35 * length)
    out[list(UPPER[1:-1])], out[list(LOWER[1:-1])] = upper + back, lower - back
    return out


def closed(neutral: F64) -> F64:
    """A resting face (468, 3) with its lips shut: people are also filmed with a smile that shows teeth."""
    gaps = _gaps(neutral)
    out = neutral
    if gaps[5] > SHUT:
        columns = np.stack([_gaps(deltas()[ACTION_INDEX[name]]) for name in OPENERS], axis=1)
        rows = np.concatenate([columns, RIDGE * np.eye(len(OPENERS))])
        weights, _ = nnls(rows, np.concatenate([np.maximum(gaps, 0.0), np.zeros(len(OPENERS))]))
        out = neutral - np.tensordot(weights, deltas()[[ACTION_INDEX[name] for name in OPENERS]], 1)
    return meeting(out, 0.0)


def mood(track: Track, times: F64) -> Tape:
    """The film's own smile or frown at 25 Hz, as motion that a voice can speak over. times (T,) in seconds."""
    rows = np.tile(Motion.rest().pack(), (len(track), 1))
    seen = np.flatnonzero(track.seen)
    every = float(np.median(np.diff(times))) if len(times) > 1 else 1.0 / FPS
    for action in MOODS:
        values = np.interp(np.arange(len(track)), seen, track.solved[seen, action])
        rows[:, action] = gaussian_filter1d(values, SLOW / every, mode="nearest")
    return resample(times, rows.astype(np.float32), {})


def at_times(faces: Array, times: F64) -> Array:
    """(T, 52) actions of pictures shown from ``times`` seconds on, of frames (N, 52) at 25 Hz: middle to middle; beyond
    the end the last one. Rather the nearer of two frames than their mean: a closure may last for one of them alone."""
    every = float(np.median(np.diff(times))) if len(times) > 1 else 1.0 / FPS
    place = np.clip((times + 0.5 * every) * FPS - 0.5, 0.0, len(faces) - 1.0)
    low = np.minimum(place.astype(int), max(len(faces) - 2, 0))
    part = np.clip((place - low - 0.3) / 0.4, 0.0, 1.0)[:, None].astype(np.float32)
    high = np.minimum(low + 1, len(faces) - 1)
    return np.asarray(faces[low] * (1 - part) + faces[high] * part)


@cache
def deltas() -> F64:
    """(52, 468, 3) metres that each action moves each landmark."""
    return np.asarray(load_file(BASIS)["deltas"].astype(np.float64))


@cache
def placed() -> F64:
    """(468,) how far a landmark is the mouth's: 0 stays, 1 is placed anew."""
    reach = np.linalg.norm(deltas()[MOUTH], axis=2).max(0)
    share = np.clip((reach - STILL) / (FREE - STILL), 0.0, 1.0)
    return np.asarray(share * share * (3 - 2 * share))


def _gaps(points: F64) -> F64:
    """(11,) metres between upper and lower lip along the mouth."""
    return np.asarray(points[list(UPPER), 1] - points[list(LOWER), 1])
