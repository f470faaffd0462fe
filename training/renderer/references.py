"""Reference photographs by the studio's photographer: of somebody in front of the camera, and of shipped packs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from engine.avatar_reference import SIDE, Reference, over_grey
from engine.motion.frame import Motion
from engine.render import camera
from engine.render.reference import FRAMING, VIEWS
from engine.viewpoint import Viewpoint
from training.studio.lights import Light
from training.studio.places import Place
from training.studio.take import Studio

MOST_BYTES: Final = 250_000  # of a shipped pack's file
# The light of shipped packs: soft, from the viewer's left and above, as kernels.shade's STUDIO has it.
LIGHT: Final = (3, "studio")
PLACE: Final = (4, "plain")


def viewpoints(count: int, jitter: np.ndarray | None = None) -> tuple[Viewpoint, ...]:
    """The first ``count`` places photographs are taken from; ``jitter`` (count, 2) radians of yaw and pitch."""
    off = np.zeros((count, 2)) if jitter is None else jitter
    distance = camera.framing(FRAMING).distance
    return tuple(Viewpoint(float(VIEWS[k] + off[k, 0]), float(off[k, 1]), distance).clamped() for k in range(count))


def photograph(studio: Studio, motion: Motion, views: Sequence[Viewpoint], light: Light, place: Place) -> Reference:
    """The reference of whoever is in front of the camera of a ``studio`` with pictures of SIDE."""
    if studio.size != SIDE:
        raise ValueError(f"reference photographs are {SIDE} pixels a side, the studio's {studio.size}")
    photos, alphas, regions = [], [], []
    frame = camera.framing(FRAMING)
    for view in views:
        shot = studio.picture(motion, view, FRAMING, light, place)
        plate = studio.photographer.plate(camera.camera(view, frame, (SIDE, SIDE)), light, place)
        photos.append(over_grey(shot.rgb, shot.alpha, plate))
        alphas.append(shot.alpha)
        regions.append(np.where(shot.alpha > 0, shot.region, 0).astype(np.uint8))
    return Reference(np.stack(photos), np.stack(alphas), np.stack(regions), tuple(views), FRAMING, motion)
