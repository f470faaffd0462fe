"""Landmarks of a face in a video to Motion: head by Procrustes, actions by bounded least squares, eyes by geometry.

The face is compared with its own neutral face, so that who it is does not show in what it does. The basis says how each
action moves each landmark on our bodies (training/landmarks.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from engine.motion.frame import ACTION_INDEX, JOINT_INDEX, J, K, Motion, R
from engine.motion.lips import GAP_VECTOR, lip_gap
from engine.tracking.face import LEFT_IRIS, MESH, RIGHT_IRIS, Face
from engine.tracking.smooth import OneEuro

F64 = NDArray[np.float64]

BASIS: Final = Path(__file__).parent.parent / "assets" / "face_basis.safetensors"
# What 478 landmarks can tell apart; smaller actions (rolls, presses, dimples) would only share what belongs to these.
SOLVED: Final = tuple(
    ACTION_INDEX[name + side]
    for name, sides in (
        ("jawOpen", ("",)), ("mouthFunnel", ("",)), ("mouthPucker", ("",)), ("browInnerUp", ("",)),
        ("jaw", ("Left", "Right")), ("mouth", ("Left", "Right")), ("mouthSmile", ("Left", "Right")),
        ("mouthFrown", ("Left", "Right")), ("mouthUpperUp", ("Left", "Right")), ("mouthLowerDown", ("Left", "Right")),
        ("browDown", ("Left", "Right")), ("browOuterUp", ("Left", "Right")), ("noseSneer", ("Left", "Right")),
    )
    for side in sides
)  # fmt: skip
RIDGE: Final = 150.0  # mm^2: what an action must explain to be used
DEPTH: Final = 0.32  # trust in a landmark's depth, relative to its place in the picture
SWEEPS: Final = 12
INNER: Final = (13, 14)  # middle of the upper and of the lower lip's inner edge
# (upper lid, lower lid) pairs and (inner, outer) corners: right, left
LIDS: Final = (((159, 145), (160, 144), (158, 153)), ((386, 374), (385, 380), (387, 373)))
CORNERS: Final = ((133, 33), (362, 263))
BROWS: Final = ((105, 33), (66, 133), (334, 263), (296, 362))  # brow, corner of the eye under it
SHUT: Final = 0.22  # opening of a shut eye over that of the open one, as the landmarks have it
TRUNK: Final = np.float32(0.12)
LEAN: Final = 0.06  # metres that the head may travel


@dataclass(frozen=True, slots=True)
class Measured:
    """One picture's face in its own frame: points (468, 3) in metres as if seen frontally, the head's rotation (3, 3)
    and place (3,) in metres from the picture's middle, lid openings (2,) over the eye's width, and irises (2, 2) from
    the middle between the corners, in metres; right eye first."""

    points: F64
    rotation: F64
    place: F64
    lids: F64
    irises: F64

    @property
    def gap(self) -> float:
        """Millimetres between the lips."""
        return 1e3 * float(self.points[INNER[0], 1] - self.points[INNER[1], 1])


class Solver:
    """Turns faces into Motion, one after the other. ``calibrate`` first; a new video wants a new solver."""

    def __init__(self, basis: Path = BASIS) -> None:
        if not basis.is_file():
            raise ValueError(f"{basis}: no basis of faces; reinstall visavis, or: python -m training.landmarks make")
        tensors = load_file(basis)
        self._rest = tensors["rest"].astype(np.float64)
        deltas = 1e3 * tensors["deltas"].astype(np.float64)  # mm
        self._look_factor = tensors["gaze"].astype(np.float64)
        self._rigid, self._drift = tensors["rigid"].astype(np.float64), tensors["turn"].astype(np.float64)
        if self._rest.shape != (MESH, 3) or deltas.shape != (K, MESH, 3) or self._rigid.shape != (MESH,):
            raise ValueError(f"{basis}: not a basis of {MESH} landmarks and {K} actions")
        lids = np.linalg.norm(deltas[[ACTION_INDEX["eyeBlinkLeft"], ACTION_INDEX["eyeBlinkRight"]]], axis=2).max(0)
        trust = np.where(lids > 0.7, 0.22, 1.0)[:, None] * [1.0, 1.0, DEPTH]  # the lids are read off directly
        columns = (deltas[list(SOLVED)] * trust).reshape(len(SOLVED), -1)
        self._gram = columns @ columns.T + RIDGE * np.eye(len(SOLVED))
        self._pull = columns * trust.ravel()
        self._neutral: Measured | None = None
        self._template = self._rest
        self._actions = np.zeros(len(SOLVED))
        self._face = OneEuro(3.0, 4.0)
        self._pose = OneEuro(1.5, 6.0)
        self._gaze = OneEuro(2.0, 12.0)
        self._held = np.zeros(2)

    def measure(self, face: Face, size: tuple[int, int]) -> Measured:
        """A picture of ``size`` (H, W) with a face in it, brought into the face's own frame."""
        seen = face.points.astype(np.float64) * [1.0, -1.0, -1.0]
        scale, rotation, shift = _procrustes(self._template, seen[:MESH], self._rigid)
        points = (seen[:MESH] - shift) @ rotation / scale
        lids, irises = np.zeros(2), np.zeros((2, 2))
        for eye, (pairs, (inner, outer), iris) in enumerate(zip(LIDS, CORNERS, (RIGHT_IRIS, LEFT_IRIS), strict=True)):
            width = np.linalg.norm(points[outer] - points[inner])
            lids[eye] = np.mean([points[up, 1] - points[low, 1] for up, low in pairs]) / width
            middle = 0.5 * (points[inner] + points[outer])
            spot = seen[iris].copy()
            spot[2] = (scale * (rotation @ (middle + [0.0, 0.0, 0.006])) + shift)[2]  # the eye bulges forward
            irises[eye] = ((spot - shift) @ rotation / scale - middle)[:2]
        height, width_px = size
        place = np.array([shift[0] - 0.5 * width_px, shift[1] + 0.5 * height, 0.0]) / scale
        place[2] = 1e3 / scale  # not metres: how far away, up to the lens; only its changes are used
        return Measured(points, rotation, place, lids, irises)

    @property
    def neutral(self) -> Measured:
        """The person's neutral face. Raises ValueError before ``calibrate``."""
        if self._neutral is None:
            raise ValueError("calibrate the solver before its first step")
        return self._neutral

    def residual(self, face: Face, size: tuple[int, int]) -> tuple[F64, Measured]:
        """(468, 3) millimetres that the face differs from the person's neutral one, in the face's own frame."""
        now = self.measure(face, size)
        moved = 1e3 * (now.points - self.neutral.points)
        return moved - np.tensordot(turned(self.turn(now)), self._drift, 1), now

    def turn(self, now: Measured) -> F64:
        """The head's turn from its neutral place, axis-angle (3,)."""
        return _axis(now.rotation @ self.neutral.rotation.T)

    def calibrate(self, faces: Sequence[Face], size: tuple[int, int]) -> None:
        """Finds the neutral face among ``faces``: lips together, eyes open. Raises ValueError when there are none."""
        if not faces:
            raise ValueError("there is no face to begin with")
        for _ in range(2):  # the second time the head is found with the person's own face
            found = [self.measure(face, size) for face in faces]
            chosen = [found[place] for place in _calm(found)]
            points = np.median([m.points for m in chosen], axis=0)
            self._template = points
        turn = _mean_rotation([m.rotation for m in chosen])
        place, lids = (np.median([getattr(m, name) for m in chosen], axis=0) for name in ("place", "lids"))
        irises = np.median([m.irises for m in found], axis=0)  # people mostly look into the camera
        self._neutral = Measured(points, turn, place, lids, irises)

    def step(self, face: Face, size: tuple[int, int], time: float) -> Motion:
        """What the face does in the picture at ``time`` seconds, smoothed. Raises ValueError before ``calibrate``."""
        moved, now = self.residual(face, size)
        neutral = self.neutral
        actions = np.zeros(K)
        actions[list(SOLVED)] = self._solve(moved)
        gaze = self._look(now)
        blink = np.zeros(2)
        for eye, side in enumerate(("Right", "Left")):
            ratio = now.lids[eye] / max(neutral.lids[eye], 1e-3) + 0.8 * max(-gaze[1] - 0.04, 0.0)
            blink[eye] = np.clip((0.94 - ratio) / (0.94 - SHUT), 0.0, 1.0)
            actions[ACTION_INDEX[f"eyeWide{side}"]] = np.clip((ratio - 1.1) / 0.35, 0.0, 1.0)
        actions = np.clip(self._face.step(actions, time), 0.0, 1.0)
        for eye, side in enumerate(("Right", "Left")):
            actions[ACTION_INDEX[f"eyeBlink{side}"]] = blink[eye]  # as fast as it is
        if blink.max() < 0.5:
            self._held = self._gaze.step(gaze, time)
        row = actions.astype(np.float32)
        row[ACTION_INDEX["mouthClose"]] = _close(row, now.gap - neutral.gap)
        pose = np.concatenate([self.turn(now), self._travel(now)])
        head = self._pose.step(pose, time).astype(np.float32)
        joints = np.zeros((J, 3), np.float32)
        joints[JOINT_INDEX["spine"]] = TRUNK * head[:3]  # a turn of the head goes through the back a little
        head[:3] *= np.float32(1.0) - TRUNK
        return Motion(row, np.zeros(R, np.float32), self._held.astype(np.float32), head, joints).clipped()

    def _solve(self, moved: F64) -> F64:
        """Weights in [0, 1] that best explain how far (468, 3) landmarks moved, in mm: coordinate descent, begun at the
        last answer."""
        gram, pull = self._gram, self._pull @ moved.ravel()
        x = self._actions.copy()
        slack = pull - gram @ x
        for place in np.tile(np.arange(len(x)), SWEEPS):
            value = min(max(x[place] + slack[place] / gram[place, place], 0.0), 1.0)
            if value != x[place]:
                slack -= gram[place] * (value - x[place])
                x[place] = value
        self._actions = x
        return x

    def _look(self, now: Measured) -> F64:
        gaze: F64 = np.clip((now.irises - self.neutral.irises).mean(0) * self._look_factor, -0.7, 0.7)
        return gaze

    def _travel(self, now: Measured) -> F64:
        offset = now.place - self.neutral.place
        nearer = 1.0 - now.place[2] / self.neutral.place[2]  # share of the distance; 0.8 m is usual before a camera
        return np.clip([0.5 * offset[0], 0.5 * offset[1], 0.4 * nearer], -LEAN, LEAN)


def turned(turn: F64) -> F64:
    """(9,) terms in which a turned head changes what a network sees of a still face: linear and square ones."""
    x, y, z = turn
    return np.array([x, y, z, x * x, y * y, z * z, x * y, y * z, x * z])


def _calm(found: Sequence[Measured]) -> list[int]:
    """Which faces are at rest, as far as a video can tell: lips together, eyes open, brows down, a mouth of usual
    width. All of them when there is no such face."""
    gaps, lids = np.array([m.gap for m in found]), np.array([m.lids.mean() for m in found])
    brows = np.array([np.mean([m.points[b, 1] - m.points[e, 1] for b, e in BROWS]) for m in found])
    widths = np.array([m.points[291, 0] - m.points[61, 0] for m in found])
    low, high = np.percentile(widths, [25, 75])
    calm = (gaps <= np.percentile(gaps, 45)) & (lids >= np.percentile(lids, 30)) & (brows <= np.percentile(brows, 60))
    calm &= (widths >= low) & (widths <= high)
    return [int(place) for place in np.flatnonzero(calm)] or list(range(len(found)))


def _close(face: NDArray[np.float32], gap: float) -> np.float32:
    """The mouthClose that leaves ``gap`` mm between the lips of this face."""
    face[ACTION_INDEX["mouthClose"]] = 0.0
    per = -float(GAP_VECTOR[ACTION_INDEX["mouthClose"]])
    return np.float32(np.clip((float(lip_gap(face)) - max(gap, 0.0)) / per, 0.0, 1.0))


def _procrustes(model: F64, seen: F64, weight: F64) -> tuple[float, F64, F64]:
    """(scale, rotation, shift) with seen = scale R model + shift, weighted least squares (Umeyama 1991)."""
    share = (weight / weight.sum())[:, None]
    a, b = (share * model).sum(0), (share * seen).sum(0)
    x, y = model - a, seen - b
    u, values, vt = np.linalg.svd((share * y).T @ x)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((values * sign).sum() / (share * x * x).sum())
    return scale, rotation, b - scale * rotation @ a


def _mean_rotation(rotations: Sequence[F64]) -> F64:
    u, _, vt = np.linalg.svd(np.mean(rotations, axis=0))
    turned: F64 = (u * [1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return turned


def _axis(rotation: F64) -> F64:
    """Axis-angle (3,) of a rotation by less than pi."""
    angle = float(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0)))
    skew = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return skew * (0.5 if angle < 1e-6 else angle / (2.0 * np.sin(angle)))
