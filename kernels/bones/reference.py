"""What posing a skeleton is, the boring way: NumPy in float64, one body, rotation matrices instead of quaternions.

Swing and twist: Dobrowolski 2015. Matrices take a rest position to its posed position.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.bones import EYE, HEAD, NECK
from kernels.skin.reference import axis_angle, forward_kinematics

Array = NDArray[Any]


def bones(motion: Array, skeleton: Array, neck_share: float) -> Array:
    """motion (104,) in every channel's range, skeleton (N,) of struct Bone -> posed bones (N, 3, 4)."""
    gaze, head, joints = motion[60:62], motion[62:68].astype(np.float64), motion[68:].reshape(-1, 3)
    local = np.zeros((len(skeleton), 6))
    for row, bone in zip(local, skeleton, strict=True):
        if bone["joint"] >= 0:
            row[:3] = joints[bone["joint"]]
        if bone["finger"] >= 0:
            row[:3] = joints[bone["finger"]] @ bone["hand"].reshape(3, 3)
        if bone["role"] == NECK:
            row[3:] = neck_share * head[3:]
        if bone["role"] == HEAD:
            row[:] = (1.0 - neck_share) * head
        if bone["role"] == EYE:
            row[:3] = -gaze[1], gaze[0], 0.0
    for row, bone in zip(local, skeleton, strict=True):
        if bone["driver"] >= 0:
            row[:3] = bone["share"] * _part(local[bone["driver"], :3], bone["axis"], bool(bone["twists"]))
    neck = int(np.flatnonzero(skeleton["role"] == NECK)[0])
    return forward_kinematics(skeleton["parent"], skeleton["pivot"], local, neck, neck_share * head[:3])


def weights(motion: Array, lid: Array, lid_gain: Array) -> Array:
    """(60,) actions and lip residual; action ``lid[i]`` is at least ``lid_gain[i]`` (2,) times the gaze, up to 1."""
    out = motion[:60].copy()
    for action, gain in zip(lid, lid_gain, strict=True):
        out[action] = max(out[action], min(float(gain @ motion[60:62]), 1.0))
    return out


def _part(turn: Array, axis: Array, twists: bool) -> Array:
    """Axis-angle of the twist of ``turn`` about ``axis``, or of the swing that is left."""
    whole = axis_angle(turn)
    # The twist is the turn about the axis that brings the matrix closest: tan = axis . antisymmetric / trace's part.
    skew = np.array([whole[2, 1] - whole[1, 2], whole[0, 2] - whole[2, 0], whole[1, 0] - whole[0, 1]])
    twist = 2.0 * np.arctan2(axis @ skew, 1.0 + np.trace(whole))
    if twists:
        return np.asarray(twist * axis)
    swing = whole @ axis_angle(twist * axis).T
    skew = np.array([swing[2, 1] - swing[1, 2], swing[0, 2] - swing[2, 0], swing[1, 0] - swing[0, 1]])
    size = float(np.linalg.norm(skew))
    return skew * (np.arctan2(size, np.trace(swing) - 1.0) / max(size, 1e-12))
