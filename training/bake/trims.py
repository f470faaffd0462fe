"""Trimmings: bands, collars, lapels, plackets, buttons and cords, anchored on the base cloth of fabric.py.

A trimming is a sheet of points (rows by columns). Each is anchored somewhere on the base and lifted off it, so one
description fits everybody. What depends on the template alone is worked out once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from training.bake import fabric, mesh
from training.bake.atlas import Rect
from training.bake.fabric import Draped
from training.bake.mesh import Part
from training.bake.pattern import Cut, Pattern, pattern

Array = NDArray[Any]
# The rectangle TRIM of the atlas: ribbed knit, two plain cloths, and small things.
RIB: Final = Rect(1408, 1852, 640, 40)
PLAIN: Final = Rect(1408, 1892, 256, 56)  # of the top's own cloth
SECOND: Final = Rect(1664, 1892, 256, 56)  # of the other cloth: trim colour
NOTION: Final = Rect(1920, 1892, 64, 56)  # a shirt's buttons, cords
HORN: Final = Rect(1984, 1892, 64, 56)  # a jacket's buttons


@dataclass(frozen=True)
class Sheet:
    """R rows by C columns of points: ``rows`` (R*C, n) anchors on the base, ``lift`` (R*C,) metres along its normal,
    ``offset`` (R*C, 3) metres in the world. ``closed`` joins the last column to the first. Rows ``bridge`` span
    hollows in a straight line instead of following the cloth; ``even`` irons out the cloth's unevenness."""

    name: str
    shape: tuple[int, int]
    rows: Any
    lift: Array
    rect: Rect
    closed: bool = False
    offset: Array | float = 0.0
    bridge: tuple[int, int] | None = None
    region: str = "torso"
    even: tuple[int, int] = (0, 0)  # rounds of smoothing down the columns and along the rows
    span: float = 1.0  # share of the rectangle's width that the columns take

    def part(self, draped: Draped) -> Part:
        """The sheet on a person, split at its seam."""
        count, columns = self.shape
        normal = self.rows @ draped.normals
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        points = self.rows @ draped.points + self.lift[:, None] * normal + self.offset
        if self.bridge is not None:
            points = _bridge(points.reshape(count, columns, 3), normal.reshape(count, columns, 3), *self.bridge)
        points = _iron(points.reshape(count, columns, 3), self.even, self.closed)
        weight = self.rows @ draped.weight
        around = np.arange(columns + 1) % columns if self.closed else np.arange(columns)
        pick = (np.arange(count)[:, None] * columns + around).ravel()
        unit = np.stack(np.meshgrid(np.linspace(0, 1, len(around)), np.linspace(0, 1, count)), axis=-1).reshape(-1, 2)
        unit[:, 0] *= self.span
        return Part(
            name=self.name, rest=points[pick], faces=mesh.grid_faces(count, len(around)), uv=self.rect.place(unit),
            region=np.zeros(0, np.uint8), weight=weight[pick], paint=np.c_[unit, np.zeros(len(unit))],
            weld=mesh.first_of(pick),
        ).with_region(self.region)  # fmt: skip


def _iron(points: Array, even: tuple[int, int], closed: bool) -> Array:
    """Smooths (R, C, 3) along both directions; open ends stay."""
    for axis, rounds in enumerate(even):
        for _ in range(rounds):
            near = 0.5 * (np.roll(points, 1, axis) + np.roll(points, -1, axis))
            ends = points.take([0, -1], axis).copy()
            points = 0.5 * points + 0.5 * near
            if axis == 0:
                points[[0, -1]] = ends
            elif not closed:
                points[:, [0, -1]] = ends
    return points.reshape(-1, 3)


def _bridge(points: Array, normal: Array, first: int, last: int) -> Array:
    """Rows between ``first`` and ``last`` lie on the chord wherever the cloth dips below it."""
    for k in range(first + 1, last):
        t = (k - first) / (last - first)
        chord = (1 - t) * points[first] + t * points[last]
        above = ((chord - points[k]) * normal[k]).sum(1, keepdims=True)
        points[k] += np.where(above > 0, chord - points[k], 0.0)
    return points.reshape(-1, 3)


def closest(points: Array) -> Any:
    """Rows (q, n) of the places on the base nearest to template points (q, 3)."""
    cloth = fabric.base()
    corners = cloth.template[cloth.faces]
    _, near = _centres().query(points, k=12)
    a, ab, ac = corners[near, 0], corners[near, 1] - corners[near, 0], corners[near, 2] - corners[near, 0]
    ap = points[:, None] - a
    d = [(x * y).sum(-1) for x, y in ((ab, ab), (ab, ac), (ac, ac), (ap, ab), (ap, ac))]
    determinant = np.maximum(d[0] * d[2] - d[1] ** 2, 1e-18)
    v, w = (d[2] * d[3] - d[1] * d[4]) / determinant, (d[0] * d[4] - d[1] * d[3]) / determinant
    share = np.clip(np.stack([1 - v - w, v, w], axis=-1), 0.0, None)  # clamped: good enough near an edge
    share /= share.sum(-1, keepdims=True)
    away = np.linalg.norm((corners[near] * share[..., None]).sum(2) - points[:, None], axis=-1)
    best = away.argmin(1)
    line = np.arange(len(points))
    return _rows(cloth.faces[near[line, best]], share[line, best])


def before(x: Array, y: Array) -> Any:
    """Rows of the places on the front of the base that are seen at template x, y (q,) from before."""
    cloth = fabric.base()
    front = cloth.faces[mesh.face_normals(cloth.template, cloth.faces)[:, 2] > 0]
    front = front[(np.abs(cloth.template[front, 0]) < 0.21).all(1)]
    return _locate(cloth.template[:, :2], front, np.stack([x, y], axis=1))


def about_neck(turn: Array, reach: Array) -> Any:
    """Rows at angles about the neck (0 before, pi at the nape) and distances from halfway up it, (q,) both."""
    cloth = fabric.base()
    angle, distance = fabric.turn(cloth.template), fabric.from_neck(cloth.template)
    faces = cloth.faces[(distance[cloth.faces] < 0.24).all(1)]
    plane = np.stack([angle * 0.08, distance], axis=1)
    whole = 2 * np.pi * 0.08
    span = plane[faces, 0].max(1) - plane[faces, 0].min(1)
    count = len(plane)
    both = np.concatenate([plane, plane + [whole, 0.0]])  # a second copy, one turn on, for faces across the nape
    across = span > whole / 2
    split = np.where(plane[faces, 0] < 0, faces + count, faces)
    faces = np.concatenate([np.where(across[:, None], split, faces)])
    query = np.stack([(turn + np.pi) % (2 * np.pi) * 0.08 - whole / 2, reach], axis=1)
    rows = _locate(both, faces, query, again=np.array([whole, 0.0]))
    return (rows[:, :count] + rows[:, count:]).tocsr()


def _locate(plane: Array, faces: Array, queries: Array, again: Array | None = None) -> Any:
    """Rows of plane points in the triangles that hold them; outside all, in the nearest. ``again``: also look there."""
    a = plane[faces[:, 0]]
    ab, ac = plane[faces[:, 1]] - a, plane[faces[:, 2]] - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)
    index, share = np.zeros((len(queries), 3), int), np.zeros((len(queries), 3))
    for k, query in enumerate(queries):
        best = -np.inf
        for place in (query,) if again is None else (query, query + again):
            ap = place - a
            v = (ap[:, 0] * ac[:, 1] - ap[:, 1] * ac[:, 0]) / area
            w = (ab[:, 0] * ap[:, 1] - ab[:, 1] * ap[:, 0]) / area
            inside = np.minimum(np.minimum(v, w), 1 - v - w)
            face = int(inside.argmax())
            if inside[face] > best:
                best = inside[face]
                index[k], share[k] = faces[face], (1 - v[face] - w[face], v[face], w[face])
    share = np.clip(share, 0.0, None)
    return _rows(index, share / share.sum(1, keepdims=True), len(plane))


def _rows(index: Array, share: Array, width: int | None = None) -> Any:
    count = len(index)
    place = (np.repeat(np.arange(count), 3), index.ravel())
    return sparse.csr_matrix((share.ravel(), place), (count, width or len(fabric.base().template)))


@cache
def _centres() -> Any:
    cloth = fabric.base()
    return cKDTree(cloth.template[cloth.faces].mean(1))


def edges(cut: Cut) -> dict[str, Array]:
    """Open edges of a cut's pattern on the template, evenly resampled: "neck" (96, 3), "left", "right" (24, 3)."""
    made: Pattern = pattern(cut)
    out: dict[str, Array] = {}
    for loop in made.loops():
        place = made.template[loop]
        middle = place.mean(0)
        if np.abs(cut.neck(place)).mean() < 0.006:
            tip = int(np.hypot(place[:, 0], place[:, 1] - (cut.vee or -1.0)).argmin())
            out["neck"] = _resample(np.roll(place, -tip, axis=0), 96, 1)
        elif np.abs(cut.cuff(place)).mean() < 0.006:
            out["left" if middle[0] > 0 else "right"] = _resample(place, 24, 3)
    return out


def _resample(loop: Array, count: int, rounds: int) -> Array:
    """``count`` evenly spaced points of a closed loop, a little smoothed but for the first: it may be a V's tip."""
    closed = np.concatenate([loop, loop[:1]])
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))]
    at = np.linspace(0, length[-1], count, endpoint=False)
    ring = np.stack([np.interp(at, length, column) for column in closed.T], axis=1)
    for _ in range(rounds):
        ring = 0.5 * ring + 0.25 * (np.roll(ring, 1, 0) + np.roll(ring, -1, 0))
        ring[0] = loop[0]
    return ring


def band(
    cut: Cut, edge: str, profile: tuple[tuple[float, float], ...], rect: Rect, name: str, columns: int | None = None
) -> Sheet:
    """A band along an open edge. ``profile``: (metres beyond the edge, metres off the base) of each row."""
    ring = edges(cut)[edge]
    if columns is not None:
        ring = _resample(ring, columns, 0)
    cloth = fabric.base()
    normals = mesh.vertex_normals(cloth.template, cloth.faces)
    rows, lifts = [], []
    normal = closest(ring) @ normals
    tangent = np.roll(ring, -1, 0) - np.roll(ring, 1, 0)
    beyond = np.cross(normal, tangent)
    beyond /= np.linalg.norm(beyond, axis=1, keepdims=True)
    level = cut.neck if edge == "neck" else cut.cuff
    if (level(ring + 0.004 * beyond) - level(ring - 0.004 * beyond)).mean() > 0:
        beyond = -beyond
    for _ in range(2 if edge == "neck" else 0):  # at the tip of a V the directions part gently
        beyond = 0.5 * beyond + 0.25 * (np.roll(beyond, 1, 0) + np.roll(beyond, -1, 0))
    for out, lift in profile:
        rows.append(closest(ring + out * beyond))
        lifts.append(np.full(len(ring), lift))
    region = "torso" if edge == "neck" else "arms"
    return outward(Sheet(
        name, (len(profile), len(ring)), sparse.vstack(rows).tocsr(), np.concatenate(lifts), rect, True, region=region,
        even=(0, 1 if edge == "neck" and cut.vee is None else 0),
    ), 1)  # fmt: skip


def outward(sheet: Sheet, row: int) -> Sheet:
    """The sheet with its columns in the order that makes the two rows of faces below ``row`` look out of the cloth."""
    count, columns = sheet.shape
    cloth, some = fabric.base(), slice(row * columns, (row + 2) * columns)
    normal = (sheet.rows[some] @ mesh.vertex_normals(cloth.template, cloth.faces)).reshape(2, columns, 3)
    offset = sheet.offset[some].reshape(2, columns, 3) if isinstance(sheet.offset, np.ndarray) else sheet.offset
    points = (sheet.rows[some] @ cloth.template).reshape(2, columns, 3)
    points = points + sheet.lift[some].reshape(2, columns, 1) * normal + offset
    across, down = np.diff(points, axis=1)[0], np.diff(points, axis=0)[0, :-1]
    facing = (np.cross(down, across) * normal[0, :-1]).sum()
    return sheet if facing > 0 else turned_over(sheet)


def turned_over(sheet: Sheet) -> Sheet:
    """The same sheet, facing the other way."""
    count, columns = sheet.shape
    order = np.arange(count * columns).reshape(count, columns)[:, ::-1].ravel()
    offset = sheet.offset[order] if isinstance(sheet.offset, np.ndarray) else sheet.offset
    return dataclasses.replace(sheet, rows=sheet.rows[order], lift=sheet.lift[order], offset=offset)
