"""The photograph's colours as the avatar's own: what its reference shows, with its light taken off, in the atlas.

So the geometric renderer shows the person too, and the light of a reference is all that the neural one must find.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.avatar import REGIONS, Avatar
from engine.render import material, unproject
from engine.render.reference import OWN, TEXELS, lit_atlas
from kernels.texture import to_linear, to_srgb
from training.bake import atlas
from training.bake.skin_map import skin_map
from training.portrait.mane_paint import carried

Array = NDArray[Any]
SKIN: Final = ("face", "lips", "brows", "neck_ears")
PORES: Final = 5.0  # texels: what is finer than this in the paint stays, where the photograph has nothing so fine
GRAIN: Final = (0.90, 1.10)  # limits of it
SHADE: Final = 0.55  # occlusion is taken off the photograph's colours down to this
USUAL: Final = (0.02, 0.92)  # sRGB that skin and cloth stay within


def coloured(avatar: Avatar) -> Avatar:
    """The avatar with its reference's colours laid into its albedo. Raises ValueError when it brings no reference."""
    if avatar.reference is None:
        raise ValueError("only an avatar with a reference can take its colours")
    plain, _ = material.build(avatar)
    lit = lit_atlas(avatar, avatar.reference, TEXELS)
    side, size = lit.valid.shape[0], avatar.albedo.shape[0]
    chart = unproject.chart(plain, side)
    region = np.where(chart.face >= 0, plain.region[chart.face], 0)
    laid = np.isin(region, [REGIONS.index(name) for name in OWN])
    bare = to_linear(lit.atlas.astype(np.float32) / np.float32(255))
    step = size // side
    old = to_linear(avatar.albedo[..., :3].astype(np.float32) / np.float32(255))
    even = _mean(old * (avatar.surface[..., :1] / np.float32(255)), step)
    for kinds in (SKIN, tuple(set(OWN) - set(SKIN))):
        rows = laid & np.isin(region, [REGIONS.index(name) for name in kinds])
        sure = rows & (lit.valid > 128)
        chosen = sure if sure.sum() > 500 else rows
        if chosen.any():  # how bright it is in even light, no photograph tells: the paint does
            level = np.median(even[chosen].mean(-1)) / max(float(np.median(bare[chosen].mean(-1))), 1e-4)
            bare[rows] *= np.float32(level)
    bare = _closed_lids(bare, laid * (lit.valid / np.float32(255)), side)
    grown, fine = _grown(bare, laid), old / np.maximum(_blurred(old), 1e-3)
    new = _enlarged(grown, step) * np.clip(fine.mean(-1, keepdims=True), *GRAIN)
    new = new / np.maximum(avatar.surface[..., :1] / np.float32(255), SHADE)
    cover = np.kron(ndimage.binary_dilation(laid, iterations=2), np.ones((step, step), bool))
    cover &= ~np.kron((chart.face >= 0) & ~laid, np.ones((step, step), bool))
    albedo = avatar.albedo.copy()
    colour = np.clip(to_srgb(np.clip(new, 0.0, 1.0)), *USUAL)
    albedo[..., :3][cover] = np.rint(colour[cover] * 255).astype(np.uint8)
    return replace(avatar, albedo=albedo)


def _closed_lids(bare: Array, sure: Array, side: int) -> Array:
    """Colours with the lids, which an open eye folds away, in those of the skin around them."""
    found = skin_map()
    lids: Array = np.zeros(found.covered.shape, np.float32)
    lids[found.covered] = found.lids
    lids = _mean(lids[..., None], lids.shape[0] // side).reshape(side, side)
    rect = atlas.HEAD
    share = side / atlas.SIZE
    rows, columns = slice(int(rect.y * share), int((rect.y + rect.height) * share)), slice(0, side)
    lid, known = np.clip(2.0 * lids[rows, columns], 0, 1), sure[rows, columns]
    around = carried(bare[rows, columns].astype(np.float64), known * (lid < 0.05))
    out = bare.copy()
    mix = (ndimage.gaussian_filter(lid, 1.5) * (1 - known))[..., None]
    out[rows, columns] += (mix * (around - bare[rows, columns])).astype(np.float32)
    return out


def _mean(plane: Array, step: int) -> Array:
    side = plane.shape[0] // step
    return np.asarray(plane.reshape(side, step, side, step, -1).mean((1, 3)))


def _grown(colour: Array, known: Array) -> Array:
    """Colours carried over the borders of what is known, so that enlarging mixes nothing foreign in."""
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(colour[tuple(nearest)])


def _blurred(colour: Array) -> Array:
    return np.stack([ndimage.gaussian_filter(colour[..., c], PORES) for c in range(3)], axis=-1)


def _enlarged(colour: Array, step: int) -> Array:
    """(n, n, 3) bilinear at step times the size."""
    return np.stack([ndimage.zoom(colour[..., c], step, order=1, grid_mode=True, mode="nearest") for c in range(3)], -1)
