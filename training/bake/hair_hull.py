"""The opaque hull inside a pack's hair: the scalp raised to just under what the strands reach, painted along them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import mesh, prior, ribbons
from training.bake.brush import ease, noise
from training.bake.hair_cuts import Cut, bare
from training.bake.hair_field import Field
from training.bake.hair_grow import along
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig
from training.bake.scalp import CENTRE, hairline, scalp_faces

Array = NDArray[Any]
SHARE: Final = 0.90  # of the strands' height
LEAST: Final = 0.0040  # metres, well inside the hairline: the skin must not show through
EDGE: Final = 0.0095  # metres inside the hairline where it ends: cards and paint fade on from there
SHAVED: Final = 0.012  # metres: for hair this short the painted scalp does
NEAR: Final = 20  # strand points that decide the height of one place


def hull(person: Person, rig: Rig, field: Field, curves: Array, cut: Cut, line: float, scale: float) -> Part | None:
    """The cap under strands ``curves`` (n, points, 3); ``line``: how far the hairline recedes. None for a bare head."""
    from scipy.spatial import cKDTree

    if max(cut.length) < SHAVED:
        return None
    faces, ears = scalp_faces()
    faces = faces[ears < 0.15]
    used, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3).astype(np.int32)
    place, point = prior.template()[0][used].astype(float), person.rest[used].astype(float)
    depth = hairline(place, line)
    centre = CENTRE * scale
    path = curves.reshape(-1, 3)
    near = path[:, 1] > -0.09 * scale
    away = _unit(path[near] - centre)
    number = cKDTree(away).query(_unit(point - centre), k=NEAR)[1]
    height = np.percentile(field(path[near])[0][number], 70, axis=1)
    lost = bare(place, cut.bare) if cut.bare > 0 else np.zeros(len(place))
    height = mesh.smooth(height[:, None], faces, 3)[:, 0] * ease(depth, -0.001, 0.014) * (1 - lost)
    height = np.maximum(height, LEAST * ease(depth, 0.004, 0.016))
    out = mesh.smooth(mesh.vertex_normals(point, faces), faces, 6)
    rest = mesh.smooth(point + SHARE * height[:, None] * _unit(out), faces, 2, 0.4)
    rest = field.push_out(rest, 0.0012)
    s = np.repeat(along(curves.shape[1])[None], len(curves), axis=0).reshape(-1)[near]
    start = np.repeat(curves[:, :1], curves.shape[1], axis=1).reshape(-1, 3)[near]
    v = mesh.smooth(s[number].mean(1)[:, None], faces, 2)[:, 0]
    across = mesh.smooth(start[number].mean(1), faces, 1)[:, 2 if cut.parting is not None else 0]
    across = across + (0.08 * scale if cut.parting is not None else 0.0)
    strip = np.clip(0.5 + across / (0.20 * scale), 0, 1)
    unit = np.stack([ribbons.FUZZ + 0.02 + (0.96 - ribbons.FUZZ) * strip, v], axis=1)
    if cut.coil[0] > 0:
        cloud = 0.5 + 2.2 * (place[:, 2] + 0.08) - 1.6 * (place[:, 1] - 0.05)
        unit = np.stack([(0.5 + 2.4 * place[:, 0]) * ribbons.FUZZ, cloud], axis=1)
        rest = rest + (0.0035 * (noise(place, 85, 2, 5) - 0.5) * ease(height, 0.004, 0.012))[:, None] * out
    level = np.minimum(depth - EDGE, 0.1 * (0.5 - lost))
    if (level > 0).sum() < 50:
        return None
    faces, (rest, unit, depth), _ = mesh.clip(faces, level, [rest, unit, depth])
    keep, faces = mesh.compact(faces, len(rest))
    normal = _unit(mesh.smooth(mesh.vertex_normals(rest[keep], faces), faces, 3))
    return Part(
        name="hull", rest=rest[keep], faces=faces, uv=ribbons.MASS.place(unit[keep].clip(0.005, 0.995)),
        region=np.zeros(0, np.uint8), weight=ribbons.hang_weights(rig, rest[keep], scale),
        paint=np.c_[unit, depth][keep], normal=normal,
    ).with_region("hair")  # fmt: skip


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))
