"""The light a photograph is taken in: three lamps and a room to be lit by and mirrored in. Seeded, and plain numbers.

Directions are world directions toward the light (x to the viewer's right, y up, z toward the viewer at yaw 0).
Colours are linear sRGB. A lamp's colour is what a white matte surface facing it sends back; a room's colours are
radiance. Nothing here knows OpenGL.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Triple = tuple[float, float, float]

MOODS: Final = ("studio", "office", "window", "evening", "overcast", "neutral")
HEIGHT: Final = 64  # rows of an environment picture; it is twice as wide
GREY_TARGET: Final = 0.80  # what a white card facing the viewer sends back on a normally exposed picture
# Luminance of linear sRGB (ITU-R BT.709).
LUMA: Final = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Lamp:
    """A lamp far away. ``size``: half of its angular width in radians; larger is softer."""

    direction: Triple
    colour: Triple
    size: float


@dataclass(frozen=True)
class Panel:
    """A bright rectangle of the room. ``half``: half width and height as tangents; ``bars``: window panes across."""

    direction: Triple
    colour: Triple
    half: tuple[float, float]
    soft: float = 0.1
    bars: int = 0


@dataclass(frozen=True)
class Light:
    """Everything that lights one picture. The key casts shadows from every part, the rim from the solid ones.

    ``panels`` are lit surfaces of the room; ``mirrored`` are the lamps' own faces, seen in eyes and glasses alone.
    """

    mood: str
    key: Lamp
    fill: Lamp
    rim: Lamp
    above: Triple
    level: Triple
    below: Triple
    panels: tuple[Panel, ...]
    mirrored: tuple[Panel, ...]
    exposure: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and strings; :meth:`from_json` gives the same light back."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Light:
        """The light that :meth:`to_json` described."""
        parts = dict(data)
        for name in ("key", "fill", "rim"):
            parts[name] = Lamp(**{k: _tuples(v) for k, v in data[name].items()})
        for name in ("panels", "mirrored"):
            parts[name] = tuple(Panel(**{k: _tuples(v) for k, v in panel.items()}) for panel in data[name])
        return Light(**{k: _tuples(v) for k, v in parts.items()})


def sample(seed: int, mood: str | None = None) -> Light:
    """The light number ``seed``: a mood (any, or the one asked for), then its lamps within the mood's range."""
    if mood is not None and mood not in MOODS:
        raise ValueError(f"mood must be one of {', '.join(MOODS)}; got {mood!r}")
    rng = np.random.default_rng([seed, 77])
    drawn = MOODS[int(rng.choice(len(MOODS), p=(0.26, 0.20, 0.20, 0.12, 0.12, 0.10)))]
    return _BUILDERS[mood or drawn](rng)


def blackbody(kelvin: float) -> Triple:
    """Linear sRGB of a black body, its luminance 1 (Kim et al. 2002 for the locus; 1667-25000 K)."""
    t = 1e3 / kelvin
    if kelvin < 4000:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    red, green, blue = (float(value) for value in np.maximum(to_rgb @ xyz, 0.0))
    return red, green, blue


def environment(light: Light, mirrors: bool = False, height: int = HEIGHT) -> F32:
    """The room as seen from the head, (height, 2 * height, 3) linear radiance, equirectangular.

    Row 0 looks up; column 0 looks toward -z, the middle column toward the viewer. ``mirrors`` adds the lamps' faces.
    """
    direction = directions(height)
    up = direction[..., 1:2]
    sky = level_colour(light, up)
    for panel in light.panels + (light.mirrored if mirrors else ()):
        sky = sky + _panel(panel, direction)[..., None] * np.array(panel.colour)
    return sky.astype(np.float32)


def level_colour(light: Light, up: F64) -> F64:
    """Colour of the room's surfaces by the sine of the elevation, ``up`` (..., 1)."""
    above, level, below = np.array(light.above), np.array(light.level), np.array(light.below)
    to_above = np.clip(up * 1.6, 0, 1) ** 0.8
    to_below = np.clip(-up * 1.6, 0, 1) ** 0.8
    return level + (above - level) * to_above + (below - level) * to_below


def directions(height: int) -> F64:
    """World direction of every texel of an environment picture, (height, 2 * height, 3)."""
    polar = (np.arange(height) + 0.5) / height * np.pi
    turn = ((np.arange(2 * height) + 0.5) / (2 * height) - 0.5) * 2 * np.pi
    sine = np.sin(polar)[:, None]
    return np.stack(
        [sine * np.sin(turn), np.broadcast_to(np.cos(polar)[:, None], (height, 2 * height)), sine * np.cos(turn)], -1
    )


def solid_angles(height: int) -> F64:
    """Solid angle of the texels of each row, (height, 1)."""
    edge = np.arange(height + 1) / height * np.pi
    return ((np.cos(edge[:-1]) - np.cos(edge[1:])) * np.pi / height)[:, None]


def harmonics(sky: F32) -> F32:
    """Irradiance over pi of an environment as nine spherical harmonic colours (9, 3).

    Ramamoorthi & Hanrahan 2001; the polynomial's constants are folded in, see `irradiance`.
    """
    height = sky.shape[0]
    d = directions(height)
    x, y, z = d[..., 0], d[..., 1], d[..., 2]
    basis = np.stack([np.full_like(x, 0.282095), 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y,
                      1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
                      0.546274 * (x * x - y * y)])  # fmt: skip
    weight = solid_angles(height)
    coefficient = np.einsum("khw,hwc->kc", basis * weight, sky)
    band = np.array([1.0, *[2 / 3] * 3, *[0.25] * 5])[:, None]
    constant = np.array([0.282095, *[0.488603] * 3, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274])[:, None]
    return (coefficient * band * constant).astype(np.float32)


def irradiance(coefficients: F32, normal: F64) -> F64:
    """What a white matte surface with this ``normal`` (3,) sends back of the room, (3,)."""
    x, y, z = normal
    basis = np.array([1.0, y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y])
    return basis @ coefficients


def blurred(sky: F32, roughness: float) -> F32:
    """``sky`` as a surface of this GGX ``roughness`` mirrors it (the lobe about the mirror direction), same shape."""
    height = sky.shape[0]
    d = directions(height).reshape(-1, 3)
    cosine = np.clip(d @ d.T, -1, 1)
    half = np.sqrt(np.maximum((1 + cosine) / 2, 0))  # cosine of half the angle: of the half vector to the normal
    alpha2 = max(roughness, 0.05) ** 4
    lobe = (alpha2 / (half**2 * (alpha2 - 1) + 1) ** 2) * np.maximum(cosine, 0)
    lobe *= np.repeat(solid_angles(height)[:, 0], 2 * height)
    return (lobe @ sky.reshape(-1, 3) / lobe.sum(1, keepdims=True)).reshape(sky.shape).astype(np.float32)


def _panel(panel: Panel, direction: F64) -> F64:
    """How much of each direction a panel fills, 0..1."""
    forward = np.array(panel.direction) / np.linalg.norm(panel.direction)
    right = np.cross([0.0, 1.0, 0.0] if abs(forward[1]) < 0.95 else [0.0, 0.0, 1.0], forward)
    right /= np.linalg.norm(right)
    up = np.cross(forward, right)
    depth = direction @ forward
    safe = np.maximum(depth, 1e-3)
    u, v = direction @ right / safe / panel.half[0], direction @ up / safe / panel.half[1]
    soft = panel.soft
    inside = _step((1 - np.abs(u)) / soft) * _step((1 - np.abs(v)) / soft) * (depth > 0)
    if panel.bars:
        for place, count in ((u, panel.bars), (v, max(1, panel.bars // 2 + 1))):
            cell = ((place + 1) / 2 * count) % 1.0
            inside = inside * np.where(np.minimum(cell, 1 - cell) < 0.05 * count / 2, 0.25, 1.0)
    return inside


def _step(x: F64) -> F64:
    t = np.clip(x * 0.5 + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value


# --- moods ------------------------------------------------------------------------------------------------


def aim(yaw: float, pitch: float) -> Triple:
    """Unit direction ``yaw`` degrees to the viewer's right of the viewer and ``pitch`` degrees up."""
    a, b = np.radians(yaw), np.radians(pitch)
    return float(np.sin(a) * np.cos(b)), float(np.sin(b)), float(np.cos(a) * np.cos(b))


def scaled(colour: Triple, by: float) -> Triple:
    """``colour`` times ``by``."""
    return colour[0] * by, colour[1] * by, colour[2] * by


def _mix(a: Triple, b: Triple, t: float) -> Triple:
    return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t


def _finish(
    rng: np.random.Generator, mood: str, key: Lamp, fill: Lamp, rim: Lamp, room: tuple[Triple, Triple, Triple],
    panels: tuple[Panel, ...], face: Panel | None = None,
) -> Light:  # fmt: skip
    """Adds the lamps' mirrored faces and exposes the picture for somebody who faces the viewer."""
    mirrored = (face or _face(key, 2.2), _face(fill, 1.2))
    raw = Light(mood, key, fill, rim, *room, panels, mirrored, 1.0)
    coefficients = harmonics(environment(raw))
    card = np.zeros(3)
    for yaw in (-35.0, 0.0, 35.0):  # a face is a card bent to both sides
        normal = np.array(aim(yaw, 5.0))
        card += irradiance(coefficients, normal) / 3
        for lamp in (key, fill):
            card += np.array(lamp.colour) * max(float(normal @ np.array(lamp.direction)), 0.0) / 3
    exposure = GREY_TARGET / float(card @ LUMA) * 2.0 ** float(rng.normal(0.0, 0.16))
    balance = _white_balance(card, strength=0.85)
    return _balanced(raw, balance, exposure)


def _white_balance(card: F64, strength: float) -> Triple:
    """Gains that take most of the cast off a white card, as a camera does."""
    gain = (float(card @ LUMA) / np.maximum(card, 1e-6)) ** strength
    return float(gain[0]), float(gain[1]), float(gain[2])


def _balanced(light: Light, gain: Triple, exposure: float) -> Light:
    def tint(colour: Triple) -> Triple:
        return colour[0] * gain[0], colour[1] * gain[1], colour[2] * gain[2]

    def lamp(old: Lamp) -> Lamp:
        return Lamp(old.direction, tint(old.colour), old.size)

    def panels(old: tuple[Panel, ...]) -> tuple[Panel, ...]:
        return tuple(Panel(p.direction, tint(p.colour), p.half, p.soft, p.bars) for p in old)

    return Light(light.mood, lamp(light.key), lamp(light.fill), lamp(light.rim), tint(light.above), tint(light.level),
                 tint(light.below), panels(light.panels), panels(light.mirrored), exposure)  # fmt: skip


def _face(lamp: Lamp, aspect: float, bars: int = 0) -> Panel:
    """The lamp as a rectangle that sends the light it is said to send."""
    half = 0.62 * np.tan(max(lamp.size, 0.05))  # a lamp's bright middle
    half_v, half_u = half * np.sqrt(aspect), half / np.sqrt(aspect)
    angle = 4 * np.arctan(half_u) * np.arctan(half_v)
    x, y, z = lamp.direction
    seen_from = (0.75 * x, 0.6 * y, z)  # nearer than it lights from: lids would hide it, or the eye's own curve
    return Panel(seen_from, scaled(lamp.colour, float(np.pi / angle)), (float(half_u), float(half_v)), 0.08, bars)


def _studio(rng: np.random.Generator) -> Light:
    side = float(rng.choice([-1, 1]))
    white = blackbody(rng.uniform(4900, 5900))
    key = Lamp(aim(side * rng.uniform(22, 52), rng.uniform(22, 42)), scaled(white, 2.0), rng.uniform(0.22, 0.36))
    fill = Lamp(aim(-side * rng.uniform(35, 65), rng.uniform(-5, 15)), scaled(white, rng.uniform(0.25, 0.6)), 0.5)
    rim = Lamp(aim(-side * rng.uniform(130, 158), rng.uniform(18, 40)), scaled(white, rng.uniform(0.5, 1.6)), 0.2)
    tone = rng.uniform(0.18, 0.42)
    grey = scaled(white, tone)
    return _finish(rng, "studio", key, fill, rim, (scaled(grey, 1.1), grey, scaled(grey, 0.7)), ())


def _office(rng: np.random.Generator) -> Light:
    side = float(rng.choice([-1, 1]))
    tube, day = blackbody(rng.uniform(3900, 4600)), blackbody(rng.uniform(5800, 7200))
    key = Lamp(aim(side * rng.uniform(10, 60), rng.uniform(35, 58)), scaled(tube, 1.15), rng.uniform(0.35, 0.5))
    fill = Lamp(aim(-side * rng.uniform(50, 85), rng.uniform(0, 20)), scaled(day, rng.uniform(0.3, 0.8)), 0.45)
    rim = Lamp(aim(side * rng.uniform(150, 178), rng.uniform(40, 60)), scaled(tube, rng.uniform(0.3, 0.8)), 0.3)
    ceiling = tuple(
        Panel((float(x), 1.0, float(z)), scaled(tube, 3.0), (0.34, 0.10), 0.15)
        for x in (-0.7, 0.7) for z in (-0.5, 0.55, 1.5)
    )  # fmt: skip
    screen = Panel(aim(rng.uniform(-8, 8), -16), scaled(day, rng.uniform(0.2, 0.8)), (0.42, 0.26), 0.06)
    wall = scaled(_mix(tube, day, 0.3), rng.uniform(0.38, 0.55))
    return _finish(
        rng, "office", key, fill, rim, (scaled(wall, 1.3), wall, scaled(wall, 0.5)), (*ceiling, screen),
        Panel(fill.direction, scaled(day, 4.5), (0.42, 0.55), 0.06, 2),
    )  # fmt: skip


def _window(rng: np.random.Generator) -> Light:
    side = float(rng.choice([-1, 1]))
    day, bounce = blackbody(rng.uniform(5600, 7400)), blackbody(rng.uniform(4200, 5200))
    key = Lamp(aim(side * rng.uniform(38, 68), rng.uniform(8, 26)), scaled(day, 1.9), rng.uniform(0.34, 0.5))
    fill = Lamp(aim(-side * rng.uniform(40, 80), rng.uniform(-8, 15)), scaled(bounce, rng.uniform(0.2, 0.45)), 0.6)
    rim = Lamp(aim(side * rng.uniform(105, 140), rng.uniform(10, 30)), scaled(day, rng.uniform(0.3, 0.9)), 0.35)
    wall = scaled(bounce, rng.uniform(0.26, 0.42))
    glass = Panel(aim(side * 78, 10), scaled(day, 1.0), (0.7, 0.8), 0.08, 2)
    return _finish(
        rng, "window", key, fill, rim, (scaled(wall, 1.1), wall, scaled(wall, 0.75)), (glass,),
        _face(key, rng.uniform(1.1, 1.7), 2),
    )  # fmt: skip


def _evening(rng: np.random.Generator) -> Light:
    side = float(rng.choice([-1, 1]))
    warm, dusk = blackbody(rng.uniform(3200, 4000)), blackbody(rng.uniform(6000, 7800))
    key = Lamp(aim(side * rng.uniform(25, 58), rng.uniform(12, 34)), scaled(warm, 1.7), rng.uniform(0.16, 0.3))
    bounce = _mix(warm, dusk, 0.55)
    fill = Lamp(aim(-side * rng.uniform(50, 90), rng.uniform(-5, 15)), scaled(bounce, rng.uniform(0.15, 0.4)), 0.5)
    rim = Lamp(aim(-side * rng.uniform(125, 160), rng.uniform(5, 30)), scaled(_mix(warm, dusk, 0.4),
               rng.uniform(0.4, 1.3)), 0.2)  # fmt: skip
    wall = scaled(_mix(warm, dusk, 0.25), rng.uniform(0.22, 0.34))
    return _finish(rng, "evening", key, fill, rim, (scaled(wall, 0.8), wall, scaled(wall, 0.8)), (
        Panel(aim(-side * 100, 5), scaled(dusk, 0.8), (0.5, 0.6), 0.08, 2),))  # fmt: skip


def _overcast(rng: np.random.Generator) -> Light:
    side = float(rng.choice([-1, 1]))
    day = blackbody(rng.uniform(6200, 7600))
    key = Lamp(aim(side * rng.uniform(5, 50), rng.uniform(40, 62)), scaled(day, 0.95), rng.uniform(0.55, 0.7))
    fill = Lamp(aim(-side * rng.uniform(30, 60), rng.uniform(0, 20)), scaled(day, rng.uniform(0.2, 0.4)), 0.7)
    rim = Lamp(aim(-side * rng.uniform(140, 170), rng.uniform(30, 50)), scaled(day, rng.uniform(0.2, 0.6)), 0.5)
    sky = scaled(day, 1.0)
    ground = scaled(_mix(blackbody(4800), day, 0.5), rng.uniform(0.22, 0.4))
    return _finish(rng, "overcast", key, fill, rim, (sky, scaled(sky, 0.62), ground), ())


def _neutral(rng: np.random.Generator) -> Light:
    side = float(rng.choice([-1, 1]))
    white = blackbody(5500)
    key = Lamp(aim(side * rng.uniform(8, 30), rng.uniform(15, 32)), scaled(white, 1.1), rng.uniform(0.4, 0.55))
    fill = Lamp(aim(-side * rng.uniform(25, 45), rng.uniform(0, 18)), scaled(white, rng.uniform(0.45, 0.7)), 0.5)
    rim = Lamp(aim(-side * rng.uniform(140, 165), rng.uniform(25, 40)), scaled(white, rng.uniform(0.1, 0.5)), 0.3)
    grey = scaled(white, rng.uniform(0.42, 0.6))
    return _finish(rng, "neutral", key, fill, rim, (scaled(grey, 1.1), grey, scaled(grey, 0.75)), ())


_BUILDERS: Final = {
    "studio": _studio, "office": _office, "window": _window, "evening": _evening, "overcast": _overcast,
    "neutral": _neutral,
}  # fmt: skip
