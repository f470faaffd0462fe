"""How every numba kernel here is compiled: no GIL, cached on disk, NumPy division (no checks in the loops).

``exact`` keeps IEEE arithmetic as written, which the rasterizer's watertight edges rest on; ``fast`` lets
LLVM reorder and fuse, which the per-pixel arithmetic needs to become SIMD code.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Flags = NDArray[np.bool_]
# Scalars inside a compiled function: numba gives them the types the arithmetic asks for.
Real: TypeAlias = Any  # float32 unless said otherwise
Int: TypeAlias = Any

KEPT_SECONDS = 86_400  # an older version's compiled kernels are removed after a day


def _cache_folder() -> str:
    """Where compiled kernels are kept: a folder named after the source of all of them.

    numba looks only at the file a kernel is in, and would go on using one whose helpers have changed elsewhere.
    Empty, which is numba's own choice of place, when this package may not be written to.
    """
    root = Path(__file__).parent
    if not os.access(root, os.W_OK):
        return ""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    folder = root / "__pycache__" / f"numba-{digest.hexdigest()}"
    for old in folder.parent.glob("numba-*"):
        if old != folder and time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return str(folder)


_settings: Any = numba.config
if not _settings.CACHE_DIR:  # set by NUMBA_CACHE_DIR
    _settings.CACHE_DIR = _cache_folder()

Function = TypeVar("Function", bound=Callable[..., Any])

# A helper with many arrays must be inlined: as a call it would pass seven words for each of them, every pixel.
# NaN and infinity keep their meaning in ``fast``: bad input must stay visible to the checks after it.
_FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}


def exact(function: Function) -> Function:
    """Compiles ``function`` with strict IEEE arithmetic."""
    return cast(Function, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


def fast(function: Function) -> Function:
    """Compiles ``function`` with reordered and fused arithmetic (results differ in the last bits)."""
    return cast(Function, numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)(function))


def inlined(function: Function) -> Function:
    """Like ``fast``, but always made part of the caller: for helpers inside a pixel loop."""
    return cast(Function, numba.njit(nogil=True, error_model="numpy", fastmath=_FAST, forceinline=True)(function))
