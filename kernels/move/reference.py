"""What moving is, in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def move(source: Array, target: Array, when: int | None = None, otherwise: Array | None = None) -> None:
    """Copies ``source`` (n,) to ``target`` (n,) where ``when`` is not 0 (None: always), else ``otherwise``; without one
    ``target`` stays as it is."""
    chosen = source if when is None or when else otherwise
    if chosen is not None:
        target[:] = chosen
