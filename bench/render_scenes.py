"""Held-out clips to paint and to be judged on: photographs, what they follow from, and the guidance of every frame.

People, voices and sentences are the studio's held-out ones; no training has seen them. A person's reference is
photographed in the clip's own light and place, as a user's own photographs would be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.imagescore import Look, classes_of
from engine.avatar import Avatar
from engine.avatar_reference import SIDE, Reference
from engine.motion.frame import Motion
from engine.render import reference as references
from engine.render.guidance import Guidance, Guide, Surface
from engine.viewpoint import Viewpoint
from training.lipsync_data import SILENT
from training.renderer.references import photograph, viewpoints
from training.studio.lights import Light
from training.studio.person import build
from training.studio.places import Place
from training.studio.shards import Clips, Frames, StudioError
from training.studio.take import Studio

U8 = NDArray[np.uint8]
HELD: Final = Path("data/studio/held512")
ADVICE: Final = f"python -m training.studio make --split held-out --clips 16 --size 512 --out {HELD}"


class Shot(NamedTuple):
    """One frame: its photograph, and everything a renderer is given. ``cut``: nothing goes before it."""

    truth: Look
    region: U8
    plate: U8
    motion: Motion
    view: Viewpoint
    guidance: Guidance
    cut: bool


@dataclass(frozen=True)
class Scene:
    """A clip: who, in which framing, T shots; pcm (T, 640) int16, somebody's speech if ``speaks``.

    ``kind`` is "clip" or "views" (every shot a cut).
    """

    clip: int
    person: int
    kind: str
    framing: str
    avatar: Avatar
    reference: Reference
    surface: Surface
    shots: tuple[Shot, ...]
    pcm: NDArray[np.int16]
    speaks: bool

    @property
    def size(self) -> int:
        """Pixels a side."""
        return len(self.shots[0].region)


def chosen(folder: Path, clips: int) -> list[int]:
    """Which items of a data set to take: spread over its people, one in four of them "views". StudioError if none."""
    rows = Clips(folder).rows
    out: list[int] = []
    for kind, share in (("clip", clips - clips // 4), ("views", clips // 4)):
        of_kind = [i for i, row in enumerate(rows) if row["kind"] == kind]
        people = list(dict.fromkeys(rows[i]["person"] for i in of_kind))
        turns = [[i for i in of_kind if rows[i]["person"] == person] for person in people]
        order = [turn[depth] for depth in range(max(map(len, turns), default=0)) for turn in turns if depth < len(turn)]
        out += order[:share]
    return sorted(out)


class Scenes:
    """Reads and prepares scenes of a data set. Opens a GL context for the reference photographs.

    Raises StudioError, with the command that makes one, when there is no such data set.
    """

    def __init__(self, folder: Path = HELD) -> None:
        try:
            self.clips = Clips(folder)
        except StudioError:
            raise StudioError(f"{folder} holds no held-out clips; make some: {ADVICE}") from None
        self.studio = Studio(SIDE)

    def take(self, items: list[int], frames: int) -> Iterator[Scene]:
        """The first ``frames`` of each of the ``items``."""
        for item in items:
            row = self.clips.rows[item]
            yield self.scene(self.clips.frames(item, 0, min(frames, row["frames"])))

    def scene(self, frames: Frames) -> Scene:
        """One clip's frames with their guidance."""
        about: dict[str, Any] = frames.meta[0]
        self.studio.enter(about["person"])
        avatar = build(about["person"]).avatar
        light, place = Light.from_json(about["light"]), Place.from_json(about["place"])
        reference = photograph(self.studio, Motion.rest(), viewpoints(3), light, place)
        surface = references.lit_surface(avatar, references.lit_atlas(avatar, reference))
        size = frames.alpha.shape[1]
        guide = Guide(avatar, surface, (size, size), about["framing"])
        shots = []
        for t in range(len(frames.alpha)):
            cut = t == 0 or about["kind"] == "views"
            if cut:
                guide.cut()
            motion, view = Motion.unpack(frames.motion[t]), Viewpoint(**frames.meta[t]["viewpoint"])
            drawn = guide.draw(motion, view)
            seen = Guidance(drawn.hi.copy(), drawn.lo.copy(), drawn.flow.copy(), drawn.seen.copy())
            region = np.where(frames.alpha[t] > 127, frames.region[t], 0).astype(np.uint8)
            truth = Look(frames.rgb[t], frames.alpha[t], classes_of(region))
            shots.append(Shot(truth, region, frames.plate[t], motion, view, seen, cut))
        return Scene(about["clip"], about["person"], about["kind"], about["framing"], avatar, reference, surface,
                     tuple(shots), frames.pcm, about["kind"] == "clip" and about["speech"] != SILENT)  # fmt: skip
