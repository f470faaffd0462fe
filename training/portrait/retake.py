"""The photograph as the engine's own camera would have taken it: the reference an avatar pack brings.

Wherever the posed mesh lies, a pixel of the new picture is looked up where the fitted camera saw that place, so that
photograph and mesh agree however near the photographer stood; beside the mesh the same displacement goes on smoothly.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS, Avatar
from engine.avatar_reference import GREY, SIDE, Reference
from engine.body.body import Body
from engine.motion.frame import Motion
from engine.render import camera, material
from engine.render.reference import FRAMING
from engine.tracking.face import EYES
from engine.viewpoint import Viewpoint
from kernels.rasterize import Camera, Rasterizer
from training.portrait.fit import Fit

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
Array = NDArray[Any]
SOFT: Final = 5.0  # pixels over which steps of depth are smoothed
FAR: Final = 40.0  # and beside the mesh
# Landmarks along the upper and the lower lid of each eye, and how far above and below them, over the distance of the
# eyes, a lid is folded away while the eye is open.
LIDS: Final = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
    ((263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362)),
)
FOLD: Final = (0.055, 0.020)


def motion(fit: Fit) -> Motion:
    """The pose in the photograph: a body that faces the camera, the head turned as it was, the face as it was."""
    out = Motion.rest()
    out.face[:] = fit.actions
    out.gaze[:] = fit.gaze
    out.head[:3] = axis_angle(fit.lens.turn)
    return out.clipped()


def retake(avatar: Avatar, photo: U8, fit: Fit, alpha: U8, regions: U8) -> Reference:
    """The reference of a baked ``avatar``: photo (H, W, 3), alpha (H, W) and regions (H, W) of engine.avatar.REGIONS
    as the photograph has them. Raises ValueError when their sizes differ."""
    if alpha.shape != photo.shape[:2] or regions.shape != photo.shape[:2]:
        raise ValueError(f"alpha {alpha.shape} and regions {regions.shape} must be the photograph's {photo.shape[:2]}")
    frame, pose = camera.framing(FRAMING), motion(fit)
    view = Viewpoint(distance=frame.distance)
    lens = camera.camera(view, frame, (SIDE, SIDE))
    where, step = _looked_up(avatar, pose, fit, lens)
    rgb = _sample(photo, where, step)
    cover = _sample(alpha[..., None], where, step)[..., 0]
    label = _nearest(_lidded(regions, fit), where)
    cover[label == 0] = np.minimum(cover[label == 0], 127)
    behind = rgb.astype(np.float64) - GREY
    over = np.clip(np.rint(GREY + behind * (cover[..., None] / 255.0)), 0, 255).astype(np.uint8)
    return Reference(
        over[None], cover[None], np.where(cover > 0, label, 0).astype(np.uint8)[None], (view,), FRAMING, pose
    )


def _lidded(regions: U8, fit: Fit) -> U8:
    """Regions with the folds of the lids and the lashes named so: what closes over an eye is nothing that was seen."""
    apart = float(np.linalg.norm(fit.landmarks[EYES[0]] - fit.landmarks[EYES[1]]))
    row, column = np.mgrid[: regions.shape[0], : regions.shape[1]] + 0.5
    out = regions.copy()
    for upper, lower in LIDS:
        x = fit.landmarks[list(upper), 0]
        order, under = np.argsort(x), np.argsort(fit.landmarks[list(lower), 0])
        top = np.interp(column, x[order], fit.landmarks[list(upper), 1][order]) - FOLD[0] * apart
        bottom = np.interp(
            column, fit.landmarks[list(lower), 0][under], fit.landmarks[list(lower), 1][under]
        ) + FOLD[1] * apart  # fmt: skip
        reach = 0.5 * FOLD[1] * apart
        near = (column > x.min() - reach) & (column < x.max() + reach) & (row > top) & (row < bottom)
        out[near & (regions != REGIONS.index("eyes")) & (regions > 0)] = REGIONS.index("lashes")
    return out


def _looked_up(avatar: Avatar, pose: Motion, fit: Fit, lens: Camera) -> tuple[F64, float]:
    """(SIDE, SIDE, 2) pixels of the photograph for each pixel of the new picture, and how many of the former one of
    the latter is wide."""
    from scipy.ndimage import gaussian_filter

    mesh, _ = material.build(avatar)
    body = Body(avatar).pose(pose)
    g = Rasterizer(mesh, (SIDE, SIDE), samples=1).draw(
        body.vertices, body.normals, lens, None, np.empty_like(body.vertices)
    )
    seen = g.face >= 0
    inverse = np.where(seen, 1.0 / np.where(seen, g.depth, 1.0), 0.0)
    plane = 1.0 / float(np.median(g.depth[seen]))
    near, far = (
        (gaussian_filter(inverse - plane * seen, s), gaussian_filter(seen.astype(float), s)) for s in (SOFT, FAR)
    )
    share = np.clip(near[1], 0.0, 1.0)
    close = plane + near[0] / np.maximum(near[1], 1e-3)
    wide = plane + far[0] / (far[1] + 0.02)
    depth = 1.0 / (wide + share * (close - wide))
    row, column = np.mgrid[:SIDE, :SIDE] + 0.5
    ray = np.stack([(column - lens.centre[0]) / lens.focal, (row - lens.centre[1]) / lens.focal, np.ones_like(row)], -1)
    world = (ray * depth[..., None] - lens.translation) @ lens.rotation
    head = body.bones[avatar.bones.index("head")].astype(np.float64)
    own = (world - head[:, 3]) @ head[:, :3]
    where = fit.lens.project(own.reshape(-1, 3)).reshape(SIDE, SIDE, 2)
    return where, max(fit.lens.scale / (lens.focal / float(np.median(depth[seen]))), 1.0)


def _sample(picture: U8, where: F64, step: float) -> U8:
    """Bilinear, from a picture averaged over ``step`` pixels first; 0 beside it. (SIDE, SIDE, C)."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    blur = 0.45 * np.sqrt(max(step**2 - 1.0, 0.0))
    out = []
    for channel in np.moveaxis(picture, 2, 0):
        plane = gaussian_filter(channel.astype(np.float32), blur) if blur > 0.1 else channel.astype(np.float32)
        out.append(map_coordinates(plane, [where[..., 1] - 0.5, where[..., 0] - 0.5], order=1, cval=0.0))
    return np.clip(np.rint(np.stack(out, axis=-1)), 0, 255).astype(np.uint8)


def _nearest(labels: U8, where: F64) -> U8:
    height, width = labels.shape
    column, row = (np.floor(where[..., k]).astype(int) for k in (0, 1))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.where(inside, labels[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)], 0).astype(np.uint8)


def axis_angle(turn: F64) -> F64:
    """(3,) of a rotation (3, 3) by less than pi."""
    angle = float(np.arccos(np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0)))
    skew = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    return np.asarray(skew * (0.5 if angle < 1e-6 else angle / (2.0 * np.sin(angle))))
