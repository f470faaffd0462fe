"""Where hair of the face leaves the skin, and how the skin moves there: brows, lashes, beards follow every action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.bake import mesh, prior
from training.bake.head import lip_residual
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig

Array = NDArray[Any]
Chance = Callable[[Array, Array], Array]  # (template positions (n, 3), texture coordinates (n, 2)) -> (n,) in [0, 1]


@dataclass(frozen=True)
class Follicles:
    """n places on a person's skin."""

    point: Array  # (n, 3)
    normal: Array  # (n, 3) unit
    place: Array  # (n, 3) on the template
    deltas: Array  # (52, n, 3)
    residual: Array  # (8, n, 3)
    weight: Array  # (n, N) of the bones

    def follow(self, part: Part) -> Part:
        """``part``, whose vertices come in the order of these places (equally many for each), made to move along."""
        times = len(part.rest) // len(self.point)
        part.weight = np.repeat(self.weight, times, axis=0)
        part.deltas = np.repeat(self.deltas, times, axis=1)
        part.residual = np.repeat(self.residual, times, axis=1)
        return part


class Skin:
    """Some faces of the template, as this person's surface."""

    def __init__(self, person: Person, rig: Rig, faces: Array) -> None:
        self.person, self.rig, self.faces = person, rig, faces
        self.template = prior.template()[0].astype(float)
        self._normal = mesh.vertex_normals(person.rest.astype(float), faces)

    def at(self, face: Array, share: Array) -> Follicles:
        """Places given by rows of ``faces`` and barycentric shares (n, 3)."""
        corner = self.faces[face]
        used, where = np.unique(corner, return_inverse=True)
        where = where.reshape(corner.shape)

        def mix(values: Array) -> Array:  # (..., len(used), C) -> (..., n, C)
            return np.asarray(sum(values[..., where[:, k], :] * share[:, k, None] for k in range(3)), np.float32)

        normal = mix(self._normal[used])
        return Follicles(
            point=mix(self.person.rest[used]).astype(float), place=mix(self.template[used]).astype(float),
            normal=normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9),
            deltas=mix(self.person.deltas[:, used]), residual=mix(lip_residual(self.person.same)[:, used]),
            weight=mix(self.rig.weights(self.person, used)),
        )  # fmt: skip

    def scatter(self, count: int, chance: Chance, uv: Array, generator: np.random.Generator) -> Follicles:
        """About ``count`` places, even over the area and thinned out by ``chance`` of template position and uv.

        ``uv`` (f, 3, 2) are the prior's texture coordinates of the faces' corners.
        """
        corner = self.template[self.faces]
        likely = np.stack([chance(corner[:, k], uv[:, k]) for k in range(3)] + [chance(corner.mean(1), uv.mean(1))])
        area = np.linalg.norm(mesh.face_normals(self.person.rest, self.faces), axis=1)
        total = np.cumsum(area * np.maximum(likely.max(0), 0.03))
        wanted = 3 * count
        face = np.searchsorted(total, (np.arange(wanted) + generator.random(wanted)) / wanted * total[-1])
        u, v = generator.random((2, wanted))
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        share = np.stack([1 - u - v, u, v], axis=1)
        place, coordinate = ((share[..., None] * values[face]).sum(1) for values in (corner, uv))
        bias = np.maximum(likely.max(0), 0.03)[face]
        kept = np.flatnonzero(generator.random(wanted) * bias < chance(place, coordinate))
        kept = np.sort(generator.permutation(kept)[:count])
        return self.at(face[kept], share[kept])

    def locate(self, plane: Array, points: Array) -> tuple[Array, Array]:
        """(row of ``faces``, shares) of the face under each of ``points`` (n, 2), in a layout ``plane`` (V, 2).

        Points outside every face go to the nearest edge of the face they miss least.
        """
        a, b, c = (plane[self.faces[:, k]].astype(float) for k in range(3))
        size = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
        size = np.where(np.abs(size) < 1e-12, 1e-12, size)
        px, py = points[:, :1], points[:, 1:]
        v = ((px - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (py - a[:, 1])) / size
        w = ((b[:, 0] - a[:, 0]) * (py - a[:, 1]) - (px - a[:, 0]) * (b[:, 1] - a[:, 1])) / size
        share = np.stack([1 - v - w, v, w], axis=2)
        face = np.minimum(share.min(2), 0.02).argmax(1)  # the first that holds it
        best = np.clip(share[np.arange(len(points)), face], 0, None)
        return face, best / best.sum(1, keepdims=True)
