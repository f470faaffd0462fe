"""Painting tools: value noise, spots and hair strokes, and the transfer between sRGB and linear light."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def linear(colour: Any) -> Array:
    """sRGB in [0, 1] -> linear light (IEC 61966-2-1)."""
    c = np.asarray(colour, np.float32)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _srgb_table() -> Array:
    c = np.arange(1 << 15) / ((1 << 15) - 1)
    return np.round(255 * np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)).astype(np.uint8)


def srgb(light: Array) -> Array:
    """Linear light -> sRGB as uint8."""
    table = _srgb_table()
    return np.asarray(table[(np.clip(light, 0.0, 1.0) * (len(table) - 1) + 0.5).astype(np.uint16)])


def ease(x: Any, low: float, high: float) -> Array:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((np.asarray(x, np.float32) - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def bump(x: Any, centre: float, width: float) -> Array:
    """Gaussian bell of height 1."""
    return np.exp(-(((np.asarray(x, np.float32) - centre) / width) ** 2))


def noise(points: Array, scale: Any, octaves: int = 1, seed: int = 0) -> Array:
    """Value noise in [0, 1] at points (n, 3); ``scale`` cells per unit, a number or one for each axis."""
    out = np.empty(len(points), np.float32)
    each = np.broadcast_to(np.asarray(scale, np.float64), (3,)).copy()
    _noise(np.ascontiguousarray(points), each, octaves, seed, out)
    return out


def spots(points: Array, cell: float, share: float, seed: int) -> Array:
    """Soft round spots in [0, 1]: a ``share`` of cells of size ``cell`` holds one, of random size."""
    out = np.empty(len(points), np.float32)
    _spots(np.ascontiguousarray(points / cell, np.float64), share, seed, out)
    return out


@numba.njit(cache=True)
def _hash(x: int, y: int, z: int, seed: int) -> float:
    h = (x * 374761393 + y * 668265263 + z * 2147483647 + seed * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 2246822519) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFFFF) / 16777215.0


@numba.njit(cache=True)
def _noise(points: Array, scale: Array, octaves: int, seed: int, out: Array) -> None:
    for n in range(points.shape[0]):
        total, weight, norm, gain = 0.0, 0.0, 0.0, 1.0
        for octave in range(octaves):
            px = points[n, 0] * scale[0] * gain
            py = points[n, 1] * scale[1] * gain
            pz = points[n, 2] * scale[2] * gain
            x, y, z = int(np.floor(px)), int(np.floor(py)), int(np.floor(pz))
            fx, fy, fz = px - x, py - y, pz - z
            fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
            value = 0.0
            for i in range(2):
                for j in range(2):
                    for k in range(2):
                        w = (fx if i else 1 - fx) * (fy if j else 1 - fy) * (fz if k else 1 - fz)
                        value += w * _hash(x + i, y + j, z + k, seed + 31 * octave)
            weight = 0.5**octave
            total += weight * value
            norm += weight
            gain *= 2.03
        out[n] = total / norm


@numba.njit(cache=True)
def _spots(cells: Array, share: float, seed: int, out: Array) -> None:
    for n in range(cells.shape[0]):
        x, y, z = int(np.floor(cells[n, 0])), int(np.floor(cells[n, 1])), int(np.floor(cells[n, 2]))
        best = 0.0
        for i in range(-1, 2):
            for j in range(-1, 2):
                for k in range(-1, 2):
                    a, b, c = x + i, y + j, z + k
                    if _hash(a, b, c, seed) > share:
                        continue
                    dx = a + _hash(a, b, c, seed + 1) - cells[n, 0]
                    dy = b + _hash(a, b, c, seed + 2) - cells[n, 1]
                    dz = c + _hash(a, b, c, seed + 3) - cells[n, 2]
                    size = 0.18 + 0.32 * _hash(a, b, c, seed + 4)
                    best = max(best, np.exp(-(dx * dx + dy * dy + dz * dz) / (size * size)))
        out[n] = best


def strokes(canvas: Array, starts: Array, bends: Array, ends: Array, widths: Array, values: Array) -> None:
    """Draws tapering hairs on ``canvas`` (h, w) in place, keeping the larger value.

    Each hair is a quadratic curve; points (n, 2) are (x, y) in pixels, ``widths`` (n,) at the root.
    """
    _strokes(canvas, *(np.ascontiguousarray(v, np.float64) for v in (starts, bends, ends, widths, values)))


@numba.njit(cache=True)
def _strokes(canvas: Array, starts: Array, bends: Array, ends: Array, widths: Array, values: Array) -> None:
    height, width = canvas.shape
    for n in range(starts.shape[0]):
        span = np.hypot(ends[n, 0] - starts[n, 0], ends[n, 1] - starts[n, 1]) + np.hypot(
            bends[n, 0] - starts[n, 0], bends[n, 1] - starts[n, 1]
        )
        steps = int(span * 1.5) + 2
        for s in range(steps):
            t = s / (steps - 1)
            a, b, c = (1 - t) * (1 - t), 2 * t * (1 - t), t * t
            x = a * starts[n, 0] + b * bends[n, 0] + c * ends[n, 0]
            y = a * starts[n, 1] + b * bends[n, 1] + c * ends[n, 1]
            radius = widths[n] * 0.5 * (1.0 - 0.85 * t) * min(1.0, 0.6 + 4 * t)
            strength = values[n] * min(1.0, 2.5 * (1.02 - t))
            reach = int(radius + 2)
            for j in range(max(int(y) - reach, 0), min(int(y) + reach + 1, height)):
                for i in range(max(int(x) - reach, 0), min(int(x) + reach + 1, width)):
                    away = np.hypot(i - x, j - y)
                    cover = strength * min(max(radius + 0.5 - away, 0.0), min(1.0, 2 * radius + 0.25))
                    if cover > canvas[j, i]:
                        canvas[j, i] = cover


def sample(image: Array, x: Array, y: Array) -> Array:
    """Bilinear lookup of ``image`` (h, w) at pixel positions; outside it is 0."""
    height, width = image.shape
    i, j = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = x - i, y - j
    inside = (i >= 0) & (j >= 0) & (i < width - 1) & (j < height - 1)
    i, j = np.clip(i, 0, width - 2), np.clip(j, 0, height - 2)
    top = image[j, i] * (1 - u) + image[j, i + 1] * u
    low = image[j + 1, i] * (1 - u) + image[j + 1, i + 1] * u
    return np.where(inside, top * (1 - v) + low * v, 0.0).astype(np.float32)
