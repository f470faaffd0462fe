"""What suite ``portrait`` looks at: an avatar at rest from all sides, speaking, and its photograph on the bare mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.ours import Talker
from bench.prompts import Prompt, asterisk
from engine.avatar import Avatar
from engine.body.body import Body
from engine.clock import FPS
from engine.config import MotionConfig
from engine.motion.frame import Motion
from engine.render import camera, material, network
from engine.render.neural import NeuralPicture, NeuralRenderer
from engine.tracking.face import EYES, FaceFinder
from engine.viewpoint import Viewpoint
from kernels.rasterize import Rasterizer
from kernels.yuv import to_i420
from training.portrait.enrol import Enrolment
from training.portrait.retake import motion as photographed
from training.speech.phones import PHONES

U8 = NDArray[np.uint8]
Array = NDArray[Any]
SETTLE: Final = 4  # frames until a picture is taken
LABIAL: Final = ("P", "B", "M")
LIPS: Final = (13, 14)  # landmarks in the middle of the upper and lower lip's inner edge
SHUT: Final = 0.2  # of the way from the gap at rest to the widest: below, the lips are seen to be closed
SLACK: Final = 1  # frames before and after a sound in which its closure counts
ASIDE: Final = (-25, 25)
EACH: Final = 6  # pictures a side while speaking
FINE: Final = 2  # samples across a pixel of the raw mesh


class Stage:
    """An avatar before the neural renderer, as a session paints it."""

    def __init__(self, avatar: Avatar, framing: str, size: int) -> None:
        self.renderer = NeuralRenderer(avatar, network.find("lite"), (size, size), framing)
        self.size, self.away = size, self.renderer.framing.distance

    def rest(self, yaw: float) -> NeuralPicture:
        """At rest, from ``yaw`` degrees."""
        state = self.renderer.initial_state()
        for _ in range(SETTLE):
            picture, state = self.renderer.step(Motion.rest(), self.view(yaw), state)
        return NeuralPicture(picture.rgb.copy(), picture.alpha.copy(), picture.rgba.copy(), picture.mask.copy())

    def view(self, yaw: float) -> Viewpoint:
        """From ``yaw`` degrees at the framing's distance."""
        return Viewpoint(math.radians(yaw), 0.0, self.away)

    def like(self, truth: U8) -> None:
        """Steps back or closer until the eyes are as far apart as in ``truth``, a picture from the front: how large a
        head is in metres, one photograph does not tell."""
        seen = [eyes_apart(picture) for picture in (self.rest(0).rgb, truth)]
        self.away *= seen[0] / seen[1]


@dataclass(frozen=True)
class Film:
    """Somebody speaking: closed, the share of p, b and m in which the lips are seen to close; I420 pictures from the
    front; rgb pictures from ASIDE."""

    closed: float
    pictures: list[U8]
    aside: list[U8]


class Films:
    """What people say in the suite: recorded prompts, acted by our own motion. ``seconds`` a film."""

    def __init__(self, seconds: float) -> None:
        self._frames = round(seconds * FPS)
        talker = Talker(MotionConfig().lookahead)
        self._said: list[tuple[list[Motion], list[tuple[int, int]]]] = []
        for prompt in asterisk(False):
            if prompt.pcm.size < 16000 * seconds:
                continue
            motion = talker.perform(prompt.pcm).motion[: self._frames]
            closures = _closures(prompt, len(motion))
            if len(closures) >= 3:
                self._said.append((motion, closures))
            if len(self._said) == 4:
                break
        if not self._said:
            raise ValueError("no recorded prompt is long enough: see bench/prompts.py for where they come from")

    def shoot(self, stage: Stage, number: int) -> Film:
        """Person ``number`` speaks."""
        motion, closures = self._said[number % len(self._said)]
        finder, gaps, pictures = FaceFinder(), [], []
        state = stage.renderer.initial_state()
        for pose in motion:
            picture, state = stage.renderer.step(pose, stage.view(0), state)
            pictures.append(to_i420(picture.rgb, np.empty((stage.size * 3 // 2, stage.size), np.uint8)).copy())
            gaps.append(_gap(finder, picture.rgb))
        rest = _gap(FaceFinder(), stage.rest(0).rgb)
        known = np.array(gaps)
        limit = rest + SHUT * (float(np.nanpercentile(known, 95)) - rest)
        seen = [np.nanmin(known[max(a - SLACK, 0) : b + SLACK]) < limit for a, b in closures]
        return Film(float(np.mean(seen)), pictures, self._beside(stage, motion))

    def _beside(self, stage: Stage, motion: list[Motion]) -> list[U8]:
        out = []
        for yaw in ASIDE:
            for at in np.linspace(SETTLE, len(motion) - 1, EACH).astype(int):
                state = stage.renderer.initial_state()
                for pose in motion[at - SETTLE : at + 1]:
                    picture, state = stage.renderer.step(pose, stage.view(yaw), state)
                out.append(picture.rgb.copy())
        return out


def raw_mesh(made: Enrolment, view: Viewpoint, framing: str, size: int) -> tuple[U8, U8]:
    """The baseline: the photograph projected onto the fitted mesh, seen or not, unlit. rgb (S, S, 3), alpha (S, S)."""
    avatar, fit = made.avatar, made.fit
    plain, _ = material.build(avatar)
    hair = made.avatar.normals_fixed.astype(bool)
    faces = (plain.layer == 0) & ~hair[plain.faces].all(1)
    bare = plain._replace(
        faces=np.ascontiguousarray(plain.faces[faces]), region=np.ascontiguousarray(plain.region[faces]),
        layer=np.ascontiguousarray(plain.layer[faces]),
    )  # fmt: skip
    body = Body(avatar)
    then = body.pose(photographed(fit))
    head = then.bones[avatar.bones.index("head")].astype(np.float64)
    where = fit.lens.project((then.vertices.astype(np.float64) - head[:, 3]) @ head[:, :3])
    now = body.pose(Motion.rest())
    frame = camera.framing(framing)
    fine = (FINE * size, FINE * size)
    lens = camera.camera(view, frame, fine)
    place = np.ascontiguousarray(where / [made.photo.rgb.shape[1], made.photo.rgb.shape[0]], np.float32)
    mapped = bare._replace(uv=place)
    g = Rasterizer(mapped, fine, samples=1).draw(
        now.vertices, now.normals, lens, None, np.empty_like(now.vertices)
    )  # fmt: skip
    seen = g.face >= 0
    at = [g.uv[1] * made.photo.rgb.shape[0] - 0.5, g.uv[0] * made.photo.rgb.shape[1] - 0.5]
    rgb = np.stack([ndimage.map_coordinates(made.photo.rgb[..., c], at, order=1, mode="nearest") for c in range(3)], -1)
    whole = np.where(seen[..., None], rgb, 0).astype(np.float64)
    share = _halved(seen.astype(np.float64)[..., None])
    colour = _halved(whole) / np.maximum(share, 1e-6)
    return np.rint(colour).astype(np.uint8), np.rint(255 * share[..., 0]).astype(np.uint8)


def _halved(plane: Array) -> Array:
    side = plane.shape[0] // FINE
    return np.asarray(plane.reshape(side, FINE, side, FINE, -1).mean((1, 3)))


def _closures(prompt: Prompt, frames: int) -> list[tuple[int, int]]:
    """Frames [a, b) of each p, b and m."""
    hops = round(100 / FPS)
    spans = [(s.start // hops, -(-s.stop // hops)) for s in prompt.spans if PHONES[s.phone] in LABIAL]
    return [(a, b) for a, b in spans if b + SLACK <= frames]


def eyes_apart(picture: U8) -> float:
    """Pixels between the outer corners of the eyes. Raises ValueError when nobody is found."""
    face = FaceFinder().step(picture)
    if face is None:
        raise ValueError("no face in a picture from the front")
    return float(np.linalg.norm(face.points[EYES[0], :2] - face.points[EYES[1], :2]))


def _gap(finder: FaceFinder, picture: U8) -> float:
    """Distance of the lips' inner edges over that of the eyes; nan when nobody is found."""
    face = finder.step(picture)
    if face is None:
        return math.nan
    apart = np.linalg.norm(face.points[EYES[0], :2] - face.points[EYES[1], :2])
    return float(np.linalg.norm(face.points[LIPS[0], :2] - face.points[LIPS[1], :2]) / apart)
