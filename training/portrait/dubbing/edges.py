"""What of a filmed mouth is lip and what lies behind: told by colour, near where the landmarks have the edge.

The detector may place the lips' inner edge a little high or low on a certain face, and a row of teeth along a shut
mouth is what a viewer sees first. So lips are looked up in a picture whose mouth is painted over with lip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from kernels.jit import F32, Flags
from training.portrait.dubbing.lips import LOWER, UPPER
from training.portrait.dubbing.track import Track
from training.portrait.dubbing.warp import between

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Array = NDArray[Any]

OUTER_UPPER: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LOWER: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
COLUMNS: Final = slice(2, 9)  # of them, whose middle between outer and inner edge is surely lip
REACH: Final = 2.2e-3  # metres beside the detected edge in which teeth may still be
PALE: Final = 0.07  # least difference between lip and teeth in the logarithm of red over green
DARK: Final = 0.8  # and of lip over dark in that of brightness
OPEN: Final = 3e-3  # metres between the lips where edges are told by colour
FEWEST: Final = 12  # places that must tell
SPREAD: Final = 1.3e-3  # metres between the quartiles of what they say, at most
MARGIN: Final = 0.5e-3  # metres beside a lip that are not yet surely behind it
DOUBT: Final = 1.2e-3  # metres around teeth, in which a lip may be in their light or in the dark
FADES: Final = 1.5e-3  # metres under a lip in which it gets dark
SHADE: Final = 0.3  # of the light that is left there
ROOM: Final = 5e-3  # metres around the mouth that are cut out


@dataclass(frozen=True)
class Parted:
    """A rectangle of a picture from ``corner`` (x, y) about an open mouth: pixels (h, w, 3), and in it, (h, w) each,
    ``other``: colours that are not the lips'; ``behind``: teeth, tongue and the dark; ``doubtful``: anything but surely
    lip. ``fades``: pixels under a lip in which it gets dark."""

    corner: Array
    pixels: F32
    other: Flags
    behind: Flags
    doubtful: Flags
    fades: float

    def lips(self) -> F32:
        """The pixels with lip for everything that is not."""
        return carried_on(self.pixels, ~self.doubtful)

    def mouth(self) -> F32:
        """The pixels with what is next to the lips for all that is lip, darker the deeper it would lie under them."""
        shade = SHADE + (1.0 - SHADE) * np.exp(-distance_transform_edt(~self.behind) / self.fades)
        return np.asarray(carried_on(self.pixels, self.behind) * shade[..., None], np.float32)


def offsets(parted_: Parted, points: F64, down: F64) -> tuple[list[float], list[float]]:
    """Metres ``down`` (2,) pixels a metre from the landmarks' (468, 2) upper and lower edge to where the lips' colour
    ends, at as many places as tell."""
    scale = float(np.linalg.norm(down))
    way = np.arange(-REACH, REACH, 1e-4)
    inner = 0.5 * (points[list(UPPER)] + points[list(LOWER)])
    found: tuple[list[float], list[float]] = ([], [])
    flags = parted_.other.astype(np.float32)
    for k in range(3, 8):
        if (points[LOWER[k]] - points[UPPER[k]]) @ down / scale**2 < OPEN:
            continue
        for edge, (place, sign) in enumerate(((UPPER[k], 1.0), (LOWER[k], -1.0))):
            x, y = (points[place] - parted_.corner - 0.5)[:, None] + sign * down[:, None] * way
            beyond = sign * (inner[k] - points[place]) @ down / scale**2
            line = map_coordinates(flags, [y, x], order=1) > 0.5
            known = way < beyond
            if line[known].any() and not line[:3].any():
                found[edge].append(sign * float(way[int(np.argmax(line))]))
    return found


def corrected(track: Track, said: tuple[list[float], list[float]]) -> Track:
    """The track with the inner edges of its lips where the colours of many places (metres down, of the upper and of the
    lower one) say: fully in their middle, not at their corners. As it is where they disagree."""
    move = np.zeros_like(track.neutral)
    arch = np.sqrt(np.sin(np.linspace(0.0, np.pi, len(UPPER))))
    for edge, places in zip((UPPER, LOWER), said, strict=True):
        low, middle, high = np.percentile(places or [0.0], [25, 50, 75])
        if len(places) >= FEWEST and high - low < SPREAD and (edge == UPPER or middle > 0):
            move[list(edge), 1] -= arch * middle  # teeth that are taken for lip are seen, lip that is lost is not
    shown = track.poses.scale[:, None, None] * np.einsum("kj,tij->tki", move, track.poses.turn)[..., :2] * [1.0, -1.0]
    return replace(track, neutral=track.neutral + move, pixels=(track.pixels + shown).astype(np.float32))


def parted(picture: U8, points: F64, scale: float) -> Parted | None:
    """Lips and what is behind them, of landmarks (468, 2) in pixels at ``scale`` pixels a metre. None for a mouth that
    is shut, or out of the picture."""
    edge = points[[*UPPER, *LOWER]]
    height, width = picture.shape[:2]
    low = np.maximum(np.floor(edge.min(0) - ROOM * scale).astype(int), 0)
    high = np.minimum(np.ceil(edge.max(0) + ROOM * scale).astype(int) + 1, [width, height])
    if (high - low).min() < 4:
        return None
    pixels = picture[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    share = between(points - low - 0.5, (pixels.shape[0], pixels.shape[1]))
    inner = share > 0.5
    if inner.sum() < 6:
        return None
    near = distance_transform_edt(~inner) < REACH * scale
    other = near & _unlike(pixels, points - low, inner)
    behind = distance_transform_edt(inner) > MARGIN * scale
    if not behind.any():
        behind = inner
    return Parted(
        low, pixels, other, behind, distance_transform_edt(~(inner | other)) < max(DOUBT * scale, 2.5), FADES * scale
    )


def carried_on(patch: F32, known: Array) -> F32:
    """``patch`` (h, w, 3) with what is not ``known`` replaced by the nearest that is, softer the farther away."""
    if known.all() or not known.any():
        return patch
    apart, (row, column) = distance_transform_edt(~known, return_indices=True)
    near = patch[row, column]
    soft = np.stack([gaussian_filter(near[..., k], 2.0) for k in range(3)], -1)
    way = np.clip(apart / 4.0, 0.0, 1.0)[..., None].astype(np.float32)
    return np.asarray(np.where(known[..., None], patch, near + way * (soft - near)), np.float32)


def _unlike(pixels: F32, points: F64, inner: Flags) -> Flags:
    """(h, w) where colours are rather those of teeth, or of the dark, than of these lips."""
    red, bright = _tone(pixels)
    upper = 0.5 * (points[list(UPPER)] + points[list(OUTER_UPPER)])[COLUMNS]
    lower = 0.5 * (points[list(LOWER)] + points[list(OUTER_LOWER)])[COLUMNS]
    place = np.clip(np.concatenate([upper, lower]).astype(int), 0, np.array(red.shape)[::-1] - 1)
    lip_red = float(np.median(red[place[:, 1], place[:, 0]]))
    lip_bright = float(np.median(bright[place[:, 1], place[:, 0]]))
    dark = bright < lip_bright - DARK
    lit = inner & ~dark
    pale = float(np.percentile(red[lit], 15)) if lit.sum() > 5 else lip_red
    return np.asarray(dark | ((red < 0.5 * (lip_red + pale)) if lip_red - pale > PALE else np.zeros_like(dark)))


def _tone(pixels: F32) -> tuple[F32, F32]:
    """Logarithms of red over green, and of brightness, (h, w) each."""
    smooth = np.stack([gaussian_filter(pixels[..., k], 0.5) for k in range(3)], -1) + 6.0
    return np.log(smooth[..., 0] / smooth[..., 1]), np.log(smooth.sum(-1))
