"""How a face's surroundings are shown to the segmenting network: a square that stands on the face, and what the
landmarks know of it already, as planes beside the colours.

Sizes are told in units of the face (:func:`unit`): about 90 mm on an adult, whichever way the head is turned.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS
from engine.tracking.face import EYES, Crop

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Array = NDArray[Any]

SIDE: Final = 256  # pixels a side of what the network sees
CLASSES: Final = ("background", "face", "hair", "neck_ears", "torso", "arms", "hands", "accessories")
OF_FACE: Final = ("face", "lips", "mouth", "teeth", "tongue", "eyes", "brows", "lashes")  # one class to the network
PLANES: Final = 9  # red, green, blue, inside the picture, person, oval, features, right, down
OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LIPS: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
MOUTH: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIDS: Final = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
BROWS: Final = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
FEATURES: Final = ((LIPS, 0.5), *((brow, 0.25) for brow in BROWS), *((lid, 1.0) for lid in LIDS))
FOREHEAD, CHIN = 10, 152
REACH: Final = 4.0  # units from between the eyes at which the planes of place saturate


def unit(points: Array) -> float:
    """Pixels: between the outer corners of the eyes, or half the face's height when the head is turned."""
    apart = np.linalg.norm(points[EYES[1], :2] - points[EYES[0], :2])
    return float(max(apart, 0.5 * np.linalg.norm(points[CHIN, :2] - points[FOREHEAD, :2])))


def square(points: Array, side: float) -> Crop:
    """A square ``side`` units wide that stands with the eyes: hair above them, the body below."""
    eyes = points[list(EYES), :2].astype(np.float64)
    angle = math.atan2(*(eyes[1] - eyes[0])[::-1])
    size = unit(points)
    down = (0.5 * side - (1.0 + 0.2 * side)) * size  # of its middle, below the eyes
    middle = eyes.mean(0) + down * np.array([-math.sin(angle), math.cos(angle)])
    return Crop(float(middle[0]), float(middle[1]), side * size, angle)


def into(crop: Crop, points: Array, side: int = SIDE) -> F64:
    """(n, 2) places in a picture as pixels of a crop drawn ``side`` pixels wide."""
    turned = (points[:, :2] - np.array([crop.x, crop.y])) @ crop.axes().astype(np.float64) / crop.side**2
    return np.asarray((turned + 0.5) * side)


def out_of(crop: Crop, places: Array, side: int = SIDE) -> F64:
    """The inverse of :func:`into`."""
    return np.asarray((places / side - 0.5) @ crop.axes().T.astype(np.float64) + np.array([crop.x, crop.y]))


def planes(rgb: F32, inside: F32, person: F32, points: Array) -> F32:
    """(PLANES, S, S) of a crop: rgb (S, S, 3) in [0, 1], inside and person (S, S), landmarks in its pixels."""
    side = rgb.shape[0]
    out = np.empty((PLANES, side, side), np.float32)
    out[:3] = rgb.transpose(2, 0, 1) * np.float32(4) - np.float32(2)
    out[3], out[4] = inside, person
    out[5] = filled(points[list(OVAL)], (side, side))
    out[6] = 0.0
    for corners, level in FEATURES:
        out[6][filled(points[list(corners)], (side, side)) > 0] = level
    eyes = points[list(EYES), :2]
    across = (eyes[1] - eyes[0]) / max(float(np.linalg.norm(eyes[1] - eyes[0])), 1e-6) / (REACH * unit(points))
    row, column = np.mgrid[:side, :side].astype(np.float32) + np.float32(0.5)
    column, row = column - np.float32(eyes[:, 0].mean()), row - np.float32(eyes[:, 1].mean())
    out[7] = np.tanh(column * np.float32(across[0]) + row * np.float32(across[1]))
    out[8] = np.tanh(row * np.float32(across[0]) - column * np.float32(across[1]))
    return out


def filled(corners: Array, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W): which pixels' middles lie inside a polygon (n, 2), by the even-odd rule."""
    out = np.zeros(size, bool)
    low = np.clip(np.floor(corners[:, :2].min(0) - 1), 0, None).astype(int)
    high = np.minimum(np.ceil(corners[:, :2].max(0) + 1), (size[1], size[0])).astype(int)
    if (high <= low).any():
        return out
    row, column = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
    part = np.zeros(row.shape, bool)
    for (x, y), (u, v) in zip(corners[:, :2], np.roll(corners[:, :2], -1, axis=0), strict=True):
        if y != v:
            part ^= ((y > row) != (v > row)) & (column < (u - x) * (row - y) / (v - y) + x)
    out[low[1] : high[1], low[0] : high[0]] = part
    return out


def table() -> U8:
    """(len(REGIONS),) the class of each region."""
    return np.array([CLASSES.index("face" if name in OF_FACE else name) for name in REGIONS], np.uint8)
