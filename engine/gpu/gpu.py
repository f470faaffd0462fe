"""The GPU as the rest of the engine sees it: renderers that are painted there, together."""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import Avatar
from engine.gpu import wish
from engine.gpu.seat import Seat
from engine.gpu.tick import Answer, Tick
from engine.gpu.wish import Wish
from engine.gpu.worn import Worn
from engine.motion.condition import CONDITION
from engine.motion.emotion import LIP_ACTIONS
from engine.motion.frame import Motion
from engine.motion.manner import Manner
from engine.parts import Parts
from engine.render import camera, composite, neural
from engine.render.composite import Backdrop
from engine.render.network import Network, drawn
from engine.render.neural import NeuralPicture
from engine.render.picture import safe
from engine.schedule.turns import Turn
from engine.scheduler import Ask, Scheduler
from engine.session import Session
from engine.stages import Stages
from engine.viewpoint import Viewpoint
from kernels.compose import over

U8 = NDArray[np.uint8]
KEPT: Final = 16  # avatars that stay on the GPU


class Gpu:
    """One GPU, shared by sessions: its `Tick`, the thread that runs it, and the avatars that are there.

    ``network``: the renderer's files on the host, for identities and noise. ``close`` gives the thread back.
    """

    def __init__(self, tick: Tick, network: Network) -> None:
        self.tick, self.network = tick, network
        self.scheduler = Scheduler(tick)
        self._worn: dict[int, Worn] = {}
        self._lock = threading.Lock()

    @property
    def runs(self) -> str:
        """In words, on what: "NVIDIA H200, TensorRT fp16, up to 64 at a time"."""
        return f"{self.tick.device.name}, {self.tick.networks.runs}, up to {self.tick.buckets[-1]} at a time"

    def worn(self, avatar: Avatar) -> Worn:
        """``avatar`` on the GPU, brought there once. Raises ValueError for one that is too large."""
        with self._lock:
            if id(avatar) not in self._worn:  # which stays its own while it is worn
                surface, code = neural.identity(avatar, self.network)
                self._worn[id(avatar)] = self.tick.worn(lambda device: Worn(device, avatar, surface, code))
                while len(self._worn) > KEPT:
                    del self._worn[next(iter(self._worn))]
            return self._worn[id(avatar)]

    def renderer(self, avatar: Avatar, framing: str = "upper", *, background: Backdrop | None = None, seed: int = 0,
                 steps: int = 1) -> GpuRenderer:  # fmt: skip
        """A renderer of ``avatar`` here; see `GpuRenderer`."""
        return GpuRenderer(self, avatar, framing, background=background, seed=seed, steps=steps)

    def session(self, parts: Parts, seed: int, manner: Manner) -> Session:
        """A session of ``parts``, whose renderer is one of ours."""
        from engine.gpu.session import GpuSession

        return GpuSession(parts, seed=seed, manner=manner)

    def close(self) -> None:
        """Ends the GPU's thread."""
        self.scheduler.close()


class GpuRenderer:
    """A Renderer (engine/render/picture.py) whose pictures are painted on a GPU, with whoever else is there.

    ``steps`` of denoising: 1, 2 or 4, as far as the GPU was readied for them. Raises ValueError for an unknown framing,
    other steps, or an avatar that is too large.
    """

    def __init__(self, gpu: Gpu, avatar: Avatar, framing: str = "upper", *, background: Backdrop | None = None,
                 seed: int = 0, steps: int = 1) -> None:  # fmt: skip
        if steps not in gpu.tick.steps:
            raise ValueError(f"the GPU paints in {', '.join(map(str, gpu.tick.steps))} steps, not {steps}")
        self.framing, self.steps, self.clamped = camera.framing(framing), steps, 0
        self._gpu, self._avatar, self.worn = gpu, avatar, gpu.worn(avatar)
        self._backdrop = background or Backdrop()
        self._behind = composite.behind(self._backdrop, avatar, self.size)
        self._rgb, self._alpha = np.zeros((*self.size, 3), np.uint8), np.zeros(self.size, np.uint8)
        self._last = np.zeros((*self.size, 4), np.uint8)
        self.sit(gpu.tick.seat())
        normal = drawn(self.size, seed)
        self.seat.hear({**gpu.network.heard(self.size, normal), "normal": normal})

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures."""
        return self._gpu.tick.size

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """What the performer's network draws for one session."""
        return self._gpu.tick.noise_shape

    @property
    def head(self) -> int:
        """Which of the lip network's heads speaks."""
        return self._gpu.tick.lookahead

    @property
    def transparent(self) -> bool:
        """Whether nothing is behind the avatar."""
        return self._backdrop.transparent

    def sit(self, seat: Seat) -> None:
        """Takes a seat, a session's own when it changes what it wears: what it has heard stays."""
        self.seat = seat
        seat.wear(self.worn)
        seat.show(self._behind)

    def show(self, backdrop: Backdrop) -> None:
        """Changes what is behind the avatar from the next picture on."""
        self._behind = composite.behind(backdrop, self._avatar, self.size)
        self.seat.show(self._behind)
        self._backdrop = backdrop

    def keep_to(self, lane: int | None) -> None:
        """Makes no difference here."""

    def cutout(self) -> U8:
        """The last picture without its background, (H,W,4) sRGB with straight alpha; a new array."""
        return neural.straight(self._last)

    def default_viewpoint(self) -> Viewpoint:
        """Where this framing is seen from unless told otherwise."""
        return self.framing.default_viewpoint()

    def initial_state(self) -> GpuState:
        """The state before the first picture."""
        return GpuState(self)

    def paint(self, wanted: Wish, steps: int = 0, due: Turn | None = None) -> Answer:
        """Has one frame painted, in ``steps`` instead of the usual number; waits for it. ``release`` the answer."""
        answer: Answer = self._gpu.scheduler.step(Ask(self.seat, wanted, steps or self.steps, due))
        if answer.rgba is not None:
            self._last = answer.rgba
        return answer

    def step(self, motion: Motion, viewpoint: Viewpoint, state: Any,
             stages: Stages | None = None) -> tuple[NeuralPicture, Any]:  # fmt: skip
        """Paints a Motion as it is, without a voice. The picture's buffers are the renderer's own."""
        motion, packed, odd = safe(motion)
        self.clamped += odd
        frame = np.zeros((), wish.FRAME_RECORD)
        frame["manners"]["motion"], frame["manners"]["outside"] = packed, 2
        view, angles = wish.look(frame, viewpoint, self.framing, self.size, self.worn)
        gain, condition = np.ones(len(LIP_ACTIONS), np.float32), np.zeros(CONDITION, np.float32)
        self.paint(Wish(frame, gain, condition, 0.0, None, view, angles, cutout=True)).release()
        over(self._last, self._behind, self._rgb, self._alpha)
        if stages is not None:
            stages.mark("gpu")
        return NeuralPicture(self._rgb, self._alpha, self._last, np.zeros((0, 0), np.uint8)), state


class GpuState:
    """What the GPU remembers of the previous picture of a renderer's seat."""

    def __init__(self, renderer: GpuRenderer) -> None:
        self._renderer = renderer

    def reset(self, mask: bool = True) -> None:
        """Forgets it where ``mask`` is true."""
        if mask:
            self._renderer.seat.cut()
