"""Judges of a performance (T, 96 at 25 Hz): is it diverse, on the beat, alive and calm? Numbers only, no network.

Diversity as ProbTalk3D (Wu et al. 2024): the mean distance between takes of one voice. Beats as AIST++ (Li et al.
2021): how near the peaks of motion are to what should cause them, here stressed vowels, against the same vowels at
wrong times.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clock import FPS
from engine.motion.frame import ACTION_INDEX, JOINT_INDEX
from engine.motion.performance import FACE_AT, GAZE_AT, HEAD_AT, JOINTS_AT

Array = NDArray[Any]

BEAT_WIDTH: Final = 0.10  # seconds, of the kernel that says how near is near (AIST++ uses three frames of 60 Hz)
BEAT_LAGS: Final = np.arange(-5, 9) / FPS  # seconds motion may come later than its vowel; the control may choose too
SHUFFLES: Final = 500
SHUT: Final = 0.6  # eyeBlink of a blink
ARMS: Final = tuple(
    JOINTS_AT.start + 3 * JOINT_INDEX[f"{joint}_{side}"] + axis
    for joint in ("shoulder", "elbow") for side in "lr" for axis in range(3)
)  # fmt: skip
FROZEN: Final = 2.0  # seconds without any change worth the name
PARTS: Final = {"face": FACE_AT, "gaze": GAZE_AT, "head": slice(HEAD_AT.start, HEAD_AT.start + 3), "joints": JOINTS_AT}


def diversity(takes: Array) -> dict[str, float]:
    """Mean distance a frame between takes (S, T, 96) of one voice by other seeds: root mean square a channel, for
    face (weight), gaze, head and joints (rad). Raises ValueError for fewer than two takes.
    """
    if takes.ndim != 3 or len(takes) < 2:
        raise ValueError(f"diversity compares two or more takes (S, T, 96), got {takes.shape}")
    rows: dict[str, float] = {}
    for name, part in PARTS.items():
        pairs = [np.sqrt(np.square(a - b).mean(1)).mean() for a, b in combinations(takes[..., part], 2)]
        rows[name] = float(np.mean(pairs))
    return rows


class Beat(NamedTuple):
    """score in [0, 1] at the best lag, what shuffled stresses get (mean), the share of shuffles that do as well, and
    the lag in ms by which the motion follows the vowel."""

    score: float
    control: float
    p_value: float
    lag_ms: float


def speed(performance: Array, part: str) -> Array:
    """(T,) how fast the head or the arms move, rad/s, smoothed over three frames. ``part``: "head" or "hands"."""
    if part not in ("head", "hands"):
        raise ValueError(f'part must be "head" or "hands", got {part!r}')
    track = performance[:, list(ARMS)] if part == "hands" else performance[:, PARTS["head"]]
    rate = np.linalg.norm(np.gradient(track.astype(float), axis=0), axis=1) * FPS
    return np.convolve(rate, [0.25, 0.5, 0.25], mode="same")


def peaks(rate: Array) -> Array:
    """Seconds of the peaks of a speed (T,) that rise above its own middle, at least 0.2 s apart."""
    inner = np.flatnonzero((rate[1:-1] >= rate[:-2]) & (rate[1:-1] > rate[2:])) + 1
    strong = inner[rate[inner] > np.quantile(rate, 0.6) + 1e-9]
    kept: list[int] = []
    for place in strong[np.argsort(-rate[strong], kind="stable")]:
        if all(abs(int(place) - other) >= FPS // 5 for other in kept):
            kept.append(int(place))
    return np.sort(np.array(kept, float)) / FPS


def beat_alignment(
    performances: list[Array], stresses: list[Array], speaking: list[Array], part: str = "head", seed: int = 0
) -> Beat:
    """Are peaks of motion where stressed vowels are? One entry a stream: performance (T, 96), stresses (n,) seconds,
    speaking (T,) bool. Only what happens during speech counts; the control shifts the stresses around within speech.
    """
    rng, rows = np.random.default_rng(seed), []
    for performance, times, talk in zip(performances, stresses, speaking, strict=True):
        spoken = np.flatnonzero(talk)
        place = np.cumsum(talk) / FPS  # seconds of speech so far: pauses are cut out, for control and truth alike
        found = peaks(speed(performance, part))
        found = found[talk[np.minimum((found * FPS).astype(int), len(talk) - 1)]]
        inside = times[(times >= 0) & (times < len(talk) / FPS)]
        inside = inside[talk[(inside * FPS).astype(int)]]
        if len(found) and len(inside) > 1 and len(spoken) > 4 * FPS:
            to_speech = [np.interp(t, np.arange(len(talk)) / FPS, place) for t in (found, inside)]
            rows.append((*to_speech, len(spoken) / FPS))
    if not rows:
        raise ValueError("no stream has both stressed vowels and moving peaks in four seconds of speech")
    curve = _near(rows, [0.0] * len(rows))
    shuffled = np.array([
        _near(rows, [rng.uniform(0.5, max(total - 0.5, 0.6)) for *_, total in rows]).max() for _ in range(SHUFFLES)
    ])  # fmt: skip
    best = int(curve.argmax())
    p_value = float((1 + (shuffled >= curve[best]).sum()) / (1 + SHUFFLES))
    return Beat(float(curve[best]), float(shuffled.mean()), p_value, float(BEAT_LAGS[best] * 1000.0))


def _near(rows: list[tuple[Array, Array, float]], shifts: list[float]) -> Array:
    """How near peaks are to stresses moved by ``shifts`` (around the end of speech), for each lag."""
    total, count = np.zeros(len(BEAT_LAGS)), 0
    for (found, times, length), shift in zip(rows, shifts, strict=True):
        moved = np.sort((times + shift) % length)
        caused = found[:, None] - BEAT_LAGS
        after = np.clip(np.searchsorted(moved, caused), 1, len(moved) - 1)
        gap = np.minimum(np.abs(caused - moved[after - 1]), np.abs(caused - moved[after]))
        total += np.exp(-0.5 * np.square(gap / BEAT_WIDTH)).sum(0)
        count += len(found)
    return total / count


def blinks(performance: Array) -> int:
    """How often the lids shut."""
    shut = performance[:, ACTION_INDEX["eyeBlinkLeft"]] > SHUT
    return int((shut[1:] & ~shut[:-1]).sum())


def naturalness(performance: Array, reference: Array) -> dict[str, float]:
    """Motion (T, 96) against a reference (T', 96) of the same kind of scene: for each part the ratio of the root mean
    square velocity and jerk, and of the 99.9th percentile of velocity; blinks a minute of both; and the share of time
    in which nothing moves for FROZEN seconds. Ratios near 1 are like the reference; jerk above 2 shakes.
    """
    rows: dict[str, float] = {}
    for name, part in PARTS.items():
        ours, theirs = (np.diff(x[:, part].astype(float), axis=0) for x in (performance, reference))
        rows[f"{name}.velocity"] = _rms(ours) / _rms(theirs)
        rows[f"{name}.jerk"] = _rms(np.diff(ours, n=2, axis=0)) / _rms(np.diff(theirs, n=2, axis=0))
        rows[f"{name}.fastest"] = float(np.quantile(_size(ours), 0.999) / max(np.quantile(_size(theirs), 0.999), 1e-9))
    rows["blinks"] = blinks(performance) * 60.0 * FPS / len(performance)
    rows["blinks.reference"] = blinks(reference) * 60.0 * FPS / len(reference)
    rows["frozen"] = frozen(performance)
    return rows


def frozen(performance: Array) -> float:
    """Share of the time in windows of FROZEN seconds in which no channel changes by a thousandth."""
    size = int(FROZEN * FPS)
    whole = performance[: len(performance) // size * size].reshape(-1, size, performance.shape[1])
    return float((np.ptp(whole, axis=1).max(1) < 1e-3).mean()) if len(whole) else 0.0


def _rms(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean())) + 1e-9


def _size(values: Array) -> Array:
    return np.asarray(np.linalg.norm(values, axis=1))
