"""Curves that bodies follow: pulses, minimum jerk between keys, springs and slow noise, all at 25 Hz."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, lfilter_zi

from engine.clock import FPS, FRAME_SECONDS

Array = NDArray[Any]
HALF: Final = 1.6783469900166605  # half-life of a critically damped spring x its natural frequency


def frame_times(frames: int) -> Array:
    """(T,) seconds at the centre of each frame."""
    return (np.arange(frames) + 0.5) * FRAME_SECONDS


def stream(seed: int, part: int) -> np.random.Generator:
    """Random numbers of one part of a performance: what one part draws does not change another's."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(part,))))


def ease(x: Array) -> Array:
    """Minimum jerk from 0 to 1 (Flash and Hogan 1985)."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10.0 + x * (6.0 * x - 15.0))


def add_pulse(track: Array, start: float, rise: float, hold: float, fall: float, amount: Any) -> None:
    """Adds ``amount`` (scalar or (D,)) with eased flanks to ``track`` (T,) or (T, D), in place; times in seconds."""
    first, last = int(start * FPS), int((start + rise + hold + fall) * FPS) + 2
    first, last = max(first, 0), min(last, len(track))
    if first >= last:
        return
    since = (np.arange(first, last) + 0.5) * FRAME_SECONDS - start
    shape = np.minimum(ease(since / rise), ease((rise + hold + fall - since) / fall))
    track[first:last] += shape[:, None] * np.asarray(amount) if track.ndim == 2 else shape * amount


def between(at: Array, values: Array, times: Array) -> Array:
    """Minimum jerk from key to key: ``at`` (N,) rising seconds, ``values`` (N, ...), ``times`` (T,) -> (T, ...)."""
    row = np.clip(np.searchsorted(at, times, side="right") - 1, 0, len(at) - 2)
    s = ease((times - at[row]) / np.maximum(at[row + 1] - at[row], 1e-6))
    s = s.reshape(-1, *(1,) * (values.ndim - 1))
    return np.asarray(values[row] + s * (values[row + 1] - values[row]))


def spring(target: Array, half_life: Array | float, start: Array | None = None) -> Array:
    """Follows ``target`` (T, D) by a critically damped spring; ``half_life`` seconds, one number or (T,).

    It begins at rest at ``start``, or where the target begins.
    """
    if not len(target):
        return np.zeros(target.shape)
    first = np.array(target[0] if start is None else start, float)
    if np.ndim(half_life) == 0:
        swing = HALF / float(half_life) * FRAME_SECONDS
        pole = math.exp(-swing)
        top, bottom = [1.0 - pole * (1.0 + swing), pole * (pole - 1.0 + swing)], [1.0, -2.0 * pole, pole * pole]
        return np.asarray(lfilter(top, bottom, target, axis=0, zi=lfilter_zi(top, bottom)[:, None] * first)[0])
    out = np.empty_like(target, dtype=float)
    omega = HALF / np.asarray(half_life, float)
    decay = np.exp(-omega * FRAME_SECONDS)
    x, v = first, np.zeros_like(first)
    for i in range(len(target)):
        offset = x - target[i]
        drift = v + omega[i] * offset
        x = target[i] + (offset + drift * FRAME_SECONDS) * decay[i]
        v = (v - omega[i] * drift * FRAME_SECONDS) * decay[i]
        out[i] = x
    return out


def noise(frames: int, size: int, seconds: float, rng: np.random.Generator) -> Array:
    """(T, size) smooth noise of about unit deviation whose features last ``seconds``."""
    step = seconds * FPS
    knots = rng.normal(0.0, 1.0, (int(frames / step) + 4, size))
    place = np.arange(frames) / step + 1.0 + rng.uniform(0.0, 0.999)
    row = np.minimum(place.astype(int), len(knots) - 3)
    s = (place - row)[:, None]
    a, b, c, d = knots[row - 1], knots[row], knots[row + 1], knots[row + 2]  # Catmull-Rom
    curve = b + 0.5 * s * (c - a + s * (2 * a - 5 * b + 4 * c - d + s * (3 * (b - c) + d - a)))
    return np.asarray(1.15 * curve)
