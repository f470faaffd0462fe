import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from engine.clock import FRAME
from engine.motion import tape
from engine.motion.frame import SIZE, Motion
from engine.motion.tape import Recorder, Tape, TapeError


def moves(count: int, seed: int = 0) -> list[Motion]:
    rng = np.random.default_rng(seed)
    return [Motion.unpack(rng.uniform(0, 0.5, SIZE).astype(np.float32)) for _ in range(count)]


def record(path: Path, motions: list[Motion], pts: list[int] | None = None) -> Path:
    with Recorder(path, {"source": "a test"}) as recorder:
        for index, motion in enumerate(motions):
            recorder.write(pts[index] if pts else index * FRAME, motion)
    return path


def test_what_was_recorded_comes_back_bit_for_bit(tmp_path: Path) -> None:
    motions = moves(30)
    found = tape.read(record(tmp_path / "a.vmotion", motions))
    assert len(found) == 30 and found.seconds == pytest.approx(1.2) and found.notes == {"source": "a test"}
    for index, motion in enumerate(motions):
        played = found.at(index)
        assert played is not None and np.array_equal(played.pack(), motion.pack())
    assert found.at(30) is None and found.at(-1) is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.vmotion"]


def test_any_safetensors_reader_can_read_it_and_it_says_what_its_numbers_are(tmp_path: Path) -> None:
    path = record(tmp_path / "a.vmotion", moves(3))
    raw = load_file(path)
    assert raw["motion"].shape == (3, SIZE) and list(raw["pts"]) == [0, FRAME, 2 * FRAME]
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    channels = json.loads(header["channels"])
    assert sum(int(np.prod(c["shape"])) for c in channels) == SIZE and channels[0]["unit"] == "weight"
    assert len(json.loads(header["actions"])) == 52 and header["fps"] == "25"


def test_a_gap_shows_the_frame_before_it(tmp_path: Path) -> None:
    motions = moves(3)
    found = tape.read(record(tmp_path / "a.vmotion", motions, [0, FRAME, 4 * FRAME]))
    shown = [found.at(index) for index in range(6)]
    assert shown[5] is None
    assert [next(k for k, m in enumerate(motions) if np.array_equal(m.pack(), s.pack())) for s in shown[:5] if s] == [
        0,
        1,
        1,
        1,
        2,
    ]


def test_an_error_while_recording_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Recorder(tmp_path / "a.vmotion") as recorder:
        recorder.write(0, Motion.rest())
        raise RuntimeError
    with pytest.raises(TapeError, match="0 frames"), Recorder(tmp_path / "b.vmotion"):
        pass
    with pytest.raises(ValueError, match="in order"), Recorder(tmp_path / "c.vmotion") as recorder:
        recorder.write(FRAME, Motion.rest())
        recorder.write(0, Motion.rest())
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="does not exist"):
        Recorder(tmp_path / "no" / "a.vmotion")


def broken(tmp_path: Path, kind: str) -> Path:
    path = record(tmp_path / "a.vmotion", moves(4))
    good = tape.read(path)
    header = dict(tape._header({}))
    tensors = {"motion": good.motion, "pts": good.pts}
    match kind:
        case "cut":
            path.write_bytes(path.read_bytes()[:-50])
            return path
        case "text":
            path.write_text("frames and frames")
            return path
        case "other":
            header = {"format": "pt"}
        case "newer":
            header["version"] = "9"
        case "names":
            header["actions"] = "[]"
        case "nan":
            tensors["motion"] = good.motion.copy()
            tensors["motion"][2, 5] = np.nan
        case "shape":
            tensors["motion"] = good.motion[:, :-1].copy()
        case "kind":
            tensors["motion"] = good.motion.astype(np.float64)
        case "times":
            tensors["pts"] = good.pts[::-1].copy()
    save_file(tensors, path, metadata=header)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [("cut", "broken"), ("text", "broken"), ("other", "another kind"), ("newer", "update visavis"),
     ("names", "actions"), ("nan", "frame 2 is not finite"), ("shape", "motion"),
     ("kind", "float32"), ("times", "ascend")],
)  # fmt: skip
def test_a_broken_or_newer_file_is_refused_by_name(tmp_path: Path, kind: str, words: str) -> None:
    path = broken(tmp_path, kind)
    with pytest.raises(TapeError, match=words) as refusal:
        tape.read(path)
    assert str(path) in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="no such file"):
        tape.read(tmp_path / "nowhere.vmotion")


def test_other_rates_are_resampled_linearly() -> None:
    times = np.arange(61) / 60
    rows = np.zeros((61, SIZE), np.float32)
    rows[:, 0] = times
    found = tape.resample(times + 7.0, rows, {})
    assert len(found) == 26
    np.testing.assert_allclose(found.motion[:, 0], np.arange(26) / 25, atol=1e-6)
    assert len(tape.resample(np.zeros(1), rows[:1], {})) == 1
    assert isinstance(found, Tape)
