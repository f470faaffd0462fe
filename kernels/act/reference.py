"""What acting is, the boring way: NumPy in float64, one session, one frame, one formula a line.

``rules`` and ``manners`` are mappings with the fields of the structs Rules and Manners of kernel.cu.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FACE, LIP, GAZE, HEAD, JOINTS, MOTION = slice(0, 52), slice(52, 60), slice(60, 62), slice(62, 68), slice(68, 104), 104
LARGEST = float(np.finfo(np.float32).max)


def act(
    rules: Mapping[str, Any], manners: Mapping[str, Any], lips: Array, contact: Array | None, made: Array
) -> tuple[Array, int]:
    """lips (52,) and contact (2,) of the lip network, made (2, 96) of the performer -> the Motion (104,) inside every
    channel's range, and how many of its values were not."""
    outside, motion = manners["outside"], numbers(manners["motion"])
    mouth = rules["mouth"] != 0
    row = numbers(made[manners["place"]])
    if outside == 2:
        lips, contact = manners["motion"][FACE], None
    elif manners["voice"] < 1.0:
        lips = np.where(mouth, lips * manners["voice"], lips)
    expression = {0: row[:52], 1: np.where(rules["said"] != 0, 0.0, motion[FACE]), 2: np.zeros(52)}[outside]

    whole = np.zeros(MOTION)
    whole[FACE] = _blend(rules, manners, numbers(lips), expression, contact)
    if outside:
        whole[LIP.start :] = manners["motion"][LIP.start :]
    else:
        _look(rules, manners, row, whole)
    clipped = np.clip(numbers(whole), rules["low"], rules["high"])
    return clipped.astype(np.float32), int((whole != clipped).sum())


def numbers(values: Array) -> Array:
    """In float64 with NaN read as zero and infinity as the largest float32."""
    return np.clip(np.nan_to_num(np.asarray(values, np.float64), nan=0.0), -LARGEST, LARGEST)


def _blend(
    rules: Mapping[str, Any], manners: Mapping[str, Any], lips: Array, expression: Array, contact: Array | None
) -> Array:
    """One face of lips and expression; where the lips meet they meet again."""
    mouth, level, hush, close = rules["mouth"] != 0, manners["level"], manners["hush"], rules["close"]
    if contact is None:
        need = _need(rules, lips)
        closure, labiodental = 0.0 if need < rules["small"] else min(lips[close] / need, 1.0), 0.0
    else:
        closure, labiodental = float(contact[0]), float(contact[1])
    keep = 1.0 - rules["lost"] * level
    around = mouth & (np.arange(52) != rules["jaw"])
    keep = np.where(around, keep * (1.0 - rules["yielding"] * max(closure, labiodental) * level), keep)
    if hush > 0.0:
        keep, lips = np.where(mouth, keep * (1.0 - hush), keep), np.where(mouth, lips * (1.0 - hush), lips)
    face = np.clip(keep * expression + lips, 0.0, 1.0)
    free, share = 1.0, np.zeros(52)
    if manners["by_hand"]:
        share = manners["share"]
        face = face + share * (manners["weight"] - face)
        free = 1.0 - max(share[rules["jaw"]], share[close])
    if share[close] == 0.0:
        face[close] = _need(rules, face) * max(closure * (1.0 - hush), 2.0 * hush - 1.0, 0.0) * free
    return np.asarray(face)


def _need(rules: Mapping[str, Any], face: Array) -> float:
    """The mouthClose that shuts this mouth, whatever mouthClose it has."""
    full = -float(rules["gap"][rules["close"]])
    gap = float(face @ rules["gap"].astype(np.float64)) + rules["rest_gap"] + face[rules["close"]] * full
    return min(max((gap + rules["pressed"]) / full, 0.0), 1.0)


def _look(rules: Mapping[str, Any], manners: Mapping[str, Any], row: Array, whole: Array) -> None:
    """Head, joints and eyes of a performance ``row`` into ``whole``."""
    (pitch, yaw, roll), aim = manners["follow"], manners["aim"]
    head = row[54:60] * manners["head"] + np.array([pitch, yaw, roll, 0.03 * yaw, 0.0, 0.02 * pitch])
    joints = row[60:].reshape(12, 3)
    trunk = joints[rules["spine"]] + joints[rules["neck"]]
    free = 1.0 - (1.0 - rules["wander"]) * manners["held"]
    eyes = [aim[0] + free * row[52] - head[1] - trunk[1], aim[1] + free * row[53] + head[0] + trunk[0]]
    whole[GAZE] = np.clip(eyes, -rules["eyes"], rules["eyes"])
    whole[HEAD] = head
    whole[JOINTS] = (joints * np.where(rules["arms"] != 0, manners["gesture"], 1.0)[:, None]).ravel()
