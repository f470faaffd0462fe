"""Suite render around its scores: which clips, the fitted light, flicker as a ratio, promises and pages."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench import render, render_report, render_scenes
from bench.imagescore import Look, Tally
from bench.render_systems import regained
from bench.report import value
from engine.render.guidance import Guidance
from engine.viewpoint import Viewpoint

SIDE = 64


def shot(truth: Look, plate: Any, cut: bool) -> Any:
    half = SIDE // 2
    seen = np.full((half, half), 0 if cut else 255, np.uint8)
    guidance = Guidance(np.zeros((6, SIDE, SIDE), np.uint8), np.ones((7, half, half), np.uint8),
                        np.zeros((2, half, half), np.float32), seen)  # fmt: skip
    region = np.where(truth.alpha > 0, 2, 0).astype(np.uint8)
    return SimpleNamespace(
        truth=truth, plate=plate, region=region, guidance=guidance, cut=cut, view=Viewpoint(distance=1.6)
    )


@pytest.fixture
def scene() -> Any:
    """A square person who stands still while the light flickers by 4 of 255."""
    dice = np.random.default_rng(0)
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    alpha[8:56, 8:56] = 255
    plate = np.full((SIDE, SIDE, 3), 70, np.uint8)
    base = dice.integers(60, 180, (SIDE, SIDE, 3)).astype(np.uint8)
    shots = []
    for t in range(6):
        rgb = np.where(alpha[..., None] > 0, base + 4 * (t % 2), plate).astype(np.uint8)
        shots.append(shot(Look(rgb, alpha), plate, t == 0))
    return SimpleNamespace(shots=tuple(shots), kind="clip")


def test_flicker_is_told_over_the_photographs_own(scene: Any) -> None:
    truth, twice = Tally(), Tally()
    render.calm(scene, [s.truth for s in scene.shots], truth)
    looks = []
    for t, s in enumerate(scene.shots):
        lighter = np.where(s.truth.alpha[..., None] > 0, s.truth.rgb + 4 * (t % 2), s.plate)
        looks.append(s.truth._replace(rgb=lighter.astype(np.uint8)))
    render.calm(scene, looks, twice)
    assert truth.mean("flicker") == pytest.approx(4.0)
    metrics = render.collected({"ours": twice}, truth)
    assert metrics["ours.flicker_ratio"]["value"] == pytest.approx(2.0)


def test_the_gain_that_suits_the_photographs_is_found_and_the_place_is_left_alone(scene: Any) -> None:
    dim = [s.truth._replace(rgb=np.where(s.truth.alpha[..., None] > 0, s.truth.rgb * 0.6, s.plate).astype(np.uint8))
           for s in scene.shots]  # fmt: skip
    for look, s in zip(regained(scene, dim), scene.shots, strict=True):
        inside = s.truth.alpha > 0
        before = np.abs(0.6 * s.truth.rgb[inside] - s.truth.rgb[inside]).mean()
        assert np.abs(look.rgb[inside].astype(int) - s.truth.rgb[inside]).mean() < 0.2 * before
        assert (look.rgb[~inside] == s.plate[~inside]).all()


def test_frames_are_scored_now_and_then_and_flicker_always(scene: Any) -> None:
    tally = Tally()
    render.judge_scene(scene, [s.truth for s in scene.shots], None, tally)
    assert tally.sums["flicker", ""][1] == 5 * 48 * 48
    assert tally.sums["square", ""][1] == 2 * 48 * 48, "frames 0 and 4"


@pytest.mark.parametrize("worse", [0, 2])
def test_drift_compares_the_same_frames_at_the_beginning_and_at_the_end(
    scene: Any, monkeypatch: Any, worse: int
) -> None:
    painted: list[int] = []

    class Painter:
        """Off by 10, and by ``worse`` more from the 30th frame on."""

        def __init__(self, scene: Any) -> None:
            pass

        def step(self, shot: Any) -> tuple[Look, dict[str, float]]:
            off = 10 + worse * (len(painted) >= 30)
            painted.append(shot.truth.rgb[10, 10, 0])
            return shot.truth._replace(rgb=shot.truth.rgb + np.uint8(off)), {}

    monkeypatch.setattr(render.render_systems, "Live", Painter)
    monkeypatch.setattr(render, "MINUTE", 25)
    found = render.drift(scene, 3, Console(quiet=True))
    assert found == pytest.approx(100 * ((10 + worse) ** 2 / 100 - 1), abs=1e-4)
    assert len(painted) == 70 and painted[:20] == painted[-20:], "rounds of ten frames"


def test_clips_are_spread_over_people_and_one_in_four_is_seen_from_all_sides(monkeypatch: Any) -> None:
    rows = [{"kind": "views" if n % 4 == 3 else "clip", "person": n // 4} for n in range(40)]
    monkeypatch.setattr(render_scenes, "Clips", lambda folder: SimpleNamespace(rows=rows))
    items = render_scenes.chosen(Path("somewhere"), 8)
    assert [rows[i]["kind"] for i in items].count("views") == 2 and len(items) == 8
    assert len({rows[i]["person"] for i in items if rows[i]["kind"] == "clip"}) == 6


def test_promises_are_ratios_of_errors() -> None:
    metrics = {
        "ours.psnr_db": value(26.0206, "dB"), "geometric.psnr_db": value(20.0, "dB"),
        "ours.psnr_db.hair": value(22.0, "dB"), "geometric.psnr_db.hair": value(20.0, "dB"),
        "step1.perceptual.short": value(0.21, ""), "teacher50.perceptual.short": value(0.2, ""),
        "ours.mask_iou": value(0.97, ""), "step1.psnr_db.view45": value(25.0, "dB"),
        "no_view_moe.psnr_db.view45": value(24.9, "dB"),
    }  # fmt: skip
    briefly = {**metrics, "both_moe.psnr_db": value(25.0, "dB"), "both_moe.psnr_db.view45": value(24.9, "dB")}
    same = {name: found for name, _, found, _ in render_report.reach(briefly)}
    assert same["error of no_view_moe above both_moe, view45, %"] == pytest.approx(0.0)
    told = {name: (found, met) for name, _, found, met in render_report.reach(metrics) if not np.isnan(found)}
    assert told["error of geometric over ours"] == (pytest.approx(2.0, abs=1e-3), True)
    assert not told["error of geometric over ours, hair"][1]
    assert told["perceptual distance, 1 step over 50"][1] and told["ours.mask_iou"][1]
    assert told["error of no_view_moe above step1, view45, %"] == (pytest.approx(1.158, abs=1e-2), False)
    assert len(told) == 5


def test_a_page_gets_its_tables_between_its_marks_and_only_there() -> None:
    result = {
        "date": "2026-11-21T00:00:00", "commit": "abc", "machine": {"cpu": "some", "threads": 2},
        "metrics": {"lit.psnr_db": value(21.5, "dB"), "size_px": value(512, "pixels")},
    }  # fmt: skip
    page = f"before\n{render_report.BEGIN}\nold\n{render_report.END}\nafter"
    written = render_report.into(page, result)
    assert written.startswith("before\n") and written.endswith("\nafter") and "old" not in written
    assert "| lit | 21.50 |" in written
    with pytest.raises(ValueError, match="no place for tables"):
        render_report.into("nothing", result)
