"""Where hair is, as people would outline it.

The studio says of every pixel whether a strand is in front; short hair, beards and brows let the skin through between
strands, and a class that changes from pixel to pixel outlines nothing.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.render.guidance import MASKS

REACH: Final = 9  # pixels of the square that is looked at around a pixel
SHARE: Final = 0.25  # of it that strands cover, from which it is hair, and below which it is skin
HAIR, SKIN = list(MASKS).index("hair"), list(MASKS).index("skin")


def outlined(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classes (..., H, W) with skin between strands as hair, and single strands over skin as skin; a new array."""
    hair = classes == HAIR
    size: Any = (1,) * (classes.ndim - 2) + (REACH, REACH)
    share = ndimage.uniform_filter(hair.astype(np.float32), size, mode="nearest")
    skin = ndimage.uniform_filter((classes == SKIN).astype(np.float32), size, mode="nearest")
    thin = hair & (share < SHARE) & (skin > share)
    out = np.where((classes == SKIN) & (share >= SHARE), HAIR, classes)
    return np.where(thin, SKIN, out).astype(np.uint8)
