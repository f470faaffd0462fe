"""The texture atlas: where each kind of surface lies, and what lies under each texel."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SIZE: Final = 2048


class Rect(NamedTuple):
    """A rectangle of the atlas, in texels."""

    x: int
    y: int
    width: int
    height: int

    def place(self, unit: Array) -> Array:
        """Unit coordinates (n, 2) -> atlas coordinates in [0, 1], half a texel inside the border."""
        low = np.array([self.x + 1.5, self.y + 1.5])
        span = np.array([self.width - 3.0, self.height - 3.0])
        return ((low + unit * span) / SIZE).astype(np.float32)

    def window(self, texture: Array) -> Array:
        """View of a texture's texels in this rectangle."""
        return texture[self.y : self.y + self.height, self.x : self.x + self.width]


HEAD: Final = Rect(0, 0, 2048, 1082)
HAIR: Final = Rect(0, 1082, 768, 966)  # strands run down v
CLOTH: Final = Rect(768, 1082, 640, 640)
NECK: Final = Rect(768, 1722, 640, 326)
HAND: Final = Rect(1408, 1082, 640, 330)
MOUTH: Final = Rect(1408, 1412, 320, 240)
TONGUE: Final = Rect(1408, 1652, 160, 200)
TEETH: Final = Rect(1568, 1652, 160, 200)
EYE: Final = Rect(1728, 1412, 320, 320)
LASH: Final = Rect(1728, 1732, 320, 120)
TRIM: Final = Rect(1408, 1852, 640, 96)  # collar and cuffs, seamless along u
ARM: Final = Rect(1408, 1948, 544, 100)  # both bare arms share one painting
METAL: Final = Rect(1952, 1948, 96, 100)  # accessories: flat colours


def fit(uv: Array, turn: bool = False) -> Array:
    """Texture coordinates (n, 2) with v up -> unit coordinates with v down; ``turn`` by a quarter first."""
    plane = np.stack([uv[:, 1], uv[:, 0]], axis=1) if turn else np.stack([uv[:, 0], -uv[:, 1]], axis=1)
    low, high = plane.min(0), plane.max(0)
    return (plane - low) / (high - low)


def rasterise(uv: Array, faces: Array, values: Array, size: int = SIZE) -> tuple[Array, Array]:
    """Interpolates per-vertex values (n, C) over the atlas: (size, size, C) float32 and the covered mask.

    Triangles are grown by a texel and a half so that bilinear sampling never meets an unpainted texel.
    """
    out = np.zeros((size, size, values.shape[1]), np.float32)
    best = np.full((size, size), -np.inf, np.float32)
    pixels = (uv * size - 0.5).astype(np.float64)
    _fill(pixels, faces.astype(np.int64), values.astype(np.float32), out, best, 2.0)
    return out, best > -np.inf


@numba.njit(cache=True)
def _fill(uv: Array, faces: Array, values: Array, out: Array, best: Array, grow: float) -> None:
    size = out.shape[0]
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = uv[i, 0], uv[i, 1], uv[j, 0], uv[j, 1], uv[k, 0], uv[k, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        side = max(np.hypot(bx - ax, by - ay), np.hypot(cx - bx, cy - by), np.hypot(ax - cx, ay - cy))
        slack = -grow * side / abs(area)  # barycentric value this many texels outside the triangle
        x0, x1 = int(np.floor(min(ax, bx, cx) - grow)), int(np.ceil(max(ax, bx, cx) + grow))
        y0, y1 = int(np.floor(min(ay, by, cy) - grow)), int(np.ceil(max(ay, by, cy) + grow))
        for y in range(max(y0, 0), min(y1, size - 1) + 1):
            for x in range(max(x0, 0), min(x1, size - 1) + 1):
                v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                u = 1.0 - v - w
                inside = min(u, v, w)
                if inside < slack or min(inside, 0.0) <= best[y, x]:
                    continue
                best[y, x] = min(inside, 0.0)
                u, v, w = max(u, 0.0), max(v, 0.0), max(w, 0.0)
                total = u + v + w
                for c in range(values.shape[1]):
                    out[y, x, c] = (u * values[i, c] + v * values[j, c] + w * values[k, c]) / total
