"""Contact sheet: every person from five sides and in six mouth shapes, by the engine's own renderer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import image
from engine.avatar import Avatar
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render.geometric import GeometricRenderer
from engine.viewpoint import Viewpoint
from training.bake.identities import both

Array = NDArray[Any]
VIEWS: Final = ((-60, 0), (-30, 5), (0, 0), (35, -10), (70, 10))  # yaw, pitch in degrees
SHAPES: Final[dict[str, dict[str, float]]] = {
    "sil": {},
    "PP": {"jawOpen": 0.08, "mouthClose": 0.10, "mouthRollLower": 0.15, **both(mouthPress=0.4)},
    "FF": {"jawOpen": 0.08, "mouthRollLower": 0.55, **both(mouthUpperUp=0.28)},
    "AA": {"jawOpen": 0.45, **both(mouthLowerDown=0.25, mouthUpperUp=0.15)},
    "EE": {"jawOpen": 0.12, **both(mouthSmile=0.35, mouthStretch=0.35, mouthUpperUp=0.2, mouthLowerDown=0.25)},
    "OO": {"mouthPucker": 0.8, "mouthFunnel": 0.35, "jawOpen": 0.1},
}
SCALE: Final = 3  # rendered this much larger, then averaged


def contact_sheet(avatars: list[Avatar], tile: int, report: Callable[[int, int], None]) -> bytes:
    """PNG bytes: a row for each avatar, first its views at rest, then its mouth shapes from the front."""
    total = len(avatars) * (len(VIEWS) + len(SHAPES))
    rows, done = [], 0
    for avatar in avatars:
        renderer = GeometricRenderer(avatar, size=(tile * SCALE, tile * SCALE), framing="head")
        distance = renderer.default_viewpoint().distance
        row = []
        for (yaw, pitch), weights in [*((view, {}) for view in VIEWS), *(((0, 0), shape) for shape in SHAPES.values())]:
            motion = Motion.rest()
            for name, weight in weights.items():
                motion.face[ACTION_INDEX[name]] = weight
            view = Viewpoint(np.radians(yaw), np.radians(pitch), distance)
            picture, _ = renderer.step(motion, view, renderer.initial_state())
            row.append(_shrink(picture.rgb, tile))
            done += 1
            report(done, total)
        rows.append(np.concatenate(row, axis=1))
    return image.encode_png(np.concatenate(rows))


def _shrink(picture: Array, tile: int) -> Array:
    blocks = picture.reshape(tile, SCALE, tile, SCALE, 3).astype(np.float32)
    return np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)
