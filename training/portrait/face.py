"""Faces in a photograph: who is there, where 478 landmarks lie, and what a fit will not like about it, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from engine.tracking.face import EYES, LANDMARKS, LEFT_IRIS, MESH, RIGHT_IRIS, Crop, Face, FaceFinder, cut

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Array = NDArray[Any]

ASSET: Final = Path(__file__).parent / "assets" / "basis.safetensors"
Look = tuple[float, float, float, float, bool]
MOST: Final = 5  # faces that are looked for
SMALLEST: Final = 40.0  # pixels between the outer eye corners: below, nothing can be fitted
SMALL: Final = 90.0  # below, it can, but the texture will be blurred
TILES: Final = ((1.0, 1), (0.5, 3))  # sides of the squares that are searched, over the picture's, and how many a side
VIEW: Final = 256  # pixels a side of the crops that landmarks are read from
ROOM: Final = 2.4  # side of such a crop over the height of the face
# Crops that landmarks are averaged over: (turn in radians, shift right and down over its side, size, mirrored)
LOOKS: Final[tuple[Look, ...]] = (
    (0.0, 0.0, 0.0, 1.0, False), (0.0, 0.0, 0.0, 1.0, True), (0.10, 0.012, 0.006, 1.06, False),
    (-0.10, -0.012, -0.006, 1.06, True), (0.05, -0.010, 0.010, 0.94, True), (-0.05, 0.010, -0.010, 0.94, False),
)  # fmt: skip
CHEEKS: Final = (234, 454)  # the face's outline beside the ears: its right, its left
NOSE: Final = 1
TURNED: Final = math.radians(30)  # from here on half of the face is a guess
EXTREME: Final = math.radians(50)  # and here the landmarks are no longer believed
ROLLED: Final = math.radians(45)  # from here on the photograph lies on its side
UNSURE: Final = 0.9  # probability below which something covers the face
# What the looks disagree by, over the eyes' distance: people 0.004 to 0.027, also in profile; a cat 0.24
LOOSE, APART = 0.02, 0.08
# And in pictures upside down, 0.020 to 0.049: from SUSPECT on it is asked whether they are, by what it would be turned
SUSPECT, BETTER = 0.015, 0.7
BLOCK: Final = 3  # pixels a side of the blocks that are looked at for grain, in a face brought to VIEW pixels
FLAT: Final = 1.0  # levels: a block that varies by no more has no grain
# Share of a face without grain: photographs up to 0.11, as JPEG of quality 10 up to 0.29; filled drawings 0.63 to 0.95
DRAWN: Final = 0.5
PAPER: Final = 0.6  # share of a face that is white paper: line drawings 0.77 and more, overexposed photographs 0.22
LEAST_RANGE: Final = 16.0  # levels between a face's dark and light: below, there is nothing to see


class FaceError(ValueError):
    """A photograph has no face that can be used. The message says what was found and what to do."""


@dataclass(frozen=True)
class Found:
    """One face: points (478, 3) in pixels of the picture, x right, y down, z away; spread (478,) pixels, how far the
    looks that were averaged disagree; score in [0, 1]; yaw, pitch, roll in radians as a first guess; warnings."""

    points: F64
    spread: F64
    score: float
    yaw: float
    pitch: float
    roll: float
    warnings: tuple[str, ...] = ()

    @property
    def apart(self) -> float:
        """Pixels between the outer corners of the eyes: the inter-ocular distance that errors are told in."""
        return float(np.linalg.norm(self.points[EYES[0], :2] - self.points[EYES[1], :2]))


def find(picture: U8) -> Found:
    """The face of an (H, W, 3) RGB photograph: the largest when there are several, which is then warned of.

    Raises FaceError when there is none, or when the largest is too small, too far turned away, lies on its side, is
    too dark or pale, or is no person's photograph: a drawing, or an animal.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"a picture is (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
    boxes = everybody(picture)
    if not boxes:
        raise FaceError(
            "no face was found: the photograph must show a person's face from the front, upright, uncovered and lit; "
            "a profile, a drawing or an animal will not do"
        )
    sizes = [box.side for box in boxes]
    face = look(picture, boxes[int(np.argmax(sizes))])
    if face is None:
        raise FaceError("a face was found but its features were not: choose a sharper photograph of an uncovered face")
    if face.apart < SMALLEST:
        raise FaceError(
            f"the face is too small: {face.apart:.0f} pixels between the eyes, at least {SMALLEST:.0f} are needed; "
            "crop less, come closer, or choose a larger photograph"
        )
    if abs(face.yaw) > EXTREME or abs(face.pitch) > EXTREME:
        raise FaceError(
            f"the head is turned too far away ({math.degrees(face.yaw):.0f} degrees aside, "
            f"{math.degrees(face.pitch):.0f} up): choose a photograph from the front"
        )
    _check(picture, face)
    others = sum(size > 0.4 * max(sizes) for size in sizes) - 1
    return replace(face, warnings=_warnings(face, others))


def everybody(picture: U8) -> list[Crop]:
    """A square around each face, the largest first: the whole picture is searched, then overlapping parts of it.

    What was found is greyed out before the next search, for the detector names one face at a time.
    """
    left = picture.copy()
    found: list[Crop] = []
    height, width = picture.shape[:2]
    for share, count in TILES:
        side = share * max(height, width)
        for row in range(count):
            for column in range(count):
                x, y = (_middle(size, side, k, count) for size, k in ((width, column), (height, row)))
                tile = Crop(x, y, side, 0.0)
                for _ in range(MOST - len(found)):
                    face = _step(left, tile)
                    if face is None:
                        break
                    box = _around(face.points)
                    _grey(left, box)
                    if not any(math.hypot(box.x - b.x, box.y - b.y) < 0.35 * max(box.side, b.side) for b in found):
                        found.append(box)
        if found:
            break  # small faces beside a large one are nobody that is meant
    return sorted(found, key=lambda box: -box.side)


def look(picture: U8, box: Crop, looks: Sequence[Look] = LOOKS) -> Found | None:
    """Landmarks of the face in a square, averaged over several crops and their mirror images."""
    first = _step(picture, Crop(box.x, box.y, box.side * ROOM / 1.6, box.angle))
    if first is None:
        return None
    eyes = first.points[list(EYES), :2].astype(float)
    turn = math.atan2(*(eyes[1] - eyes[0])[::-1])
    exact = _around(first.points)
    seen, scores = [], []
    for angle, right, down, size, mirrored in looks:
        side = exact.side * ROOM / 1.3 * size
        crop = Crop(exact.x + right * side, exact.y + down * side, side, turn + angle)
        face = _step(picture, crop, mirrored)
        if face is not None:
            seen.append(face.points)
            scores.append(face.score)
    if 2 * len(seen) <= len(looks):
        return None
    stack = np.stack(seen).astype(np.float64)
    points = np.median(stack, axis=0) * 0.5 + stack.mean(0) * 0.5
    spread = np.linalg.norm(stack[..., :2] - points[:, :2], axis=2).mean(0)
    yaw, pitch, roll = _turn(points)
    return Found(points, spread, float(np.mean(scores)), yaw, pitch, roll)


def _step(picture: U8, crop: Crop, mirrored: bool = False) -> Face | None:
    """The most evident face within a turned square of the picture, in the picture's pixels."""
    view = np.clip(np.rint(cut(_near(picture, crop), _moved(picture, crop), VIEW)), 0, 255).astype(np.uint8)
    if mirrored:
        view = np.ascontiguousarray(view[:, ::-1])
    finder = FaceFinder()
    face = finder.step(view) and finder.step(view)  # the second time the crop follows the face
    if face is None:
        return None
    points = face.points.copy()
    if mirrored:
        points = points[mirror()]
        points[:, 0] = VIEW - points[:, 0]
    points /= np.float32(VIEW)
    points[:, :2] = (points[:, :2] - 0.5) @ crop.axes().T + np.array([crop.x, crop.y], np.float32)
    points[:, 2] *= np.float32(crop.side)
    return Face(points, face.score)


def _near(picture: U8, crop: Crop) -> U8:
    """The picture averaged down until the crop is at most twice VIEW, so that it is not sampled sparsely."""
    step = _step_of(crop)
    if step == 1:
        return picture
    height, width = (size // step * step for size in picture.shape[:2])
    blocks = picture[:height, :width].reshape(height // step, step, width // step, step, 3)
    return np.rint(blocks.mean((1, 3), dtype=np.float32)).astype(np.uint8)


def _moved(picture: U8, crop: Crop) -> Crop:
    step = _step_of(crop)
    return Crop(crop.x / step, crop.y / step, crop.side / step, crop.angle)


def _step_of(crop: Crop) -> int:
    return max(1, int(crop.side / (1.5 * VIEW)))


@cache
def mirror() -> Array:
    """(478,) the landmark that each one is in a mirror."""
    other = load_file(ASSET)["mirror"].astype(np.int64)
    iris = [0, 3, 2, 1, 4]  # centre, right, top, left, bottom of the rim
    return np.concatenate([other, [LEFT_IRIS + k for k in iris], [RIGHT_IRIS + k for k in iris]])


def _check(picture: U8, face: Found) -> None:
    """Raises FaceError for what has the features of a face and is no photograph of a person, upright and lit."""
    if face.spread.mean() > APART * face.apart:
        raise FaceError(
            "something like a face was found, but its features are not a person's: choose a photograph of an uncovered "
            "human face"
        )
    if abs(face.roll) > ROLLED:
        raise FaceError("the photograph lies on its side: turn it upright and save it again")
    if _upside_down(picture, face):
        raise FaceError("the photograph is upside down: turn it upright and save it again")
    seen = _face_of(picture, face)
    light = seen.mean(2)
    low, high = np.percentile(light, (5, 95))
    if high - low < LEAST_RANGE:
        how = "dark" if high < 128 else "pale"
        raise FaceError(f"the face is too {how} to be seen: choose a photograph in soft daylight")
    if np.mean((light > 235) & (np.ptp(seen, 2) < 12)) > PAPER:
        raise FaceError("the face is white as paper: a drawing, or overexposed; choose a photograph in soft daylight")
    if _flat(seen) > DRAWN:
        raise FaceError("this looks like a drawing, not a photograph: choose a photograph of a person")


def _upside_down(picture: U8, face: Found) -> bool:
    """Whether a face that is loosely placed is placed better in the picture turned around: landmarks are also found,
    some way, in a face that stands on its head."""
    if face.spread.mean() < SUSPECT * face.apart:
        return False
    height, width = picture.shape[:2]
    box = _around(face.points)
    turned = look(np.ascontiguousarray(picture[::-1, ::-1]), Crop(width - box.x, height - box.y, box.side, 0.0))
    return turned is not None and turned.spread.mean() * face.apart < BETTER * face.spread.mean() * turned.apart


def _face_of(picture: U8, face: Found) -> F32:
    """The rectangle of a face, averaged down to at most twice VIEW pixels wide."""
    left, top = np.maximum(face.points[:MESH, :2].min(0), 0).astype(int)
    right, bottom = np.ceil(face.points[:MESH, :2].max(0)).astype(int)
    seen = picture[top:bottom, left:right]
    step = max(1, (right - left) // VIEW)
    height, width = (size // step * step for size in seen.shape[:2])
    blocks = seen[:height, :width].reshape(height // step, step, width // step, step, 3)
    return np.asarray(blocks.mean((1, 3), dtype=np.float32))


def _flat(seen: F32) -> float:
    """Share of a picture where not even noise is: painted in one colour."""
    height, width = (size // BLOCK * BLOCK for size in seen.shape[:2])
    blocks = seen[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3)
    return float((np.ptp(blocks, (1, 3)).max(-1) <= FLAT).mean())


def _around(points: Array) -> Crop:
    """The upright square around a face's landmarks."""
    high, low = points[:MESH, :2].max(0), points[:MESH, :2].min(0)
    middle = 0.5 * (high + low)
    return Crop(float(middle[0]), float(middle[1]), float((high - low).max()), 0.0)


def _grey(picture: U8, box: Crop) -> None:
    """Paints a face over, in place."""
    height, width = picture.shape[:2]
    reach = 0.5 * box.side
    top, bottom = (int(np.clip(box.y + sign * reach, 0, height)) for sign in (-1, 1))
    left, right = (int(np.clip(box.x + sign * reach, 0, width)) for sign in (-1, 1))
    picture[top:bottom, left:right] = 128


def _middle(size: int, side: float, place: int, count: int) -> float:
    """Middle of one of ``count`` overlapping squares along ``size`` pixels."""
    if count == 1 or size <= side:
        return 0.5 * size
    return 0.5 * side + (size - side) * place / (count - 1)


def _turn(points: F64) -> tuple[float, float, float]:
    """Yaw, pitch, roll in radians, from the landmarks' own depth. Positive: to the picture's right, up, clockwise."""
    eyes = points[EYES[1]] - points[EYES[0]]
    across = points[CHEEKS[1]] - points[CHEEKS[0]]
    roll = math.atan2(eyes[1], eyes[0])
    down = points[152] - points[10]  # forehead to chin
    yaw = math.atan2(across[2], math.hypot(across[0], across[1]))
    pitch = math.atan2(-down[2], math.hypot(down[0], down[1]))
    return yaw, pitch, roll


def _warnings(face: Found, others: int) -> tuple[str, ...]:
    out = []
    if others > 0:
        out.append(f"{others + 1} faces were found; the largest is used")
    if face.apart < SMALL:
        out.append(f"the face is small ({face.apart:.0f} pixels between the eyes): the texture will be soft")
    if abs(face.yaw) > TURNED:
        out.append(f"the head is turned {abs(math.degrees(face.yaw)):.0f} degrees aside: the far side is a guess")
    if abs(face.pitch) > TURNED:
        out.append(f"the head is tilted {abs(math.degrees(face.pitch)):.0f} degrees: proportions are less sure")
    if face.score < UNSURE:
        out.append("the face is unclear: something may cover it, or it is blurred")
    if face.spread.mean() > LOOSE * face.apart:
        out.append("features were hard to place: expect a looser likeness")
    return tuple(out)


assert LANDMARKS == LEFT_IRIS + 5
