"""Where the person is in a photograph: MediaPipe's selfie segmentation (Apache-2.0), drawn to the photograph's edges.

The network answers at 256 x 256. A guided filter (He, Sun and Tang 2013, equations 14 to 16: a colour guide) carries
its answer over to the full picture: near the outline, alpha becomes a linear function of the photograph's own colours.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.backends import ort

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
NETWORK: Final = Path(__file__).parents[1] / "assets" / "person_mask.onnx"
SIDE: Final = 256
WORK: Final = 512  # longer side at which edges are looked for; the filter's lines hold at any size
REACH: Final = 0.012  # of the longer side: how far an edge may be from where the network saw it
SMOOTH: Final = 2e-4  # variance of colour below which the photograph has no edge


def matte(photo: U8, inside: tuple[int, int] | None = None) -> U8:
    """Alpha (H,W) of the person in ``photo`` (H,W,3) u8 sRGB. With ``inside``, row and column of a pixel of theirs,
    only what hangs together with it."""
    guide = photo.astype(np.float32) / np.float32(255)
    height, width = photo.shape[:2]
    scale = WORK / max(height, width)
    small = _resized(guide, (max(round(height * scale), 8), max(round(width * scale), 8)))
    coarse = _resized(_seen(guide)[..., None], small.shape[:2])[..., 0]
    lines = _lines(small, coarse, max(round(REACH * WORK), 1))
    a = _resized(lines, (height, width))
    alpha = np.clip((a[..., :3] * guide).sum(-1) + a[..., 3], 0, 1)
    alpha = np.clip((alpha - 0.08) / 0.84, 0, 1)  # almost nothing is nothing
    if inside is not None:
        parts, _ = ndimage.label(alpha > 0.3)
        own = parts == parts[inside] if parts[inside] else np.zeros(parts.shape, bool)
        alpha = alpha * ndimage.binary_dilation(own, iterations=max(round(0.01 * max(height, width)), 2))
    return np.rint(alpha * 255).astype(np.uint8)


def _seen(guide: F32) -> F32:
    """The network's answer, (SIDE, SIDE) in [0, 1]."""
    program = _program()
    program.inputs(1)["image"][0] = np.moveaxis(_resized(guide, (SIDE, SIDE)), 2, 0)
    (answer,) = program.run(1).values()
    return np.array(answer, np.float32).reshape(SIDE, SIDE)


@cache
def _program() -> ort.OrtProgram:
    return ort.load(NETWORK, (1,))


def _lines(guide: F32, alpha: F32, reach: int) -> F32:
    """Of each pixel (h,w,4): weights of red, green, blue, and an offset, that make ``alpha`` of ``guide`` around it."""
    size = 2 * reach + 1

    def mean(x: F32) -> F32:
        around = (size, size) + (1,) * (x.ndim - 2)
        return np.asarray(ndimage.uniform_filter(x, around, mode="nearest"), np.float32)

    colour, level = mean(guide), mean(alpha)
    both = mean(guide[..., :, None] * guide[..., None, :]) - colour[..., :, None] * colour[..., None, :]
    along = mean(guide * alpha[..., None]) - colour * level[..., None]
    weights = np.linalg.solve(both + np.float32(SMOOTH) * np.eye(3, dtype=np.float32), along[..., None])[..., 0]
    offset = level - (weights * colour).sum(-1)
    return mean(np.concatenate([weights, offset[..., None]], -1).astype(np.float32))


def _resized(x: F32, size: tuple[int, ...]) -> F32:
    """(H,W,C) bilinear at ``size``, averaged first where that is much smaller."""
    for axis in (0, 1):
        factor = x.shape[axis] / size[axis]
        if factor > 1:
            x = ndimage.uniform_filter1d(x, max(round(factor), 1), axis=axis, mode="nearest")
    rows, columns = (
        (np.arange(n, dtype=np.float32) + 0.5) * (m / n) - 0.5 for n, m in zip(size, x.shape, strict=False)
    )
    place = np.meshgrid(rows, columns, indexing="ij")
    planes = [ndimage.map_coordinates(x[..., c], place, order=1, mode="nearest") for c in range(x.shape[-1])]
    return np.stack(planes, axis=-1).astype(np.float32)
