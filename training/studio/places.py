"""What is behind a person: plain, a gradient, or a room out of focus that turns with the viewer. Seeded.

A room is a panorama of lit shapes (walls, windows, shelves, lamps, plants) seen through a lens focused on the
person: bright points become discs. Colours are linear radiance, lit by the same Light as the person.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.studio.lights import Light, Triple, blackbody, scaled

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
KINDS: Final = ("plain", "gradient", "room")
ROWS, COLUMNS = 384, 1536
REACH: Final = np.radians(45.0)  # a room's panorama spans elevations of +- this, and all around
PER_RADIAN: Final = COLUMNS / (2 * np.pi)
STEP: Final = np.radians(0.55)  # one step: rooms are furnished in steps, for a lens that shows some 20 degrees
AROUND: Final = 2 * np.pi / STEP


@dataclass(frozen=True)
class Place:
    """A background. ``colour`` is the wall's or backdrop's reflectance (linear); ``blur`` the defocus in radians."""

    kind: str
    seed: int
    colour: Triple
    blur: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Place:
        """The place that :meth:`to_json` described."""
        red, green, blue = data["colour"]
        return Place(data["kind"], int(data["seed"]), (red, green, blue), float(data["blur"]))


@dataclass(frozen=True)
class Backdrop:
    """A painted place. ``turns`` says how to look it up: True, by view direction over (2 pi, 2 REACH), middle column
    toward -z; False, by place in the picture. picture (h, w, 3) linear radiance."""

    picture: F32
    turns: bool


def sample(seed: int, kind: str | None = None) -> Place:
    """The place number ``seed``, of any kind or the one asked for."""
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    rng = np.random.default_rng([seed, 78])
    drawn = KINDS[int(rng.choice(len(KINDS), p=(0.14, 0.22, 0.64)))]
    kind = kind or drawn
    # Walls and backdrops are mostly white, grey or beige; a few are painted.
    painted = rng.random() < 0.22
    hue = rng.uniform(0, 2 * np.pi) if painted else rng.normal(0.85, 0.4)
    strength = rng.uniform(0.08, 0.3) if painted else rng.uniform(0.0, 0.14)
    tone = rng.uniform(0.25, 0.75) if kind == "room" else rng.uniform(0.04, 0.8)
    tint = 1 + strength * np.cos(hue - np.array([0, 2.1, 4.2]))
    red, green, blue = (float(value) for value in np.clip(tone * tint, 0.02, 0.85))
    return Place(kind, seed, (red, green, blue), float(rng.uniform(0.008, 0.026)))


def paint(place: Place, light: Light) -> Backdrop:
    """The picture of ``place`` in ``light``."""
    rng = np.random.default_rng([place.seed, 79])
    if place.kind == "room":
        return Backdrop(_room(place, light, rng), True)
    return Backdrop(_backdrop(place, light, rng), False)


def _backdrop(place: Place, light: Light, rng: np.random.Generator) -> F32:
    """Paper on a wall, 96 x 96: lit evenly, or with a soft pool of light."""
    y, x = np.mgrid[0:96, 0:96] / 95.0
    lit = np.array(_wall_light(light)) * np.array(place.colour)
    if place.kind == "plain":
        pool = 1 - 0.06 * np.hypot(x - 0.5, y - 0.5)
    else:
        cx, cy = rng.uniform(0.2, 0.8), rng.uniform(0.25, 0.7)
        wide = rng.uniform(0.35, 0.8)
        fall = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * wide**2))
        low = rng.uniform(0.25, 0.6)
        pool = (low + (1.25 - low) * fall) * (1 - rng.uniform(0, 0.4) * y)
    return (pool[..., None] * lit).astype(np.float32)


def _wall_light(light: Light) -> Triple:
    """What a white wall behind the person sends back: the room's own light, and a part of the lamps."""
    lamps = [scaled(lamp.colour, part) for lamp, part in ((light.key, 0.35), (light.fill, 0.35))]
    total = np.array(light.level) + 0.3 * np.array(light.above) + np.sum(lamps, axis=0)
    return float(total[0]), float(total[1]), float(total[2])


class _Canvas:
    """A panorama being painted: shapes in steps of yaw (0 is behind the person) and of elevation."""

    def __init__(self) -> None:
        yaw = ((np.arange(COLUMNS) + 0.5) / COLUMNS - 0.5) * AROUND
        rise = REACH / STEP * (1 - 2 * (np.arange(ROWS) + 0.5) / ROWS)
        self.yaw, self.rise = np.meshgrid(yaw, rise)
        self.picture = np.zeros((ROWS, COLUMNS, 3))

    def away(self, yaw: float) -> F64:
        """Signed steps of each column from ``yaw``, around the circle, (1, COLUMNS)."""
        return (self.yaw[:1] - yaw + AROUND / 2) % AROUND - AROUND / 2

    def box(self, yaw: float, rise: float, half: tuple[float, float], colour: F64, opacity: float = 1.0) -> None:
        """A rectangle about (yaw, rise)."""
        rows = np.abs(self.rise[:, 0] - rise) < half[1]
        columns = np.abs(self.away(yaw)[0]) < half[0]
        block = np.ix_(rows, columns)
        self.picture[block] += opacity * (colour - self.picture[block])

    def disc(
        self, yaw: float, rise: float, radius: float, colour: F64, opacity: float = 1.0, tall: float = 1.0
    ) -> None:
        """An ellipse about (yaw, rise)."""
        rows = np.flatnonzero(np.abs(self.rise[:, 0] - rise) < radius * tall)
        columns = np.flatnonzero(np.abs(self.away(yaw)[0]) < radius)
        block = np.ix_(rows, columns)
        inside = np.hypot(self.away(yaw)[0][columns], (self.rise[rows, :1] - rise) / tall) < radius
        self.picture[block] += (opacity * inside)[..., None] * (colour - self.picture[block])

    def glow(self, yaw: float, rise: float, radius: float, colour: F64) -> None:
        """Light that falls on what is there."""
        near = np.exp(-(self.away(yaw) ** 2 + (self.rise - rise) ** 2) / (2 * radius**2))[..., None]
        self.picture *= 1 + near * colour


def _room(place: Place, light: Light, rng: np.random.Generator) -> F32:
    canvas = _Canvas()
    lit = np.array(_wall_light(light))
    _walls(canvas, place, lit, rng)
    taken: list[float] = []
    for _ in range(int(rng.integers(40, 90))):
        yaw = float(rng.uniform(-0.5, 0.5) * AROUND)
        if any(abs((yaw - other + AROUND / 2) % AROUND - AROUND / 2) < 17 for other in taken):
            continue
        taken.append(yaw)
        chosen = rng.choice(len(_THINGS), p=_ODDS)
        _THINGS[int(chosen)](canvas, yaw, lit, light, rng)
    return _defocus(canvas.picture, place.blur * PER_RADIAN)


def _walls(canvas: _Canvas, place: Place, lit: F64, rng: np.random.Generator) -> None:
    """Four walls of two tones, a floor, sometimes a ceiling line; light falls off to one side."""
    wall = lit * np.array(place.colour)
    other = wall * rng.uniform(0.55, 1.25) * (1 + rng.uniform(-0.12, 0.12, 3))
    side = AROUND / 4
    corner = np.floor(canvas.yaw / side - rng.uniform(0, 1)).astype(int) % 4
    tones = [wall, other, wall * 0.85, other * 0.9]
    for number, tone in enumerate(tones):
        canvas.picture[corner == number] = tone
    slope = rng.uniform(0.0, 0.35)
    canvas.picture *= (1 + slope * np.sin(canvas.yaw * STEP - rng.uniform(0, 2 * np.pi)))[..., None]
    canvas.picture *= (0.92 + 0.16 * np.clip(canvas.rise / 40, -1, 1))[..., None]
    floor = lit * rng.uniform(0.06, 0.3) * np.array([1.0, rng.uniform(0.75, 0.95), rng.uniform(0.5, 0.8)])
    canvas.picture[canvas.rise < -rng.uniform(22, 32)] = floor
    if rng.random() < 0.6:
        canvas.picture[canvas.rise > rng.uniform(26, 36)] = lit * 0.75


def _window_thing(canvas: _Canvas, yaw: float, lit: F64, light: Light, rng: np.random.Generator) -> None:
    """Panes with a sky above and trees or houses below, and a curtain now and then."""
    half = (rng.uniform(7, 15), rng.uniform(10, 18))
    rise = rng.uniform(0, 10)
    day = {"evening": 0.35, "studio": 0.8}.get(light.mood, 1.6) * rng.uniform(0.7, 1.4)
    sky = np.array(blackbody(rng.uniform(6500, 11000))) * day
    canvas.box(yaw, rise, (half[0] + 1.2, half[1] + 1.2), lit * 0.8)
    canvas.box(yaw, rise, half, sky)
    green = sky * np.array([0.35, 0.5, 0.22]) * rng.uniform(0.5, 1.0)
    crown = rng.uniform(-0.75, -0.1)  # how high the trees outside reach
    for _ in range(46):
        down = rng.uniform(-0.95, crown)
        canvas.disc(yaw + rng.uniform(-half[0] + 1.5, half[0] - 1.5), rise + half[1] * down, rng.uniform(0.6, 1.6),
                    green * rng.uniform(0.5, 1.6), rng.uniform(0.4, 0.9))  # fmt: skip
    for bar in range(1, int(rng.integers(2, 4))):
        canvas.box(yaw - half[0] + 2 * half[0] * bar / 3, rise, (0.45, half[1]), lit * 0.7)
    canvas.box(yaw, rise + half[1] * 0.15, (half[0], 0.45), lit * 0.7)
    if rng.random() < 0.6:
        cloth = lit * rng.uniform(0.4, 0.8) * (1 + rng.uniform(-0.15, 0.15, 3))
        for side in (-1, 1):
            for fold in range(5):
                canvas.box(yaw + side * (half[0] + 0.9 * fold - 1), rise, (0.5, half[1] + 3),
                           cloth * (1.0 if fold % 2 else 0.72))  # fmt: skip


# Reflectance of book covers: cream, white, black, brick, navy, ochre, bottle green, grey.
_SPINES: Final = np.array([(0.62, 0.55, 0.42), (0.7, 0.7, 0.68), (0.04, 0.04, 0.045), (0.33, 0.08, 0.05),
                           (0.05, 0.08, 0.18), (0.42, 0.26, 0.07), (0.05, 0.14, 0.09), (0.3, 0.3, 0.31)])  # fmt: skip


def _shelf(canvas: _Canvas, yaw: float, lit: F64, light: Light, rng: np.random.Generator) -> None:
    """A case of books and things."""
    wide, low, high = rng.uniform(7, 13), rng.uniform(-26, -14), rng.uniform(10, 24)
    wood = lit * rng.uniform(0.1, 0.45) * np.array([1.0, 0.72, 0.48])
    canvas.box(yaw, (low + high) / 2, (wide, (high - low) / 2), wood * 0.45)
    boards = int(rng.integers(3, 6))
    step = (high - low) / boards
    for row in range(boards):
        base = low + row * step
        at = yaw - wide + 0.6
        while at < yaw + wide - 1.0:
            thick, tall = rng.uniform(0.35, 1.0), step * rng.uniform(0.5, 0.85)
            if rng.random() < 0.8:
                spine = lit * _SPINES[int(rng.integers(len(_SPINES)))] * rng.uniform(0.5, 1.2)
                canvas.box(at + thick / 2, base + tall / 2, (thick / 2, tall / 2), spine)
            at += thick * 1.05
        canvas.box(yaw, base, (wide, 0.28), wood)


def _lamp(canvas: _Canvas, yaw: float, lit: F64, light: Light, rng: np.random.Generator) -> None:
    """A shade on a stand, with its pool of light on the wall."""
    rise, warm = rng.uniform(-6, 14), np.array(blackbody(rng.uniform(2500, 3200)))
    strong = {"evening": 2.4, "overcast": 0.9}.get(light.mood, 1.5)
    canvas.glow(yaw, rise + 2, rng.uniform(9, 15), warm * strong * 0.35)
    canvas.box(yaw, (rise - 45) / 2, (0.25, (rise + 45) / 2), lit * 0.12)
    canvas.box(yaw, rise, (rng.uniform(2.0, 3.4), rng.uniform(1.8, 3.0)), warm * strong)


def _plant(canvas: _Canvas, yaw: float, lit: F64, light: Light, rng: np.random.Generator) -> None:
    """Leaves about a stem, in a pot."""
    base, tall = rng.uniform(-26, -12), rng.uniform(14, 30)
    green = lit * np.array([0.16, 0.30, 0.10]) * rng.uniform(0.6, 1.3)
    for _ in range(46):
        up = rng.uniform(0.1, 1)
        canvas.disc(yaw + rng.normal(0, 3.2) * (0.4 + up * (1.4 - up)), base + tall * up, rng.uniform(0.6, 1.7),
                    green * rng.uniform(0.35, 1.7), 0.9, rng.uniform(0.5, 1.9))  # fmt: skip
    canvas.box(yaw, base - 3, (2.6, 3.4), lit * rng.uniform(0.15, 0.6) * np.array([1, 0.9, 0.82]))


def _frame(canvas: _Canvas, yaw: float, lit: F64, light: Light, rng: np.random.Generator) -> None:
    """Pictures on the wall."""
    for _ in range(int(rng.integers(1, 4))):
        at, rise = yaw + rng.uniform(-7, 7), rng.uniform(0, 18)
        half = (rng.uniform(2, 4.5), rng.uniform(2, 5))
        canvas.box(at, rise, (half[0] + 0.6, half[1] + 0.6), lit * rng.choice([0.05, 0.5, 0.25]))
        canvas.box(at, rise, half, lit * rng.uniform(0.3, 0.75) * (1 + rng.uniform(-0.1, 0.1, 3)))
        canvas.disc(at, rise, half[0] * 0.5, lit * rng.uniform(0.1, 0.7, 3))


def _door(canvas: _Canvas, yaw: float, lit: F64, light: Light, rng: np.random.Generator) -> None:
    """A doorway into a darker or brighter room."""
    wide, high = rng.uniform(5, 8), rng.uniform(16, 26)
    canvas.box(yaw, (high - 45) / 2, (wide + 0.9, (high + 45) / 2 + 0.9), lit * rng.uniform(0.3, 0.8))
    canvas.box(
        yaw, (high - 45) / 2, (wide, (high + 45) / 2), lit * rng.uniform(0.1, 0.9) * (1 + rng.uniform(-0.1, 0.1, 3))
    )


def _sparks(canvas: _Canvas, yaw: float, lit: F64, light: Light, rng: np.random.Generator) -> None:
    """Small lights: the discs a lens makes of them."""
    colour = np.array(blackbody(rng.uniform(2400, 4200)))
    for _ in range(int(rng.integers(4, 12))):
        canvas.disc(yaw + rng.normal(0, 6), rng.uniform(-6, 22), rng.uniform(0.25, 0.5), colour * rng.uniform(6, 22))


_THINGS: Final = (_window_thing, _shelf, _lamp, _plant, _frame, _door, _sparks)
_ODDS: Final = (0.19, 0.19, 0.14, 0.17, 0.15, 0.08, 0.08)


def _defocus(picture: F64, radius: float) -> F32:
    """Convolution with a disc of ``radius`` texels, around the circle in yaw."""
    margin = int(np.ceil(radius)) + 1
    padded = np.pad(picture, ((margin, margin), (0, 0), (0, 0)), mode="edge")
    rows, columns = padded.shape[:2]
    y = np.minimum(np.arange(rows), rows - np.arange(rows))[:, None]
    x = np.minimum(np.arange(columns), columns - np.arange(columns))[None]
    disc = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1)
    lens = np.fft.rfft2(disc / disc.sum())
    out = np.stack([np.fft.irfft2(np.fft.rfft2(padded[..., c]) * lens, s=(rows, columns)) for c in range(3)], -1)
    return np.maximum(out[margin : margin + picture.shape[0]], 0.0).astype(np.float32)
