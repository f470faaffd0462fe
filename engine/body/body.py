"""Body: one avatar's mesh, posed by a Motion. Face actions and lip residual first, then the skeleton.

Rest axes of every bone are the world's, so a joint's axis-angle is written in world directions and an
all-zero Motion is the rest pose. ``head`` turns the head by exactly its axis-angle relative to the torso; the
neck carries a share of it, so that the bend is spread as vertebrae spread it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import Avatar
from engine.body.helpers import HelperBones
from engine.motion.frame import ACTION_INDEX, JOINT_INDEX, JOINTS, K, Motion, R
from kernels.skin import cpu

Float = NDArray[np.float32]
NECK_SHARE: Final = 0.35  # of the head's turn, and of its translation, that happens at the neck bone
LID_FOLLOW: Final = (("Up", 0.45), ("Down", 0.50), ("In", 0.70), ("Out", 0.70))  # gaze (rad) at weight 1
HANDS: Final = ("hand_l", "hand_r")


@dataclass(slots=True)
class BodyPose:
    """One posed body and the scratch to compute the next: reuse it, one per session.

    vertices, normals (V, 3) in metres and unit length; bones (N, 3, 4) rest -> posed.
    """

    vertices: Float
    normals: Float
    bones: Float
    _weights: Float
    _moved: Float
    _total: Float
    _local: NDArray[np.float64]


class Body:
    """Poses one avatar. Immutable after construction, so sessions may share it; each owns a BodyPose."""

    def __init__(self, avatar: Avatar) -> None:
        self.bones = avatar.bones
        self.rest = np.ascontiguousarray(avatar.rest, np.float32)
        self.faces = np.ascontiguousarray(avatar.faces, np.int32)
        self.weld = np.ascontiguousarray(avatar.weld, np.int32)
        self._move_index = np.ascontiguousarray(avatar.move_index, np.int32)
        deltas = np.concatenate([avatar.deltas, avatar.residual]).astype(np.float32)
        self._deltas = np.ascontiguousarray(deltas.reshape(K + R, -1))
        self._skin_index = np.ascontiguousarray(avatar.skin_index, np.uint8)
        self._skin_weight = np.ascontiguousarray(avatar.skin_weight, np.float32)
        self._fixed = np.flatnonzero(avatar.normals_fixed).astype(np.int32)
        self._fixed_normal = np.ascontiguousarray(avatar.rest_normal[self._fixed], np.float32)
        self._parent = avatar.bone_parent.astype(np.int64)
        self._pivot = avatar.bone_pivot.astype(np.float64)
        self._hand = avatar.bone_hand.astype(np.float64)
        self._helpers = HelperBones(avatar.bones, self._pivot)
        index = {bone: place for place, bone in enumerate(avatar.bones)}
        self._neck, self._head = index["neck"], index["head"]
        self._eyes = [index["eye_l"], index["eye_r"]]
        self._joints = [(JOINT_INDEX[name], index[name]) for name in JOINTS if name not in HANDS]
        bends = np.abs(self._hand).max(axis=(1, 2)) > 0
        sides = np.array([bone[-2:] for bone in avatar.bones])
        self._fingers = [(JOINT_INDEX[hand], np.flatnonzero(bends & (sides == hand[-2:]))) for hand in HANDS]

    def anatomy(self) -> dict[str, Any]:
        """The skeleton as kernels/bones.skeleton takes it."""
        return {
            "parent": self._parent, "pivot": self._pivot, "hand": self._hand, "joints": self._joints,
            "fingers": self._fingers, "helpers": self._helpers.rows, "neck": self._neck, "head": self._head,
            "eyes": self._eyes,
        }  # fmt: skip

    def deltas(self) -> Float:
        """(K + R, M, 3) metres that each action and lip residual at weight 1 moves the vertices that move."""
        return self._deltas.reshape(K + R, -1, 3)

    def allocate(self) -> BodyPose:
        """A BodyPose at rest."""
        count, bones = len(self.rest), len(self.bones)
        empty = (np.zeros((count, 3), np.float32) for _ in range(3))
        vertices, normals, total = empty
        pose = BodyPose(
            vertices, normals, np.zeros((bones, 3, 4), np.float32), np.zeros(K + R, np.float32),
            np.zeros(self._deltas.shape[1], np.float32), total, np.zeros((bones, 6)),
        )  # fmt: skip
        return self.pose(Motion.rest(), pose)

    def pose(self, motion: Motion, out: BodyPose | None = None) -> BodyPose:
        """Poses the body by ``motion`` (values outside their channel's range are clipped) into ``out``."""
        out = out or self.allocate()
        motion = motion.clipped()
        out._weights[:K], out._weights[K:] = motion.face, motion.lip
        _follow_gaze(out._weights, motion.gaze)
        self._turn_bones(motion, out)
        cpu.blend(self.rest, self._move_index, self._deltas, out._weights, out._moved, out.vertices)
        cpu.skin(out.vertices, self._skin_index, self._skin_weight, out.bones)
        cpu.normals(out.vertices, self.faces, self.weld, out._total, out.normals)
        cpu.rotate(self._fixed, self._fixed_normal, self._skin_index, self._skin_weight, out.bones, out.normals)
        return out

    def _turn_bones(self, motion: Motion, out: BodyPose) -> None:
        """Axis-angle and translation of every bone, then forward kinematics into ``out.bones``."""
        local = out._local
        local[:] = 0.0
        for joint, bone in self._joints:
            local[bone, :3] = motion.joints[joint]
        for joint, fingers in self._fingers:
            local[fingers, :3] = np.einsum("c,nci->ni", motion.joints[joint], self._hand[fingers])
        local[self._head, :3] = (1.0 - NECK_SHARE) * motion.head[:3]  # same axis: the shares compose exactly
        local[self._head, 3:] = (1.0 - NECK_SHARE) * motion.head[3:]
        local[self._neck, 3:] = NECK_SHARE * motion.head[3:]
        yaw, pitch = motion.gaze
        local[self._eyes, :3] = (-pitch, yaw, 0.0)
        self._helpers.turn(local)
        cpu.forward_kinematics(
            self._parent, self._pivot, local, self._neck, NECK_SHARE * motion.head[:3].astype(np.float64),
            out.bones,
        )  # fmt: skip


def _follow_gaze(weights: Float, gaze: Float) -> None:
    """Lids follow the eyes: raises the eyeLook* actions to what the gaze asks for, in place."""
    yaw, pitch = float(gaze[0]), float(gaze[1])
    for side, outward in (("Left", yaw), ("Right", -yaw)):  # the avatar's left eye turns outward to +x
        amounts = {"Up": pitch, "Down": -pitch, "Out": outward, "In": -outward}
        for name, full in LID_FOLLOW:
            index = ACTION_INDEX[f"eyeLook{name}{side}"]
            weights[index] = max(weights[index], min(amounts[name] / full, 1.0))
