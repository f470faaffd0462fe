"""Skin: blendshapes, linear blend skinning and smooth normals of one body.

``reference`` says what is computed, ``cpu`` (numba) and ``kernel.cu`` (CUDA C++) compute the same faster. ``mesh``
makes what a body brings along on a GPU, once.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST: Final = 64  # shapes; as in kernel.cu
WARP: Final = 32
COARSEST: Final = 5e-5  # metres that an offset may lose in half precision


def mesh(
    rest: Array, faces: Array, weld: Array, move_index: Array, deltas: Array, skin_index: Array, skin_weight: Array,
    fixed: Array, rest_normal: Array,
) -> dict[str, Array]:  # fmt: skip
    """One body's arrays as the structs Skin and Normals of kernel.cu name them.

    rest, rest_normal (V, 3); faces (F, 3); weld, fixed (V,); move_index (M,) vertices that the shapes' deltas
    (A, M, 3) move, in metres at weight 1; skin_index, skin_weight (V, 4). Offsets are kept in half precision, as avatar
    packs have them. Raises ValueError for more than MOST shapes and for offsets that half precision loses.
    """
    count, shapes = len(rest), len(deltas)
    if shapes > MOST:
        raise ValueError(f"the kernel adds {MOST} shapes at most, got {shapes}")
    small = deltas.astype(np.float16)
    lost = float(np.abs(small.astype(np.float32) - deltas).max(initial=0.0))
    if not lost <= COARSEST:
        raise ValueError(f"half precision loses {1e3 * lost:.3g} mm of an offset of {np.abs(deltas).max():.3g} m")
    moving = np.full(count, -1, np.int32)
    moving[move_index] = np.arange(len(move_index))
    bits = (small != 0).any(2).T @ (np.uint64(1) << np.arange(shapes, dtype=np.uint64))  # (M,) shapes that move it
    touched = np.zeros(-(-count // WARP) * WARP, np.uint64)
    touched[move_index] = bits
    begin, around = _fans(faces, weld, count)
    return {
        "rest": np.ascontiguousarray(rest, np.float32),
        "moving": moving,
        "touched": np.bitwise_or.reduce(touched.reshape(-1, WARP), axis=1),
        "delta_xy": np.ascontiguousarray(small[..., :2]).view(np.uint16),
        "delta_z": np.ascontiguousarray(small[..., 2]).view(np.uint16),
        "index": np.ascontiguousarray(skin_index, np.uint8),
        "weight": np.ascontiguousarray(skin_weight, np.float32),
        "begin": begin,
        "around": around,
        "weld": np.ascontiguousarray(weld, np.int32),
        "fixed": np.ascontiguousarray(fixed, np.uint8),
        "rest_normal": np.ascontiguousarray(rest_normal, np.float32),
    }


def _fans(faces: Array, weld: Array, count: int) -> tuple[Array, Array]:
    """The faces around each welded vertex w: ``around[begin[w] : begin[w + 1]]``, three vertices each."""
    owner = weld[faces].ravel()  # of face 0's three corners, then of face 1's
    order = np.argsort(owner, kind="stable")
    begin = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(owner, minlength=count), out=begin[1:])
    return begin, np.ascontiguousarray(faces[order // 3], np.int32)
