"""Avatar pack: one person as a folder. ``load``, ``describe``, ``check``, ``save``, ``find``, ``available``.

    avatar.toml             who it is, under what licence, sizes, skeleton names
    body.safetensors        mesh, face actions, skeleton        (metres; coordinates of engine/viewpoint.py)
    appearance.safetensors  colour and surface textures, compressed
    background.png  preview.png
    reference.safetensors   photographs for the neural renderer; may be absent (engine/avatar_reference.py)

Nothing is drawn or posed here: that is engine/body and engine/render. Every array is described in FIELDS.
"""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from engine import avatar_reference, image
from engine.avatar_reference import Reference
from engine.motion.frame import K, R

Array = NDArray[Any]
FORMAT: Final = 1
SHIPPED: Final = Path(__file__).parent / "assets" / "avatars"
MAX_BYTES: Final = 64 << 20  # a larger file is refused before it is read
REGIONS: Final = (
    "background", "face", "lips", "mouth", "teeth", "tongue", "eyes", "brows", "lashes", "hair", "neck_ears",
    "torso", "arms", "hands", "accessories",
)  # fmt: skip
BONES: Final = (
    "root", "spine", "neck", "head", "eye_l", "eye_r", "clavicle_l", "clavicle_r", "shoulder_l", "shoulder_r",
    "elbow_l", "elbow_r", "wrist_l", "wrist_r",
)  # fmt: skip
MAX_BONES: Final = 64


class AvatarError(ValueError):
    """A pack cannot be used. The message names the file, what was found and what to do."""


@dataclass(frozen=True, slots=True)
class Meta:
    """Who an avatar is: the text of avatar.toml. ``look`` is free (eye colour, clothes ...)."""

    id: str
    name: str
    version: str
    licence: str
    author: str
    consent: str
    provenance: str
    description: str
    look: dict[str, str] = field(default_factory=dict)
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One stored array: shape symbols (V vertices, F faces, M moving, N bones, or a number), type and range."""

    name: str
    shape: tuple[str | int, ...]
    dtype: str
    low: float
    high: float
    upper: str = ""  # the size that values must stay below, for indices


FIELDS: Final = (
    Field("rest", ("V", 3), "float32", -3, 3),  # metres, arms hanging
    Field("faces", ("F", 3), "int32", 0, np.inf, "V"),  # counter-clockwise seen from outside
    Field("uv", ("V", 2), "float32", 0, 1),  # v = 0 is the top row of the texture
    Field("region", ("F",), "uint8", 0, len(REGIONS) - 1),
    Field("layer", ("F",), "uint8", 0, 1),  # 0 opaque, 1 blended with the albedo's alpha
    Field("weld", ("V",), "int32", 0, np.inf, "V"),  # the vertex that shares this one's normal
    Field("move_index", ("M",), "int32", 0, np.inf, "V"),
    Field("deltas", (K, "M", 3), "float16", -0.5, 0.5),  # metres at weight 1, order of ACTIONS
    Field("residual", (R, "M", 3), "float16", -0.5, 0.5),  # metres per standard deviation
    Field("bone_parent", ("N",), "int32", -1, np.inf, "N"),
    Field("bone_pivot", ("N", 3), "float32", -3, 3),
    Field("bone_hand", ("N", 3, 3), "float32", -3.2, 3.2),  # axis-angle per unit of curl, spread, thumb
    Field("skin_index", ("V", 4), "uint8", 0, 255, "N"),
    Field("skin_weight", ("V", 4), "float32", 0, 1),  # rows sum to 1
    Field("normals_fixed", ("V",), "uint8", 0, 1),  # 1: rest_normal turned with the bones, e.g. hair
    Field("rest_normal", ("V", 3), "float16", -1.01, 1.01),
)
TEXTURES: Final = ("albedo", "surface")


@dataclass(frozen=True, slots=True)
class Avatar:
    """One person, in memory. Arrays are described in FIELDS; textures are (S, S, 4) uint8.

    albedo: sRGB + alpha. surface: ambient occlusion, gloss, subsurface, strand (255: hair along texture v).
    """

    meta: Meta
    bones: tuple[str, ...]
    rest: Array
    faces: Array
    uv: Array
    region: Array
    layer: Array
    weld: Array
    move_index: Array
    deltas: Array
    residual: Array
    bone_parent: Array
    bone_pivot: Array
    bone_hand: Array
    skin_index: Array
    skin_weight: Array
    normals_fixed: Array
    rest_normal: Array
    albedo: Array
    surface: Array
    background: Array  # (h, w, 3) uint8
    preview: Array  # (512, 512, 3) uint8
    reference: Any = None  # Reference | None; callers that give arrays by name give all but this one


def load(path: Path | str) -> Avatar:
    """Reads and checks a pack. Raises AvatarError when anything in it is missing, broken or newer."""
    folder = Path(path)
    parts, problems = _read(folder)
    if problems:
        more = f" (and {len(problems) - 1} more: visavis avatar check)" if len(problems) > 1 else ""
        raise AvatarError(f"{folder}: {problems[0]}{more}")
    return Avatar(**parts)


def describe(path: Path | str) -> Meta:
    """Who the avatar in a folder is, by its text alone. Raises AvatarError when that is missing or broken."""
    problems: list[str] = []
    meta = _read_meta(Path(path), problems)
    if meta is None:
        raise AvatarError(f"{path}: {problems[0]}")
    return meta


def check(path: Path | str) -> list[str]:
    """Every problem of a pack, as sentences; empty when it is fine. Never raises for a bad pack."""
    return _read(Path(path))[1]


def find(name: str, folders: Iterable[Path | str] = ()) -> Path:
    """The folder of the avatar called ``name`` (an id, or a path to a pack). Raises AvatarError if unknown."""
    known = {folder.name: folder for folder in _packs(folders)}
    if name in known:
        return known[name]
    if (Path(name) / "avatar.toml").is_file():
        return Path(name)
    called = {meta.id: meta.path for meta in available(folders) if meta.path is not None}
    if name in called:  # a folder may be called otherwise, as me.avatar is
        return called[name]
    raise AvatarError(f"no avatar named {name!r}: choose one of {', '.join(sorted(known)) or '(none found)'}")


def available(folders: Iterable[Path | str] = ()) -> list[Meta]:
    """The avatars shipped with the engine and those in ``folders``; a pack whose text is broken is left out."""
    metas = (_read_meta(folder, []) for folder in _packs(folders))
    return [meta for meta in metas if meta is not None]


def save(avatar: Avatar, path: Path | str) -> Path:
    """Writes a pack and returns its folder. Each file appears whole or not at all; an old pack is replaced.

    Textures are compressed (colour as JPEG, alpha as PNG): loading gives them back within a few levels.
    """
    folder = Path(path)
    body = {f.name: np.ascontiguousarray(getattr(avatar, f.name), dtype=f.dtype) for f in FIELDS}
    appearance = {}
    for name in TEXTURES:
        texture = getattr(avatar, name)
        appearance[f"{name}_jpg"] = np.frombuffer(image.encode_jpeg(texture[..., :3], quality=4), np.uint8)
        appearance[f"{name}_alpha_png"] = np.frombuffer(image.encode_png(texture[..., 3:]), np.uint8)
    content = {} if avatar.reference is None else {avatar_reference.FILE: avatar_reference.encode(avatar.reference)}
    content |= {
        "body.safetensors": save_tensors(body),
        "appearance.safetensors": save_tensors(appearance),
        "background.png": image.encode_png(avatar.background),
        "preview.png": image.encode_png(avatar.preview),
        "avatar.toml": _toml(avatar).encode(),  # last: a folder without it is no pack
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, folder / name)
    if avatar.reference is None:
        (folder / avatar_reference.FILE).unlink(missing_ok=True)
    return folder


def _packs(folders: Iterable[Path | str]) -> list[Path]:
    roots = [SHIPPED, *(Path(folder) for folder in folders)]
    return [file.parent for root in roots for file in sorted(root.glob("*/avatar.toml"))]


def _toml(avatar: Avatar) -> str:
    """A JSON string is a TOML basic string, so json.dumps quotes every value."""
    meta, lines = avatar.meta, ["[avatar]", f"format = {FORMAT}"]
    names = [f.name for f in fields(Meta) if f.name not in ("look", "path")]
    lines += [f"{name} = {json.dumps(getattr(meta, name), ensure_ascii=False)}" for name in names]
    sizes = {
        "vertices": len(avatar.rest), "faces": len(avatar.faces), "moving": len(avatar.move_index),
        "bones": len(avatar.bones), "texture": avatar.albedo.shape[0],
    }  # fmt: skip
    lines += ["", "[sizes]", *(f"{key} = {value}" for key, value in sizes.items())]
    lines += ["", "[skeleton]", f"bones = {json.dumps(list(avatar.bones))}"]
    lines += ["", "[look]", *(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in meta.look.items())]
    return "\n".join(lines) + "\n"


# --- reading: every step appends what is wrong to ``problems`` and goes on as far as it can -------------


def _read(folder: Path) -> tuple[dict[str, Any], list[str]]:
    from engine.avatar_check import check_body  # here, because it needs FIELDS from this module

    problems: list[str] = []
    table: dict[str, Any] = {}
    parts: dict[str, Any] = {"meta": _read_meta(folder, problems, table)}
    if problems:
        return parts, problems
    parts["bones"] = tuple(table["skeleton"]["bones"])
    body = _tensors(folder, "body.safetensors", [f.name for f in FIELDS], problems)
    problems += [f"body.safetensors: {text}" for text in check_body(body, parts["bones"], table["sizes"])]
    names = [f"{texture}_{kind}" for texture in TEXTURES for kind in ("jpg", "alpha_png")]
    packed = _tensors(folder, "appearance.safetensors", names, problems)
    for name in TEXTURES:
        parts[name] = _texture(name, packed, int(table["sizes"]["texture"]), problems)
    for name in ("background", "preview"):
        data = _bytes(folder / f"{name}.png", problems)
        if data is not None:
            parts[name] = _picture(data, 3, f"{name}.png", problems)
    if (folder / avatar_reference.FILE).exists():
        parts["reference"] = _read_reference(folder, problems)
    return parts | body, problems


def _read_reference(folder: Path, problems: list[str]) -> Reference | None:
    from engine.render.camera import FRAMINGS

    data = _bytes(folder / avatar_reference.FILE, problems)
    if data is None:
        return None
    try:
        return avatar_reference.decode(data, tuple(FRAMINGS), len(REGIONS))
    except ValueError as error:
        problems.append(f"{avatar_reference.FILE}: {error}. Without this file the pack is sound: remove it")
        return None


def _read_meta(folder: Path, problems: list[str], table: dict[str, Any] | None = None) -> Meta | None:
    from engine.avatar_check import check_table

    data = _bytes(folder / "avatar.toml", problems)
    if data is None:
        return None
    try:
        content = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        problems.append(f"avatar.toml: not readable as TOML: {error}")
        return None
    found = check_table(content)
    if found:
        problems += [f"avatar.toml: {text}" for text in found]
        return None
    if table is not None:
        table |= content
    text = {key: value for key, value in content["avatar"].items() if key != "format"}
    return Meta(**text, look=content.get("look", {}), path=folder)


def _bytes(path: Path, problems: list[str]) -> bytes | None:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            problems.append(f"{path.name}: {size} bytes, at most {MAX_BYTES} are read")
            return None
        return path.read_bytes()
    except OSError as error:
        problems.append(f"{path.name}: {error.strerror or error}: a pack is a folder with all five files")
        return None


def _tensors(folder: Path, name: str, expected: list[str], problems: list[str]) -> dict[str, Array]:
    data = _bytes(folder / name, problems)
    if data is None:
        return {}
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        problems.append(f"{name}: not a safetensors file: {error}")
        return {}
    problems += [f"{name}: the array {key!r} is missing" for key in expected if key not in tensors]
    problems += [f"{name}: unknown array {key!r}" for key in tensors if key not in expected]
    return {key: tensors[key] for key in expected if key in tensors}


def _texture(name: str, packed: dict[str, Array], size: int, problems: list[str]) -> Array | None:
    keys = {f"{name}_jpg": 3, f"{name}_alpha_png": 1}
    if not all(key in packed for key in keys):
        return None
    layers = []
    for key, channels in keys.items():
        place = f"appearance.safetensors: {key}"
        if packed[key].dtype != np.uint8 or packed[key].ndim != 1:
            problems.append(f"{place}: expected the bytes of a picture (1-D uint8)")
            return None
        picture = _picture(packed[key].tobytes(), channels, place, problems)
        if picture is None:
            return None
        if picture.shape[:2] != (size, size):
            problems.append(f"{place}: {picture.shape[:2]} pixels, avatar.toml says {size} x {size}")
            return None
        layers.append(picture)
    return np.concatenate(layers, axis=2)


def _picture(data: bytes, channels: int, place: str, problems: list[str]) -> Array | None:
    try:
        return image.decode(data, channels)
    except ValueError as error:
        problems.append(f"{place}: {error}")
        return None
