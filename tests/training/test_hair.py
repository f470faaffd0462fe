"""Hair: grown strands keep out of what they lie on, do as they are cut, and follow the skin they root in."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="baking needs scipy: pip install visavis[train]")

from engine.avatar import REGIONS
from engine.motion.frame import ACTION_INDEX
from training.bake import hair_grow, ribbons
from training.bake.hair_cuts import STYLES
from training.bake.hair_field import CELL, LOW, SHAPE, Field
from training.bake.identities import IDENTITIES

needs_prior = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the prior 'anny' is not installed: pip install visavis[train]"
)
CENTRE, RADIUS = np.array([0.0, 0.0, -0.08]), 0.09


def ball() -> Field:
    """The field of a ball, without the prior."""
    field = object.__new__(Field)
    axes = [low + CELL * np.arange(count) for low, count in zip(LOW, SHAPE, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    field.grid = (np.linalg.norm(nodes - CENTRE, axis=-1) - RADIUS).astype(np.float32)
    return field


def on_top(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Roots on the ball's upper half and their normals."""
    generator = np.random.default_rng(1)
    normal = generator.normal(0, 1, (count, 3))
    normal[:, 1] = np.abs(normal[:, 1]) + 0.5
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return CENTRE + RADIUS * normal, normal


def test_strands_stay_outside_what_they_lie_on_and_hang_down() -> None:
    root, normal = on_top(200)
    comb = np.tile([1.0, 0.0, 0.0], (200, 1))
    field = ball()
    curves, reach = hair_grow.grow(hair_grow.Growth(root, normal, comb, np.full(200, 0.30)), field, 12)
    assert field(curves)[0].min() > -0.0015
    assert (curves[:, -1, 1] < root[:, 1] - 0.05).all()
    np.testing.assert_allclose(reach, 0.30, atol=hair_grow.STEP)
    length = np.linalg.norm(np.diff(curves, axis=1), axis=2).sum(1)
    assert (length < 0.305).all() and (length > 0.25).all()


def test_a_height_to_cut_at_ends_every_strand_there() -> None:
    root, normal = on_top(100)
    growth = hair_grow.Growth(root, normal, np.tile([0.0, 0.0, -1.0], (100, 1)), np.full(100, 0.5), end=-0.10)
    tips = hair_grow.grow(growth, ball(), 10)[0][:, -1, 1]
    assert np.abs(tips + 0.10).max() < 0.006


def test_gathered_strands_all_reach_their_tie() -> None:
    root, normal = on_top(100)
    tie = CENTRE + [0.0, 0.02, -RADIUS - 0.01]
    growth = hair_grow.Growth(root, normal, -normal, np.full(100, 0.4), lift=0.003, goal=np.tile(tie, (100, 1)))
    tips = hair_grow.grow(growth, ball(), 10)[0][:, -1]
    assert np.linalg.norm(tips - tie, axis=1).max() < 0.03


def test_waves_and_locks_keep_the_roots_and_never_kink() -> None:
    root, normal = on_top(300)
    curves, reach = hair_grow.grow(
        hair_grow.Growth(root, normal, np.tile([1.0, 0.0, 0.0], (300, 1)), np.full(300, 0.3)), ball(), 40
    )
    generator = np.random.default_rng(0)
    gathered, lock = hair_grow.gather(curves, 0.02, 0.7, generator)
    waved = hair_grow.wave(gathered, reach, lock, 0.008, 0.10, generator)
    np.testing.assert_allclose(waved[:, 0], root, atol=1e-6)
    step = np.diff(waved, axis=1)
    step /= np.linalg.norm(step, axis=2, keepdims=True)
    assert np.median((step[:, 1:] * step[:, :-1]).sum(2).min(1)) > 0.6


def test_the_carried_frame_is_square_and_smooth() -> None:
    turn = np.linspace(0, 6, 60)
    helix = np.stack([np.cos(turn), turn * 0.4, np.sin(turn)], axis=1)[None]
    tangent, one, two = hair_grow.frames(helix)
    assert np.abs((tangent * one).sum(2)).max() < 1e-9 and np.abs((one * two).sum(2)).max() < 1e-9
    assert (one[:, 1:] * one[:, :-1]).sum(2).min() > 0.9


def test_ribbons_are_strand_by_strand_with_roots_first_and_unit_normals() -> None:
    curves = np.zeros((5, 4, 3))
    curves[:, :, 1] = -np.linspace(0, 0.1, 4)
    curves[:, :, 0] = np.arange(5)[:, None] * 0.01
    out = np.broadcast_to([0.0, 0.0, 1.0], curves.shape)
    columns = ribbons.strand_columns(np.linspace(0, 1, 5), np.random.default_rng(0))
    part = ribbons.ribbons("hair", curves, np.full(5, 0.002), out, columns, np.ones((20, 1)))
    assert part.rest.shape == (40, 3) and part.faces.shape == (30, 3)
    assert (part.faces.reshape(5, 6, 3) // 8 == np.arange(5)[:, None, None]).all()
    v = part.uv.reshape(5, 4, 2, 2)[..., 1]
    assert (np.diff(v, axis=1) > 0).all()
    assert part.normal is not None
    np.testing.assert_allclose(np.linalg.norm(part.normal, axis=1), 1.0)


def test_columns_of_the_hair_painting_do_not_overlap() -> None:
    taken = np.zeros((2048, 2048), int)
    for rect in (ribbons.STRANDS, ribbons.BEARD, ribbons.BROW, ribbons.LASH, ribbons.LOCKS, ribbons.MASS):
        rect.window(taken)[:] += 1
    assert taken.max() == 1


@cache
def somebody() -> Any:
    """A person with everything hair needs."""
    from training.bake import head, prior
    from training.bake.rig import Rig

    identity = IDENTITIES["leo"]
    person = head.resting(prior.sample(identity.phenotype, identity.local), identity)
    return SimpleNamespace(identity=identity, person=person, rig=Rig(person), field=Field(person, []))


@needs_prior
@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_every_cut_grows_hair_on_the_head_and_the_same_again(style: str) -> None:
    from training.bake.hair import hair_parts

    one = somebody()
    identity = replace(one.identity, style=style)
    for detail, most in (("pack", 10_000), ("studio", 120_000)):
        parts = hair_parts(one.person, one.rig, identity, 3, detail, one.field)
        again = hair_parts(one.person, one.rig, identity, 3, detail, one.field)
        assert sum(len(part.faces) for part in parts) <= most
        for part, same in zip(parts, again, strict=True):
            np.testing.assert_array_equal(part.rest, same.rest)
            assert np.isfinite(part.rest).all() and (part.region == REGIONS.index("hair")).all()
            np.testing.assert_allclose(part.weight.sum(1), 1.0, atol=1e-5)
            if part.name == "hair":
                middle = part.rest.reshape(-1, 2, 3).mean(1)
                assert (one.field(middle)[0] > -0.002).mean() > 0.99
        eyes = [part.rest[(part.rest[:, 2] > 0.005) & (np.abs(part.rest[:, 1]) < 0.012)] for part in parts]
        assert sum(len(found) for found in eyes) <= 60  # a stray hair or two before the eyes, no more


@needs_prior
@pytest.mark.slow
def test_a_beard_follows_the_jaw_and_leaves_the_lips_free() -> None:
    from training.bake.beard import beard_parts

    one = somebody()
    assert beard_parts(one.person, one.rig, replace(one.identity, beard="full"), 3, "pack") == []  # paint
    (part,) = beard_parts(one.person, one.rig, replace(one.identity, beard="full"), 3, "studio")
    assert part.deltas is not None
    jaw = part.deltas[ACTION_INDEX["jawOpen"], :, 1]
    chin = (part.rest[:, 1] < -0.09) & (np.abs(part.rest[:, 0]) < 0.02) & (part.rest[:, 2] > 0.01)
    assert np.median(jaw[chin]) < -0.015
    moustache = part.rest[:, 1] > np.percentile(part.rest[np.abs(part.rest[:, 0]) < 0.012, 1], 98)
    assert np.median(jaw[moustache & (np.abs(part.rest[:, 0]) < 0.02)]) > -0.004


@needs_prior
@pytest.mark.slow
def test_brows_and_lashes_lie_on_the_face_and_move_with_it() -> None:
    from training.bake.brow_strands import brow_parts, lash_strands

    one = somebody()
    (brows,) = brow_parts(one.person, one.rig, one.identity, 3, "studio")
    assert brows.deltas is not None and (brows.region == REGIONS.index("brows")).all()
    assert np.median(brows.deltas[ACTION_INDEX["browOuterUpLeft"]][brows.rest[:, 0] > 0.03][:, 1]) > 0.002
    assert one.field(brows.rest)[0].max() < 0.006
    upper = next(part for part in lash_strands(one.person, one.rig, one.identity, 3) if part.name == "lash_l2")
    assert upper.deltas is not None
    assert np.median(upper.deltas[ACTION_INDEX["eyeBlinkLeft"], :, 1]) < -0.004
