"""Eyeballs: a smooth sphere with a corneal bulge, turned so that both look at the viewer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.bake import atlas, mesh
from training.bake.mesh import Part
from training.bake.prior import EYE_L, EYE_R, Person
from training.bake.rig import Rig, fit_sphere

Array = NDArray[Any]
VIEWER = np.array([0.0, 0.0, 0.85])  # metres: where two relaxed eyes meet
RINGS, SECTORS = 12, 28
OPEN_ANGLE = np.radians(112)  # the ball is built this far round from the pupil: the rest is never seen
CORNEA = np.radians(27)  # limbus, where the cornea's bulge begins
IRIS = np.radians(24)  # edge of the iris
BULGE = 0.00075  # metres of the cornea over the sphere
SHRINK = 0.00015  # metres the ball is kept inside the prior's, so lids never show it through


def eye_parts(person: Person, rig: Rig) -> list[Part]:
    """Two eyeballs with a polar layout in the atlas: the pupil in the middle, angle as radius."""
    parts = []
    for name, vertices in (("eye_l", EYE_L), ("eye_r", EYE_R)):
        centre, radius = fit_sphere(person.rest[vertices])
        angle, turn = _grid()
        local = _ball(angle, turn, radius - SHRINK)
        forward = VIEWER - centre
        forward /= np.linalg.norm(forward)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        frame = np.stack([right, np.cross(forward, right), forward])
        side = 1.0 if name == "eye_l" else -1.0  # the inner corner lies on the same side of the painting
        unit = 0.5 + 0.5 * radius_of(angle)[:, None] * np.stack([side * np.cos(turn), -np.sin(turn)], axis=1)
        part = Part(
            name=name, rest=centre + local @ frame, faces=_faces(), uv=atlas.EYE.place(unit),
            region=np.zeros(0, np.uint8), weight=rig.rigid(len(angle), name), paint=local / radius,
        )  # fmt: skip
        parts.append(part.with_region("eyes"))
    return parts


def radius_of(angle: Array) -> Array:
    """Radius in the painting, in [0, 1], of an angle from the optical axis: the iris gets the room it needs."""
    return (angle / OPEN_ANGLE) ** 0.65


def angle_of(radius: Array) -> Array:
    """The inverse of :func:`radius_of`."""
    return OPEN_ANGLE * radius ** (1 / 0.65)


def _grid() -> tuple[Array, Array]:
    """Angle from the optical axis and angle around it: a pole, then rings, dense at the limbus."""
    rings = OPEN_ANGLE * np.linspace(0, 1, RINGS + 1)[1:] ** 1.25
    turn = np.arange(SECTORS) * 2 * np.pi / SECTORS
    return np.r_[0.0, np.repeat(rings, SECTORS)], np.r_[0.0, np.tile(turn, RINGS)]


def _ball(angle: Array, turn: Array, radius: float) -> Array:
    rise = np.clip(1 - (angle / CORNEA) ** 2, 0.0, None) ** 1.5
    size = radius + BULGE * rise
    return np.stack(
        [size * np.sin(angle) * np.cos(turn), size * np.sin(angle) * np.sin(turn), size * np.cos(angle)], axis=1
    )


def _faces() -> Array:
    around = np.arange(SECTORS)
    cap = np.stack([np.zeros(SECTORS, int), 1 + around, 1 + (around + 1) % SECTORS], axis=1)
    rings = mesh.grid_faces(RINGS, SECTORS, closed=True) + 1
    return np.concatenate([cap, rings]).astype(np.int32)
