"""Patterns: garments cut from the base cloth on the template and laid out flat, the same for everybody."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from engine.avatar import REGIONS
from training.bake import atlas, fabric, mesh, prior
from training.bake.brush import ease
from training.bake.fabric import SLEEVE, Draped, along_arm, from_neck, turn
from training.bake.mesh import Part

Array = NDArray[Any]
HEM: Final = -0.757  # template height where clothes end: just above the crotch, where the widest framing ends
SNAP: Final = 0.0015  # metres: a vertex this near a cut is on it
# Where each piece lies in the cloth's rectangle of the atlas: x, y, width, height in [0, 1].
SHEETS: Final = {
    "front": (0.000, 0.000, 0.495, 0.590),
    "back": (0.505, 0.000, 0.495, 0.590),
    "sleeve front": (0.000, 0.600, 0.690, 0.195),
    "sleeve back": (0.000, 0.805, 0.690, 0.195),
}
PIECE: Final = {name: number for number, name in enumerate(SHEETS)}
TRUNK: Final = (0.165, 0.115)  # half width and half depth of an average trunk, metres
INNER: Final = (0.700, 0.600, 0.300, 0.400)  # what shows of a shirt below a jacket


@dataclass(frozen=True)
class Cut:
    """Where cloth ends. Metres on the template: ``front``, ``side``, ``back`` from halfway up the neck; ``sleeve``
    down the arm (None: to the wrist); ``vee`` the height of a V's tip (None: no V) and ``open`` its half width for
    each metre above the tip. ``below`` keeps only what lies above this height: the inside of a jacket."""

    front: float
    side: float
    back: float
    sleeve: float | None = None
    vee: float | None = None
    open: float = 0.30
    below: float = HEM

    def neck(self, template: Array) -> Array:
        """(n,) metres of cloth between a point and the neckline; negative inside the opening."""
        around = turn(template)
        ahead, beside = np.cos(around) ** 2, np.sin(around) ** 2
        edge = np.where(np.cos(around) > 0, self.front, self.back) * ahead + self.side * beside
        level = from_neck(template) - edge
        if self.vee is None:
            return level
        x, rise = np.abs(template[:, 0]), template[:, 1] - self.vee
        lean = np.hypot(1.0, self.open)
        across = np.where(rise > -self.open * x, (x - self.open * rise) / lean, np.hypot(x, rise))
        return np.where(np.cos(around) > 0, np.minimum(level, across), level)

    def cuff(self, template: Array) -> Array:
        """(n,) metres of sleeve left below a point; large on the trunk."""
        along = along_arm(template)
        end = WRIST if self.sleeve is None else self.sleeve
        return np.where(along > 0, end - along, 1.0)

    def end(self, template: Array) -> Array:
        """(n,) metres of cloth left above the hem; of an inner layer only the chest and the neck are left."""
        low = template[:, 1] - self.below
        if self.below <= HEM:
            return low
        chest = np.minimum(0.135 - np.abs(template[:, 0]), template[:, 2] + 0.085)
        return np.minimum(low, np.maximum(chest, 0.075 - from_neck(template)))

    def hides(self, template: Array) -> Array:
        """(n,) bool: skin this far under the cloth is never seen."""
        margin = 0.012 if self.sleeve is None else 0.055
        low = -1.0 if self.below <= HEM else 0.03
        return (self.neck(template) > 0.032) & (self.cuff(template) > margin) & (self.end(template) > low)

    def tucks(self, template: Array) -> Array:
        """(n,) in [0, 1]: how far skin may shrink away under the cloth, so that it never comes through."""
        under = ease(np.minimum(self.neck(template), self.cuff(template)), 0.004, 0.020)
        return under * (self.end(template) > 0.0)


WRIST: Final = 0.372  # metres down the template's arm


class Pattern(NamedTuple):
    """m vertices: ``rows`` (m, n) over the base, ``faces``, places on the template (m, 3).

    ``sheet`` (v, 2) atlas places in CLOTH's unit square and ``flat`` (v, 3) metres around and along the body
    and the number of the piece,
    for v vertices after splitting at seams; ``vertex`` (v,) names the m-vertex of each, ``split`` its faces.
    """

    rows: Any
    faces: Array
    template: Array
    sheet: Array
    piece: Array
    vertex: Array
    split: Array

    def loops(self) -> list[Array]:
        """Open edges, ordered."""
        return mesh.boundary_loops(self.faces)


@cache
def pattern(cut: Cut) -> Pattern:
    """The pattern of a cut: worked out once (seconds), then kept on disk."""
    source = (
        b"".join(Path(module.__file__ or "").read_bytes() for module in (fabric, mesh)) + Path(__file__).read_bytes()
    )
    name = hashlib.sha256(repr(cut).encode() + source).hexdigest()[:16]
    path = prior.CACHE / f"pattern-{name}.npz"
    if not path.exists():
        made = _make(cut)
        rest = {key: value for key, value in made._asdict().items() if key != "rows"}
        rows = made.rows.tocsr()
        shape = np.array(rows.shape)
        prior.keep(path, data=rows.data, indices=rows.indices, indptr=rows.indptr, shape=shape, **rest)
        return made._replace(rows=rows)
    with np.load(path) as kept:
        rows = sparse.csr_matrix((kept["data"], kept["indices"], kept["indptr"]), tuple(kept["shape"]))
        return Pattern(rows, **{key: kept[key] for key in Pattern._fields if key != "rows"})


def _make(cut: Cut) -> Pattern:
    cloth = fabric.base()
    faces, place, rows = cloth.faces, cloth.template, sparse.identity(len(cloth.template), format="csr")
    near = (np.abs(cut.neck(place)) < 0.014) & (place[:, 1] > cut.below)
    faces, place, rows = fabric.refine(faces, place, rows, near)
    for level_of in (cut.neck, cut.cuff, cut.end):
        level = level_of(place)
        level[np.abs(level) < SNAP] = 1e-9
        faces, (moved,), edge = mesh.clip(faces, level, [place])
        a, b = edge.T
        along = place[b] - place[a]
        t = ((moved - place[a]) * along).sum(1) / np.maximum((along**2).sum(1), 1e-18)
        rows = (sparse.diags(1 - t) @ rows[a] + sparse.diags(t) @ rows[b]).tocsr()
        same = np.where(t < 1e-4, a, np.where(t > 1 - 1e-4, b, np.arange(len(t))))  # cuts through a vertex
        used, faces = mesh.compact(_sound(same[faces]), len(moved))
        place, rows = moved[used], rows[used]
    faces = _largest(faces, len(place))
    used, faces = mesh.compact(faces, len(place))
    place, rows = place[used], rows[used]
    return Pattern(rows, faces, place, *_lay_out(place, faces, inner=cut.below > HEM))


def _sound(faces: Array) -> Array:
    """Without faces that use a vertex twice."""
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (c != a)]


def _largest(faces: Array, count: int) -> Array:
    """The biggest connected piece: what is left of the legs goes."""
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    label = connected_components(graph, directed=False)[1][faces[:, 0]]
    return faces[label == np.bincount(label).argmax()]


def _lay_out(place: Array, faces: Array, inner: bool) -> tuple[Array, Array, Array, Array]:
    """(sheet, piece, vertex, split) of Pattern: front, back and sleeve halves, each unrolled."""
    middle = place[faces].mean(1)
    back = mesh.face_normals(place, faces)[:, 2] < 0
    arm = (np.abs(middle[:, 0]) > SLEEVE) & (along_arm(middle) > -0.5)  # hips may be as wide
    right = middle[:, 0] < 0
    pieces = [("front", ~arm & ~back), ("back", ~arm & back)]
    for name, half in (("sleeve front", ~back), ("sleeve back", back)):
        pieces += [(name, arm & half & (right == side)) for side in (False, True)]
    sheets, numbers, vertices, splits, count = [], [], [], [], 0
    for name, kept in pieces:
        if not kept.any():
            continue
        ids, triangles = mesh.compact(faces[kept], len(place))
        flat = metres(place[ids], np.full(len(ids), PIECE[name]), _template_arms())
        if "sleeve" in name:  # along x; the right one mirrors the left and shares its painting
            flat = -flat[:, ::-1]
        left, top, width, height = INNER if inner else SHEETS[name]
        low, high = flat.min(0), flat.max(0)
        unit = (flat - low) / (high - low)
        sheets.append(np.stack([left + width * unit[:, 0], top + height * (1.0 - unit[:, 1])], axis=1))
        numbers.append(np.full(len(ids), PIECE[name]))
        vertices.append(ids)
        splits.append(triangles + count)
        count += len(ids)
    return np.concatenate(sheets), np.concatenate(numbers), np.concatenate(vertices), np.concatenate(splits)


@cache
def _template_arms() -> dict[str, Array]:
    """Shoulder, elbow and wrist (3, 3) of both arms of the template: middles of slices of the cloth."""
    place = fabric.base().template
    along, left = along_arm(place), place[:, 0] > 0
    slices = ((0.03, 0.07), (0.17, 0.20), (0.35, 0.39))
    arm = np.stack([place[left & (along > low) & (along < high)].mean(0) for low, high in slices])
    arm[0, :2] = fabric.SHOULDER
    return {"l": arm, "r": arm * [-1.0, 1.0, 1.0]}


def metres(points: Array, piece: Array, arms: dict[str, Array]) -> Array:
    """(v, 2) where cloth is laid flat: metres around the trunk or arm, and up it. ``arms``: three joints a side."""
    wide, deep = TRUNK
    middle = float(arms["l"][0, 2]) + 0.008
    turn = np.linspace(0, np.pi, 181)
    length = np.r_[0, np.cumsum(np.hypot(np.diff(wide * np.sin(turn)), np.diff(deep * np.cos(turn))))]
    phase = np.arctan2(np.abs(points[:, 0]) / wide, (points[:, 2] - middle) / deep)
    top = float(arms["l"][0, 1])
    over = ease(points[:, 1], top - 0.05, top + 0.02)  # the cloth turns over the shoulder
    front = piece == PIECE["front"]
    depth = np.where(front, middle + 0.06 - points[:, 2], points[:, 2] - middle + 0.08)
    around = np.interp(phase, turn, length)
    around = np.where(front, around, length[-1] - around)  # each piece from its own middle
    around = around + over * (1.12 * np.abs(points[:, 0]) - around)
    out = np.stack([np.sign(points[:, 0]) * around, points[:, 1] + over * depth.clip(0.0)], axis=1)
    for side, sign in (("l", 1.0), ("r", -1.0)):
        for half, way in (("front", 1.0), ("back", -1.0)):
            here = (piece == PIECE[f"sleeve {half}"]) & (points[:, 0] * sign > 0)
            if here.any():
                mirror = np.array([sign, 1.0, 1.0])
                out[here] = _around_arm(points[here] * mirror, arms[side] * mirror, way)
    return out


def _around_arm(points: Array, arm: Array, way: float) -> Array:
    """(n, 2) metres around a left arm (of one thickness) and up it from the shoulder. ``way``: 1 before, -1 behind."""
    shoulder, elbow, wrist = arm.astype(float)
    upper, lower = elbow - shoulder, wrist - elbow
    long, short = float(np.linalg.norm(upper)), float(np.linalg.norm(lower))
    upper, lower = upper / long, lower / short
    high, low = (points - shoulder) @ upper, (points - elbow) @ lower
    bent = ease(high - long + low, -0.04, 0.04)
    along = high + bent * (long + low - high)
    axis = upper + bent[:, None] * (lower - upper)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    on = np.where((along < long)[:, None], shoulder + along[:, None] * upper, elbow + (along - long)[:, None] * lower)
    outward = np.array([0.77, 0.64, 0.0]) if abs(upper[0]) > 0.4 else np.array([1.0, 0.0, 0.0])
    outward = outward - (axis @ outward)[:, None] * axis
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    ahead = np.cross(axis, outward)
    ahead *= np.sign(ahead[:, 2:].sum())
    off = points - on
    angle = np.arctan2((off * ahead).sum(1), (off * outward).sum(1))
    angle = np.where(angle * way < -0.5 * np.pi, angle + 2 * np.pi * way, angle)
    return np.stack([0.055 * angle, -along], axis=1)


def cloth_part(made: Pattern, draped: Draped, name: str = "cloth") -> Part:
    """The cut cloth on a person. Its ``paint`` are metres around and up the body and the piece's number."""
    vertex = made.vertex
    points, weight = made.rows @ draped.points, made.rows @ draped.weight
    pivot, index = draped.rig.pivot, draped.rig.index
    arms = {
        side: np.stack([pivot[index[f"{joint}_{side}"]] for joint in ("shoulder", "elbow", "wrist")]) for side in "lr"
    }
    part = Part(
        name=name, rest=points[vertex], faces=made.split.astype(np.int32), uv=atlas.CLOTH.place(made.sheet),
        region=np.zeros(0, np.uint8), weight=weight[vertex], weld=mesh.first_of(vertex),
        paint=np.c_[metres(points[vertex], made.piece, arms), made.piece],
        channel={"template": made.template[vertex]},
    ).with_region("torso")  # fmt: skip
    part.region[made.piece[part.faces[:, 0]] >= PIECE["sleeve front"]] = REGIONS.index("arms")
    return part
