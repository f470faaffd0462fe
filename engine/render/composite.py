"""What is behind an avatar: its own place, that place out of focus, a colour, an image, or nothing.

Only pictures are made here; a renderer lays its own over them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine import image
from engine.avatar import Avatar
from engine.render import material

U8 = NDArray[np.uint8]
BLUR: Final = 0.045  # of the picture's height: the standard deviation of "blur"
MAX_BYTES: Final = 32 << 20  # a larger image file is refused before it is read
_COLOUR: Final = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)
_WHAT: Final = '"avatar", "blur", "transparent", a colour as "#rrggbb", or a PNG or JPEG file'


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What to show behind an avatar. ``kind``: "avatar" (its pack's own background), "blur" (that out of focus),
    "transparent", "colour" with ``colour`` sRGB, or "image" with ``picture`` (h,w,3) u8."""

    kind: str = "avatar"
    colour: tuple[int, int, int] = (0, 0, 0)
    picture: U8 | None = None

    @property
    def transparent(self) -> bool:
        """Whether there is nothing behind."""
        return self.kind == "transparent"


def parse(text: str, files: bool = True) -> Backdrop:
    """A Backdrop from what people write: avatar, blur, transparent, #rrggbb, #rgb, or with ``files`` an image's path.

    Raises ValueError, saying what it may be, for anything else.
    """
    if text in ("avatar", "blur", "transparent"):
        return Backdrop(text)
    if _COLOUR.fullmatch(text):
        digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
        red, green, blue = bytes.fromhex(digits)
        return Backdrop("colour", (red, green, blue))
    if not files:
        raise ValueError(f"background must be {_WHAT.rsplit(', or', 1)[0]}; got {text!r}")
    return Backdrop("image", picture=_read(Path(text)))


def behind(backdrop: Backdrop, avatar: Avatar, size: tuple[int, int]) -> U8:
    """The picture (H,W,3) that ``backdrop`` puts behind ``avatar`` at ``size`` (H,W); black where there is nothing."""
    if backdrop.kind in ("transparent", "colour"):
        colour = np.array(backdrop.colour if backdrop.kind == "colour" else (0, 0, 0), np.uint8)
        return np.ascontiguousarray(np.broadcast_to(colour, (*size, 3)))
    picture = avatar.background if backdrop.picture is None else backdrop.picture
    covered = picture if picture.shape[:2] == size else material.cover(picture, size)
    return blurred(covered, BLUR * size[0]) if backdrop.kind == "blur" else covered


def blurred(picture: U8, deviation: float) -> U8:
    """``picture`` (H,W,3) out of focus: three box blurs, close to a Gaussian of ``deviation`` pixels; edges go on."""
    radius = max(round(np.sqrt(deviation**2 + 0.25) - 0.5), 0)  # three boxes of 2r + 1 have variance r (r + 1)
    out = picture.astype(np.float64)
    for axis in (0, 1):
        for _ in range(3):
            out = _box(out, radius, axis)
    return np.rint(out).astype(np.uint8)


def _box(values: NDArray[np.float64], radius: int, axis: int) -> NDArray[np.float64]:
    count = values.shape[axis]
    around = np.pad(values, [(radius + 1, radius) if k == axis else (0, 0) for k in range(values.ndim)], mode="edge")
    total = around.cumsum(axis)
    last = total.take(np.arange(2 * radius + 1, 2 * radius + 1 + count), axis)
    return (last - total.take(np.arange(count), axis)) / (2 * radius + 1)


def _read(path: Path) -> U8:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"background {path}: at most {MAX_BYTES >> 20} MiB are read; make the image smaller")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"background must be {_WHAT}; got {str(path)!r}: {error.strerror or error}") from error
    try:
        return image.decode(data, 3)
    except ValueError as error:
        raise ValueError(f"background {path}: {error}") from error
