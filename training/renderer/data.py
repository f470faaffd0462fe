"""Samples of cooked clips for training: a few consecutive frames of one crop, with everything the network is told.

Sample n of a seed is the same for ever, whoever asks and however many workers there are: a resumed run goes on with the
very next one. Nothing is turned, mirrored or tinted here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import IterableDataset, get_worker_info

from engine.avatar_reference import MOST
from engine.render.guidance import MASKS, warp
from engine.render.reference import PLANE, PLANES
from training.renderer.hair import outlined
from training.renderer.store import SUFFIX, Clip, Planes, empty

Sample = dict[str, Tensor]
CUT: Final = 0.20  # share of samples that begin with a cut, at least: nothing of a previous frame is known
ALIGN: Final = 8  # pixels: crops lie on the network's grid
# Where crops are taken: about a pixel of this class, if the frame has any.
AIM: Final = {"skin": 0.22, "eyes": 0.10, "mouth": 0.20, "hair": 0.16, "hands": 0.12, "clothes": 0.08, "none": 0.12}
COARSE: Final = 32  # pixels apart that the classes are looked up when aiming
KEPT: Final = 64  # clips that stay open
CLASSES: Final = list(MASKS)


class NoClips(ValueError):
    """There is nothing to learn from. The message says how to make it."""


class Clips:
    """The cooked clips in and below a folder, opened as they are asked for. Raises NoClips when there are none."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob(f"*{SUFFIX}"))
        if not self.paths:
            raise NoClips(f"{folder} holds no cooked clips; make some: python -m training.renderer cook --out {folder}")
        self._open: OrderedDict[int, Clip] = OrderedDict()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Clip:
        if index not in self._open:
            self._open[index] = Clip(self.paths[index])
            if len(self._open) > KEPT:
                self._open.popitem(last=False)
        self._open.move_to_end(index)
        return self._open[index]


class Samples(IterableDataset[Sample]):
    """Endless samples of T = ``frames`` frames of a crop (h, w) = (crop, crop), as tensors without a batch dimension:

    hi (T,6,h,w) u8; lo (T,8,h/2,w/2) u8, row 7: seen; flow (T,2,h/2,w/2) f32, pixels back to the previous frame;
    previous (4,h,w) u8: the true frame before the first, premultiplied, warped to it, 0 where not seen; target
    (T,4,h,w) u8 premultiplied; region (T,h,w) u8 class; motion (T,SIZE) f32; view (T,4) f32; reference (3,8,128,128).

    ``crop`` None: whole pictures. ``first``: how many samples of this ``seed`` were taken already. Clips of one pose
    from many sides have no previous frames, and a sample of several of their frames is one after another cut.
    """

    def __init__(self, folder: Path, frames: int, seed: int, first: int = 0, crop: int | None = 256) -> None:
        if not 1 <= frames <= 16:
            raise ValueError(f"frames must be 1 to 16, got {frames}")
        if crop is not None and (crop % 64 or crop < 64):
            raise ValueError(f"crop must be a multiple of 64, got {crop}")
        self.clips = Clips(folder)
        self.frames, self.seed, self.first, self.crop = frames, seed, first, crop

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        number, step = self.first, 1
        if worker is not None:  # a DataLoader takes batches from its workers in turn
            raise_if_unordered(worker.num_workers)
        while True:
            yield self.sample(number)
            number += step

    def sample(self, number: int) -> Sample:
        """Sample ``number``."""
        rng = np.random.default_rng((self.seed, number, 31))
        clip = self.clips[int(rng.integers(len(self.clips)))]
        return draw(clip, self.frames, self.crop, rng)


def raise_if_unordered(workers: int) -> None:
    """Raises ValueError for several workers, which would each yield the same samples."""
    if workers > 1:
        raise ValueError(f"use one loader worker (got {workers}): one keeps the order, and feeds two training threads")


def draw(clip: Clip, frames: int, crop: int | None, rng: np.random.Generator) -> Sample:
    """A sample of ``clip``: when and where as ``rng`` says. A clip too short is read to its end and its last frame
    repeated."""
    start = int(rng.integers(max(1, len(clip) - frames + 1)))
    if rng.random() < CUT:
        start = 0
    side = crop or clip.size
    top, left = (0, 0) if crop is None else _aim(clip, min(start, len(clip) - 1), crop, rng)
    return read(clip, start, frames, top, left, side)


def read(clip: Clip, start: int, frames: int, top: int, left: int, side: int) -> Sample:
    """``frames`` frames of ``clip`` from ``start`` on, seen in the square of ``side`` pixels at (top, left). What was
    outside the square in the previous frame counts as not seen."""
    order = [min(start + k, len(clip) - 1) for k in range(frames)]
    parts: list[Planes] = [clip.read(frame, top, left, side, empty(side, side)) for frame in order]
    seen = [np.where(_stays(part.flow, side), part.seen, 0).astype(np.uint8) for part in parts]
    lo = np.stack([np.concatenate([part.lo, known[None]]) for part, known in zip(parts, seen, strict=True)])
    sample = {
        "hi": np.stack([part.hi for part in parts]),
        "lo": lo,
        "flow": np.stack([part.flow for part in parts]),
        "previous": _previous(clip, start, top, left, side, parts[0].flow, seen[0]),
        "target": np.stack([part.target for part in parts]),
        "region": outlined(np.stack([part.region for part in parts])),
        "motion": clip.motion[order],
        "view": clip.view[order],
        "reference": reference(clip),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in sample.items()}


def reference(clip: Clip) -> NDArray[np.float32]:
    """The clip's reference planes as engine.render.reference.reference_planes gives them."""
    out = np.zeros((MOST, PLANES, PLANE, PLANE), np.float32)
    stored = clip.reference.astype(np.float32) / np.float32(255)
    out[: len(stored), :7] = stored
    normal = 2.0 * stored[:, 3:6] - 1.0
    out[: len(stored), 3:6] = np.where(np.abs(normal) < 0.005, 0.0, normal)  # a byte has no exact middle
    out[: len(stored), 7] = 1.0
    return out


def _previous(
    clip: Clip, start: int, top: int, left: int, side: int, flow: NDArray[np.float32], seen: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The true frame before ``start``, warped to it; (4,side,side)."""
    out = np.zeros((4, side, side), np.uint8)
    if start == 0 or clip.about["kind"] != "clip":
        return out
    target = clip.read(start - 1, top, left, side, empty(side, side)).target
    return warp(np.ascontiguousarray(np.moveaxis(target, 0, 2)), flow, seen, out)


def _stays(flow: NDArray[np.float32], side: int) -> NDArray[np.bool_]:
    """Where the flow (2,h/2,w/2) leads to a place inside a crop of ``side`` pixels, both pixels of its blocks."""
    low = 2.0 * np.arange(side // 2, dtype=np.float32)
    x, y = low[None] + flow[0], low[:, None] + flow[1]
    return (x >= 0) & (y >= 0) & (x <= side - 2) & (y <= side - 2)


def _aim(clip: Clip, frame: int, crop: int, rng: np.random.Generator) -> tuple[int, int]:
    """Where a crop lies: about a pixel of a class drawn by AIM, on multiples of ALIGN."""
    if clip.size == crop:
        return 0, 0
    region = clip.classes(frame, COARSE)
    wanted = str(rng.choice(list(AIM), p=np.array(list(AIM.values())) / sum(AIM.values())))
    rows, columns = np.nonzero(region == CLASSES.index(wanted))
    if len(rows) == 0:
        rows, columns = np.nonzero(region >= 0)
    pick = int(rng.integers(len(rows)))
    centre = np.array([rows[pick], columns[pick]]) * COARSE + rng.integers(0, COARSE, 2)
    corner = centre - crop // 2 + rng.integers(-crop // 4, crop // 4 + 1, 2)
    top, left = (np.clip(np.rint(corner / ALIGN), 0, (clip.size - crop) // ALIGN) * ALIGN).astype(int).tolist()
    return top, left


def held(folder: Path, count: int, crop: int | None = 256, seed: int = 0, frames: int = 1) -> list[Sample]:
    """``count`` fixed samples for validation, spread evenly over the clips. None of them changes when clips are added
    behind the others, only which are taken."""
    clips, samples = Clips(folder), []
    for n in range(count):
        rng = np.random.default_rng((seed, n, 37))
        clip = clips[n * len(clips) // count if count <= len(clips) else n % len(clips)]
        samples.append(draw(clip, frames, crop, rng))
    return samples


def warp_torch(previous: Tensor, flow: Tensor, seen: Tensor) -> Tensor:
    """``previous`` (B,4,h,w) in [0,1] moved by ``flow`` (B,2,h/2,w/2), pixels back to it; (B,4,h,w), 0 where ``seen``
    (B,1,h/2,w/2) is 0 or the flow leads outside. engine.render.guidance.warp for tensors, with gradients."""
    height, width = previous.shape[2:]
    full = F.interpolate(flow, scale_factor=2, mode="nearest")
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + full[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + full[:, 1]
    place = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    moved = F.grid_sample(previous, place, mode="bilinear", padding_mode="border", align_corners=False)
    low_x, low_y = x[:, ::2, ::2], y[:, ::2, ::2]
    inside = (low_x >= 0) & (low_y >= 0) & (low_x <= width - 2) & (low_y <= height - 2)
    usable = ((seen[:, 0] > 0) & inside).to(previous.dtype)[:, None]
    return moved * F.interpolate(usable, scale_factor=2, mode="nearest")
