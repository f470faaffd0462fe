"""ARKit-style CSV as the app Live Link Face writes it: motion in and out, with what a face tracker knows.

Columns: Timecode (HH:MM:SS:FF.fff), BlendShapeCount (61), the 52 actions, head and eye angles in radians. Arms, lip
residual and the head's place are not in it. Yaw is + to the person's own left, pitch + up, roll + toward the own right
shoulder (docs/motion_format.md); files of other conventions can be flipped.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FPS
from engine.motion.frame import ACTION_INDEX, ACTIONS, K, Motion
from engine.motion.tape import Tape, TapeError, resample

F64 = NDArray[np.float64]

# The app's order: as ACTIONS, but right before left for jaw and mouth.
_SWAPPED: Final = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
ORDER: Final = tuple(_SWAPPED.get(name, name) for name in ACTIONS)
ANGLES: Final = ("HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll",
                 "RightEyeYaw", "RightEyePitch", "RightEyeRoll")  # fmt: skip
HEADER: Final = ("Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in ORDER), *ANGLES)
RATES: Final = (24, 25, 30, 50, 60)
LOOK: Final = 0.6  # radians of gaze at weight 1 of an eyeLook action
_LOOKS: Final = tuple(ACTION_INDEX[name] for name in ACTIONS if name.startswith("eyeLook"))


@dataclass(frozen=True, slots=True)
class Imported:
    """A tape, and what of the file could not be used or was missing, in words."""

    tape: Tape
    remarks: tuple[str, ...]


def write(path: Path, tape: Tape, fps: int = FPS) -> None:
    """Writes a tape as CSV with ``fps`` rows a second, whole or not at all."""
    if not 1 <= fps <= 120:
        raise ValueError(f"fps must be 1 to 120, got {fps}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(HEADER)
            for index in range(math.ceil(tape.seconds * fps - 1e-6)):
                motion = tape.at(min(index * FPS // fps, round(tape.seconds * FPS) - 1))
                if motion is not None:
                    rows.writerow([_timecode(index, fps), K + len(ANGLES), *_row(motion)])
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def read(path: Path, fps: float | None = None, flip: tuple[str, ...] = ()) -> Imported:
    """Reads a CSV with any of HEADER's columns, in any order and letter case, at any rate.

    ``fps``: the rate of the timecode's frames, guessed without it; ``flip``: angles ("yaw", "pitch", "roll") to turn
    round. Raises TapeError, naming the line, for what is not such a file.
    """
    unknown_angles = set(flip) - {"yaw", "pitch", "roll"}
    if unknown_angles:
        raise TapeError(f"only yaw, pitch and roll can be flipped, got {', '.join(sorted(unknown_angles))}")
    names, codes, values = _table(path)
    known = {name.lower(): name for name in (*ACTIONS, *ANGLES)}
    columns = {known[name.strip().lower()]: place for place, name in enumerate(names) if name.strip().lower() in known}
    actions = [name for name in ACTIONS if name in columns]
    if not actions:
        raise TapeError(f"{path}: no column is named as an ARKit action (EyeBlinkLeft, JawOpen ...)")
    remarks = []
    if len(actions) < K:
        missing = [name for name in ACTIONS if name not in columns]
        shown = ", ".join(missing[:4]) + (" ..." if len(missing) > 4 else "")
        remarks.append(f"{len(missing)} actions are missing and stay 0: {shown}")
    others = [n for n in names if n.strip().lower() not in known and n.strip().lower() not in _IGNORED]
    if others:
        remarks.append(f"{len(others)} columns are not known and left out: {', '.join(others[:4])}")
    data = {name: values[:, place] for name, place in columns.items()}
    beyond = sum(int(((data[n] < -0.001) | (data[n] > 1.001)).sum()) for n in actions)
    if beyond:
        remarks.append(f"{beyond} weights lie outside 0 to 1 and were clipped")
    rows = np.stack([m.pack() for m in _motions(data, len(values), flip)])
    return Imported(resample(_times(codes, fps, path), rows, {"source": path.name}), tuple(remarks))


_IGNORED: Final = ("timecode", "blendshapecount", "")


def _table(path: Path) -> tuple[list[str], list[str], F64]:
    """Column names, timecodes and the numbers (N, columns); what is no number of a known column is an error."""
    if not path.is_file():
        raise TapeError(f"{path}: no such file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise TapeError(f"{path}: not a CSV text file ({error})") from error
    if len(lines) < 2:
        raise TapeError(f"{path}: a header and at least one row of numbers are needed, got {len(lines)} lines")
    names = [name.strip() for name in lines[0]]
    code = next((k for k, name in enumerate(names) if name.lower() == "timecode"), None)
    values = np.zeros((len(lines) - 1, len(names)))
    for number, row in enumerate(lines[1:], start=2):
        if len(row) != len(names):
            raise TapeError(f"{path}, line {number}: {len(row)} cells, the header has {len(names)}")
        for place, cell in enumerate(row):
            if place == code or not cell.strip():
                continue
            values[number - 2, place] = _number(cell, path, number, names[place])
    codes = [row[code].strip() for row in lines[1:]] if code is not None else []
    return names, codes, values


def _number(cell: str, path: Path, line: int, name: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise TapeError(f'{path}, line {line}: {name} is "{cell[:30]}", not a number') from None
    if not math.isfinite(value):
        raise TapeError(f"{path}, line {line}: {name} is not finite")
    return value


def _times(codes: list[str], fps: float | None, path: Path) -> F64:
    """Seconds of each row from its timecode; rows without one are ``fps`` apart."""
    parts = [_split(code, path, line) for line, code in enumerate(codes, start=2)]
    if not parts:
        raise TapeError(f"{path}: there is no Timecode column; it says when each row is")
    if fps is None:
        most = max(frame for _, frame in parts)
        fps = next((rate for rate in RATES if most < rate), None)
        if fps is None:
            raise TapeError(f"{path}: frame {most:.0f} in a timecode; say its rate with --fps")
    if not 1.0 <= fps <= 1000.0:
        raise TapeError(f"fps must be 1 to 1000, got {fps}")
    times = np.array([whole + frame / fps for whole, frame in parts])
    times += 86400.0 * np.concatenate([[0.0], np.cumsum(np.diff(times) < -43200.0)])  # past midnight
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        raise TapeError(f"{path}, line {int(back[0]) + 3}: the timecode goes back in time")
    keep = np.concatenate([[True], np.diff(times) > 0])
    return np.where(keep, times, times + 1e-6 * np.arange(len(times)))


def _split(code: str, path: Path, line: int) -> tuple[float, float]:
    """HH:MM:SS:FF[.fff] -> whole seconds and frames; seconds alone will do."""
    try:
        parts = [float(part) for part in code.replace(";", ":").split(":")]
        if len(parts) == 1:
            return parts[0], 0.0
        hours, minutes, seconds, frames = parts
    except ValueError:
        raise TapeError(f'{path}, line {line}: "{code[:30]}" is not a timecode HH:MM:SS:FF.fff') from None
    return 3600.0 * hours + 60.0 * minutes + seconds, frames


def _timecode(index: int, fps: int) -> str:
    seconds, frame = divmod(index, fps)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}.000"


def _row(motion: Motion) -> list[str]:
    face = motion.face.copy()
    yaw, pitch = float(motion.gaze[0]), float(motion.gaze[1])
    # + yaw is the own left: the left eye looks out, the right one in.
    looks = {"OutLeft": yaw, "InRight": yaw, "InLeft": -yaw, "OutRight": -yaw,
             "UpLeft": pitch, "UpRight": pitch, "DownLeft": -pitch, "DownRight": -pitch}  # fmt: skip
    for name, angle in looks.items():
        place = ACTION_INDEX["eyeLook" + name]
        face[place] = max(float(face[place]), min(max(angle / LOOK, 0.0), 1.0))
    weights = [float(face[ACTION_INDEX[name]]) for name in ORDER]
    return [f"{value:.8f}" for value in (*weights, *to_euler(motion.head[:3]), yaw, pitch, 0.0, yaw, pitch, 0.0)]


def _motions(data: dict[str, F64], count: int, flip: tuple[str, ...]) -> Iterator[Motion]:
    angles = {name: data.get(name, np.zeros(count)) for name in ANGLES}
    for name in angles:
        if any(name.lower().endswith(angle) for angle in flip):
            angles[name] = -angles[name]
    eyes = any(name in data for name in ANGLES[3:])
    for row in range(count):
        face = np.zeros(K, np.float32)
        for name, place in ACTION_INDEX.items():
            face[place] = data[name][row] if name in data else 0.0
        look = face[list(_LOOKS)]
        face[list(_LOOKS)] = 0.0  # the gaze says it, and the body's lids follow the gaze
        if eyes:
            gaze = [0.5 * (angles[f"LeftEye{a}"][row] + angles[f"RightEye{a}"][row]) for a in ("Yaw", "Pitch")]
        else:
            down_l, in_l, out_l, up_l, down_r, in_r, out_r, up_r = look
            gaze = [LOOK * 0.5 * (out_l - in_l + in_r - out_r), LOOK * 0.5 * (up_l - down_l + up_r - down_r)]
        rest = Motion.rest()
        head = np.zeros(6, np.float32)
        head[:3] = from_euler(*(float(angles[name][row]) for name in ANGLES[:3]))
        yield Motion(face, rest.lip, np.array(gaze, np.float32), head, rest.joints).clipped()


def to_euler(axis_angle: NDArray[np.float32]) -> tuple[float, float, float]:
    """Axis-angle -> yaw (+ own left), pitch (+ up), roll, in radians: R = Ry(yaw) Rx(-pitch) Rz(roll)."""
    m = matrix(axis_angle)
    # The third column is where the nose points: (sin yaw cos pitch, sin pitch, cos yaw cos pitch).
    pitch = math.asin(min(max(float(m[1, 2]), -1.0), 1.0))
    return math.atan2(float(m[0, 2]), float(m[2, 2])), pitch, math.atan2(float(m[1, 0]), float(m[1, 1]))


def from_euler(yaw: float, pitch: float, roll: float) -> F64:
    """The inverse of :func:`to_euler`."""
    turn = matrix(np.array([0, yaw, 0])) @ matrix(np.array([-pitch, 0, 0])) @ matrix(np.array([0, 0, roll]))
    return axis_of(turn)


def matrix(axis_angle: NDArray[np.floating]) -> F64:
    """Rotation matrix (3, 3) of an axis-angle (Rodrigues)."""
    angle = float(np.linalg.norm(axis_angle))
    x, y, z = np.asarray(axis_angle, np.float64) / max(angle, 1e-12)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * k + (1.0 - math.cos(angle)) * (k @ k)


def axis_of(rotation: F64) -> F64:
    """Axis-angle (3,) of a rotation matrix that turns by less than pi."""
    angle = math.acos(min(max((float(np.trace(rotation)) - 1.0) / 2.0, -1.0), 1.0))
    skew = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return skew * (0.5 if angle < 1e-6 else angle / (2.0 * math.sin(angle)))
