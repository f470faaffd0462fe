"""Photographs spoilt: colours change alike wherever they stand, and outlines stay outlines."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from engine.avatar import REGIONS
from training.renderer.photographic import Colours, colours, taken

HAIR, FACE = REGIONS.index("hair"), REGIONS.index("face")


def scene(side: int = 96) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rgb, alpha and regions of a disc of skin with dark hair above it, before grey."""
    row, column = np.mgrid[:side, :side]
    inside = (row - 0.5 * side) ** 2 + (column - 0.5 * side) ** 2 < (0.4 * side) ** 2
    regions = np.where(inside, np.where(row < 0.5 * side, HAIR, FACE), 0).astype(np.uint8)
    rgb = np.full((side, side, 3), 140, np.uint8)
    rgb[regions == HAIR], rgb[regions == FACE] = (40, 30, 24), (205, 160, 140)
    return rgb, np.where(inside, 255, 0).astype(np.uint8), regions


def test_colours_are_the_seed_s_and_change_something() -> None:
    rgb, _, regions = scene()
    first, again, other = (colours(rgb, regions == HAIR, False, np.random.default_rng(n)) for n in (1, 1, 2))
    assert np.array_equal(first.curve, again.curve) and np.array_equal(first.dye, again.dye)
    assert not np.array_equal(first.curve, other.curve)
    assert not np.array_equal(first(rgb, regions == HAIR), rgb)


def test_brighter_colours_stay_brighter() -> None:
    rgb, _, regions = scene()
    for seed in range(40):
        curve = colours(rgb, regions == HAIR, True, np.random.default_rng(seed)).curve
        assert (np.diff(curve, axis=0) >= -1e-3).all() and curve.min() >= 0 and curve.max() <= 255.001


def test_dyed_hair_gets_as_light_as_wanted_and_nothing_else_changes() -> None:
    rgb, _, regions = scene()
    hair = regions == HAIR
    plain = Colours(np.ones(3, np.float32), 1.0, np.repeat(np.arange(256, dtype=np.float32)[:, None], 3, 1),
                    np.eye(3, dtype=np.float32))  # fmt: skip
    assert np.array_equal(plain(rgb, hair), rgb)
    dyes = [colours(rgb, hair, False, np.random.default_rng(seed)).dye for seed in range(30)]
    dyed = [dye for dye in dyes if not np.array_equal(dye, np.ones(3))]
    assert 10 < len(dyed) < 30 and max(dye.max() for dye in dyed) > 3
    out = Colours(np.float32([8, 6, 4]), 0.5, plain.curve, plain.mix)(rgb, hair)
    assert (out[hair].astype(int) > rgb[hair] + 25).all()
    assert np.array_equal(out[~hair], rgb[~hair])


def test_hair_of_bearded_people_keeps_its_colour() -> None:
    rgb, _, regions = scene()
    for seed in range(10):
        assert (colours(rgb, regions == HAIR, True, np.random.default_rng(seed)).dye == 1).all()


def test_premultiplied_colours_change_as_straight_ones_do() -> None:
    rgb, _, regions = scene()
    hair = regions == HAIR
    change = colours(rgb, hair, False, np.random.default_rng(5))
    straight = change(rgb, hair).astype(int)
    for alpha in (255, 130, 0):
        cover = np.full((*rgb.shape[:2], 1), alpha, np.uint8)
        whole = np.concatenate([(rgb.astype(int) * alpha + 127) // 255, cover], -1).astype(np.uint8)
        out = change.premultiplied(whole, hair)
        assert np.array_equal(out[..., 3:], cover)
        assert np.abs(out[..., :3].astype(int) - (straight * alpha + 127) // 255).max() <= (0 if alpha != 130 else 12)
        assert (out[..., :3] <= cover).all()


def test_a_photograph_keeps_its_shape_and_an_outline_its_ends() -> None:
    rgb, alpha, regions = scene(96)
    for seed in range(6):
        photo, cover, label = taken(rgb, alpha, regions, np.random.default_rng(seed))
        assert photo.shape == rgb.shape and cover.shape == alpha.shape == label.shape
        assert photo.dtype == cover.dtype == label.dtype == np.uint8
        assert cover[0, 0] == 0 and cover[48, 48] == 255
        assert set(np.unique(label)) <= {0, HAIR, FACE}
        assert (np.abs(cover.astype(int) - alpha) > 128).mean() < 0.08
        assert 0 < np.abs(photo.astype(float) - rgb).mean() < 15
