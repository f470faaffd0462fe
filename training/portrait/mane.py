"""Hair as the photograph has it: its own outline and colours, given depth around the fitted head.

The outline is blown up to a rounded body (the height h of a membrane under even pressure, its square h^2 solving
Poisson's equation, as in Prasad and Fitzgibbon 2006 and Twarog et al. 2012), kept outside of the skull and laid onto
the face along the hairline. Front and back are two sheets that meet at the outline; both carry the photograph.
"""

from __future__ import annotations

from dataclasses import replace
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
from training.portrait.mane_paint import Grid, painted
from training.portrait.retake import motion

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
Array = NDArray[Any]
Sheet = tuple[Array, Array, Array, Array]  # points (n, 3), faces (f, 3), unit coordinates (n, 2), normals (n, 3)
CELLS: Final = 132  # of the longer side of the grid that hair is built on
ROOM: Final = 0.03  # metres of the grid beside hair and head
SKULL: Final = ("face", "neck_ears")
MIDDLE: Final = -0.085  # metres: how far behind the eyes the head is widest
LEAST: Final = 0.0045  # metres of hair over the skull
LAID: Final = 0.0020  # metres over the skin along the hairline
RISE: Final = 0.020  # metres from the hairline over which hair gets its full height
BACK: Final = 0.92  # depth of the back over that of the front
NAPE: Final = -0.055  # metres below the eyes: hair at the back of the head ends here unless it is seen to be longer
HEART: Final = np.array([[0.0, 0.02, MIDDLE]])  # the middle of the head
WIDEST: Final = 0.17  # metres aside of the head's middle that its hair reaches
NEAREST: Final = 0.13  # metres from the middle of the head within which each piece of its hair begins
HOLE: Final = 0.04  # of the hair: larger holes in it are left open
SEEN: Final = ("face", "eyes", "brows", "lips", "mouth", "teeth")
ABOVE_EARS: Final = 0.025  # metres above the eyes
SINK: Final = 0.007  # metres that the skull is drawn in under hair
ASIDE: Final = 0.14  # radians: a head that is turned so far hides one of its cheeks
BROW: Final = 0.028  # metres above the eyes: hair above hangs over the forehead
STEEP: Final = 1.8  # metres of depth a metre across: a cheek that turned so far away wears no hair
BESIDE: Final = -0.045  # metres behind the eyes: what lies farther back may
FULL: Final = 0.8  # of a cell that is hair or head: the opaque sheets end within what is painted opaque
SEAM: Final = 0.15  # of a cell, inward from the outline, over which the two sheets are sewn together
FEW: Final = 0.12  # share of the head that must be hair, else the head is bald
HANGS: Final = (0.09, 0.20)  # metres below the eyes between which hair passes from the head to the trunk
MEET: Final = 0.030  # metres of height from which on front and back are a head's depth apart
THIN: Final = 0.04  # share of a cell that must be hair to be seen at all: what is beyond half of it is see-through
INSIDE: Final = 0.020  # metres of height up to which the see-through fringe reaches inward


def own_hair(avatar: Avatar, photo: U8, fit: Fit, alpha: U8, regions: U8) -> Avatar:
    """A ``avatar`` baked without hair, with the hair of the photograph (H, W, 3), whose ``alpha`` and ``regions``
    (H, W) say where it is. Unchanged when there is next to none."""
    head = _unposed(avatar, fit)
    hair = _own(_filled(regions) * (alpha / 255.0), fit)
    grid = _grid(fit, hair, head)
    share = grid.sample(hair)
    depth, seen = _depths(avatar, head, fit.lens, grid)
    skull = np.isin(seen, [REGIONS.index(name) for name in SKULL])
    height = _height(fit.lens, grid, depth)
    if abs(fit.lens.yaw) > ASIDE:
        far = _points(fit.lens, grid, np.where(depth > -1, depth, MIDDLE))[..., 0] * np.sign(fit.lens.yaw) < 0
        share = share * ~_turned_away(depth, skull & far & (height < BROW), grid.step / fit.lens.scale)
    above = height > NAPE
    if share[above].sum() < FEW * max((skull & above).sum(), 1):
        return avatar
    body = _outline(share, skull & above, fit.lens, grid)
    bulge = _inflated(body, grid.step / fit.lens.scale)
    edge = _level(body, FULL)
    closed, middle = _closed(bulge), np.full(share.shape, MIDDLE)
    front = _front(share, depth, skull, bulge, closed, grid.step / fit.lens.scale)
    back = _back(avatar, head, fit.lens, grid, bulge, closed)
    solid = [
        _sheet(fit.lens, grid, front, np.minimum(_level(share), edge), edge, False),
        _sheet(fit.lens, grid, back, edge, edge, True),
    ]
    fringe = _sheet(fit.lens, grid, middle, np.minimum(_level(share, THIN), INSIDE - bulge), edge, False)
    under = _under(head, share, body, fit.lens, grid)
    return _added(_sunk(painted(avatar, photo, hair, body, grid), under), solid, fringe)


def _filled(regions: U8) -> Array:
    """Where hair is (H, W): small holes in it are hair too, unless an eye, a brow or a face looks through."""
    hair = regions == REGIONS.index("hair")
    holes, count = ndimage.label(ndimage.binary_fill_holes(hair) & ~hair)
    if count:
        size = np.bincount(holes.ravel())
        skin = np.bincount(holes.ravel(), np.isin(regions, [REGIONS.index(name) for name in SEEN]).ravel())
        closed = (size < HOLE * hair.sum()) & (skin < 0.5 * size)
        closed[0] = False
        hair = hair | closed[holes]
    return hair


def _own(hair: F64, fit: Fit) -> F64:
    """Without hair too far aside to be this head's: that of people beside it."""
    lens = fit.lens
    down = lens.turn[:2, 1] * [1.0, -1.0]  # the head's own, in the picture
    row, column = np.mgrid[: hair.shape[0], : hair.shape[1]] + 0.5
    column, row = (plane - place for plane, place in zip((column, row), lens.project(HEART)[0], strict=True))
    aside = np.abs(column * down[1] - row * down[0]) / np.linalg.norm(down) / lens.scale
    near = hair * (aside < WIDEST)
    parts, count = ndimage.label(near > 0.3)
    reach = np.asarray(ndimage.minimum(np.hypot(column, row), parts, np.arange(count + 1))) / lens.scale
    reach[0] = 0.0
    return np.asarray(near * (reach < NEAREST)[parts])


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


def _turned_away(depth: F64, cheek: Array, step: float) -> Array:
    """Where a ``cheek`` turns away from the camera: hair seen there hangs behind it, not on it."""
    down, right = np.gradient(depth, step)
    steep = cheek & (np.hypot(down, right) > STEEP) & (depth > BESIDE)
    return np.asarray(ndimage.binary_dilation(steep, iterations=1))


def _points(lens: Lens, grid: Grid, depth: F64) -> F64:
    """(rows, columns, 3) of the head's frame, under each cell at ``depth``."""
    return _at(lens, grid.pixels(), depth)


def _at(lens: Lens, pixels: F64, depth: F64) -> F64:
    """(..., 3) of the head's frame, under pixels (..., 2) of the photograph at ``depth`` (...)."""
    away = lens.distance - depth
    flat = (pixels - lens.centre) / lens.focal * away[..., None] - (lens.origin - lens.centre) / lens.scale
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


def _front(share: F64, depth: F64, skull: Array, bulge: F64, closed: F64, step: float) -> F64:
    """Depth of the front sheet: the bulge, outside of the body, laid onto the skin where hair borders on it."""
    on_body = depth > -1
    base = np.where(on_body, depth, MIDDLE - 0.05)
    full, floor = np.maximum(MIDDLE + bulge, np.where(on_body, base + LEAST, -9.0)), base + LEAST
    skin = (share < 0.5) & skull
    if skin.any():
        away = ndimage.distance_transform_edt(~skin) * step
        rise = np.clip(away / RISE, 0.0, 1.0)
        rise = rise * rise * (3.0 - 2.0 * rise)
        laid = base + LAID + 0.35 * np.minimum(away, RISE)
        floor = base + LAID + rise * (LEAST - LAID)
        full = np.where(on_body, np.maximum(laid + rise * (full - laid), floor), full)
    smooth = ndimage.gaussian_filter(MIDDLE + closed * (full - MIDDLE), 1.2)
    return np.where(on_body, np.maximum(smooth, floor), smooth)


def _back(avatar: Avatar, head: Array, lens: Lens, grid: Grid, bulge: F64, closed: F64) -> F64:
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
    behind_skull = farthest - 1.6 * LEAST
    full = np.minimum(MIDDLE - BACK * bulge, behind_skull)
    smooth = ndimage.gaussian_filter(MIDDLE + closed * (full - MIDDLE), 1.0)
    return np.asarray(np.where(farthest < 5, np.minimum(smooth, behind_skull), smooth))


def _closed(bulge: F64) -> F64:
    """How far the two sheets may part, in [0, 1]: they meet along the outline."""
    share = np.clip(bulge / MEET, 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share))


def _under(head: Array, share: F64, body: F64, lens: Lens, grid: Grid) -> Array:
    """(V,) which vertices of the head the sheets cover: of its back all, of its front those under hair."""
    places = head.astype(np.float64)
    cell = np.floor((lens.project(places) - [grid.left, grid.top]) / grid.step).astype(int)
    inside = (cell >= 0).all(1) & (cell[:, 0] < grid.columns) & (cell[:, 1] < grid.rows)
    row, column = (np.where(inside, cell[:, k], 0) for k in (1, 0))
    within = body > 0.5
    hair = ndimage.binary_erosion((share > 0.5) | ~within, iterations=2)
    wide = ndimage.binary_dilation(within, iterations=3)
    behind = (places @ lens.turn.T)[:, 2] < MIDDLE
    above = places[:, 1] > ABOVE_EARS
    covered = np.where(above, wide[row, column], within[row, column])
    return np.asarray(inside & (places[:, 1] > NAPE) & covered & (behind | hair[row, column]))


def _sunk(avatar: Avatar, under: Array) -> Avatar:
    """The avatar with the skin of its head drawn in where it lies ``under`` hair (V,): nothing of it pokes through, and
    it still closes what the sheets leave open."""
    normal = mesh.vertex_normals(avatar.rest, avatar.faces[avatar.layer == 0], avatar.weld)
    skin = np.zeros(len(avatar.rest), bool)
    skin[avatar.faces[np.isin(avatar.region, [REGIONS.index(name) for name in SKULL])]] = True
    return replace(avatar, rest=avatar.rest - (SINK * (under & skin)[:, None] * normal).astype(np.float32))


def _level(share: F64, least: float = 0.5) -> F64:
    return np.asarray(ndimage.gaussian_filter(share, 0.9) - least)


def _sheet(lens: Lens, grid: Grid, depth: F64, level: F64, edge: F64, turned: bool) -> Sheet:
    """(points (n, 3), faces, unit coordinates (n, 2), normals) of one sheet where ``level`` is positive. Where ``edge``
    is 0, the outline of hair and head, it lies in the middle, and the other sheet too: no gap is left."""
    rows, columns = level.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (index[y, x].ravel() for y, x in (
        (slice(None, -1), slice(None, -1)), (slice(None, -1), slice(1, None)),
        (slice(1, None), slice(1, None)), (slice(1, None), slice(None, -1)),
    ))  # fmt: skip
    faces = np.concatenate([np.stack([a, d, c], 1), np.stack([a, c, b], 1)])
    faces = faces[(level.ravel()[faces] > 0).any(1)]
    row, column = np.mgrid[:rows, :columns] + 0.5
    unit = np.stack([column / columns, row / rows], axis=-1).reshape(-1, 2)
    rows_of = [grid.pixels().reshape(-1, 2), depth.reshape(-1, 1), edge.reshape(-1, 1), unit]
    faces, (pixels, deep, sewn, unit), _ = mesh.clip(faces, level.ravel(), rows_of)
    share = np.clip(sewn[:, 0] / SEAM, 0.0, 1.0)
    points = _at(lens, pixels, MIDDLE + share * (deep[:, 0] - MIDDLE))
    if not len(faces):
        return points[:0], faces, unit[:0], points[:0]
    keep, faces = mesh.compact(np.asarray(faces), len(points))
    if turned:
        faces = faces[:, ::-1]
    normal = mesh.vertex_normals(points[keep], faces)
    return points[keep], faces, unit[keep], normal


# --- the pack ---------------------------------------------------------------------------------------------


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
