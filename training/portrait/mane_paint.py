"""The photograph's hair as paint: in the atlas's rectangle for hair, and on the scalp under it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.avatar import Avatar
from training.bake import atlas
from training.bake.brush import ease, noise
from training.bake.scalp import hairline
from training.bake.skin_map import skin_map

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
Array = NDArray[Any]
GLOSS: Final = 60  # of 255
OPAQUE: Final = 0.45  # share of hair or head from which on nothing is see-through: a little more than the sheets
SOFT_LINE: Final = 0.012  # metres over which the painted scalp fades in at the hairline


@dataclass(frozen=True)
class Grid:
    """The window of the photograph that hair is built in: rows x columns cells, ``left``, ``top`` and ``step`` pixels
    of the photograph."""

    rows: int
    columns: int
    left: float
    top: float
    step: float

    def pixels(self) -> F64:
        """(rows, columns, 2) pixels of the photograph in the middle of each cell."""
        row, column = np.mgrid[: self.rows, : self.columns] + 0.5
        return np.stack([self.left + column * self.step, self.top + row * self.step], axis=-1)

    def sample(self, plane: Array, blur: float = 0.5) -> F64:
        """A plane (H, W) of the photograph, averaged over cells."""
        smooth = ndimage.gaussian_filter(plane.astype(np.float32), blur * self.step)
        at = self.pixels()
        return np.asarray(
            ndimage.map_coordinates(smooth, [at[..., 1] - 0.5, at[..., 0] - 0.5], order=1, cval=0.0), np.float64
        )


def painted(avatar: Avatar, photo: U8, hair: F64, body: F64, grid: Grid) -> Avatar:
    """The photograph's hair in the atlas's rectangle for it; what it does not show carried on from around. Opaque
    within the outline ``body``, thinning out from there."""
    rect = atlas.HAIR
    y, x = np.mgrid[: rect.height, : rect.width]
    at = [
        grid.top + (y + 0.5) / rect.height * grid.rows * grid.step - 0.5,
        grid.left + (x + 0.5) / rect.width * grid.columns * grid.step - 0.5,
    ]
    scale = max(grid.rows * grid.step / rect.height, grid.columns * grid.step / rect.width)
    sure = np.clip(1.6 * ndimage.grey_erosion(hair, 3) - 0.6, 0.0, 1.0)
    weight = ndimage.map_coordinates(sure, at, order=1, cval=0.0)
    blur = 0.4 * scale if scale > 1.2 else 0.0
    colour = np.stack(
        [
            ndimage.map_coordinates(
                ndimage.gaussian_filter(photo[..., c].astype(np.float32), blur), at, order=1, mode="nearest"
            )
            for c in range(3)
        ],
        axis=-1,
    )
    full = carried(colour, weight)
    albedo, surface = avatar.albedo.copy(), avatar.surface.copy()
    rect.window(albedo)[..., :3] = np.clip(np.rint(full), 0, 255)
    cover = ndimage.map_coordinates(ndimage.gaussian_filter(hair, 0.4 * scale), at, order=1, cval=0.0)
    within = _stretched(ndimage.gaussian_filter(body, 0.9), cover.shape) > OPAQUE  # the sheets are closed to their edge
    rect.window(albedo)[..., 3] = np.where(within, 255, np.clip(np.rint(510 * cover), 0, 255))
    rect.window(surface)[:] = (255, GLOSS, 0, 255)
    _scalp(albedo, np.median(photo[hair > 0.9 * hair.max()], axis=0))
    return replace(avatar, albedo=albedo, surface=surface)


def _scalp(albedo: U8, colour: Array) -> None:
    """Skin inside the hairline takes hair's colour: it may show at the edge of the sheets."""
    found = skin_map()
    cover = ease(hairline(found.place) / SOFT_LINE, 0.0, 1.0) * (1 - ease(found.ears, 0.05, 0.35))
    cover = (cover * (found.place[:, 1] > -0.095))[:, None]
    strands = 0.72 + 0.5 * noise(found.place, 900, 2, 3)[:, None]
    skin = albedo[found.covered, :3]
    albedo[found.covered, :3] = np.clip(np.rint(skin + cover * (colour * strands - skin)), 0, 255)


def _stretched(plane: F64, size: tuple[int, int]) -> F64:
    """(rows, columns) bilinear at ``size``."""
    at = [(np.arange(n) + 0.5) * (m / n) - 0.5 for n, m in zip(size, plane.shape, strict=True)]
    return np.asarray(ndimage.map_coordinates(plane, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest"))


def carried(colour: F64, weight: F64) -> F64:
    """``colour`` (h, w, 3) where ``weight`` is 1; elsewhere what is near, coarser the farther (push-pull)."""
    out, total = colour * weight[..., None], weight.copy()
    filled = np.zeros_like(colour)
    have = np.zeros_like(weight)
    for sigma in (1.5, 4, 10, 25, 60, 150):
        near = _blurred(total, sigma)
        mean = np.stack([_blurred(out[..., c], sigma) for c in range(3)], axis=-1)
        mean /= np.maximum(near, 1e-6)[..., None]
        take = np.clip(near / 0.25, 0.0, 1.0) * (1.0 - have)
        filled += take[..., None] * mean
        have += take
    filled /= np.maximum(have, 1e-6)[..., None]
    return np.asarray(weight[..., None] * colour + (1.0 - weight[..., None]) * filled)


def _blurred(plane: F64, sigma: float) -> F64:
    """A Gaussian filter; a wide one looks at a smaller picture."""
    step = int(sigma // 3)
    if step < 2:
        return np.asarray(ndimage.gaussian_filter(plane, sigma))
    rows, columns = (-n % step for n in plane.shape)
    whole = np.pad(plane, ((0, rows), (0, columns)), mode="symmetric")
    small = whole.reshape(whole.shape[0] // step, step, -1, step).mean((1, 3))
    wide = _stretched(ndimage.gaussian_filter(small, sigma / step), (whole.shape[0], whole.shape[1]))
    return wide[: plane.shape[0], : plane.shape[1]]
