"""A quiet, out-of-focus room behind a person: wall, window light, furniture as soft shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.bake.brush import linear, srgb
from training.bake.identities import Identity

Array = NDArray[Any]
HEIGHT, WIDTH = 540, 720


def room(identity: Identity, seed: int) -> Array:
    """(540, 720, 3) uint8, deterministic by seed."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng([seed, 70])
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / np.array([HEIGHT, WIDTH]).reshape(2, 1, 1)
    light, dark = (linear(colour) for colour in identity.room)
    mix = np.clip(1.15 - 0.75 * np.hypot(x - 0.28, y - 0.30) - 0.25 * y, 0, 1)[..., None]
    wall = dark + (light - dark) * mix
    for _ in range(7):
        left, top = generator.uniform(0, 0.9), generator.uniform(0.15, 0.8)
        width, height = generator.uniform(0.06, 0.22), generator.uniform(0.08, 0.35)
        tone = np.array(generator.uniform(0.55, 1.15)) * (1 + generator.normal(0, 0.05, 3))
        inside = (x > left) & (x < left + width) & (y > top) & (y < top + height)
        wall = np.where(inside[..., None], wall * tone, wall)
    window = (x > 0.04) & (x < 0.22) & (y > 0.04) & (y < 0.62)
    wall = np.where(window[..., None], wall * 0.45 + 0.75 * linear((0.97, 0.95, 0.90)), wall)
    blurred = np.stack([gaussian_filter(wall[..., c], 26, mode="nearest") for c in range(3)], axis=2)
    grain = generator.normal(0, 0.0025, blurred.shape[:2])[..., None]
    return srgb(blurred * 0.80 + grain)
