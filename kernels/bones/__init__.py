"""Bones: a Motion to the posed skeleton of one body and the weights of its shapes, lids following the gaze.

``reference`` says what is computed, ``kernel.cu`` computes it; the model is engine/body/body.py. ``skeleton`` makes
what a body brings along, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels import layout

Array = NDArray[Any]
MOST: Final = 64  # bones; as in kernel.cu
NECK, HEAD, EYE = 1, 2, 3  # roles
Helper = tuple[int, int, Sequence[float], bool, float]


def skeleton(
    parent: Array, pivot: Array, hand: Array, joints: Iterable[tuple[int, int]],
    fingers: Iterable[tuple[int, Sequence[int] | Array]], helpers: Iterable[Helper], neck: int, head: int,
    eyes: Iterable[int],
) -> tuple[Array, int]:  # fmt: skip
    """N bones as an array of struct Bone, (N,), and how many levels of parents they have.

    parent (N,), -1 none, parents before children; pivot (N, 3) metres; hand (N, 3, 3) axis-angle per unit of curl,
    spread and thumb. ``joints``: (joint of the Motion, bone it turns). ``fingers``: (joint of a hand, bones it bends).
    ``helpers``: (bone, the bone it follows, unit axis, whether it takes the twist or the swing, share). Raises
    ValueError for more than MOST bones and for a parent that comes after its child.
    """
    if len(parent) > MOST:
        raise ValueError(f"the kernel poses {MOST} bones at most, got {len(parent)}")
    bones = np.zeros(len(parent), layout.struct("bones", "Bone"))
    bones["parent"], bones["pivot"], bones["hand"] = parent, pivot, np.reshape(hand, (-1, 9))
    bones["joint"] = bones["finger"] = bones["driver"] = -1
    for n, above in enumerate(parent):
        if above >= n:
            raise ValueError(f"bone {n} has the parent {above}: parents come first")
        bones["level"][n] = 0 if above < 0 else bones["level"][above] + 1
    for joint, bone in joints:
        bones["joint"][bone] = joint
    for joint, bent in fingers:
        bones["finger"][bent] = joint
    for bone, driver, axis, twists, share in helpers:
        for name, value in (("driver", driver), ("axis", axis), ("twists", twists), ("share", share)):
            bones[name][bone] = value
    bones["role"][neck], bones["role"][head], bones["role"][list(eyes)] = NECK, HEAD, EYE
    return bones, int(bones["level"].max()) + 1
