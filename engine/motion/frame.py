"""Motion: what a body does in one video frame. The seam between the two halves of the engine.

Anything that makes Motion (a voice, a webcam, a script) can drive anything that paints it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# ARKit blend shape locations, in Apple's order (developer.apple.com, ARFaceAnchor.BlendShapeLocation).
ACTIONS: Final[tuple[str, ...]] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose",
    "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
)  # fmt: skip
ACTION_INDEX: Final = {name: index for index, name in enumerate(ACTIONS)}

# _l and _r are the avatar's own left and right. Axis-angle in radians, in the parent joint's rest frame;
# the two hand rows are (curl, spread, thumb) in [0, 1].
JOINTS: Final[tuple[str, ...]] = (
    "spine", "neck", "clavicle_l", "clavicle_r", "shoulder_l", "shoulder_r", "elbow_l", "elbow_r",
    "wrist_l", "wrist_r", "hand_l", "hand_r",
)  # fmt: skip
JOINT_INDEX: Final = {name: index for index, name in enumerate(JOINTS)}

K: Final = len(ACTIONS)
R: Final = 8
J: Final = len(JOINTS)


class Channel(NamedTuple):
    """One field of a Motion: its shape, the range values are clipped to, the unit, and what it says."""

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    unit: str
    meaning: str


CHANNELS: Final[tuple[Channel, ...]] = (
    Channel("face", (K,), 0.0, 1.0, "weight", "ARKit face actions, in the order of ACTIONS"),
    Channel("lip", (R,), -3.0, 3.0, "std", "lip residual: what the 52 actions cannot say, in standard deviations"),
    Channel(
        "gaze",
        (2,),
        -0.7,
        0.7,
        "rad",
        "eye yaw (+ to the viewer's right) and pitch (+ up), on top of the head",
    ),
    Channel("head", (6,), -1.5, 1.5, "rad, m", "head rotation as axis-angle, then its translation"),
    Channel("joints", (J, 3), -3.2, 3.2, "rad", "axis-angle per joint of JOINTS; hand rows: curl, spread, thumb"),
)
SIZES: Final = tuple(math.prod(channel.shape) for channel in CHANNELS)
SIZE: Final = sum(SIZES)
LOWEST: Final = np.repeat([np.float32(channel.low) for channel in CHANNELS], SIZES)
HIGHEST: Final = np.repeat([np.float32(channel.high) for channel in CHANNELS], SIZES)


@dataclass(frozen=True, slots=True)
class Motion:
    """One frame of motion, float32. Shapes: face (K,), lip (R,), gaze (2,), head (6,), joints (J, 3)."""

    face: Array
    lip: Array
    gaze: Array
    head: Array
    joints: Array

    @staticmethod
    def rest() -> Motion:
        """The neutral pose: every channel zero."""
        return Motion.unpack(np.zeros(SIZE, np.float32))

    def pack(self) -> Array:
        """All channels as one flat vector, (SIZE,) float32, in the order of CHANNELS."""
        return np.concatenate([np.ravel(getattr(self, channel.name)) for channel in CHANNELS]).astype(np.float32)

    @staticmethod
    def unpack(flat: Array) -> Motion:
        """The inverse of :meth:`pack`. Raises ValueError when ``flat`` is not (SIZE,)."""
        if flat.shape != (SIZE,):
            raise ValueError(f"a packed Motion has shape ({SIZE},), got {flat.shape}")
        flat, parts, start = np.asarray(flat, np.float32), [], 0
        for channel, size in zip(CHANNELS, SIZES, strict=True):
            parts.append(flat[start : start + size].reshape(channel.shape))
            start += size
        return Motion(*parts)

    def clipped(self) -> Motion:
        """The same motion inside every channel's range, with NaN read as zero: always safe to paint."""
        parts = [getattr(self, channel.name) for channel in CHANNELS]
        for values, channel in zip(parts, CHANNELS, strict=True):
            if values.shape != channel.shape:
                raise ValueError(f"Motion.{channel.name} has shape {channel.shape}, got {values.shape}")
        flat = np.concatenate([values.ravel() for values in parts])
        return Motion.unpack(np.clip(numbers(flat), LOWEST, HIGHEST).astype(np.float32))


def numbers(values: Array) -> Array:
    """The same values (n,) with NaN read as zero; the same array when there is none."""
    return values if np.isfinite(values).all() else np.nan_to_num(values, nan=0.0)


assert tuple(f.name for f in fields(Motion)) == tuple(c.name for c in CHANNELS)
