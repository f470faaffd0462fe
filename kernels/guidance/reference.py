"""What the guidance planes are, the boring way: NumPy over whole pictures, distances by trying every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.guidance.blocks import SOLID
from kernels.guidance.cpu import CLEAR_OF, TOLERANCE
from kernels.jit import F32, F64, I32, I64, U8
from kernels.rasterize import GBuffer
from kernels.texture import Texture


def texel(texture: Texture, u: F64, v: F64, level: I64) -> U8:
    """(N,8) bytes at (u, v) (N,): bilinear in sixteenths of a texel, clamped at the border."""
    level = np.minimum(level, len(texture.start) - 1)
    size = texture.side >> level
    x, y = (np.clip(w * size - 0.5, 0, size - 1) for w in (u, v))
    ix, iy = x.astype(np.int64), y.astype(np.int64)
    fx, fy = (((a - b) * 16).astype(np.int64)[:, None] for a, b in ((x, ix), (y, iy)))
    jx, jy = np.minimum(ix + 1, size - 1), np.minimum(iy + 1, size - 1)

    def at(row: I64, column: I64) -> I64:
        words = texture.texels[texture.start[level] + row * size + column]
        return words.astype("<u8").view(np.uint8).reshape(-1, 8).astype(np.int64)

    upper = at(iy, ix) * (16 - fx) + at(iy, jx) * fx
    lower = at(jy, ix) * (16 - fx) + at(jy, jx) * fx
    total: Any = upper * (16 - fy) + lower * fy + 128
    return (total >> 8).astype(np.uint8)


def blocks(plane: Any) -> Any:
    """(..., H, W) to (..., h, w, 4): the pixels of each 2 x 2 block, row by row."""
    *front, height, width = plane.shape
    cut = plane.reshape(*front, height // 2, 2, width // 2, 2)
    return np.moveaxis(cut, -3, -2).reshape(*front, height // 2, width // 2, 4)


def shone(surface: U8, light: F32, normal: F64) -> U8:
    """(3,N) bytes in ``light`` (3,12), by their normals (3,N)."""
    x, y, z = normal
    terms = np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, y * z, x * z])
    factor = np.clip(light[:, :10].astype(np.float64) @ terms, light[:, 10:11], light[:, 11:])
    return np.rint(np.minimum(surface * factor, 255)).astype(np.uint8)


def sample(g: GBuffer, winner: I32, plane: F32, detail: F32, slot: I32, layer: F32, hair: int, texture: Texture,
           light: F32, kinds: U8, rotation: F32, middle: float, depth: float, classes: U8,
           ) -> tuple[U8, U8, F64, F64, U8, F64]:  # fmt: skip
    """(hi, lo, flow, depth, mask, depth a frame ago); flow and depths are those of the nearest of each four."""
    size = g.face.shape
    on = g.face >= 0
    level = np.maximum(detail[g.face[on]] + np.log2(texture.side), 0).astype(np.int64)
    surface = np.zeros((8, *size), np.uint8)
    surface[:, on] = texel(texture, g.uv[0][on], g.uv[1][on], level).T
    outward = np.einsum("ka,khw->ahw", rotation.astype(np.float64), g.normal.astype(np.float64))
    kind = np.where(on, kinds[g.region], 0)
    for k in (1, 2):
        surface[:3, kind == k] = shone(surface[:3, kind == k], light[k - 1], outward[:, kind == k])
    veiled = slot >= 0
    entry = np.where(veiled[..., None], layer[np.maximum(slot, 0)], 1).astype(np.float64)  # (H,W,16)
    clear = np.where(veiled, entry[..., 15], 1)
    mean = np.moveaxis(entry / entry[..., 13:14], 2, 0)
    veil = np.stack([*mean[:3], np.ones(size), mean[3], mean[6]])
    hi = np.floor(clear * surface[[0, 1, 2, 3, 4, 7]] + (1 - clear) * 255 * veil + 0.5).astype(np.uint8)

    solid = veiled & (clear <= 1 - SOLID)  # what a pixel's surface is: blended, opaque or none
    some = solid | on
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    rows = plane[np.where(on, winner & ((1 << 23) - 1), 0)].astype(np.float64)
    then = rows[..., 0, 8] + (x - rows[..., 0, 9]) * rows[..., 1, 8] + (y - rows[..., 0, 10]) * rows[..., 2, 8]
    z = np.where(solid, mean[14], np.where(on, g.depth, np.inf))
    chosen = blocks(z).argmin(-1)[..., None]  # the first of equals

    def pick(blended: Any, opaque: Any) -> Any:
        cut = blocks(np.where(solid, blended, opaque))
        return np.take_along_axis(cut, np.broadcast_to(chosen, (*cut.shape[:-1], 1)), -1)[..., 0]

    there, depths = pick(some, some), pick(z, z)
    turned = mean[7:10] / np.linalg.norm(mean[7:10], axis=0)
    normal = pick(turned, g.normal.astype(np.float64))
    world = np.einsum("ka,khw->ahw", rotation.astype(np.float64), normal)
    mask = np.where(there, pick(np.full(size, hair), classes[g.region]), 0).astype(np.uint8)
    along = 1 + np.clip((np.where(there, depths, 0) - middle + depth) * 254 / (2 * depth), 0, 254)
    lo = np.concatenate([
        np.where(there, np.rint(np.clip(127.5 + 127.5 * world, 0, 255)), 128),
        [np.where(there, np.rint(255 * np.clip(-normal[2], 0, 1)), 0), np.where(there, np.rint(along), 0)],
        [np.where(there, pick(np.rint(255 * mean[4]), surface[5]), 0), mask],
    ]).astype(np.uint8)  # fmt: skip
    with np.errstate(invalid="ignore"):
        before = np.where(there, pick(mean[12], then) * depths, np.inf)
    return hi, lo, pick(mean[10:12], g.flow.astype(np.float64)), depths, mask, before


def spread(mask: U8, flow: F64) -> F64:
    """``flow`` (2,h,w) where ``mask`` is not 0, elsewhere that of the nearest such place; 0 if there is none."""
    out = np.zeros_like(flow)
    y, x = np.nonzero(mask)
    order = np.lexsort((y, x))  # of equals the leftmost, then the upper
    y, x = y[order], x[order]
    if len(y):
        for i, j in np.ndindex(*mask.shape):
            near = np.argmin((y - i) ** 2 + (x - j) ** 2)
            out[:, i, j] = flow[:, y[near], x[near]]
    return out


def trust(mask: U8, before: F64, flow: F64, old_depth: F32, old_mask: U8) -> U8:
    """Whether the previous frame showed the same thing where the flow leads: 255, else 0."""
    height, width = mask.shape
    seen = np.zeros(mask.shape, np.uint8)
    for i, j in np.ndindex(height, width):
        x, y = j + 0.5 + 0.5 * flow[0, i, j], i + 0.5 + 0.5 * flow[1, i, j]
        if not (0 <= x < width and 0 <= y < height):
            continue
        u, v = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
        fx, fy, alone, same = x - 0.5 - u, y - 0.5 - v, 0.0, False
        for k, m, w in ((v, u, (1 - fx) * (1 - fy)), (v, u + 1, fx * (1 - fy)), (v + 1, u, (1 - fx) * fy),
                        (v + 1, u + 1, fx * fy)):  # fmt: skip
            k, m = min(max(k, 0), height - 1), min(max(m, 0), width - 1)
            there = mask[i, j] == 0 or abs(old_depth[k, m] - before[i, j]) <= TOLERANCE
            same |= there and old_mask[k, m] == mask[i, j]
            alone += w if there or old_mask[k, m] == 0 else 0.0
        seen[i, j] = 255 if same and alone >= CLEAR_OF else 0
    return seen
