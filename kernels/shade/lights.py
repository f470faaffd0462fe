"""The light a picture is taken in: three lamps and a room, as numbers the shading kernels read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Triple = tuple[float, float, float]


class Lights(NamedTuple):
    """lamps (3,6): world direction toward key, fill and rim lamp (unit), then linear colour. The key casts shadows.

    ambient (2,3): colour of the room from above and from below. ``exposure`` multiplies everything.
    """

    lamps: F32
    ambient: F32
    exposure: float

    @staticmethod
    def of(lamps: list[tuple[Triple, Triple]], above: Triple, below: Triple, exposure: float) -> Lights:
        """Lights from (direction, colour) of key, fill and rim; directions need not be unit."""
        rows = []
        for direction, colour in lamps:
            unit = np.array(direction) / np.linalg.norm(direction)
            rows.append([*unit, *colour])
        return Lights(np.array(rows, np.float32), np.array([above, below], np.float32), exposure)

    def seen_by(self, rotation: F32) -> tuple[F32, F32]:
        """The lamps with view-space directions (3,6), and the world's up in view space (3,)."""
        lamps = self.lamps.copy()
        lamps[:, :3] = self.lamps[:, :3] @ rotation.T
        return lamps, np.ascontiguousarray(rotation[:, 1])


# A soft key from the upper left, a faint cool fill from the right, a rim from behind: a portrait studio.
STUDIO = Lights.of(
    lamps=[
        ((-0.62, 0.62, 0.72), (1.15, 1.07, 0.98)),
        ((0.85, 0.05, 0.55), (0.21, 0.235, 0.265)),
        ((0.55, 0.50, -0.75), (0.60, 0.60, 0.66)),
    ],
    above=(0.20, 0.21, 0.225),
    below=(0.11, 0.096, 0.09),
    exposure=0.96,
)
