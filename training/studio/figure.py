"""A studio person on the graphics card: mesh by material, textures, and where the eyes look. Uploaded once a person."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS, Avatar
from training.bake import atlas, eyes
from training.studio import gl
from training.studio.lights import LUMA
from training.studio.person import StudioPerson

F32 = NDArray[np.float32]
Array = NDArray[Any]

# Materials: one lighting shader each. A sample's label is its region, plus STRAND for what is cut by alpha; parts of
# the body that may be bare or clothed add CLOTHED or BARE.
SKIN, WET, EYE, HAIR, CLOTH, POLISHED = range(1, 7)
STRAND, CLOTHED, BARE, LABELS = 16, 32, 48, 64
COVERED: Final = ("torso", "arms", "hands")
CASTING: Final = (36_000, 18_000)  # strand triangles that cast the key's shadow, and the rim's
TYPICAL: Final = 0.34  # luminance of a face that needs no correction
FLESH: Final = 0.06  # subsurface above this is skin
MATERIAL: Final = {
    "face": SKIN, "lips": SKIN, "brows": SKIN, "neck_ears": SKIN, "arms": SKIN, "hands": SKIN, "mouth": WET,
    "teeth": WET, "tongue": WET, "eyes": EYE, "lashes": HAIR, "hair": HAIR, "torso": CLOTH, "accessories": POLISHED,
}  # fmt: skip
RELIEF_GAIN: Final = 2.2  # of relief as small as a pixel
GOLDEN: Final = 0.6180339887


class Group(NamedTuple):
    """A run of the index buffer drawn alike: the kind of shader, its label, first index and number of indices."""

    kind: str
    label: int
    first: int
    length: int


class Eyes(NamedTuple):
    """What gives an eyeball's frame from its posed vertices: their rows (n,), and (4, n) a least-squares inverse."""

    rows: Array
    solve: F32

    def frame(self, vertices: F32) -> tuple[F32, F32]:
        """(axes (3,3): world direction to (outer, up, gaze); centre (3,)) of the eye in a posed mesh."""
        found = self.solve @ vertices[self.rows]
        u, _, v = np.linalg.svd(found[:3])
        return (u @ v).astype(np.float32), found[3].astype(np.float32)


class Figure:
    """The person's buffers and textures. ``pose`` moves the vertices; the rest stays."""

    def __init__(self, context: Any, person: StudioPerson) -> None:
        avatar = person.fine
        self.vertices = len(avatar.rest)
        faces, self.groups = grouped(avatar)
        self.casting = [group for group in self.groups if group.kind in ("surface", "hull")]
        strand, number = _strands(faces, self.groups)
        own = np.zeros(self.vertices, np.float32)  # a number in [0, 1) that the vertices of one strand share
        own[strand] = ((number * GOLDEN) % 1.0)[:, None]
        self.index = context.buffer(np.ascontiguousarray(faces, np.int32).tobytes())
        spread = np.random.default_rng(0).permutation(int(number.max()) + 1)[number] if len(number) else number
        self.thin = [_indices(context, strand[spread % max(2, round(len(strand) / most)) == 0]) for most in CASTING]
        self.own = context.buffer(own.tobytes())
        self.position = context.buffer(reserve=self.vertices * 12)
        self.normal = context.buffer(reserve=self.vertices * 12)
        self.place = context.buffer(np.ascontiguousarray(avatar.uv, np.float32).tobytes())
        self.albedo = gl.picture(context, avatar.albedo, mipmaps=True)
        self.surface = gl.picture(context, avatar.surface, mipmaps=True)
        self.relief = gl.picture(context, person.height.astype(np.float32), mipmaps=True)
        self.gain = _metered(avatar)
        self.eyes = [_eye(avatar, side) for side in (1.0, -1.0)]
        self._owned = [
            self.index,
            self.own,
            self.position,
            self.normal,
            self.place,
            self.albedo,
            self.surface,
            self.relief,
        ]

    def pose(self, vertices: F32, normals: F32) -> None:
        """Takes posed vertices and unit normals, (V, 3) float32 world space."""
        for name, array in (("vertices", vertices), ("normals", normals)):
            if array.shape != (self.vertices, 3) or array.dtype != np.float32:
                raise ValueError(f"{name} must be ({self.vertices}, 3) float32, got {array.shape} {array.dtype}")
        self.position.write(np.ascontiguousarray(vertices))
        self.normal.write(np.ascontiguousarray(normals))

    def release(self) -> None:
        """Frees what the graphics card holds."""
        for part in (*self._owned, *(index for index in self.thin if index)):
            part.release()


def materials() -> F32:
    """(LABELS,) label to material number; 0 is nothing."""
    table = np.zeros(LABELS, np.float32)
    for name, material in MATERIAL.items():
        region = REGIONS.index(name)
        table[region] = material
        table[STRAND + region], table[CLOTHED + region], table[BARE + region] = HAIR, CLOTH, SKIN
    return table


def grouped(avatar: Avatar) -> tuple[Array, list[Group]]:
    """Faces in drawing order, and the runs: solid before cut out, so that early depth tests save work."""
    hair = np.isin(avatar.region, [REGIONS.index(name) for name in ("hair", "lashes")])
    eye = avatar.region == REGIONS.index("eyes")
    worn = avatar.region == REGIONS.index("accessories")
    layered = avatar.layer != 0
    kinds = {
        "surface": ~layered & ~hair & ~eye, "eye": ~layered & eye, "hull": ~layered & hair,
        "strand": layered & ~worn, "glass": layered & worn,
    }  # fmt: skip
    added = np.where(_bare(avatar), BARE, CLOTHED) * np.isin(avatar.region, [REGIONS.index(name) for name in COVERED])
    added[kinds["strand"]] = STRAND
    label = avatar.region + added
    parts, groups, start = [], [], 0
    for kind, chosen in kinds.items():
        for value in np.unique(label[chosen]):
            faces = avatar.faces[chosen & (label == value)]
            groups.append(Group(kind, int(value), start, 3 * len(faces)))
            parts.append(faces)
            start += 3 * len(faces)
    return np.concatenate(parts), groups


def _bare(avatar: Avatar) -> Array:
    """(F,) whether a face shows skin: light enters it, by the texel under its middle."""
    side = avatar.surface.shape[0]
    column, row = np.clip(avatar.uv[avatar.faces].mean(1) * side, 0, side - 1).astype(int).T
    return np.asarray(avatar.surface[row, column, 2] > FLESH * 255)


def _metered(avatar: Avatar) -> float:
    """What a camera that meters the face multiplies the exposure by: a little less for fair skin, more for dark."""
    face = avatar.faces[avatar.region == REGIONS.index("face")]
    side = avatar.albedo.shape[0]
    column, row = np.clip(avatar.uv[face].mean(1) * side, 0, side - 1).astype(int).T
    colour = (avatar.albedo[row, column, :3] / 255.0) ** 2.2
    return float(np.clip((TYPICAL / max(np.median(colour @ LUMA), 1e-3)) ** 0.20, 0.87, 1.25))


def _strands(faces: Array, groups: list[Group]) -> tuple[Array, Array]:
    """The faces (n, 3) cut out as strands, and for each face the number of the strand it belongs to."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    runs = [faces[g.first // 3 : (g.first + g.length) // 3] for g in groups if g.kind == "strand"]
    if not runs:
        return np.zeros((0, 3), np.int32), np.zeros(0, np.int64)
    strands = np.concatenate(runs)
    count = int(strands.max()) + 1
    pairs = np.concatenate([strands[:, :2], strands[:, 1:]])
    links = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, label = connected_components(links, directed=False)
    _, number = np.unique(label[strands[:, 0]], return_inverse=True)
    return strands, np.asarray(number)


def _indices(context: Any, faces: Array) -> Any:
    """An index buffer, or None when there is nothing to draw."""
    return context.buffer(np.ascontiguousarray(faces, np.int32).tobytes()) if len(faces) else None


def _eye(avatar: Avatar, side: float) -> Eyes:
    """The eye on the viewer's right (side 1) or left (-1); its vertices' directions are read from the atlas."""
    rows = np.unique(avatar.faces[avatar.region == REGIONS.index("eyes")])
    rows = rows[np.sign(avatar.rest[rows, 0]) == side]
    middle, half = eye_sheet()
    px, py = ((avatar.uv[rows].astype(np.float64) - middle) / half * [1, -1]).T
    away = eyes.angle_of(np.hypot(px, py))
    turn = np.arctan2(py, px)
    direction = np.stack([np.sin(away) * np.cos(turn), np.sin(away) * np.sin(turn), np.cos(away)], 1)
    rest = avatar.rest[rows].astype(np.float64)
    ball = away > eyes.CORNEA  # the cornea bulges out of the sphere
    system = np.c_[2 * rest[ball], np.ones(ball.sum())]
    centre = np.linalg.lstsq(system, (rest[ball] ** 2).sum(1), rcond=None)[0][:3]
    radius = np.linalg.norm(rest - centre, axis=1, keepdims=True)
    return Eyes(rows, np.linalg.pinv(np.c_[direction * radius, np.ones(len(rows))]).astype(np.float32))


def eye_sheet() -> tuple[Array, Array]:
    """Centre and half size of the eye's rectangle in texture coordinates."""
    middle, corner = atlas.EYE.place(np.array([[0.5, 0.5], [1.0, 1.0]])).astype(np.float64)
    return middle, corner - middle
