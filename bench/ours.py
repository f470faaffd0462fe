"""Our own voice to motion for the scorer: a whole session that paints nothing, hop by hop, and what it is held against.

A frame's face is what the viewer sees (lips, expression and closures already joined); what is said comes from the lip
network four times a frame. Both stand at the time of the voice that goes out with the frame.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from bench.cues import OPEN, Cue
from engine.clock import FRAME, FRAME_SECONDS, HOPS_PER_FRAME, VOICE_FRAME, VOICE_RATIO
from engine.config import EngineConfig, MotionConfig, RenderConfig
from engine.engine import Engine
from engine.motion.frame import Motion
from engine.motion.lips import REST_GAP_MM, VISEMES, lip_gap
from engine.motion.manner import Manner
from engine.parts import Parts
from engine.render.camera import FRAMINGS
from engine.render.geometric import GeometricRenderer
from engine.session import Session
from engine.stages import Stages
from engine.viewpoint import Viewpoint

Array = NDArray[np.float32]

SIDE: Final = 64  # pixels of the picture that is never painted


class NoPicture:
    """Stands where the renderer stands in a session that is moved and never painted."""

    size = (SIDE, SIDE)
    framing = FRAMINGS["upper"]

    def default_viewpoint(self) -> Viewpoint:
        return self.framing.default_viewpoint()

    def initial_state(self) -> None:
        return None


class _MotionOnly(Engine):
    def renderer(self, avatar: str, framing: str | None = None, **_: Any) -> GeometricRenderer:
        return cast(GeometricRenderer, NoPicture())


class _Overheard:
    """The session's lips, and a copy of what they said of every hop: (4, 15) a frame heard."""

    def __init__(self, lips: Any) -> None:
        self._lips = lips
        self.said: list[Array] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lips, name)

    def step(self, *args: Any, **options: Any) -> Any:
        frame, state = self._lips.step(*args, **options)
        hops = getattr(frame, "hop_viseme", None)
        self.said.append(np.repeat(frame.viseme, HOPS_PER_FRAME, 0) if hops is None else hops[0].copy())
        return frame, state


@dataclass(slots=True)
class Shown:
    """What a session made of one recording, on the 10 ms grid of its voice: visemes (hops, 15), gap in mm (hops,); and
    its Motion of every frame."""

    viseme: Array
    gap: Array
    motion: list[Motion]


@dataclass(slots=True)
class Talker:
    """Our voice to motion with a given lookahead. One at a time: the networks keep static buffers."""

    lookahead: int
    step_ms: list[float] = field(default_factory=list)
    step_cpu_ms: list[float] = field(default_factory=list)
    parts: Parts = field(init=False)
    _lips: _Overheard = field(init=False)

    def __post_init__(self) -> None:
        config = EngineConfig(motion=MotionConfig(lookahead=self.lookahead), render=RenderConfig(SIDE, SIDE))
        self.parts = _MotionOnly(config).open().parts
        self._lips = _Overheard(self.parts.lips)
        self.parts.lips = cast(Any, self._lips)

    def session(self, seed: int = 0, manner: Manner | None = None) -> Session:
        """A fresh session on the same networks."""
        self.forget()
        return Session(self.parts, seed=seed, manner=manner)

    def forget(self) -> None:
        """Drops what was overheard: a session that goes on for hours is not remembered hop by hop."""
        self._lips.said.clear()

    def perform(self, pcm: Array, seed: int = 0, manner: Manner | None = None) -> Shown:
        """A whole session on pcm (samples,) at 16 kHz.

        ``step_ms`` and ``step_cpu_ms`` grow by the time of every frame's motion, by the clock and by this thread's own.
        """
        session, motion = self.session(seed, manner), []
        voice = at_48k(np.pad(pcm, (0, -pcm.size % FRAME + self.lookahead * FRAME)))
        for start in range(0, voice.size, VOICE_FRAME):
            session.push_voice(voice[start : start + VOICE_FRAME])
            stages, began = Stages(), time.thread_time()
            moved = session.move(stages)
            if moved is not None:
                motion.append(moved.motion)
                self.step_cpu_ms.append(1e3 * (time.thread_time() - began))
                self.step_ms.append(sum(stages.times.values()))
        faces = np.stack([m.face for m in motion])
        said = np.concatenate(self._lips.said[self.lookahead :])
        return Shown(said, np.repeat(lip_gap(faces), HOPS_PER_FRAME), motion)


def at_48k(pcm: Array) -> Array:
    """pcm (samples,) at 16 kHz as the 48 kHz voice a session is given."""
    return np.asarray(resample_poly(pcm, VOICE_RATIO, 1), np.float32).clip(-1, 1)


def latency(lookahead: int) -> float:
    """Seconds from the first sample of a frame to its picture, when computing takes no time: what we declare."""
    return FRAME_SECONDS * (1 + lookahead)


def cues_of_ours(pcm: Array, lookahead: int, talker: Talker | None = None, painted: bool = False) -> list[Cue]:
    """What we say of a recording, as a peer would: the four hops of a frame follow each other from the moment the last
    sample that they wait for has been heard. The opening is the one to be expected of the visemes, 0 to 1; with
    ``painted``, the gap between the painted lips in mm."""
    shown = (talker or Talker(lookahead)).perform(pcm)
    at = latency(lookahead) + 0.01 * np.arange(len(shown.gap))
    opening = np.maximum(shown.gap, 0) if painted else shown.viseme @ OPEN
    return [Cue(round(float(t), 4), VISEMES[v], round(float(o), 4))
            for t, v, o in zip(at, shown.viseme.argmax(1), opening, strict=True)]  # fmt: skip


def loudness(pcm: Array) -> tuple[Array, Array]:
    """The baseline every talking avatar starts from, mouth opening by loudness relative to a slow peak: visemes
    (hops, 15) and gap (hops,)."""
    frames = pcm.size // FRAME
    power = (pcm[: frames * FRAME].reshape(frames, FRAME) ** 2).mean(1)
    peak, level = 1e-4, np.empty(frames)
    for i, energy in enumerate(power):
        peak = max(peak * 0.998, float(energy))
        level[i] = 10 * np.log10(energy / peak + 1e-9)
    said = np.where(level < -35, VISEMES.index("sil"), np.where(level < -10, VISEMES.index("I"), VISEMES.index("aa")))
    gap = (REST_GAP_MM + 12.0 * np.clip((level + 30) / 30, 0, 1)).astype(np.float32)
    viseme = np.eye(len(VISEMES), dtype=np.float32)[said]
    return np.repeat(viseme, HOPS_PER_FRAME, 0), np.repeat(gap, HOPS_PER_FRAME)
