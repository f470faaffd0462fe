"""A session whose frames are made on a GPU: the same voice, controls and clock, heard on the host and acted there."""

from __future__ import annotations

import numpy as np

from engine.gpu import wish
from engine.gpu.gpu import GpuRenderer
from engine.gpu.tick import Answer
from engine.motion.frame import Motion
from engine.motion.manner import Manner
from engine.parts import Parts
from engine.render.picture import Renderer
from engine.session import Frame, Heard, Session
from engine.stages import Stages
from engine.watermark.mark import Mark


class GpuSession(Session):
    """As Session, of parts whose renderer is a GpuRenderer. Motion is made there too, so there is no ``move``."""

    def __init__(self, parts: Parts, *, seed: int = 0, manner: Manner | None = None) -> None:
        super().__init__(parts, seed=seed, manner=manner)
        self._mark()

    @property
    def _renderer(self) -> GpuRenderer:
        renderer = self.parts.renderer
        assert isinstance(renderer, GpuRenderer)
        return renderer

    def wear(self, renderer: Renderer, mark: Mark | None = None) -> None:
        """As Session.wear; the seat stays, and with it what it has heard."""
        assert isinstance(renderer, GpuRenderer)
        seat = self._renderer.seat
        super().wear(renderer, mark)
        renderer.sit(seat)
        self._mark()

    def step(self, paint: bool = True) -> Frame | None:
        """The next 40 ms: heard here, acted and painted on the GPU, which leaves no picture out: acting is done there,
        too. None while the voice is not there yet."""
        stages = Stages()
        while (heard := self.hear(stages)) is not None:
            renderer = self._renderer
            shape = renderer.noise_shape
            wanted = wish.make(self, heard, self.parts.actor.performer, shape, renderer.worn)
            answer = renderer.paint(wanted, self.quality.steps, self.due)
            stages.mark("gpu")
            try:
                if heard.index >= 0:
                    return self._frame(heard, answer, stages)
            finally:
                answer.release()
            self.cut()  # the line is still filling: what was painted is nobody's past
        return None

    def _frame(self, heard: Heard, answer: Answer, stages: Stages) -> Frame:
        parts, i420 = self.parts, self.frames.claim()
        np.copyto(i420, answer.i420)
        cutout = parts.renderer.cutout() if parts.renderer.transparent else None
        if parts.mark is not None:
            parts.mark.tint(cutout)
        stages.mark("copy")
        return Frame(
            heard.pts, i420, heard.voice, Motion.unpack(answer.motion.copy()), heard.viewpoint, heard.speaking,
            answer.viseme[self._renderer.head].copy(), heard.controls.seq, stages.times, heard.interrupted, cutout,
            parts.renderer.clamped, self.quality.level,
        )  # fmt: skip

    def _mark(self) -> None:
        self._renderer.seat.mark(None if self.parts.mark is None else self.parts.mark.field)
