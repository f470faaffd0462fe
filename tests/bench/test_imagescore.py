"""Picture scores: known values, groups, and that a fault is seen where it is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.imagescore import Look, Tally, classes_of, decibels, flicker, parts, score, ssim_map, view_group
from engine.avatar import REGIONS
from engine.render.guidance import MASKS

U8 = NDArray[np.uint8]
SIDE = 64
FACE, LIPS, HAIR = (REGIONS.index(name) for name in ("face", "lips", "hair"))


@pytest.fixture
def scene() -> tuple[Look, U8]:
    """A square head with hair above and lips below, before a dark wall."""
    dice = np.random.default_rng(3)
    region = np.zeros((SIDE, SIDE), np.uint8)
    region[8:24, 8:56], region[24:56, 8:56], region[44:48, 24:40] = HAIR, FACE, LIPS
    rgb = dice.integers(60, 200, (SIDE, SIDE, 3)).astype(np.uint8)
    rgb[region == 0] = 20
    alpha = np.where(region > 0, 255, 0).astype(np.uint8)
    return Look(rgb, alpha, classes_of(region)), region


def test_the_photograph_itself_is_perfect(scene: tuple[Look, U8]) -> None:
    look, region = scene
    tally = Tally()
    score(look, look, region, 0.0, None, tally)
    found = tally.figures()
    assert found["psnr_db"] == 99.0 and found["ssim"] == pytest.approx(1.0, abs=1e-4)
    assert found["gradient"] == 0.0 and found["mask_iou"] == found["mask_iou.hair"] == 1.0


def test_a_constant_error_has_the_decibels_of_the_formula_and_only_the_person_counts(scene: tuple[Look, U8]) -> None:
    look, region = scene
    off = look.rgb.copy()
    off[region > 0] += 10
    off[region == 0] += 99  # behind the person: given to everybody
    tally = Tally()
    score(look._replace(rgb=off), look, region, 0.0, None, tally)
    assert tally.figures()["psnr_db"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-6)
    assert tally.figures()["gradient"] < 0.2 < 1.0, "a lighter picture has the same edges inside"


def test_a_fault_in_the_hair_is_seen_in_the_hair(scene: tuple[Look, U8]) -> None:
    look, region = scene
    off = look.rgb.copy()
    off[8:16, 8:56] = 255 - off[8:16, 8:56]
    tally = Tally()
    score(look._replace(rgb=off), look, region, np.radians(47), None, tally, ("short",))
    found = tally.figures()
    assert found["psnr_db.hair"] < found["psnr_db"] < found["psnr_db.mouth"] == 99.0
    assert found["psnr_db.view45"] == found["psnr_db.short"] == found["psnr_db"] and "psnr_db.eyes" not in found


def test_errors_are_pooled_over_frames_before_they_become_decibels() -> None:
    tally = Tally()
    tally.add("square", "", 100.0 * 10, 10)
    tally.add("square", "", 0.0, 30)
    assert tally.figures()["psnr_db"] == pytest.approx(decibels(25.0))
    tally.add("square", "", float("nan"), 5)
    assert tally.figures()["psnr_db"] == pytest.approx(decibels(25.0))


def test_structural_similarity_ignores_a_little_light_and_minds_lost_texture() -> None:
    dice = np.random.default_rng(0)
    picture = dice.uniform(60, 190, (SIDE, SIDE)).astype(np.float32)
    lighter, flat = picture + 5, np.full_like(picture, picture.mean())
    assert ssim_map(picture, picture).min() > 0.9999
    assert ssim_map(lighter, picture).mean() > 0.98 > 0.1 > ssim_map(flat, picture).mean()


def test_ssim_is_that_of_the_paper_at_one_window() -> None:
    dice = np.random.default_rng(1)
    a, b = (dice.uniform(0, 255, (11, 11)).astype(np.float32) for _ in range(2))
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    w = np.outer(taps, taps) / taps.sum() ** 2
    ma, mb = (w * a).sum(), (w * b).sum()
    va, vb, cov = (w * a * a).sum() - ma**2, (w * b * b).sum() - mb**2, (w * a * b).sum() - ma * mb
    c1, c2 = 6.5025, 58.5225
    wanted = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert ssim_map(a, b)[5, 5] == pytest.approx(wanted, abs=1e-4)


def test_what_moves_with_the_flow_does_not_flicker() -> None:
    dice = np.random.default_rng(2)
    before = np.dstack([dice.integers(0, 255, (SIDE, SIDE, 3)), np.full((SIDE, SIDE), 255)]).astype(np.uint8)
    now = np.roll(before, 4, axis=1)
    flow = np.zeros((2, SIDE // 2, SIDE // 2), np.float32)
    flow[0] = -4.0
    seen = np.full((SIDE // 2, SIDE // 2), 255, np.uint8)
    seen[:, :2] = 0  # what came in from the left
    everywhere = np.ones((SIDE, SIDE), bool)
    total, count = flicker(now, before, flow, seen, everywhere)
    assert total == 0.0 and count == SIDE * (SIDE - 4)
    noisy = np.clip(now + dice.integers(-9, 10, now.shape), 0, 255).astype(np.uint8)
    total, count = flicker(noisy, before, flow, seen, everywhere)
    assert 3.0 < total / count < 6.0


def test_parts_classes_and_views() -> None:
    region = np.zeros((SIDE, SIDE), np.uint8)
    region[30:34, 30:34] = LIPS
    found = parts(region)
    assert found["mouth"].sum() > 16 and not found["eyes"].any()
    cells = classes_of(np.full((SIDE, SIDE), HAIR, np.uint8))
    assert cells.shape == (8, 8) and (cells == list(MASKS).index("hair")).all()
    assert [view_group(np.radians(d)) for d in (0, -7, 8, -44, 80)] == ["view0", "view0", "view15", "view45", "view60"]


def test_the_person_alone_is_the_picture_less_its_place() -> None:
    plate = np.full((2, 2, 3), 100, np.uint8)
    alpha = np.array([[0, 255], [51, 255]], np.uint8)
    rgb = np.array([[[100] * 3, [7] * 3], [[90] * 3, [0] * 3]], np.uint8)
    bare = Look(rgb, alpha).premultiplied(plate)
    assert bare[..., 0].tolist() == [[0, 7], [10, 0]] and (bare[..., 3] == alpha).all()
