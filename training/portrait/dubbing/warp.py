"""A picture moved with a face: every pixel of the new picture is looked up where that place of the face was before.

The landmarks are the corners of a mesh of triangles with a hole between the lips; a ring around the face stays where it
is, so that the change fades out on cheeks and neck and there is no border to be seen. What lies in the hole is not
known here.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.ndimage import gaussian_filter
from scipy.spatial import Delaunay

from engine.motion.frame import ACTION_INDEX
from engine.tracking.face import EYES, MESH
from engine.tracking.solve import BASIS
from kernels.jit import F32, I32, U8, Flags, fast
from training.portrait.dubbing.lips import LOWER, UPPER, deltas

F64 = NDArray[np.float64]
Array = NDArray[Any]

OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
RING: Final = 1.32  # of the face's own size: the ring around it
BELOW: Final = 1.55  # and under the chin, where the neck gives way
OPENED: Final = 0.5  # jawOpen of the face that is cut into triangles: lips apart
LIPS: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 76, 62, 306, 292,
)  # fmt: skip
CALM: Final = 0.045  # of the eyes' distance: over so much the field is evened out, away from the lips
NEAR: Final = 12e-3  # metres from the lips within which it is not
FINE: Final = 4  # pieces that each stretch of the lips' edge is drawn in
SAMPLES: Final = 4  # a side of a pixel, for the share of it that lies between the lips
STAYS: Final = 0.02  # pixels of movement that are none


@dataclass(frozen=True)
class Warp:
    """A rectangle of a picture, from ``corner`` (x, y): where (h, w, 2) pixels of the film to look for each pixel;
    moves (h, w): whether it is another one; inside (h, w) in [0, 1]: how far it lies between the lips."""

    corner: tuple[int, int]
    where: F32
    moves: Flags
    inside: F32


@dataclass(frozen=True)
class Cut:
    """The mesh: ring (R, 3) metres in the face's frame, as offsets of ``of`` (R,) landmarks times a factor (R,) from
    the face's middle; faces (F, 3) into landmarks and ring; calm (468 + R,): how far the field may be evened out."""

    of: Array
    factor: F64
    faces: I32
    calm: F32


def ring(neutral: F64) -> F64:
    """(R, 3) metres: places around a face (468, 3) that stay where they are."""
    cut = mesh()
    middle = neutral[list(OVAL)].mean(0)
    out = neutral[cut.of].copy()
    out[:, :2] = middle[:2] + (out[:, :2] - middle[:2]) * cut.factor[:, None]
    return out


def warp(before: F64, after: F64, still: F64, size: tuple[int, int]) -> Warp | None:
    """The warp that takes landmarks ``before`` (468, 2) to ``after``, pixels, within a ``still`` ring (R, 2), in a
    picture of ``size`` (H, W). None when nothing of it lies in the picture."""
    cut = mesh()
    new = np.concatenate([after, still]) - 0.5  # from here on a pixel's middle has whole numbers
    old = np.concatenate([before, still]) - 0.5
    low = np.maximum(np.floor(new.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(new.max(0)).astype(int) + 2, size[::-1])
    if (high - low).min() < 4:
        return None
    width, height = (high - low).tolist()
    field = np.zeros((height, width, 3), np.float32)
    known = np.zeros((height, width), np.float32)
    values = np.concatenate([old - new, cut.calm[:, None]], axis=1).astype(np.float32)
    _draw((new - low).astype(np.float32), values, cut.faces, field, known)
    apart = float(np.linalg.norm(before[EYES[0]] - before[EYES[1]]))
    flow = _evened(field, known, CALM * apart)
    inside = between(new[:MESH] - low, (height, width))
    row, column = np.mgrid[:height, :width].astype(np.float32)
    where = np.stack([column + low[0], row + low[1]], -1) + flow
    moves = np.abs(flow).max(-1) > STAYS
    return Warp((int(low[0]), int(low[1])), np.ascontiguousarray(where, np.float32), moves, inside)


def look_up(picture: U8 | F32, where: F32, wanted: Flags) -> F32:
    """(h, w, 3) of a picture (H, W, 3) at pixels (h, w, 2), by a cubic (Catmull and Rom), its edge repeated; only where
    ``wanted``, else 0."""
    out = np.zeros((*where.shape[:2], 3), np.float32)
    _cubic(picture, where, wanted, out)
    return out


def between(points: F64, size: tuple[int, int]) -> F32:
    """(h, w) share of each pixel that lies between the lips of landmarks (468, 2) in pixels."""
    upper, lower = (_rounded(points[list(edge)]) for edge in (UPPER, LOWER))
    out = np.zeros(size, np.float32)
    outline = np.concatenate([upper, lower[-2:0:-1]])
    low, high = np.floor(outline.min(0)).astype(int), np.ceil(outline.max(0)).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, [size[1], size[0]])
    if (high > low).all():
        _fill(outline, low[0], low[1], out[low[1] : high[1], low[0] : high[0]])
    return out


@cache
def mesh() -> Cut:
    """The triangles, found once on the average face with its mouth open."""
    rest = load_file(BASIS)["rest"].astype(np.float64)
    face = rest + OPENED * deltas()[ACTION_INDEX["jawOpen"]]
    middle = rest[list(OVAL)].mean(0)
    down = np.clip((middle[1] - rest[list(OVAL), 1]) / (middle[1] - rest[152, 1]), 0.0, 1.0)
    factor = RING + (BELOW - RING) * down
    around = middle[:2] + (rest[list(OVAL), :2] - middle[:2]) * factor[:, None]
    flat = np.concatenate([face[:, :2], around])
    faces = Delaunay(flat).simplices
    hole = np.isin(faces, [*UPPER, *LOWER]).all(1)
    lips = face[list(LIPS), :2]
    apart = np.linalg.norm(flat[:, None] - lips, axis=2).min(1)
    inner = np.linalg.norm(flat[:, None] - face[[*UPPER, *LOWER], :2], axis=2).min(1)
    calm = np.clip(np.minimum(apart, inner) / NEAR, 0.0, 1.0)
    return Cut(np.array(OVAL), factor, np.ascontiguousarray(faces[~hole], np.int32), calm.astype(np.float32))


def _evened(field: F32, known: F32, reach: float) -> F32:
    """(h, w, 2) the flow, evened out over ``reach`` pixels where its third plane says so, and carried on into the
    hole."""
    flow, calm = field[..., :2], field[..., 2:]
    share = gaussian_filter(known, reach)[..., None]
    wide = np.stack([gaussian_filter(flow[..., k] * known, reach) for k in range(2)], -1) / np.maximum(share, 1e-3)
    small = max(0.25 * reach, 1.0)
    tight = gaussian_filter(known, small)[..., None]
    near = np.stack([gaussian_filter(flow[..., k] * known, small) for k in range(2)], -1) / np.maximum(tight, 1e-3)
    filled = np.where(known[..., None] > 0, flow, np.where(tight > 1e-2, near, wide))
    edge = gaussian_filter(known, 1.0)[..., None]  # nothing moves at the ring, and nothing beyond it
    return np.asarray(np.where(edge > 0, filled + calm * (wide - filled), 0.0) * _fade(known.shape), np.float32)


def _fade(size: tuple[int, int]) -> F32:
    """(h, w, 1) 1, and 0 at the rectangle's border."""
    row, column = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in size)
    return np.asarray(np.clip(np.minimum(row[:, None], column) / 3.0, 0, 1)[..., None], np.float32)


def _rounded(edge: F64) -> F64:
    """An edge (n, 2) as a curve through its points (Catmull and Rom)."""
    way = np.concatenate([2 * edge[:1] - edge[1:2], edge, 2 * edge[-1:] - edge[-2:-1]])
    a, b, c, d = way[:-3, None], way[1:-2, None], way[2:-1, None], way[3:, None]
    t = (np.arange(FINE) / FINE)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 2), edge[-1:]])


@fast
def _draw(at: F32, values: F32, faces: I32, out: F32, known: F32) -> None:
    """Triangles (F, 3) with corners ``at`` (V, 2): ``values`` (V, 3) into ``out`` (h, w, 3), 1 into ``known``."""
    height, width = known.shape
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = at[i, 0], at[i, 1], at[j, 0], at[j, 1], at[k, 0], at[k, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < np.float32(1e-4):
            continue
        x0, x1 = max(np.int64(np.ceil(min(ax, bx, cx))), 0), min(np.int64(np.floor(max(ax, bx, cx))), width - 1)
        y0, y1 = max(np.int64(np.ceil(min(ay, by, cy))), 0), min(np.int64(np.floor(max(ay, by, cy))), height - 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = np.float32(x), np.float32(y)
                u = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                v = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                w = np.float32(1.0) - u - v
                if min(u, v, w) >= np.float32(-1e-4):
                    known[y, x] = np.float32(1.0)
                    for c in range(3):
                        out[y, x, c] = u * values[i, c] + v * values[j, c] + w * values[k, c]


@fast
def _fill(outline: F64, left: int, top: int, out: F32) -> None:
    """The share of each pixel of ``out`` that lies within a closed outline (n, 2), by even and odd crossings."""
    count, step = outline.shape[0], 1.0 / SAMPLES
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            hits = 0
            for sy in range(SAMPLES):
                py = top + y - 0.5 + (sy + 0.5) * step
                for sx in range(SAMPLES):
                    px = left + x - 0.5 + (sx + 0.5) * step
                    odd = False
                    k = count - 1
                    for i in range(count):
                        yi, yk = outline[i, 1], outline[k, 1]
                        across = (outline[k, 0] - outline[i, 0]) * (py - yi)
                        if (yi > py) != (yk > py) and px < across / (yk - yi) + outline[i, 0]:
                            odd = not odd
                        k = i
                    if odd:
                        hits += 1
            out[y, x] = hits * step * step


@fast
def _cubic(picture: U8 | F32, where: F32, wanted: Flags, out: F32) -> None:
    height, width = picture.shape[0], picture.shape[1]
    weight = np.zeros((2, 4), np.float32)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            if not wanted[y, x]:
                continue
            fx, fy = np.floor(where[y, x, 0]), np.floor(where[y, x, 1])
            for axis in range(2):
                t = where[y, x, 0] - fx if axis == 0 else where[y, x, 1] - fy
                weight[axis, 0] = np.float32(0.5) * t * (-1 + t * (2 - t))
                weight[axis, 1] = np.float32(1.0) + np.float32(0.5) * t * t * (3 * t - 5)
                weight[axis, 2] = np.float32(0.5) * t * (1 + t * (4 - 3 * t))
                weight[axis, 3] = np.float32(0.5) * t * t * (t - 1)
            left, top = np.int64(fx) - 1, np.int64(fy) - 1
            for b in range(4):
                row = min(max(top + b, 0), height - 1)
                for a in range(4):
                    column = min(max(left + a, 0), width - 1)
                    share = weight[1, b] * weight[0, a]
                    for c in range(3):
                        out[y, x, c] += share * np.float32(picture[row, column, c])
            for c in range(3):
                out[y, x, c] = min(max(out[y, x, c], np.float32(0.0)), np.float32(255.0))
