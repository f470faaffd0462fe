"""Brows and, for the studio, lashes hair by hair: each lies on the skin or the lid's strip and moves with it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import prior, ribbons
from training.bake.brows import brow_lean, brow_line
from training.bake.follicles import Skin
from training.bake.hair_grow import along
from training.bake.head import islands
from training.bake.identities import Identity
from training.bake.lashes import strip_layout
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig

Array = NDArray[Any]
POINTS: Final = 4  # along a hair
BROWS: Final = (300, 0.00024)  # hairs a side, metres wide
LASHES: Final = (("2", 105, 0.95), ("1", 46, 0.5))  # strip, hairs an eye, how far over the strip they reach


def brow_parts(person: Person, rig: Rig, identity: Identity, seed: int, detail: str) -> list[Part]:
    """Both brows as one part of region "brows"; a pack's are paint."""
    if detail == "pack":
        return []
    generator = np.random.default_rng([seed, 13])
    count, width = BROWS
    count = int(count * np.clip(identity.brow, 0.3, 1.6))
    template, _, groups = prior.template()
    faces = groups["body"].faces[islands()["head"]]
    middle = template[faces].mean(1)
    faces = faces[(middle[:, 1] > 0.008) & (middle[:, 1] < 0.045) & (middle[:, 2] > -0.03)]
    skin = Skin(person, rig, faces)
    flat = np.concatenate([_brow_hairs(count, side, identity, generator) for side in (1.0, -1.0)])
    roots = skin.at(*skin.locate(skin.template[:, :2], flat.reshape(-1, 2)))
    s = along(POINTS)[None]
    rise = 0.00015 + 0.0009 * generator.uniform(0.4, 1.2, (len(flat), 1)) * s * (1.25 - s)
    lifted = roots.point + rise.reshape(-1, 1) * roots.normal
    curves, outward = lifted.reshape(-1, POINTS, 3), roots.normal.reshape(-1, POINTS, 3)
    part = ribbons.ribbons(
        "brows", curves, width * generator.uniform(0.7, 1.3, len(curves)), outward,
        ribbons.face_columns("brow", len(curves), generator), roots.weight[:, :1],
        generator.normal(0, 0.2, len(curves)),
    )  # fmt: skip
    return [roots.follow(part).with_region("brows")]


def _brow_hairs(count: int, side: float, identity: Identity, generator: np.random.Generator) -> Array:
    """Hairs as template (x, y) points (count, POINTS, 2): upright inside, lying toward the temple outside."""
    u = generator.beta(1.45, 1.3, count)
    spread = generator.normal(0, 0.46, count).clip(-1.05, 1.05)
    x, middle, half = brow_line(u, identity)
    lean = brow_lean(u) - 0.42 * spread + generator.normal(0, 0.15, count)
    length = np.interp(u, [0, 0.2, 0.8, 1.0], [0.0042, 0.0066, 0.0062, 0.0042]) * generator.uniform(0.7, 1.15, count)
    s = along(POINTS)[None]
    turned = lean[:, None] - 0.35 * s  # hairs bend down toward their tips
    ahead = length[:, None] * s
    x, y = x[:, None] + ahead * np.cos(turned), (middle + spread * half)[:, None] + ahead * np.sin(turned)
    return np.stack([side * x, y], axis=2)


def lash_strands(person: Person, rig: Rig, identity: Identity, seed: int) -> list[Part]:
    """Single lashes along the prior's four strips, fanning out toward the outer corner."""
    generator = np.random.default_rng([seed, 14])
    parts = []
    for side in "lr":
        for kind, count, reach in LASHES:
            faces, unit = strip_layout(side, kind)
            skin = Skin(person, rig, faces)
            u = np.sort(generator.uniform(0.03, 0.985, count))
            lock = np.round(u * 30) / 30
            tip = u + 0.55 * (lock - u) + 0.055 * (u - 0.35) + generator.normal(0, 0.006, count)
            size = reach * generator.uniform(0.65, 1.0, count) * np.interp(u, [0, 0.2, 0.75, 1], [0.45, 0.8, 1.0, 0.8])
            size = size * min(identity.lash, 1.15)
            s = along(POINTS)[None]
            flat = np.stack([u[:, None] + (tip - u)[:, None] * s, 0.02 + (size[:, None] - 0.02) * s], axis=2)
            roots = skin.at(*skin.locate(unit, flat.clip(0, 1).reshape(-1, 2)))
            width = np.full(count, 0.00026 if kind == "2" else 0.00015) * (0.8 + 0.3 * identity.lash)
            part = ribbons.ribbons(
                f"lash_{side}{kind}", roots.point.reshape(-1, POINTS, 3), width,
                roots.normal.reshape(-1, POINTS, 3), ribbons.face_columns("lash", count, generator),
                roots.weight[:, :1], generator.normal(0, 0.6, count),
            )  # fmt: skip
            parts.append(roots.follow(part).with_region("lashes"))
    return parts
