"""Finding a face in a picture: 478 landmarks, by two small networks of MediaPipe (Apache-2.0) on ONNX Runtime.

Short-range face detection (Bazarevsky et al. 2019, BlazeFace) says where to look at first; the attention mesh
(Grishchenko et al. 2020) then follows the face from picture to picture. Networks: exporters/tflite.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.backends import ort

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

ASSETS: Final = Path(__file__).parent.parent / "assets"
LANDMARKS: Final = 478
MESH: Final = 468  # the rest are irises: centre, then right, top, left and bottom of the rim
RIGHT_IRIS, LEFT_IRIS = 468, 473  # the person's own right and left
SEEN: Final = 0.5  # probability above which there is a face
ROOM: Final = 1.5  # side of the crop over that of the landmarks' box
FOUND_ROOM: Final = 1.5  # the same for a box of the detector
EYES: Final = (33, 263)  # outer corners: right, left

# Which mesh points the network's refined lips and eyes stand for, in its order (its subset_idxs).
LIPS: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178, 87, 14,
    317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415, 76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306,
    184, 74, 73, 72, 11, 302, 303, 304, 408, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12,
    268, 271, 272, 407,
)  # fmt: skip
RIGHT_EYE: Final = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26, 112, 243,
    247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189, 35,
    124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
LEFT_EYE: Final = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252, 256,
    341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442,
    441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336,
    285, 417,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Crop:
    """A turned square of a picture: its centre and side in pixels, and its angle in radians."""

    x: float
    y: float
    side: float
    angle: float

    def axes(self) -> F32:
        """(2, 2): columns are the crop's right and down in picture pixels, one crop side long."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return np.array([[c, -s], [s, c]], np.float32) * np.float32(self.side)


@dataclass(frozen=True, slots=True)
class Face:
    """Landmarks (478, 3) in pixels of the picture: x right, y down, z away from the viewer in the same unit (0 for
    irises), and how sure the network is that there is a face."""

    points: F32
    score: float


class FaceFinder:
    """Follows one face through pictures. Raises ValueError when a network is missing or broken."""

    def __init__(self) -> None:
        self._detector = _load("face_detection.onnx")
        self._mesh = _load("face_mesh.onnx")
        self._anchors = _anchors()
        self._crop: Crop | None = None

    def step(self, picture: U8) -> Face | None:
        """The face in an (H, W, 3) RGB picture; None when there is none. Looks where it last was, then everywhere."""
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(f"a picture is (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
        for crop in (self._crop, None):
            crop = crop or self._detect(picture)
            if crop is None:
                break
            face = self._landmarks(picture, crop)
            if face.score >= SEEN:
                self._crop = _around(face.points[:MESH, :2], face.points[list(EYES), :2], ROOM)
                return face
        self._crop = None
        return None

    def _detect(self, picture: U8) -> Crop | None:
        height, width = picture.shape[:2]
        whole = Crop(0.5 * width, 0.5 * height, float(max(height, width)), 0.0)
        buffers = self._detector.inputs(1)
        buffers["image"][0] = cut(picture, whole, 128).transpose(2, 0, 1) * np.float32(2.0 / 255.0) - np.float32(1.0)
        outputs = self._detector.run(1)
        scores = outputs["classificators"].reshape(-1)
        best = int(np.argmax(scores))
        if scores[best] < 0.0:  # a logit: half sure
            return None
        values = outputs["regressors"].reshape(-1, 16)[best].reshape(8, 2) / np.float32(128.0)
        values[[0, 2, 3, 4, 5, 6, 7]] += self._anchors[best]
        centre, size, points = values[0], values[1], values[2:]
        spot = (np.stack([centre, *points[:2]]) - 0.5) @ whole.axes().T + [whole.x, whole.y]
        side = float(size.max()) * whole.side * FOUND_ROOM
        turn = math.atan2(*(spot[2] - spot[1])[::-1])
        return Crop(float(spot[0, 0]), float(spot[0, 1]), side, turn) if side > 8.0 else None

    def _landmarks(self, picture: U8, crop: Crop) -> Face:
        buffers = self._mesh.inputs(1)
        buffers["image"][0] = cut(picture, crop, 192).transpose(2, 0, 1) / np.float32(255.0)
        out = self._mesh.run(1)
        points = np.zeros((LANDMARKS, 3), np.float32)
        points[:MESH] = out["output_mesh_identity"].reshape(MESH, 3)
        for name, places in (("lips", LIPS), ("left_eye", RIGHT_EYE), ("right_eye", LEFT_EYE)):
            points[list(places), :2] = out[f"output_{name}"].reshape(-1, 2)  # its left is the picture's
        points[RIGHT_IRIS : RIGHT_IRIS + 5, :2] = out["output_left_iris"].reshape(-1, 2)
        points[LEFT_IRIS : LEFT_IRIS + 5, :2] = out["output_right_iris"].reshape(-1, 2)
        points /= np.float32(192.0)
        points[:, :2] = (points[:, :2] - 0.5) @ crop.axes().T + np.array([crop.x, crop.y], np.float32)
        points[:, 2] *= np.float32(crop.side)
        logit = float(out["conv_faceflag"].reshape(-1)[0])
        return Face(points, 1.0 / (1.0 + math.exp(-max(min(logit, 50.0), -50.0))))


def cut(picture: U8, crop: Crop, side: int) -> F32:
    """(side, side, 3) float32 of a turned square, 0 to 255, bilinear; black outside the picture."""
    height, width = picture.shape[:2]
    step = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side) - np.float32(0.5)
    across, down = crop.axes().T
    x = crop.x + step[None, :] * across[0] + step[:, None] * down[0] - 0.5
    y = crop.y + step[None, :] * across[1] + step[:, None] * down[1] - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - left)[..., None].astype(np.float32), (y - top)[..., None].astype(np.float32)
    total = np.zeros((side, side, 3), np.float32)
    for dx, dy, weight in ((0, 0, (1 - fx) * (1 - fy)), (1, 0, fx * (1 - fy)), (0, 1, (1 - fx) * fy), (1, 1, fx * fy)):
        column, row = left + dx, top + dy
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        value = picture[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        total += weight * inside[..., None] * value
    return total


def _around(points: F32, eyes: F32, room: float) -> Crop:
    """The square, turned with the eyes, around (n, 2) points."""
    turn = math.atan2(float(eyes[1, 1] - eyes[0, 1]), float(eyes[1, 0] - eyes[0, 0]))
    c, s = math.cos(turn), math.sin(turn)
    back = np.array([[c, -s], [s, c]], np.float32)
    turned = points @ back
    high, low = turned.max(0), turned.min(0)
    middle = back @ (0.5 * (high + low))
    return Crop(float(middle[0]), float(middle[1]), float((high - low).max()) * room, turn)


def _anchors() -> F32:
    """(896, 2) centres of the detector's boxes: two on each of 16 x 16 places, six on each of 8 x 8."""
    rows = []
    for side, count in ((16, 2), (8, 6)):
        y, x = np.mgrid[:side, :side]
        centres = np.stack([x.ravel(), y.ravel()], 1) / side + 0.5 / side
        rows.append(np.repeat(centres, count, axis=0))
    return np.concatenate(rows).astype(np.float32)


def _load(name: str) -> ort.OrtProgram:
    path = ASSETS / name
    if not path.is_file():
        raise ValueError(f"{path}: no such network; reinstall visavis")
    return ort.load(path, (1,))
