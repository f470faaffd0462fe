"""Guidance planes on one CPU core (numba): how blended faces move and cover, and what the past knows."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Final

import numpy as np

from kernels.blend.cpu import CLEAR
from kernels.jit import F32, I32, U8, fast, inlined

CLEAR_OF: Final = 0.75  # of other surfaces: that much of a place must be
TOLERANCE: Final = 0.012  # metres by which a point may miss the depth seen before and still be the same


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
def veil(count: int, pixel: I32, layer: F32, hi: U8) -> None:
    """Lays the ``count`` entries of the blended layer over ``hi``."""
    for k in range(count):
        _over(hi, pixel[k] // hi.shape[2], pixel[k] % hi.shape[2], layer[k])


@fast
def trust(mask: U8, before: F32, flow: F32, old_depth: F32, old_mask: U8, seen: U8) -> None:
    """``seen`` (h,w): 255 where the flow leads to a place inside the previous picture, one of the four half-size places
    around it was of the same class, at the depth the point had then (within TOLERANCE), and CLEAR_OF of them, weighed
    bilinearly, were no other surface than that one, whose colours would be dragged along; else 0."""
    rows, columns = mask.shape
    half, one, slack = np.float32(0.5), np.float32(1.0), np.float32(TOLERANCE)
    for y in range(rows):
        for x in range(columns):
            px = np.float32(x) + half + half * flow[0, y, x]  # in half-size pixels
            py = np.float32(y) + half + half * flow[1, y, x]
            seen[y, x] = 0
            if not (px >= np.float32(0.0) and py >= np.float32(0.0) and px < columns and py < rows):
                continue
            u, v = np.int64(np.floor(px - half)), np.int64(np.floor(py - half))
            fx, fy, alone, same = px - half - np.float32(u), py - half - np.float32(v), np.float32(0.0), False
            for k in range(4):
                i, j = min(max(v + (k >> 1), 0), rows - 1), min(max(u + (k & 1), 0), columns - 1)
                there = mask[y, x] == 0 or abs(old_depth[i, j] - before[y, x]) <= slack
                same |= there and old_mask[i, j] == mask[y, x]
                if there or old_mask[i, j] == 0:
                    alone += (fx if k & 1 else one - fx) * (fy if k >> 1 else one - fy)
            if same and alone >= np.float32(CLEAR_OF):
                seen[y, x] = 255
