"""Rooms: the memory that a tick works in, row by row, and where kernels and networks find each other's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from engine.gpu.block import Block, Layout
from engine.gpu.launches import MEL, Sizes
from engine.gpu.networks import NAMES, Buffer, Networks
from engine.gpu.wish import FRAME_RECORD
from engine.motion.frame import SIZE, K, R
from kernels.bones import MOST as BONES
from kernels.cuda import Device, DeviceArray

VERTICES, TRIANGLES = 24576, 36864  # room for an avatar; the shipped ones have up to 21151 and 30805
BLENDED: Final = 8192  # of its faces that are see-through; the shipped ones have up to 4280
RECORD, ROW, ENTRY = 12, 12, 16  # kernels/gbuffer.cuh
# Where the networks' inputs and outputs lie: in the block that goes to the GPU, in the results that come back, in
# scratch of the kernels; the rest in scratch of their own.
TOLD: Final = {"lips": ("gain",), "performer": ("condition", "temperature", "noise"), "painter": ("view", "wanted")}
SHOWN: Final = {"lips": ("viseme",), "performer": (), "painter": ("motion",)}
SHARED: Final = {
    ("lips", "mel"): "mel", ("lips", "state"): "lips", ("performer", "mel"): "heard",
    ("performer", "state"): "performer",
}  # fmt: skip
NEEDED: Final = {
    "lips": {"mel", "state", "gain"}, "performer": {"mel", "condition", "noise", "temperature", "state"},
    "painter": {"cells", "noise", "noise_detail", "view", "motion", "code"},
}  # fmt: skip
Tensors = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]


class Rooms:
    """What the networks read and write, and with `allocate` the memory for it and for the kernels.

    ``sizes``: of pictures and avatars. Raises ValueError for networks that are not of this version.
    """

    def __init__(
        self, device: Device, networks: Networks, size: tuple[int, int], vertices: int, triangles: int, blended: int
    ) -> None:
        self._device = device
        self._inputs: dict[str, Tensors] = {name: networks.inputs(name) for name in NAMES}
        self._outputs: dict[str, Tensors] = {name: networks.outputs(name) for name in NAMES}
        for name, needed in NEEDED.items():
            missing = needed - self._inputs[name].keys()
            if missing:
                raise ValueError(f"the {name} network is not of this version: it has no {', '.join(sorted(missing))}")
        self.noise = self._inputs["performer"]["noise"][0]
        self._size = size
        self.sizes = Sizes(*size, vertices, triangles, blended, self._counts())

    def _counts(self) -> dict[str, int]:
        """How many numbers of four bytes a session's networks remember or are told."""
        painter = self._inputs["painter"]
        counts = {name: self._inputs[name]["state"][0][0] for name in ("lips", "performer")}
        for name in ("noise", "noise_detail", "code", "normal"):
            if name in painter:
                counts[name] = int(np.prod(self._shape("painter", name))) * painter[name][1].itemsize // 4
        return counts

    def _shape(self, network: str, tensor: str) -> tuple[int, ...]:
        """Of one row; a painter's free sides follow from the picture's."""
        known = {**self._inputs[network], **self._outputs[network]}
        shape = known[tensor][0]
        if -1 not in shape:
            return shape
        height, width = self._size
        if tensor == "normal":
            return (3, height, width)
        by = 4 if tensor in ("residual", "shares") else 8
        return (height // by, width // by, *shape[2:])

    def told(self, steps: int) -> tuple[str, ...]:
        """What the painter is told of a session in every frame."""
        return ("code", "noise", "noise_detail", *(("normal",) if steps > 1 else ()))

    def inputs(self, batch: int, stride: int) -> Layout:
        """What a tick is told of ``batch`` rows; ``stride``: bytes of a plan's record."""
        performer = self._inputs["performer"]
        return Layout({
            "table": ((stride // 8,), np.uint64), "frame": ((), FRAME_RECORD),
            "gain": (self._inputs["lips"]["gain"][0], np.float32), "condition": (performer["condition"][0], np.float32),
            "temperature": ((1,), np.float32), "noise": (performer["noise"][0], np.float32),
            "view": ((4,), np.float32), "wanted": ((), np.int32),
        }, batch)  # fmt: skip

    def results(self, batch: int) -> Layout:
        """What comes back of ``batch`` rows."""
        height, width = self._size
        return Layout({
            "motion": ((SIZE,), np.float32), "changed": ((), np.int32),
            "viseme": (self._outputs["lips"]["viseme"][0], np.float32),
            "picture": ((height * 3 // 2, width), np.uint8),
        }, batch)  # fmt: skip

    def allocate(self, most: int, stride: int) -> None:
        """Memory for ``most`` rows; smaller batches use the first ones. Raises OutOfMemory."""
        (height, width), empty = self._size, self._device.empty
        half, (_, _, V, F, _, _) = (height // 2, width // 2), self.sizes
        f4, i4, u1 = np.float32, np.int32, np.uint8
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "weights": ((K + R,), f4), "bones": ((BONES, 3, 4), f4), "vertices": ((V, 3), f4), "normals": ((V, 3), f4),
            "xy": ((V + 2 * F, 2), i4), "record": ((V + 2 * F, RECORD), f4), "triangle": ((2 * F, 3), i4),
            "owner": ((2 * F,), i4), "plane": ((2 * F, 3, ROW), f4), "detail": ((F,), f4), "drift": ((F, 3), f4),
            "fade": ((2 * F,), f4), "buffer": ((height, width), np.uint64), "depth": ((height, width), f4),
            "face_plane": ((height, width), i4), "region": ((height, width), u1),
            "normals_plane": ((3, height, width), f4), "uv": ((2, height, width), f4),
            "flow": ((2, height, width), f4), "layer": ((height, width, ENTRY), f4),
            "hi": ((6, height, width), u1), "lo": ((7, *half), u1), "half_flow": ((2, *half), f4), "seen": (half, u1),
            "was": (half, f4), "nearest": (half, np.int16),
            **self._of_networks(),
        }  # fmt: skip
        self._scratch: dict[str, DeviceArray] = {}  # of a try before that did not fit
        self._scratch = {name: empty((most, *shape), dtype) for name, (shape, dtype) in shapes.items()}
        self.block = empty(self.inputs(most, stride).size, u1)
        self.shown = empty(self.results(most).size, u1)

    def _of_networks(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Scratch that networks read or write, one row of each."""
        rooms: dict[str, tuple[tuple[int, ...], Any]] = {
            "mel": ((MEL,), np.float32), "heard": ((2 * MEL,), np.float32),
        }  # fmt: skip
        for network in NAMES:
            for tensor, (_, dtype) in {**self._inputs[network], **self._outputs[network]}.items():
                if tensor not in (*TOLD[network], *SHOWN[network]):
                    rooms.setdefault(_place(network, tensor), (self._shape(network, tensor), dtype))
        return rooms

    def row(self, block: Block, results: Layout, row: int) -> SimpleNamespace:
        """Where everything of one row is: scratch, the frame's records, results. ``one`` is 1."""
        frame = block.pointer("frame", row)
        records = {name: frame + FRAME_RECORD.fields[name][1] for name in FRAME_RECORD.names or ()}  # type: ignore[index]
        scratch = {name: array.row(row) for name, array in self._scratch.items()}
        scratch |= {
            "heard_now": scratch["heard"] + 4 * MEL, "face": scratch["lips.face"], "contact": scratch["lips.contact"],
            "next_lips": scratch["lips.next_state"], "next_performer": scratch["performer.next_state"],
            "performance": scratch["performer.motion"],
        }  # fmt: skip
        told = {name: self.shown.pointer + results.offset(name, row) for name in ("motion", "changed", "picture")}
        return SimpleNamespace(**{**scratch, **records, **told, "one": 1})

    def buffers(self, network: str, batch: int, block: Block, results: Layout) -> dict[str, Buffer]:
        """Where a network reads and writes for a batch."""
        found = {}
        for tensor, (_, dtype) in {**self._inputs[network], **self._outputs[network]}.items():
            if tensor in TOLD[network]:
                pointer = block.pointer(tensor)
            elif tensor in SHOWN[network]:
                pointer = self.shown.pointer + results.offset(tensor)
            else:
                pointer = self._scratch[_place(network, tensor)].pointer
            found[tensor] = Buffer(pointer, (batch, *self._shape(network, tensor)), dtype)
        return found


def _place(network: str, tensor: str) -> str:
    """The scratch that a network's tensor is."""
    return tensor if network == "painter" else SHARED.get((network, tensor), f"{network}.{tensor}")
