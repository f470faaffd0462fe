"""Cloth before it is cut: one surface around the trunk and arms, and how it drapes over a person.

Garments are cut from it on the template, where everybody is the same, so that a cut, its texture layout and its
trimmings are worked out once; a person only drapes the cloth. A place on the cloth is a row of a sparse matrix over
the vertices of the base. Distances that cuts are described by (:func:`from_neck`, :func:`along_arm`) are metres on
the template.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from training.bake import mesh, prior
from training.bake.brush import ease, noise
from training.bake.prior import Person
from training.bake.rig import Rig

Array = NDArray[Any]
LOW: Final = -0.93  # template height below which there is no cloth
SLEEVE: Final = 0.185  # metres from the middle, on the template, where a sleeve begins
SHOULDER: Final = (0.178, -0.200)  # template x and y of the left shoulder
ARM: Final = (0.645, -0.764)  # direction of the template's left arm seen from the front
NECK: Final = (-0.085, 0.10)  # z of the neck's axis at the eyes' height, and its slope over y


class Base(NamedTuple):
    """n vertices, f faces. ``vertex`` (t,) template ids; ``rows`` (n, t) mixes them; ``average`` (n, n) neighbours."""

    vertex: Array
    rows: Any
    template: Array  # (n, 3)
    faces: Array  # (f, 3)
    average: Any


@dataclass(frozen=True)
class Fit:
    """How cloth hangs. Lengths in metres: ``ease`` over the trunk, ``arm`` over the arms; ``loose`` in [0, 1] is how
    far it falls straight from the chest; ``folds`` their height; ``stiff`` in [0, 1] bridges hollows."""

    ease: float = 0.008
    arm: float = 0.008
    loose: float = 0.5
    folds: float = 0.004
    stiff: float = 0.6


@dataclass(frozen=True)
class Draped:
    """The base on one person: points, unit normals (n, 3), bone weights (n, N), and the skin below it."""

    person: Person
    rig: Rig
    points: Array
    normals: Array
    weight: Array
    skin: Skin


class Skin(NamedTuple):
    """Skin below the jaw: a KD-tree over place and limb, points and normals."""

    tree: Any
    points: Array
    normals: Array


@cache
def base() -> Base:
    """The uncut cloth on the template: the prior's tights, finer about the neck and the shoulders."""
    points, _, groups = prior.template()
    tights = groups["helper-tights"].faces
    vertex, faces = mesh.compact(tights[points[tights].mean(1)[:, 1] > LOW], len(points))
    place, rows = points[vertex].astype(float), sparse.identity(len(vertex), format="csr")
    shoulder = (place[:, 1] > -0.25) & (np.abs(place[:, 0]) > 0.09)
    faces, place, rows = refine(faces, place, rows, (from_neck(place) < 0.12) | shoulder)
    return Base(vertex, rows, rows @ points[vertex].astype(float), faces, mesh.neighbours(faces, len(place)))


def refine(faces: Array, place: Array, rows: Any, where: Array) -> tuple[Array, Array, Any]:
    """Splits edges with both ends in ``where`` (n,); returns faces, places (n', 3) and rows (n', t) after it."""
    edges = _edges(faces)
    a, b = edges[where[edges].all(1)].T
    faces, place, _ = mesh.subdivide(faces, place, [], where)
    return faces, place, sparse.vstack([rows, 0.5 * (rows[a] + rows[b])]).tocsr()


def _edges(faces: Array) -> Array:
    """(e, 2) edges in the order mesh.subdivide numbers its new vertices."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(edges, axis=1), axis=0)


def limb(template: Array) -> Array:
    """-1 right arm, 0 trunk, 1 left arm, for template positions (n, 3): a fourth coordinate for nearness."""
    return np.sign(template[:, 0]) * (np.abs(template[:, 0]) > SLEEVE)


def turn(template: Array) -> Array:
    """Angle about the neck: 0 in front, positive to the left, pi at the nape."""
    return np.arctan2(template[:, 0], template[:, 2] - (NECK[0] + NECK[1] * template[:, 1]))


@cache
def _collar_ring() -> Any:
    """KD-tree of the rim of the tights, halfway up the neck."""
    points, _, groups = prior.template()
    tights = groups["helper-tights"].faces
    loops = mesh.boundary_loops(tights)
    ring = points[max(loops, key=lambda loop: points[loop][:, 1].mean())]
    t = np.linspace(0, 1, 40, endpoint=False)[:, None, None]
    return cKDTree((ring + t * (np.roll(ring, -1, 0) - ring)).reshape(-1, 3))


def from_neck(template: Array) -> Array:
    """Metres from the rim halfway up the neck, down to shoulders, chest and back; negative above the rim."""
    distance = _collar_ring().query(template)[0]
    return np.where(template[:, 1] > -0.108, -distance, distance)


def along_arm(template: Array) -> Array:
    """Metres down the arm from the shoulder; -1 on the trunk."""
    x, y = np.abs(template[:, 0]) - SHOULDER[0], template[:, 1] - SHOULDER[1]
    along, across = x * ARM[0] + y * ARM[1], x * ARM[1] - y * ARM[0]
    return np.where((np.abs(across) < 0.10) & (np.abs(template[:, 0]) > SLEEVE - 0.02), along, -1.0)


def skin_of(person: Person) -> Skin:
    """The skin that cloth must stay outside of."""
    faces = prior.template()[2]["body"].faces
    normal = mesh.vertex_normals(person.rest.astype(float), faces)
    low = np.flatnonzero((person.rest[: prior.BODY, 1] < -0.09) & (person.rest[: prior.BODY, 1] > -1.0))
    points = person.rest[low].astype(float)
    return Skin(cKDTree(np.c_[points, limb(person.template[low])]), points, normal[low])


def push_out(points: Array, skin: Skin, distance: Any, side: Any = 0.0) -> Array:
    """Lifts points to ``distance`` from the skin of their own limb: a hanging arm must not dent the waist."""
    _, near = skin.tree.query(np.c_[points, np.broadcast_to(side, len(points))], k=5)
    height = np.einsum("nkc,nkc->nk", points[:, None] - skin.points[near], skin.normals[near])
    worst, rows = height.argmin(1), np.arange(len(points))
    lack = np.clip(distance - height[rows, worst], 0.0, 0.05)
    return points + lack[:, None] * skin.normals[near[rows, worst]]


def drape(person: Person, rig: Rig, fit: Fit, skin: Skin, seed: int) -> Draped:
    """Lays the base over a person: bridges hollows, falls from the chest, folds, and stays off the skin."""
    cloth = base()
    points = cloth.rows @ person.rest[cloth.vertex].astype(float)
    weight = _calm(cloth.rows @ rig.weights(person, cloth.vertex), rig)
    side, arm = limb(cloth.template), ease(along_arm(cloth.template), 0.02, 0.12)
    free = ease(from_neck(cloth.template), 0.03, 0.09)
    cap = np.exp(-(((along_arm(cloth.template) - 0.02) / 0.06) ** 2)) * (cloth.template[:, 1] > -0.27)
    gap = (1.0 - 0.55 * cap) * (fit.ease + (fit.arm - fit.ease) * arm) * (0.60 + 0.40 * free)
    rate = (0.5 * fit.stiff * (1.0 - 0.55 * arm) * (0.25 + 0.75 * free))[:, None]
    for _ in range(5):
        points = push_out(_smooth(points, rate, 12), skin, gap, side)
    points = points + (fit.loose * (1.0 - arm) * free)[:, None] * (_hang(points, side, person) - points)
    points = points + mesh.vertex_normals(points, cloth.faces) * _folds(cloth.template, fit.folds, arm, seed)[:, None]
    points = mesh.unfold(push_out(_smooth(points, 0.6 * rate, 2), skin, 0.8 * gap, side), cloth.faces, 6)
    return Draped(person, rig, points, mesh.vertex_normals(points, cloth.faces), weight, skin)


def _smooth(points: Array, rate: Array, steps: int) -> Array:
    """Laplacian smoothing along the normal: cloth must not slide, or straight cuts on it turn ragged."""
    cloth = base()
    normal = mesh.vertex_normals(points, cloth.faces)
    for _ in range(steps):
        move = cloth.average @ points - points
        points = points + rate * (normal * (move * normal).sum(1, keepdims=True))
    return points


def _calm(weight: Array, rig: Rig) -> Array:
    """Cloth near the neck goes with the trunk: collars stay where they are when the head turns."""
    index = rig.index
    calm = weight.copy()
    for name, share in (("neck", 0.65), ("head", 1.0)):
        calm[:, index["spine"]] += share * calm[:, index[name]]
        calm[:, index[name]] *= 1.0 - share
    return calm


def _hang(points: Array, side: Array, person: Person) -> Array:
    """Where trunk points come to lie when the cloth falls straight from whatever sticks out above them."""
    columns, rows, slack = 64, 44, 0.10
    trunk = side == 0
    axis = float(np.median(points[trunk & (points[:, 1] < -0.35), 2]))
    offset = points[:, [0, 2]] - [0.0, axis]
    angle, radius = np.arctan2(offset[:, 0], offset[:, 1]), np.linalg.norm(offset, axis=1)
    top, low = -0.30, float(points[trunk, 1].min())
    grid = np.zeros((rows, columns))
    column = (angle / (2 * np.pi) * columns).astype(int) % columns
    row = np.clip(((top - points[:, 1]) / (top - low) * (rows - 1)).astype(int), 0, rows - 1)
    inside = trunk & (points[:, 1] < top)
    np.maximum.at(grid, (row[inside], column[inside]), radius[inside])
    step = (top - low) / (rows - 1)
    for k in range(1, rows):
        grid[k] = np.maximum(grid[k], grid[k - 1] - slack * step)
    from scipy.ndimage import gaussian_filter

    grid = gaussian_filter(grid, (1.0, 1.5), mode=("nearest", "wrap"))
    fall = np.maximum(grid[row, column], radius)
    share = (ease(-points[:, 1], 0.30, 0.40) * trunk)[:, None]
    out = points.copy()
    out[:, [0, 2]] = [0.0, axis] + offset * (1 + share * (fall / np.maximum(radius, 1e-6) - 1)[:, None])
    return out


def _folds(template: Array, height: float, arm: Array, seed: int) -> Array:
    """(n,) metres: long folds down the trunk, rings around the sleeves."""
    long = noise(template * [1.0, 0.22, 1.0], 17.0, 2, seed + 70) - 0.5
    ring = (
        noise(np.c_[along_arm(template) * 1.0, template[:, 2] * 0.35, 0.3 * template[:, 0]], 22.0, 2, seed + 71) - 0.5
    )
    down = ease(-template[:, 1], 0.24, 0.42)
    return 2.0 * height * (long * down * (1 - arm) + 0.8 * ring * arm)
