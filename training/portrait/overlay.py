"""Pictures of a fit: the fitted head as a wire mesh over the photograph, and the landmarks it was fitted to."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS
from engine.tracking.face import LEFT_IRIS, RIGHT_IRIS
from training.portrait.basis import load
from training.portrait.fit import Fit

U8 = NDArray[np.uint8]
Array = NDArray[Any]
SIDE: Final = 900  # pixels of the picture's longer side
ROOM: Final = 2.6  # width of what is shown over that of the face
SHOWN: Final = ("face", "lips", "neck_ears")
MESH: Final = (90, 220, 255)
SEEN: Final = (255, 70, 70)
REACHED: Final = (120, 255, 90)


def draw(photo: U8, fit: Fit) -> U8:
    """(h, w, 3): left the photograph, right the same with the mesh (blue), where landmarks were detected (red) and
    where the fitted head has them (green)."""
    from PIL import Image, ImageDraw

    box, zoom = _window(photo, fit)
    plain = Image.fromarray(photo).crop(box.tolist())
    plain = plain.resize([max(1, round(side * zoom)) for side in plain.size], Image.Resampling.LANCZOS)
    lined = plain.copy()
    pen = ImageDraw.Draw(lined, "RGBA")
    for line in edges(fit):
        pen.line([tuple(point) for point in ((line - box[:2]) * zoom).tolist()], fill=(*MESH, 110))
    iris = [LEFT_IRIS, RIGHT_IRIS]
    for points, colour, reach in ((fit.landmarks, SEEN, 1.6), (fit.reached, REACHED, 1.1)):
        for x, y in (np.concatenate([points[:468], points[iris]]) - box[:2]) * zoom:
            pen.ellipse([x - reach, y - reach, x + reach, y + reach], fill=(*colour, 255))
    return np.concatenate([np.asarray(plain), np.asarray(lined)], axis=1)


def edges(fit: Fit) -> Array:
    """(n, 2, 2) pixels: edges of the fitted head's triangles that face the camera."""
    basis = load()
    skin = basis.faces[np.isin(basis.region, [REGIONS.index(name) for name in SHOWN])]
    flat = fit.lens.project(fit.acting(basis))
    a, b, c = (flat[skin[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    front = skin[area < 0]  # counter-clockwise with y up
    pairs = np.sort(np.concatenate([front[:, [0, 1]], front[:, [1, 2]], front[:, [2, 0]]]), axis=1)
    return np.asarray(flat[np.unique(pairs, axis=0)])


def _window(photo: U8, fit: Fit) -> tuple[Array, float]:
    """The part of the photograph to show, (left, top, right, bottom), and how much it is enlarged."""
    low, high = fit.landmarks[:468].min(0), fit.landmarks[:468].max(0)
    middle, half = 0.5 * (low + high), 0.5 * ROOM * float((high - low).max()) * 0.75
    height, width = photo.shape[:2]
    box = np.clip(np.r_[middle - half, middle + half], 0, [width, height, width, height]).round().astype(int)
    return box, SIDE / max(int(box[2] - box[0]), int(box[3] - box[1]), 1)
