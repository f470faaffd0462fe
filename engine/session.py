"""Session: one voice, one avatar, one viewer. Voice in, frames out; no sockets, no wall clock.

``Session.step`` is the hot loop of the whole product, and reads as the picture in docs/structure.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.audio.delay import DelayState
from engine.audio.logmel import LogMelState
from engine.audio.resample import DecimatorState
from engine.audio.vad import VadState
from engine.clock import FRAME, FRAME_SECONDS, VOICE_FRAME, VOICE_RATE, frame_pts
from engine.motion.behaviour import BehaviourState
from engine.motion.frame import Motion
from engine.motion.lips import LipState
from engine.parts import Parts
from engine.render.geometric import GeometricRenderer, RenderState
from engine.ring import FrameRing, SampleRing
from engine.stages import Stages
from engine.viewpoint import SpringState, Viewpoint

Samples = NDArray[np.float32]

INBOX_SECONDS = 2  # voice that may wait for the engine before the sender is told that it is too slow
RING_SLOTS = 8  # a painted picture stays intact for seven more frames


@dataclass(frozen=True, slots=True)
class Controls:
    """What the viewer asks for; takes effect at the next frame. ``seq`` comes back in ``Frame.control_seq``."""

    viewpoint: Viewpoint
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """One video frame with the voice that belongs to it.

    ``pts`` counts 16 kHz samples; ``i420`` is (H * 3 / 2, W) u8 and stays intact for RING_SLOTS - 1 more steps;
    ``voice`` is (1920,) float32 at 48 kHz, the session's input of the same pts; ``stages`` are milliseconds.
    """

    pts: int
    i420: NDArray[np.uint8]
    voice: Samples
    motion: Motion
    viewpoint: Viewpoint
    speaking: float
    viseme: Samples  # (15,) posterior
    control_seq: int
    stages: dict[str, float]


@dataclass(slots=True)
class SessionState:
    """Everything a session remembers between frames."""

    decimator: DecimatorState
    logmel: LogMelState
    vad: VadState
    lips: LipState
    delay: DelayState
    behaviour: BehaviourState
    view: SpringState
    render: RenderState
    heard: int = 0  # frames of voice taken in
    painted: int = 0  # frames given out
    speech: float = 0.0


class Session:
    """Not thread-safe: one thread calls ``step``, one (the same or another) calls ``push_voice``."""

    def __init__(self, parts: Parts, *, seed: int = 0) -> None:
        self.parts = parts
        self.inbox = SampleRing(INBOX_SECONDS * VOICE_RATE)
        self.frames = FrameRing(RING_SLOTS, *parts.renderer.size)
        self.state = SessionState(**parts.initial_state(seed))
        self.controls = Controls(parts.renderer.default_viewpoint())

    @property
    def ready(self) -> bool:
        """Whether ``step`` has a whole frame of voice to work on."""
        return self.inbox.available >= VOICE_FRAME

    def push_voice(self, samples: Samples) -> None:
        """Appends mono 48 kHz voice in [-1, 1], any length. NaN and infinity are silenced; BufferError when full."""
        clean = np.nan_to_num(np.asarray(samples, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        self.inbox.write(np.clip(clean, -1.0, 1.0))

    def control(self, controls: Controls) -> None:
        """Sets what the next frame shows. Raises ValueError for a viewpoint that is not finite."""
        self.controls = replace(controls, viewpoint=controls.viewpoint.clamped())

    def look_now(self) -> None:
        """Puts the camera where the controls want it, without the spring's way there (a file, not a live viewer)."""
        self.state.view = SpringState(self.controls.viewpoint)

    def wear(self, renderer: GeometricRenderer) -> None:
        """Changes the avatar or the framing from the next frame on; voice, motion and time go on as they are."""
        if renderer.size != self.parts.renderer.size:
            raise ValueError(f"a session keeps its picture size {self.parts.renderer.size}, got {renderer.size}")
        self.parts.renderer, self.state.render = renderer, renderer.initial_state()

    def step(self) -> Frame | None:
        """The next 40 ms: hear, move, look, paint. None while the voice (or its lookahead) is not there yet."""
        parts, state, stages = self.parts, self.state, Stages()
        while self.ready:
            voice = self.inbox.read(VOICE_FRAME)[None]
            sound, state.decimator = parts.decimator.step(voice, state.decimator)
            mel, state.logmel = parts.logmel.step(sound, state.logmel)
            stages.mark("mel")
            chances, state.vad = parts.vad.step(sound, state.vad)
            state.speech = float(chances.max(initial=0.0)) if chances.size else state.speech
            stages.mark("vad")
            lips, state.lips = parts.lips.step(mel, state.lips)
            voice, state.delay = parts.delay.step(voice, state.delay)
            state.heard += 1
            if state.heard <= parts.lookahead:
                continue  # the line is still filling
            controls = self.controls
            view, state.view = parts.spring.step(controls.viewpoint, state.view, FRAME_SECONDS)
            motion, state.behaviour = parts.behaviour.step(
                lips.face[0], state.speech, mel[0], parts.toward(view), state.behaviour
            )
            stages.mark("motion")
            picture, state.render = parts.renderer.step(motion, view, state.render, stages)
            i420 = parts.to_i420(picture.rgb, self.frames.claim())
            stages.mark("yuv")
            pts, state.painted = frame_pts(state.painted), state.painted + 1
            return Frame(
                pts,
                i420,
                voice[0],
                motion,
                view,
                state.speech,
                lips.viseme[0].copy(),
                controls.seq,
                stages.times,
            )
        return None


assert VOICE_FRAME == FRAME * 3
