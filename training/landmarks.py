"""Where MediaPipe's 468 landmarks lie on our faces, and how each facial action moves them.

    python -m training.landmarks make

photographs the shipped avatars from several sides with the mouth a little open, reads under each landmark which
triangle it is on, and averages rest place and deltas over views and people. Then it photographs random faces with
turned heads, to learn what a turn alone changes in what the detector sees of a still face, and how far irises move per
radian: engine/assets/face_basis.safetensors, which engine/tracking/solve.py fits to a video.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from safetensors.numpy import save_file

from engine import avatar as packs
from engine.avatar import Avatar
from engine.body.body import Body
from engine.motion.frame import ACTION_INDEX, ACTIONS, K, Motion
from engine.render import camera
from engine.render.geometric import GeometricRenderer
from engine.tracking.face import MESH, FaceFinder
from engine.tracking.solve import Solver, turned
from kernels.rasterize import Camera

F32 = NDArray[np.float32]

OUT: Final = Path(__file__).parent.parent / "engine" / "assets" / "face_basis.safetensors"
VIEWS: Final = ((0, 0), (-20, 0), (20, 0), (0, 12))  # yaw, pitch in degrees
SIZE: Final = (640, 640)
STILL_MM: Final = 2.5  # a landmark that actions move less than this says where the head is
PULL: Final = 4.0  # of the actions toward geometry, in samples
SMALL: Final = (256, 256)  # of the random faces

app = typer.Typer(add_completion=False, help=__doc__)


def open_face() -> Motion:
    """A face whose lips are apart, so that upper and lower lip are told apart."""
    motion = Motion.rest()
    for name, weight in (("jawOpen", 0.22), ("mouthUpperUpLeft", 0.3), ("mouthUpperUpRight", 0.3)):
        motion.face[ACTION_INDEX[name]] = weight
    return motion


def places(avatar: Avatar, finder: FaceFinder) -> tuple[F32, F32, F32]:
    """rest (468, 3) and deltas (52, 468, 3) in metres of one person, and how well each landmark was seen (468,)."""
    renderer = GeometricRenderer(avatar, SIZE, "head")
    body, motion = Body(avatar), open_face()
    pose = body.pose(motion)
    moved = np.zeros((K, len(avatar.rest), 3), np.float32)
    moved[:, avatar.move_index] = avatar.deltas
    rest, deltas = np.zeros((MESH, 3)), np.zeros((K, MESH, 3))
    total = np.zeros(MESH)
    state = renderer.initial_state()
    for yaw, pitch in VIEWS:
        view = replace(renderer.default_viewpoint(), yaw=math.radians(yaw), pitch=math.radians(pitch))
        picture, state = renderer.step(motion, view, state)
        face = finder.step(picture.rgb)
        if face is None:
            continue
        lens = camera.camera(view, renderer.framing, SIZE)
        weight, corners, shares = _under(face.points[:MESH, :2], avatar, pose.vertices, pose.normals, lens)
        rest += weight[:, None] * np.einsum("nc,nci->ni", shares, avatar.rest[corners])
        deltas += weight[:, None] * np.einsum("nc,knci->kni", shares, moved[:, corners])
        total += weight
    share = np.maximum(total, 1e-9)
    return (
        (rest / share[:, None]).astype(np.float32),
        (deltas / share[:, None]).astype(np.float32),
        total.astype(np.float32),
    )


def _under(
    points: F32, avatar: Avatar, vertices: F32, normals: F32, lens: Camera
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float64]]:
    """For (n, 2) pixels the nearest skin triangle facing the camera: how squarely it is seen (n,), its corners (n, 3),
    and the barycentric shares (n, 3)."""
    skin = np.isin(avatar.region, [packs.REGIONS.index(name) for name in ("face", "lips", "neck_ears")])
    faces = avatar.faces[skin]
    seen = vertices @ lens.rotation.T + lens.translation
    flat = seen[:, :2] / seen[:, 2:] * lens.focal + np.array(lens.centre)
    a, b, c = (flat[faces[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    depth, toward = seen[faces].mean(1)[:, 2], (normals @ lens.rotation.T)[faces].mean(1)[:, 2]
    front = (toward < -0.05) & (np.abs(area) > 1e-6)
    corners, shares = np.zeros((len(points), 3), np.int32), np.full((len(points), 3), 1 / 3)
    weight = np.zeros(len(points))
    for k, p in enumerate(points.astype(np.float64)):
        near = np.flatnonzero(front & (np.abs(a - p).max(1) < 60))
        if not len(near):
            continue
        u = ((b[near] - p) * (c[near] - p)[:, ::-1] * [1, -1]).sum(1) / area[near]
        v = ((c[near] - p) * (a[near] - p)[:, ::-1] * [1, -1]).sum(1) / area[near]
        bary = np.stack([u, v, 1 - u - v], 1)
        inside = np.flatnonzero(bary.min(1) >= -1e-6)
        # The surface in front; beside the outline, or between the lips, the triangle it is nearest to.
        best = inside[np.argmin(depth[near[inside]])] if len(inside) else int(np.argmax(bary.min(1)))
        share = np.clip(bary[best], 0, None)
        corners[k], shares[k] = faces[near[best]], share / share.sum()
        weight[k] = max(-toward[near[best]], 0.0) ** 3 * (1.0 if len(inside) else 0.05)
    return weight, corners, shares


class Sample(NamedTuple):
    """One random face: its weights (52,), gaze (2,), and what the solver measured of it, less the person's neutral:
    landmarks (468, 3) in mm, the head's turn (3,), irises (2,) as mean offset in metres."""

    weights: F32
    gaze: F32
    moved: F32
    turn: F32
    irises: F32


def samples(avatar: Avatar, finder: FaceFinder, solver: Solver, count: int, seed: int) -> list[Sample]:
    """Random faces of one person, none more than half shut-eyed, the head turned at random."""
    rng = np.random.default_rng(seed)
    renderer = GeometricRenderer(avatar, SMALL, "head")
    state, view = renderer.initial_state(), renderer.default_viewpoint()
    neutral = []
    for turn in (-0.15, 0.0, 0.15):
        motion = Motion.rest()
        motion.head[1] = turn
        picture, state = renderer.step(motion, view, state)
        face = finder.step(picture.rgb)
        if face is not None:
            neutral.append(face)
    solver.calibrate(neutral, SMALL)
    found = []
    for _ in range(count):
        motion = random_face(rng)
        picture, state = renderer.step(motion, view, state)
        face = finder.step(picture.rgb)
        if face is not None:
            moved, now = solver.residual(face, SMALL)
            offset = (now.irises - solver.neutral.irises).mean(0)
            arrays = (value.astype(np.float32) for value in (moved, solver.turn(now), offset))
            found.append(Sample(motion.face, motion.gaze, *arrays))
    return found


def random_face(rng: np.random.Generator) -> Motion:
    """A few actions at random, left and right mostly together, a turned head, a shifted gaze."""
    motion = Motion.rest()
    names = sorted({name.removesuffix("Left").removesuffix("Right") for name in ACTIONS})
    usable = [name for name in names if name not in ("eyeBlink", "eyeWide", "mouthClose", "tongueOut")]
    usable = [name for name in usable if not name.startswith("eyeLook")]
    for name in rng.choice(usable, int(rng.integers(1, 6)), replace=False):
        level = float(rng.uniform(0.2, 1.0)) * (0.5 if name == "jawOpen" else 1.0)
        for action in (a for a in ACTIONS if a.removesuffix("Left").removesuffix("Right") == name):
            motion.face[ACTION_INDEX[action]] = level * float(rng.choice([1.0, 1.0, 1.0, rng.uniform(0, 1)]))
    motion.head[:3] = rng.normal(0, 1, 3) * [0.12, 0.22, 0.08]
    motion.gaze[:] = rng.normal(0, 1, 2) * [0.22, 0.12]
    return motion


def drift(deltas: F32, found: list[Sample]) -> tuple[F32, F32]:
    """What a turned head moves by itself, (9, 468, 3) mm for the terms of ``turned``: ridge regression beside the
    actions, which are pulled toward geometry; and the factors (2,) from iris offsets in metres to gaze in radians."""
    weights = np.stack([s.weights for s in found]).astype(np.float64)
    turns = np.stack([turned(s.turn.astype(np.float64)) for s in found])
    seen = np.stack([s.moved for s in found]).astype(np.float64).reshape(len(found), -1)
    rows = np.concatenate([weights, turns], axis=1)
    pull = np.diag([PULL] * K + [0.01] * turns.shape[1])
    before = np.concatenate([1e3 * deltas.reshape(K, -1), np.zeros((turns.shape[1], seen.shape[1]))])
    after = np.linalg.solve(rows.T @ rows + pull, rows.T @ seen + pull @ before)
    offsets, gaze = np.stack([s.irises for s in found]), np.stack([s.gaze for s in found])
    factors = (offsets * gaze).sum(0) / (offsets**2).sum(0)
    return after[K:].reshape(-1, MESH, 3).astype(np.float32), factors.astype(np.float32)


@app.command()
def make(out: Path = OUT, count: int = 50, without: str = "ada") -> None:
    """Writes the basis from ``count`` random faces a person; ``without`` leaves one out: the tests drive from her."""
    finder, people, avatars = FaceFinder(), [], []
    for meta in packs.available(()):
        assert meta.path is not None
        if meta.id != without:
            avatars.append(packs.load(meta.path))
            people.append(places(avatars[-1], finder))
    rest, deltas, seen = (np.stack(part) for part in zip(*people, strict=True))
    share = seen / np.maximum(seen.sum(0), 1e-9)
    basis = np.einsum("pn,pkni->kni", share, deltas)
    still = np.exp(-((1e3 * np.linalg.norm(basis, axis=2).max(0) / STILL_MM) ** 2))
    tensors = {
        "rest": np.einsum("pn,pni->ni", share, rest).astype(np.float32), "deltas": basis.astype(np.float16),
        "rigid": still.astype(np.float32), "turn": np.zeros((9, MESH, 3), np.float32),
        "gaze": np.full(2, 87.0, np.float32),
    }  # fmt: skip
    _save(out, tensors, len(people))
    found: list[Sample] = []
    for index, avatar in enumerate(avatars):
        found += samples(avatar, finder, Solver(out), count, seed=index)
        typer.echo(f"{avatar.meta.id}: {len(found)} faces")
    tensors["turn"], tensors["gaze"] = drift(basis, found)
    _save(out, tensors, len(people))
    typer.echo(f"{out}: {out.stat().st_size / 1e3:.0f} kB; gaze x {tensors['gaze']}")


def _save(out: Path, tensors: dict[str, NDArray[np.generic]], people: int) -> None:
    whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}  # the writer ignores strides
    save_file(whole, str(out), metadata={"actions": ",".join(ACTIONS), "people": str(people)})


@app.callback()
def _root() -> None:
    pass


if __name__ == "__main__":
    app()
