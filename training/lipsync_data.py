"""Talking mouths with their voice, for the lip-sync expert: crops around the mouth and log-mel, frame by frame.

Two sources: photographs of the studio's clips, and as many more as wanted painted by the geometric renderer, which is
cheap. A mouth is found by where head and camera are, not by how it looks, so that a crop says nothing of its opening.
One file a source:

    crops (N,96,96,3) u8    mel (N,4,80) f16    clip (N,) i32: frames of one clip follow one another    person (clips,)
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import avatar as packs
from engine.audio.logmel import BINS, LogMel
from engine.avatar import REGIONS, Avatar
from engine.body.body import Body
from engine.clock import FRAME, HOPS_PER_FRAME
from engine.motion.frame import Motion
from engine.render import camera
from engine.render.geometric import GeometricRenderer
from engine.tracking.face import Crop, cut
from engine.viewpoint import Viewpoint
from training.choreography.arms import Skeleton
from training.studio.clips import TRAIN, Script
from training.studio.person import build
from training.studio.plan import PEOPLE
from training.studio.shards import Clips

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
SIDE: Final = 96
REACH: Final = 0.11  # metres that a crop shows
LOW: Final = 0.012  # metres that its middle is under the lips' own: jaws open downward
WIDEST: Final = np.radians(65)  # yaw beyond which a mouth is not judged
FEWEST: Final = 12  # frames of a clip
PAINTED: Final = 192  # pixels a side of the geometric renderer's pictures
NEAR: Final = 0.85  # of the head framing's distance
SILENT: Final = "silence"
PAINTED_SEED: Final = 7_700_000  # no data set of the studio has it


@dataclass(frozen=True)
class Mouths:
    """N frames of some clips, see the module."""

    crops: U8
    mel: NDArray[np.float16]
    clip: NDArray[np.int32]
    person: NDArray[np.int32]

    def spans(self) -> list[tuple[int, int]]:
        """(first, last + 1) frame of each clip."""
        edges = np.flatnonzero(np.diff(self.clip)) + 1
        bounds = [0, *edges.tolist(), len(self.clip)]
        return list(zip(bounds[:-1], bounds[1:], strict=True))

    def save(self, path: Path) -> None:
        """Writes one file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        np.savez(partial, crops=self.crops, mel=self.mel, clip=self.clip, person=self.person)
        os.replace(partial, path)

    @staticmethod
    def load(path: Path) -> Mouths:
        """Raises ValueError, naming the command that makes it, when the file is missing or broken."""
        try:
            with np.load(path) as held:
                return Mouths(held["crops"], held["mel"], held["clip"], held["person"])
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} holds no mouths ({error}); python -m training.lipsync_expert gather") from error


class MouthFinder:
    """Where an avatar's mouth is in a picture, from head and camera alone."""

    def __init__(self, avatar: Avatar) -> None:
        self._body = Body(avatar)
        self._pose = self._body.allocate()
        self._head = avatar.bones.index("head")
        lips = np.unique(avatar.faces[avatar.region == REGIONS.index("lips")])
        self._mouth = avatar.rest[lips].mean(0).astype(np.float64) - [0.0, LOW, 0.0]

    def place(self, motion: Motion, view: Viewpoint, framing: str, size: int) -> Crop:
        """The square around the mouth in a picture of ``size`` pixels."""
        turn = self._body.pose(motion, self._pose).bones[self._head].astype(np.float64)
        lens = camera.camera(view, camera.framing(framing), (size, size))
        x, y, depth = lens.rotation @ (turn[:, :3] @ self._mouth + turn[:, 3]) + lens.translation
        across, down = lens.focal * x / depth + lens.centre[0], lens.focal * y / depth + lens.centre[1]
        return Crop(float(across), float(down), float(lens.focal * REACH / depth), 0.0)


def crop(picture: U8, place: Crop) -> U8:
    """(96, 96, 3) of a picture (H, W, 3)."""
    return np.rint(cut(picture, place, SIDE)).astype(np.uint8)


def log_mel(pcm: NDArray[np.int16]) -> NDArray[np.float16]:
    """(T, 640) at 16 kHz -> (T, 4, 80), as the engine hears it."""
    hears = LogMel()
    mel, _ = hears.step(pcm.reshape(1, -1).astype(np.float32) / 32768.0, hears.initial_state())
    return mel[0].reshape(len(pcm), HOPS_PER_FRAME, BINS).astype(np.float16)


def gathered(clips: Iterator[tuple[int, list[U8], NDArray[np.int16]]]) -> Mouths:
    """Clips as (person, crops, pcm (T, 640)) to one table. Raises ValueError when there are none."""
    crops, mels, number, people = [], [], [], []
    for index, (person, shown, pcm) in enumerate(clips):
        crops += shown
        mels.append(log_mel(pcm))
        number += [index] * len(shown)
        people.append(person)
    if not crops:
        raise ValueError("no clip shows somebody who speaks; make more: python -m training.studio make")
    return Mouths(np.stack(crops), np.concatenate(mels), np.array(number, np.int32), np.array(people, np.int32))


def photographed(folder: Path, report: Callable[[int, int], None]) -> Iterator[tuple[int, list[U8], Any]]:
    """Speaking clips of a data set of the studio."""
    clips = Clips(folder, ("clip",))
    for index, row in enumerate(clips.rows):
        report(index, len(clips))
        if row["frames"] < FEWEST:
            continue
        head = clips.frames(index, 0, 1).meta[0]
        if head["speech"] == SILENT or abs(head["viewpoint"]["yaw"]) > WIDEST:
            continue
        frames = clips.frames(index)
        finder, size = MouthFinder(build(row["person"]).avatar), frames.rgb.shape[1]
        shown = []
        for t, meta in enumerate(frames.meta):
            view = Viewpoint(**meta["viewpoint"])
            place = finder.place(Motion.unpack(frames.motion[t]), view, meta["framing"], size)
            shown.append(crop(frames.rgb[t], place))
        yield row["person"], shown, frames.pcm


def painted(
    speech: Path, count: int, report: Callable[[int, int], None], first: int = 0
) -> Iterator[tuple[int, list[U8], Any]]:
    """``count`` clips of training speech by the geometric renderer: shipped avatars, one after another."""
    script = Script(PAINTED_SEED, TRAIN, PEOPLE[TRAIN], speech)
    people = [packs.load(meta.path) for meta in packs.available() if meta.path is not None]
    stages = [_Stage(person) for person in people]
    made, number = 0, first
    while made < count:
        report(made, count)
        which = number % len(people)
        clip = script.clip(number, Skeleton.of(people[which]))
        number += 1
        if clip.kind != "clip" or clip.speech == SILENT:
            continue
        made += 1
        yield -1 - which, stages[which].crops(clip.motions, clip.viewpoints), clip.pcm


class _Stage:
    """One avatar before the geometric renderer, near."""

    def __init__(self, avatar: Avatar) -> None:
        self._renderer = GeometricRenderer(avatar, (PAINTED, PAINTED), "head")
        self._finder = MouthFinder(avatar)
        self._low = float(self._finder._mouth[1])

    def crops(self, motions: Sequence[Motion], views: Sequence[Viewpoint]) -> list[U8]:
        """The mouth in each frame."""
        state, out = self._renderer.initial_state(), []
        distance = self._renderer.framing.distance * NEAR
        for motion, seen in zip(motions, views, strict=True):
            view = Viewpoint(float(np.clip(seen.yaw, -WIDEST, WIDEST)), seen.pitch, distance, 0.0, self._low)
            picture, state = self._renderer.step(motion, view, state)
            out.append(crop(picture.rgb, self._finder.place(motion, view, "head", PAINTED)))
        return out


assert FRAME == 640
