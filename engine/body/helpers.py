"""Helper bones: joints that share a bend or a twist with their neighbours, so that limbs keep their volume.

A wrist that turns over twists the whole forearm, an elbow bends over a hand's breadth of skin. A pack may have bones
of these names; they follow a joint of the Motion and have no channel of their own. Swing-twist decomposition:
Dobrowolski 2015, eq. 6. Twist is the turn about the limb's own axis, swing the rest.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Vector = tuple[float, float, float]


class Helper(NamedTuple):
    """Bone ``driver``'s turn, as seen by its parent: a ``share`` of either its swing or its twist about an axis.

    The axis runs from the pivot of ``start`` to that of ``stop``. All names without their side.
    """

    driver: str
    start: str
    stop: str
    twist: bool
    share: float


HELPERS: Final = {
    "armpit": Helper("shoulder", "shoulder", "elbow", False, 0.5),
    "deltoid": Helper("shoulder", "shoulder", "elbow", False, 1.0),
    "crook": Helper("elbow", "elbow", "wrist", False, 0.5),
    "forearm": Helper("wrist", "elbow", "wrist", True, 0.5),
    "cuff": Helper("wrist", "elbow", "wrist", True, 1.0),
}
PARENT: Final = {"armpit": "clavicle", "deltoid": "clavicle", "crook": "shoulder", "forearm": "elbow", "cuff": "elbow"}


def swing_twist(turn: Vector, axis: Vector) -> tuple[Vector, float]:
    """(swing as axis-angle, twist angle) of the rotation ``turn`` = swing after twist about the unit ``axis``."""
    x, y, z = turn
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < 1e-9:
        return (0.0, 0.0, 0.0), 0.0
    s, w = math.sin(0.5 * angle) / angle, math.cos(0.5 * angle)
    x, y, z = x * s, y * s, z * s
    i, j, k = axis
    along = x * i + y * j + z * k
    twist = 2.0 * math.atan2(along, w)
    if twist > math.pi:
        twist -= 2.0 * math.pi
    elif twist < -math.pi:
        twist += 2.0 * math.pi
    # swing = turn * conjugate(twist)
    c, t = math.cos(0.5 * twist), math.sin(0.5 * twist)
    i, j, k = i * t, j * t, k * t
    sw = w * c + x * i + y * j + z * k
    sx = x * c - w * i - (y * k - z * j)
    sy = y * c - w * j - (z * i - x * k)
    sz = z * c - w * k - (x * j - y * i)
    size = math.sqrt(sx * sx + sy * sy + sz * sz)
    if size < 1e-9:
        return (0.0, 0.0, 0.0), twist
    full = 2.0 * math.atan2(size, abs(sw)) / size * math.copysign(1.0, sw)
    return (sx * full, sy * full, sz * full), twist


class HelperBones:
    """The helper bones of one skeleton: where they are and what they follow. Immutable."""

    def __init__(self, bones: tuple[str, ...], pivot: F64) -> None:
        index = {bone: place for place, bone in enumerate(bones)}
        self.rows: list[tuple[int, int, Vector, bool, float]] = []
        for place, bone in enumerate(bones):
            name, side = bone[:-2], bone[-2:]
            if name not in HELPERS or side not in ("_l", "_r"):
                continue
            helper = HELPERS[name]
            axis = pivot[index[helper.stop + side]] - pivot[index[helper.start + side]]
            x, y, z = (float(v) for v in axis / max(float(np.linalg.norm(axis)), 1e-9))
            self.rows.append((place, index[helper.driver + side], (x, y, z), helper.twist, helper.share))

    def turn(self, local: F64) -> None:
        """Fills the axis-angles of the helpers' rows of ``local`` (N, 6) from their drivers'."""
        for place, driver, axis, twists, share in self.rows:
            swing, twist = swing_twist(tuple(local[driver, :3].tolist()), axis)
            vector = tuple(v * twist for v in axis) if twists else swing
            local[place, :3] = (share * vector[0], share * vector[1], share * vector[2])
