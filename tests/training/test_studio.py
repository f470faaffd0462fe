import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.clock import FRAME
from engine.motion.frame import Motion
from engine.viewpoint import PITCH_LIMIT, YAW_LIMIT
from tests.processes import alive
from tests.synthetic import make_avatar
from tests.training.studio_double import DoubleStage
from training.choreography.arms import AVERAGE
from training.speech.corpus import Utterance, _save
from training.speech.phones import PHONE_INDEX, Span
from training.studio import check, shards
from training.studio.clips import Clip, Script
from training.studio.guidance import Guide, planes
from training.studio.plan import Plan, begin
from training.studio.records import Record, decode, encode
from training.studio.shards import Clips, StudioError, write_shard

ROOT = Path(__file__).parents[2]
PEOPLE = tuple(range(40))


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of made-up speech: vowels between bilabials, in noise."""
    folder = tmp_path_factory.mktemp("speech")
    dice = np.random.default_rng(0)
    for split, voice in (("train", "espeak"), ("train", "flite_awb"), ("speaker", "flite_kal"), ("sentence", "espeak")):
        said = []
        for number in range(3):
            names = ["SIL", *("M", "AA", "B", "IY", "S", "UW") * 5, "SIL"]
            spans = [Span(9 * i, 9 * i + 9, PHONE_INDEX[name]) for i, name in enumerate(names)]
            loud = np.repeat([0.1 if name == "SIL" else 1.0 for name in names], 9 * 160)
            said.append(Utterance(voice, f"{number}", (dice.normal(0, 2000, loud.size) * loud).astype(np.int16), spans))
        _save(folder / f"{split}-{voice}-0000.npz", said, 0)
    return folder


@pytest.fixture
def script(speech: Path) -> Script:
    return Script(3, "train", PEOPLE, speech)


def test_a_clip_is_the_same_for_ever_and_no_other(script: Script, speech: Path) -> None:
    one, again = script.clip(5, AVERAGE), Script(3, "train", PEOPLE, speech).clip(5, AVERAGE)
    other = Script(4, "train", PEOPLE, speech).clip(5, AVERAGE)
    packed = [np.stack([motion.pack() for motion in clip.motions]) for clip in (one, again)]
    np.testing.assert_array_equal(*packed)
    assert one.viewpoints == again.viewpoints and one.light == again.light != other.light
    np.testing.assert_array_equal(one.pcm, again.pcm)


def test_clips_stay_in_every_range_and_show_what_was_asked_for(script: Script) -> None:
    clips = [script.clip(number, AVERAGE) for number in range(32)]
    for clip in clips:
        assert 16 <= len(clip) <= 64 if clip.kind == "clip" else 8 <= len(clip) <= 16
        assert clip.pcm.shape == (len(clip), FRAME) and len(clip.viewpoints) == len(clip)
        for motion, view in zip(clip.motions, clip.viewpoints, strict=True):
            np.testing.assert_array_equal(motion.pack(), motion.clipped().pack())
            assert abs(view.yaw) <= YAW_LIMIT and abs(view.pitch) <= PITCH_LIMIT and view == view.clamped()
    assert {clip.kind for clip in clips} == {"clip", "views"} and len({clip.framing for clip in clips}) == 3
    stills = next(clip for clip in clips if clip.kind == "views")
    assert len({id(motion) for motion in stills.motions}) == 1 and len(set(stills.viewpoints)) == len(stills)
    yaws = np.array([view.yaw for clip in clips for view in clip.viewpoints])
    assert np.ptp(yaws) > 1.8 * YAW_LIMIT * 0.9


def test_motion_within_a_clip_is_continuous(script: Script) -> None:
    for clip in (script.clip(number, AVERAGE) for number in range(12)):
        track = np.stack([np.concatenate([m.head, m.joints.ravel()]) for m in clip.motions])
        assert np.abs(np.diff(track, axis=0)).max() < 0.45  # radians, metres a frame


def test_everybody_comes_before_anybody_comes_twice(script: Script) -> None:
    people = [script.person(4 * sitting) for sitting in range(2 * len(PEOPLE))]
    assert sorted(people[: len(PEOPLE)]) == list(PEOPLE) == sorted(people[len(PEOPLE) :])
    assert len({script.person(number) for number in range(8, 12)}) == 1


def test_held_out_people_say_held_out_things(speech: Path) -> None:
    names = Script(0, "held-out", (100_000,), speech).library.names
    assert names == ["speaker-flite_kal-0000.npz", "sentence-espeak-0000.npz"]


def test_without_speech_the_error_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"python -m training.speech make"):
        Script(0, "train", PEOPLE, tmp_path)


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"split": "test"}, {"size": 8}, {"size": 257}, {"clips": 0}, {"clips": 10**9}]
)
def test_a_plan_out_of_range_is_refused_by_name(change: dict[str, Any]) -> None:
    good = {"seed": 0, "split": "train", "size": 256, "clips": 1, "speech": "", "people": "", "code": ""}
    with pytest.raises(ValueError, match=next(iter(change))):
        Plan(**{**good, **change})


def test_guidance_is_the_same_bits_from_another_guide(script: Script) -> None:
    clip, avatar = script.clip(0, AVERAGE), make_avatar()
    sums = []
    for guide in (Guide(avatar, (96, 96), clip.framing) for _ in range(2)):
        drawn = [guide.draw(m, v) for m, v in zip(clip.motions[:4], clip.viewpoints[:4], strict=True)]
        stack = planes(drawn[-1])
        sums.append([guide.draw(clip.motions[4], clip.viewpoints[4]).checksum(), *stack[:, ::7, ::7].ravel()])
    assert sums[0] == sums[1]
    assert np.isfinite(stack).all() and stack[-1].any() and stack.shape == (17, 96, 96)


def test_guidance_after_a_cut_has_no_flow(script: Script) -> None:
    clip, guide = script.clip(0, AVERAGE), Guide(make_avatar(), (64, 64), "upper")
    first = guide.draw(clip.motions[0], clip.viewpoints[0]).checksum()
    moved = guide.draw(clip.motions[8], clip.viewpoints[-1])
    assert moved.flow.any()
    guide.cut()
    assert guide.draw(clip.motions[0], clip.viewpoints[0]).checksum() == first


def records(clip: Clip, size: int = 32) -> Iterator[Record]:
    return DoubleStage(size).take(clip)


def test_a_record_survives_the_way_there_and_back_and_is_the_same_bytes(script: Script) -> None:
    record = next(records(script.clip(1, AVERAGE)))
    members = dict(encode(record))
    back = decode(members)
    for name in ("rgb", "alpha", "region", "plate", "pcm"):
        np.testing.assert_array_equal(getattr(back, name), getattr(record, name))
    np.testing.assert_array_equal(back.motion.pack(), record.motion.pack())
    assert back.meta == json.loads(json.dumps(record.meta)) and back.viewpoint == record.viewpoint
    assert dict(encode(next(records(script.clip(1, AVERAGE))))) == members == dict(encode(back))


@pytest.mark.parametrize("name", ["rgb.webp", "region.png", "motion.npy", "json"])
def test_a_broken_member_is_named(script: Script, name: str) -> None:
    members = dict(encode(next(records(script.clip(1, AVERAGE)))))
    with pytest.raises(ValueError, match=name):
        decode({**members, name: members[name][: len(members[name]) // 2]})
    with pytest.raises(ValueError, match=f"missing {name}"):
        decode({key: value for key, value in members.items() if key != name})


def shard(script: Script, folder: Path, sitting: int, clips: range) -> dict[str, Any]:
    taken = []
    for clip in (script.clip(number, AVERAGE) for number in clips):
        about = {"clip": clip.number, "person": clip.person, "kind": clip.kind}
        taken.append((about, records(clip)))
    return write_shard(folder, shards.shard_name(sitting), taken, {})


def test_clips_are_read_as_they_were_written(script: Script, tmp_path: Path) -> None:
    shard(script, tmp_path, 0, range(0, 3))
    clips = Clips(tmp_path)
    assert len(clips) == 3
    for number, item in enumerate(clips):
        wanted = list(records(script.clip(number, AVERAGE)))
        np.testing.assert_array_equal(item.rgb, np.stack([record.rgb for record in wanted]))
        np.testing.assert_array_equal(item.motion, np.stack([record.motion.pack() for record in wanted]))
        np.testing.assert_array_equal(item.pcm, np.stack([record.pcm for record in wanted]))
        assert item.viewpoint[-1, 0] == np.float32(wanted[-1].viewpoint.yaw)
        part = clips.frames(number, 2, 3)
        np.testing.assert_array_equal(part.region, item.region[2:5])
        with pytest.raises(ValueError, match="has frames 0"):
            clips.frames(number, 60, 30)
    with pytest.raises(StudioError, match="holds no clips"):
        Clips(tmp_path, kinds=("nothing",))


def test_a_full_disk_says_so_and_leaves_nothing(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards._Hashed, "write", full)
    with pytest.raises(StudioError, match="the disk is full"):
        shard(script, tmp_path, 0, range(1))
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_studio_leaves_nothing(script: Script, tmp_path: Path) -> None:
    def breaking() -> Iterator[Record]:
        yield from list(records(script.clip(0, AVERAGE)))[:2]
        raise RuntimeError("lamp fell over")

    with pytest.raises(RuntimeError, match="lamp"):
        write_shard(tmp_path, "sitting-000000", [({"clip": 0}, breaking())], {})
    assert list(tmp_path.iterdir()) == []


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with shards.locked(tmp_path), pytest.raises(StudioError, match="another run"), shards.locked(tmp_path):
        pass


def test_a_data_set_is_not_continued_as_another_one(tmp_path: Path) -> None:
    plan = Plan(0, "train", 64, 8, "a", "b", "c")
    begin(tmp_path, plan)
    assert begin(tmp_path, Plan(0, "train", 64, 4, "a", "b", "c")).clips == 8
    assert begin(tmp_path, Plan(0, "train", 64, 12, "a", "b", "c")).clips == 12
    with pytest.raises(StudioError, match="size 64, not 128"):
        begin(tmp_path, Plan(0, "train", 128, 8, "a", "b", "c"))


def complaints(folder: Path) -> list[str]:
    return list(check.files(folder, check.plan_of(folder), lambda: None))


def run(folder: Path, speech: Path, workers: int, pace: float = 0.0) -> "subprocess.Popen[bytes]":
    """Makes three sittings, in a process of its own."""
    program = folder.with_suffix(".py")
    program.write_text(
        "import sys; from pathlib import Path; from tests.training.studio_double import DoubleStage\n"
        "from training.studio.make import make; from training.studio.plan import Plan\n"
        "if __name__ == '__main__':\n"
        "    out, speech = map(Path, sys.argv[1:3])\n"
        "    make(out, Plan(1, 'train', 64, 12, 'a', 'b', 'c'), speech, int(sys.argv[3]), DoubleStage, lambda p: 0)\n"
    )
    environment = {**os.environ, "STAGE_PACE": str(pace), "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, str(program), str(folder), str(speech), str(workers)]
    return subprocess.Popen(arguments, cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True)


def children(process: int) -> list[int]:
    """Processes whose parent is ``process`` and that Python's multiprocessing spawned to work."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            line = (path.parent / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == process and b"spawn_main" in line:
            found.append(int(path.parent.name))
    return found


def until(condition: Any, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_run_goes_on_without_loss_or_repetition(speech: Path, tmp_path: Path) -> None:
    folder, straight = tmp_path / "killed", tmp_path / "straight"
    undisturbed = run(straight, speech, 1)
    for victim in ("worker", "parent"):
        stopped = run(folder, speech, 2, pace=0.015)
        until(lambda: list(folder.glob(".*.tar.partial")) and list(folder.glob("sitting-*.json")))
        workers = children(stopped.pid)
        os.kill(workers[0] if victim == "worker" else stopped.pid, signal.SIGKILL)
        assert stopped.stderr is not None and stopped.wait(60) != 0
        assert victim == "parent" or b"a worker died" in stopped.stderr.read()
        until(lambda pids=workers: not any(map(alive, pids)))
        assert any("missing" in text for text in complaints(folder))
    whole = [path.with_suffix(".tar") for path in folder.glob("sitting-*.json")]  # a tar before its manifest is not yet
    kept = {path: path.stat().st_mtime_ns for path in whole}
    assert kept
    for last in (run(folder, speech, 1), undisturbed):
        _, said = last.communicate(timeout=120)
        assert last.returncode == 0, said.decode()
    assert complaints(folder) == []
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())  # not made again
    for path in straight.glob("sitting-*.tar"):
        assert path.read_bytes() == (folder / path.name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_that_is_interrupted_stops_within_a_frame_and_leaves_nothing_half_done(
    speech: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "interrupted"
    process = run(folder, speech, 1, pace=1.0)  # a sitting would take minutes
    until(lambda: list(folder.glob(".*.tar.partial")))
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "plan.json"]


def test_check_names_every_kind_of_damage(script: Script, speech: Path, tmp_path: Path) -> None:
    plan = begin(tmp_path, Plan.of(3, "train", 64, 20, speech))
    for sitting in range(5):
        shard(script, tmp_path, sitting, range(4 * sitting, 4 * sitting + 4))
    assert complaints(tmp_path) == []
    tars = [tmp_path / f"sitting-{n:06d}.tar" for n in range(5)]
    os.truncate(tars[0], 5000)
    with open(tars[1], "r+b") as file:
        file.seek(3000)
        file.write(b"xx")
    tars[2].with_suffix(".json").unlink()
    double = json.loads(tars[3].with_suffix(".json").read_text())
    double["clips"][0]["clip"] = 16
    tars[3].with_suffix(".json").write_text(json.dumps(double))
    (tmp_path / "holiday.jpg").write_bytes(b"")
    said = "\n".join(complaints(tmp_path))
    for words in ("sitting-000000.tar: truncated", "sitting-000001.tar: altered", "sitting-000002: missing",
                  "clip 16 is there 2 times", "holiday.jpg: does not belong"):  # fmt: skip
        assert words in said
    from training.studio.make import _missing

    assert set(_missing(tmp_path, plan)) == {"sitting-000000", "sitting-000002", "sitting-000003"}
    assert not tars[0].exists() and tars[1].exists()


def test_records_that_contradict_their_manifest_are_named(script: Script, tmp_path: Path) -> None:
    manifest = shard(script, tmp_path, 0, range(2))
    assert list(check.records(tmp_path, manifest)) == []
    manifest["clips"][1]["person"] += 1
    assert "calls itself" in next(check.records(tmp_path, manifest))


def test_motion_of_a_record_is_float32(script: Script) -> None:
    motion = next(records(script.clip(0, AVERAGE))).motion
    assert isinstance(motion, Motion) and motion.pack().dtype == np.float32
