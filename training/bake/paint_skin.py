"""Skin paint, laid out on the template so that it fits every face: tone, blood, lips, brows, freckles, stubble, age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake.beard import beard_zone
from training.bake.brows import paint_brows
from training.bake.brush import ease, linear, noise, spots
from training.bake.identities import Identity
from training.bake.skin_map import SkinMap, skin_map
from training.bake.wrinkles import relief

Array = NDArray[Any]
GREY: Final = (0.60, 0.57, 0.54)  # sRGB of hair without pigment, seen at its roots
CAVITY: Final = 0.42  # how much darker the bottom of the deepest fold is


@dataclass
class Paint:
    """What lies on n texels: linear colour (n, 3); light, gloss, subsurface (n,) in [0, 1];
    height (n,) in metres. Hair painted on skin is dull: the strand channel would make it shine like hair."""

    colour: Array
    light: Array
    gloss: Array
    blood: Array
    height: Array


def paint_skin(identity: Identity, seed: int, cover: Array) -> Paint:
    """Paints every texel of ``skin_map()``. ``cover`` (n,) says how much hair colour lies on each: the scalp."""
    skin = skin_map()
    place = skin.place
    dark = melanin(identity)
    blood_shows = 1 - 0.62 * dark
    colour = np.broadcast_to(linear(identity.skin), (len(place), 3)).astype(np.float32)
    colour *= _grain(place, 55, 3, seed, 0.93, 1.07)[:, None]
    mottle = (noise(place, 130, 2, seed + 2) - 0.5) + 0.8 * (noise(place, 420, 2, seed + 17) - 0.5)
    colour *= 1 + mottle[:, None] * np.array([0.03, -0.13, -0.13], np.float32) * blood_shows
    colour *= _tint((0.40 * blood_shows * skin.ears).astype(np.float32), (1.05, 0.80, 0.78))
    colour += (skin.palm * dark * 0.55)[:, None] * (linear((0.72, 0.53, 0.44)) - colour)

    height, pores, deep = relief(skin, identity, seed)
    front = skin.face
    x, y, _ = skin.front.T
    brow = np.clip(paint_brows(np.abs(x), y, identity, seed) * skin.zone["front"], 0, 0.92)
    bare_lips = 1 - ease(skin.lips[front], 0.1, 0.5)
    beard = np.maximum(skin.zone["beard"] * identity.stubble, 0.75 * beard_zone(skin.front, identity.beard) * bare_lips)
    colour[front] = _face(colour[front], skin, identity, seed, deep, dark, beard)
    colour[front] += brow[:, None] * (brow_colour(identity) - colour[front])
    light = np.ones(len(place), np.float32)
    light[front] = (1 - CAVITY * deep) * (1 + np.clip(pores / 2.2e-4, -0.35, 0.12))

    root = linear(identity.hair) + 0.85 * identity.grey * (linear(GREY) - linear(identity.hair))
    grown = np.flatnonzero(cover > 0)
    hair = root * (0.55 + 0.7 * noise(place[grown] * [1, 0.35, 1], 900, 1, seed + 8))[:, None]
    colour[grown] += cover[grown, None] * (hair - colour[grown])
    wet = skin.inside
    inner = np.flatnonzero(wet > 0)
    colour[inner] += wet[inner, None] * (_mouth_tone(place[inner]) - colour[inner])
    gloss: Array = np.full(len(place), 0.24, np.float32)
    blood: Array = np.full(len(place), 0.84, np.float32)
    gloss[front], blood[front] = _sheen(skin, identity, pores, brow, beard)
    gloss = (gloss - 0.20 * cover) * _grain(place, 700, 1, seed + 9, 0.78, 1.22)
    blood = (blood - 0.25 * skin.ears) * (1 - 0.85 * cover) * (1 - 0.72 * dark)
    bumps = np.zeros(len(place), np.float32)
    bumps[front] = height
    return Paint(colour, light, np.where(wet > 0.5, 0.40, gloss), blood * (1 - 0.4 * wet), bumps * (1 - wet))


def melanin(identity: Identity) -> float:
    """How dark a skin is: 0 the palest .. 1 the deepest."""
    lightness = float(linear(identity.skin) @ np.array([0.2126, 0.7152, 0.0722], np.float32)) ** (1 / 3)
    return float(ease(-lightness, -0.80, -0.38))


def _face(colour: Array, skin: SkinMap, identity: Identity, seed: int, deep: Array, dark: float, beard: Array) -> Array:
    """Colours (m, 3) of the front's texels."""
    place, zone = skin.front, skin.zone
    show, age, make_up = 1 - 0.62 * dark, identity.wrinkles, identity.makeup
    flush = 0.85 * zone["cheek"] * (0.75 + 0.50 * make_up) + 0.60 * zone["nose"] + 0.30 * zone["chin"]
    flush = flush * (0.70 + 0.60 * noise(place, 95, 3, seed + 18)) + 0.10 * zone["front"]
    colour = colour * _tint(np.clip(flush * show, 0, 1), (1.05, 0.80, 0.79))
    colour *= _tint(0.35 * zone["forehead"], (1.02, 0.99, 0.91))  # a slightly golden forehead
    colour *= _tint((0.45 + 0.35 * age + 0.25 * dark) * zone["under_eye"], (0.88, 0.80, 0.82))
    colour *= _tint((0.25 + 0.35 * dark) * zone["socket"], (0.84, 0.77, 0.75))
    colour *= _tint(0.60 * show * skin.lids[skin.face], (0.93, 0.80, 0.78))
    colour *= _tint(0.50 * zone["rim"] * (1 + 0.9 * make_up), (0.80, 0.66, 0.64))
    colour *= _tint(0.45 * zone["nostril"], (0.88, 0.66, 0.64))
    colour *= _tint(0.40 * dark * zone["mouth"], (0.82, 0.76, 0.76))
    colour *= _tint(deep, (0.74, 0.58, 0.55))
    colour *= _tint((0.22 + 0.30 * make_up) * zone["upper_lid"], (0.86, 0.76, 0.74))
    colour = _marks(colour, skin, identity, seed)
    colour = _lips(colour, skin, identity, seed, dark)

    beard = beard * (0.75 + 0.35 * noise(place, 140, 2, seed + 12))
    grown = linear(identity.beard_colour or identity.hair)
    grown = grown + 0.8 * identity.grey * (linear(GREY) - grown)
    full = ease(beard, 0.45, 0.75)[:, None] * (identity.beard != "none")
    shade = (0.55 + 0.30 * full) * grown + (1 - 0.7 * full) * colour * np.array([0.36, 0.40, 0.44], np.float32)
    dots = (0.26 + 0.70 * ease(noise(place, 1700, 1, seed + 6), 0.42, 0.78)) * (1 + 0.6 * full[:, 0])
    colour += np.clip(beard * dots, 0, 0.93)[:, None] * (shade - colour)

    colour *= _tint(0.75 * zone["lid_edge"], (0.55, 0.36, 0.34))  # wet lid margin
    lash = np.maximum(0.88 * zone["lash_upper"], 0.34 * zone["lash_lower"]) * min(identity.lash, 1.0)
    return np.asarray(colour + lash[:, None] * (linear(identity.hair) * 0.30 - colour))


def brow_colour(identity: Identity) -> Array:
    """Linear colour of the brows: the hair's, a little darker, greying later than it."""
    grey = 0.6 * identity.grey
    return np.asarray((1 - grey) * 0.85 * linear(identity.hair) + grey * linear((0.56, 0.52, 0.47)))


def _marks(colour: Array, skin: SkinMap, identity: Identity, seed: int) -> Array:
    """Freckles, moles, blemishes and the spots of age."""
    place, zone = skin.front, skin.zone
    bare = 1 - skin.lips[skin.face]
    if identity.freckles > 0:
        sunny = zone["cheek"] + 0.7 * zone["bridge"] + 0.25 * zone["forehead"]
        freckle = spots(place, 0.0036, 0.60, seed + 3) * sunny
        colour = colour * _tint(np.clip(identity.freckles * freckle, 0, 0.8), (0.80, 0.62, 0.50))
    share = 0.06 + 0.14 * identity.blemishes
    moles = spots(place + 1.7, 0.017, share, seed + 4) ** 9 * zone["front"] * bare
    colour = colour * _tint(np.clip(0.8 * moles, 0, 1), (0.50, 0.34, 0.28))
    if identity.blemishes > 0:
        red = spots(place + 3.1, 0.0085, 0.16, seed + 14) ** 3 * zone["front"] * bare
        colour = colour * _tint(np.clip(0.8 * identity.blemishes * red, 0, 1), (0.98, 0.74, 0.72))
        uneven = noise(place, 42, 3, seed + 15) - 0.5
        colour = colour * (1 + identity.blemishes * uneven[:, None] * np.array([0.10, 0.16, 0.18], np.float32))
    if identity.wrinkles > 0.3:
        old = spots(place + 5.3, 0.0062, 0.30, seed + 16) ** 2 * np.clip(zone["forehead"] + zone["cheek"], 0, 1) * bare
        colour = colour * _tint(np.clip((identity.wrinkles - 0.3) * 0.9 * old, 0, 1), (0.78, 0.64, 0.54))
    return np.asarray(colour)


def _lips(colour: Array, skin: SkinMap, identity: Identity, seed: int, dark: float) -> Array:
    """Lips that fade into the skin, the upper a little darker, with fine upright lines."""
    place, zone = skin.front, skin.zone
    lip = np.clip(skin.lips[skin.face] * 1.12, 0, 1)
    around = np.clip(4 * lip * (1 - lip), 0, 1)
    lines = noise(place * np.array([1.0, 0.20, 0.3]), 1350, 2, seed + 5)
    tone = linear(identity.lip) * (0.84 + 0.26 * lines + 0.10 * zone["lower_lip"])[:, None]
    pink = (0.06 + 0.14 * dark) * zone["lower_lip"]
    tone = tone + pink[:, None] * (linear((0.66, 0.38, 0.36)) - tone)
    tone = tone * (1 - 0.30 * zone["seam"])[:, None]
    strength = 0.74 + 0.20 * identity.makeup
    colour = colour + (strength * lip)[:, None] * (tone - colour)
    return np.asarray(colour * (1 + 0.05 * around * (1 - identity.makeup))[:, None])


def _sheen(skin: SkinMap, identity: Identity, pores: Array, brow: Array, beard: Array) -> tuple[Array, Array]:
    """(gloss, subsurface) of the front's texels: oily nose and forehead, moist lips, dull folds."""
    zone, lip, lids = skin.zone, skin.lips[skin.face], skin.lids[skin.face]
    oily = np.clip(zone["nose"] + 0.55 * zone["forehead"] + 0.30 * zone["cheek"] + 0.3 * zone["chin"], 0, 1)
    gloss = 0.21 + (0.10 - 0.04 * identity.wrinkles) * oily + (0.13 + 0.10 * identity.makeup) * lip + 0.04 * lids
    gloss = gloss - 0.14 * np.clip(beard, 0, 1)
    gloss = gloss * (1 - 0.6 * zone["wing"]) * (1 + np.clip(pores / 2.5e-4, -0.35, 0.2) * (1 - lip))
    gloss = np.maximum(gloss - 0.22 * brow, 0.62 * zone["lid_edge"])
    return gloss.astype(np.float32), ((0.84 + 0.10 * zone["nose"]) * (1 - 0.7 * brow)).astype(np.float32)


def _grain(place: Array, scale: float, octaves: int, seed: int, low: float, high: float) -> Array:
    return np.asarray(low + (high - low) * noise(place, scale, octaves, seed))


def _tint(amount: Array, tint: tuple[float, float, float]) -> Array:
    return np.asarray(1 + amount[:, None] * (np.array(tint, np.float32) - 1))


def _mouth_tone(place: Array) -> Array:
    """Wet red near the lips, deep and dark toward the throat, never black."""
    deep = ease(-place[:, 2], -0.020, 0.030)[:, None]
    tone = (1 - deep) * linear((0.62, 0.27, 0.26)) + deep * linear((0.27, 0.085, 0.085))
    return np.asarray(tone * (0.85 + 0.3 * noise(place, 350, 2, 77))[:, None])
