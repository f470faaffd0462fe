"""What a sound avatar pack looks like: checks on its text and on its arrays, each problem a sentence."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.avatar import BONES, FIELDS, FORMAT, MAX_BONES, Field, Meta

Array = NDArray[Any]
SIZES = {"vertices": "V", "faces": "F", "moving": "M", "bones": "N"}
MAX_VERTICES = 200_000


def check_table(table: dict[str, Any]) -> list[str]:
    """Problems of a parsed avatar.toml. A newer format is refused before anything else is looked at."""
    section = table.get("avatar")
    if not isinstance(section, dict):
        return ["the section [avatar] is missing"]
    version = section.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        return [f"[avatar] format must be a whole number from 1, got {version!r}"]
    if version > FORMAT:
        return [f"the pack has format {version}, this engine reads up to {FORMAT}: upgrade visavis"]
    names = [f.name for f in fields(Meta) if f.name not in ("look", "path")]
    problems = [
        f"[avatar] {name} must be text, got {section.get(name)!r}"
        for name in names
        if not isinstance(section.get(name), str) or not section[name]
    ]
    problems += [f"[avatar] unknown key {key!r}" for key in section if key not in (*names, "format")]
    look = table.get("look", {})
    if not isinstance(look, dict) or not all(isinstance(value, str) for value in look.values()):
        problems.append("[look] must hold text values only")
    sizes = table.get("sizes")
    for name in (*SIZES, "texture"):
        value = sizes.get(name) if isinstance(sizes, dict) else None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            problems.append(f"[sizes] {name} must be a whole number from 1, got {value!r}")
    return problems + _check_bones(table.get("skeleton"))


def _check_bones(skeleton: Any) -> list[str]:
    bones = skeleton.get("bones") if isinstance(skeleton, dict) else None
    if not isinstance(bones, list) or not all(isinstance(bone, str) for bone in bones):
        return ["[skeleton] bones must be a list of names"]
    if len(bones) > MAX_BONES or len(set(bones)) != len(bones):
        return [f"[skeleton] bones must be at most {MAX_BONES} different names, got {len(bones)}"]
    missing = [bone for bone in BONES if bone not in bones]
    return [f"[skeleton] bones lacks {', '.join(missing)}"] if missing else []


def check_body(body: dict[str, Array], bones: tuple[str, ...], sizes: dict[str, int]) -> list[str]:
    """Problems of the arrays of body.safetensors: type, shape, range, index bounds, and how they fit together."""
    expected = {symbol: sizes[name] for name, symbol in SIZES.items()}
    problems = []
    if expected["N"] != len(bones):
        problems.append(f"[sizes] bones is {expected['N']}, [skeleton] names {len(bones)}")
    if expected["V"] > MAX_VERTICES:
        problems.append(f"{expected['V']} vertices, at most {MAX_VERTICES} are allowed")
    for spec in FIELDS:
        if spec.name in body:
            problems += _check_field(spec, body[spec.name], expected)
    if problems or len(body) < len(FIELDS):
        return problems
    return _check_relations(body)


def _check_field(spec: Field, values: Array, sizes: dict[str, int]) -> list[str]:
    shape = tuple(sizes[side] if isinstance(side, str) else side for side in spec.shape)
    if values.shape != shape:
        return [f"{spec.name} has shape {values.shape}, expected {shape}"]
    if values.dtype != np.dtype(spec.dtype):
        return [f"{spec.name} has type {values.dtype}, expected {spec.dtype}"]
    if values.size == 0:
        return []
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return [f"{spec.name} holds {int((~np.isfinite(values)).sum())} values that are not finite"]
    high = sizes[spec.upper] - 1 if spec.upper else spec.high
    low, top = float(values.min()), float(values.max())
    if low < spec.low or top > high:
        return [f"{spec.name} runs from {low:g} to {top:g}, expected {spec.low:g} to {high:g}"]
    return []


def _check_relations(body: dict[str, Array]) -> list[str]:
    problems = []
    error = float(np.abs(body["skin_weight"].sum(1, dtype=np.float64) - 1).max())
    if error > 1e-3:
        problems.append(f"skin_weight rows must sum to 1, one is off by {error:.3g}")
    parent = body["bone_parent"]
    if parent[0] != -1 or (parent[1:] < 0).any() or (parent >= np.arange(len(parent))).any():
        problems.append("bone_parent: the first bone is the root (-1), every other comes after its parent")
    if len(np.unique(body["move_index"])) != len(body["move_index"]):
        problems.append("move_index names a vertex twice")
    weld = body["weld"]
    if (weld[weld] != weld).any():
        problems.append("weld must name vertices that stand for themselves")
    faces = body["faces"]
    same = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    if same.any():
        problems.append(f"{int(same.sum())} faces use a vertex twice")
    lengths = np.linalg.norm(body["rest_normal"][body["normals_fixed"] > 0].astype(np.float32), axis=1)
    if lengths.size and np.abs(lengths - 1).max() > 0.02:
        problems.append("rest_normal must have unit length where normals_fixed is set")
    return problems
