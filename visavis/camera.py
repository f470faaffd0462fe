"""Where a film is seen from, moment by moment: one place, an orbit, or the rows of a file, passed smoothly."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.viewpoint import DISTANCE_LIMITS, PITCH_LIMIT, YAW_LIMIT, Viewpoint

Camera = Callable[[float], Viewpoint]  # seconds since the film's beginning -> where it is seen from

TURN: Final = 10.0  # seconds of an orbit from the middle to one side, the other, and back, about
TILT: Final = 0.12  # how far an orbit goes up and down, as a share of how far it goes aside
COLUMNS: Final = ("seconds", "yaw", "pitch", "distance")
LIMITS: Final = {
    "yaw": (-math.degrees(YAW_LIMIT), math.degrees(YAW_LIMIT)),
    "pitch": (-math.degrees(PITCH_LIMIT), math.degrees(PITCH_LIMIT)),
    "distance": DISTANCE_LIMITS,
}


class CameraError(ValueError):
    """A camera path that cannot be used; the message says where and why."""


def still(view: Viewpoint) -> Camera:
    """A camera that stays where it is."""
    return lambda _: view


def orbit(middle: Viewpoint, degrees: float, seconds: float | None = None) -> Camera:
    """A lying figure of eight around ``middle``, ``degrees`` to either side: as many whole turns as ``seconds`` holds,
    so that it ends where it began; of TURN each when nobody knows how long the film is.

    Raises CameraError for an orbit that leaves the yaws an avatar can be seen from.
    """
    room = math.degrees(YAW_LIMIT - abs(middle.yaw))
    if not 0.0 < degrees <= room + 1e-9:
        raise CameraError(
            f"an orbit around yaw {math.degrees(middle.yaw):.0f} goes more than 0 and at most {room:.0f} degrees to "
            f"either side, got {degrees:g}"
        )
    turn = TURN if not seconds else seconds / max(round(seconds / TURN), 1)
    aside = math.radians(degrees)
    tilt = min(TILT * aside, PITCH_LIMIT - abs(middle.pitch))

    def at(time: float) -> Viewpoint:
        phase = 2.0 * math.pi * time / turn
        yaw, pitch = middle.yaw + aside * math.sin(phase), middle.pitch + tilt * math.sin(2.0 * phase)
        return Viewpoint(yaw, pitch, middle.distance, middle.pan_x, middle.pan_y)

    return at


def read(path: Path, distance: float) -> Camera:
    """A camera that passes the rows of a CSV file with the columns ``seconds,yaw,pitch,distance``: degrees and metres.

    Without the columns ``pitch`` or ``distance`` it is 0 and ``distance``. Between two rows the way is smooth and goes
    no farther than they do (PCHIP); before the first and after the last the camera stays. Raises CameraError, naming
    the line, for a file that is none.
    """
    keys = _keys(path, distance)
    times, places = keys[:, 0], keys[:, 1:]
    slopes = _slopes(times, places)

    def view(place: NDArray[np.float64]) -> Viewpoint:
        return Viewpoint(math.radians(place[0]), math.radians(place[1]), float(place[2]))

    if len(times) == 1:
        return still(view(places[0]))

    def at(time: float) -> Viewpoint:
        k = int(np.clip(np.searchsorted(times, time, "right") - 1, 0, len(times) - 2))
        span = times[k + 1] - times[k]
        s = min(max((time - times[k]) / span, 0.0), 1.0)
        place = (
            (1 + 2 * s) * (1 - s) ** 2 * places[k] + s * s * (3 - 2 * s) * places[k + 1]
            + s * (1 - s) * span * ((1 - s) * slopes[k] - s * slopes[k + 1])
        )  # fmt: skip
        return view(place)

    return at


def _keys(path: Path, distance: float) -> NDArray[np.float64]:
    """Rows of seconds, yaw, pitch (degrees), distance (metres)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError:
        raise CameraError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CameraError(f"{path}: not a CSV file that can be read ({error})") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    unknown, missing = [n for n in names if n not in COLUMNS], [n for n in ("seconds", "yaw") if n not in names]
    if unknown or missing or len(set(names)) < len(names):
        raise CameraError(
            f"{path}: the first line names the columns, seconds,yaw[,pitch][,distance] in degrees and metres, got "
            f'"{",".join(names)[:80]}"'
        )
    keys: list[list[float]] = []
    for line, row in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in row):
            keys.append(_key(f"{path}, line {line}", names, row, distance))
            if len(keys) > 1 and keys[-1][0] <= keys[-2][0]:
                raise CameraError(f"{path}, line {line}: seconds must grow from line to line, got {keys[-1][0]:g}")
    if not keys:
        raise CameraError(f"{path}: there is no place in it; give at least one line under the names")
    return np.array(keys)


def _key(where: str, names: list[str], row: list[str], distance: float) -> list[float]:
    if len(row) != len(names):
        raise CameraError(f"{where}: {len(names)} values are expected ({', '.join(names)}), got {len(row)}")
    values = {"pitch": 0.0, "distance": distance}
    for name, cell in zip(names, row, strict=True):
        try:
            values[name] = float(cell)
        except ValueError:
            raise CameraError(f'{where}: {name} must be a number, got "{cell}"') from None
        low, high = LIMITS.get(name, (0.0, math.inf))
        if not (low - 1e-9 <= values[name] <= high + 1e-9 and math.isfinite(values[name])):
            raise CameraError(f"{where}: {name} is from {low:g} to {high:g}, got {cell.strip()}")
    return [values[name] for name in COLUMNS]


def _slopes(times: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change per second at each key, (N, C): none at the ends and where the way turns back, else the harmonic mean of
    both sides weighted by their lengths, which keeps the way between its keys (Fritsch and Butland 1984)."""
    slopes = np.zeros_like(values)
    spans = np.diff(times)[:, None]
    rates = np.diff(values, axis=0) / spans
    before, after = rates[:-1], rates[1:]
    near, far = spans[:-1] + 2 * spans[1:], 2 * spans[:-1] + spans[1:]
    onward = before * after > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes[1:-1] = np.where(onward, (near + far) / (near / before + far / after), 0.0)
    return slopes
