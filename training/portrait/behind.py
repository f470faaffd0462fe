"""What is behind the person in a photograph, completed where they stand, and a little out of focus.

Colours are carried in from around, coarser the farther (push-pull, Gortler et al. 1996, section 3.4).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.render import camera
from engine.render.reference import FRAMING
from training.bake.room import HEIGHT, WIDTH
from training.portrait.fit import Fit
from training.portrait.mane_paint import carried

U8 = NDArray[np.uint8]
Array = NDArray[Any]
HALO: Final = 0.02  # of the picture's height around the person that is not believed
FOCUS: Final = 0.012  # of the height: deviation of the blur
CLEAR: Final = 0.15  # share of the picture that must be behind the person to be worth showing


def background(photo: U8, alpha: U8, fit: Fit) -> U8 | None:
    """(HEIGHT, WIDTH, 3) as an avatar pack's, the person of ``alpha`` (H, W) standing where they will be drawn; None
    when too little of what is behind them is seen."""
    frame = camera.framing(FRAMING)
    focal = 0.5 * HEIGHT / math.tan(0.5 * frame.field)
    eye = np.array([0.5 * WIDTH, 0.5 * HEIGHT + focal * frame.target[1] / frame.distance])
    step = fit.lens.scale / (focal / (frame.distance + frame.target[2]))
    row, column = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    x = fit.lens.origin[0] + (column - eye[0]) * step
    y = fit.lens.origin[1] + (row - eye[1]) * step
    inside = (x > 0) & (x < photo.shape[1]) & (y > 0) & (y < photo.shape[0])
    free = _at(255.0 - alpha, x, y, step) / 255.0
    weight = inside * ndimage.grey_erosion(np.clip(1.5 * free - 0.5, 0, 1), round(2 * HALO * HEIGHT) | 1)
    if weight.mean() < CLEAR:
        return None
    colour = np.stack([_at(photo[..., c], x, y, step) for c in range(3)], axis=-1)
    full = carried(colour, weight)
    soft = np.stack([ndimage.gaussian_filter(full[..., c], FOCUS * HEIGHT, mode="nearest") for c in range(3)], -1)
    return np.clip(np.rint(soft), 0, 255).astype(np.uint8)


def _at(plane: Array, x: Array, y: Array, step: float) -> Array:
    smooth = ndimage.gaussian_filter(plane.astype(np.float32), 0.45 * max(step, 0.5))
    return np.asarray(ndimage.map_coordinates(smooth, [y - 0.5, x - 0.5], order=1, mode="nearest"))
