"""Session: one voice, one avatar, one viewer. Voice in, frames out; no sockets, no wall clock.

``Session.step`` is the hot loop of the whole product, and reads as the picture in docs/structure.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.audio.delay import DelayState
from engine.audio.gate import gate
from engine.audio.logmel import LogMelState
from engine.audio.resample import DecimatorState
from engine.audio.vad import VadState
from engine.clock import FRAME, FRAME_SECONDS, VOICE_FRAME, VOICE_RATE, frame_pts
from engine.motion.actor import ActorState
from engine.motion.frame import Motion
from engine.motion.lips import LipState
from engine.motion.manner import Manner
from engine.parts import Parts
from engine.render.composite import Backdrop
from engine.render.easel import Easel
from engine.render.picture import Renderer, RenderState
from engine.ring import FrameRing, SampleRing
from engine.schedule.plan import FULL, Rung
from engine.schedule.turns import Turn
from engine.stages import Stages
from engine.viewpoint import SpringState, Viewpoint
from engine.watermark.mark import Mark

Samples = NDArray[np.float32]

INBOX_SECONDS = 2  # voice that may wait for the engine before the sender is told that it is too slow
RING_SLOTS = 8  # a painted picture stays intact for seven more frames


@dataclass(frozen=True, slots=True)
class Controls:
    """What the viewer asks for; takes effect at the next frame. ``seq`` comes back in ``Frame.control_seq``."""

    viewpoint: Viewpoint
    seq: int = 0
    manner: Manner = field(default_factory=Manner)


@dataclass(frozen=True, slots=True)
class Source:
    """Something else that moves the avatar: a file, a camera. ``motion`` gives frame i's Motion, None to let go.

    With ``lips`` the mouth is its own too; without, the voice speaks and everything else is the source's.
    """

    motion: Callable[[int], Motion | None]
    lips: bool = True


@dataclass(slots=True)
class Heard:
    """40 ms of voice taken in, before anything is made of it; what turns it into Motion is in ``SessionState.actor``.

    ``sound`` (640,) at 16 kHz; ``index`` of the frame that the lookahead has reached, negative while the line fills.
    The rest is that frame's: see Frame.
    """

    index: int
    sound: Samples
    voice: Samples
    viewpoint: Viewpoint
    speaking: float
    controls: Controls
    interrupted: bool

    @property
    def pts(self) -> int:
        """When the frame begins, in 16 kHz samples."""
        return frame_pts(self.index)


@dataclass(slots=True)
class Moved:
    """One frame before it is painted: what is known of it once it is heard. See Frame for the fields."""

    pts: int
    voice: Samples
    motion: Motion
    viewpoint: Viewpoint
    speaking: float
    viseme: Samples
    controls: Controls
    interrupted: bool


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
    interrupted: bool = False  # the voice is cut and the mouth shut until new speech begins
    cutout: NDArray[np.uint8] | None = None  # (H, W, 4) straight alpha, of a renderer with nothing behind the avatar
    clamped: int = 0  # frames so far whose Motion was out of range or not finite
    rung: int = 0  # level of the quality it was painted at; 0 is the full one
    repeated: bool = False  # the picture is the one before


@dataclass(slots=True)
class SessionState:
    """Everything a session remembers between frames."""

    decimator: DecimatorState
    logmel: LogMelState
    vad: VadState
    lips: LipState
    delay: DelayState
    actor: ActorState
    view: SpringState
    render: RenderState
    heard: int = 0  # frames of voice taken in
    painted: int = 0  # frames of it that are given out
    speech: float = 0.0
    gate: bool = True  # whether the voice goes out
    interrupts: int = 0  # the last one that dropped the voice that waited


class Session:
    """Not thread-safe: one thread calls ``step``, one (the same or another) calls ``push_voice``."""

    def __init__(self, parts: Parts, *, seed: int = 0, manner: Manner | None = None) -> None:
        self.parts = parts
        self.inbox = SampleRing(INBOX_SECONDS * VOICE_RATE)
        self.frames = FrameRing(RING_SLOTS, *parts.renderer.size)
        self.controls = Controls(parts.renderer.default_viewpoint(), manner=manner or Manner())
        self.state = SessionState(**parts.initial_state(seed, self.controls.manner))
        self.source: Source | None = None
        self.quality: Rung = FULL  # of the next pictures; sizes other than the full one take a `fit` first
        self.phase = 0  # which frames get a picture at half rate: sessions that share a machine take turns
        self.due: Turn | None = None  # the scheduler's word on the next frame, where others paint it
        self.easel = Easel(parts)

    @property
    def ready(self) -> bool:
        """Whether ``step`` has a whole frame of voice to work on."""
        return self.inbox.available >= VOICE_FRAME

    def push_voice(self, samples: Samples) -> None:
        """Appends mono 48 kHz voice in [-1, 1], any length. NaN and infinity are silenced; BufferError when full."""
        clean = np.asarray(samples, np.float32)
        if not np.isfinite(clean).all():
            clean = np.nan_to_num(clean, nan=0.0, posinf=0.0, neginf=0.0)
        self.inbox.write(np.clip(clean, -1.0, 1.0))

    def control(self, controls: Controls) -> None:
        """Sets what the next frame shows. Raises ValueError for a viewpoint that is not finite."""
        self.controls = replace(controls, viewpoint=controls.viewpoint.clamped())

    def interrupt(self) -> None:
        """Stops the mouth within 100 ms, cuts the voice and drops what of it waits, until new speech begins: voice
        after a pause."""
        manner = self.controls.manner
        self.controls = replace(self.controls, manner=replace(manner, interrupts=manner.interrupts + 1))

    def look_now(self) -> None:
        """Puts the camera where the controls want it, without the spring's way there (a file, not a live viewer)."""
        self.state.view = SpringState(self.controls.viewpoint)
        self.cut()

    def cut(self) -> None:
        """Says that the next picture does not follow from the last one: another place of a recording, another shot."""
        self.state.render.reset()
        self.easel.forget()

    @property
    def resting(self) -> bool:
        """Whether the next frame repeats its picture, at this quality."""
        return (self.state.painted + self.phase) % self.quality.every > 0 and not self.easel.blank

    def show(self, backdrop: Backdrop) -> None:
        """Changes what is behind the avatar from the next picture on."""
        for renderer in (self.parts.renderer, *self.easel.smaller.values()):
            renderer.show(backdrop)

    def adapt(self, turn: Turn) -> None:
        """Takes the scheduler's word on the next frame: how it is painted, as far as this session can, and whether
        others are painted meanwhile. Says in ``turn.level`` what came of it."""
        rung = turn.rung if self.easel.fits(turn.rung.scale) else replace(turn.rung, level=0, scale=1.0)
        self.quality, self.easel.lane, self.due, turn.level = rung, turn.lane, turn, rung.level

    def fit(self, scale: float, renderer: Renderer) -> None:
        """From now on pictures can be painted by ``renderer``, of ``scale`` times the size, and be enlarged."""
        self.easel.smaller[scale] = renderer

    def wear(self, renderer: Renderer, mark: Mark | None = None) -> None:
        """Changes the avatar or the framing from the next frame on; voice, motion and time go on as they are. ``mark``:
        the new avatar's watermark; without, pictures that are marked keep the one they have."""
        if renderer.size != self.parts.renderer.size:
            raise ValueError(f"a session keeps its picture size {self.parts.renderer.size}, got {renderer.size}")
        self.easel.clear()
        self.parts.renderer, self.state.render = renderer, renderer.initial_state()
        self.parts.mark = mark or self.parts.mark

    def step(self, paint: bool = True) -> Frame | None:
        """The next 40 ms: hear, move, look, paint. None while the voice (or its lookahead) is not there yet.

        Without ``paint``, as in the frames that the quality leaves out, the picture is the one before."""
        state, easel, stages = self.state, self.easel, Stages()
        paint = (paint and not self.resting) or easel.blank
        moved = self.move(stages)
        if moved is None:
            return None
        if paint:
            i420, cutout, state.render = easel.paint(
                moved.motion, moved.viewpoint, state.render, self.quality.scale, self.frames, stages
            )
        else:
            i420, cutout = easel.again(self.frames, stages)
        return Frame(
            moved.pts, i420, moved.voice, moved.motion, moved.viewpoint, moved.speaking, moved.viseme,
            moved.controls.seq, stages.times, moved.interrupted,
            cutout, easel.clamped, self.quality.level, not paint,
        )  # fmt: skip

    def move(self, stages: Stages | None = None) -> Moved | None:
        """The next 40 ms without a picture. None while the voice (or its lookahead) is not there yet."""
        stages = stages or Stages()
        while (heard := self.hear(stages)) is not None:
            motion, viseme = self._act(heard, stages)
            if heard.index >= 0:  # else the line is still filling
                return Moved(
                    heard.pts, heard.voice, motion, heard.viewpoint, heard.speaking, viseme, heard.controls,
                    heard.interrupted,
                )  # fmt: skip
        return None

    def hear(self, stages: Stages) -> Heard | None:
        """Takes in the next 40 ms of voice, and where the viewer is and what he asks for by then. None while they are
        not there yet."""
        parts, state, controls = self.parts, self.state, self.controls
        self._drop(controls.manner.interrupts)
        if not self.ready:
            return None
        voice = self.inbox.read(VOICE_FRAME)[None]
        sound, state.decimator = parts.decimator.step(voice, state.decimator)
        stages.mark("mel")
        chances, state.vad = parts.vad.step(sound, state.vad)
        state.speech = float(chances.max(initial=0.0)) if chances.size else state.speech
        stages.mark("vad")
        view, state.view = parts.spring.step(controls.viewpoint, state.view, FRAME_SECONDS)
        state.actor = parts.actor.prepare(controls.manner, state.speech, parts.places(view), state.actor)
        voice, state.delay = parts.delay.step(voice, state.delay)
        index, state.heard = state.heard - parts.lookahead, state.heard + 1
        heard = Heard(index, sound[0], voice[0], view, state.speech, controls, state.actor.turn.hushed)
        if index >= 0:
            state.painted += 1
            heard.voice, state.gate = gate(voice[0], state.gate, not heard.interrupted), not heard.interrupted
        stages.mark("motion")
        return heard

    def outside(self, index: int) -> Motion | None:
        """What another source wants frame ``index`` to be."""
        return self.source.motion(index) if self.source is not None and index >= 0 else None

    def _act(self, heard: Heard, stages: Stages) -> tuple[Motion, Samples]:
        """Motion and viseme posterior of the frame that the lookahead has reached."""
        parts, state, manner = self.parts, self.state, heard.controls.manner
        mel, state.logmel = parts.logmel.step(heard.sound[None], state.logmel)
        stages.mark("mel")
        lips, state.lips = parts.lips.step(mel, state.lips, state.actor.manner.lip_gain())
        outside = self.outside(heard.index)
        contact: Samples | None
        if outside is not None and self.source is not None and self.source.lips:
            face, contact = outside.face, None
        else:
            face, contact = lips.face[0], lips.contact[0]
        motion, state.actor = parts.actor.step(face, contact, heard.speaking, mel[0], manner, state.actor, outside)
        stages.mark("motion")
        return motion, lips.viseme[0].copy()

    def _drop(self, interrupts: int) -> None:
        """An interruption takes the voice that waits with it."""
        if interrupts != self.state.interrupts:
            self.state.interrupts = interrupts
            frames = self.inbox.available // VOICE_FRAME
            if frames > 1:  # the last frame stays: time goes on
                self.inbox.skip((frames - 1) * VOICE_FRAME)


assert VOICE_FRAME == FRAME * 3
