"""Cooking: what is missing is made, once; what cannot be right is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("zstandard")
pytest.importorskip("torch")
pytest.importorskip("PIL")

from engine.avatar import REGIONS
from engine.motion.frame import Motion
from engine.render.guidance import MASKS
from engine.viewpoint import Viewpoint
from kernels.guidance import allocate
from training.renderer import cook as kitchen
from training.renderer.cook import Progress, cook, needed, planes, view_row
from training.renderer.references import viewpoints
from training.renderer.store import Planes, Writer, empty
from training.studio.person import code_version
from training.studio.records import Record
from training.studio.shards import StudioError, write_json


def plan(clips: int = 3, **changes: Any) -> dict[str, Any]:
    return {"seed": 0, "split": "train", "size": 512, "clips": clips, "speech": "s", "people": code_version(),
            "code": "c", "format": 1} | changes  # fmt: skip


def sitting(folder: Path, number: int, clips: list[int]) -> None:
    """A manifest, and a tar of the size it says."""
    name = f"sitting-{number:06d}"
    (folder / f"{name}.tar").write_bytes(b"x" * 10)
    rows = [{"clip": clip, "person": number, "kind": "clip", "frames": 2} for clip in clips]
    write_json(folder / f"{name}.json", {"bytes": 10, "clips": rows, "name": name})


class Pot:
    """A kitchen that writes clips of noise, and may be told to fail."""

    packs = "studio"
    cooked: list[int] = []
    fails = -1

    def __init__(self, plan: Any) -> None:
        Pot.cooked.clear()

    def cook(self, source: Path, row: dict[str, Any], path: Path) -> int:
        if row["clip"] == Pot.fails:
            raise StudioError("out of gas")
        Pot.cooked.append(row["clip"])
        writer, part = Writer(64), empty(64, 64)
        for plane in part:
            plane.fill(0)
        writer.add(part)
        return writer.save(path, *(np.zeros((1, 4), np.float32),) * 2, np.zeros((1, 7, 128, 128), np.uint8), {})


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setattr(kitchen, "Kitchen", Pot)
    monkeypatch.setattr(kitchen, "POLL", 0.01)
    Pot.fails = -1
    source = tmp_path / "studio"
    source.mkdir()
    write_json(source / "plan.json", plan())
    sitting(source, 0, [0, 1])
    return source, tmp_path / "cooked"


def test_what_is_there_is_cooked_once_and_a_stopped_run_goes_on(places: tuple[Path, Path]) -> None:
    source, out = places
    Pot.fails = 1
    with pytest.raises(StudioError, match="out of gas"):
        cook(source, out, False, lambda done: None)
    assert Pot.cooked == [0]
    Pot.fails = -1
    seen: list[Progress] = []
    cook(source, out, False, seen.append)
    assert Pot.cooked == [1] and seen[-1].clips == 2 and seen[-1].total == 3
    assert seen[-1].bytes == sum(path.stat().st_size for path in out.glob("*.clip"))
    cook(source, out, False, seen.append)
    assert Pot.cooked == [] and list(kitchen.check(out)) == []


def test_following_waits_for_the_last_sitting(places: tuple[Path, Path]) -> None:
    source, out = places
    waits: list[str] = []

    def report(done: Progress) -> None:
        if done.waiting and not any(waits):
            sitting(source, 1, [2])
        waits.append(done.waiting)

    cook(source, out, True, report)
    assert Pot.cooked == [0, 1, 2] and any(waits)


def test_a_sitting_that_is_still_being_written_is_left_alone(places: tuple[Path, Path]) -> None:
    source, out = places
    (source / "sitting-000000.tar").write_bytes(b"x" * 4)
    cook(source, out, False, lambda done: None)
    assert Pot.cooked == []


@pytest.mark.parametrize(
    ("change", "words"), [({"size": 256}, "pictures of 256"), ({"people": "0" * 12}, "this code draws")]
)
def test_a_data_set_that_this_code_cannot_cook_is_refused(
    places: tuple[Path, Path], change: dict[str, Any], words: str
) -> None:
    source, out = places
    write_json(source / "plan.json", plan(**change))
    with pytest.raises(StudioError, match=words):
        cook(source, out, False, lambda done: None)
    assert not out.exists()


def test_clips_of_another_data_set_are_not_mixed_in(places: tuple[Path, Path]) -> None:
    source, out = places
    cook(source, out, False, lambda done: None)
    write_json(source / "plan.json", plan(seed=4))
    with pytest.raises(StudioError, match="choose another --out"):
        cook(source, out, False, lambda done: None)


def test_a_full_disk_stops_the_cook_with_what_is_there(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = places
    monkeypatch.setattr(kitchen, "SPARE", 1 << 60)
    with pytest.raises(StudioError, match="must stay"):
        cook(source, out, False, lambda done: None)
    assert Pot.cooked == []


def test_the_disk_it_takes_is_told_beforehand_even_before_the_folder_exists(places: tuple[Path, Path]) -> None:
    wanted, free = needed(*places)
    assert wanted == 3 * kitchen.MEAN_FRAMES * kitchen.FRAME_BYTES and free > 0


def test_a_broken_clip_is_found(places: tuple[Path, Path]) -> None:
    source, out = places
    cook(source, out, False, lambda done: None)
    broken = out / "00000001.clip"
    broken.write_bytes(broken.read_bytes()[:-3])
    (problem,) = kitchen.check(out)
    assert "00000001.clip" in problem


def test_the_target_is_the_person_alone_premultiplied() -> None:
    rng = np.random.default_rng(0)
    person, plate = rng.integers(0, 256, (512, 512, 3), np.uint8), rng.integers(0, 256, (512, 512, 3), np.uint8)
    alpha = rng.integers(0, 256, (512, 512), np.uint8)
    share = alpha[..., None] / 255.0
    region = rng.integers(0, len(REGIONS), (512, 512), np.uint8)
    photo = np.rint(share * person + (1 - share) * plate).astype(np.uint8)
    record = Record(photo, alpha, region, plate, Motion.rest(), np.zeros(640, np.int16), {})
    guidance = allocate((512, 512))
    for plane in guidance:
        plane.fill(0)
    made: Planes = planes(guidance, record)
    np.testing.assert_array_equal(made.target[3], alpha)
    assert np.abs(np.moveaxis(made.target[:3], 0, 2) - share * person).max() <= 1.01
    assert (made.target[:3] <= alpha).all() and made.region.max() < len(MASKS)
    assert (made.region[region == REGIONS.index("hair")] == list(MASKS).index("hair")).all()


def test_the_view_is_told_as_the_network_reads_it() -> None:
    row = view_row(Viewpoint(yaw=0.3, pitch=-0.1, distance=2.3 * np.e), "presenter")
    np.testing.assert_allclose(row, [0.3, -0.1, 1.0, 1.0], rtol=1e-6)
    assert row.dtype == np.float32 and view_row(Viewpoint(distance=1.05), "head")[3] == 0


def test_photographs_are_taken_from_the_front_and_both_sides() -> None:
    yaws = [round(float(np.degrees(view.yaw))) for view in viewpoints(3)]
    assert yaws == [0, -50, 50] and len(viewpoints(1)) == 1
    shaken = viewpoints(2, np.array([[0.1, 0.0], [0.0, 0.2]]))
    assert shaken[0].yaw == pytest.approx(0.1) and shaken[1].pitch == pytest.approx(0.2)


def test_the_plan_says_what_was_cooked(places: tuple[Path, Path]) -> None:
    source, out = places
    cook(source, out, False, lambda done: None)
    assert json.loads((out / "plan.json").read_text())["version"] == kitchen.VERSION
