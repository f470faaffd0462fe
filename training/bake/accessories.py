"""Glasses and earrings: fitted to a face, rigid to the head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import mesh, prior
from training.bake.atlas import Rect
from training.bake.brush import ease, linear, noise
from training.bake.identities import Identity
from training.bake.mesh import Part
from training.bake.paint_parts import Canvas
from training.bake.prior import Person
from training.bake.rig import Rig, fit_sphere

Array = NDArray[Any]
# Swatches of the atlas' rectangle METAL.
FRAME: Final = Rect(1952, 1948, 48, 50)
STEEL: Final = Rect(2000, 1948, 48, 50)
LENS: Final = Rect(1952, 1998, 48, 50)
JEWEL: Final = Rect(2000, 1998, 48, 50)
CLEAR: Final = 0.0022  # metres between a rim and the skin
VERTEX_DISTANCE: Final = 0.0125  # metres from the cornea to the lens
TILT: Final = np.tan(np.radians(7.0))  # the lower rim is nearer to the face
WRAP: Final = 1.15  # metres of depth for each square metre off the middle


@dataclass(frozen=True)
class Frame:
    """One eye's rim, metres: half ``width`` and ``height``, ``power`` of its superellipse (2 round, 4 square), how
    far the upper outer corner is lifted, half thickness (``wide`` in the plane, ``deep`` across it) and whether the
    lower half is only a thread."""

    width: float
    height: float
    power: float
    lift: float = 0.0
    wide: float = 0.0013
    deep: float = 0.0013
    half: bool = False


GLASSES: Final[dict[str, Frame | None]] = {
    "none": None,
    "round": Frame(0.0232, 0.0222, 2.05, wide=0.0009, deep=0.0009),
    "rectangular": Frame(0.0262, 0.0178, 3.4, wide=0.0020, deep=0.0017),
    "cat_eye": Frame(0.0262, 0.0195, 2.5, lift=0.0055, wide=0.0021, deep=0.0017),
    "half_rim": Frame(0.0262, 0.0172, 2.9, wide=0.0015, deep=0.0013, half=True),
}
EARRINGS: Final = ("none", "stud", "hoop", "drop")
# sRGB of frames: black, tortoise, brown, navy, wine, clear-grey; of metal: steel, gold, dark.
ACETATE: Final = ((0.06, 0.06, 0.065), (0.30, 0.17, 0.08), (0.22, 0.14, 0.10), (0.10, 0.13, 0.22), (0.25, 0.07, 0.09),
                  (0.50, 0.49, 0.47))  # fmt: skip
METALS: Final = ((0.66, 0.67, 0.68), (0.80, 0.64, 0.38), (0.16, 0.16, 0.17))
STONES: Final = ((0.92, 0.90, 0.86), (0.10, 0.28, 0.30), (0.42, 0.06, 0.10), (0.10, 0.14, 0.36), (0.05, 0.05, 0.05))


def accessory_parts(person: Person, rig: Rig, identity: Identity) -> list[Part]:
    """Glasses and earrings of a person. Raises ValueError on an unknown name."""
    if identity.glasses not in GLASSES:
        raise ValueError(f"unknown glasses {identity.glasses!r}: choose one of {', '.join(GLASSES)}")
    if identity.earrings not in EARRINGS:
        raise ValueError(f"unknown earrings {identity.earrings!r}: choose one of {', '.join(EARRINGS)}")
    frame = GLASSES[identity.glasses]
    parts = [] if frame is None else _glasses(person, rig, frame)
    if identity.earrings != "none":
        parts += [part for side in (1.0, -1.0) for part in _earring(person, rig, identity.earrings, side)]
    return parts


def _glasses(person: Person, rig: Rig, frame: Frame) -> list[Part]:
    outline = _outline(person, frame)
    rims = {side: _seat(person, outline * [side, 1.0], frame) for side in (1.0, -1.0)}
    parts = []
    for side, rim in rims.items():
        thick = np.full(len(rim), 1.0)
        if frame.half:
            thick = 0.18 + 0.82 * ease(np.sin(_turns(len(rim))), -0.28, -0.05)
        parts.append(_tube(rig, rim, frame.wide * thick, frame.deep * thick, FRAME, closed=True))
        parts.append(_lens(rig, rim))
        parts.append(_tube(rig, *_temple(person, rim, side, frame), FRAME))
    inner = [rim[np.argmin(np.abs(rim[:, 0]) + 3.0 * np.abs(rim[:, 1] - 0.004))] for rim in rims.values()]
    t = np.linspace(0, 1, 9)[:, None]
    arch = np.array([0.0, 0.0035, 0.0030]) * np.sin(np.pi * t)
    bridge = inner[0] + t * (inner[1] - inner[0]) + arch
    bridge[:, 2] = np.maximum(bridge[:, 2], _front(person, bridge[:, :2]) + CLEAR)
    parts.append(_tube(rig, bridge, np.full(9, 0.95 * frame.wide), np.full(9, frame.deep), FRAME))
    return parts


def _turns(count: int) -> Array:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _outline(person: Person, frame: Frame) -> Array:
    """(32, 2) the left rim seen from the front, about a pupil that sits a little above and inside its middle."""
    turn = _turns(32)
    c, s = np.cos(turn), np.sin(turn)
    x = frame.width * np.sign(c) * np.abs(c) ** (2 / frame.power)
    y = frame.height * np.sign(s) * np.abs(s) ** (2 / frame.power)
    y += frame.lift * ease(x / frame.width, 0.2, 1.0) * ease(y / frame.height, -0.2, 0.8)
    x += np.where(y < 0, -0.0022 * np.sign(x) * (x < 0) * y / frame.height, 0.0)  # the nose side leans outward below
    pupil = float(fit_sphere(person.rest[prior.EYE_L])[0][0])
    scale = np.clip(pupil / 0.0315, 0.94, 1.08)
    middle = max(pupil + 0.0015, frame.width * scale + 0.0080)
    return np.stack([middle + scale * x, scale * y - 0.0035], axis=1)


def _seat(person: Person, outline: Array, frame: Frame) -> Array:
    """(n, 3) the rim as far before the face as it must be: clear of brows and cheeks, lashes free."""
    lean = TILT * outline[:, 1] - WRAP * outline[:, 0] ** 2
    centre, radius = fit_sphere(person.rest[prior.EYE_L])
    both = np.concatenate([outline, outline * [-1.0, 1.0]])
    need = _front(person, both) + CLEAR + frame.deep - np.tile(lean, 2)
    depth = max(float(need.max()), float(centre[2]) + radius + VERTEX_DISTANCE + WRAP * float(centre[0]) ** 2)
    return np.c_[outline, depth + lean]


@cache
def _face() -> tuple[Array, Array]:
    """Template vertices of the face's front, and of both ears."""
    points, uv, groups = prior.template()
    body = groups["body"]
    middle = uv[body.uv_faces].mean(1)
    row, column = ((1 - middle[:, 1]) * 2047).astype(int), (middle[:, 0] * 2047).astype(int)
    from training.bake.head import islands

    head = np.zeros(len(body.faces), bool)
    head[islands()["head"]] = True
    ears = head & (prior.mask("ears")[row.clip(0, 2047), column.clip(0, 2047)] > 0.5)
    front = head & ~ears & (points[body.faces].mean(1)[:, 2] > -0.06)
    return np.unique(body.faces[front]), np.unique(body.faces[ears])


def _front(person: Person, place: Array) -> Array:
    """(n,) how far forward the skin reaches within a few millimetres of x, y (n, 2)."""
    from scipy.spatial import cKDTree

    skin = person.rest[_face()[0]].astype(float)
    near = cKDTree(skin[:, :2]).query_ball_point(place, 0.0042)
    return np.array([skin[rows, 2].max() if len(rows) else -0.05 for rows in near])


def _side(person: Person, place: Array, sign: float) -> Array:
    """(n,) how far the head reaches sideways at y, z (n, 2), ears left out."""
    from scipy.spatial import cKDTree

    body = np.arange(prior.BODY)
    high = body[(person.rest[: prior.BODY, 1] > -0.06) & (sign * person.rest[: prior.BODY, 0] > 0.03)]
    skin = person.rest[np.setdiff1d(high, _face()[1])].astype(float)
    tree = cKDTree(skin[:, 1:])
    rows = tree.query_ball_point(place, 0.0085)  # sockets and the inner mouth lie below: only the outermost counts
    far = tree.query(place)[1]
    return np.array([(sign * skin[[*near, one], 0]).max() for near, one in zip(rows, far, strict=True)])


def _temple(person: Person, rim: Array, side: float, frame: Frame) -> tuple[Array, Array, Array]:
    """Path, half width and half height of one side piece: from the hinge over the ear and down behind it."""
    hinge = rim[np.argmax(side * rim[:, 0] + 0.8 * rim[:, 1])]
    ears = person.rest[_face()[1]].astype(float)
    ear = ears[side * ears[:, 0] > 0]
    root = ear[np.argsort(side * ear[:, 0])[: len(ear) // 4]]  # where it grows from the head
    top, back = float(np.percentile(ear[:, 1], 84)), float(np.percentile(root[:, 2], 40))
    over = np.array([0.0, top, back])
    t = np.linspace(0, 1, 11)[:, None]
    start = hinge + [side * 0.003, 0.0, -0.0025]
    path = start + t * (over - start)
    path[:, 0] = side * np.maximum(
        side * (start[0] + t[:, 0] * 0.002 * side), _side(person, path[:, 1:], side) + 0.0030
    )
    path[:, 0] = side * np.maximum.accumulate(np.minimum(side * path[:, 0], 0.092))
    drop = np.array([[0.0, -0.004, -0.007], [-0.002 * side, -0.012, -0.011]])
    bend = path[-1] + drop
    path = np.concatenate([[hinge], path, bend])
    size = np.full(len(path), 0.0010)
    return path, size, np.r_[np.full(3, 1.4 * frame.wide), np.full(len(path) - 3, max(1.1 * frame.wide, 0.0011))]


def _tube(rig: Rig, path: Array, wide: Array, deep: Array, rect: Rect, closed: bool = False, sides: int = 6) -> Part:
    """A bar along a path (n, 3), half ``wide`` across the view and half ``deep`` along it, rigid to the head."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    forward = np.array([0.0, 0.0, 1.0]) if closed or abs(ahead[len(ahead) // 2, 2]) < 0.7 else np.array([1.0, 0.0, 0.0])
    across = np.cross(ahead, forward)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    upward = np.cross(across, ahead)
    turn = _turns(sides) + np.pi / sides
    ring = path[:, None] + (wide[:, None] * np.cos(turn))[..., None] * across[:, None]
    ring = ring + (deep[:, None] * np.sin(turn))[..., None] * upward[:, None]
    rows = np.concatenate([ring, ring[:1]]) if closed else ring
    points = np.concatenate([rows, rows[:, :1]], axis=1).reshape(-1, 3)
    count = len(rows)
    faces = mesh.grid_faces(count, sides + 1)
    index = np.arange(count * (sides + 1)).reshape(count, sides + 1)
    index[:, -1] = index[:, 0]
    if closed:
        index[-1] = index[0]
    outward = points - np.repeat(rows.mean(1), sides + 1, axis=0)
    if (mesh.face_normals(points, faces) * outward[faces].mean(1)).sum() < 0:
        faces = faces[:, ::-1]
    unit = np.stack(np.meshgrid(np.linspace(0, 1, sides + 1), np.linspace(0, 1, count)), axis=-1).reshape(-1, 2)
    return _rigid(rig, "accessory", points, faces, rect.place(unit), index.ravel().astype(np.int32))


def _lens(rig: Rig, rim: Array) -> Part:
    """Clear glass within a rim, slightly domed: blended, so that it shows little but its highlight."""
    middle = rim.mean(0) + [0.0, 0.0, 0.0012]
    half = 0.5 * (rim + middle) + [0.0, 0.0, 0.0006]
    points = np.concatenate([rim, half, middle[None]])
    count = len(rim)
    here, then = np.arange(count), (np.arange(count) + 1) % count
    faces = np.concatenate([
        np.stack([here, then, here + count], axis=1), np.stack([then, then + count, here + count], axis=1),
        np.stack([here + count, then + count, np.full(count, 2 * count)], axis=1),
    ])  # fmt: skip
    if mesh.face_normals(points, faces)[:, 2].sum() < 0:
        faces = faces[:, ::-1]
    flat = points[:, :2]
    unit = (flat - flat.min(0)) / (flat.max(0) - flat.min(0))
    part = _rigid(rig, "lens", points, faces, LENS.place(unit), None)
    part.layer = 1
    return part


def _rigid(rig: Rig, name: str, points: Array, faces: Array, uv: Array, weld: Array | None) -> Part:
    return Part(
        name=name, rest=points, faces=faces.astype(np.int32), uv=uv, region=np.zeros(0, np.uint8),
        weight=rig.rigid(len(points), "head"), paint=np.zeros((len(points), 3)), weld=weld,
    ).with_region("accessories")  # fmt: skip


def _earring(person: Person, rig: Rig, kind: str, side: float) -> list[Part]:
    """A stud, a hoop or a drop in the lobe of one ear."""
    ears = person.rest[_face()[1]].astype(float)
    ear = ears[side * ears[:, 0] > 0]
    low = float(ear[:, 1].min())
    lobe = ear[ear[:, 1] < low + 0.009]
    hole = np.array([side * float((side * lobe[:, 0]).max()), low + 0.0048, float(np.median(lobe[:, 2]))])
    if kind == "stud":
        return [_ball(rig, hole + [side * 0.0008, 0.0, 0.0006], np.full(3, 0.0023), STEEL)]
    if kind == "hoop":
        turn = _turns(24)
        ring = np.stack([0.25 * np.sin(turn) * side, np.cos(turn), np.sin(turn)], axis=1)
        middle = np.array([np.median(lobe[:, 0]) + side * 0.001, hole[1] - 0.0072, hole[2]])
        return [_tube(rig, middle + 0.0085 * ring, np.full(24, 0.0008), np.full(24, 0.0008), STEEL, closed=True)]
    below = hole + [side * 0.0010, 0.0, 0.0008]
    wire = below + np.linspace(0, 1, 3)[:, None] * [0.0, -0.012, 0.0]
    return [
        _ball(rig, below, np.full(3, 0.0014), STEEL),
        _tube(rig, wire, np.full(3, 0.0004), np.full(3, 0.0004), STEEL, sides=5),
        _ball(rig, below + [0.0, -0.0165, 0.0], np.array([0.0030, 0.0050, 0.0030]), JEWEL),
    ]


def _ball(rig: Rig, centre: Array, radii: Array, rect: Rect, rings: int = 8, columns: int = 10) -> Part:
    down, around = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, columns + 1), indexing="ij")
    unit = np.stack([np.sin(down) * np.cos(around), np.cos(down), np.sin(down) * np.sin(around)], axis=-1)
    points = centre + radii * unit.reshape(-1, 3)
    faces = mesh.grid_faces(rings, columns + 1)
    area = np.linalg.norm(mesh.face_normals(points, faces), axis=1)
    faces = faces[area > 1e-10]
    if (mesh.face_normals(points, faces) * (points[faces].mean(1) - centre)).sum() < 0:
        faces = faces[:, ::-1]
    index = np.arange(rings * (columns + 1)).reshape(rings, columns + 1)
    index[:, -1] = index[:, 0]
    place = np.stack([around / (2 * np.pi), down / np.pi], axis=-1).reshape(-1, 2)
    return _rigid(rig, "accessory", points, faces, rect.place(place), index.ravel().astype(np.int32))


def paint_accessories(canvas: Canvas, identity: Identity, seed: int) -> None:
    """Four swatches: the frame's acetate or metal, the jewellery's metal, glass, and a stone."""
    dice = np.random.default_rng([seed, 90])
    metal = linear(METALS[int(dice.choice(3, p=(0.45, 0.4, 0.15)))])
    thin = identity.glasses == "round"
    body = metal if thin else linear(ACETATE[int(dice.choice(len(ACETATE), p=(0.38, 0.26, 0.12, 0.1, 0.06, 0.08)))])
    u, v = np.meshgrid(np.linspace(0, 1, FRAME.width), np.linspace(0, 1, FRAME.height))
    mottle = noise(np.stack([u.ravel() * 2, v.ravel() * 9, 0 * u.ravel()], axis=1), 1.0, 2, seed + 91).reshape(u.shape)
    shell = (0.35 + 1.5 * ease(mottle, 0.35, 0.65))[..., None] if body[0] > 2.5 * body[2] and not thin else 1.0
    canvas.fill(FRAME, body * shell * np.ones((*u.shape, 3)), gloss=0.85 if thin else 0.70)
    canvas.fill(STEEL, np.broadcast_to(metal, (STEEL.height, STEEL.width, 3)), gloss=0.92)
    canvas.fill(LENS, np.full((LENS.height, LENS.width, 3), 0.35), alpha=0.07, gloss=0.98)
    stone = linear(STONES[int(dice.integers(len(STONES)))])
    canvas.fill(JEWEL, np.broadcast_to(stone, (JEWEL.height, JEWEL.width, 3)), gloss=0.95)
