"""Camera: a Viewpoint and a Framing to the pinhole camera the kernels draw with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.viewpoint import Viewpoint
from kernels.rasterize import Camera

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Framing:
    """How much of the avatar a picture shows. ``target`` is the point orbited (metres, avatar space);
    ``distance`` the camera's default distance from it; ``field`` the vertical field of view in radians."""

    name: str
    target: tuple[float, float, float]
    distance: float
    field: float

    def default_viewpoint(self) -> Viewpoint:
        """Frontal, at eye level, at this framing's distance."""
        return Viewpoint(distance=self.distance)


FRAMINGS: Final = {
    framing.name: framing
    for framing in (
        Framing("head", (0.0, 0.0, -0.06), 1.05, math.radians(18.5)),
        Framing("upper", (0.0, -0.135, -0.08), 1.60, math.radians(22.0)),
        Framing("presenter", (0.0, -0.27, -0.06), 2.30, math.radians(22.0)),
    )
}


def framing(name: str) -> Framing:
    """The framing called ``name``. Raises ValueError when there is none."""
    if name not in FRAMINGS:
        raise ValueError(f"framing must be one of {', '.join(FRAMINGS)}; got {name!r}")
    return FRAMINGS[name]


def camera(viewpoint: Viewpoint, frame: Framing, size: tuple[int, int]) -> Camera:
    """The camera that looks from ``viewpoint`` at ``frame.target`` into a picture of ``size`` (H, W).

    Pan moves the target along the picture's own right and up, so that a drag moves the avatar with the hand
    at every yaw.
    """
    height, width = size
    sy, cy = math.sin(viewpoint.yaw), math.cos(viewpoint.yaw)
    sp, cp = math.sin(viewpoint.pitch), math.cos(viewpoint.pitch)
    right = np.array([cy, 0.0, -sy])
    outward = np.array([sy * cp, sp, cy * cp])
    up = np.cross(outward, right)
    eye = place(viewpoint, frame)
    rotation = np.stack([right, -up, -outward])
    focal = 0.5 * height / math.tan(0.5 * frame.field)
    translation = -rotation @ eye
    return Camera(rotation.astype(np.float32), translation.astype(np.float32), focal, (0.5 * width, 0.5 * height))


def place(viewpoint: Viewpoint, frame: Framing) -> NDArray[np.float64]:
    """The world point that the camera looks from."""
    sy, cy = math.sin(viewpoint.yaw), math.cos(viewpoint.yaw)
    sp, cp = math.sin(viewpoint.pitch), math.cos(viewpoint.pitch)
    return target(viewpoint, frame) + np.array([sy * cp, sp, cy * cp]) * viewpoint.distance


def target(viewpoint: Viewpoint, frame: Framing) -> NDArray[np.float64]:
    """The world point in the middle of the picture."""
    sy, cy = math.sin(viewpoint.yaw), math.cos(viewpoint.yaw)
    sp, cp = math.sin(viewpoint.pitch), math.cos(viewpoint.pitch)
    right = np.array([cy, 0.0, -sy])
    up = np.array([-sp * sy, cp, -sp * cy])  # outward x right
    return np.array(frame.target) + viewpoint.pan_x * right + viewpoint.pan_y * up
