"""The canvas all paint goes on, and the paint of eyes and mouth, each in its rectangle of the atlas."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.bake import atlas, eyes, mouth
from training.bake.atlas import Rect
from training.bake.brush import bump, ease, linear, noise, srgb
from training.bake.identities import Identity

Array = NDArray[Any]


class Canvas:
    """The two textures being painted, as floats: colour (linear) + alpha, and the four surface channels."""

    def __init__(self) -> None:
        self.albedo = np.zeros((atlas.SIZE, atlas.SIZE, 4), np.float32)
        self.albedo[..., 3] = 1.0
        self.surface = np.zeros((atlas.SIZE, atlas.SIZE, 4), np.float32)
        self.surface[..., 0] = 1.0
        self.height = np.zeros((atlas.SIZE, atlas.SIZE), np.float32)  # relief in metres
        self.painted = np.zeros((atlas.SIZE, atlas.SIZE), bool)

    def fill(
        self, rect: Rect, colour: Array, *, alpha: Array | float = 1.0, light: Array | float = 1.0,
        gloss: Array | float = 0.3, blood: Array | float = 0.0, strand: float = 0.0,
    ) -> None:  # fmt: skip
        """Paints one rectangle; arrays are (height, width[, 3])."""
        rect.window(self.painted)[:] = True
        rect.window(self.albedo)[..., :3] = colour
        rect.window(self.albedo)[..., 3] = alpha
        for channel, value in enumerate((light, gloss, blood, strand)):
            rect.window(self.surface)[..., channel] = value

    def textures(self) -> tuple[Array, Array]:
        """(albedo, surface) as the pack stores them, uint8.

        Texels that nothing painted take their nearest painted neighbour: compression then has no edge to ring at.
        """
        from scipy.ndimage import distance_transform_edt

        coarse = self.painted[::2, ::2]  # every second texel is near enough, and four times as fast
        near = distance_transform_edt(~coarse, return_distances=False, return_indices=True)
        rows, columns = np.nonzero(~self.painted)
        source = tuple(2 * axis[rows // 2, columns // 2] for axis in near)
        self.albedo[rows, columns], self.surface[rows, columns] = self.albedo[source], self.surface[source]
        alpha = np.round(np.clip(self.albedo[..., 3:], 0, 1) * 255).astype(np.uint8)
        albedo = np.concatenate([srgb(self.albedo[..., :3]), alpha], axis=2)
        return albedo, np.round(np.clip(self.surface, 0, 1) * 255).astype(np.uint8)


def _grid(rect: Rect) -> tuple[Array, Array]:
    """u, v in [0, 1] of every texel of a rectangle, as Rect.place lays them out."""
    u = (np.arange(rect.width) + 0.5 - 1.5) / (rect.width - 3.0)
    v = (np.arange(rect.height) + 0.5 - 1.5) / (rect.height - 3.0)
    return np.broadcast_to(u, (rect.height, rect.width)), np.broadcast_to(v[:, None], (rect.height, rect.width))


def _noise2(x: Array, y: Array, octaves: int, seed: int) -> Array:
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.5)], axis=1)
    return noise(points, 1.0, octaves, seed).reshape(x.shape)


def paint_eye(canvas: Canvas, identity: Identity, seed: int) -> None:
    """Iris with fibres, collarette and limbal ring; a warm sclera with fine veins toward the corners."""
    u, v = _grid(atlas.EYE)
    px, py = (u - 0.5) * 2, (0.5 - v) * 2  # px > 0 is the outer corner side of the left eye
    turn = np.arctan2(py, px)
    angle = eyes.angle_of(np.hypot(px, py))
    r = angle / eyes.IRIS
    fibre = 0.55 * _noise2(np.cos(turn) * 9 + r, np.sin(turn) * 9 - r, 2, seed + 20)
    fibre += 0.45 * _noise2(np.cos(turn) * 26 + 0.6 * r, np.sin(turn) * 26, 2, seed + 21)
    base = linear(identity.iris)
    tone = base * (0.40 + 1.35 * ease(fibre, 0.28, 0.76))[..., None]
    collar = bump(r + 0.05 * (fibre - 0.5), 0.52, 0.13)[..., None]
    tone = tone * (1 - 0.45 * collar) + 0.45 * collar * base * np.array([1.75, 1.25, 0.75])
    tone = tone * (1.18 - 0.30 * r[..., None]) * (1 - 0.86 * ease(r, 0.80, 1.0))[..., None]  # the limbal ring
    pupil = ease(-r, -0.345, -0.305)[..., None]
    tone = tone * (1 - pupil) + 0.006 * pupil
    white = linear((0.790, 0.755, 0.725)) * (0.96 + 0.07 * _noise2(u * 14, v * 14, 2, seed + 22))[..., None]
    outer = ease(np.abs(px), 0.30, 0.75)[..., None]
    white = white + 0.50 * outer * (linear((0.80, 0.60, 0.55)) - white)
    inner = ease(-px, 0.42, 0.66)[..., None]  # toward the caruncle
    white = white + 0.75 * inner * (linear((0.76, 0.43, 0.40)) - white)
    for scale, strength in ((1.0, 0.45), (2.1, 0.25)):  # veins, thicker and finer
        wander = 3 * _noise2(u * 9 * scale, v * 9 * scale, 2, seed + 23)
        branch = np.abs(_noise2(u * 20 * scale + wander, v * 42 * scale, 2, seed + 24) - 0.5)
        vein = ease(-branch, -0.026, -0.003)[..., None] * ease(np.abs(px), 0.24, 0.6)[..., None] * strength
        white = white + vein * (linear((0.66, 0.27, 0.25)) - white)
    edge = ease(r, 0.90, 1.09)[..., None]
    colour = tone * (1 - edge) + white * edge
    light = (
        (1 - 0.55 * ease(py, 0.06, 0.48))
        * (1 - 0.28 * ease(-py, 0.20, 0.52))
        * (1 - 0.55 * ease(np.abs(px), 0.30, 0.70))
    )
    canvas.fill(atlas.EYE, colour, light=light, gloss=0.96, blood=0.30 * edge[..., 0])


def paint_mouth(canvas: Canvas, identity: Identity, seed: int) -> None:
    """Enamel, gums and tongue. The inner mouth is painted with the skin."""
    u, v = _grid(mouth.ENAMEL)
    kinds = len(mouth.UPPER) + len(mouth.LOWER)
    number, across = np.floor(np.clip(u, 0, 0.9999) * kinds), (u * kinds) % 1.0
    ivory = (
        linear((0.90, 0.855, 0.77))
        + (linear((0.83, 0.74, 0.60)) - linear((0.90, 0.855, 0.77))) * (0.65 * ease(-v, -0.45, 0.0))[..., None]
    )
    ivory = ivory * (1 - 0.035 * (number % len(mouth.UPPER)))[..., None]
    tip = ease(v, 0.80, 1.0)[..., None]
    ivory = ivory + 0.35 * tip * (linear((0.80, 0.79, 0.77)) - ivory)  # translucent biting edge
    ivory = ivory * (0.97 + 0.06 * _noise2(u * 90, v * 6, 2, seed + 30))[..., None]
    gap = ease(np.abs(across - 0.5), 0.36, 0.5)
    back = np.clip((number % len(mouth.UPPER)) / len(mouth.UPPER), 0, 1)
    low_row = (number >= len(mouth.UPPER)) * 0.22
    light = (1 - low_row) * (1 - 0.22 * gap) * (1 - 0.85 * back) * (1 - 0.35 * ease(-v, -0.30, 0.0))
    canvas.fill(mouth.ENAMEL, ivory, light=light, gloss=0.74, blood=0.25)
    u, v = _grid(mouth.GUM)
    gum = linear((0.74, 0.43, 0.42)) * (0.88 + 0.22 * _noise2(u * 60, v * 10, 2, seed + 31))[..., None]
    canvas.fill(
        mouth.GUM, gum, light=(1 - 0.5 * v) * (1 - 0.6 * ease(np.abs(u - 0.5), 0.15, 0.5)), gloss=0.62, blood=0.7
    )


def tongue_colour(place: Array, seed: int) -> tuple[Array, Array]:
    """(linear colour, light) of tongue texels at template positions (n, 3)."""
    bumps = noise(place, 1300, 2, seed + 32)
    groove = bump(place[:, 0], 0.0, 0.0022)
    tone = linear((0.77, 0.44, 0.43)) * (0.80 + 0.36 * bumps - 0.16 * groove)[:, None]
    deep = ease(-place[:, 2], -0.012, 0.030)
    return tone * (1 - 0.35 * deep)[:, None], 0.95 - 0.70 * deep
