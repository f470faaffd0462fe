"""Contact sheets: the studio's people, views, visemes and gestures side by side, to be looked at by a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.motion.frame import ACTION_INDEX, Motion
from engine.motion.generator import Compose
from engine.motion.head import FOLLOW
from engine.motion.lips import VISEMES
from engine.parts import EYE_CONTACT_LIMIT
from engine.render.camera import FRAMINGS
from engine.viewpoint import Viewpoint
from training.choreography.arms import Skeleton
from training.choreography.gesture import POSES, pose_joints
from training.choreography.mouth import mouth_targets
from training.speech.phones import PHONE_INDEX, Span
from training.studio import lights, places
from training.studio.people import TRAIN
from training.studio.take import Studio

U8 = NDArray[np.uint8]
PEOPLE: Final = 48
PHONE_OF: Final = dict(zip(VISEMES, (
    "SIL", "P", "F", "TH", "D", "K", "CH", "S", "N", "R", "AA", "EH", "IY", "AO", "UW"), strict=True))  # fmt: skip
VIEWS: Final = ((-70, 0), (-45, 0), (-20, 0), (0, 0), (20, 0), (45, 0), (70, 0), (-25, 22), (25, -20))  # degrees
GESTURES: Final = tuple(name for name in POSES if name != "rest")[:8]
LABEL: Final = 18  # pixels
SMILE: Final = {"mouthSmileLeft": 0.22, "mouthSmileRight": 0.22, "cheekSquintLeft": 0.12, "cheekSquintRight": 0.12}


class Tile(NamedTuple):
    """One picture to take, and what is written under it."""

    label: str
    person: int
    motion: Callable[[Skeleton], Motion]
    view: Viewpoint
    framing: str
    light: int | str  # a seed, or a mood
    place: int | str  # a seed, or a kind


def identities(person: int) -> Iterator[Tile]:
    """PEOPLE people, the first ``person`` and on, evenly over all of them; light, place and view by seed."""
    step = len(TRAIN) // PEOPLE
    for index in range(PEOPLE):
        number = TRAIN[(person + index * step) % len(TRAIN)]
        dice = np.random.default_rng(number)
        view = _from(dice.normal(0, 14), dice.normal(0, 4), "head")
        yield Tile(str(number), number, lambda _: smiling(), view, "head", number, number)


def views(person: int) -> Iterator[Tile]:
    """One person from nine sides."""
    for yaw, pitch in VIEWS:
        view = _from(yaw, pitch, "head")
        yield Tile(f"{yaw:+d} {pitch:+d}", person, lambda _: smiling(), view, "head", "studio", 7)


def visemes(person: int) -> Iterator[Tile]:
    """One person's mouth in all visemes, close up."""
    view = replace(_from(-14, 0, "head"), distance=0.58, pan_y=-0.045)
    for name, phone in PHONE_OF.items():
        yield Tile(name, person, lambda _, p=phone: speaking(p), view, "head", "studio", 7)  # type: ignore[misc]


def gestures(person: int) -> Iterator[Tile]:
    """One person in eight gestures."""
    for name in GESTURES:
        view = replace(_from(8, 3, "presenter"), distance=2.5)
        yield Tile(name, person, lambda body, n=name: gesturing(n, body), view, "presenter", "window", 11)  # type: ignore[misc]


SHEETS: Final[dict[str, tuple[Callable[[int], Iterator[Tile]], int, int]]] = {  # tiles, columns, pixels a tile
    "identities": (identities, 8, 224),
    "views": (views, 3, 384),
    "visemes": (visemes, 5, 320),
    "gestures": (gestures, 4, 384),
}


def contact_sheet(kind: str, person: int, tile: int, report: Callable[[int, int], None]) -> U8:
    """One of SHEETS as a picture (h, w, 3). ``tile`` pixels a side, 0 for the sheet's own. Raises ValueError."""
    if kind not in SHEETS:
        raise ValueError(f"a contact sheet is one of {', '.join(SHEETS)}; got {kind!r}")
    make, columns, side = SHEETS[kind]
    side = tile or side
    if not 64 <= side <= 1024:
        raise ValueError(f"a tile must be 64 to 1024 pixels, got {side}")
    wanted, pictures = list(make(person)), []
    studio = Studio(side)
    for number, one in enumerate(wanted):
        body = studio.enter(one.person)
        light = lights.sample(3, one.light) if isinstance(one.light, str) else lights.sample(one.light)
        place = places.sample(4, one.place) if isinstance(one.place, str) else places.sample(one.place)
        motion = _watching(one.motion(body), one.view)
        pictures.append(_labelled(studio.picture(motion, one.view, one.framing, light, place).rgb, one.label))
        report(number + 1, len(wanted))
    blank = np.full_like(pictures[0], 255)
    pictures += [blank] * (-len(pictures) % columns)
    rows = [np.concatenate(pictures[i : i + columns], axis=1) for i in range(0, len(pictures), columns)]
    return np.concatenate(rows)


def smiling() -> Motion:
    """At ease, faintly smiling, arms at rest."""
    motion = Motion.rest()
    for name, weight in SMILE.items():
        motion.face[ACTION_INDEX[name]] = weight
    return motion


def speaking(phone: str) -> Motion:
    """The middle of a long ``phone`` between silences, as the choreography speaks it."""
    spans = [Span(0, 20, 0), Span(20, 40, PHONE_INDEX[phone]), Span(40, 60, 0)]
    target = mouth_targets(spans, 15)
    face = Compose()(*map(torch.from_numpy, (target.open, target.closure, target.labiodental))).numpy()
    motion = Motion.rest()
    motion.face[:] = face[7]
    return motion


def gesturing(name: str, body: Skeleton) -> Motion:
    """A named gesture, with a smile."""
    motion = smiling()
    motion.joints[:] = pose_joints(name, body)
    return motion


def _from(yaw: float, pitch: float, framing: str) -> Viewpoint:
    return Viewpoint(float(np.radians(yaw)), float(np.radians(pitch)), FRAMINGS[framing].distance)


def _watching(motion: Motion, view: Viewpoint) -> Motion:
    """Head and eyes turn to the camera together, as far as a person comfortably does (engine/motion/head.py)."""
    yaw, pitch = np.clip([view.yaw, view.pitch], -EYE_CONTACT_LIMIT, EYE_CONTACT_LIMIT) * (1.0, 0.7)
    motion.head[:2] = -FOLLOW * pitch, FOLLOW * yaw
    motion.gaze[:] = (1.0 - FOLLOW) * yaw, (1.0 - FOLLOW) * pitch
    return motion.clipped()


def _labelled(picture: U8, text: str) -> U8:
    strip: Any = Image.new("RGB", (picture.shape[1], LABEL), (250, 250, 250))
    ImageDraw.Draw(strip).text((5, 2), text, (40, 40, 40), font=ImageFont.load_default(LABEL - 6))
    return np.concatenate([picture, np.asarray(strip)])
