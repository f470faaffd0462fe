"""Textures for the shading kernels: a mip pyramid of 8-channel texels, one uint64 each.

Bytes of a texel, low to high: red, green, blue (sRGB, times alpha), alpha, occlusion, gloss, subsurface, strand.
Packing eight bytes in one word makes a bilinear fetch six integer multiplications for all channels together.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.jit import F32, I64, U8, U64, Flags, Int, Real, fast, inlined

_EVEN = np.uint64(0x00FF00FF00FF00FF)


class Texture(NamedTuple):
    """A mip pyramid: texels (N,) u64, level after level; start (L,) first texel of each; side of level 0."""

    texels: U64
    start: I64
    side: int


class Paint(NamedTuple):
    """What the faces of one picture wear.

    tangent (F,3) view-space strand direction; detail (F,) log2 of the uv length a pixel spans; bias: log2 of the
    texture's side, and mip levels to add; region (F,); cavity (256,): region to 0, or a class of overhung regions;
    reach (8,): for each class, metres below a lid or lip until it is in the light, times the focal length;
    floor (8,): for each class, the light right under the lid or lip; 1 for class 0.
    """

    texture: Texture
    tangent: F32
    detail: F32
    bias: Real
    region: U8
    cavity: U8
    reach: F32
    floor: F32


def build(albedo: U8, surface: U8, used: Flags | None = None) -> Texture:
    """Pyramid of ``albedo`` (S,S,4) sRGB + alpha and ``surface`` (S,S,4). S must be a power of two.

    Colours are averaged in linear light, weighted by alpha. Texels that no face wears, where ``used`` (S,S) is
    False, take no part: they are filled from the nearest ones that are worn, so that nothing bleeds over a seam
    at any level. Raises ValueError on other shapes.
    """
    side = albedo.shape[0]
    for name, array in (("albedo", albedo), ("surface", surface)):
        if array.shape != (side, side, 4) or array.dtype != np.uint8:
            raise ValueError(f"{name} must be ({side},{side},4) uint8, got {array.shape} {array.dtype}")
    if side < 1 or side & (side - 1):
        raise ValueError(f"a texture's side must be a power of two, got {side}")
    decode = to_linear(np.arange(256, dtype=np.float32) / np.float32(255))
    encode = to_srgb(np.linspace(0, 1, 4096, dtype=np.float32))
    sides = [side >> level for level in range(side.bit_length())]
    start = np.cumsum([0, *(size * size for size in sides[:-1])]).astype(np.int64)
    texels = np.empty(sum(size * size for size in sides), np.uint64)
    levels = [texels[begin : begin + size * size].reshape(size, size) for begin, size in zip(start, sides, strict=True)]
    worn = np.ones((side, side), np.bool_) if used is None or not used.any() else used
    masks, finer = [worn], np.empty((0, 0, 9), np.float32)
    _pack(albedo, surface, levels[0])
    for level, out in enumerate(levels[1:], 1):
        coarser = np.empty((*out.shape, 9), np.float32)
        if level == 1:
            _halve_bytes(albedo, surface, worn, decode, coarser)
        else:
            _halve(finer, coarser)
        _encode(coarser, encode, out)
        masks.append(coarser[..., 8] > 0)
        finer = coarser
    for level in range(len(levels) - 2, -1, -1):
        _fill(levels[level], levels[level + 1], masks[level])
    return Texture(texels, start, side)


@inlined
def _word(r: Real, g: Real, b: Real, a: Real, s0: Real, s1: Real, s2: Real, s3: Real) -> Int:
    """Eight channels, 0..255 as floats, as one texel."""
    half = np.float32(0.5)
    low = np.uint64(r + half) | np.uint64(g + half) << np.uint64(8) | np.uint64(b + half) << np.uint64(16)
    high = np.uint64(s0 + half) | np.uint64(s1 + half) << np.uint64(8) | np.uint64(s2 + half) << np.uint64(16)
    return low | np.uint64(a + half) << np.uint64(24) | (high | np.uint64(s3 + half) << np.uint64(24)) << np.uint64(32)


@fast
def _pack(albedo: U8, surface: U8, out: U64) -> None:
    """Level 0 from the bytes of the textures."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            a = np.float32(albedo[y, x, 3])
            k = a * np.float32(1.0 / 255.0)
            r, g, b = albedo[y, x, 0] * k, albedo[y, x, 1] * k, albedo[y, x, 2] * k
            s0, s1 = np.float32(surface[y, x, 0]), np.float32(surface[y, x, 1])
            s2, s3 = np.float32(surface[y, x, 2]), np.float32(surface[y, x, 3])
            out[y, x] = _word(r, g, b, a, s0, s1, s2, s3)


@fast
def _halve_bytes(albedo: U8, surface: U8, worn: Flags, decode: F32, out: F32) -> None:
    """Level 1 (S/2,S/2,9) from the bytes: linear colour times alpha (3), alpha, surface (4), number of worn texels."""
    over = np.float32(1.0 / 255.0)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for c in range(9):
                out[y, x, c] = np.float32(0.0)
            for k in range(4):
                j, i = 2 * y + k // 2, 2 * x + k % 2
                if worn[j, i]:
                    a = albedo[j, i, 3] * over
                    for c in range(3):
                        out[y, x, c] += a * decode[albedo[j, i, c]]
                    out[y, x, 3] += a
                    for c in range(4):
                        out[y, x, 4 + c] += surface[j, i, c] * over
                    out[y, x, 8] += np.float32(1.0)


@fast
def _halve(finer: F32, out: F32) -> None:
    """The next level from the one before: sums over 2 x 2."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for c in range(9):
                low = finer[2 * y, 2 * x, c] + finer[2 * y, 2 * x + 1, c]
                out[y, x, c] = low + finer[2 * y + 1, 2 * x, c] + finer[2 * y + 1, 2 * x + 1, c]


@fast
def _encode(level: F32, encode: F32, out: U64) -> None:
    """Sums to texels; where nothing is worn, 0."""
    top, white, zero = np.float32(encode.shape[0] - 1), np.float32(255.0), np.float32(0.0)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = np.uint64(0)
            if level[y, x, 8] == zero:
                continue
            each = white / level[y, x, 8]
            alpha = level[y, x, 3] * each
            over = top / max(level[y, x, 3], np.float32(1e-6))
            r = encode[np.int64(min(level[y, x, 0] * over, top))] * alpha
            g = encode[np.int64(min(level[y, x, 1] * over, top))] * alpha
            b = encode[np.int64(min(level[y, x, 2] * over, top))] * alpha
            s0, s1, s2, s3 = level[y, x, 4], level[y, x, 5], level[y, x, 6], level[y, x, 7]
            out[y, x] = _word(r, g, b, alpha, s0 * each, s1 * each, s2 * each, s3 * each)


@fast
def _fill(level: U64, coarser: U64, worn: Flags) -> None:
    """Gives texels that are not worn the colour of the coarser level, which has been filled already."""
    for y in range(level.shape[0]):
        for x in range(level.shape[1]):
            if not worn[y, x]:
                level[y, x] = coarser[y >> 1, x >> 1]


def to_linear(srgb: F32) -> F32:
    """sRGB in [0,1] to linear light (IEC 61966-2-1)."""
    high = ((srgb + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(srgb <= 0.04045, srgb / 12.92, high).astype(np.float32)


def to_srgb(linear: F32) -> F32:
    """Linear light in [0,1] to sRGB (IEC 61966-2-1)."""
    high = 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, high).astype(np.float32)


@inlined
def fetch(texture: Texture, u: Real, v: Real, level: Int) -> tuple[Int, Int]:
    """Bilinear texel at (u, v), clamped at the border: even and odd channels as four 16-bit fields each (65280 = 1).

    A blend of two packed words is one multiplication: 16 a + f (b - a) may borrow between fields on the way, but
    the sum is that of the fields, and each of those is in range.
    """
    texels, start = texture.texels, texture.start
    level = min(max(level, 0), start.shape[0] - 1)
    size = texture.side >> level
    limit, half, steps = np.float32(size - 1), np.float32(0.5), np.float32(16.0)
    x = min(max(u * np.float32(size) - half, np.float32(0.0)), limit)
    y = min(max(v * np.float32(size) - half, np.float32(0.0)), limit)
    ix, iy = np.int64(x), np.int64(y)
    fx, fy = np.uint64((x - np.float32(ix)) * steps), np.uint64((y - np.float32(iy)) * steps)
    upper = np.uint64(start[level] + iy * size + ix)
    right, down = np.uint64(ix < size - 1), np.uint64(size) * np.uint64(iy < size - 1)
    t00, t10 = texels[upper], texels[upper + right]
    t01, t11 = texels[upper + down], texels[upper + down + right]
    four, eight = np.uint64(4), np.uint64(8)
    a, b = t00 & _EVEN, t01 & _EVEN
    a = (a << four) + fx * ((t10 & _EVEN) - a)
    b = (b << four) + fx * ((t11 & _EVEN) - b)
    c, d = t00 >> eight & _EVEN, t01 >> eight & _EVEN
    c = (c << four) + fx * ((t10 >> eight & _EVEN) - c)
    d = (d << four) + fx * ((t11 >> eight & _EVEN) - d)
    return (a << four) + fy * (b - a), (c << four) + fy * (d - c)


@inlined
def channel(fields: Int, place: Int) -> Real:
    """Field ``place`` (0..3) of one half of a fetched texel, as a float in [0, 1]."""
    return np.float32(np.int64(fields >> np.uint64(16 * place) & np.uint64(0xFFFF))) * np.float32(1.0 / 65280.0)
