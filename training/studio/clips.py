"""What happens in a clip: who, saying what, with which face, seen from where, in which light. No pixel is made here.

Clip n of a seed is the same for ever: every draw comes from (seed, split, n). Clips come in sittings of one person, so
that a person is built once for several clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME_SECONDS
from engine.config import ViewConfig
from engine.motion.behaviour import Behaviour, BehaviourConfig
from engine.motion.frame import J, Motion
from engine.parts import EYE_CONTACT_LIMIT
from engine.viewpoint import Viewpoint
from training.choreography.arms import Skeleton
from training.choreography.expression import drill, expressions
from training.choreography.gesture import POSES, Gestures, pose_joints
from training.studio import views
from training.studio.records import FORMAT, viewpoint_table
from training.studio.voice import Library, Stretch, silence

FRAMES: Final = (16, 64)  # of a clip, both included
STILLS: Final = (8, 16)  # viewpoints of a multi-view clip
CLIPS_A_SITTING: Final = 4
FRAMINGS: Final = {"head": 0.30, "upper": 0.45, "presenter": 0.25}  # share of clips
STILLS_SHARE: Final = 0.15  # of the clips are one pose from many sides
SILENT_SHARE: Final = 0.12
DRILL_SHARE: Final = 0.08  # show any action at all
EXPRESSION_SHARE: Final = 0.55
ARMS: Final = {"beats": 0.78, "pose": 0.17, "hanging": 0.05}  # gestures with speech, a named pose, or Motion's zero
WARM: Final = 75  # frames lived through before the first one, so that blinks and gaze are in mid-life
TRAIN, HELD_OUT = "train", "held-out"
SPEECH: Final = {TRAIN: ("train",), HELD_OUT: ("speaker", "sentence")}  # held-out people say held-out things


@dataclass(frozen=True, slots=True)
class Clip:
    """T frames to photograph. ``kind`` is "clip" (consecutive at 25 Hz) or "views" (one Motion from many sides).

    pcm (T, 640) int16: the voice of each frame at 16 kHz; silence for "views".
    """

    seed: int
    split: str
    number: int
    person: int
    kind: str
    framing: str
    light: int
    place: int
    camera: str
    speech: str
    expressions: tuple[str, ...]
    gesture: str
    motions: tuple[Motion, ...]
    viewpoints: tuple[Viewpoint, ...]
    pcm: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.motions)

    def about(
        self, frame: int, size: int, light: dict[str, Any], place: dict[str, Any], checksum: int
    ) -> dict[str, Any]:
        """The JSON of one frame, Record.meta: ``light`` and ``place`` as tables, ``checksum`` of its guidance."""
        return {
            "format": FORMAT, "seed": self.seed, "split": self.split, "clip": self.number, "frame": frame,
            "frames": len(self), "kind": self.kind, "person": self.person, "framing": self.framing, "size": size,
            "camera": self.camera, "speech": self.speech, "expressions": list(self.expressions),
            "gesture": self.gesture, "viewpoint": viewpoint_table(self.viewpoints[frame]), "light": light,
            "place": place, "guidance": checksum,
        }  # fmt: skip


class Script:
    """Writes clips. ``people`` are the numbers to draw from; ``speech`` is the folder of training/speech.

    Raises ValueError for an unknown split, no people, or a folder without speech (with the command that makes it).
    """

    def __init__(self, seed: int, split: str, people: tuple[int, ...], speech: Path) -> None:
        if split not in SPEECH:
            raise ValueError(f"split must be {TRAIN} or {HELD_OUT}, got {split!r}")
        if seed < 0:
            raise ValueError(f"the seed must be at least 0, got {seed}")
        if not people:
            raise ValueError("no people to photograph")
        self.seed, self.split, self.people = seed, split, people
        self.library = Library(speech, SPEECH[split])

    def person(self, number: int) -> int:
        """Whom clip ``number`` shows. Nobody comes twice before everybody has come once."""
        sitting = number // CLIPS_A_SITTING
        turn, place = divmod(sitting, len(self.people))
        return self.people[int(self._rng(turn, 0).permutation(len(self.people))[place])]

    def clip(self, number: int, body: Skeleton) -> Clip:
        """Clip ``number``, acted by somebody with that ``body``. Raises ValueError when the number is negative."""
        if number < 0:
            raise ValueError(f"clips are numbered from 0, got {number}")
        rng = self._rng(number, 1)
        framing = str(rng.choice(list(FRAMINGS), p=list(FRAMINGS.values())))
        stills = rng.random() < STILLS_SHARE
        light, place = (int(n) for n in rng.integers(2**31, size=2))
        frames = int(rng.integers(*FRAMES, endpoint=True))
        said = silence(WARM + frames, rng) if rng.random() < SILENT_SHARE else self.library.stretch(WARM + frames, rng)
        camera, seen = views.track(framing, frames, rng)
        motions, names, gesture = perform(said, seen, body, rng)
        pcm = said.pcm[WARM:]
        if stills:
            count = int(rng.integers(*STILLS, endpoint=True))
            camera, seen = "around", views.around(framing, count, rng)
            motions = [motions[frames // 2]] * count
            pcm = np.zeros((count, pcm.shape[1]), np.int16)
        return Clip(
            self.seed, self.split, number, self.person(number), "views" if stills else "clip", framing, light, place,
            camera, said.source, names, gesture, tuple(motions), tuple(seen), pcm,
        )  # fmt: skip

    def _rng(self, number: int, stream: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, list(SPEECH).index(self.split), number, stream))


def perform(
    said: Stretch, seen: list[Viewpoint], body: Skeleton, rng: np.random.Generator
) -> tuple[list[Motion], tuple[str, ...], str]:
    """Motion of the last T frames of ``said`` (WARM + T), for a viewer at ``seen`` (T); names of what the face and
    the arms show. Lips and behaviour are composed as `Session.step` composes them.
    """
    total = len(said.lips)
    face, names = np.zeros_like(said.lips[WARM:]), tuple[str, ...]()
    if rng.random() < DRILL_SHARE:
        face, names = drill(total - WARM, rng), ("drill",)
    elif rng.random() < EXPRESSION_SHARE:
        face, names = expressions(total - WARM, rng, said.speech[WARM:])
    joints, gesture = _arms(said, body, rng)
    behaviour = Behaviour(BehaviourConfig(smile=float(rng.uniform(0.0, 0.3)), head=float(rng.uniform(0.6, 1.6))))
    state = behaviour.initial_state(int(rng.integers(2**31)))
    contact = ViewConfig().eye_contact if rng.random() < 0.6 else float(rng.random())
    motions = []
    for frame in range(total):
        view = seen[max(0, frame - WARM)]
        speech = min(1.0, 2.0 * float(said.speech[frame]))  # as sure as a voice activity detector
        motion, state = behaviour.step(said.lips[frame], speech, said.mel[frame], _toward(view, contact), state)
        if frame >= WARM:
            motion.face[:] += face[frame - WARM]
            motion.joints[:] += joints[frame]
            motions.append(motion.clipped())
    return motions, names, gesture


def _arms(said: Stretch, body: Skeleton, rng: np.random.Generator) -> tuple[NDArray[np.float32], str]:
    """Joints of arms and hands for every frame of ``said``, (T, J, 3), and what they are called."""
    total, kind = len(said.lips), str(rng.choice(list(ARMS), p=list(ARMS.values())))
    seed, amount, pose = int(rng.integers(2**31)), float(rng.random()), str(rng.choice(list(POSES)))
    if kind == "beats":
        return Gestures(seed, body, amount).track(said.stress * FRAME_SECONDS, total), kind
    if kind == "pose":
        return np.repeat(pose_joints(pose, body)[None], total, axis=0).astype(np.float32), pose
    return np.zeros((total, J, 3), np.float32), kind


def _toward(view: Viewpoint, contact: float) -> tuple[float, float]:
    limit = EYE_CONTACT_LIMIT
    return float(np.clip(contact * view.yaw, -limit, limit)), float(np.clip(contact * view.pitch, -limit, limit))
