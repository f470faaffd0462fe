"""Teeth one by one on a dental arch, gums, and the tongue."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import atlas, mesh, prior
from training.bake.atlas import Rect
from training.bake.head import from_template
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig

Array = NDArray[Any]
# Width and crown height in millimetres from the middle outward (Wheeler's averages).
UPPER: Final = ((8.5, 10.2), (6.6, 9.2), (7.6, 10.0), (7.0, 8.6), (6.8, 8.4), (9.8, 7.6))
LOWER: Final = ((5.3, 8.8), (5.7, 9.2), (6.8, 10.0), (7.0, 8.6), (7.1, 8.2), (10.5, 7.6))
SECTION: Final = ((-1.0, -3.6), (-1.0, -1.0), (-0.72, 0.05), (0.0, 0.45), (0.72, 0.05), (1.0, -1.0), (1.0, -3.6))
# Down the crown and up behind it: share of the height, width factor, millimetres outward.
ROWS: Final = ((-0.12, 0.74, -0.5), (0.25, 0.90, 0.15), (0.65, 0.98, 0.20), (0.94, 0.95, -0.15), (1.0, 0.88, -0.9),
               (0.98, 0.86, -2.6), (0.55, 0.80, -3.0), (0.05, 0.70, -3.2))  # fmt: skip
ENAMEL: Final = Rect(atlas.TEETH.x, atlas.TEETH.y, atlas.TEETH.width, 150)
GUM: Final = Rect(atlas.TEETH.x, atlas.TEETH.y + 150, atlas.TEETH.width, 50)


def mouth_parts(person: Person, rig: Rig) -> list[Part]:
    """Upper and lower row with their gums, and the tongue."""
    upper, lower = (person.rest[v].astype(float) for v in (prior.UPPER_TEETH, prior.LOWER_TEETH))
    still = np.zeros((len(person.deltas), 4, 3))
    jaw = _affine(lower, person.deltas[:, prior.LOWER_TEETH])
    rows = []
    # The prior's upper row ends at the lip line and stays hidden: let it show four millimetres below it.
    rows += _row("upper", upper, UPPER, upper[:, 1].min() - 0.0042, 1.0, 0.0016, rig, still)
    rows += _row("lower", lower, LOWER, lower[:, 1].max() - 0.0074, -1.0, -0.0014, rig, jaw)
    group = prior.template()[2]["helper-tongue"]
    unit = np.zeros_like(prior.template()[1])
    used = np.unique(group.uv_faces)
    unit[used] = atlas.fit(prior.template()[1][used])
    tongue = from_template(
        person, rig, "tongue", group.faces, group.uv_faces, atlas.TONGUE.place(unit), None
    ).with_region("tongue")
    tongue.rest = tongue.rest + np.array([0.0, -0.0015, -0.0015])  # clear of the lower teeth
    return [*rows, tongue]


def _affine(points: Array, deltas: Array) -> Array:
    """(52, 4, 3): the affine motion x -> [x 1] A that each action gives to the prior's lower teeth."""
    system = np.c_[points, np.ones(len(points))]
    return np.stack([np.linalg.lstsq(system, delta, rcond=1e-4)[0] for delta in deltas])


def _arch(points: Array) -> tuple[float, float, float]:
    """Half width, front z and depth of the half ellipse through the outside of a row of teeth."""
    half = float(np.abs(points[:, 0]).max()) * 0.985
    front = float(points[:, 2].max())
    return half, front, float(front - points[:, 2].min()) * 1.02


def _row(
    name: str, helper: Array, sizes: tuple[tuple[float, float], ...], edge: float, up: float, ahead: float, rig: Rig,
    motion: Array,
) -> list[Part]:  # fmt: skip
    """One row; ``up`` is the direction from the biting edge to the gum."""
    half, front, deep = _arch(helper)
    bend = np.linspace(0.0, np.pi / 2, 400)
    curve = np.stack([half * np.sin(bend), front + ahead - deep * (1 - np.cos(bend))], axis=1)
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))]
    scale = min(1.0, 0.97 * length[-1] / (sum(w for w, _ in sizes) * 1e-3))
    points, unit, faces, start, count = [], [], [], 0.0, 0
    for number, (width, height) in enumerate(sizes):
        width, height = width * 1e-3 * scale, height * 1e-3
        middle = start + width / 2
        start += width
        at = np.array([np.interp(middle, length, curve[:, c]) for c in (0, 1)])
        ahead_point = np.array([np.interp(middle + 1e-3, length, curve[:, c]) for c in (0, 1)])
        tangent = (ahead_point - at) / np.linalg.norm(ahead_point - at)
        for side in (1.0, -1.0):
            tooth = _tooth(width * 0.5 * 1.005, height, up)
            along = np.array([side * tangent[0], 0.0, tangent[1]])
            out = np.array([-side * tangent[1], 0.0, tangent[0]]) * np.array([1.0, 0.0, 1.0])
            lift = edge + (0.0004 * (number == 1) + 0.0001 * number) * up
            origin = np.array([side * at[0], lift, at[1]])
            points.append(origin + tooth[:, :1] * along * side + tooth[:, 1:2] * [0, 1, 0] + tooth[:, 2:] * out)
            grid = mesh.grid_faces(len(ROWS), len(SECTION))
            corner = points[-1][grid]
            outward = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]) @ out
            faces.append((grid[:, ::-1] if outward.sum() < 0 else grid) + count)
            count += len(tooth)
            unit.append(_tooth_unit(number if up > 0 else number + len(UPPER)))
    rest = np.concatenate(points)
    bone = rig.rigid(len(rest), "head")
    row = Part(
        name=f"{name} teeth", rest=rest, faces=np.concatenate(faces), uv=ENAMEL.place(np.concatenate(unit)),
        region=np.zeros(0, np.uint8), weight=bone, paint=np.concatenate(unit) @ np.eye(2, 3),
        deltas=_apply(motion, rest),
    ).with_region("teeth")  # fmt: skip
    return [row, _gum(name, curve, length, edge, up, rig, motion)]


def _tooth(half: float, height: float, up: float) -> Array:
    """Crown in its own frame (across, up, out): rows from the gum to the biting edge."""
    return np.array(
        [
            (u * half * wide, up * height * (1 - share), (out + shift) * 1e-3)
            for share, wide, shift in ROWS
            for u, out in SECTION
        ]
    )


def _tooth_unit(kind: int) -> Array:
    """Each kind of tooth has a column of the enamel painting: u across, v from gum to edge."""
    across = np.linspace(0.04, 0.96, len(SECTION))
    down = np.clip([row[0] for row in ROWS], 0.0, 1.0)
    down[-3] = 1.0
    columns = len(UPPER) + len(LOWER)
    return np.array([((kind + u) / columns, v) for v in down for u in across])


def _gum(name: str, curve: Array, length: Array, edge: float, up: float, rig: Rig, motion: Array) -> Part:
    """A soft band over the roots: from the inside of the mouth between the teeth and up behind the lip."""
    at = np.linspace(-0.97, 0.97, 33) * length[-1]
    x = np.sign(at) * np.interp(np.abs(at), length, curve[:, 0])
    z = np.interp(np.abs(at), length, curve[:, 1])
    rise = np.array([0.0130, 0.0086, 0.0066, 0.0072, 0.0092, 0.0120, 0.0160])  # from behind the teeth to the lip
    out = np.array([-0.0085, -0.0072, -0.0044, -0.0012, 0.0007, 0.0008, -0.0010])
    shade = np.array([1.0, 0.7, 0.2, 0.0, 0.33, 0.66, 1.0])
    middle = np.array([0.0, z.min()])
    direction = np.stack([x, z], axis=1) - middle
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    scallop = 0.0008 * np.cos(2 * np.pi * at / 0.0078)
    rings = []
    for row, (height, shift) in enumerate(zip(rise, out, strict=True)):
        y = edge + up * (height + scallop * (2 < row < 5))
        rings.append(np.stack([x + shift * direction[:, 0], y, z + shift * direction[:, 1]], axis=1))
    rest = np.concatenate(rings)
    faces = mesh.grid_faces(len(rise), len(at))
    if mesh.face_normals(rest, faces)[:, 2].sum() < 0:
        faces = faces[:, ::-1]
    unit = np.stack([np.tile(np.linspace(0, 1, len(at)), len(rise)), np.repeat(shade, len(at))], 1)
    return Part(
        name=f"{name} gum", rest=rest, faces=faces, uv=GUM.place(unit), region=np.zeros(0, np.uint8),
        weight=rig.rigid(len(rest), "head"), paint=unit @ np.eye(2, 3), deltas=_apply(motion, rest),
    ).with_region("mouth")  # fmt: skip


def _apply(motion: Array, rest: Array) -> Array:
    return np.einsum("nk,akc->anc", np.c_[rest, np.ones(len(rest))], motion)
