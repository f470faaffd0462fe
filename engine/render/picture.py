"""Picture and Renderer: what a session gets painted, and what it asks of whoever paints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import Motion
from engine.render.camera import Framing
from engine.render.composite import Backdrop
from engine.stages import Stages
from engine.viewpoint import Viewpoint

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """One painted frame: rgb (H,W,3) sRGB over the background, alpha (H,W) of the avatar.

    The arrays belong to the renderer and live until its next step.
    """

    rgb: U8
    alpha: U8


class RenderState(Protocol):
    """What a renderer remembers of the previous picture."""

    def reset(self, mask: bool = True) -> None:
        """Forgets it where ``mask`` is true: after a cut."""
        ...


class Renderer(Protocol):
    """Paints what Motion and Viewpoint say, with static buffers for one viewer."""

    framing: Framing
    clamped: int  # frames whose Motion was out of range, or not finite, and was painted clamped

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures."""
        ...

    @property
    def transparent(self) -> bool:
        """Whether nothing is behind the avatar: rgb is over black, and ``cutout`` says what to blend."""
        ...

    def default_viewpoint(self) -> Viewpoint:
        """Where this framing is seen from unless told otherwise."""
        ...

    def show(self, backdrop: Backdrop) -> None:
        """Changes what is behind the avatar from the next picture on. May be called from another thread."""
        ...

    def keep_to(self, lane: int | None) -> None:
        """Says in which lane the next pictures are painted while others are painted beside them; None: none are."""
        ...

    def cutout(self) -> U8:
        """The last picture without its background, (H,W,4) sRGB with straight alpha; a new array. Only right while
        ``transparent``."""
        ...

    def initial_state(self) -> Any:
        """The state before the first picture: a RenderState of this renderer's own kind."""
        ...

    def step(self, motion: Motion, viewpoint: Viewpoint, state: Any,
             stages: Stages | None = None) -> tuple[Picture, Any]:  # fmt: skip
        """Paints one frame. The picture's buffers are the renderer's own; copy what must outlive the next step."""
        ...


def safe(motion: Motion) -> tuple[Motion, F32, bool]:
    """``motion`` in every channel's range and finite; the same packed; and whether anything had to be changed."""
    clipped = motion.clipped()
    packed = clipped.pack()
    return clipped, packed, not np.array_equal(packed, motion.pack())
