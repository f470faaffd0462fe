"""A contact sheet of cooked samples: every plane that the network is told, beside what it shall paint."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.renderer.data import Sample

U8 = NDArray[np.uint8]
TINTS: Final = np.array(
    [(20, 20, 24), (224, 172, 140), (90, 150, 230), (210, 70, 90), (120, 84, 50), (90, 170, 110), (240, 214, 120),
     (200, 120, 220)], np.uint8,
)  # fmt: skip
GREY: Final = 110
FLOW: Final = 8.0  # levels a pixel


def sheet(samples: list[Sample], tile: int = 160) -> U8:
    """One row a frame, one column a plane, (rows * tile, columns * tile, 3): lit texture; opacity; valid; strand; world
    normal; facing; depth; gloss; class; flow (and seen in blue); previous warped; target; its alpha; its class."""
    rows = []
    for sample in samples:
        parts = {name: value.numpy() for name, value in sample.items()}
        for k in range(len(parts["hi"])):
            rows.append(np.concatenate([_sized(picture, tile) for picture in _planes(parts, k)], axis=1))
    return np.concatenate(rows)


def photographs(samples: list[Sample], tile: int = 160) -> U8:
    """The reference planes, one row a sample: three photographs, then their normals."""
    rows = []
    for sample in samples:
        planes = sample["reference"].numpy()
        pictures = [np.moveaxis(slot[:3], 0, 2) for slot in planes]
        pictures += [np.moveaxis(0.5 + 0.5 * slot[3:6], 0, 2) for slot in planes]
        rows.append(np.concatenate([_sized(np.rint(255 * p).astype(np.uint8), tile) for p in pictures], axis=1))
    return np.concatenate(rows)


def _planes(parts: dict[str, NDArray[Any]], k: int) -> list[U8]:
    hi, lo, target = parts["hi"][k], parts["lo"][k], parts["target"][k]
    flow = np.clip(128 + FLOW * parts["flow"][k], 0, 255).astype(np.uint8)
    before = parts["previous"] if k == 0 else np.zeros_like(parts["previous"])
    return [
        _over(hi[:3], hi[3]), *map(_grey, hi[3:6]), np.moveaxis(lo[:3], 0, 2), *map(_grey, lo[3:6]),
        TINTS[lo[6]], np.stack([*flow, lo[7]], axis=2), _over(before[:3], before[3]), _over(target[:3], target[3]),
        _grey(target[3]), TINTS[parts["region"][k]],
    ]  # fmt: skip


def _over(colour: U8, alpha: U8) -> U8:
    """A premultiplied picture over grey."""
    return np.clip(np.moveaxis(colour, 0, 2) + GREY * (1 - alpha[..., None] / 255.0), 0, 255).astype(np.uint8)


def _grey(plane: U8) -> U8:
    return np.repeat(plane[..., None], 3, axis=2)


def _sized(picture: U8, tile: int) -> U8:
    """``picture`` (n,n,3) with ``tile`` pixels a side, by nearest pixels."""
    place = (np.arange(tile) + 0.5) * len(picture) / tile
    rows = place.astype(np.int64)
    return picture[rows][:, rows]
