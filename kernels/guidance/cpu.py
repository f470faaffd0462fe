"""Guidance planes on one CPU core (numba): sample the texture, spread the flow, and ask what the past knows."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels.blend.cpu import CLEAR
from kernels.jit import F32, I32, U8, Int, Real, fast, inlined
from kernels.rasterize.cpu import SLOT_MASK
from kernels.texture import Texture, fetch

SOLID: Final = 0.4  # of a pixel: blended faces that cover more are its surface
TOLERANCE: Final = 0.012  # metres by which a point may miss the depth seen before and still be the same


@inlined
def _signed(value: Real) -> Int:
    """A component of a unit vector as a byte."""
    return np.uint8(np.rint(min(max(np.float32(127.5) + np.float32(127.5) * value, np.float32(0)), np.float32(255))))


@fast
def drift(triangle: I32, owner: I32, count: int, place: F32, record: F32, motion: F32) -> None:
    """How the blended faces moved: ``motion`` (F,3) = pixels back to the previous frame (2), depth then over depth now.
    The mean of the corners; a face that was behind the previous eye did not move."""
    third = np.float32(1.0 / 3.0)
    for t in range(count):
        f = owner[t]
        motion[f, 0] = motion[f, 1] = motion[f, 2] = np.float32(0.0)
        for c in range(3):
            i = triangle[t, c]
            if not record[i, 8] > np.float32(1e-3) * record[i, 0]:
                motion[f, 0], motion[f, 1], motion[f, 2] = np.float32(0.0), np.float32(0.0), np.float32(1.0)
                break
            then, now = third / record[i, 8], third / place[i, 2]
            motion[f, 0] += record[i, 6] * then - place[i, 0] * now
            motion[f, 1] += record[i, 7] * then - place[i, 1] * now
            motion[f, 2] += record[i, 8] * third


@inlined
def _over(hi: U8, y: int, x: int, entry: F32) -> None:
    """Lays an entry of the blended layer over a pixel."""
    clear = entry[CLEAR]
    share = np.float32(255.0) * (np.float32(1.0) - clear) / entry[13]
    cover, half = np.float32(255.0) * (np.float32(1.0) - clear), np.float32(0.5)
    for c in range(3):
        hi[c, y, x] = np.uint8(min(clear * np.float32(hi[c, y, x]) + share * entry[c], np.float32(255.0)) + half)
    hi[3, y, x] = np.uint8(min(clear * np.float32(hi[3, y, x]) + cover, np.float32(255.0)) + half)
    hi[4, y, x] = np.uint8(min(clear * np.float32(hi[4, y, x]) + share * entry[3], np.float32(255.0)) + half)
    hi[5, y, x] = np.uint8(min(clear * np.float32(hi[5, y, x]) + share * entry[6], np.float32(255.0)) + half)


@fast
def reach(drawn: I32, slot_count: int, pixel: I32, width: int, span: I32) -> None:
    """``span`` (H,2): columns of each row that hold something, the opaque ones ``drawn`` and the blended ``pixel``."""
    for y in range(span.shape[0]):
        span[y, 0], span[y, 1] = drawn[y, 0], drawn[y, 1]
        if drawn[y, 0] >= drawn[y, 1]:
            span[y, 0], span[y, 1] = width, 0
    for k in range(slot_count):
        y, x = pixel[k] // width, pixel[k] % width
        span[y, 0], span[y, 1] = min(span[y, 0], x), max(span[y, 1], x + 1)


@fast
def wear(face: I32, uv: F32, detail: F32, texture: Texture, bias: Real, span: I32, words: Any, hi: U8) -> None:
    """The texture's bytes on the opaque surface: ``words`` (H,W) u64 and ``hi`` (6,H,W), both only within ``span``."""
    even_bytes, half = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0080008000800080)
    for y in range(face.shape[0]):
        for x in range(span[y, 0], span[y, 1]):
            f = face[y, x]
            if f < 0:
                words[y, x] = np.uint64(0)
                continue
            level = np.int64(max(detail[f] + bias, np.float32(0.0)))
            even, odd = fetch(texture, uv[0, y, x], uv[1, y, x], level)
            words[y, x] = ((even + half) >> np.uint64(8) & even_bytes) | ((odd + half) & ~even_bytes)
        for x in range(span[y, 0], span[y, 1]):
            word = words[y, x]
            hi[0, y, x], hi[1, y, x] = np.uint8(word), np.uint8(word >> np.uint64(8))
            hi[2, y, x], hi[3, y, x] = np.uint8(word >> np.uint64(16)), np.uint8(word >> np.uint64(24))
            hi[4, y, x], hi[5, y, x] = np.uint8(word >> np.uint64(32)), np.uint8(word >> np.uint64(56))


@fast
def veil(count: int, pixel: I32, layer: F32, hi: U8) -> None:
    """Lays the ``count`` entries of the blended layer over ``hi``."""
    for k in range(count):
        _over(hi, pixel[k] // hi.shape[2], pixel[k] % hi.shape[2], layer[k])


@fast
def lie(
    depth: F32, face: I32, region: U8, normal: F32, flow: F32, winner: I32, plane: F32, slot: I32, layer: F32,
    hair: Int, words: Any, span: I32, rotation: F32, near: Real, steps: Real, classes: U8,
    lo: U8, out_flow: F32, z: F32, mask: U8, before: F32,
) -> None:  # fmt: skip
    """How the nearest surface of each 2 x 2 pixels lies; blended faces are all of class ``hair``.

    All outputs are written everywhere, but ``out_flow`` only where ``mask`` is not 0. ``z`` (h,w): view depth, +inf
    without a surface; ``before``: that of the same point a frame ago; ``steps``: of depth a metre.
    """
    half, one, top, infinite = np.float32(0.5), np.float32(1.0), np.float32(255.0), np.float32(np.inf)
    solid = np.float32(1.0 - SOLID)
    for by in range(lo.shape[1]):
        begin = min(span[2 * by, 0], span[2 * by + 1, 0]) >> 1
        end = (max(span[2 * by, 1], span[2 * by + 1, 1]) + 1) >> 1
        for bx in range(lo.shape[2]):
            nearest, ny, nx, nk = infinite, -1, -1, -1
            if begin <= bx < end:
                for k in range(4):
                    y, x = 2 * by + (k >> 1), 2 * bx + (k & 1)
                    entry = slot[y, x]
                    if entry < 0 or layer[entry, CLEAR] > solid:
                        if face[y, x] >= 0 and depth[y, x] < nearest:
                            nearest, ny, nx, nk = depth[y, x], y, x, -1
                    elif layer[entry, 14] < nearest * layer[entry, 13]:
                        nearest, ny, nx, nk = layer[entry, 14] / layer[entry, 13], y, x, entry
            z[by, bx] = nearest
            if ny < 0:
                lo[0, by, bx] = lo[1, by, bx] = lo[2, by, bx] = 128
                lo[3, by, bx] = lo[4, by, bx] = lo[5, by, bx] = lo[6, by, bx] = mask[by, bx] = 0
                before[by, bx] = infinite
                continue
            if nk >= 0:
                over = one / layer[nk, 13]
                a, b, c = layer[nk, 7], layer[nk, 8], layer[nk, 9]
                length = one / np.sqrt(a * a + b * b + c * c + np.float32(1e-20))
                a, b, c = a * length, b * length, c * length
                lo[5, by, bx] = np.uint8(np.rint(min(layer[nk, 4] * over, one) * top))
                mask[by, bx] = hair
                out_flow[0, by, bx], out_flow[1, by, bx] = layer[nk, 10] * over, layer[nk, 11] * over
                before[by, bx] = layer[nk, 12] * over * nearest
            else:
                a, b, c = normal[0, ny, nx], normal[1, ny, nx], normal[2, ny, nx]
                lo[5, by, bx] = np.uint8(words[ny, nx] >> np.uint64(40))
                mask[by, bx] = classes[region[ny, nx]]
                out_flow[0, by, bx], out_flow[1, by, bx] = flow[0, ny, nx], flow[1, ny, nx]
                t = winner[ny, nx] & SLOT_MASK
                dx, dy = np.float32(nx) + half - plane[t, 0, 9], np.float32(ny) + half - plane[t, 0, 10]
                before[by, bx] = (plane[t, 0, 8] + dx * plane[t, 1, 8] + dy * plane[t, 2, 8]) * nearest
            for k in range(3):
                lo[k, by, bx] = _signed(rotation[0, k] * a + rotation[1, k] * b + rotation[2, k] * c)
            lo[3, by, bx] = np.uint8(np.rint(min(max(-c, np.float32(0.0)), one) * top))
            lo[4, by, bx] = np.uint8(np.rint(one + min(max((nearest - near) * steps, np.float32(0)), np.float32(254))))
            lo[6, by, bx] = mask[by, bx]


@fast
def spread(mask: U8, row: I32, stack: I32, flow: F32) -> None:
    """Gives every place without a surface the flow of the nearest surface (of equals: the leftmost, then the upper);
    0 where there is none at all. ``row`` (h,w) and ``stack`` (2,w) are scratch.

    The exact distance transform of Meijster, Roerdink and Hesselink (2000), which also keeps whose distance it is.
    """
    height, width = mask.shape
    for x in range(width):
        row[0, x] = 0 if mask[0, x] != 0 else -1
    for y in range(1, height):
        for x in range(width):
            row[y, x] = y if mask[y, x] != 0 else row[y - 1, x]
    for y in range(height - 2, -1, -1):
        for x in range(width):
            below = row[y + 1, x]
            if row[y, x] != y and below > y and (row[y, x] < 0 or below - y < y - row[y, x]):
                row[y, x] = below
    column, start = stack
    for y in range(height):
        count = 0
        for u in range(width):
            if row[y, u] < 0:
                continue
            far = (row[y, u] - y) * (row[y, u] - y)
            begin = 0
            while count > 0:
                i, t = column[count - 1], start[count - 1]
                near = (row[y, i] - y) * (row[y, i] - y)
                if (t - i) * (t - i) + near > (t - u) * (t - u) + far:
                    count -= 1
                    continue
                begin = (u * u - i * i + far - near) // (2 * (u - i)) + 1
                break
            if begin < width:
                column[count], start[count] = u, begin
                count += 1
        for x in range(width - 1, -1, -1):
            while count > 1 and start[count - 1] > x:
                count -= 1
            if mask[y, x] == 0:
                if count == 0:
                    flow[0, y, x] = flow[1, y, x] = np.float32(0.0)
                else:
                    u = column[count - 1]
                    flow[0, y, x], flow[1, y, x] = flow[0, row[y, u], u], flow[1, row[y, u], u]


@fast
def trust(mask: U8, before: F32, flow: F32, old_depth: F32, old_mask: U8, seen: U8) -> None:
    """``seen`` (h,w): 255 where the flow leads to a place inside the previous picture, and one of the four half-size
    places around it was of the same class, at the depth the point had then (within TOLERANCE); else 0."""
    rows, columns = mask.shape
    half, slack = np.float32(0.5), np.float32(TOLERANCE)
    for y in range(rows):
        for x in range(columns):
            px = np.float32(x) + half + half * flow[0, y, x]  # in half-size pixels
            py = np.float32(y) + half + half * flow[1, y, x]
            seen[y, x] = 0
            if not (px >= np.float32(0.0) and py >= np.float32(0.0) and px < columns and py < rows):
                continue
            u, v = np.int64(np.floor(px - half)), np.int64(np.floor(py - half))
            for k in range(4):
                i, j = min(max(v + (k >> 1), 0), rows - 1), min(max(u + (k & 1), 0), columns - 1)
                there = mask[y, x] == 0 or abs(old_depth[i, j] - before[y, x]) <= slack
                if old_mask[i, j] == mask[y, x] and there:
                    seen[y, x] = 255
                    break
