"""Blended layer: hair tips and lashes, gathered per pixel so that they can be lit once and laid over the rest."""

from __future__ import annotations

import numpy as np

from kernels.blend import cpu
from kernels.rasterize import Rasterizer
from kernels.texture import Paint


class BlendedLayer:
    """Static buffers for one picture size. Entry k of ``layer`` (N, 16) belongs to pixel ``pixel[k]`` (flat index).

    ``slot`` (H,W) is the entry of a pixel or -1. What an entry holds: see kernels/blend/cpu.py.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        self.slot = np.full(size, -1, np.int32)
        self.pixel = np.empty(height * width, np.int32)
        self.layer = np.empty((height * width, cpu.ENTRY), np.float32)
        self.fragment = np.empty((cpu.BATCH + width, 3), np.int32)
        self.count = 0

    def draw(self, raster: Rasterizer, paint: Paint, reference: float) -> int:
        """Accumulates the blended faces of the frame that ``raster`` has just drawn; returns the entries made.

        ``reference`` is the depth, in metres, at which nearness weighs 1.
        """
        cpu.forget(self.count, self.pixel, self.slot)
        triangle, owner, count = raster.blended_triangle, raster.blended_owner, raster.blended_count
        raster.planes(triangle, owner, count, raster.blended_plane)
        self.count = cpu.accumulate(
            raster.xy, raster.blended_plane, triangle, owner, raster.fade, count, paint, np.float32(reference),
            raster.buffer.nearness, self.fragment, self.slot, self.pixel, self.layer,
        )  # fmt: skip
        return self.count
