"""Skin paint, laid out on the template so that it fits every face: tone, lips, brows, freckles, stubble, scalp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import prior
from training.bake.brush import bump, ease, linear, noise, sample, spots, strokes
from training.bake.head import lid_edge
from training.bake.identities import Identity
from training.bake.lashes import lash_roots
from training.bake.scalp import Scalp

Array = NDArray[Any]
EYE: Final = 0.0308  # metres from the middle to an eye's centre, template
LID: Final = 0.0143  # eyeball radius of the template
BROW_BOX: Final = (0.008, 0.008, 0.052, 0.034)  # x, y, width, height in metres of the brow painting
BROW_SCALE: Final = 20_000  # its pixels per metre


@dataclass
class Paint:
    """What lies on n texels: linear colour (n, 3), gloss, subsurface, strand, each (n,) in [0, 1]."""

    colour: Array
    gloss: Array
    blood: Array
    strand: Array


def paint_skin(place: Array, mpfb: Array, identity: Identity, scalp: Scalp, seed: int) -> Paint:
    """Paints texels at template positions ``place`` (n, 3), with the prior's own uv ``mpfb`` (n, 2)."""
    x, y, z = place.T
    side = np.abs(x)
    lips, lids, ears, inside = (_mask(name, mpfb) for name in ("lips", "eyelids", "ears", "inside-mouth"))
    front = ease(z, -0.035, -0.005)
    colour = np.broadcast_to(linear(identity.skin), (len(place), 3)).copy()
    colour *= (0.93 + 0.14 * noise(place, 55, 4, seed))[:, None]
    colour *= (0.965 + 0.07 * noise(place, 900, 2, seed + 1))[:, None]  # pores
    mottle = noise(place, 130, 3, seed + 2) - 0.5
    colour *= 1 + mottle[:, None] * np.array([0.03, -0.10, -0.10])

    cheek = bump(side, EYE * 1.30, 0.020) * bump(y, -0.036, 0.019) * front
    nose = bump(side, 0.0, 0.014) * bump(y, -0.043, 0.013) * ease(z, 0.018, 0.03)
    chin = bump(side, 0.0, 0.016) * bump(y, -0.098, 0.012) * front
    flush = np.clip(0.70 * cheek * (0.8 + 0.5 * identity.makeup) + 0.40 * nose + 0.18 * chin + 0.22 * ears, 0, 1)
    colour *= _tint(flush, (1.05, 0.80, 0.78))
    brow_zone = bump(y, 0.055, 0.020) * front
    colour *= _tint(0.35 * brow_zone, (1.03, 0.99, 0.90))  # a slightly golden forehead
    under = bump(side, EYE * 0.92, 0.016) * bump(y, -0.0155, 0.0062) * front
    colour *= _tint(0.50 * under, (0.91, 0.84, 0.86))
    colour *= _tint(0.75 * lids, (0.93, 0.80, 0.78))
    rim = bump(side, EYE, 0.017) * bump(y, 0.0, 0.0085) * lids
    colour *= _tint(0.55 * rim * (1 + 0.7 * identity.makeup), (0.80, 0.66, 0.64))
    nostril = bump(side, 0.0105, 0.007) * bump(y, -0.0495, 0.005) * front
    colour *= _tint(0.45 * nostril, (0.92, 0.70, 0.68))

    freckle = spots(place, 0.0055, 0.55, seed + 3) * (cheek + 0.7 * bump(side, 0, 0.03) * bump(y, -0.03, 0.02) * front)
    colour *= _tint(np.clip(identity.freckles * freckle, 0, 0.8), (0.80, 0.62, 0.50))
    moles = spots(place + 1.7, 0.021, 0.10, seed + 4) ** 6 * front * (1 - lips)
    colour *= _tint(np.clip(0.6 * moles, 0, 1), (0.62, 0.45, 0.38))

    lip = np.clip(lips * 1.15, 0, 1)
    lines = noise(np.stack([x * 1.0, y * 0.22, z * 0.3], axis=1), 1500, 2, seed + 5)
    tone = linear(identity.lip) * (0.86 + 0.26 * lines)[:, None]
    tone = tone * (1 - 0.22 * bump(y, -0.0662, 0.0022) * (side < 0.022))[:, None]
    colour += (0.82 * lip)[:, None] * (tone - colour)

    beard = _stubble(place, side, y, z, lips, seed) * identity.stubble
    shade = linear(identity.hair) * 0.55 + colour * np.array([0.36, 0.40, 0.44])
    colour += (beard * (0.30 + 0.62 * ease(noise(place, 1500, 1, seed + 6), 0.45, 0.8)))[:, None] * (shade - colour)

    brow = _brows(side, y, identity, seed) * front
    colour += np.clip(brow, 0, 0.95)[:, None] * (linear(identity.hair) * 0.85 - colour)

    from scipy.spatial import cKDTree

    edge = cKDTree(prior.template()[0][lid_edge()]).query(place, distance_upper_bound=0.01)[0]
    colour *= _tint(0.75 * np.exp(-((np.minimum(edge, 1.0) / 0.0022) ** 2)), (0.50, 0.32, 0.30))  # wet lid margin
    lash = _lash_line(place) * min(identity.lash, 1.0)
    colour += lash[:, None] * (linear(identity.hair) * 0.30 - colour)

    root, bare = _scalp_hair(place, ears, scalp, identity, seed)
    hair = linear(identity.hair) * (0.55 + 0.7 * noise(place * [1, 0.35, 1], 900, 2, seed + 8))[:, None]
    colour += root[:, None] * (hair - colour)

    wet = ease(inside, 0.25, 0.75)
    colour += wet[:, None] * (_mouth_tone(place) - colour)
    zone = np.clip(nose + 0.5 * bump(y, 0.05, 0.025) * front * bump(side, 0, 0.03) + 0.35 * cheek, 0, 1)
    gloss = 0.27 + 0.10 * zone + 0.16 * lip + 0.05 * lids - 0.22 * root - 0.10 * beard - 0.10 * np.clip(brow, 0, 1)
    gloss = gloss * (1 - 0.6 * bump(side, 0.0185, 0.007) * bump(y, -0.0145, 0.008) * front)  # the fold by the nose
    gloss = gloss * (0.72 + 0.56 * noise(place, 700, 2, seed + 9))
    blood = (0.84 + 0.10 * nose - 0.25 * ears - 0.10 * bare) * (1 - 0.85 * root) * (1 - 0.6 * np.clip(brow, 0, 1))
    return Paint(colour, np.where(wet > 0.5, 0.38, gloss), blood * (1 - 0.4 * wet), np.zeros_like(blood))


def _tint(amount: Array, tint: tuple[float, float, float]) -> Array:
    return 1 + amount[:, None] * (np.array(tint, np.float32) - 1)


def _mask(name: str, mpfb: Array) -> Array:
    """A painted mask of the prior, looked up at its own texture coordinates."""
    return sample(_blurred(name), mpfb[:, 0] * 2047, (1 - mpfb[:, 1]) * 2047)


def _blurred(name: str) -> Array:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(prior.mask(name), 2.2 if name == "lips" else 4.0)


def _mouth_tone(place: Array) -> Array:
    """Wet red near the lips, deep and dark toward the throat, never black."""
    deep = ease(-place[:, 2], -0.020, 0.030)[:, None]
    tone = (1 - deep) * linear((0.62, 0.27, 0.26)) + deep * linear((0.27, 0.085, 0.085))
    return tone * (0.85 + 0.3 * noise(place, 350, 2, 77))[:, None]


def _stubble(place: Array, side: Array, y: Array, z: Array, lips: Array, seed: int) -> Array:
    """Where a beard would grow, in [0, 1]: chin, jaw, upper lip, sideburns and a little of the neck."""
    jaw = ease(-y, 0.056 + 0.0, 0.078) * ease(y, -0.150, -0.120) * ease(z, -0.085, -0.060)
    cheek_line = ease(-y - 0.35 * side, 0.030, 0.048)
    moustache = bump(y, -0.0585, 0.0048) * bump(side, 0.0, 0.022) * 1.1
    burn = bump(z, -0.058, 0.012) * ease(-y, -0.015, 0.01) * ease(y, -0.09, -0.06) * ease(side, 0.055, 0.062)
    soul = 1 - 0.55 * bump(side, 0.011, 0.006) * bump(y, -0.081, 0.006)
    patch = 0.75 + 0.35 * noise(place, 140, 2, seed + 12)
    return np.clip(np.maximum(np.maximum(jaw * cheek_line, moustache), burn) * soul * patch, 0, 1) * (
        1 - ease(lips, 0.1, 0.5)
    )


def _brows(side: Array, y: Array, identity: Identity, seed: int) -> Array:
    """Relaxed brows out of single hairs, both sides from one painting."""
    left, low, width, height = BROW_BOX
    canvas = np.zeros((int(height * BROW_SCALE), int(width * BROW_SCALE)), np.float32)
    generator = np.random.default_rng([seed, 5])
    count = int(520 * identity.brow)
    u = generator.beta(1.25, 1.2, count)
    spread = generator.normal(0, 0.45, count).clip(-1, 1)
    x, middle, half = _brow_line(u, identity)
    root = np.stack([x, middle + spread * half], axis=1)
    lean = np.radians(np.interp(u, [0, 0.12, 0.35, 0.7, 1.0], [82, 66, 38, 6, -24])) - 0.40 * spread
    lean = lean + generator.normal(0, 0.13, count)
    length = np.interp(u, [0, 0.2, 0.8, 1.0], [0.0042, 0.0062, 0.0058, 0.0040]) * generator.uniform(0.7, 1.15, count)
    tip = root + length[:, None] * np.stack([np.cos(lean), np.sin(lean)], axis=1)
    bend = 0.5 * (root + tip) + 0.10 * length[:, None] * np.stack([-np.sin(lean), np.cos(lean)], axis=1)
    to_pixel = lambda p: np.stack([(p[:, 0] - left), (low + height - p[:, 1])], axis=1) * BROW_SCALE  # noqa: E731
    values = generator.uniform(0.45, 0.95, count) * np.interp(u, [0, 0.22, 0.85, 1], [0.35, 1.0, 1.0, 0.7])
    strokes(canvas, to_pixel(root), to_pixel(bend), to_pixel(tip), generator.uniform(3.2, 5.2, count), values)
    grid_x = left + (np.arange(canvas.shape[1]) + 0.5) / BROW_SCALE
    grid_y = low + height - (np.arange(canvas.shape[0]) + 0.5) / BROW_SCALE
    line_u = (grid_x - 0.0130) / 0.0405
    _, centre, half_width = _brow_line(np.clip(line_u, 0, 1), identity)
    body = bump((grid_y[:, None] - centre) / half_width, 0.0, 0.85) * (
        ease(line_u, -0.05, 0.3) * ease(-line_u, -1.04, -0.8)
    )
    from scipy.ndimage import gaussian_filter

    soft = np.clip(gaussian_filter(canvas, 1.6) * 1.05 + 0.36 * body, 0, 1)  # skin tint between the hairs
    return sample(soft, (side - left) * BROW_SCALE, (low + height - y) * BROW_SCALE) * identity.brow**0.5


def _brow_line(u: Array, identity: Identity) -> tuple[Array, Array, Array]:
    """Centre (x, y) and half width of the brow at ``u`` from its inner (0) to its outer end (1)."""
    thick = 1.0 + 0.35 * identity.stubble
    x = 0.0130 + 0.0405 * u
    y = np.interp(u, [0, 0.25, 0.5, 0.68, 0.85, 1.0], [0.0212, 0.0229, 0.0249, 0.0254, 0.0236, 0.0196])
    half = np.interp(u, [0, 0.15, 0.5, 0.75, 1.0], [0.0021, 0.0029, 0.0027, 0.0019, 0.0006]) * thick
    return x, y + 0.0008 * (1 - identity.stubble), half


def _scalp_hair(place: Array, ears: Array, scalp: Scalp, identity: Identity, seed: int) -> tuple[Array, Array]:
    """(how much hair colour covers each texel, a softer halo): full inside the hairline, fine hairs at its edge."""
    depth = scalp.depth_on_template(place)
    turn = scalp.bearing(place)
    ray = np.stack([np.cos(turn) * 55, np.sin(turn) * 55, depth * 75], axis=1)
    fine = noise(ray, 1.0, 1, seed + 7) + 0.6 * noise(ray * [2.3, 2.3, 1.4], 1.0, 1, seed + 13) - 0.8
    coarse = noise(place, 160, 2, seed + 10) - 0.5
    edge = depth + (0.012 - 0.006 * ease(-place[:, 2], 0.05, 0.08)) * fine + 0.005 * coarse
    root = ease(edge, -0.0035, 0.0060) * (place[:, 1] > -0.095) * (1 - ease(ears, 0.05, 0.35))
    if identity.style == "bob":  # the scalp shows along the parting
        line = 0.021 - 0.009 * ease(-place[:, 2], -0.02, 0.11)
        root = root * (1 - 0.5 * ease(-place[:, 2], -0.005, 0.015) * np.exp(-(((place[:, 0] - line) / 0.0016) ** 2)))
    return 0.97 * root, ease(depth, -0.012, 0.004)


def _lash_line(place: Array) -> Array:
    """Dark line where the lashes grow: strong on the upper lid, faint on the lower, in [0, 1]."""
    from scipy.spatial import cKDTree

    out = np.zeros(len(place), np.float32)
    for roots, width, strength in ((lash_roots("2"), 0.0016, 0.92), (lash_roots("1"), 0.0010, 0.40)):
        distance = cKDTree(roots).query(place, distance_upper_bound=0.006)[0]
        out = np.maximum(out, strength * np.exp(-((np.minimum(distance, 1.0) / width) ** 2)))
    return out
