"""Smoothing along edges, the obvious way: NumPy in double precision, whole pictures at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.edges import AGREED, SCATTERED, STEP, STRONG, WEAK

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]


def smooth(small: U8, large: U8) -> U8:
    """``large`` (H,W), which is ``small`` (h,w) enlarged, with its edges smoothed."""
    (h, w), (height, width) = small.shape, large.shape
    y, x = np.indices(large.shape)
    down, across, weight = (
        plane[(2 * y + 1) * h // (2 * height), (2 * x + 1) * w // (2 * width)] for plane in _told(small)
    )
    places = [_at(large, y + k * STEP * height / h * down, x + k * STEP * width / w * across) for k in range(-2, 3)]
    value = large.astype(float)
    return np.asarray(np.floor(value + weight * (np.mean(places, 0) - value) + 0.5), np.uint8)


def _told(small: U8) -> tuple[F64, F64, F64]:
    """The edge's direction at each pixel, down and across, and how much to smooth."""
    p = np.pad(small.astype(float), 1, mode="edge")
    gx = (p[:-2, 2:] - p[:-2, :-2] + 2 * (p[1:-1, 2:] - p[1:-1, :-2]) + p[2:, 2:] - p[2:, :-2]) / 8
    gy = (p[2:, :-2] - p[:-2, :-2] + 2 * (p[2:, 1:-1] - p[:-2, 1:-1]) + p[2:, 2:] - p[:-2, 2:]) / 8
    xx, xy, yy = _blurred(gx * gx), _blurred(gx * gy), _blurred(gy * gy)
    apart = np.hypot(xx - yy, 2 * xy)
    size = np.sqrt((xx + yy + apart) / 2)  # of the gradients, along the direction they agree on
    agree = apart / np.maximum(xx + yy, 1e-12)
    weight = np.clip((size - WEAK) / (STRONG - WEAK), 0, 1) * np.clip((agree - SCATTERED) / (AGREED - SCATTERED), 0, 1)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the gradient
    return np.asarray(-np.cos(angle)), np.asarray(np.sin(angle)), np.asarray(weight)


def _blurred(plane: F64) -> F64:
    p = np.pad(plane, 1, mode="edge")
    line = p[:-2] + 2 * p[1:-1] + p[2:]
    return np.asarray((line[:, :-2] + 2 * line[:, 1:-1] + line[:, 2:]) / 16)


def _at(plane: U8, y: F64, x: F64) -> F64:
    y, x = np.clip(y, 0, plane.shape[0] - 1), np.clip(x, 0, plane.shape[1] - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    bottom, right = np.minimum(top + 1, plane.shape[0] - 1), np.minimum(left + 1, plane.shape[1] - 1)
    v, u, p = y - top, x - left, plane.astype(float)
    upper, lower = p[top, left] * (1 - u) + p[top, right] * u, p[bottom, left] * (1 - u) + p[bottom, right] * u
    return np.asarray(upper * (1 - v) + lower * v)
