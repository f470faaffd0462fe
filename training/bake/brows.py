"""Where brows run: one line from the inner to the outer end, its height and thickness, as each person has them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake.brush import bump, ease, sample, strokes
from training.bake.identities import Identity

Array = NDArray[Any]
BOX: Final = (0.006, 0.006, 0.056, 0.038)  # x, y, width, height in metres of the brow painting
SCALE: Final = 20_000  # its pixels per metre
INNER: Final = 0.0138  # metres from the middle to the inner end
LENGTH: Final = 0.0415


def brow_line(u: Array, identity: Identity) -> tuple[Array, Array, Array]:
    """Centre (x, y) and half width of the brow at ``u`` from its inner (0) to its outer end (1), template metres."""
    arch = np.interp(u, [0, 0.25, 0.5, 0.68, 0.85, 1.0], [0.0, 0.25, 0.80, 1.0, 0.62, -0.10])
    x = INNER + LENGTH * u
    y = 0.0190 + (0.0018 + 0.0026 * identity.brow_arch) * arch + 0.0022 * identity.brow_tilt * (u - 0.5)
    half = np.interp(u, [0, 0.15, 0.5, 0.75, 1.0], [0.0023, 0.0031, 0.0029, 0.0021, 0.0007])
    return x, y, half * (0.40 + 0.62 * identity.brow)


def brow_lean(u: Array) -> Array:
    """Direction (radians from outward) in which hairs of the middle row lie."""
    return np.asarray(np.radians(np.interp(u, [0, 0.12, 0.35, 0.7, 1.0], [80, 62, 34, 6, -20])))


def paint_brows(side: Array, y: Array, identity: Identity, seed: int) -> Array:
    """How much brow (n,) covers template positions: fine hairs over a soft tint, both sides from one painting."""
    from scipy.ndimage import gaussian_filter

    left, low, width, height = BOX
    canvas = np.zeros((int(height * SCALE), int(width * SCALE)), np.float32)
    generator = np.random.default_rng([seed, 5])
    count = int(820 * (0.45 + 0.55 * identity.brow))
    u = generator.beta(1.2, 1.15, count)
    spread = generator.normal(0, 0.46, count).clip(-1.05, 1.05)
    x, middle, half = brow_line(u, identity)
    root = np.stack([x, middle + spread * half], axis=1)
    lean = brow_lean(u) - 0.42 * spread + generator.normal(0, 0.15, count)
    length = np.interp(u, [0, 0.2, 0.8, 1.0], [0.0036, 0.0060, 0.0058, 0.0040]) * generator.uniform(0.6, 1.15, count)
    tip = root + length[:, None] * np.stack([np.cos(lean), np.sin(lean)], axis=1)
    bend = 0.5 * (root + tip) + 0.12 * length[:, None] * np.stack([-np.sin(lean), np.cos(lean)], axis=1)

    def pixel(p: Array) -> Array:
        return np.stack([p[:, 0] - left, low + height - p[:, 1]], axis=1) * SCALE

    values = generator.uniform(0.35, 0.85, count) * np.interp(u, [0, 0.2, 0.85, 1], [0.40, 1.0, 1.0, 0.7])
    strokes(canvas, pixel(root), pixel(bend), pixel(tip), generator.uniform(1.8, 3.4, count), values)
    grid_x = left + (np.arange(canvas.shape[1]) + 0.5) / SCALE
    grid_y = low + height - (np.arange(canvas.shape[0]) + 0.5) / SCALE
    along = (grid_x - INNER) / LENGTH
    _, centre, half = brow_line(np.clip(along, 0, 1), identity)
    body = bump((grid_y[:, None] - centre) / half, 0.0, 0.90) * ease(along, -0.06, 0.30) * ease(-along, -1.03, -0.75)
    soft = np.clip(gaussian_filter(canvas, 1.2) + 0.34 * body, 0, 1)  # skin tint between the hairs
    return sample(soft, (side - left) * SCALE, (low + height - y) * SCALE) * identity.brow**0.4
