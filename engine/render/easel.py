"""Easel: what one session's pictures are painted on: full size, smaller and enlarged again, or the last one once more.

Renderers of other sizes are made elsewhere (`Engine.smaller`) and only put here; each has a past of its own, which is
forgotten when another one paints.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import Motion
from engine.parts import Parts
from engine.render.picture import Renderer
from engine.ring import FrameRing
from engine.stages import Stages
from engine.viewpoint import Viewpoint
from kernels.edges import Edges
from kernels.resize import resize_i420

U8 = NDArray[np.uint8]


class Easel:
    """Belongs to the thread that steps the session. ``smaller``: renderers by their scale."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.smaller: dict[float, Renderer] = {}
        self.lane: int | None = None  # that it is painted in, beside others
        self._clamped = 0
        self._last: U8 | None = None  # the picture before, marked
        self._cutout: U8 | None = None
        self._painter: Renderer = parts.renderer
        self._room: U8 | None = None

    @property
    def clamped(self) -> int:
        """Frames so far whose Motion was out of range, or not finite."""
        return self._clamped + self._parts.renderer.clamped + sum(one.clamped for one in self.smaller.values())

    @property
    def blank(self) -> bool:
        """Whether there is no picture yet that could be shown once more."""
        return self._last is None

    def fits(self, scale: float) -> bool:
        """Whether pictures can be painted at ``scale``: full size always, and alone where nothing is behind them."""
        return scale == 1.0 or (scale in self.smaller and not self._parts.renderer.transparent)

    def clear(self) -> None:
        """Somebody else is to be seen: nothing that was made for the last one is of use."""
        self._clamped = self.clamped
        self.smaller, self._last, self._cutout = {}, None, None

    def forget(self) -> None:
        """The next picture does not follow from the last."""
        self._last = self._cutout = None

    def paint(
        self, motion: Motion, view: Viewpoint, state: Any, scale: float, frames: FrameRing, stages: Stages
    ) -> tuple[U8, U8 | None, Any]:
        """The picture, I420 in the session's ring, its cutout where nothing is behind it, and the renderer's state."""
        parts = self._parts
        renderer = self.smaller[scale] if scale != 1.0 and self.fits(scale) else parts.renderer
        if renderer is not self._painter:
            self._painter, state = renderer, renderer.initial_state()
        renderer.keep_to(self.lane)
        picture, state = renderer.step(motion, view, state, stages)
        i420 = frames.claim()
        if renderer is parts.renderer:
            parts.to_i420(picture.rgb, i420)
        else:
            self._enlarge(parts.to_i420(picture.rgb, self._small(renderer.size)), i420)
        stages.mark("yuv")
        cutout = renderer.cutout() if renderer.transparent else None
        if parts.mark is not None:
            parts.mark(i420, cutout)
            stages.mark("watermark")
        self._last, self._cutout = i420, cutout
        return i420, cutout, state

    def again(self, frames: FrameRing, stages: Stages) -> tuple[U8, U8 | None]:
        """The last picture once more, in a place of its own in the ring."""
        assert self._last is not None
        i420 = frames.claim()
        np.copyto(i420, self._last)
        self._last = i420
        stages.mark("yuv")
        return i420, self._cutout

    def _small(self, size: tuple[int, int]) -> U8:
        shape = (size[0] * 3 // 2, size[1])
        if self._room is None or self._room.shape != shape:
            self._room = np.empty(shape, np.uint8)
            self._edges = Edges(size, self._parts.renderer.size)
            self._large = np.empty(self._edges.wanted, np.uint8)
        return self._room

    def _enlarge(self, small: U8, i420: U8) -> None:
        resize_i420(small, i420)
        height, width = self._edges.size
        luma = i420[: self._edges.wanted[0]]
        np.copyto(self._large, luma)
        self._edges.smooth(small[:height], self._large, luma)
