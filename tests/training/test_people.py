"""Studio people: numbers, plausible ranges, and that everything they ask for exists."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

pytest.importorskip("scipy", reason="baking needs scipy: pip install visavis[train]")

from training.bake import accessories, beard, clothes, hair_cuts, paint_cloth
from training.bake.identities import Identity
from training.studio import faces
from training.studio.people import HELD_OUT, TRAIN, prior_age, sample, traits, who

needs_prior = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the prior 'anny' is not installed: pip install visavis[train]"
)


@pytest.fixture(scope="module")
def everybody() -> list[Identity]:
    return [sample(number) for number in [*TRAIN, *HELD_OUT]]


def test_a_number_is_the_same_person_for_ever() -> None:
    assert sample(17) == sample(17)
    assert who(17) == who(17)
    assert sample(100_003) == sample(100_003)


def test_there_are_enough_people_and_no_two_are_alike(everybody: list[Identity]) -> None:
    assert len(TRAIN) >= 2203 and len(HELD_OUT) == 64
    shapes = {tuple(sorted(person.local.items())) for person in everybody}
    assert len(shapes) == len(everybody)


def test_nobody_has_a_number_outside_the_ranges() -> None:
    for number in (-1, TRAIN.stop, HELD_OUT.start - 1, HELD_OUT.stop):
        with pytest.raises(ValueError, match="nobody has number"):
            sample(number)


@pytest.mark.parametrize("years", [(12.0, 30.0), (30.0, 95.0), (50.0, 40.0)])
def test_ages_outside_adulthood_are_refused(years: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"must be a range within 18\.\.80"):
        traits(np.random.default_rng(0), years)


def test_everybody_is_an_adult(everybody: list[Identity]) -> None:
    assert min(person.phenotype["age"] for person in everybody) >= prior_age(18) >= 0.62
    assert all(18 <= who(number).years <= 80 for number in TRAIN[:300])


def test_colours_and_weights_stay_in_range(everybody: list[Identity]) -> None:
    for person in everybody:
        colours = np.array([person.skin, person.lip, person.hair, person.hair_tip, person.iris, person.cloth])
        assert (colours >= 0).all() and (colours <= 1).all()
        assert all(0 <= value <= 1 for value in person.phenotype.values())
        assert all(-1 <= value <= 1 for value in person.local.values())
        red, green, blue = person.skin
        assert red > green > blue


def test_all_they_wear_and_grow_exists(everybody: list[Identity]) -> None:
    offered = {
        "style": set(hair_cuts.STYLES), "beard": set(beard.BEARDS), "top": set(clothes.TOPS),
        "pattern": set(paint_cloth.PATTERNS), "glasses": set(accessories.GLASSES),
        "earrings": set(accessories.EARRINGS),
    }  # fmt: skip
    for field, names in offered.items():
        asked = {getattr(person, field) for person in everybody}
        assert asked <= names
        assert len(asked) >= {"style": 10, "top": 6}.get(field, 4)


def test_a_quarter_wear_glasses_and_hair_greys_with_age(everybody: list[Identity]) -> None:
    assert 0.20 < np.mean([person.glasses != "none" for person in everybody]) < 0.30
    years = np.array([who(number).years for number in [*TRAIN, *HELD_OUT]])
    for value in ("grey", "wrinkles"):
        assert np.corrcoef(years, [getattr(person, value) for person in everybody])[0, 1] > 0.7


def test_only_men_grow_beards_and_both_sexes_are_there(everybody: list[Identity]) -> None:
    women = np.array([who(number).woman for number in [*TRAIN, *HELD_OUT]])
    assert 0.45 < women.mean() < 0.55
    bearded = np.array([person.beard != "none" for person in everybody])
    assert not (women & bearded).any() and bearded.sum() > 200


@needs_prior
def test_the_prior_knows_every_change_of_a_face() -> None:
    from training.bake import original

    known = set(original.model().local_change_labels)
    assert set(faces.sample_shape(np.random.default_rng(0), woman=True)) | {"head-age-incr"} <= known


@needs_prior
def test_a_person_read_from_disk_equals_the_one_just_baked(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.avatar import FIELDS
    from training.studio import person

    monkeypatch.setattr(person, "CACHE", tmp_path)
    fresh = person.build(3)
    again = person.build(3)
    assert fresh.avatar.meta == again.avatar.meta and fresh.identity == again.identity
    np.testing.assert_array_equal(fresh.height, again.height)
    for name in ("avatar", "fine"):
        one, two = getattr(fresh, name), getattr(again, name)
        assert one.bones == two.bones
        for field in (*(f.name for f in FIELDS), "albedo", "surface", "background"):
            np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    skin = slice(0, int(np.flatnonzero(fresh.avatar.layer)[0]) // 4)
    np.testing.assert_array_equal(fresh.avatar.faces[skin], fresh.fine.faces[skin])
