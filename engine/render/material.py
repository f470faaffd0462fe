"""Material: an avatar's textures and regions as the kernels want them. Built once an avatar, shared by sessions."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS, Avatar
from kernels import texture
from kernels.jit import Flags
from kernels.rasterize import Camera, Mesh, Rasterizer
from kernels.rasterize.cpu import SLOT_MASK
from kernels.shade import EYE, MOUTH, TEETH, Material

U8 = NDArray[np.uint8]
# Regions painted on one surface: the texture itself makes their border, so it needs no anti-aliasing.
SURFACES: Final = (
    ("face", "lips", "brows", "neck_ears"),
    ("mouth", "tongue"),
    ("teeth",),
    ("eyes",),
    ("hair", "lashes"),
    ("torso", "accessories"),
    ("arms", "hands"),
)
CAVITIES: Final = {"eyes": EYE, "mouth": MOUTH, "teeth": TEETH, "tongue": MOUTH}
STRANDS: Final = ("hair", "lashes")
_KEPT: Final = 8  # avatars whose textures stay built
_built: dict[int, tuple[Avatar, Mesh, Material]] = {}


def build(avatar: Avatar) -> tuple[Mesh, Material]:
    """Mesh and material of ``avatar``; the mip pyramid of the last few avatars is kept."""
    found = _built.get(id(avatar))
    if found is None:
        mesh = Mesh(
            np.ascontiguousarray(avatar.faces, np.int32),
            np.ascontiguousarray(avatar.uv, np.float32),
            np.ascontiguousarray(avatar.region, np.uint8),
            np.ascontiguousarray(avatar.layer, np.uint8),
            _table({name: row + 1 for row, names in enumerate(SURFACES) for name in names}),
        )
        strand = np.isin(avatar.region, [REGIONS.index(name) for name in STRANDS])
        material = Material(
            texture.build(avatar.albedo, avatar.surface, worn(mesh, avatar.albedo.shape[0])), _table(CAVITIES), strand
        )
        found = _built[id(avatar)] = (avatar, mesh, material)  # holding the avatar keeps its id its own
        while len(_built) > _KEPT:
            del _built[next(iter(_built))]
    return found[1:]


def unfolded(mesh: Mesh, side: int) -> NDArray[np.int32]:
    """Which of the faces of ``mesh`` lies on each texel of the atlas, (side, side); -1 where none does."""
    flat = np.concatenate([mesh.uv, np.ones((len(mesh.uv), 1), np.float32)], 1)
    towards = np.zeros_like(flat)
    towards[:, 2] = -1.0
    both = np.concatenate([mesh.faces, mesh.faces[:, ::-1]])  # an island may be laid out mirrored
    sheet = Mesh(both, mesh.uv, np.tile(mesh.region, 2), np.zeros(len(both), np.uint8), mesh.material)
    page = Camera(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), float(side), (0.0, 0.0))
    raster = Rasterizer(sheet, (side, side), samples=1)
    winner = raster.fill(flat, towards, page, None, np.empty_like(flat)).winner[..., 0]
    face = raster.owner[np.maximum(winner, 0) & SLOT_MASK] % np.int32(len(mesh.faces))
    return np.where(winner >= 0, face, np.int32(-1))


def worn(mesh: Mesh, side: int) -> Flags:
    """Which texels of a texture (side, side) a face of ``mesh`` wears, and one texel more around."""
    inside = np.pad(unfolded(mesh, side) >= 0, 1)
    near: Flags = np.zeros((side, side), np.bool_)
    for y in range(3):
        for x in range(3):
            near |= inside[y : y + side, x : x + side]
    return near


def _table(values: dict[str, int]) -> U8:
    """Region id to value, 0 where not given."""
    table = np.zeros(256, np.uint8)
    for name, value in values.items():
        table[REGIONS.index(name)] = value
    return table


def cover(picture: U8, size: tuple[int, int]) -> U8:
    """``picture`` (h,w,3) scaled and cropped about its middle so that it covers ``size`` (H,W); bilinear."""
    height, width = size
    scale = min(picture.shape[0] / height, picture.shape[1] / width)
    rows = (np.arange(height) + 0.5 - height / 2) * scale + picture.shape[0] / 2 - 0.5
    columns = (np.arange(width) + 0.5 - width / 2) * scale + picture.shape[1] / 2 - 0.5
    return _blend_rows(_blend_rows(picture.astype(np.float32), rows, 0), columns, 1).round().astype(np.uint8)


def _blend_rows(image: NDArray[np.float32], places: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    last = image.shape[axis] - 1
    low = np.clip(np.floor(places), 0, last).astype(np.int64)
    shape = [1, 1, 1]
    shape[axis] = -1
    part = np.clip(places - low, 0, 1).astype(np.float32).reshape(shape)
    return image.take(low, axis) * (1 - part) + image.take(np.minimum(low + 1, last), axis) * part
