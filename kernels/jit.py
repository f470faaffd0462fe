"""How every numba kernel here is compiled: no GIL, cached on disk, NumPy division (no checks in the loops).

``exact`` keeps IEEE arithmetic as written, which the rasterizer's watertight edges rest on; ``fast`` lets
LLVM reorder and fuse, which the per-pixel arithmetic needs to become SIMD code.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
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
    """
    root = Path(__file__).parent
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    folder = _place(root) / f"numba-{digest.hexdigest()}"
    for old in folder.parent.glob("numba-*"):
        if old != folder and time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return str(folder)


def _place(package: Path) -> Path:
    """Beside the source where that may be written to, else $XDG_CACHE_HOME/visavis (by default ~/.cache/visavis), else
    a folder that ends with this process: without any, numba refuses to compile."""
    if os.access(package, os.W_OK):
        return package / "__pycache__"
    try:
        kept = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "visavis"
        kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(kept, os.W_OK):
            return kept
    except (OSError, RuntimeError):  # no home, or one that may not be written to
        pass
    passing = tempfile.mkdtemp(prefix="visavis-")
    atexit.register(shutil.rmtree, passing, ignore_errors=True)
    return Path(passing)


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
