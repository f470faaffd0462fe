"""Textures for the shading kernels: a mip pyramid of 8-channel texels, one uint64 each.

Bytes of a texel, low to high: red, green, blue (sRGB, times alpha), alpha, occlusion, gloss, subsurface, strand.
Packing eight bytes in one word makes a bilinear fetch sixteen integer multiplications for all channels together.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.jit import F32, U8, Int, Real, inlined

_EVEN = np.uint64(0x00FF00FF00FF00FF)


class Texture(NamedTuple):
    """A mip pyramid: texels (N,) u64, level after level; start (L,) first texel of each; side of level 0."""

    texels: NDArray[np.uint64]
    start: NDArray[np.int64]
    side: int


class Paint(NamedTuple):
    """What the faces of one picture wear.

    tangent (F,3) view-space strand direction; detail (F,) log2 of the uv length a pixel spans; bias: log2 of the
    texture's side, and mip levels to add; region (F,); cavity (256,): region to 0, or a class of overhung regions;
    reach (3,): for each class, metres below a lid or lip until it is in the light, times the focal length.
    """

    texture: Texture
    tangent: F32
    detail: F32
    bias: Real
    region: U8
    cavity: U8
    reach: F32


def build(albedo: NDArray[np.uint8], surface: NDArray[np.uint8]) -> Texture:
    """Pyramid of ``albedo`` (S,S,4) sRGB + alpha and ``surface`` (S,S,4). S must be a power of two.

    Colours are averaged in linear light and weighted by alpha. Raises ValueError on other shapes.
    """
    side = albedo.shape[0]
    for name, array in (("albedo", albedo), ("surface", surface)):
        if array.shape != (side, side, 4) or array.dtype != np.uint8:
            raise ValueError(f"{name} must be ({side},{side},4) uint8, got {array.shape} {array.dtype}")
    if side < 1 or side & (side - 1):
        raise ValueError(f"a texture's side must be a power of two, got {side}")
    alpha = albedo[..., 3:].astype(np.float32) / 255
    light = to_linear(albedo[..., :3].astype(np.float32) / 255) * alpha
    rest = np.concatenate([alpha, surface.astype(np.float32) / 255], -1)
    levels = []
    while True:
        alpha = np.maximum(rest[..., :1], 1e-6)
        colour = to_srgb(np.clip(light / alpha, 0, 1)) * rest[..., :1]
        texel = np.rint(np.concatenate([colour, rest], -1) * 255).astype(np.uint8)
        levels.append(np.ascontiguousarray(texel).view("<u8").astype(np.uint64).ravel())
        if len(levels[-1]) == 1:
            break
        light, rest = _halve(light), _halve(rest)
    start = np.cumsum([0, *(len(level) for level in levels[:-1])]).astype(np.int64)
    return Texture(np.concatenate(levels), start, side)


def to_linear(srgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB in [0,1] to linear light (IEC 61966-2-1)."""
    high = ((srgb + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, srgb / 12.92, high).astype(np.float32)


def to_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light in [0,1] to sRGB (IEC 61966-2-1)."""
    high = 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, high).astype(np.float32)


def _halve(image: NDArray[np.float32]) -> NDArray[np.float32]:
    half = image.shape[0] // 2
    return image.reshape(half, 2, half, 2, -1).mean((1, 3))


@inlined
def fetch(texture: Texture, u: Real, v: Real, level: Int) -> tuple[Int, Int]:
    """Bilinear texel at (u, v), clamped at the border: even and odd channels as four 16-bit fields each (65280 = 1)."""
    texels, start = texture.texels, texture.start
    level = min(max(level, 0), start.shape[0] - 1)
    size = texture.side >> level
    x, y = u * np.float32(size) - np.float32(0.5), v * np.float32(size) - np.float32(0.5)
    limit = np.float32(size - 1)
    x, y = min(max(x, np.float32(0.0)), limit), min(max(y, np.float32(0.0)), limit)
    ix, iy = np.int64(x), np.int64(y)
    fx, fy = np.uint64((x - np.float32(ix)) * np.float32(16.0)), np.uint64((y - np.float32(iy)) * np.float32(16.0))
    jx = np.uint64(min(ix + 1, size - 1))
    row0 = np.uint64(start[level] + iy * size)
    row1 = np.uint64(start[level] + min(iy + 1, size - 1) * size)
    t00, t10 = texels[row0 + np.uint64(ix)], texels[row0 + jx]
    t01, t11 = texels[row1 + np.uint64(ix)], texels[row1 + jx]
    sixteen, eight = np.uint64(16), np.uint64(8)
    w00, w10 = (sixteen - fx) * (sixteen - fy), fx * (sixteen - fy)
    w01, w11 = (sixteen - fx) * fy, fx * fy
    even = (t00 & _EVEN) * w00 + (t10 & _EVEN) * w10 + (t01 & _EVEN) * w01 + (t11 & _EVEN) * w11
    odd = (t00 >> eight & _EVEN) * w00 + (t10 >> eight & _EVEN) * w10
    odd += (t01 >> eight & _EVEN) * w01 + (t11 >> eight & _EVEN) * w11
    return even, odd


@inlined
def channel(fields: Int, place: Int) -> Real:
    """Field ``place`` (0..3) of one half of a fetched texel, as a float in [0, 1]."""
    return np.float32(np.int64(fields >> np.uint64(16 * place) & np.uint64(0xFFFF))) * np.float32(1.0 / 65280.0)
