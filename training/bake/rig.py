"""The engine's small skeleton out of the prior's 163 bones."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import BONES
from engine.body import helpers
from training.bake.brush import ease
from training.bake.prior import EYE_L, EYE_R, Person

Array = NDArray[Any]
FINGERS: Final = ("thumb", "index", "middle", "ring", "little")  # the prior's finger1..finger5
# Axis-angle size (rad) of each joint of a finger at curl 1, and the sideways turn of its first joint at spread 1.
CURL: Final = (1.15, 1.35, 0.85)
SPREAD: Final = {"index": 0.22, "middle": 0.04, "ring": -0.14, "little": -0.30}
PARENT: Final = {
    "root": "", "spine": "root", "neck": "spine", "head": "neck", "eye_l": "head", "eye_r": "head",
    "clavicle_l": "spine", "clavicle_r": "spine", "shoulder_l": "clavicle_l", "shoulder_r": "clavicle_r",
    "elbow_l": "shoulder_l", "elbow_r": "shoulder_r", "wrist_l": "elbow_l", "wrist_r": "elbow_r",
}  # fmt: skip
PIVOT: Final = {
    "root": "spine05", "spine": "spine03", "neck": "neck01", "head": "head", "clavicle_l": "clavicle.L",
    "clavicle_r": "clavicle.R", "shoulder_l": "upperarm01.L", "shoulder_r": "upperarm01.R",
    "elbow_l": "lowerarm01.L", "elbow_r": "lowerarm01.R", "wrist_l": "wrist.L", "wrist_r": "wrist.R",
}  # fmt: skip


class Rig:
    """Names, parents, pivots and hand axes of the engine's bones, and the way from the prior's weights."""

    def __init__(self, person: Person) -> None:
        fingers = [f"{f}{k}_{side}" for side in "lr" for f in FINGERS for k in (1, 2, 3)]
        self.names = [*BONES, *fingers, *(f"{name}_{side}" for side in "lr" for name in helpers.HELPERS)]
        self.index = {name: place for place, name in enumerate(self.names)}
        self.parent = np.array([self._parent_of(name) for name in self.names], np.int32)
        self.pivot = np.stack([self._pivot_of(name, person) for name in self.names]).astype(np.float32)
        self.hand = np.zeros((len(self.names), 3, 3), np.float32)
        for side in "lr":
            self._bend_hand(person, side)
        self._map = self._bone_map(person)

    def weights(self, person: Person, vertices: Array) -> Array:
        """Skin weights (n, N) of template vertices."""
        out = np.zeros((len(vertices), len(self.names)))
        for k in range(person.skin_index.shape[1]):
            out += person.skin_weight[vertices, k, None] * self._map[person.skin_index[vertices, k]]
        for side in "lr":
            self._share_limb(out, person.rest[vertices].astype(float), side)
        return out

    def _share_limb(self, weight: Array, points: Array, side: str) -> None:
        """Moves weight of one arm, in place, to the helper bones that spread its twist and its bends."""
        clavicle, shoulder, elbow, armpit, deltoid, crook, forearm, cuff = (
            self.index[f"{name}_{side}"]
            for name in ("clavicle", "shoulder", "elbow", "armpit", "deltoid", "crook", "forearm", "cuff")
        )
        upper = self._along(points, f"shoulder_{side}", f"elbow_{side}")
        lower = self._along(points, f"elbow_{side}", f"wrist_{side}")
        half = np.minimum(weight[:, shoulder], weight[:, elbow])
        weight[:, crook] = 2.0 * half
        weight[:, shoulder] -= half
        weight[:, elbow] -= half
        top = weight[:, shoulder] * (1.0 - ease(upper, 0.15, 0.85))
        weight[:, shoulder] -= top
        half = np.minimum(weight[:, clavicle], top)
        weight[:, armpit] = 2.0 * half
        weight[:, clavicle] -= half
        weight[:, deltoid] = top - half
        whole = weight[:, elbow].copy()
        weight[:, elbow] = whole * np.clip(1.0 - 2.0 * lower, 0.0, 1.0)
        weight[:, cuff] = whole * np.clip(2.0 * lower - 1.0, 0.0, 1.0)
        weight[:, forearm] = whole - weight[:, elbow] - weight[:, cuff]

    def _along(self, points: Array, start: str, stop: str) -> Array:
        """0 at one joint, 1 at the other: how far along a limb points (n, 3) lie."""
        low = self.pivot[self.index[start]].astype(float)
        axis = self.pivot[self.index[stop]] - low
        return (points - low) @ axis / (axis @ axis)

    def rigid(self, count: int, bone: str) -> Array:
        """Skin weights (count, N) of a piece that follows one bone."""
        out = np.zeros((count, len(self.names)))
        out[:, self.index[bone]] = 1.0
        return out

    def _parent_of(self, name: str) -> int:
        if name[:-2] in helpers.HELPERS:
            return self.index[helpers.PARENT[name[:-2]] + name[-2:]]
        if name in PARENT:
            return self.index[PARENT[name]] if PARENT[name] else -1
        finger, joint, side = name[:-3], int(name[-3]), name[-1]
        return self.index[f"wrist_{side}" if joint == 1 else f"{finger}{joint - 1}_{side}"]

    def _pivot_of(self, name: str, person: Person) -> Array:
        if name in ("eye_l", "eye_r"):
            return fit_sphere(person.rest[EYE_L if name == "eye_l" else EYE_R])[0]
        if name[:-2] in helpers.HELPERS:
            name = helpers.HELPERS[name[:-2]].driver + name[-2:]
        return person.bone_head[person.bone(PIVOT.get(name) or prior_finger(name))]

    def _bone_map(self, person: Person) -> Array:
        """(163, N): how much of each prior bone goes to each of ours."""
        out = np.zeros((len(person.bones), len(self.names)))
        for place, bone in enumerate(person.bones.tolist()):
            for name, share in _target(bone):
                out[place, self.index[name]] += share
        return out

    def _bend_hand(self, person: Person, side: str) -> None:
        """Curl turns a finger about the axis across the palm; the thumb opposes by its own channel."""
        base = {f: person.bone_head[person.bone(prior_finger(f"{f}1_{side}"))] for f in FINGERS}
        across = base["little"] - base["index"]
        across /= np.linalg.norm(across)
        wrist = person.bone_head[person.bone(prior_finger(f"wrist_{side}"))]
        along = base["middle"] - wrist
        palm = np.cross(across, along / np.linalg.norm(along)) * (1 if side == "l" else -1)
        palm /= np.linalg.norm(palm)  # out of the palm
        for finger in FINGERS:
            for k, size in enumerate(CURL, start=1):
                name = f"{finger}{k}_{side}"
                bone = person.bone(prior_finger(name))
                forward = person.bone_tail[bone] - person.bone_head[bone]
                forward /= np.linalg.norm(forward)
                axis = np.cross(forward, palm)
                axis /= np.linalg.norm(axis)
                row = self.hand[self.index[name]]
                if finger == "thumb":
                    row[2] = axis * size * (0.45, 0.45, 0.6)[k - 1]
                else:
                    row[0] = axis * size
                    if k == 1:
                        row[1] = palm * SPREAD[finger] * (1 if side == "l" else -1)


def prior_finger(name: str) -> str:
    """The prior's name of wrist_l, index2_r ..."""
    side = name[-1].upper()
    if name.startswith("wrist"):
        return f"wrist.{side}"
    return f"finger{FINGERS.index(name[:-3]) + 1}-{name[-3]}.{side}"


def fit_sphere(points: Array) -> tuple[Array, float]:
    """Least-squares sphere: centre (3,), radius."""
    system = np.c_[2 * points, np.ones(len(points))].astype(float)
    solution = np.linalg.lstsq(system, (points.astype(float) ** 2).sum(1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + (solution[:3] ** 2).sum()))


def _target(bone: str) -> list[tuple[str, float]]:
    side = "_l" if bone.endswith(".L") else "_r"
    stem = bone.split(".")[0]
    if stem.startswith("finger"):
        return [(f"{FINGERS[int(stem[6]) - 1]}{stem[8]}{side}", 1.0)]
    if stem in ("wrist",) or stem.startswith("metacarpal"):
        return [(f"wrist{side}", 1.0)]
    for prefix, name in (("lowerarm", "elbow"), ("upperarm", "shoulder"), ("shoulder", "clavicle"),
                         ("clavicle", "clavicle")):  # fmt: skip
        if stem.startswith(prefix):
            return [(name + side, 1.0)]
    if stem in ("spine01", "spine02", "spine03") or stem.startswith("breast"):
        return [("spine", 1.0)]
    if stem == "spine04":
        return [("spine", 0.5), ("root", 0.5)]
    if stem.startswith(("root", "pelvis", "upperleg", "lowerleg", "foot", "toe", "spine05")):
        return [("root", 1.0)]
    shares = {"neck01": 1.0, "neck02": 0.8, "neck03": 0.35}
    if stem in shares:
        return [("neck", shares[stem]), ("head", 1.0 - shares[stem])]
    return [("head", 1.0)]
