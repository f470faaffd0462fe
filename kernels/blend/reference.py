"""What the blended layer gathers, the boring way: NumPy, one triangle at a time over the whole picture."""

from __future__ import annotations

import numpy as np

from kernels.blend.cpu import CLEAR, ENTRY
from kernels.jit import F64, Flags
from kernels.rasterize import Rasterizer
from kernels.rasterize.reference import barycentric, covers
from kernels.shade.reference import fetch
from kernels.texture import Paint


def seen_part(raster: Rasterizer, t: int) -> float:
    """How much of see-through triangle ``t`` is seen: by its own facing, and by that of the volume it belongs to."""
    corners = raster.blended_triangle[t]
    view = raster.place[corners].astype(np.float64)
    cx, cy = raster.size[1] / 2, raster.size[0] / 2
    view[:, :2] = (view[:, :2] - view[:, 2:] * (cx, cy)) / raster.focal
    ray = view[0] / np.linalg.norm(view[0])
    normal = np.cross(view[1] - view[0], view[2] - view[0])
    shading = raster.record[corners, 1:4].sum(0)
    edge = np.clip((abs(normal @ ray) / np.linalg.norm(normal) - 0.05) * 4, 0, 1)
    away = shading @ ray / np.linalg.norm(shading)
    return float(edge * edge * (3 - 2 * edge) * np.clip((0.55 - away) * 4, 0, 1))


def accumulate(raster: Rasterizer, paint: Paint, reference: float) -> tuple[F64, Flags]:
    """Entries (H,W,16) of the frame that ``raster`` has just drawn, and which pixels have one (H,W).

    Weighted order-independent transparency (McGuire & Bavoil 2013, eq. 6): a pixel's sums are over all fragments
    that the opaque samples let through, each weighted by alpha times a steep function of nearness.
    """
    height, width = raster.size
    entries, touched = np.zeros((height, width, ENTRY)), np.zeros((height, width), bool)
    entries[..., CLEAR] = 1.0
    row, column = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    solid = raster.buffer.nearness
    for t in range(raster.blended_count):
        corners, face = raster.blended_triangle[t], raster.blended_owner[t]
        xy = raster.xy[corners].astype(np.int64)
        if (xy[1, 0] - xy[0, 0]) * (xy[2, 1] - xy[0, 1]) > (xy[2, 0] - xy[0, 0]) * (xy[1, 1] - xy[0, 1]):
            xy, corners = xy[::-1], corners[::-1]
        inside = covers(xy, column * 512 + 256, row * 512 + 256, 2)
        values = barycentric(xy, column + 0.5, row + 0.5) @ raster.record[corners].astype(np.float64)
        q = values[..., 0]
        free = (solid <= q[..., None]).mean(-1)
        here = inside & (free > 0)
        if not here.any():
            continue
        q, z = q[here], 1 / values[here][:, :1]
        u, v = (values[here][:, 4:6] * z).T
        texel = fetch(paint.texture, u, v, max(float(paint.detail[face] + paint.bias), 0.0))
        alpha = texel[:, 3] * free[here] * seen_part(raster, t)
        weight = alpha * np.clip(q * reference, 0.25, 2.0) ** 64
        normal = values[here][:, 1:4]
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        normal[:, 2] = -np.abs(normal[:, 2])  # seen from both sides
        colour = texel[:, :3] / np.maximum(texel[:, 3:4], 1e-9)
        tangent = np.broadcast_to(paint.tangent[face], normal.shape)
        one = np.concatenate([colour, texel[:, 4:], normal, tangent, np.ones_like(z), z], 1) * weight[:, None]
        seen = alpha >= 1 / 256
        ys, xs = np.nonzero(here)
        ys, xs = ys[seen], xs[seen]
        entries[ys, xs, :CLEAR] += one[seen]
        entries[ys, xs, CLEAR] *= 1 - alpha[seen]
        touched[ys, xs] = True
    return entries, touched
