"""Paint for hair and lashes: strands, locks and mass down v, each hair with a tone of its own, some of them grey."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import lashes, ribbons
from training.bake.atlas import Rect
from training.bake.brush import ease, linear, noise, strokes
from training.bake.hair_cuts import STYLES, bare, hand, parting_line, recede
from training.bake.identities import Colour, Identity
from training.bake.paint_parts import Canvas
from training.bake.scalp import hairline

Array = NDArray[Any]
GREY: Final = (0.72, 0.71, 0.69)  # sRGB of hair without pigment
SHAVED: Final = 0.16  # how dark a shaved scalp is
HAIRS: Final = {"strand": 5, "lock": 24}  # in one column


def paint_hair(canvas: Canvas, identity: Identity, seed: int) -> None:
    """Fills the HAIR rectangle of the atlas."""
    cut = STYLES[identity.style]
    curl = 0.0 if cut is None else min(1.0, cut.coil[0] / 0.005 + cut.wave[0] / 0.02)
    generator = np.random.default_rng([seed, 52])
    columns = ribbons.LEVELS * ribbons.VARIANTS
    level = np.repeat((np.arange(ribbons.LEVELS) + 0.5) / ribbons.LEVELS, ribbons.VARIANTS)
    _columns(canvas, ribbons.STRANDS, columns, level, HAIRS["strand"], curl, identity, generator)
    _columns(canvas, ribbons.LOCKS, ribbons.LOCK_KINDS, np.full(4, 0.8), HAIRS["lock"], curl, identity, generator)
    _mass(canvas, identity, seed)
    kinds = ribbons.FACE_KINDS
    own = beard_colour(identity)
    bearded = replace(identity, hair=own, hair_tip=_scaled(own, 1.35))
    _columns(canvas, ribbons.BEARD, kinds["beard"], np.full(4, 0.7), 3, identity.curl, bearded, generator)
    brows = replace(identity, hair=_scaled(identity.hair, 1.1), grey=0.6 * identity.grey)
    _columns(canvas, ribbons.BROW, kinds["brow"], np.full(2, 1.0), 1, 0.0, brows, generator)
    ribbons.BROW.window(canvas.albedo)[..., 3] *= 0.8
    canvas.fill(ribbons.LASH, 0.25 * linear(identity.hair), alpha=0.95, gloss=0.15, light=0.8, strand=1.0)


def _columns(
    canvas: Canvas, rect: Rect, count: int, level: Array, hairs: int, curl: float, identity: Identity,
    generator: np.random.Generator,
) -> None:  # fmt: skip
    """Columns of single hairs, parting from a lock and tapering; ``level`` (count,) of depth sets light and tone."""
    v = ((np.arange(rect.height) + 0.5) / rect.height)[:, None]
    colour, alpha = np.zeros((rect.height, rect.width, 3), np.float32), np.zeros((rect.height, rect.width), np.float32)
    light = np.ones((rect.height, rect.width), np.float32)
    edges = np.round(np.linspace(0, rect.width, count + 1)).astype(int)
    for column, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        u = ((np.arange(right - left) + 0.5) / (right - left))[None]
        best = np.zeros((rect.height, right - left), np.float32)
        tone = np.empty((rect.height, right - left, 3), np.float32)
        tone[:] = hair_colour(identity, v, np.zeros(1), generator)
        for start in np.linspace(0.16, 0.84, hairs) if hairs > 1 else (0.5,):
            middle = start + generator.normal(0, 0.05) + generator.normal(0, 0.10) * v
            middle = middle + (0.5 - start) * generator.uniform(0.1, 0.5) * v**2
            swing = (0.03 + 0.16 * curl) * np.sin(
                2 * np.pi * v * generator.uniform(1, 2 + 6 * curl) + generator.uniform(0, 6)
            )
            thick = generator.uniform(0.7, 1.3) * (0.46 if hairs < 9 else 1.15) / hairs * (1 - 0.6 * v**2)
            stop = generator.uniform(0.80, 1.0)
            cover = np.clip(1.6 - np.abs(u - middle - swing) / thick, 0, 1) * ease(-v, -stop, -stop + 0.10)
            own = hair_colour(identity, v, np.full(1, generator.normal(0, 1)), generator)
            nearer = cover > best
            tone = np.where(nearer[..., None], own, tone)
            best = np.maximum(best, cover)
        inside = (slice(None), slice(left, right))
        depth = float(level[column])
        colour[inside] = tone * (0.80 + 0.28 * depth)
        alpha[inside] = best * ease(v, -0.01, 0.03)
        light[inside] = (0.42 + 0.58 * depth) * (0.72 + 0.28 * ease(v, 0.0, 0.25))
    canvas.fill(rect, colour, alpha=alpha, light=light, gloss=gloss(identity), strand=1.0)


def _mass(canvas: Canvas, identity: Identity, seed: int) -> None:
    """The opaque hair under a pack's locks: strands without gaps, dark between them."""
    rect = ribbons.MASS
    generator = np.random.default_rng([seed, 53])
    v = np.broadcast_to(((np.arange(rect.height) + 0.5) / rect.height)[:, None], (rect.height, rect.width))
    hair = np.arange(rect.width)[None] + 3.0 * (_noise(v * 3, np.arange(rect.width) / 24.0, seed) - 0.5)
    which = np.clip(hair / 1.6, 0, rect.width).astype(int)
    own = generator.normal(0, 1, rect.width + 1)
    tone = hair_colour(replace(identity, grey=0.0), v, 0.45 * own[which], None, np.zeros(1, bool))
    share = np.clip(identity.grey + 0.20 * own[which] * np.sqrt(identity.grey * (1 - identity.grey)), 0, 1)
    tone = tone + share[..., None] * (grey_tone(identity) - tone)
    cloud = int(ribbons.FUZZ * rect.width)
    puffs = _noise(v[:, :cloud] * 70, np.arange(cloud) / 1.8, seed + 1)[..., None]
    tone[:, :cloud] = tone.mean(1, keepdims=True) * (0.45 + 1.1 * puffs)
    canvas.fill(
        rect, 0.95 * tone, light=0.95 * (0.72 + 0.28 * ease(v, 0.0, 0.35)), gloss=0.8 * gloss(identity), strand=1.0
    )


def _noise(x: Array, y: Array, seed: int) -> Array:
    x, y = np.broadcast_arrays(x, y)
    return noise(np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.5)], axis=1), 1.0, 2, seed).reshape(x.shape)


def hair_colour(
    identity: Identity, v: Array, own: Array, generator: np.random.Generator | None, grey: Array | None = None
) -> Array:
    """Linear colour (..., 3) of hairs ``v`` of the way to the tip; ``own`` standard normal: each hair's own shade."""
    root, tip = linear(identity.hair), linear(identity.hair_tip)
    own = np.clip(own, -2, 2)
    mix = np.clip(0.25 + 0.30 * v + 0.26 * own, 0, 1)[..., None]
    tone = (root + (tip - root) * mix) * np.exp(0.24 * own)[..., None]
    if grey is None:
        grey = np.full(1, generator is not None and generator.random() < identity.grey)
    return np.asarray(np.where(grey[..., None], grey_tone(identity) * np.exp(0.10 * own)[..., None], tone), np.float32)


def scalp_cover(place: Array, ears: Array, identity: Identity, seed: int) -> Array:
    """How much hair colour (n,) covers the skin at template positions: roots and their shade, never a hard line."""
    cut = STYLES[identity.style]
    depth = hairline(place, recede(identity))
    fade = 0.010 + (0.0 if cut is None else 0.030 * cut.fade) * (1 - ease(place[:, 1], 0.045, 0.075))
    fade = fade + 0.010 * ease(np.abs(place[:, 0]), 0.035, 0.05) * ease(place[:, 2], -0.075, -0.03)  # temples
    fine = noise(place, 1400, 1, seed + 7) - 0.5
    ragged = depth + 0.006 * (noise(place, 120, 2, seed + 10) - 0.5) + 0.004 * fine
    cover = ease(ragged / fade, -0.25, 1.0) * (place[:, 1] > -0.095) * (1 - ease(ears, 0.05, 0.35))
    if cut is None:  # shaved: the shadow of what would grow
        return np.asarray(SHAVED * cover * (0.6 + 0.8 * (fine + 0.5)))
    if cut.bare > 0:
        cover = cover * (1 - 0.97 * bare(place, cut.bare))
    if cut.parting is not None:
        mirrored = place * [hand(seed), 1.0, 1.0]
        away = (mirrored[:, 0] - parting_line(mirrored, cut.parting)) / 0.0015
        cover = cover * (1 - 0.42 * ease(-place[:, 2], -0.012, 0.004) * (place[:, 1] > 0.05) * np.exp(-(away**2)))
    thick = 0.97 if max(cut.length) > 0.012 else 0.92
    return np.asarray(cover * np.clip(thick + 0.5 * fine * (1.2 - cover), 0, 1))


def grey_tone(identity: Identity) -> Array:
    """Linear colour of a grey hair: while few are grey they keep some pigment."""
    return np.asarray(linear(GREY) * (0.35 + 0.65 * identity.grey))


def gloss(identity: Identity) -> float:
    """Curled hair scatters its highlight; straight long hair shines."""
    cut = STYLES[identity.style]
    return 0.24 if cut is None or cut.coil[0] == 0 else 0.14


def _scaled(colour: Colour, by: float) -> Colour:
    red, green, blue = (min(1.0, by * c) for c in colour)
    return red, green, blue


def beard_colour(identity: Identity) -> Colour:
    """sRGB of the beard: the hair's, unless it has its own."""
    return identity.beard_colour or identity.hair


def paint_lashes(canvas: Canvas, identity: Identity, seed: int) -> None:
    """Curved, tapering hairs in clumps, longer toward the outer corner, on a transparent strip."""
    generator = np.random.default_rng([seed, 40])
    dark = linear(identity.hair) * 0.25
    for rect, count, reach, strength in ((lashes.UPPER, 150, 0.95, 0.95), (lashes.LOWER, 80, 0.50, 0.55)):
        picture = np.zeros((rect.height, rect.width), np.float32)
        x = np.sort(generator.uniform(0.03, 0.985, count))
        clump = np.round(x * 34) / 34
        tip = x + 0.6 * (clump - x) + 0.055 * (x - 0.35) + generator.normal(0, 0.006, count)
        length = reach * generator.uniform(0.65, 1.0, count) * np.interp(x, [0, 0.2, 0.75, 1], [0.45, 0.8, 1.0, 0.8])
        root = np.stack([x * rect.width, np.full(count, 1.0)], axis=1)
        end = np.stack([tip * rect.width, length * rect.height * min(identity.lash, 1.0)], axis=1)
        bend = np.stack([(x * 0.75 + tip * 0.25) * rect.width, 0.55 * end[:, 1]], axis=1)
        strokes(picture, root, bend, end, np.full(count, 1.9 if reach > 0.8 else 1.5), np.full(count, strength))
        v = np.broadcast_to(((np.arange(rect.height) - 1.0) / (rect.height - 3.0))[:, None], picture.shape)
        line = 0.85 * identity.lash * ease(-v, -0.16, -0.03) if reach > 0.8 else 0.20 * ease(-v, -0.10, -0.02)
        canvas.fill(rect, dark, alpha=np.clip(np.maximum(picture, line), 0, 1), gloss=0.15, light=0.8)
