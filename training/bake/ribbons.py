"""Hair as ribbons: curves widened into strips that lie in the HAIR rectangle of the atlas, root at v = 0."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import atlas
from training.bake.atlas import Rect
from training.bake.brush import ease
from training.bake.hair_grow import along
from training.bake.mesh import Part
from training.bake.rig import Rig

Array = NDArray[Any]
STRANDS: Final = Rect(atlas.HAIR.x, atlas.HAIR.y, 384, atlas.HAIR.height)  # columns of a few hairs each
BEARD: Final = Rect(atlas.HAIR.x + 384, atlas.HAIR.y, 80, atlas.HAIR.height)  # the same in the beard's colour
BROW: Final = Rect(atlas.HAIR.x + 464, atlas.HAIR.y, 32, atlas.HAIR.height)  # columns of one hair each
LASH: Final = Rect(atlas.HAIR.x + 496, atlas.HAIR.y, 16, atlas.HAIR.height)
FACE_KINDS: Final = {"beard": 4, "brow": 2, "lash": 1}  # columns
LEVELS: Final = 4  # of depth in the hair, the dark innermost first
VARIANTS: Final = 4  # of each level
LOCKS: Final = Rect(atlas.HAIR.x + 512, atlas.HAIR.y, 160, atlas.HAIR.height)  # columns of many hairs, for packs
LOCK_KINDS: Final = 4
MASS: Final = Rect(atlas.HAIR.x + 672, atlas.HAIR.y, 96, atlas.HAIR.height)  # opaque: what lies under the locks

FUZZ: Final = 0.4  # share of MASS's width that is a cloud of curls instead of strands


def strand_columns(level: Array, generator: np.random.Generator) -> tuple[Rect, Array, int]:
    """(rectangle, column of each ribbon, columns in all) for depths ``level`` (n,) in [0, 1]."""
    row = np.clip(level * LEVELS + generator.normal(0, 0.35, len(level)), 0, LEVELS - 1).astype(int)
    return STRANDS, row * VARIANTS + generator.integers(VARIANTS, size=len(level)), LEVELS * VARIANTS


def lock_columns(count: int, generator: np.random.Generator) -> tuple[Rect, Array, int]:
    """The same for a pack's wide cards."""
    return LOCKS, generator.integers(LOCK_KINDS, size=count), LOCK_KINDS


def mass_columns(count: int, generator: np.random.Generator) -> tuple[Rect, Array, int]:
    """The same for the opaque mass: narrow windows of one wide painting."""
    return MASS, 2 + generator.integers(3, size=count), 5


def face_columns(name: str, count: int, generator: np.random.Generator) -> tuple[Rect, Array, int]:
    """The same for hair of the face: "beard", "brow" or "lash"."""
    rect = {"beard": BEARD, "brow": BROW, "lash": LASH}[name]
    return rect, generator.integers(FACE_KINDS[name], size=count), FACE_KINDS[name]


def ribbons(
    name: str, curves: Array, width: Array, outward: Array, columns: tuple[Rect, Array, int], weight: Array,
    roll: Array | float = 0.0, layer: int = 1, bulge: float = 0.22, blunt: float = 0.0,
) -> Part:  # fmt: skip
    """One part of n strips. ``curves``, ``outward`` (n, p, 3); ``width`` (n,) metres; ``weight`` (n * p, N).

    ``roll`` (n,) radians turns strips about themselves; normals stay those of the hair's outside.
    ``blunt`` in [0, 1]: how full the tips stay.
    """
    count, points = curves.shape[:2]
    tangent = np.gradient(curves, axis=1)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=2, keepdims=True), 1e-9)
    across = np.cross(tangent, outward)
    size = np.linalg.norm(across, axis=2, keepdims=True)
    across = np.where(size > 0.15, across, np.cross(tangent, [0.6, 0.1, 0.8]))
    across /= np.maximum(np.linalg.norm(across, axis=2, keepdims=True), 1e-9)
    for _ in range(2):  # no sudden twist between neighbours
        across[:, 1:-1] += 0.5 * (across[:, :-2] + across[:, 2:])
        across /= np.maximum(np.linalg.norm(across, axis=2, keepdims=True), 1e-9)
    turn = np.broadcast_to(np.asarray(roll, float), (count,))[:, None, None]
    flat = np.cos(turn) * across + np.sin(turn) * np.cross(across, tangent)
    s = along(points)
    shape = np.minimum(1.0, 0.55 + 5 * s) * (1 - 0.75 * (1 - 0.7 * blunt) * s**3)
    half = 0.5 * width[:, None, None] * shape[None, :, None] * flat
    rest = np.stack([curves - half, curves + half], axis=2).reshape(-1, 3)
    normal = np.stack([outward - bulge * across, outward + bulge * across], axis=2).reshape(-1, 3)
    rect, column, kinds = columns
    u = (column[:, None] + np.array([0.04, 0.96])) / kinds
    unit = np.stack(np.broadcast_arrays(u[:, None, :], (1 - 0.2 * blunt) * s[None, :, None]), axis=-1).reshape(-1, 2)
    return Part(
        name=name, rest=rest, faces=_strip_faces(count, points), uv=rect.place(unit), region=np.zeros(0, np.uint8),
        weight=np.repeat(weight, 2, axis=0), paint=np.c_[unit, np.zeros(len(unit))], layer=layer,
        normal=normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9),
    ).with_region("hair")  # fmt: skip


def _strip_faces(count: int, points: int) -> Array:
    """Triangles of ``count`` strips of ``points`` pairs of vertices."""
    a = 2 * np.arange(points - 1)
    strip = np.stack([a, a + 2, a + 1, a + 1, a + 2, a + 3], axis=1).reshape(-1, 3)
    return (strip[None] + (2 * points * np.arange(count))[:, None, None]).reshape(-1, 3).astype(np.int32)


def hang_weights(rig: Rig, points: Array, scale: float) -> Array:
    """Skin weights (n, N): hair goes with the head; what hangs lower goes with the neck, then with the trunk."""
    weight = np.zeros((len(points), len(rig.names)), np.float32)
    drop = -points[:, 1] / scale
    trunk = ease(drop, 0.12, 0.24)
    head = 1 - ease(drop, 0.06, 0.17)
    weight[:, rig.index["head"]] = head * (1 - trunk)
    weight[:, rig.index["spine"]] = trunk
    weight[:, rig.index["neck"]] = (1 - head) * (1 - trunk)
    return weight
