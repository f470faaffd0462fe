"""What a photograph tells about colours and kinds: skin, lips, eyes, hair, beard, clothes. Guesses, and said to be.

The light of a photograph is unknown, so skin is placed on the line of human skins by its hue more than by its
brightness, and everything else is taken relative to the skin beside it, which stood in the same light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS
from engine.tracking.face import LEFT_IRIS, RIGHT_IRIS
from kernels.texture import to_linear, to_srgb
from training.bake.identities import Colour
from training.portrait.fit import Fit
from training.studio.tones import HAIR, IRIS, LIP, SKIN, along

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
Array = NDArray[Any]
SKIN_AT: Final = (50, 280, 205, 425, 9, 151, 6, 4)  # landmarks on cheeks, forehead and nose
LIPS_AT: Final = (0, 17, 37, 267, 84, 314)
DISC: Final = 0.035  # radius of the spots that colours are read from, over the distance of the eyes
BRIGHTNESS: Final = 0.35  # how much the brightness of skin counts beside its hue
USUAL: Final = 0.30  # the usual place on the line of skins, and how strongly it pulls
PULL: Final = 0.10
TINT: Final = 0.55  # share of skin's unusual hue that is its own
NECKLINES: Final = (("roll", 0.40), ("crew", 0.66))
CLOTH: Final[Colour] = (0.36, 0.40, 0.46)
BEARD: Final = 0.25  # share of the jaw that hair covers from which on it is a beard
LONG, MIDDLING = 1.45, 0.85  # how far below the eyes hair reaches, over the way to the chin


@dataclass(frozen=True)
class Hints:
    """Colours are sRGB in [0, 1]; style and beard are names of training.bake.hair and beard."""

    skin: Colour
    tone: float  # along training.studio.tones.SKIN
    lip: Colour
    iris: Colour
    hair: Colour
    hair_tip: Colour
    grey: float
    style: str
    beard: str
    cloth: Colour
    neckline: str


def read(photo: U8, fit: Fit, regions: U8 | None) -> Hints:
    """What ``photo`` (H, W, 3) says; ``regions`` (H, W) of engine.avatar.REGIONS say where hair and clothes are.

    Without them hair is read from just over the forehead, its cut is a common one, and clothes are grey.
    """
    skin_seen = _colour(photo, fit, SKIN_AT)
    tone = _tone(skin_seen)
    skin = _tinted(along(SKIN, tone), skin_seen)
    light = skin_seen / np.maximum(_linear(skin), 1e-4)  # of the photograph, by channel
    usual_lip = _linear(along(LIP, tone))
    lip = 0.5 * usual_lip + 0.5 * np.clip(_colour(photo, fit, LIPS_AT) / light, 0.6 * usual_lip, 1.5 * usual_lip)
    strands = _hair(photo, fit, regions)
    hair, tip, grey = _hair_kind(strands / light) if strands is not None else (*HAIR["dark brown"], 0.0)
    woman = bool(fit.phenotype[0] > 0.5)
    cloth = _region(photo, regions, ("torso", "arms"))
    return Hints(
        skin, tone, _srgb(lip), _iris(photo, fit, light), hair, tip, grey, _style(fit, regions, woman),
        "none" if woman else _beard(fit, regions), CLOTH if cloth is None else _srgb(np.clip(cloth / light, 0.01, 0.8)),
        _neckline(fit, regions, woman),
    )  # fmt: skip


def _tinted(skin: Colour, seen: F64) -> Colour:
    """A colour of skins with TINT of the hue that was seen: the rest of the difference is the light's."""
    known = _linear(skin)
    hue = (seen / max(float(seen.mean()), 1e-5)) / (known / known.mean())
    return _srgb(known * np.clip(hue, 0.75, 1.35) ** TINT)


def _neckline(fit: Fit, regions: U8 | None, woman: bool) -> str:
    """How high clothes reach, by how much bare neck is seen below the chin, over the way from the eyes to the chin."""
    usual = "round" if woman else "crew"
    if regions is None:
        return usual
    chin, eyes = fit.landmarks[152], fit.landmarks[[33, 133, 263, 362]].mean(0)
    down = float(chin[1] - eyes[1])
    left, right = (int(np.clip(chin[0] + s * 0.12 * down, 0, regions.shape[1] - 1)) for s in (-1, 1))
    under = regions[max(int(chin[1]), 0) : int(chin[1] + 1.2 * down), left : right + 1]
    cloth = np.isin(under, [REGIONS.index(name) for name in ("torso", "arms", "accessories")]).mean(1) > 0.5
    if not cloth.any():
        return usual
    bare = int(np.argmax(cloth)) / down
    return next((name for name, most in NECKLINES if bare < most), usual)


def _tone(seen: F64) -> float:
    """Place on the line of skins of a colour in unknown light (linear)."""
    places = np.linspace(0.0, 1.0, 101)
    line = np.stack([_linear(along(SKIN, place)) for place in places])
    bright = np.log(np.maximum(line.mean(1), 1e-4)) - np.log(max(float(seen.mean()), 1e-4))
    hue = np.log(line / line.sum(1, keepdims=True)) - np.log(np.maximum(seen, 1e-5) / max(float(seen.sum()), 1e-5))
    cost = np.square(hue).sum(1) + BRIGHTNESS * np.square(bright) + PULL * np.square(places - USUAL)
    return float(places[int(np.argmin(cost))])


def _iris(photo: U8, fit: Fit, light: F64) -> Colour:
    """The nearest usual colour of eyes to the darker half of what lies between pupil and white."""
    apart = float(np.linalg.norm(fit.landmarks[33] - fit.landmarks[263]))
    seen = []
    for iris in (LEFT_IRIS, RIGHT_IRIS):
        ring = _spot(photo, fit.landmarks[iris] + [0.0, 0.02 * apart], 0.05 * apart)
        if len(ring):
            order = np.argsort(ring.sum(1))
            seen.append(ring[order[len(ring) // 5 : 3 * len(ring) // 5]].mean(0) if len(ring) > 4 else ring.mean(0))
    if not seen:
        return IRIS["brown"]
    own = np.log(np.maximum(np.mean(seen, axis=0) / light, 1e-3))
    known = {name: np.log(_linear(colour)) for name, colour in IRIS.items()}
    return IRIS[min(known, key=lambda name: float(np.square(known[name] - own).sum()))]


def _hair(photo: U8, fit: Fit, regions: U8 | None) -> F64 | None:
    """Linear colour of the hair: where regions say, or in a band over the forehead; None when too little is seen."""
    known = _region(photo, regions, ("hair",))
    if regions is not None:
        return known
    up = fit.landmarks[10] - fit.landmarks[152]
    height = float(np.linalg.norm(up))
    spots = [_spot(photo, fit.landmarks[10] + share * up, 0.06 * height) for share in (0.16, 0.22)]
    pixels = np.concatenate(spots)
    return np.median(pixels, axis=0) if len(pixels) > 20 else None


def _hair_kind(own: F64) -> tuple[Colour, Colour, float]:
    """(root, tip, share of grey) of the usual colour of hair that is nearest."""
    bright, spread = float(own.mean()), float(own.max() / max(float(own.min()), 1e-3))
    grey = float(np.clip((bright - 0.06) / 0.25, 0, 1) * np.clip((1.45 - spread) / 0.3, 0, 1))
    cost = {}
    for name, (root, tip) in HAIR.items():
        middle = 0.4 * _linear(root) + 0.6 * _linear(tip)
        cost[name] = float(np.square(np.log(middle) - np.log(np.maximum(own, 2e-3))).sum())
    root, tip = HAIR[min(cost, key=lambda name: cost[name])]
    return root, tip, round(grey, 3)


def _style(fit: Fit, regions: U8 | None, woman: bool) -> str:
    """The nearest kind of cut, by how far down the hair reaches beside the face and how much there is on top."""
    if regions is None:
        return "bob" if woman else "crop"
    hair = regions == REGIONS.index("hair")
    eyes, chin = fit.landmarks[[33, 263]].mean(0), fit.landmarks[152]
    down = max(float(chin[1] - eyes[1]), 1.0)
    rows = np.flatnonzero(hair.sum(1) > 0.06 * down)
    if not len(rows) or hair.sum() < 0.10 * down * down:
        return "bald"
    top, lowest = (eyes[1] - rows.min()) / down, (rows.max() - eyes[1]) / down
    if lowest > LONG:
        return "long_wavy"
    if lowest > MIDDLING and woman:
        return "bob"
    if hair.sum() < 0.45 * down * down or top < 0.85:
        return "buzz"
    return "pixie" if woman else "side_part"


def _beard(fit: Fit, regions: U8 | None) -> str:
    """A beard is hair in front of the jaw, below the mouth."""
    if regions is None:
        return "none"
    jaw = fit.landmarks[[172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 17]]
    low, high = np.floor(jaw.min(0)).astype(int), np.ceil(jaw.max(0)).astype(int)
    part = regions[max(low[1], 0) : high[1], max(low[0], 0) : high[0]]
    share = float((part == REGIONS.index("hair")).mean()) if part.size else 0.0
    return "full" if share > 2 * BEARD else "short_boxed" if share > BEARD else "none"


def _region(photo: U8, regions: U8 | None, names: tuple[str, ...]) -> F64 | None:
    """Median linear colour of the pixels of some regions; None when there are few."""
    if regions is None:
        return None
    pixels = photo[np.isin(regions, [REGIONS.index(name) for name in names])]
    return np.median(_linear(pixels / 255.0), axis=0) if len(pixels) > 200 else None


def _colour(photo: U8, fit: Fit, landmarks: tuple[int, ...]) -> F64:
    apart = float(np.linalg.norm(fit.landmarks[33] - fit.landmarks[263]))
    spots = [_spot(photo, fit.landmarks[k], DISC * apart) for k in landmarks]
    seen = [np.median(spot, axis=0) for spot in spots if len(spot)]
    return np.asarray(np.median(seen, axis=0)) if seen else _linear(along(SKIN, USUAL))


def _spot(photo: U8, middle: F64, reach: float) -> F64:
    """(n, 3) linear colours of the pixels within ``reach``."""
    height, width = photo.shape[:2]
    left, top = (max(int(middle[k] - reach), 0) for k in (0, 1))
    part = photo[top : min(int(middle[1] + reach) + 1, height), left : min(int(middle[0] + reach) + 1, width)]
    return _linear(part.reshape(-1, 3) / 255.0)


def _linear(colour: Array | Colour) -> F64:
    return np.asarray(to_linear(np.asarray(colour, np.float32)), np.float64)


def _srgb(linear: F64) -> Colour:
    red, green, blue = np.clip(to_srgb(np.asarray(linear, np.float32)), 0, 1).round(4).tolist()
    return red, green, blue
