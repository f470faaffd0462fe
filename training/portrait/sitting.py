"""Portraits of studio people, as photographs from outside would be, with what nobody knows of those: the truth.

Distance, lens, light, place and mood are drawn by seed. Kept as one .npz a portrait, so that a run can go on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from engine.avatar import Avatar
from engine.body.body import Body
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render import camera
from engine.tracking.face import Crop
from engine.viewpoint import Viewpoint
from kernels.rasterize import Camera
from training.bake import head, prior
from training.landmarks import random_face
from training.portrait.face import LOOKS, look
from training.portrait.places import Sight
from training.studio import lights, places
from training.studio.person import build
from training.studio.photograph import Photographer

Array = NDArray[Any]
SIZE: Final = 512
EACH: Final = 5  # portraits of a person
NEAR, FAR = 0.45, 2.2  # metres from the camera
MOODS: Final = {"still": 0.3, "smile": 0.3, "grin": 0.15, "talk": 0.15, "brows": 0.1}


@dataclass(frozen=True)
class Portrait:
    """rgb (S, S, 3), alpha and region (S, S) u8, the pose, the camera, and the mood it was taken in."""

    rgb: Array
    alpha: Array
    region: Array
    motion: Motion
    camera: Camera
    mood: str


def sit(photographer: Photographer, person: int, yaws: Sequence[float] | None = None) -> list[Portrait]:
    """Portraits of a person: from ``yaws`` (radians) in one mood, or EACH of them from anywhere, at rest first."""
    rng = np.random.default_rng([person, 5])
    built = build(person)
    photographer.load(built)
    body = Body(built.fine)
    pose, out = body.allocate(), []
    motion, mood = mood_of(rng)
    away, share = away_of(rng), float(rng.uniform(0.32, 0.5))
    for k in range(EACH if yaws is None else len(yaws)):
        yaw, pitch = (0.0 if yaws is None else yaws[k]), float(rng.uniform(-0.09, 0.09))
        if yaws is None:
            motion, mood = mood_of(rng) if k < 2 else (random_face(rng), "random")
            away, share = away_of(rng), float(rng.uniform(0.3, 0.6))
            if k == 0:
                motion, mood = Motion.rest(), "rest"
            else:
                yaw, pitch = float(rng.uniform(-0.73, 0.73)), float(rng.uniform(-0.21, 0.21))
        lens = aimed(yaw, pitch, away, share, rng)
        light, place = (table.sample(int(rng.integers(1 << 20))) for table in (lights, places))
        body.pose(motion, pose)
        shot = photographer.shoot(pose.vertices, pose.normals, lens, light, place)
        out.append(Portrait(shot.rgb, shot.alpha, shot.region, motion, lens, mood))
    return out


def sights(people: Sequence[int], folder: Path) -> list[Sight]:
    """What the detector sees in portraits of ``people``, beside the truth; portraits are taken when not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    photographer, out = None, []
    for person in track(people, "portraits"):
        path = folder / f"{person:06d}.npz"
        if not path.exists():
            photographer = photographer or Photographer((SIZE, SIZE))
            taken = sit(photographer, person)
            found = [look(one.rgb, Crop(0.5 * SIZE, 0.5 * SIZE, 0.6 * SIZE, 0.0), LOOKS[:2]) for one in taken]
            seen = [(one, face.points) for one, face in zip(taken, found, strict=True) if face is not None]
            partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
            np.savez(
                partial, landmarks=np.array([points for _, points in seen]).reshape(-1, 478, 3),
                motion=np.array([one.motion.pack() for one, _ in seen]), mood=np.array([one.mood for one, _ in seen]),
                turn=np.array([one.camera.rotation for one, _ in seen]),
                shift=np.array([one.camera.translation for one, _ in seen]),
                lens=np.array([[one.camera.focal, *one.camera.centre] for one, _ in seen]),
            )  # fmt: skip
            partial.replace(path)
        with np.load(path) as kept:
            out += _read(build(person).avatar, {name: kept[name] for name in kept.files})
    return out


def head_vertices(avatar: Avatar) -> Array:
    """(N,) the avatar's vertex for each vertex of the head's skin (basis.Basis.vertex), -1 where it was thinned out.

    They are told by their place in the atlas, which is the same for everybody.
    """
    vertex, places_, owners = _atlas()
    known = dict(zip(places_, owners, strict=True))
    out = np.full(len(vertex), -1)
    skin = np.unique(avatar.faces[np.isin(avatar.region, head_regions())])
    for number, place in zip(skin, np.round(avatar.uv[skin] * 2**20).astype(np.int64).tolist(), strict=True):
        owner = known.get(tuple(place))
        if owner is not None:
            out[owner] = number
    return out


def head_regions() -> list[int]:
    """Ids of the regions that the skin of a head is made of."""
    from engine.avatar import REGIONS

    return [REGIONS.index(name) for name in ("face", "lips", "mouth", "neck_ears")]


@cache
def _atlas() -> tuple[Array, list[tuple[int, int]], list[int]]:
    """Vertices (N,) of the head's skin; places in the atlas, in 2^-20, and whose each of them is."""
    skin = prior.template()[2]["body"].faces[head.islands()["head"]]
    vertex, whole = np.unique(skin), head.whole_skin()
    rows = np.unique(whole.faces[np.isin(whole.vertex[whole.faces], vertex).all(1)])
    places_ = np.round(whole.uv[rows].astype(np.float32) * 2**20).astype(np.int64)
    return vertex, [(int(u), int(v)) for u, v in places_], np.searchsorted(vertex, whole.vertex[rows]).tolist()


def _read(avatar: Avatar, kept: dict[str, Array]) -> list[Sight]:
    own, body, out = head_vertices(avatar), Body(avatar), []
    eyes = [avatar.bones.index(name) for name in ("eye_l", "eye_r")]
    bone = avatar.bones.index("head")
    for k in range(len(kept["landmarks"])):
        pose = body.pose(Motion.unpack(kept["motion"][k]))
        turn, shift, (focal, *centre) = kept["turn"][k], kept["shift"][k], kept["lens"][k]
        seen = pose.vertices[own] @ turn.T + shift
        flat = np.where(own[:, None] >= 0, seen[:, :2] / seen[:, 2:] * focal + np.array(centre), np.nan)
        pivots = (
            np.einsum("eij,ej->ei", pose.bones[eyes][:, :, :3], avatar.bone_pivot[eyes]) + pose.bones[eyes][:, :, 3]
        )
        toward = (-turn.T @ shift - pivots.mean(0)) @ pose.bones[bone][:, :3]
        landmarks = kept["landmarks"][k][:468, :2]
        common = 1.0 if kept["mood"][k] != "random" else 0.4
        out.append(Sight(flat.astype(np.float64), landmarks, math.atan2(toward[0], toward[2]), common))
    return out


def away_of(rng: np.random.Generator) -> float:
    """Metres from which somebody is photographed."""
    return math.exp(rng.uniform(math.log(NEAR), math.log(FAR)))


def aimed(yaw: float, pitch: float, away: float, share: float, rng: np.random.Generator) -> Camera:
    """A camera at ``away`` metres whose picture a head fills to ``share``, not quite in the middle."""
    frame = camera.Framing("portrait", (0.0, -0.02, -0.04), away, 1.0)
    lens = camera.camera(Viewpoint(yaw, pitch, away), frame, (SIZE, SIZE))
    off = rng.uniform(-0.06, 0.06, 2) * SIZE
    centre = (0.5 * SIZE + float(off[0]), 0.54 * SIZE + float(off[1]))
    return Camera(lens.rotation, lens.translation, share * SIZE * away / 0.25, centre)


def mood_of(rng: np.random.Generator) -> tuple[Motion, str]:
    """How people look into a camera."""
    motion, mood = Motion.rest(), str(rng.choice(list(MOODS), p=list(MOODS.values())))

    def act(name: str, weight: float, sides: tuple[str, ...] = ("Left", "Right")) -> None:
        for side in sides:
            motion.face[ACTION_INDEX[name + side]] = weight * rng.uniform(0.85, 1.0)

    if mood in ("smile", "grin"):
        smile = float(rng.uniform(0.3, 0.8))
        act("mouthSmile", smile)
        act("cheekSquint", 0.5 * smile)
    if mood == "grin":
        act("jawOpen", float(rng.uniform(0.05, 0.2)), ("",))
        act("mouthUpperUp", float(rng.uniform(0.2, 0.5)))
        act("mouthLowerDown", float(rng.uniform(0.1, 0.5)))
    if mood == "talk":
        act("jawOpen", float(rng.uniform(0.1, 0.35)), ("",))
        act("mouthFunnel", float(rng.uniform(0.0, 0.4)), ("",))
    if mood == "brows":
        act("browInnerUp", float(rng.uniform(0.2, 0.7)), ("",))
        act("browOuterUp", float(rng.uniform(0.2, 0.6)))
    act("eyeBlink", float(rng.uniform(0.0, 0.2)))
    motion.gaze[:] = rng.normal(0, 1, 2) * [0.12, 0.06]
    motion.head[:3] = rng.normal(0, 1, 3) * [0.04, 0.05, 0.04]
    return motion, mood
