"""Paint for clothes: weaves, patterns, wrinkles and their relief, laid out in metres on the flat pieces."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.bake import atlas, trims
from training.bake.atlas import Rect
from training.bake.brush import ease, linear, noise
from training.bake.clothes import TOPS
from training.bake.identities import Identity
from training.bake.mesh import Part
from training.bake.paint_parts import Canvas

Array = NDArray[Any]
HOOPED: Final = ("jumper", "tshirt", "hoodie")  # their stripes go round
SLEEVES: Final = (2, 3)  # numbers of the flat pieces of pattern.SHEETS
SHIRTS: Final = ((0.93, 0.935, 0.94), (0.80, 0.86, 0.93), (0.92, 0.86, 0.86), (0.90, 0.895, 0.86), (0.25, 0.27, 0.31))


class Weave(NamedTuple):
    """``relief`` metres of the yarn, ``grain`` of brightness from place to place, ``wrinkle`` metres, ``gloss``."""

    relief: float
    grain: float
    wrinkle: float
    gloss: float
    scale: float  # cells of the grain in a metre


WEAVES: Final = {
    "knit": Weave(0.0007, 0.16, 0.0012, 0.02, 420.0),
    "jersey": Weave(0.0001, 0.06, 0.0020, 0.04, 500.0),
    "poplin": Weave(0.00005, 0.03, 0.0026, 0.10, 600.0),
    "satin": Weave(0.00004, 0.03, 0.0030, 0.22, 300.0),
    "wool": Weave(0.0002, 0.13, 0.0012, 0.03, 550.0),
    "fleece": Weave(0.0003, 0.12, 0.0016, 0.01, 380.0),
}


class Swatch(NamedTuple):
    """What a point of cloth looks like: linear colour (n, 3), light (n,), relief in metres (n,)."""

    colour: Array
    light: Array
    relief: Array


def _plain(x: Array, y: Array, seed: int) -> Array:
    return np.zeros_like(x)


def _stripe(x: Array, y: Array, seed: int) -> Array:
    """Stripes along y: even, or thin lines."""
    pitch, share = ((0.015, 0.34), (0.019, 0.5), (0.026, 0.18))[seed % 3]
    return _line(x / pitch, share, pitch)


def _hoop(x: Array, y: Array, seed: int) -> Array:
    """Stripes across y, as on a sailor's shirt."""
    pitch, share = ((0.026, 0.36), (0.044, 0.5), (0.034, 0.22))[seed % 3]
    return _line(y / pitch, share, pitch)


def _check(x: Array, y: Array, seed: int) -> Array:
    """Gingham, or a window pane of thin lines."""
    pitch = (0.016, 0.026, 0.036)[seed % 3]
    if seed % 2:
        return np.maximum(_line(x / pitch, 0.14, pitch), _line(y / pitch, 0.14, pitch))
    return 0.5 * _line(x / pitch, 0.5, pitch) + 0.5 * _line(y / pitch, 0.5, pitch)


def _dots(x: Array, y: Array, seed: int) -> Array:
    """Spots in staggered rows."""
    pitch = (0.014, 0.020)[seed % 2]
    row = np.floor(y / pitch)
    u, v = (x / pitch + 0.5 * (row % 2)) % 1.0 - 0.5, (y / pitch) % 1.0 - 0.5
    return 1.0 - ease(np.hypot(u, v), 0.17, 0.27)


def _heather(x: Array, y: Array, seed: int) -> Array:
    """Flecks of another colour spun into the yarn."""
    fine = noise(np.stack([x * 2.2, y, 0 * x], axis=1), 620.0, 2, seed + 64)
    return ease(fine, 0.35, 0.75)


PATTERNS: Final = {
    "plain": _plain, "stripe": _stripe, "hoop": _hoop, "check": _check, "dots": _dots, "heather": _heather,
}  # fmt: skip


def _line(phase: Array, share: float, pitch: float) -> Array:
    """1 inside lines that cover ``share`` of each unit of ``phase``, with soft edges about a texel wide."""
    soft = 0.0012 / pitch
    away = np.abs(phase % 1.0 - 0.5)
    return 1.0 - ease(away, 0.5 * share - soft, 0.5 * share + soft)


def swatch(
    flat: Array, place: Array, identity: Identity, weave: Weave, base: Array, second: Array, seed: int
) -> Swatch:
    """Cloth at flat points (n, 3): metres across and up, and the number of the piece; ``place`` (n, 3) on the
    template, where tone runs on across seams."""
    piece = flat[:, 2]
    sleeve = np.isin(np.round(piece), SLEEVES)
    x, y = flat[:, 0], -flat[:, 1]
    name = identity.pattern
    if name == "stripe" and identity.top in HOOPED:
        name = "hoop"
    if name not in PATTERNS:
        raise ValueError(f"unknown pattern {name!r}: choose one of {', '.join(PATTERNS)}")
    mix = PATTERNS[name](x, y, seed)[:, None]
    colour = base + (second - base) * mix
    fine = noise(place, weave.scale, 2, seed + 61)
    wide = noise(place, 26.0, 3, seed + 60)
    colour = colour * (1 + weave.grain * (fine - 0.5) + 0.10 * (wide - 0.5))[:, None]
    yarn = weave.relief * (fine - 0.5)
    if weave is WEAVES["knit"]:
        rib = 0.5 + 0.5 * np.cos(2 * np.pi * x / 0.0085)
        yarn = yarn * 0.5 + weave.relief * rib
        colour = colour * (0.86 + 0.18 * rib)[:, None]
    wrinkle = weave.wrinkle * _wrinkles(x, y, sleeve, piece, seed)
    light = 0.86 + 0.14 * np.clip(wrinkle / max(weave.wrinkle, 1e-6) * 1.6, 0.0, 1.0)
    return Swatch(np.clip(colour, 0.0, 1.0), light, yarn + wrinkle)


def _wrinkles(x: Array, y: Array, sleeve: Array, piece: Array, seed: int) -> Array:
    """(n,) 0..1: soft ridges; across the sleeve near the elbow, slanting from the armpits, few on the chest."""
    bend = noise(np.stack([x, y, 0.4 * piece], axis=1), 9.0, 2, seed + 65) - 0.5
    across = noise(np.stack([0.35 * x + 0.03 * bend, y + 0.05 * bend, piece], axis=1), 48.0, 2, seed + 66)
    out = np.sqrt((x - 0.03) ** 2 + 0.02**2)  # away from a line beside the middle, without a crease along it
    side = noise(
        np.stack([(out - 0.7 * y) * 0.3 + 0.10 * bend, 0.8 * (y + 0.7 * out) + 0.10 * bend, piece], axis=1),
        34.0, 2, seed + 67,
    )  # fmt: skip
    elbow = np.exp(-(((y - 0.20) / 0.09) ** 2))
    trunk = 0.25 + 0.75 * ease(np.abs(x), 0.06, 0.16) * ease(y, 0.24, 0.36)
    ridge = np.where(sleeve, across, side)
    return ease(ridge, 0.30, 0.80) * np.where(sleeve, (0.30 + 0.70 * elbow) * ease(y, 0.0, 0.10), trunk)


def paint_cloth(canvas: Canvas, parts: list[Part], identity: Identity, seed: int) -> None:
    """Paints what ``clothes.dress`` made: the pieces in CLOTH, the trimmings in the rectangles of TRIM."""
    top = TOPS[identity.top]
    base, second = linear(identity.cloth), _second(identity, seed)
    for part in parts:
        if part.name not in ("cloth", "inner"):
            continue
        layer = top if part.name == "cloth" or top.inner is None else top.inner
        weave = WEAVES[layer.weave]
        place = np.abs(part.channel["template"] * [1.0, -1.0, 1.0])  # both sleeves share a painting
        under, covered = atlas.rasterise(part.uv, part.faces, np.c_[part.paint, place])
        flat, place = under[covered][:, :3], under[covered][:, 3:]
        if layer is top:
            found = swatch(flat, place, identity, weave, base, _accent(identity), seed)
        else:
            found = swatch(flat, place, _plainly(identity), weave, second, second, seed)
        canvas.painted |= covered
        canvas.albedo[covered, :3] = found.colour
        canvas.surface[covered] = np.stack(
            [found.light, np.full(len(found.light), weave.gloss), *np.zeros((2, len(found.light)))], axis=1
        )  # fmt: skip
        canvas.height[covered] = found.relief
    weave = WEAVES[top.weave]
    hooped = identity.pattern == "stripe" and identity.top in HOOPED
    _paint_strip(
        canvas,
        trims.PLAIN,
        (0.45, 0.075),
        _plainly(identity) if hooped else identity,
        weave,
        base,
        _accent(identity),
        seed,
    )
    _paint_strip(canvas, trims.SECOND, (0.45, 0.075), _plainly(identity), WEAVES["poplin"], second, second, seed)
    _paint_rib(canvas, identity)
    _paint_notions(canvas, identity, base)


def _plainly(identity: Identity) -> Identity:
    import dataclasses

    return dataclasses.replace(identity, pattern="plain")


def _accent(identity: Identity) -> Array:
    """The pattern's other colour: lighter than dark cloth, darker than light cloth, or nearly white."""
    base = linear(identity.cloth)
    bright = float(base.mean())
    if identity.pattern == "heather":
        return base * (0.62 if bright > 0.10 else 1.5) + 0.01
    if bright > 0.30:
        return 0.45 * base * linear((0.75, 0.80, 0.95)) + 0.55 * linear(identity.trim) * 0.25
    return 0.62 * linear((0.93, 0.92, 0.89)) + 0.12 * base


def _second(identity: Identity, seed: int) -> Array:
    """Colour of a shirt below a jacket."""
    return linear(SHIRTS[int(np.random.default_rng([seed, 69]).choice(len(SHIRTS), p=(0.42, 0.22, 0.1, 0.12, 0.14)))])


def _paint_strip(
    canvas: Canvas, rect: Rect, metres: tuple[float, float], identity: Identity, weave: Weave, base: Array,
    second: Array, seed: int,
) -> None:  # fmt: skip
    """A collar's cloth: the same as the garment's, its pattern along u."""
    u, v = np.meshgrid(np.linspace(0, metres[0], rect.width), np.linspace(0, -metres[1], rect.height))
    flat = np.stack([u.ravel(), v.ravel(), np.full(u.size, 6.0)], axis=1)
    found = swatch(flat, flat, identity, weave, base, second, seed)
    shape = (rect.height, rect.width)
    light = 1.0 - 0.35 * (1.0 - found.light.reshape(shape))
    canvas.fill(rect, found.colour.reshape(*shape, 3), light=light, gloss=weave.gloss)
    rect.window(canvas.height)[:] = 0.4 * found.relief.reshape(shape)


def _paint_rib(canvas: Canvas, identity: Identity) -> None:
    """Ribbed knit of collars and cuffs, seamless along u."""
    rect = trims.RIB
    u = np.broadcast_to((np.arange(rect.width) - 1.0) / (rect.width - 3.0), (rect.height, rect.width))
    v = np.broadcast_to(np.linspace(0, 1, rect.height)[:, None], u.shape)
    deep = 1.0 if TOPS[identity.top].weave in ("knit", "fleece") else 0.35
    rib = 0.5 + 0.5 * np.cos(2 * np.pi * 80 * u)
    light = (1 - deep * 0.36 * (1 - rib)) * (1 - 0.40 * ease(v, 0.62, 0.95))
    tone = 1 - deep * 0.22 * (1 - rib)
    canvas.fill(rect, linear(identity.trim) * tone[..., None], light=light, gloss=0.02)
    rect.window(canvas.height)[:] = deep * 0.0007 * rib


def _paint_notions(canvas: Canvas, identity: Identity, base: Array) -> None:
    """Buttons: pearly on shirts, dark on jackets. Cords: near white, or dark on light cloth."""
    pearl = linear((0.90, 0.885, 0.85)) if base.mean() > 0.06 or identity.top == "jacket" else 0.5 * base + 0.02
    cord = linear((0.88, 0.87, 0.85)) if base.mean() < 0.45 else 0.3 * base
    for rect, colour, gloss in ((trims.NOTION, pearl, 0.55), (trims.HORN, 0.35 * base + 0.004, 0.35)):
        v = np.broadcast_to(np.linspace(0, 1, rect.height)[:, None], (rect.height, rect.width))
        if identity.top == "hoodie":
            canvas.fill(rect, np.broadcast_to(cord, (*v.shape, 3)), gloss=0.02)
        else:
            light = 1.0 - 0.35 * ease(v, 0.80, 0.95)
            canvas.fill(rect, np.broadcast_to(colour, (*v.shape, 3)), light=light, gloss=gloss)
