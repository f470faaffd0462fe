"""Does a series go anywhere? Its slope by Theil and Sen, with an interval: a few wild samples do not move it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95: Final = 1.96
MOST: Final = 1500  # samples that are compared pair by pair; more are put into so many medians first


class Slope(NamedTuple):
    """Change of y per unit of x, and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float


def slope(x: ArrayLike, y: ArrayLike) -> Slope:
    """Theil-Sen slope of ``y`` over ``x``, both (n,); interval by Kendall's S (Sen 1968). Neighbours that hang together
    make it too narrow: put them into medians first. Raises ValueError for fewer than 5 samples."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if xs.size > MOST:
        xs, ys = medians(xs, ys, MOST)
    if xs.size < 5:
        raise ValueError(f"a slope needs 5 samples or more, got {xs.size}")
    i, j = np.triu_indices(xs.size, 1)
    apart = xs[j] - xs[i]
    slopes = np.sort(((ys[j] - ys[i])[apart != 0]) / apart[apart != 0])
    n = xs.size
    width = Z95 * np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = int(np.clip(np.floor((slopes.size - width) / 2), 0, slopes.size - 1))
    high = int(np.clip(np.ceil((slopes.size + width) / 2), 0, slopes.size - 1))
    return Slope(float(np.median(slopes)), float(slopes[low]), float(slopes[high]))


def medians(x: ArrayLike, y: ArrayLike, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``y`` over ``x`` as at most ``count`` medians of neighbours, in the order of ``x``."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    order = np.argsort(xs, kind="stable")
    parts = np.array_split(order, max(min(count, xs.size), 1))
    return np.array([np.median(xs[p]) for p in parts]), np.array([np.median(ys[p]) for p in parts])
