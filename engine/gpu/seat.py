"""A seat: one session's place on the GPU, what it wears and what it remembers from frame to frame."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.audio.logmel import BINS, WINDOW
from engine.clock import HOP, HOPS_PER_FRAME
from engine.gpu.worn import Worn
from engine.motion.perform import SILENT
from engine.motion.performance import PERFORMANCE
from engine.motion.performance import WINDOW as PERFORMED
from engine.viewpoint import Viewpoint
from kernels.cuda import Device, DeviceArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
HEARD = ("tail", "lips", "performer", "before", "made")  # what a session's Motion follows from


class Seat:
    """Device memory of one session: ``lips`` and ``performer``: how many numbers these networks remember; ``size``
    (H, W); ``vertices``: the most that an avatar may have.

    Pictures, places and depths of the previous frame are double: ``turn`` says which of the two it is, ``started``
    whether there is one. `namespace` gives everything by name, for `Launch.bind`. Any thread may tell a seat something,
    while nothing is painted for it.
    """

    def __init__(self, device: Device, size: tuple[int, int], lips: int, performer: int, vertices: int) -> None:
        self._device, (height, width) = device, size
        self.tail = device.zeros(WINDOW - HOP, np.float32)
        self.lips, self.performer = device.zeros(lips, np.float32), device.zeros(performer, np.float32)
        self.before = device.array(np.full((HOPS_PER_FRAME, BINS), SILENT, np.float32))
        self.made = device.zeros((PERFORMED, PERFORMANCE), np.float32)
        half = (height // 2, width // 2)
        self.place = [device.empty((vertices, 3), np.float32) for _ in range(2)]
        self.depth = [device.empty(half, np.float32) for _ in range(2)]
        self.mask = [device.empty(half, np.uint8) for _ in range(2)]
        self.picture = [device.zeros((height, width, 4), np.uint8) for _ in range(2)]
        self.turn, self.started = 0, False
        self.view: Viewpoint | None = None
        self.worn: Worn | None = None
        self.noise: dict[str, DeviceArray] = {}
        self.background: DeviceArray | None = None
        self.field: DeviceArray | None = None
        self.cutout: U8 | None = None  # pinned, (H,W,4): the last picture premultiplied, where it was asked for
        self.version = 0  # of everything that `namespace` tells
        self.halves: dict[tuple[Any, ...], Any] = {}  # kept by whoever asks for the same again

    def wear(self, worn: Worn) -> None:
        """Another avatar, or the first: the previous picture is not of it."""
        self.worn = worn
        self.change()
        self.cut()

    def hear(self, noise: dict[str, F32]) -> None:
        """The session's noise, and what the painter's first step hears of it."""
        self._device.use()
        self.noise = {name: self._device.array(np.ascontiguousarray(value[0])) for name, value in noise.items()}
        self.change()

    def show(self, behind: U8) -> None:
        """What is behind the avatar, (H,W,3)."""
        self._device.use()
        if self.background is None:
            self.background = self._device.array(behind)
            self.change()
        else:
            self.background.put(behind)

    def mark(self, field: NDArray[np.int8] | None) -> None:
        """The watermark's field (H,W), or none."""
        self._device.use()
        self.field = None if field is None else self._device.array(field)
        self.change()

    def recall(self) -> dict[str, F32]:
        """What it has heard and done so far, by name; waits for the GPU."""
        self._device.use()
        return {name: getattr(self, name).get() for name in HEARD}

    def remember(self, memory: dict[str, F32]) -> None:
        """Goes on from what another seat recalled, or from some of it."""
        self._device.use()
        for name, array in memory.items():
            held = getattr(self, name)
            held.put(np.ascontiguousarray(array.reshape(held.shape)))

    def change(self) -> None:
        """Says that `namespace` will tell something else."""
        self.version += 1
        self.halves.clear()

    def cut(self) -> None:
        """The next picture does not follow from the last one."""
        self.started, self.view = False, None

    def advance(self, view: Viewpoint) -> None:
        """A picture was painted from ``view``: it is the previous one now."""
        self.turn, self.started, self.view = 1 - self.turn, True, view

    def namespace(self) -> SimpleNamespace:
        """Every field that launches bind: the avatar's, this session's own, and of what is double ``now`` and
        ``was`` (0: there is none)."""
        assert self.worn is not None and self.background is not None
        now, was = self.turn, 1 - self.turn
        known = {
            f"was_{name}": pair[was] if self.started else 0
            for name, pair in (("place", self.place), ("depth", self.depth), ("mask", self.mask))
        }
        return SimpleNamespace(
            **self.worn.fields, **known, **{f"own_{name}": array for name, array in self.noise.items()},
            tail=self.tail, lips=self.lips, performer=self.performer, before=self.before, made=self.made,
            now_place=self.place[now], now_depth=self.depth[now], now_mask=self.mask[now],
            now_picture=self.picture[now], was_picture=self.picture[was],
            background=self.background, field=self.field,
        )  # fmt: skip
