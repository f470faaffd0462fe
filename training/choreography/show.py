"""Pictures of the choreography, by the engine's own renderer: emotions by intensity, and every sign at its stroke."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.avatar import Avatar
from engine.clock import FPS
from engine.motion.emotion import EMOTIONS, INTENSITIES
from engine.motion.frame import Motion, R
from engine.render.camera import FRAMINGS
from engine.render.geometric import GeometricRenderer
from engine.viewpoint import Viewpoint
from training.choreography.arms import Skeleton
from training.choreography.performance import Performance, act
from training.choreography.stage import Meant, Script, Stage
from training.choreography.vocabulary import MEANINGS

U8 = NDArray[np.uint8]
SCALE: Final = 2  # rendered this much larger, then averaged
LABEL: Final = 18


def motion_of(done: Performance, frame: int, lips: NDArray[Any] | None = None) -> Motion:
    """One frame of a performance as the viewer sees it from the front; ``lips`` (K,) are added."""
    face = done.face[frame] + (0.0 if lips is None else lips)
    gaze = done.gaze[frame] - np.array([done.head[frame, 1], -done.head[frame, 0]])  # eyes hold while the head moves
    return Motion(face.astype(np.float32), np.zeros(R, np.float32), gaze.astype(np.float32), done.head[frame],
                  done.joints[frame]).clipped()  # fmt: skip


class Camera:
    """Takes labelled pictures of one avatar."""

    def __init__(self, avatar: Avatar, tile: int, framing: str, yaw: float = 0.0) -> None:
        if framing not in FRAMINGS:
            raise ValueError(f"unknown framing {framing!r}: choose one of {', '.join(FRAMINGS)}")
        self.renderer = GeometricRenderer(avatar, size=(tile * SCALE, tile * SCALE), framing=framing)
        self.tile, view = tile, self.renderer.default_viewpoint()
        self.view = Viewpoint(yaw, view.pitch, view.distance)

    def take(self, motion: Motion, label: str = "") -> U8:
        """(h, w, 3), with a strip below when there is a label."""
        picture, _ = self.renderer.step(motion, self.view, self.renderer.initial_state())
        blocks = picture.rgb.reshape(self.tile, SCALE, self.tile, SCALE, 3).astype(np.float32)
        small: U8 = np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)
        return _labelled(small, label) if label else small


def emotions(avatar: Avatar, tile: int, seed: int, report: Callable[[int, int], None]) -> U8:
    """A row an emotion: three intensities of the silent face, five seconds in."""
    camera, rows = Camera(avatar, tile, "head"), []
    total = len(EMOTIONS) * len(INTENSITIES)
    for i, name in enumerate(EMOTIONS):
        row = []
        for j, (degree, strength) in enumerate(INTENSITIES.items()):
            done = act(
                Stage.of([Script(200, emotion=name, intensity=strength if name != "neutral" else 0.0)]), seed + i
            )
            row.append(camera.take(motion_of(done, _open(done, 130)), f"{name} {degree}"))
            report(3 * i + j + 1, total)
        rows.append(np.concatenate(row, axis=1))
    half = len(rows) // 2
    return np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half:])], axis=1)


def signs(avatar: Avatar, tile: int, columns: int, seed: int, report: Callable[[int, int], None]) -> U8:
    """Every sign at its stroke, seen a little from the side."""
    camera, body, tiles = Camera(avatar, tile, "presenter", 0.10), Skeleton.of(avatar), []
    for index, name in enumerate(MEANINGS):
        done = of_sign(name, seed + index, body)
        tiles.append(camera.take(motion_of(done, _stroke(done)), name))
        report(index + 1, len(MEANINGS))
    return grid(tiles, columns)


def sign_film(avatar: Avatar, name: str, tile: int, pictures: int, seed: int) -> U8:
    """One sign in ``pictures`` moments from before its preparation to its retraction."""
    camera = Camera(avatar, tile, "presenter", 0.10)
    done = of_sign(name, seed, Skeleton.of(avatar))
    frames = np.linspace(_stroke(done) - 16, _stroke(done) + 28, pictures).astype(int)
    return np.concatenate(
        [camera.take(motion_of(done, f), f"{name} {(f - _stroke(done)) / FPS:+.2f}") for f in frames], 1
    )


def of_sign(name: str, seed: int, body: Skeleton) -> Performance:
    """A performance whose only gesture is the sign ``name``, its stroke at two seconds."""
    if name not in MEANINGS:
        raise ValueError(f"unknown sign {name!r}: choose one of {', '.join(MEANINGS)}")
    script = Script(120, style=(0.6, 0.5, 0.5, 1.0), meant=(Meant(2.0, name),))
    for attempt in range(50):  # a sign may be left out at random
        done = act(Stage.of([script]), seed + 1000 * attempt, body)
        if len(done.strokes):
            break
    return done


def grid(tiles: list[U8], columns: int) -> U8:
    """Pictures of one size in rows."""
    tiles = tiles + [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)])


def _stroke(done: Performance) -> int:
    return int(done.strokes[0, 1] * FPS) + 1 if len(done.strokes) else 50


def _open(done: Performance, frame: int) -> int:
    """A frame from ``frame`` on without a blink."""
    shut = np.flatnonzero(done.face[frame:, 0] < done.face[:, 0].min() + 0.1)
    return frame + int(shut[0]) if len(shut) else frame


def _labelled(picture: U8, text: str) -> U8:
    strip: Any = Image.new("RGB", (picture.shape[1], LABEL), (250, 250, 250))
    ImageDraw.Draw(strip).text((5, 2), text, (40, 40, 40), font=ImageFont.load_default(LABEL - 6))
    return np.concatenate([picture, np.asarray(strip)])
