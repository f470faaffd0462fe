from pathlib import Path

import numpy as np
import pytest

from engine.clock import FRAME
from engine.motion.frame import ACTION_INDEX, ACTIONS, SIZE, Motion
from engine.motion.tape import Tape, TapeError
from visavis import livelink

HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
    "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,"
    "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,"
    "MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,"
    "MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,"
    "MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,"
    "BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,"
    "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)


def wild(count: int) -> Tape:
    """Faces, heads and eyes in motion; no arms, which the CSV does not know."""
    rng = np.random.default_rng(2)
    rows = []
    for _ in range(count):
        face = rng.uniform(0, 1, len(ACTIONS)).astype(np.float32)
        face[[k for name, k in ACTION_INDEX.items() if name.startswith("eyeLook")]] = 0.0
        rest = Motion.rest()
        head = np.concatenate([rng.uniform(-0.5, 0.5, 3), np.zeros(3)]).astype(np.float32)
        gaze = rng.uniform(-0.4, 0.4, 2).astype(np.float32)
        rows.append(Motion(face, rest.lip, gaze, head, rest.joints).pack())
    return Tape(np.stack(rows), np.arange(count, dtype=np.int64) * FRAME)


def test_the_columns_are_those_of_the_app(tmp_path: Path) -> None:
    livelink.write(tmp_path / "a.csv", wild(3), 60)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == HEADER
    assert lines[1].startswith("00:00:00:00.000,61,") and lines[2].startswith("00:00:00:01.000,61,")
    assert len(lines) == 1 + 8  # 0.12 s, rounded up


def test_face_head_and_eyes_survive_the_way_out_and_back(tmp_path: Path) -> None:
    tape = wild(20)
    livelink.write(tmp_path / "a.csv", tape, 25)
    back = livelink.read(tmp_path / "a.csv", fps=25)
    assert back.remarks == ()
    assert back.tape.motion.shape == (20, SIZE)
    np.testing.assert_allclose(back.tape.motion, tape.motion, atol=2e-6)


def test_turning_left_and_looking_up_are_what_they_say(tmp_path: Path) -> None:
    head = np.array([0.0, 0.3, 0.0, 0, 0, 0], np.float32)  # about the vertical: toward the viewer's right
    rest = Motion.rest()
    motion = Motion(rest.face, rest.lip, np.array([0.3, 0.12], np.float32), head, rest.joints)
    livelink.write(tmp_path / "a.csv", Tape(motion.pack()[None], np.zeros(1, np.int64)), 25)
    names, values = (line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines())
    row = dict(zip(names[2:], map(float, values[2:]), strict=True))
    assert row["HeadYaw"] == pytest.approx(0.3) and row["HeadPitch"] == pytest.approx(0.0)
    assert row["EyeLookOutLeft"] == pytest.approx(0.5) == row["EyeLookInRight"] and row["EyeLookOutRight"] == 0.0
    assert row["EyeLookUpLeft"] == pytest.approx(0.2) and row["LeftEyeYaw"] == pytest.approx(0.3)


def test_a_sixty_hertz_take_with_other_letter_case_missing_and_unknown_columns_is_read(tmp_path: Path) -> None:
    lines = ["timecode, jawopen ,Mood,headPitch"]
    lines += [f"13:59:{59 + k // 60:02d}:{k % 60:02d}.512,{k / 60},happy,0.1" for k in range(60) if k % 60 < 60]
    lines = [line for line in lines if "happy" not in line] + [
        line.replace("happy", "1") for line in lines if "happy" in line
    ]
    path = tmp_path / "take.csv"
    path.write_text("\ufeff" + "\n".join(lines) + "\n\n", encoding="utf-8")
    found = livelink.read(path)
    assert found.tape.seconds == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(found.tape.motion[:, ACTION_INDEX["jawOpen"]], np.arange(25) / 25, atol=1e-4)
    assert found.tape.at(3).head[0] == pytest.approx(-0.1, abs=1e-5)
    assert "51 actions are missing" in found.remarks[0] and "Mood" in found.remarks[1]
    assert livelink.read(path, flip=("pitch",)).tape.at(3).head[0] == pytest.approx(0.1, abs=1e-5)


def test_a_take_over_midnight_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Timecode,JawOpen\n23:59:59:12.0,0.1\n00:00:00:12.0,0.2\n")
    assert livelink.read(path, fps=25).tape.seconds == pytest.approx(1.04)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one row"),
        ("Timecode,JawOpen\n", "at least one row"),
        ("Timecode,Joy\n00:00:00:00,1\n", "no column is named"),
        ("JawOpen\n0.5\n", "no Timecode"),
        ("Timecode,JawOpen\n00:00:00:00,wide\n", "line 2: JawOpen is"),
        ("Timecode,JawOpen\n00:00:00:00,nan\n", "line 2: JawOpen is not finite"),
        ("Timecode,JawOpen\n00:00:00:00,0.5,7\n", "line 2: 3 cells"),
        ("Timecode,JawOpen\nnoon,0.5\n", "line 2: .noon. is not a timecode"),
        ("Timecode,JawOpen\n00:00:01:00,0.5\n00:00:00:00,0.5\n", "line 3: the timecode goes back"),
        ("Timecode,JawOpen\n00:00:01:99,0.5\n", "--fps"),
    ],
)
def test_what_is_no_such_file_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(TapeError, match=words):
        livelink.read(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\x00\x81" * 100)
    with pytest.raises(TapeError, match="not a CSV"):
        livelink.read(path)
