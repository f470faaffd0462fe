"""Hair as the photograph has it: its own outline and colours, given depth around the fitted head.

The outline is blown up to a rounded body (the height h of a membrane under even pressure, its square h^2 solving
Poisson's equation, as in Prasad and Fitzgibbon 2006 and Twarog et al. 2012), kept outside of the skull and laid onto
the face along the hairline. Front and back are two sheets that meet at the outline; both carry the photograph.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from engine.avatar import REGIONS, Avatar
from engine.body.body import Body
from engine.render import material
from kernels.rasterize import Camera, Rasterizer
from training.bake import atlas, mesh
from training.portrait.fit import Fit, Lens
from training.portrait.retake import motion

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
Array = NDArray[Any]
Sheet = tuple[Array, Array, Array, Array]  # points (n, 3), faces (f, 3), unit coordinates (n, 2), normals (n, 3)
CELLS: Final = 132  # of the longer side of the grid that hair is built on
ROOM: Final = 0.03  # metres of the grid beside hair and head
SKULL: Final = ("face", "neck_ears")
BODY: Final = ("torso", "arms")
MIDDLE: Final = -0.085  # metres: how far behind the eyes the head is widest
LEAST: Final = 0.0045  # metres of hair over the skull
LAID: Final = 0.0020  # metres over the skin along the hairline
RISE: Final = 0.020  # metres from the hairline over which hair gets its full height
BACK: Final = 0.92  # depth of the back over that of the front
NAPE: Final = -0.055  # metres below the eyes: hair at the back of the head ends here unless it is seen to be longer
FEW: Final = 0.12  # share of the head that must be hair, else the head is bald
HANGS: Final = (0.09, 0.20)  # metres below the eyes between which hair passes from the head to the trunk
MEET: Final = 0.030  # metres of height from which on front and back are a head's depth apart
THIN: Final = 0.04  # share of a cell that must be hair to be seen at all: what is beyond half of it is see-through
INSIDE: Final = 0.020  # metres of height up to which the see-through fringe reaches inward
DEEP: Final = 0.02  # of the grid from the outline inward, where nothing is see-through
GLOSS: Final = 60  # of 255


@dataclass(frozen=True)
class Grid:
    """The window of the photograph that hair is built in: rows x columns cells, ``left``, ``top`` and ``step`` pixels
    of the photograph."""

    rows: int
    columns: int
    left: float
    top: float
    step: float

    def pixels(self) -> F64:
        """(rows, columns, 2) pixels of the photograph in the middle of each cell."""
        row, column = np.mgrid[: self.rows, : self.columns] + 0.5
        return np.stack([self.left + column * self.step, self.top + row * self.step], axis=-1)

    def sample(self, plane: Array, blur: float = 0.5) -> F64:
        """A plane (H, W) of the photograph, averaged over cells."""
        smooth = ndimage.gaussian_filter(plane.astype(np.float32), blur * self.step)
        at = self.pixels()
        return np.asarray(
            ndimage.map_coordinates(smooth, [at[..., 1] - 0.5, at[..., 0] - 0.5], order=1, cval=0.0), np.float64
        )


def own_hair(avatar: Avatar, photo: U8, fit: Fit, alpha: U8, regions: U8) -> Avatar:
    """A ``avatar`` baked without hair, with the hair of the photograph (H, W, 3), whose ``alpha`` and ``regions``
    (H, W) say where it is. Unchanged when there is next to none."""
    hair = (regions == REGIONS.index("hair")) * (alpha / 255.0)
    head = _unposed(avatar, fit)
    grid = _grid(fit, hair, head)
    share = grid.sample(hair)
    depth, seen = _depths(avatar, head, fit.lens, grid)
    skull = np.isin(seen, [REGIONS.index(name) for name in SKULL])
    above = _height(fit.lens, grid, depth) > NAPE
    if share[above].sum() < FEW * max((skull & above).sum(), 1):
        return avatar
    body = _outline(share, skull & above, fit.lens, grid)
    bulge = _inflated(body, grid.step / fit.lens.scale)
    front = _front(share, depth, skull, bulge, grid.step / fit.lens.scale)
    back = _back(avatar, head, fit.lens, grid, bulge)
    closed = _closed(bulge)
    middle = np.full(share.shape, MIDDLE)
    solid = [
        _sheet(fit.lens, grid, middle + closed * (front - middle), _level(share), False),
        _sheet(fit.lens, grid, middle + closed * (back - middle), _level(body), True),
    ]
    fringe = _sheet(fit.lens, grid, middle, np.minimum(_level(share, THIN), INSIDE - bulge), False)
    return _added(_painted(avatar, photo, hair, body, grid), solid, fringe)


# --- geometry: everything along the camera's axis, metres toward the camera from between the eyes ---------------


def _unposed(avatar: Avatar, fit: Fit) -> Array:
    """(V, 3) the body of the photograph's pose in the frame of the resting head."""
    pose = Body(avatar).pose(motion(fit))
    bone = pose.bones[avatar.bones.index("head")].astype(np.float64)
    return np.asarray((pose.vertices - bone[:, 3]) @ bone[:, :3], np.float32)


def _grid(fit: Fit, hair: F64, head: Array) -> Grid:
    near = head[(head[:, 1] > -0.13) & (np.abs(head[:, 0]) < 0.11)]
    spots = [fit.lens.project(near.astype(np.float64))]
    rows, columns = np.nonzero(hair > 0.3)
    if len(rows):
        spots.append(np.stack([columns, rows], axis=1).astype(np.float64))
    places = np.concatenate(spots)
    room = ROOM * fit.lens.scale
    low, high = places.min(0) - room, places.max(0) + room
    step = float((high - low).max() / CELLS)
    wide, tall = np.ceil((high - low) / step).astype(int)
    return Grid(int(tall), int(wide), float(low[0]), float(low[1]), step)


def _camera(lens: Lens, grid: Grid) -> Camera:
    """The photograph's camera, its pixels the grid's cells."""
    turn = np.diag([1.0, -1.0, -1.0]) @ lens.turn
    shift = np.r_[(lens.origin - lens.centre) / lens.scale, lens.distance]
    centre = (lens.centre - [grid.left, grid.top]) / grid.step
    return Camera(
        turn.astype(np.float32), shift.astype(np.float32), lens.focal / grid.step, (float(centre[0]), float(centre[1]))
    )


def _depths(avatar: Avatar, head: Array, lens: Lens, grid: Grid) -> tuple[F64, U8]:
    """Of the body without hair: depth (rows, columns), -9 beside it, and the region seen."""
    plain, _ = material.build(avatar)
    up = np.zeros_like(head)
    up[:, 1] = 1.0
    raster = Rasterizer(plain, (grid.rows, grid.columns), samples=1)
    g = raster.draw(head, up, _camera(lens, grid), None, np.empty_like(head))
    seen = g.face >= 0
    return np.where(seen, lens.distance - np.where(seen, g.depth, 0.0), -9.0), np.where(seen, g.region, 0)


def _points(lens: Lens, grid: Grid, depth: F64) -> F64:
    """(rows, columns, 3) of the head's frame, under each cell at ``depth``."""
    away = lens.distance - depth
    flat = (grid.pixels() - lens.centre) / lens.focal * away[..., None] - (lens.origin - lens.centre) / lens.scale
    camera = np.stack([flat[..., 0], -flat[..., 1], depth], axis=-1)
    return np.asarray(camera @ lens.turn)


def _height(lens: Lens, grid: Grid, depth: F64) -> F64:
    """Metres above the eyes of each cell, on the head or beside it at its middle."""
    return np.asarray(_points(lens, grid, np.where(depth > -1, depth, MIDDLE))[..., 1])


def _outline(share: F64, skull: Array, lens: Lens, grid: Grid) -> F64:
    """Where hair or the skull behind the face is, in [0, 1]: ears are neither."""
    x = np.abs(_points(lens, grid, np.full(share.shape, MIDDLE))[..., 0])
    y = _points(lens, grid, np.full(share.shape, MIDDLE))[..., 1]
    temple = skull & (y > 0.04)
    half = float(np.percentile(x[temple], 97)) if temple.any() else 0.075
    whole = np.maximum(share, skull & (x < half - 0.004))
    filled = ndimage.binary_fill_holes(whole > 0.5)
    return np.asarray(np.maximum(filled, share), np.float64)


def _inflated(body: F64, step: float) -> F64:
    """Height (rows, columns) of a membrane over ``body``: that of half a ball over a disc. Metres."""
    inside = body > 0.5
    number = np.full(body.shape, -1)
    number[inside] = np.arange(inside.sum())
    rows, columns = np.nonzero(inside)
    count = len(rows)
    links_a, links_b = [], []
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        y, x = rows + dy, columns + dx
        kept = (y >= 0) & (y < body.shape[0]) & (x >= 0) & (x < body.shape[1])
        other = number[y[kept], x[kept]]
        links_a.append(number[rows[kept], columns[kept]][other >= 0])
        links_b.append(other[other >= 0])
    a, b = np.concatenate(links_a), np.concatenate(links_b)
    laplace = sparse.diags(np.full(count, 4.0)) - sparse.coo_matrix((np.ones(len(a)), (a, b)), (count, count))
    square = spsolve(laplace.tocsc(), np.full(count, 4.0 * step * step))
    out = np.zeros(body.shape)
    out[inside] = np.sqrt(np.maximum(square, 0.0))
    return out


def _front(share: F64, depth: F64, skull: Array, bulge: F64, step: float) -> F64:
    """Depth of the front sheet: the bulge, outside of the body, laid onto the skin where hair borders on it."""
    bare = share < 0.5
    base = np.where(depth > -1, depth, MIDDLE - 0.05)
    full = np.maximum(MIDDLE + bulge, np.where(depth > -1, base + LEAST, -9.0))
    skin = bare & skull
    if skin.any():
        away = ndimage.distance_transform_edt(~skin) * step
        rise = np.clip(away / RISE, 0.0, 1.0)
        rise = rise * rise * (3.0 - 2.0 * rise)
        laid = base + LAID + 0.35 * np.minimum(away, RISE)
        full = np.where(depth > -1, np.maximum(laid + rise * (full - laid), base + LAID), full)
    smooth = ndimage.gaussian_filter(full, 1.2)
    return np.where(depth > -1, np.maximum(smooth, base + LAID), smooth)


def _back(avatar: Avatar, head: Array, lens: Lens, grid: Grid, bulge: F64) -> F64:
    """Depth of the back sheet: the bulge behind the head's middle, and behind the skull."""
    skin = np.unique(avatar.faces[np.isin(avatar.region, [REGIONS.index(name) for name in SKULL])])
    places = head[skin].astype(np.float64)
    toward = places @ lens.turn.T
    behind = (toward[:, 2] < MIDDLE) & (places[:, 1] > NAPE - 0.02)
    cell = np.floor((lens.project(places) - [grid.left, grid.top]) / grid.step).astype(int)
    kept = behind & (cell >= 0).all(1) & (cell[:, 0] < grid.columns) & (cell[:, 1] < grid.rows)
    farthest = np.full(bulge.shape, 9.0)
    np.minimum.at(farthest, (cell[kept, 1], cell[kept, 0]), toward[kept, 2])
    known = farthest < 5
    if known.any():
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        reach = ndimage.distance_transform_edt(~known)
        farthest = np.where(reach < 8, ndimage.gaussian_filter(farthest[tuple(nearest)], 2.0), 9.0)
    return np.asarray(ndimage.gaussian_filter(np.minimum(MIDDLE - BACK * bulge, farthest - 1.6 * LEAST), 1.0))


def _closed(bulge: F64) -> F64:
    """How far the two sheets may part, in [0, 1]: they meet along the outline."""
    share = np.clip(bulge / MEET, 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share))


def _level(share: F64, least: float = 0.5) -> F64:
    return np.asarray(ndimage.gaussian_filter(share, 0.9) - least)


def _sheet(lens: Lens, grid: Grid, depth: F64, level: F64, turned: bool) -> Sheet:
    """(points (n, 3), faces, unit coordinates (n, 2), normals) of one sheet where ``level`` is positive."""
    rows, columns = level.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (index[y, x].ravel() for y, x in (
        (slice(None, -1), slice(None, -1)), (slice(None, -1), slice(1, None)),
        (slice(1, None), slice(1, None)), (slice(1, None), slice(None, -1)),
    ))  # fmt: skip
    faces = np.concatenate([np.stack([a, d, c], 1), np.stack([a, c, b], 1)])
    faces = faces[(level.ravel()[faces] > 0).any(1)]
    points = _points(lens, grid, depth).reshape(-1, 3)
    row, column = np.mgrid[:rows, :columns] + 0.5
    unit = np.stack([column / columns, row / rows], axis=-1).reshape(-1, 2)
    faces, (points, unit), _ = mesh.clip(faces, level.ravel(), [points, unit])
    if not len(faces):
        return points[:0], faces, unit[:0], points[:0]
    keep, faces = mesh.compact(np.asarray(faces), len(points))
    if turned:
        faces = faces[:, ::-1]
    normal = mesh.vertex_normals(points[keep], faces)
    return points[keep], faces, unit[keep], normal


# --- paint and pack ------------------------------------------------------------------------------------------


def _painted(avatar: Avatar, photo: U8, hair: F64, body: F64, grid: Grid) -> Avatar:
    """The photograph's hair in the atlas's rectangle for it; what it does not show carried on from around. Opaque
    within the outline ``body`` and where more than half of a texel is hair, thinning out from there."""
    rect = atlas.HAIR
    y, x = np.mgrid[: rect.height, : rect.width]
    at = [
        grid.top + (y + 0.5) / rect.height * grid.rows * grid.step - 0.5,
        grid.left + (x + 0.5) / rect.width * grid.columns * grid.step - 0.5,
    ]
    scale = max(grid.rows * grid.step / rect.height, grid.columns * grid.step / rect.width)
    sure = np.clip(1.6 * ndimage.grey_erosion(hair, 3) - 0.6, 0.0, 1.0)
    weight = ndimage.map_coordinates(sure, at, order=1, cval=0.0)
    blur = 0.4 * scale if scale > 1.2 else 0.0
    colour = np.stack(
        [
            ndimage.map_coordinates(
                ndimage.gaussian_filter(photo[..., c].astype(np.float32), blur), at, order=1, mode="nearest"
            )
            for c in range(3)
        ],
        axis=-1,
    )
    full = _carried(colour, weight)
    albedo, surface = avatar.albedo.copy(), avatar.surface.copy()
    rect.window(albedo)[..., :3] = np.clip(np.rint(full), 0, 255)
    cover = ndimage.map_coordinates(ndimage.gaussian_filter(hair, 0.4 * scale), at, order=1, cval=0.0)
    depth = ndimage.distance_transform_edt(body > 0.5) / max(body.shape)
    within = _stretched(ndimage.gaussian_filter(depth, 1.0), cover.shape) > DEEP
    rect.window(albedo)[..., 3] = np.where(within, 255, np.clip(np.rint(510 * cover), 0, 255))
    rect.window(surface)[:] = (255, GLOSS, 0, 255)
    return replace(avatar, albedo=albedo, surface=surface)


def _stretched(plane: F64, size: tuple[int, int]) -> F64:
    """(rows, columns) bilinear at ``size``."""
    at = [(np.arange(n) + 0.5) * (m / n) - 0.5 for n, m in zip(size, plane.shape, strict=True)]
    return np.asarray(ndimage.map_coordinates(plane, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest"))


def _carried(colour: F64, weight: F64) -> F64:
    """``colour`` (h, w, 3) where ``weight`` is 1; elsewhere what is near, coarser the farther (push-pull)."""
    out, total = colour * weight[..., None], weight.copy()
    filled = np.zeros_like(colour)
    have = np.zeros_like(weight)
    for sigma in (1.5, 4, 10, 25, 60, 150):
        near = _blurred(total, sigma)
        mean = np.stack([_blurred(out[..., c], sigma) for c in range(3)], axis=-1)
        mean /= np.maximum(near, 1e-6)[..., None]
        take = np.clip(near / 0.25, 0.0, 1.0) * (1.0 - have)
        filled += take[..., None] * mean
        have += take
    filled /= np.maximum(have, 1e-6)[..., None]
    return np.asarray(weight[..., None] * colour + (1.0 - weight[..., None]) * filled)


def _blurred(plane: F64, sigma: float) -> F64:
    """A Gaussian filter; a wide one looks at a smaller picture."""
    step = int(sigma // 3)
    if step < 2:
        return np.asarray(ndimage.gaussian_filter(plane, sigma))
    rows, columns = (-n % step for n in plane.shape)
    whole = np.pad(plane, ((0, rows), (0, columns)), mode="symmetric")
    small = whole.reshape(whole.shape[0] // step, step, -1, step).mean((1, 3))
    wide = _stretched(ndimage.gaussian_filter(small, sigma / step), (whole.shape[0], whole.shape[1]))
    return wide[: plane.shape[0], : plane.shape[1]]


def _added(avatar: Avatar, opaque: list[Sheet], fringe: Sheet) -> Avatar:
    """The avatar with sheets of hair: opaque ones before everything that is blended, the fringe after it."""
    count, sheets = len(avatar.rest), [*opaque, fringe]
    points = np.concatenate([sheet[0] for sheet in sheets])
    starts = np.cumsum([count, *(len(sheet[0]) for sheet in sheets)])
    *hulls, blended = [sheet[1] + start for sheet, start in zip(sheets, starts, strict=False)]
    faces = np.concatenate(hulls)
    unit, normal = (np.concatenate([sheet[k] for sheet in sheets]) for k in (2, 3))
    new, solid = len(points), avatar.layer == 0
    index, weight = _hung(avatar, points)

    def put(old: Array, more: Array) -> Array:
        return np.concatenate([old, more.astype(old.dtype)])

    def put_faces(old: Array, more: Array, last: Array) -> Array:
        return np.concatenate([old[solid], more.astype(old.dtype), old[~solid], last.astype(old.dtype)])

    hair = REGIONS.index("hair")

    return replace(
        avatar, rest=put(avatar.rest, points), faces=put_faces(avatar.faces, faces, blended),
        uv=put(avatar.uv, atlas.HAIR.place(unit.clip(0.002, 0.998))),
        region=put_faces(avatar.region, np.full(len(faces), hair), np.full(len(blended), hair)),
        layer=put_faces(avatar.layer, np.zeros(len(faces)), np.ones(len(blended))),
        weld=put(avatar.weld, np.arange(count, count + new)), skin_index=put(avatar.skin_index, index),
        skin_weight=put(avatar.skin_weight, weight), normals_fixed=put(avatar.normals_fixed, np.ones(new)),
        rest_normal=put(avatar.rest_normal, normal),
    )  # fmt: skip


def _hung(avatar: Avatar, points: F64) -> tuple[Array, Array]:
    """Bones (n, 4) and weights (n, 4): hair goes with the head, what hangs lower with the neck and the trunk."""
    names = avatar.bones
    bones = [names.index(name) for name in ("head", "neck", "spine")]
    drop = np.clip((-points[:, 1] - HANGS[0]) / (HANGS[1] - HANGS[0]), 0.0, 1.0)
    drop = drop * drop * (3 - 2 * drop)
    weight = np.zeros((len(points), 4))
    weight[:, 0], weight[:, 2] = np.square(1 - drop), np.square(drop)
    weight[:, 1] = 1 - weight[:, 0] - weight[:, 2]
    index = np.zeros((len(points), 4), np.uint8)
    index[:, :3] = bones
    return index, weight
