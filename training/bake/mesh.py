"""Mesh pieces of one avatar and how they are joined. Everything is NumPy and offline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS
from engine.motion.frame import K, R

Array = NDArray[Any]


@dataclass
class Part:
    """A piece of the body. ``n`` vertices, ``f`` faces, N bones.

    ``uv`` is already the atlas', in [0, 1]. ``paint`` are the coordinates its paint is laid out in. Deltas and
    residuals may be None (nothing moves but the bones); ``normal`` fixes rest normals when given.
    """

    name: str
    rest: Array  # (n, 3)
    faces: Array  # (f, 3)
    uv: Array  # (n, 2)
    region: Array  # (f,) u8
    weight: Array  # (n, N)
    paint: Array  # (n, 3)
    layer: int = 0
    weld: Array | None = None  # (n,) representative within the part
    deltas: Array | None = None  # (52, n, 3)
    residual: Array | None = None  # (8, n, 3)
    normal: Array | None = None  # (n, 3)
    channel: dict[str, Array] = field(default_factory=dict)  # further per-vertex values the painters want

    def with_region(self, name: str) -> Part:
        """The same part, all of one region."""
        self.region = np.full(len(self.faces), REGIONS.index(name), np.uint8)
        return self


def unify(faces: Array, uv_faces: Array) -> tuple[Array, Array, Array]:
    """Splits vertices at texture seams: (vertex of each new vertex, texture coordinate of it, new faces)."""
    key = faces.astype(np.int64).ravel() * 1_000_000 + uv_faces.ravel()
    unique, inverse = np.unique(key, return_inverse=True)
    return unique // 1_000_000, unique % 1_000_000, inverse.reshape(-1, 3).astype(np.int32)


def first_of(values: Array) -> Array:
    """For each entry, the index of the first equal entry: a weld from original vertex ids."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int32)


def face_normals(points: Array, faces: Array) -> Array:
    """(f, 3) cross products: direction of the face, length twice its area."""
    corner = points[faces]
    return np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])


def vertex_normals(points: Array, faces: Array, weld: Array | None = None) -> Array:
    """(n, 3) area-weighted unit normals."""
    weld = np.arange(len(points)) if weld is None else weld
    total = np.zeros_like(points, dtype=np.float64)
    cross = face_normals(points, faces)
    for corner in range(3):
        np.add.at(total, weld[faces[:, corner]], cross)
    unit = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
    return unit[weld]


def compact(faces: Array, count: int) -> tuple[Array, Array]:
    """(kept vertex ids, faces renumbered to them)."""
    used = np.zeros(count, bool)
    used[faces.ravel()] = True
    number = np.cumsum(used) - 1
    return np.flatnonzero(used), number[faces].astype(np.int32)


def neighbours(faces: Array, count: int) -> Any:
    """Row-normalised adjacency (count, count), sparse."""
    import scipy.sparse as sparse

    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    both = np.concatenate([edges, edges[:, ::-1]])
    matrix = sparse.coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (count, count)).tocsr()
    matrix.data[:] = 1.0
    return sparse.diags(1.0 / np.maximum(np.asarray(matrix.sum(1)).ravel(), 1.0)) @ matrix


def smooth(values: Array, faces: Array, steps: int, amount: Array | float = 0.5) -> Array:
    """Laplacian smoothing of per-vertex values; ``amount`` (n,) or a number in [0, 1]."""
    average = neighbours(faces, len(values))
    rate = np.broadcast_to(np.asarray(amount, float).reshape(-1, 1), (len(values), 1))
    for _ in range(steps):
        values = values + rate * (average @ values - values)
    return values


def flatten(points: Array, faces: Array, start: Array, steps: int = 400) -> Array:
    """Unrolls a surface: plane coordinates (n, 2) in metres whose edges are nearly as long as in space.

    ``start`` (n, 2) must already be a layout without folds. Position-based springs (Mueller et al. 2007).
    """
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    degree = np.bincount(edges.ravel(), minlength=len(points))[:, None]
    average = neighbours(faces, len(points))
    rim = np.zeros(len(points), bool)
    rim[np.concatenate(boundary_loops(faces))] = True
    place = start.astype(float).copy()
    side = np.sign(np.median(_turned(start, faces)))
    for _ in range(steps):
        apart = place[edges[:, 1]] - place[edges[:, 0]]
        now = np.maximum(np.linalg.norm(apart, axis=1), 1e-9)
        pull = 0.5 * ((now - length) / now)[:, None] * apart
        move = np.zeros_like(place)
        np.add.at(move, edges[:, 0], pull)
        np.add.at(move, edges[:, 1], -pull)
        wanted = place + 1.2 * move / np.maximum(degree, 1)
        even = average @ place - place  # a little smoothing keeps triangles from piling up
        wanted[~rim] += 0.12 * even[~rim]
        for _ in range(50):  # a vertex whose move would turn a triangle over stays where it was
            over = faces[_turned(wanted, faces) * side <= 0.02 * _turned(start, faces) * side]
            if not len(over):
                break
            wanted[over] = place[over]
        place = wanted
    return place


def _turned(plane: Array, faces: Array) -> Array:
    """(f,) twice the signed area of triangles in the plane."""
    a, b, c = (plane[faces[:, k]] for k in range(3))
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])


def unfold(points: Array, faces: Array, rounds: int = 12) -> Array:
    """Smooths only where faces stand against their surroundings, until no such fold is left."""
    average = neighbours(faces, len(points))
    points = points.copy()
    for _ in range(rounds):
        flat = face_normals(points, faces)
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-18)
        around = vertex_normals(points, faces)[faces].mean(1)
        folded = faces[(flat * around).sum(1) < 0.45]
        if not len(folded):
            break
        rows = np.unique(folded)
        rows = np.union1d(rows, (average[rows] > 0).nonzero()[1])
        points[rows] += 0.6 * ((average @ points)[rows] - points[rows])
    return points


def subdivide(faces: Array, points: Array, attributes: list[Array], where: Array) -> tuple[Array, Array, list[Array]]:
    """Splits every edge whose ends are both in ``where`` (n,), rounding the surface; no gaps at the border.

    New points lie by Phong tessellation (Boubekeur and Alexa 2008, alpha = 3/4); attributes are averaged.
    """
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    edges = edges[where[edges].all(1)]
    number = {(i, j): len(points) + k for k, (i, j) in enumerate(edges.tolist())}
    normal, (a, b) = vertex_normals(points, faces), edges.T
    middle = (points[a] + points[b]) / 2
    onto = [middle - ((middle - points[e]) * normal[e]).sum(1, keepdims=True) * normal[e] for e in (a, b)]
    rounded = 0.25 * middle + 0.75 * (onto[0] + onto[1]) / 2
    out: list[list[int]] = []
    for face in faces.tolist():
        ring: list[int] = []
        for i, j in zip(face, [*face[1:], face[0]], strict=True):
            ring.append(i)
            if (min(i, j), max(i, j)) in number:
                ring.append(number[min(i, j), max(i, j)])
        out += _fan(ring, len(points))
    mixed = [np.concatenate([x, (x[a] + x[b]) / 2]) for x in attributes]
    return np.array(out, np.int32), np.concatenate([points, rounded]), mixed


def _fan(ring: list[int], first_new: int) -> list[list[int]]:
    """Triangles of a face of 3 to 6 corners, new corners being those from ``first_new`` on."""
    new = [k for k, v in enumerate(ring) if v >= first_new]
    if len(ring) == 6:
        a, b, c = (ring[k] for k in new)
        corners = [[ring[k - 1], ring[k], ring[(k - 2) % 6]] for k in new]
        return [[a, b, c], *([y, z, x] for y, z, x in corners)]
    start = new[0] if new else 0
    ring = ring[start:] + ring[:start]
    return [[ring[0], ring[k], ring[k + 1]] for k in range(1, len(ring) - 1)]


def clip(faces: Array, level: Array, attributes: list[Array]) -> tuple[Array, list[Array], Array]:
    """Keeps the side of a mesh where ``level`` (n,) > 0, cutting triangles exactly at zero.

    Returns (faces, attributes with the new vertices appended, original edge (n', 2) of every vertex).
    """
    edges: dict[tuple[int, int], int] = {}
    source = [(i, i, 0.0) for i in range(len(level))]

    def cut(i: int, j: int) -> int:
        key = (min(i, j), max(i, j))
        if key not in edges:
            edges[key] = len(source)
            a, b = key
            source.append((a, b, float(level[a] / (level[a] - level[b]))))
        return edges[key]

    out: list[list[int]] = []
    for face in faces.tolist():
        inside = [level[i] > 0 for i in face]
        if all(inside):
            out.append(face)
        elif any(inside):
            ring = []
            for k in range(3):
                i, j = face[k], face[(k + 1) % 3]
                if level[i] > 0:
                    ring.append(i)
                if (level[i] > 0) != (level[j] > 0):
                    ring.append(cut(i, j))
            out += [[ring[0], ring[k], ring[k + 1]] for k in range(1, len(ring) - 1)]
    a, b, t = (np.array(column) for column in zip(*source, strict=True))
    mixed = [x[a] + _as(t, x) * (x[b] - x[a]) for x in (np.asarray(x, float) for x in attributes)]
    return np.array(out, np.int32).reshape(-1, 3), mixed, np.stack([a, b], axis=1)


def _as(t: Array, like: Array) -> Array:
    return t.reshape(-1, *([1] * (like.ndim - 1)))


def boundary_loops(faces: Array) -> list[Array]:
    """Ordered vertex loops of the open edges."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    directed = {(i, j) for i, j in edges}
    follow = {i: j for i, j in directed if (j, i) not in directed}
    loops = []
    while follow:
        start, here = next(iter(follow.items()))
        del follow[start]
        loop = [start]
        while here != start and here in follow:
            loop.append(here)
            here = follow.pop(here)
        loops.append(np.array(loop))
    return loops


def grid_faces(rows: int, columns: int, closed: bool = False) -> Array:
    """Triangles of a (rows, columns) vertex grid; ``closed`` joins the last column to the first."""
    faces = []
    for r in range(rows - 1):
        for c in range(columns if closed else columns - 1):
            a, b = r * columns + c, r * columns + (c + 1) % columns
            faces += [[a, a + columns, b], [b, a + columns, b + columns]]
    return np.array(faces, np.int32)


def assemble(parts: list[Part]) -> dict[str, Array]:
    """Joins parts into the arrays of engine/avatar.py FIELDS that describe the mesh."""
    start, moving, deltas, residual = 0, [], [], []
    names = ("rest", "faces", "uv", "region", "layer", "weld", "weight", "normal")
    out: dict[str, list[Array]] = {name: [] for name in names}
    for part in parts:
        count = len(part.rest)
        out["rest"].append(part.rest)
        out["faces"].append(part.faces + start)
        out["uv"].append(part.uv)
        out["region"].append(part.region)
        out["layer"].append(np.full(len(part.faces), part.layer))
        out["weld"].append((np.arange(count) if part.weld is None else part.weld) + start)
        out["weight"].append(part.weight)
        out["normal"].append(np.zeros((count, 3)) if part.normal is None else part.normal)
        if part.deltas is not None:
            extra = np.zeros((R, count, 3)) if part.residual is None else part.residual
            rows = np.flatnonzero((np.abs(part.deltas).max((0, 2)) > 2e-5) | (np.abs(extra).max((0, 2)) > 2e-5))
            moving.append(rows + start)
            deltas.append(part.deltas[:, rows])
            residual.append(extra[:, rows])
        start += count
    joined = {key: np.concatenate(value) for key, value in out.items()}
    normal, weight = joined.pop("normal"), joined.pop("weight")
    order = np.argpartition(-weight, 4, axis=1)[:, :4]
    top = np.take_along_axis(weight, order, 1)
    empty = np.zeros((K, 0, 3)), np.zeros((R, 0, 3))
    return joined | {
        "move_index": np.concatenate(moving) if moving else np.zeros(0), "normals_fixed": normal.any(1),
        "deltas": np.concatenate([empty[0], *deltas], axis=1), "rest_normal": normal,
        "residual": np.concatenate([empty[1], *residual], axis=1), "skin_index": order,
        "skin_weight": top / top.sum(1, keepdims=True),
    }  # fmt: skip
