"""Neural renderer: guidance and the previous picture to cells, the network, cells to a picture over a background.

It paints what ``Motion`` and ``Viewpoint`` say and knows nothing of voices, sessions or torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import Avatar
from engine.backends.openvino import OpenVinoProgram
from engine.motion.frame import Motion
from engine.render import camera, composite, looks, reference
from engine.render.composite import Backdrop
from engine.render.guidance import Guide, History, Surface
from engine.render.network import Network
from engine.render.picture import Picture, safe
from engine.stages import Stages
from engine.viewpoint import PITCH_LIMIT, YAW_LIMIT, Viewpoint
from kernels import cells, guidance
from kernels.compose import over
from kernels.warp import fade, warp

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
JUMP: Final = math.radians(12)  # a camera that turns farther in one frame was cut to another place
SOFT: Final = math.radians(5)  # before the limit from which a view is held back more and more
NEAR, FAR = 0.6, 1.5  # distances of the training views, as shares of the framing's
PHOTOGRAPHED: Final = "photograph"  # a pack's hair when its outline is a photograph's: nothing lies beyond it
_KEPT: Final = 8  # avatars whose texture and code stay made
_known: dict[tuple[int, str], tuple[Avatar, Surface, F32]] = {}


@dataclass(frozen=True, slots=True)
class NeuralPicture(Picture):
    """Also: rgba (H,W,4) premultiplied sRGB without the background; mask (H/8,W/8) class ids of guidance.MASKS."""

    rgba: U8
    mask: U8


@dataclass(slots=True)
class NeuralState:
    """The previous frame: its geometry, its picture (H,W,4) premultiplied, and where it was seen from."""

    history: History
    previous: U8
    spare: U8
    view: Viewpoint | None = None

    def reset(self, mask: bool = True) -> None:
        """Forgets the previous frame where ``mask`` is true."""
        self.history.reset(mask)
        self.view = None if mask else self.view


class NeuralRenderer:
    """Static buffers for one viewer. ``size`` is (H, W); ``framing`` one of camera.FRAMINGS; ``seed`` draws the noise
    that stays the same for the whole session.

    Raises ValueError on an unknown framing, a size that is no multiple of 32, or a network that is missing or broken.
    """

    def __init__(self, avatar: Avatar, network: Network, size: tuple[int, int] = (512, 512), framing: str = "upper", *,
                 background: Backdrop | None = None, seed: int = 0) -> None:  # fmt: skip
        self.framing = camera.framing(framing)
        self._avatar, self._program = avatar, network.program(size, seed)
        surface, code = identity(avatar, network)
        self._guide = Guide(avatar, surface, size, framing)
        self._known = guidance.allocate(size)
        self._warped = np.zeros((4, *size), np.uint8)
        self._inputs = self._program.inputs(1)
        self._inputs["code"][:] = code
        self._rgb, self._alpha = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
        self._last = np.zeros((*size, 4), np.uint8)
        self._outlined = avatar.meta.look.get("hair") == PHOTOGRAPHED
        self.clamped = 0
        self.show(background or Backdrop())

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures."""
        return self._guide.size

    def keep_to(self, lane: int | None) -> None:
        """Says in which lane the next pictures are painted while others are painted beside them: then the network takes
        its part of the cores instead of all."""
        if isinstance(self._program, OpenVinoProgram):
            self._program.lane = lane

    @property
    def transparent(self) -> bool:
        """Whether nothing is behind the avatar."""
        return self._backdrop.transparent

    def show(self, backdrop: Backdrop) -> None:
        """Changes what is behind the avatar from the next picture on."""
        self._behind = composite.behind(backdrop, self._avatar, self.size)
        self._backdrop = backdrop

    def cutout(self) -> U8:
        """The last picture without its background, (H,W,4) sRGB with straight alpha; a new array."""
        return straight(self._last)

    def default_viewpoint(self) -> Viewpoint:
        """Where this framing is seen from unless told otherwise."""
        return self.framing.default_viewpoint()

    def initial_state(self) -> NeuralState:
        """The state before the first picture."""
        return NeuralState(self._guide.history(), np.zeros_like(self._last), np.zeros_like(self._last))

    def step(self, motion: Motion, viewpoint: Viewpoint, state: NeuralState,
             stages: Stages | None = None) -> tuple[NeuralPicture, NeuralState]:  # fmt: skip
        """Paints one frame. The picture's buffers are the renderer's own; copy what must outlive the next step."""
        stages = stages or Stages()
        motion, packed, changed = safe(motion)
        self.clamped += changed
        view = within_reach(viewpoint, self.framing.distance)
        state.reset(state.view is not None and jumped(state.view, view))
        known = self._guide.draw(motion, view, state.history, self._known, stages)
        fade(warp(state.previous, known.flow, known.seen, self._warped), known.hi[:3])
        cells.pack(known, self._warped, self._inputs["cells"][0])
        stages.mark("guide")
        self._inputs["motion"][0] = packed
        self._inputs["view"][0] = angles(view, self.framing)
        answer = self._program.run(1)
        stages.mark("network")
        self._last = cells.paint(
            answer["residual"][0], answer["shares"][0], answer["gain"][0], self._inputs["cells"][0], state.spare
        )
        if self._outlined:
            cells.confine(self._last, known.hi[:4])
        over(self._last, self._behind, self._rgb, self._alpha)
        stages.mark("composite")
        picture = NeuralPicture(self._rgb, self._alpha, self._last, answer["mask"][0])
        return picture, replace(state, previous=state.spare, spare=state.previous, view=view)


def straight(picture: U8) -> U8:
    """A premultiplied picture (H,W,4) with straight alpha; a new array."""
    out = picture.copy()
    places = picture[..., :3] + (picture[..., 3:].astype(np.uint16) << 8)
    np.take(_STRAIGHT, places, out=out[..., :3])
    return out


def _straight() -> U8:
    """What each value is without its alpha: (65536,), at alpha * 256 + value."""
    alpha = np.maximum(np.arange(256), 1)[:, None]
    return np.minimum((np.arange(256) * 255 + alpha // 2) // alpha, 255).astype(np.uint8).ravel()


_STRAIGHT: Final = _straight()


def identity(avatar: Avatar, network: Network) -> tuple[Surface, F32]:
    """The lit surface and the code of ``avatar``: made once, kept for the last few avatars."""
    key = (id(avatar), str(network.path.resolve()))
    if key not in _known:
        lit, worn, code = looks.look(avatar, network)
        surface = reference.lit_surface(avatar, lit, worn)
        _known[key] = (avatar, surface, code)  # holding the avatar keeps its id its own
        while len(_known) > _KEPT:
            del _known[next(iter(_known))]
    return _known[key][1:]


def angles(view: Viewpoint, frame: camera.Framing) -> tuple[float, float, float, float]:
    """What the network is told of a viewpoint: yaw, pitch, log of distance over the framing's, framing index / 2."""
    index = list(camera.FRAMINGS).index(frame.name)
    return view.yaw, view.pitch, math.log(view.distance / frame.distance), index / 2


def jumped(before: Viewpoint, now: Viewpoint) -> bool:
    """Whether the camera is somewhere else rather than farther on its way."""
    return abs(now.yaw - before.yaw) > JUMP or abs(now.pitch - before.pitch) > JUMP


def within_reach(view: Viewpoint, distance: float) -> Viewpoint:
    """``view`` where the network has been trained: nothing changes inside, and nothing jerks at the limit."""
    share = math.log(view.distance / distance)
    low, high = math.log(NEAR), math.log(FAR)
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    return replace(
        view,
        yaw=held_back(view.yaw, YAW_LIMIT, SOFT),
        pitch=held_back(view.pitch, PITCH_LIMIT, SOFT),
        distance=distance * math.exp(middle + held_back(share - middle, half, 0.1)),
    )


def held_back(value: float, limit: float, soft: float) -> float:
    """``value`` while it is ``soft`` within +-limit; beyond, ever slower toward the limit, with a continuous slope."""
    excess = abs(value) - (limit - soft)
    if excess <= 0.0:
        return value
    return math.copysign(limit - soft + soft * math.tanh(excess / soft), value)
