"""Mark: the watermark of one session, laid on its pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.watermark.code import PUBLIC_KEY, TILE, Payload, cell_size, tile, weights
from kernels.watermark import FIELD_ONE
from kernels.watermark import mark as lay
from kernels.yuv import to_i420

U8 = NDArray[np.uint8]


class Mark:
    """The pattern is the same in every picture: a codec keeps what does not change, and it does not flicker.

    ``field`` (H,W) i8: the pattern in units of 1 / FIELD_ONE (kernels/watermark).
    """

    def __init__(self, payload: Payload, height: int, width: int, key: str = PUBLIC_KEY) -> None:
        self.payload = payload
        cell = cell_size(height, width)
        field = weights(height, cell, TILE).T @ tile(key, payload) @ weights(width, cell, TILE)
        self.field = np.ascontiguousarray(np.rint(field * FIELD_ONE).astype(np.int8))

    def __call__(self, i420: U8, cutout: U8 | None = None) -> None:
        """Marks the luma of ``i420`` (H * 3 / 2, W) in place. ``cutout`` (H,W,4) sRGB with straight alpha, where there
        is one, is marked in place too: each colour by the step of its luma; what is wholly transparent stays."""
        lay(i420[: len(self.field)], self.field)
        self.tint(cutout)

    def tint(self, cutout: U8 | None) -> None:
        """As calling it, the cutout alone."""
        if cutout is not None:
            luma = to_i420(np.ascontiguousarray(cutout[..., :3]))[: len(cutout)]
            before = luma.astype(np.int16)
            lay(luma, self.field)
            step = np.where(cutout[..., 3] > 0, luma.astype(np.int16) - before, 0)[..., None]
            cutout[..., :3] = np.clip(cutout[..., :3] + step, 0, 255)
