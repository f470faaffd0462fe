"""A made-up avatar for tests: ellipsoids for head, eyes, mouth, hair and torso, with every array of a real pack.

``make_avatar()`` is quick, deterministic and needs no file. It is no one's portrait and never shipped.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.avatar import BONES, REGIONS, Avatar, Meta
from engine.motion.frame import ACTIONS, K, R

F64 = NDArray[np.float64]
SIDE = 256  # texture
TILES = 4  # a side: each part is painted in a tile of its own

PARENTS = {"root": -1, "spine": 0, "neck": 1, "head": 2, "eye_l": 3, "eye_r": 3, "clavicle_l": 1, "clavicle_r": 1,
           "shoulder_l": 6, "shoulder_r": 7, "elbow_l": 8, "elbow_r": 9, "wrist_l": 10, "wrist_r": 11}  # fmt: skip
PIVOTS = {"root": (0, -0.6, -0.1), "spine": (0, -0.45, -0.1), "neck": (0, -0.2, -0.1), "head": (0, -0.12, -0.09),
          "eye_l": (0.031, 0, 0), "eye_r": (-0.031, 0, 0), "clavicle_l": (0.03, -0.22, -0.1),
          "clavicle_r": (-0.03, -0.22, -0.1), "shoulder_l": (0.17, -0.25, -0.1), "shoulder_r": (-0.17, -0.25, -0.1),
          "elbow_l": (0.2, -0.5, -0.1), "elbow_r": (-0.2, -0.5, -0.1), "wrist_l": (0.2, -0.7, -0.1),
          "wrist_r": (-0.2, -0.7, -0.1)}  # fmt: skip


class Part(NamedTuple):
    """A closed ellipsoid of the avatar and how it is painted."""

    region: str
    bone: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    colour: tuple[int, int, int, int]  # sRGB, alpha
    surface: tuple[int, int, int, int]  # occlusion, gloss, subsurface, strand
    rings: int
    layer: int = 0


PARTS = (
    Part("face", "head", (0, -0.02, -0.09), (0.078, 0.115, 0.095), (214, 160, 136, 255), (255, 90, 220, 0), 40),
    Part("eyes", "eye_l", (0.031, 0, 0), (0.013, 0.011, 0.013), (236, 232, 228, 255), (255, 245, 20, 0), 16),
    Part("eyes", "eye_r", (-0.031, 0, 0), (0.013, 0.011, 0.013), (236, 232, 228, 255), (255, 245, 20, 0), 16),
    Part("lips", "head", (0, -0.068, -0.004), (0.022, 0.010, 0.010), (178, 92, 88, 255), (255, 140, 160, 0), 12),
    Part("mouth", "head", (0, -0.066, -0.012), (0.018, 0.006, 0.012), (90, 30, 30, 255), (80, 140, 90, 0), 10),
    Part("teeth", "head", (0, -0.064, -0.010), (0.015, 0.004, 0.011), (236, 226, 208, 255), (200, 200, 40, 0), 10),
    Part("tongue", "head", (0, -0.072, -0.016), (0.012, 0.004, 0.012), (190, 90, 90, 255), (180, 180, 120, 0), 10),
    Part("hair", "head", (0, 0.018, -0.112), (0.088, 0.100, 0.090), (70, 48, 34, 255), (220, 60, 0, 255), 24),
    Part("hair", "head", (0, 0.020, -0.113), (0.093, 0.104, 0.094), (92, 64, 44, 120), (220, 60, 0, 255), 24, 1),
    Part("neck_ears", "neck", (0, -0.17, -0.10), (0.050, 0.110, 0.052), (205, 150, 128, 255), (230, 70, 200, 0), 16),
    Part("torso", "spine", (0, -0.46, -0.11), (0.200, 0.240, 0.110), (52, 84, 132, 255), (240, 20, 0, 0), 24),
    Part("arms", "shoulder_l", (0.205, -0.47, -0.11), (0.050, 0.260, 0.060), (52, 84, 132, 255), (240, 20, 0, 0), 14),
    Part("arms", "shoulder_r", (-0.205, -0.47, -0.11), (0.050, 0.260, 0.060), (52, 84, 132, 255), (240, 20, 0, 0), 14),
)  # fmt: skip


def ellipsoid(
    rings: int, centre: tuple[float, ...], radii: tuple[float, ...]
) -> tuple[F64, F64, NDArray[np.int32], F64]:
    """(vertices, unit normals, faces, uv) of a closed ellipsoid with ``rings`` x ``2 rings`` cells.

    Faces run counter-clockwise seen from outside; vertices repeat along the seam at the back.
    """
    around = 2 * rings
    theta, phi = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.linspace(-np.pi, np.pi, around + 1), indexing="ij")
    unit = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], -1).reshape(-1, 3)
    corner = (np.arange(rings)[:, None] * (around + 1) + np.arange(around)).ravel()
    below = corner + around + 1
    faces = np.concatenate([np.stack([corner, below, below + 1], 1), np.stack([corner, below + 1, corner + 1], 1)])
    normals = unit / np.array(radii)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    uv = np.stack([phi / (2 * np.pi) + 0.5, theta / np.pi], -1).reshape(-1, 2)
    points = unit * np.array(radii) + np.array(centre)
    flat = (points[faces[:, 0]] == points[faces[:, 1]]).all(1) | (points[faces[:, 0]] == points[faces[:, 2]]).all(1)
    flat |= (
        np.linalg.norm(
            np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]), axis=1
        )
        < 1e-12
    )
    return points, normals, faces[~flat].astype(np.int32), uv


@lru_cache(maxsize=2)
def make_avatar(seed: int = 0) -> Avatar:
    """The avatar. The same object for the same seed; do not change its arrays."""
    vertices, normals, faces, uv, region, layer, bone = [], [], [], [], [], [], []
    albedo, surface = np.zeros((SIDE, SIDE, 4), np.uint8), np.zeros((SIDE, SIDE, 4), np.uint8)
    start = 0
    for number, part in enumerate(PARTS):
        points, outward, triangles, places = ellipsoid(part.rings, part.centre, part.radii)
        tile = np.array([number % TILES, number // TILES])
        vertices.append(points)
        normals.append(outward)
        faces.append(triangles + start)
        uv.append((tile + 0.06 + 0.88 * places) / TILES)
        region.append(np.full(len(triangles), REGIONS.index(part.region)))
        layer.append(np.full(len(triangles), part.layer))
        bone.append(np.full(len(points), BONES.index(part.bone)))
        _paint(albedo, surface, part, tile, seed + number)
        start += len(points)
    rest, skin_bone = np.concatenate(vertices), np.concatenate(bone)
    count = len(rest)
    move = np.flatnonzero((skin_bone == BONES.index("head")) & (rest[:, 2] > -0.08))
    _, first, same = np.unique(np.round(rest, 7), axis=0, return_index=True, return_inverse=True)
    hair = np.zeros(count, np.uint8)
    index = np.zeros((count, 4), np.uint8)
    index[:, 0] = skin_bone
    return Avatar(
        meta=Meta("synthetic", "Synthetic", "1.0.0", "Apache-2.0", "tests", "no person", "procedural", "for tests"),
        bones=BONES,
        rest=rest.astype(np.float32),
        faces=np.concatenate(faces).astype(np.int32),
        uv=np.concatenate(uv).astype(np.float32),
        region=np.concatenate(region).astype(np.uint8),
        layer=np.concatenate(layer).astype(np.uint8),
        weld=first[same.ravel()].astype(np.int32),
        move_index=move.astype(np.int32),
        deltas=_deltas(rest[move], seed).astype(np.float16),
        residual=np.random.default_rng(seed).normal(0, 2e-4, (R, len(move), 3)).astype(np.float16),
        bone_parent=np.array([PARENTS[name] for name in BONES], np.int32),
        bone_pivot=np.array([PIVOTS[name] for name in BONES], np.float32),
        bone_hand=np.zeros((len(BONES), 3, 3), np.float32),
        skin_index=index,
        skin_weight=np.eye(4, dtype=np.float32)[np.zeros(count, np.int64)],
        normals_fixed=hair,
        rest_normal=np.concatenate(normals).astype(np.float16),
        albedo=albedo,
        surface=surface,
        background=np.full((64, 64, 3), (70, 84, 98), np.uint8),
        preview=np.zeros((512, 512, 3), np.uint8),
    )


def _paint(
    albedo: NDArray[np.uint8], surface: NDArray[np.uint8], part: Part, tile: NDArray[np.int64], seed: int
) -> None:
    """Fills a part's tile: its colour with a little grain, an iris in front of each eye, stripes of alpha in hair."""
    size = SIDE // TILES
    row, column = tile[1] * size, tile[0] * size
    grain = np.random.default_rng(seed).normal(0, 3, (size, size, 1))
    paint = np.clip(np.array(part.colour[:3]) + grain, 0, 255)
    v, u = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    if part.region == "eyes":
        away = np.hypot((u - 0.5) * 0.88**-1 * 2, (v - 0.5) * 0.88**-1)
        paint[away < 0.16] = (96, 66, 38)
        paint[away < 0.07] = (12, 10, 10)
    albedo[row : row + size, column : column + size, :3] = np.rint(paint)
    stripes = 0.5 + 0.5 * np.sin(u * 120) if part.layer else np.ones_like(u)
    albedo[row : row + size, column : column + size, 3] = np.rint(stripes * part.colour[3])
    surface[row : row + size, column : column + size] = part.surface


def _deltas(points: F64, seed: int) -> F64:
    """(K, M, 3): a small smooth push for every action; the jaw drops the lower part, as its name says."""
    draws = np.random.default_rng(seed)
    deltas = np.zeros((K, len(points), 3))
    for k, name in enumerate(ACTIONS):
        centre = points[draws.integers(len(points))]
        near = np.exp(-((points - centre) ** 2).sum(1) / (2 * 0.015**2))
        deltas[k] = near[:, None] * draws.normal(0, 0.002, 3)
        if name == "jawOpen":
            deltas[k] = np.array([0.0, -0.03, -0.005]) * np.clip((-0.066 - points[:, 1:2]) / 0.01, 0, 1)
    return deltas
