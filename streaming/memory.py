"""Memory given back to the system: what the allocator keeps after an avatar was put on, taken off or let go.

Loading an avatar frees as much as it keeps, in pieces of all sizes; glibc holds on to it, and a process that changed
avatars a few times is twice as large as it need be (1045 MB, and 540).
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable


def give_back() -> None:
    """Takes 5 to 50 ms, in which other threads that allocate may have to wait. Does nothing where there is no glibc."""
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """glibc's malloc_trim; None where it is another's C library."""
    if not sys.platform.startswith("linux"):
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
