"""Guidance on a GPU: what a frame is told (struct Look of kernel.cu), and a frame's launches in order.

From the G-buffer of kernels/rasterize to the encoder's picture, one launch for all rows of a batch (kernels/rows.cuh):

1. guidance/drift, Drift: how see-through faces moved; then kernels/blend with ``motion`` as its tangents.
   Both fall away where no avatar of the batch has blended faces (``layer`` null).
2. guidance/sample, Sample: hi, lo; z and mask, which the next frame gets as old_depth and old_mask (two of each, in
   turn); lead and before, scratch.
3. guidance/columns, Columns; guidance/lead, Lead: lead beside the surface, and seen. old_depth null: no previous frame.
4. cells/follow, Follow: the network's cells. ``previous`` is the last frame's ``picture`` (two, in turn); null: none.
5. The network.
6. cells/show, Show: picture, I420 or NV12, alpha where wanted; the watermark where there is a field.

What is there twice, to be taken in turn, is the session's; all other outputs are scratch of a row. ``classes`` and
``kinds`` are the same for everybody, texels and start are the avatar's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels import layout
from kernels.cuda import blocks
from kernels.guidance import DEPTH
from kernels.guidance.shine import TERMS, turn
from kernels.jit import F32
from kernels.rasterize import Camera

STEPS = 254.0 / (2 * DEPTH)  # of the depth plane, a metre


class Call(NamedTuple):
    """One launch: kernels/``op``, its table of ``struct``, x and y of grid and block, what all rows share."""

    op: str
    kernel: str
    struct: str
    grid: tuple[int, int]
    block: tuple[int, int]
    shared: tuple[int, ...]


def look(light: F32, camera: Camera, distance: float, side: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """The record for ``light`` (2,3,TERMS) on normals in the world, seen by ``camera``. ``distance``: metres to the
    middle of the depth plane; ``side``: the texture's, in texels. ``out``: a record of the struct to fill, else new."""
    record = np.zeros((), layout.struct("guidance", "Look")) if out is None else out
    turned = np.empty((2, 3, TERMS), np.float32)
    turn(light, camera.rotation, turned)
    record["light"], record["rotation"] = turned, camera.rotation.ravel()
    record["bias"], record["near"], record["steps"] = np.log2(side), distance - DEPTH, STEPS
    return record


def drifting(count: int) -> Call:
    """How blended faces moved, of avatars with at most ``count`` of them."""
    return Call("guidance", "drift", "Drift", (blocks(max(count, 1), 128), 1), (128, 1), ())


def telling(size: tuple[int, int]) -> tuple[Call, ...]:
    """From the G-buffer (and the blended layer) to the network's cells, for pictures of ``size`` (H,W)."""
    height, width = size
    half = height // 2, width // 2
    return (
        Call("guidance", "sample", "Sample", (blocks(half[1], 32), blocks(half[0], 8)), (32, 8), size),
        Call("guidance", "columns", "Columns", (blocks(half[1], 32), 1), (32, 8), half),
        Call("guidance", "lead", "Lead", (blocks(half[1], 256), half[0]), (256, 1), half),
        Call("cells", "follow", "Follow", (blocks(width, 128), height // 8), (64, 4), size),
    )


def showing(size: tuple[int, int], nv12: bool = False) -> Call:
    """From the network's answer to the encoder's picture: I420, or NV12."""
    height, width = size
    return Call("cells", "show", "Show", (blocks(width, 32), height // 8), (256, 1), (int(nv12), height, width))
