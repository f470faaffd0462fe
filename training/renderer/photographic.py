"""A studio photograph as somebody's own photograph would be, and its outline as a segmentation would have it.

Colours (exposure, white balance, contrast, saturation) are of the whole take, so they change what shall be painted
alike. Blur, noise, JPEG, a fit that is a little off and an unsure outline are of the one photograph alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine import image
from engine.avatar import REGIONS
from engine.render.guidance import MASK_OF_REGION, MASKS
from kernels.texture import to_linear, to_srgb
from training.renderer.hair import outlined

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Flags = NDArray[np.bool_]
Array = NDArray[Any]
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
EXPOSURE: Final = 0.15  # deviation of the exposure, as a logarithm of sRGB's gamma-encoded values
BALANCE: Final = 0.06  # of each channel's
CONTRAST: Final = (0.75, 1.4)
SATURATION: Final = (0.55, 1.4)
DYED: Final = 0.75  # share of takes whose hair gets another colour, of people without a beard
DYES: Final = (
    (0.36, 0.24, 0.12), (0.50, 0.40, 0.26), (0.24, 0.15, 0.07), (0.16, 0.09, 0.05), (0.26, 0.10, 0.04),
    (0.42, 0.40, 0.38), (0.22, 0.21, 0.21),
)  # mean light of hair, linear: blond, fair, light and medium brown, red, white, grey  # fmt: skip
GAIN: Final = (0.7, 14.0)
BEYOND: Final = 0.2  # of what is brighter than most of the hair: shine, and skin between strands
LEAST: Final = 400  # pixels of hair
BLUR: Final = 1.0  # pixels at most
NOISE: Final = 7.0  # of 255 at most, per pixel; at half the size, half of it
JPEG: Final = (2, 10)  # quality on FFmpeg's scale
OFF: Final = (1.6, 40.0)  # pixels that a fit is off by at most, and over how many that changes
EDGE: Final = (2.0, 9.0)  # pixels that an outline is off by at most
SOFT: Final = (0.3, 1.6)  # pixels over which it is soft
UNSURE: Final = 0.25  # of alpha that it may lie outward or inward


@dataclass(frozen=True)
class Colours:
    """What a take's colours become: hair is dyed by ``dye`` (3,) in linear light, less from ``knee`` on; then the
    camera's ``curve`` (256, 3) and ``mix`` (3, 3), on sRGB of 0 to 255."""

    dye: F32
    knee: float
    curve: F32
    mix: F32

    def __call__(self, rgb: U8, hair: Flags) -> U8:
        """(H, W, 3) changed, ``hair`` (H, W) dyed as well; a new array."""
        bare = rgb.copy()
        light = to_linear(rgb[hair].astype(np.float32) / np.float32(255))
        light = self.dye * (np.minimum(light, self.knee) + BEYOND * np.maximum(light - self.knee, 0.0))
        bare[hair] = np.rint(255 * to_srgb(np.minimum(light, 1.0).astype(np.float32)))
        channels = np.stack([self.curve[bare[..., c], c] for c in range(3)], axis=-1)
        return np.clip(np.rint(channels @ self.mix.T), 0, 255).astype(np.uint8)

    def premultiplied(self, rgba: U8, hair: Flags) -> U8:
        """(H, W, 4) premultiplied, its colours changed as they are without alpha; a new array."""
        alpha = rgba[..., 3:].astype(np.int32)
        bare = np.minimum((rgba[..., :3].astype(np.int32) * 255 + alpha // 2) // np.maximum(alpha, 1), 255)
        colour = (self(bare.astype(np.uint8), hair).astype(np.int32) * alpha + 127) // 255
        return np.concatenate([colour, alpha], axis=-1).astype(np.uint8)


def colours(rgb: U8, hair: Flags, bearded: bool, rng: np.random.Generator) -> Colours:
    """Some camera's: brighter or darker, warmer or cooler, harder or softer, paler or stronger. The ``hair`` (H, W) of
    the photograph ``rgb`` (H, W, 3) gets a colour of its own by chance: studio people's is nearly always dark. That of
    ``bearded`` people stays: skin shows between the strands of a beard."""
    value = np.linspace(0.0, 1.0, 256)[:, None]
    gain = np.exp(rng.normal(0.0, EXPOSURE) + rng.normal(0.0, BALANCE, 3))
    lit = np.where(gain > 1.0, 1.0 - (1.0 - value) ** gain, value * gain)  # brighter without white that is cut off
    power = np.exp(rng.uniform(*np.log(CONTRAST)))
    pivot = rng.uniform(0.35, 0.6)
    low, high = pivot * (lit / pivot) ** power, 1.0 - (1.0 - pivot) * ((1.0 - lit) / (1.0 - pivot)) ** power
    curve = 255.0 * np.where(lit < pivot, low, high)
    share = float(np.exp(rng.uniform(*np.log(SATURATION))))
    mix = share * np.eye(3) + (1.0 - share) * LUMA[None]
    dye, knee = _dye(rgb, hair & (not bearded), rng)
    return Colours(dye, knee, curve.astype(np.float32), mix.astype(np.float32))


def _dye(rgb: U8, hair: Flags, rng: np.random.Generator) -> tuple[F32, float]:
    """Gains of the hair's channels, and the light that most of the hair stays below."""
    dyed, goal = rng.random() < DYED, np.array(DYES[int(rng.integers(len(DYES)))]) * np.exp(rng.normal(0.0, 0.3))
    inner = ndimage.binary_erosion(hair, iterations=2)
    if not dyed or inner.sum() < LEAST:
        return np.ones(3, np.float32), 1.0
    light = to_linear(rgb[inner].astype(np.float32) / np.float32(255))
    gain = np.clip(goal / np.maximum(light.mean(0), 1e-3), *GAIN)
    return gain.astype(np.float32), float(np.percentile(light, 97))


def taken(rgb: U8, alpha: U8, regions: U8, rng: np.random.Generator) -> tuple[U8, U8, U8]:
    """A photograph rgb (H, W, 3) before its place, alpha and regions (H, W), as a camera and a segmentation give them:
    new arrays of the same shapes."""
    size = alpha.shape
    off = _wandering(size, rng.uniform(0.0, OFF[0]), OFF[1], rng)
    edge = off + _wandering(size, rng.uniform(0.0, EDGE[0]), EDGE[1], rng)
    photo = np.stack([_moved(plane, off, 1) for plane in np.moveaxis(rgb, 2, 0)], axis=-1)
    return _spoilt(photo, rng), _soft(_moved(alpha, edge, 1), rng), _moved(_labelled(regions), edge, 0).astype(np.uint8)


def _wandering(size: tuple[int, ...], most: float, reach: float, rng: np.random.Generator) -> F32:
    """(2, H, W) pixels down and right, up to about ``most``, changing over ``reach`` pixels."""
    field = np.stack([ndimage.gaussian_filter(rng.standard_normal(size).astype(np.float32), reach) for _ in range(2)])
    return np.asarray(0.5 * most * field / np.maximum(field.std(), 1e-9), np.float32)


def _moved(plane: Array, by: F32, order: int) -> F32:
    place = np.mgrid[: plane.shape[0], : plane.shape[1]] + by
    moved = ndimage.map_coordinates(plane.astype(np.float32), place, order=order, mode="nearest")
    return np.asarray(moved, np.float32)


def _spoilt(photo: F32, rng: np.random.Generator) -> U8:
    """Out of focus, noisy and compressed, each by chance."""
    blur = max(rng.uniform(-0.5 * BLUR, BLUR), 0.0)
    soft = ndimage.gaussian_filter(photo, (blur, blur, 0.0)) if blur > 0.1 else photo
    amount = max(rng.uniform(-0.5 * NOISE, NOISE), 0.0)
    fine = rng.standard_normal(photo.shape).astype(np.float32)
    coarse = rng.standard_normal((photo.shape[0] // 2, photo.shape[1] // 2, 3)).astype(np.float32)
    coarse = coarse.repeat(2, 0).repeat(2, 1)[: photo.shape[0], : photo.shape[1]]
    fine[: coarse.shape[0], : coarse.shape[1]] += 0.5 * coarse
    noisy = np.clip(np.rint(soft + amount * fine), 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        return noisy
    return image.decode(image.encode_jpeg(noisy, int(rng.integers(JPEG[0], JPEG[1] + 1))), 3)


def _soft(alpha: F32, rng: np.random.Generator) -> U8:
    """An outline that is softer, and farther out or in, than it is."""
    wide = ndimage.gaussian_filter(alpha / np.float32(255), rng.uniform(*SOFT))
    off = rng.uniform(-UNSURE, UNSURE)
    sure = (wide - 0.5 - off) * rng.uniform(1.0, 1.8) / (1.0 - 2.0 * abs(off)) + 0.5
    return np.clip(np.rint(255 * sure), 0, 255).astype(np.uint8)


def _labelled(regions: U8) -> U8:
    """Regions with skin between strands as hair, and single strands as what is behind them: nobody labels those."""
    before = MASK_OF_REGION[regions]
    after = outlined(before)
    out = regions.copy()
    out[(after == list(MASKS).index("hair")) & (before != after)] = REGIONS.index("hair")
    out[(after == list(MASKS).index("skin")) & (before != after)] = REGIONS.index("face")
    return out
