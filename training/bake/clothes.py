"""A jumper: a loose, smooth surface around the torso with a clean neckline, ribbed collar and cuffs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS
from training.bake import atlas, mesh, prior
from training.bake.identities import Identity
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig

Array = NDArray[Any]
HEM: Final = -0.80  # metres: height where the jumper ends, below what the widest framing shows
EASE: Final = 0.0075  # metres between skin and cloth
WRIST: Final = 0.031  # metres, radius the cuffs close to
SLEEVE: Final = 0.185  # metres from the middle, on the template, where a sleeve begins
SEGMENTS: Final = 48


@dataclass(frozen=True)
class Neckline:
    """An elliptic cylinder along the neck that cuts the cloth; lengths in metres."""

    side: float
    front: float
    centre: float  # forward of the neck's root
    tilt: float  # radians the opening leans forward beyond the neck
    nape: float  # height of the edge at the back, above the neck's root
    slope: float  # how fast the edge may sink toward the front
    collar: float  # height of the ribbed band
    thick: float


NECKLINES: Final = {
    "crew": Neckline(0.079, 0.070, 0.018, 0.10, -0.010, 0.75, 0.022, 0.0040),
    "round": Neckline(0.098, 0.082, 0.026, 0.16, -0.014, 0.85, 0.016, 0.0034),
}


def _charts(back: Array, arm: Array, right: Array) -> list[tuple[tuple[float, float, float, float], Array]]:
    """(rectangle x, y, width, height of the cloth's painting, faces in it) for every chart."""
    return [
        ((0.000, 0.000, 0.495, 0.590), ~arm & ~back),
        ((0.505, 0.000, 0.495, 0.590), ~arm & back),
        *(((0.000, 0.600, 0.495, 0.400), arm & ~back & (right == side)) for side in (False, True)),
        *(((0.505, 0.600, 0.495, 0.400), arm & back & (right == side)) for side in (False, True)),
    ]


class Jumper:
    """The garment of one person: its parts, and which skin it hides."""

    def __init__(self, person: Person, rig: Rig, identity: Identity) -> None:
        self.person, self.rig, self.cut = person, rig, NECKLINES[identity.neckline]
        self.skin = _skin_surface(person)
        self.parts = self._build()

    def hidden(self) -> Array:
        """(N,) bool: torso skin that lies well under the cloth."""
        level = self._neck_level(self.person.rest)
        hidden = np.zeros(len(self.person.rest), bool)
        faces = prior.template()[2]["body"].faces
        from training.bake.head import islands

        torso = np.unique(faces[islands()["torso"]])
        hidden[torso] = level[torso] > 0.45
        return hidden

    def _neck_level(self, points: Array) -> Array:
        """Positive where there is cloth: outside the neckline's cylinder or below its edge at the back."""
        root = self.person.bone_head[self.person.bone("neck01")].astype(float)
        axis = self.person.bone_head[self.person.bone("head")] - root
        lean = np.arctan2(axis[2], axis[1]) + self.cut.tilt
        forward = np.array([0.0, -np.sin(lean), np.cos(lean)])
        offset = points - root
        side = offset[:, 0] / self.cut.side
        front = (offset @ forward - self.cut.centre) / self.cut.front
        around = np.hypot(side, front) - 1.0
        below = (self.cut.nape - self.cut.slope * (offset[:, 2] + 0.04) - offset[:, 1]) / 0.07
        return 0.5 * (around + below + np.sqrt((around - below) ** 2 + 0.02))  # smooth maximum

    def _build(self) -> list[Part]:
        points, _, groups = prior.template()
        tights = groups["helper-tights"].faces
        tights = tights[points[tights].mean(1)[:, 1] > HEM - 0.15]
        vertex, faces = mesh.compact(tights, len(points))
        rest = self._drape(self.person.rest[vertex].astype(float), faces, vertex)
        attributes = [rest, points[vertex].astype(float), self.rig.weights(self.person, vertex)]
        shown = (rest[:, 1] > -0.30) & (np.abs(rest[:, 0]) > 0.10)  # shoulders make the outline
        faces, rest, attributes = mesh.subdivide(faces, rest, attributes[1:], shown)
        attributes = [rest, *attributes]
        level = self._neck_level(rest)
        level[rest[:, 1] < -0.35] = 1.0
        faces, attributes, _ = mesh.clip(faces, level, attributes)
        arms = [self.rig.index[f"{bone}_{side}"] for bone in ("elbow", "wrist") for side in "lr"]
        hem = np.where(attributes[2][:, arms].sum(1) > 0.3, 1.0, (attributes[0][:, 1] - HEM) / 0.02)
        faces, attributes, _ = mesh.clip(faces, hem, attributes)
        for side in "LR":
            faces, attributes, _ = mesh.clip(faces, self._wrist_level(attributes[0], attributes[2], side), attributes)
        keep, faces = mesh.compact(faces, len(attributes[0]))
        rest, template, weight = (values[keep] for values in attributes)
        parts = [self._cloth(rest, template, weight, faces)]
        for loop in mesh.boundary_loops(faces):
            neck = rest[loop].mean(0)[1] > -0.35
            if len(loop) > 8 and (neck or weight[loop][:, arms].sum(1).mean() > 0.5):
                parts.append(self._band(rest[loop], weight[loop], neck))
        return parts

    def _wrist_level(self, points: Array, weight: Array, side: str) -> Array:
        """Positive above the cuff of one arm, one everywhere else."""
        wrist = self.person.bone_head[self.person.bone(f"wrist.{side}")].astype(float)
        elbow = self.person.bone_head[self.person.bone(f"lowerarm01.{side}")].astype(float)
        along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
        level = (0.012 - (points - wrist) @ along) / 0.02
        arm = weight[:, [self.rig.index[f"{bone}_{side.lower()}"] for bone in ("elbow", "wrist")]].sum(1)
        near = (np.linalg.norm(points - wrist, axis=1) < 0.16) & (arm > 0.3)
        return np.where(near, level, 1.0)

    def _drape(self, points: Array, faces: Array, vertex: Array) -> Array:
        """Bridges hollows by smoothing, then keeps the cloth its ease away from the skin."""
        arm = self.rig.weights(self.person, vertex)[:, [self.rig.index[b] for b in ("elbow_l", "elbow_r")]].sum(1)
        limb = _limb(self.person.template[vertex])
        trunk = np.clip(1.0 - 1.4 * arm, 0.40, 1.0) * np.clip((-0.10 - points[:, 1]) / 0.12, 0.25, 1.0)
        for _ in range(6):
            points = mesh.smooth(points, faces, 14, 0.5 * trunk)
            points = self._push_out(points, EASE, limb)
        folds = np.sin(26.0 * points[:, 0] + 9.0 * points[:, 1]) * np.clip((-0.30 - points[:, 1]) / 0.15, 0, 1)
        sleeve = np.sin(95.0 * points[:, 1] + 30.0 * points[:, 2]) * np.clip(arm * 2, 0, 1)
        normal = mesh.vertex_normals(points, faces)
        points = points + normal * (0.0028 * folds + 0.0007 * sleeve)[:, None]
        points = self._push_out(mesh.smooth(points, faces, 2, 0.4), EASE * 0.8, limb)
        return mesh.unfold(points, faces)

    def _push_out(self, points: Array, distance: float, limb: Array | float = 0.0) -> Array:
        """Lifts points to ``distance`` from the skin of their own limb: a hanging arm must not dent the waist."""
        tree, surface, normal = self.skin
        _, near = tree.query(np.c_[points, np.broadcast_to(limb, len(points))], k=6)
        height = np.einsum("nkc,nkc->nk", points[:, None] - surface[near], normal[near])
        worst = height.argmin(1)
        rows = np.arange(len(points))
        lack = np.clip(distance - height[rows, worst], 0.0, 0.05)
        return points + lack[:, None] * normal[near[rows, worst]]

    def _cloth(self, rest: Array, template: Array, weight: Array, faces: Array) -> Part:
        """Front, back and sleeve halves, each unrolled from its frontal view on the template (arms spread)."""
        middle = template[faces].mean(1)
        back = mesh.face_normals(template, faces)[:, 2] < 0
        arm = np.abs(middle[:, 0]) > SLEEVE
        ids_of, units, local, count = [], [], [], 0
        for (x, y, width, height), rows in _charts(back, arm, middle[:, 0] < 0):
            ids, triangles = mesh.compact(faces[rows], len(rest))
            start = template[ids, :2]
            if arm[rows].all():  # lay the sleeve along x; the right one mirrors the left and shares its painting
                start = (
                    np.stack([np.abs(start[:, 0]) - start[:, 1], np.abs(start[:, 0]) + start[:, 1]], axis=1) * 0.7071
                )
            flat = mesh.flatten(rest[ids], triangles, start)
            low, high = flat.min(0), flat.max(0)
            flat = (flat - low) / (high - low)
            units.append(np.stack([x + width * flat[:, 0], y + height * (1.0 - flat[:, 1])], axis=1))
            ids_of.append(ids)
            local.append(triangles + count)
            count += len(ids)
        vertex, unit = np.concatenate(ids_of), np.concatenate(units)
        part = Part(
            name="cloth", rest=rest[vertex], faces=np.concatenate(local),
            uv=atlas.CLOTH.place(unit), region=np.zeros(0, np.uint8), weight=weight[vertex],
            paint=template[vertex], weld=mesh.first_of(vertex),
        )  # fmt: skip
        part.with_region("torso")
        arms = np.abs(part.paint[part.faces, 0]).mean(1) > SLEEVE
        part.region[arms] = REGIONS.index("arms")
        return part

    def _band(self, loop: Array, weight: Array, neck: bool) -> Part:
        """A ribbed band that grows from an open edge of the cloth: outside, over the top, down inside."""
        segments = SEGMENTS if neck else SEGMENTS // 2
        ring, weights = _resample(loop, weight, segments)
        centre = ring.mean(0)
        tangent = np.roll(ring, -1, 0) - np.roll(ring, 1, 0)
        wrist = self.person.bone_head[self.person.bone("wrist.L" if centre[0] > 0 else "wrist.R")].astype(float)
        reach = float(np.linalg.norm(wrist - centre))
        along = np.array([0.0, 0.94, 0.34]) if neck else (wrist - centre) / reach
        out = ring - centre - ((ring - centre) @ along)[:, None] * along
        radius = np.linalg.norm(out, axis=1, keepdims=True)
        out /= radius
        height, thick = (self.cut.collar, self.cut.thick) if neck else (reach + 0.014, 0.0035)
        rise = along * 0.80 - 0.60 * out if neck else along - np.clip((radius - WRIST) / height, 0.0, 1.2) * out
        rise /= np.linalg.norm(rise, axis=1, keepdims=True)
        face = np.cross(tangent / np.linalg.norm(tangent, axis=1, keepdims=True), rise)
        face *= np.sign((face * out).sum(1, keepdims=True))
        profile = [(-0.50, -0.50), (-0.22, 0.55), (0.20, 1.05), (0.65, 1.05), (0.93, 0.75), (1.02, 0.15),
                   (0.92, -0.45), (0.55, -0.75), (0.0, -0.9), (-0.6, -2.0)]  # fmt: skip
        rows = [ring + rise * height * up + face * thick * off for up, off in profile]
        rows[-1] = rows[-1] - out * (0.030 if neck else 0.018)  # a floor that closes the opening under the skin
        rest = np.concatenate(rows)
        if neck:  # the outer rows rest on the skin, never inside it
            rest[: 5 * segments] = self._push_out(rest[: 5 * segments], 0.0035)
        columns = np.arange(segments + 1) % segments
        pick = (np.arange(len(profile))[:, None] * segments + columns).ravel()
        faces = mesh.grid_faces(len(profile), segments + 1)
        points = rest[pick]
        if (mesh.face_normals(points, faces)[: 2 * segments] * out[columns[:segments]].repeat(2, 0)).sum() < 0:
            faces = faces[:, ::-1]
        across = np.linspace(0, 1, len(profile)).repeat(segments + 1)
        unit = np.stack([np.tile(np.linspace(0, 1, segments + 1), len(profile)), across], axis=1)
        part = Part(
            name="collar" if neck else "cuff", rest=points, faces=faces, uv=atlas.TRIM.place(unit),
            region=np.zeros(0, np.uint8), weight=np.tile(weights, (len(profile), 1))[pick],
            paint=np.c_[unit, np.zeros(len(unit))], weld=mesh.first_of(pick),
        )  # fmt: skip
        return part.with_region("torso" if neck else "arms")


def _skin_surface(person: Person) -> tuple[Any, Array, Array]:
    """KD-tree, points and normals of the skin below the jaw."""
    from scipy.spatial import cKDTree

    faces = prior.template()[2]["body"].faces
    normal = mesh.vertex_normals(person.rest.astype(float), faces)
    low = np.flatnonzero(person.rest[: prior.BODY, 1] < -0.09)
    points = person.rest[low].astype(float)
    return cKDTree(np.c_[points, _limb(person.template[low])]), points, normal[low]


def _limb(template: Array) -> Array:
    """-1 right arm, 0 trunk, 1 left arm, for template positions (n, 3): a fourth coordinate for nearness."""
    return np.sign(template[:, 0]) * (np.abs(template[:, 0]) > SLEEVE)


def _resample(loop: Array, weight: Array, count: int) -> tuple[Array, Array]:
    """``count`` evenly spaced points of a closed loop, smoothed, with interpolated weights."""
    closed = np.concatenate([loop, loop[:1]])
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))]
    at = np.linspace(0, length[-1], count, endpoint=False)
    both = np.concatenate([closed, np.concatenate([weight, weight[:1]])], axis=1)
    ring = np.stack([np.interp(at, length, column) for column in both.T], axis=1)
    for _ in range(3):
        ring = 0.5 * ring + 0.25 * (np.roll(ring, 1, 0) + np.roll(ring, -1, 0))
    return ring[:, :3], ring[:, 3:]
