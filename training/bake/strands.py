"""Surfaces made of strands: lofted sheets, their fading edges, and strand cards.

Every surface is a grid whose columns are strands from root to tip, so texture v runs along the hair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import atlas, mesh
from training.bake.atlas import Rect
from training.bake.brush import ease
from training.bake.mesh import Part
from training.bake.rig import Rig

Array = NDArray[Any]
SHEET: Final = Rect(atlas.HAIR.x, atlas.HAIR.y, 448, atlas.HAIR.height)  # the volume's strands
INNER: Final = Rect(atlas.HAIR.x + 448, atlas.HAIR.y, 64, atlas.HAIR.height)  # its dark inside
CARDS: Final = Rect(atlas.HAIR.x + 512, atlas.HAIR.y, 256, atlas.HAIR.height)
CARD_KINDS: Final = 5  # the last one is a wisp of a few hairs
Strand = Callable[[Array, Array, float], Array]  # (a (n,), t (n,), lift) -> points (n, 3)


class Loft:
    """A strand function sampled once on a fine grid and smoothed: no corner of the formula survives."""

    def __init__(self, strand: Strand, a: tuple[float, float], t: tuple[float, float], smooth: int) -> None:
        across, along = np.linspace(*a, 97), np.linspace(*t, 73)
        grid_t, grid_a = np.meshgrid(along, across, indexing="ij")
        points = strand(grid_a.ravel(), grid_t.ravel(), 0.0).reshape(73, 97, 3)
        for _ in range(smooth):
            points[1:-1] = 0.5 * points[1:-1] + 0.25 * (points[:-2] + points[2:])
            points[:, 1:-1] = 0.5 * points[:, 1:-1] + 0.25 * (points[:, :-2] + points[:, 2:])
        out = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
        out /= np.maximum(np.linalg.norm(out, axis=2, keepdims=True), 1e-12)
        facing = (out * (points - np.array([0.0, 0.0, -0.082]))).sum()
        self._grid = np.concatenate([points, out * np.sign(facing)], axis=2)
        self._a, self._t = a, t

    def both(self, a: Array, t: Array) -> tuple[Array, Array]:
        """(points, unit normals) at ``a`` and ``t`` (n,)."""
        rows, columns = self._grid.shape[:2]
        y = np.clip((t - self._t[0]) / (self._t[1] - self._t[0]), 0, 1) * (rows - 1.001)
        x = np.clip((a - self._a[0]) / (self._a[1] - self._a[0]), 0, 1) * (columns - 1.001)
        j, i = y.astype(int), x.astype(int)
        v, u = (y - j)[:, None], (x - i)[:, None]
        grid = self._grid
        value = (grid[j, i] * (1 - u) + grid[j, i + 1] * u) * (1 - v) + (
            grid[j + 1, i] * (1 - u) + grid[j + 1, i + 1] * u
        ) * v
        normal = value[:, 3:]
        return value[:, :3], normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)

    def __call__(self, a: Array, t: Array, lift: float) -> Array:
        points, normal = self.both(a, t)
        return points + lift * normal


def sheet(
    strand: Strand, columns: int, rows: int, a: tuple[float, float], t: tuple[float, float], rect: Rect, rig: Rig,
    flip: bool, lift: float = 0.0,
) -> Part:  # fmt: skip
    """A lofted grid of strands with smooth normals of its own."""
    across, along = np.linspace(*a, columns), np.linspace(*t, rows)
    grid_t, grid_a = np.meshgrid(along, across, indexing="ij")
    points = strand(grid_a.ravel(), grid_t.ravel(), lift)
    faces = mesh.grid_faces(rows, columns)
    if flip:
        faces = faces[:, ::-1]
    unit = np.stack([(grid_a.ravel() - a[0]) / (a[1] - a[0]), grid_t.ravel()], axis=1)
    return Part(
        name="hair", rest=points, faces=faces, uv=rect.place(unit), region=np.zeros(0, np.uint8),
        weight=weights(rig, points), paint=np.c_[unit, np.zeros(len(unit))],
        normal=mesh.vertex_normals(points, faces),
    ).with_region("hair")  # fmt: skip


def inner(strand: Strand, rig: Rig, flip: bool) -> Part:
    """The dark inside of hanging hair, seen past the cheek and from below."""
    return sheet(strand, 22, 12, (0.02, 1.0), (0.34, 0.975), INNER, rig, flip=not flip, lift=-0.0060)


def split_edges(sheet: Part, columns: int, sides: bool = True, tip: float = 0.86) -> tuple[Part, Part]:
    """(opaque middle, alpha-blended front edge and tips) of a sheet."""
    assert sheet.normal is not None
    place = sheet.paint[sheet.faces].max(1)
    low = sheet.paint[sheet.faces].min(1)
    fading = place[:, 1] > tip
    if sides:
        fading |= low[:, 0] < 1.5 / columns
    out = []
    lap = low[:, 0] < 2.5 / columns if sides else np.zeros(len(low), bool)
    lap |= place[:, 1] > tip - 0.05  # the blended part reaches under the opaque one: no seam between them
    for rows, layer in ((~fading, 0), (fading | lap, 1)):
        keep, faces = mesh.compact(sheet.faces[rows], len(sheet.rest))
        raised = sheet.rest[keep] + 0.0003 * layer * sheet.normal[keep]
        cut = dataclasses.replace(
            sheet, rest=raised, faces=faces, uv=sheet.uv[keep], weight=sheet.weight[keep], paint=sheet.paint[keep],
            normal=sheet.normal[keep], region=sheet.region[rows], layer=layer,
        )  # fmt: skip
        out.append(cut)
    return out[0], out[1]


def card(
    strand: Loft, rig: Rig, generator: np.random.Generator, *, a: float, width: float, start: float, stop: float,
    lift: float, rows: int, kind: int | None = None,
) -> Part:  # fmt: skip
    """A long narrow ribbon that follows the strands just above the volume, with the volume's normals."""
    t = np.linspace(start, stop, rows)
    drift = generator.normal(0, 0.012) * np.linspace(0, 1, rows) ** 2
    taper = 1.0 - 0.45 * np.linspace(0, 1, rows) ** 2
    left, right = (strand(a + drift + sign * width * taper / 2, t, 0.0) for sign in (-1, 1))
    out = strand.both(a + drift, t)[1]
    rise = lift * ease(np.linspace(0, 1, rows), 0.0, 0.25) - 0.0004
    points = np.stack([left, right], axis=1) + (rise[:, None] * out)[:, None]
    points[:, 1] += generator.normal(0, 0.0006) * out  # one side a little prouder, as locks overlap
    side = right - left
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    normal = np.stack([out - 0.16 * side, out + 0.16 * side], axis=1)
    return ribbon("card", points.reshape(-1, 3), normal.reshape(-1, 3), generator, rig, short=False, kind=kind)


def ribbon(
    name: str,
    points: Array,
    normal: Array,
    generator: np.random.Generator,
    rig: Rig,
    short: bool,
    kind: int | None = None,
) -> Part:
    rows = len(points) // 2
    kind = int(generator.integers(CARD_KINDS - 1)) if kind is None else kind
    mirror = generator.random() < 0.5
    u = np.tile([0.0, 1.0] if not mirror else [1.0, 0.0], rows)
    u = (kind + 0.04 + 0.92 * u) / CARD_KINDS
    v = np.repeat(np.linspace(0.04 if short else 0.0, 1.0, rows), 2)
    faces = mesh.grid_faces(rows, 2)
    return Part(
        name=name, rest=points, faces=faces, uv=CARDS.place(np.stack([u, v], axis=1)),
        region=np.zeros(0, np.uint8), weight=weights(rig, points), paint=np.c_[u, v, np.zeros(len(u))], layer=1,
        normal=normal / np.linalg.norm(normal, axis=1, keepdims=True),
    ).with_region("hair")  # fmt: skip


def weights(rig: Rig, points: Array) -> Array:
    """Hair goes with the head; low tips lag a little with the neck."""
    weight = rig.rigid(len(points), "head")
    low = 0.30 * ease(-points[:, 1], 0.05, 0.13)
    weight[:, rig.index["head"]] -= low
    weight[:, rig.index["neck"]] += low
    return weight
