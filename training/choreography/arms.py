"""Arms by where the hands go: an analytic two-bone solution from a hand's place to Motion.joints.

Places are said in the body's own measures, so that one gesture fits every build: see :class:`Arm`.
Swivel-angle parametrisation of the elbow: Tolani, Goswami and Badler 2000, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS, Avatar
from engine.motion.frame import JOINT_INDEX, J

Array = NDArray[Any]
REACH: Final = 0.985  # of the whole arm's length: elbows never lock
TWIST: Final = 1.40  # radians a forearm turns either way from thumb-forward
EITHER: Final = 1.0  # radians from the far side within which a forearm does not know which way to turn
FLESH: Final = 0.050  # metres from an arm bone's axis to its skin and sleeve
LIFT: Final = 0.22  # radians the collar bone rises for each radian the upper arm is above LIFT_FROM
LIFT_FROM: Final = 0.6
BANDS: Final = 12  # heights at which a torso's front is measured


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm. ``side`` in half shoulder widths from the middle (1: before the own shoulder, negative: beyond the
    middle), ``up`` in arm lengths from the shoulder, ``front`` in arm lengths before the chest; all three of the
    wrist. ``swivel`` (rad) lifts the elbow outward. ``palm`` is where the palm looks (out, up, front); ``flex`` and
    ``tilt`` (rad) bend the wrist toward the palm and toward the thumb. curl, spread, thumb as in Motion.
    ``shrug`` (rad) raises the collar bone.
    """

    side: float = 1.10
    up: float = -0.90
    front: float = 0.10
    swivel: float = 0.0
    palm: tuple[float, float, float] = (-1.0, 0.0, -0.2)
    flex: float = 0.05
    tilt: float = 0.0
    curl: float = 0.30
    spread: float = 0.12
    thumb: float = 0.20
    shrug: float = 0.0

    def pack(self) -> Array:
        """(13,) float: the fields in their order, the palm's three in a row."""
        return np.hstack([np.asarray(getattr(self, f.name), float) for f in fields(self)])


SIZE: Final = 13


class Skeleton(NamedTuple):
    """What gestures need to know of a body, left side, metres: joints (3,), and how far its torso's front reaches:
    ``front`` (BANDS, 2) rows of height and z, from the shoulders down; ``waist`` half width below the armpits."""

    clavicle: Array
    shoulder: Array
    elbow: Array
    wrist: Array
    fingers: Array  # unit, wrist to middle knuckle
    palm: Array  # unit, out of the palm
    front: Array
    waist: float

    @property
    def length(self) -> float:
        """Of the arm, shoulder to wrist, metres."""
        return float(np.linalg.norm(self.elbow - self.shoulder) + np.linalg.norm(self.wrist - self.elbow))

    def chest(self, height: Any) -> Array:
        """z of the torso's front at a height."""
        return np.interp(height, self.front[::-1, 0], self.front[::-1, 1])

    @staticmethod
    def of(avatar: Avatar) -> Skeleton:
        """Measures an avatar as it rests."""
        at = {name: avatar.bone_pivot[place].astype(float) for place, name in enumerate(avatar.bones)}
        fingers = at["middle1_l"] - at["wrist_l"]
        fingers /= np.linalg.norm(fingers)
        palm = np.cross(at["little1_l"] - at["index1_l"], fingers)
        torso = avatar.rest[np.unique(avatar.faces[avatar.region == REGIONS.index("torso")])]
        shoulder = at["shoulder_l"]
        inner = torso[np.abs(torso[:, 0]) < 0.75 * shoulder[0]]
        heights = np.linspace(shoulder[1], shoulder[1] - 0.42, BANDS)
        front = [float(inner[np.abs(inner[:, 1] - y) < 0.03, 2].max(initial=shoulder[2] + 0.05)) for y in heights]
        low = torso[torso[:, 1] < shoulder[1] - 0.15]
        return Skeleton(
            at["clavicle_l"], shoulder, at["elbow_l"], at["wrist_l"], fingers, palm / np.linalg.norm(palm),
            np.stack([heights, front], axis=1), float(np.abs(low[:, 0]).max(initial=shoulder[0])),
        )  # fmt: skip


def _average() -> Skeleton:
    """The mean of ten dressed studio people: for motion that is made for nobody in particular."""
    heights = np.linspace(-0.25, -0.67, BANDS)
    front = np.interp(heights, [-0.67, -0.52, -0.38, -0.25], [0.023, 0.026, 0.036, 0.0])
    shoulder, elbow = np.array([0.175, -0.250, -0.105]), np.array([0.198, -0.532, -0.091])
    wrist = np.array([0.180, -0.762, -0.003])
    fingers, palm = np.array([-0.163, -0.887, 0.431]), np.array([-0.947, 0.018, -0.321])
    palm -= (palm @ fingers) / (fingers @ fingers) * fingers
    return Skeleton(
        np.array([0.025, -0.231, -0.102]), shoulder, elbow, wrist, fingers / np.linalg.norm(fingers),
        palm / np.linalg.norm(palm), np.stack([heights, front], axis=1), 0.190,
    )  # fmt: skip


AVERAGE: Final = _average()


def joints(left: Array, right: Array, body: Skeleton = AVERAGE) -> Array:
    """(..., J, 3) of Motion.joints from both arms, packed (..., SIZE) as by Arm.pack. Spine and neck stay zero."""
    out = np.zeros((*np.shape(left)[:-1], J, 3), np.float32)
    for side, arm, mirror in (("l", left, np.ones(3)), ("r", right, np.array([1.0, -1.0, -1.0]))):
        for name, vector in solve(arm, body).items():
            out[..., JOINT_INDEX[f"{name}_{side}"], :] = vector if name == "hand" else vector * mirror
    return out


def solve(arm: Array, body: Skeleton) -> dict[str, Array]:
    """Axis-angles (..., 3) of clavicle, shoulder, elbow and wrist, and the hand row, of left arms (..., SIZE)."""
    swivel, palm, flex, tilt = arm[..., 3], arm[..., 4:7], arm[..., 7:8], arm[..., 8:9]
    goal = _place(arm, body)
    reach = goal - body.shoulder
    rise = np.arccos(np.clip(-_unit(reach)[..., 1], -1, 1))
    collar: Array = np.array([0.0, -0.3, 1.0]) * (arm[..., 12] + LIFT * _soft(rise - LIFT_FROM - 0.6))[..., None]
    lifted = _rotation(collar)
    shoulder = body.clavicle + lifted @ (body.shoulder - body.clavicle)
    for _ in range(4):
        elbow, wrist = _bend(shoulder, goal, swivel, body)
        turn, push = _inside(elbow, wrist, body)
        goal = goal + push
        swivel = swivel + turn
    upper, lower = _unit(elbow - shoulder), _unit(wrist - elbow)
    upper0, lower0 = _unit(body.elbow - body.shoulder), _unit(body.wrist - body.elbow)
    hinge, hinge0 = _unit(np.cross(upper, lower)), _unit(np.cross(upper0, lower0))
    whole = _frame(upper, hinge) @ _frame(upper0, hinge0).T
    bend = np.arccos(np.clip(_dot(upper, lower), -1, 1)) - np.arccos(np.clip(upper0 @ lower0, -1, 1))
    fore = whole @ _rotation(hinge0 * bend[..., None])
    twist = _turn_about(lower0, body.palm, _apply(np.swapaxes(fore, -1, -2), palm))
    local = _rotation(lower0 * twist) @ _rotation(np.cross(body.fingers, body.palm) * flex)
    local = local @ _rotation(-body.palm * tilt)
    return {
        "clavicle": collar, "shoulder": _log(np.swapaxes(lifted, -1, -2) @ whole), "elbow": hinge0 * bend[..., None],
        "wrist": _log(local), "hand": arm[..., 9:12],
    }  # fmt: skip


def _place(arm: Array, body: Skeleton) -> Array:
    """The wrist's place in metres."""
    height = body.shoulder[1] + arm[..., 1] * body.length
    depth = body.chest(height) + arm[..., 2] * body.length
    return np.stack([arm[..., 0] * body.shoulder[0], height, depth], axis=-1)


def _bend(shoulder: Array, goal: Array, swivel: Array, body: Skeleton) -> tuple[Array, Array]:
    """(elbow, wrist) of an arm that reaches for ``goal``; the elbow hangs down and back, turned by ``swivel``."""
    a = float(np.linalg.norm(body.elbow - body.shoulder))
    b = float(np.linalg.norm(body.wrist - body.elbow))
    along = _unit(goal - shoulder)
    far = np.clip(np.linalg.norm(goal - shoulder, axis=-1), 0.42 * (a + b), REACH * (a + b))[..., None]
    x = (a * a - b * b + far * far) / (2 * far)
    hang = np.array([0.28, -0.62, -0.75])
    hang = _unit(hang - _dot(along, hang)[..., None] * along)
    hang = _apply(_rotation(along * swivel[..., None]), hang)
    return shoulder + along * x + hang * np.sqrt(np.maximum(a * a - x * x, 0.0)), shoulder + along * far


def _inside(elbow: Array, wrist: Array, body: Skeleton) -> tuple[Array, Array]:
    """(more swivel, (3,) shift of the wrist) that bring the forearm and hand out of the torso."""
    hand = wrist + _unit(wrist - elbow) * 0.08
    points = np.stack([elbow + t * (wrist - elbow) for t in (0.3, 0.55, 0.8, 1.0)] + [hand], axis=-2)
    within = np.clip((body.waist + FLESH - np.abs(points[..., 0])) / 0.06, 0.0, 1.0)
    below = np.clip((body.shoulder[1] + 0.05 - points[..., 1]) / 0.05, 0.0, 1.0)
    lack = (body.chest(points[..., 1]) + FLESH - points[..., 2]) * within * below
    push = np.array([0.0, 0.0, 1.0]) * np.maximum(lack.max(-1), 0.0)[..., None]
    side = body.waist + 0.6 * FLESH - elbow[..., 0]
    return 1.2 * np.maximum(side, 0.0), push


def _soft(x: Array) -> Array:
    """A ramp with a round corner."""
    return 0.5 * (x + np.sqrt(x * x + 0.04))


def _dot(one: Array, other: Array) -> Array:
    return (one * other).sum(-1)


def _unit(vector: Array) -> Array:
    return vector / np.maximum(np.sqrt(_dot(vector, vector)), 1e-9)[..., None]


def _apply(turn: Array, vector: Array) -> Array:
    """Rotations (..., 3, 3) of vectors (..., 3)."""
    return (turn @ vector[..., None])[..., 0]


def _rotation(vector: Array) -> Array:
    """(..., 3, 3) by axis-angle (..., 3): Rodrigues' formula, as kernels.skin.reference.axis_angle."""
    angle = np.sqrt(_dot(vector, vector))[..., None, None]
    x, y, z = np.moveaxis(vector, -1, 0) / np.maximum(angle[..., 0, 0], 1e-12)
    o = np.zeros_like(x)
    cross = np.stack([o, -z, y, z, o, -x, -y, x, o], axis=-1).reshape(*vector.shape[:-1], 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def _frame(first: Array, normal: Array) -> Array:
    """(..., 3, 3) rotation whose first two columns are these perpendicular unit vectors."""
    return np.stack([first, normal, np.cross(first, normal)], axis=-1)


def _turn_about(axis: Array, start: Array, goal: Array) -> Array:
    """Angle (..., 1) about ``axis`` (3,) that brings ``start`` (3,) nearest to ``goal`` (..., 3), within TWIST.

    Soft where it is undefined (a goal along the axis) and where it is as far one way as the other, so that it never
    jumps.
    """
    across = start - (start @ axis) * axis
    wanted = goal - (goal @ axis)[..., None] * axis
    angle = np.arctan2(np.cross(across, wanted) @ axis, wanted @ across)
    size = np.sqrt(_dot(wanted, wanted)) / np.maximum(np.sqrt(_dot(goal, goal)), 1e-9)
    either = np.clip((np.pi - np.abs(angle)) / EITHER, 0.0, 1.0)
    sure = np.minimum(size / 0.35, 1.0) * either * either * (3.0 - 2.0 * either)
    return np.asarray(np.clip(angle, -TWIST, TWIST) * sure)[..., None]


def _log(turn: Array) -> Array:
    """Axis-angle (..., 3) of rotations (..., 3, 3) of less than half a turn."""
    parts = [turn[..., 2, 1] - turn[..., 1, 2], turn[..., 0, 2] - turn[..., 2, 0], turn[..., 1, 0] - turn[..., 0, 1]]
    vector = np.stack(parts, axis=-1)
    sine, cosine = 0.5 * np.sqrt(_dot(vector, vector)), 0.5 * (np.trace(turn, axis1=-2, axis2=-1) - 1.0)
    angle = np.arctan2(sine, cosine)
    return vector * np.where(sine > 1e-7, angle / (2 * np.maximum(sine, 1e-7)), 0.5)[..., None]
