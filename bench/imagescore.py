"""Scores pictures of people against photographs of them: pooled errors by part of the person and by view.

Pictures are (H, W, 3) u8 sRGB over the same place. Only pixels where either shows the person (alpha above FAINT)
count: what is behind is given. Everything is summed over all frames first and divided last, so a frame counts as much
as it shows.

    psnr_db      10 log10(255^2 / mean squared error)
    ssim         mean structural similarity of luma (Wang et al. 2004: Gaussian window 11, deviation 1.5)
    gradient     mean |difference of gradients| over mean |gradient| of the photograph, luma at sizes 1, 1/2 and 1/4
    perceptual   distance of training.perceptual's "people" features, which nothing is trained against
    alpha        mean |difference of alpha|, 0..1, where either is partly there
    mask_iou     intersection over union of the person (alpha above a half); of hair: of its class on cells of 8 pixels
    flicker      mean |picture - previous picture moved by the true flow|; its ratio to the photographs' own
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.render.guidance import MASK_OF_REGION, MASKS
from kernels.warp import warp
from training.perceptual import Perceptual
from training.renderer.hair import outlined

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
PARTS: Final = {
    "mouth": 4,
    "eyes": 4,
    "hair": 5,
    "hands": 3,
}  # classes scored apart, and the pixels they are widened by
VIEWS: Final = (0, 15, 30, 45, 60)  # degrees of yaw: a frame belongs to the nearest, to the last beyond it
CELL: Final = 8  # pixels of a cell of the classes
LEAST: Final = 60  # pixels of a part that are worth a perceptual figure
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # SSIM's constants
FAINT: Final = 8  # alpha up to which nobody is there: a network that is never quite sure must not be paid for the place
FAR: Final = 99.0  # dB of pictures without a difference


class Look(NamedTuple):
    """A picture as it is scored. rgb (H,W,3) over a place; alpha (H,W); classes (H/8,W/8) of MASKS or None."""

    rgb: U8
    alpha: U8
    classes: U8 | None = None

    def premultiplied(self, plate: U8) -> U8:
        """(H,W,4): the person alone, over black."""
        behind = np.rint(plate * ((255.0 - self.alpha) / 255.0)[..., None])
        return np.dstack([np.clip(self.rgb - behind, 0, 255).astype(np.uint8), self.alpha])


class Tally:
    """Sums by (figure, group): groups are "" (all), the PARTS, "view0"..., and whatever a caller adds."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, figure: str, group: str, total: float, weight: float) -> None:
        """Adds ``total`` that stands for ``weight`` pixels or frames."""
        if weight > 0 and np.isfinite(total):
            pair = self.sums[figure, group]
            pair[0] += total
            pair[1] += weight

    def mean(self, figure: str, group: str = "") -> float:
        """Sum over weight; NaN when nothing was counted."""
        total, weight = self.sums.get((figure, group), (0.0, 0.0))
        return total / weight if weight else float("nan")

    def groups(self, figure: str) -> list[str]:
        """The groups that have this figure."""
        return [group for name, group in self.sums if name == figure]

    def figures(self) -> dict[str, float]:
        """Every figure as it is published: name, or name.group."""
        out = {}
        for figure, group in self.sums:
            value = self.mean(figure, group)
            name, value = ("psnr_db", decibels(value)) if figure == "square" else (figure, value)
            out[f"{name}.{group}" if group else name] = value
        return out


def decibels(square: float) -> float:
    """Mean squared error of values 0..255 as PSNR."""
    return FAR if square <= 0 else min(FAR, 10 * float(np.log10(255**2 / square)))


def view_group(yaw: float) -> str:
    """The group of a frame seen from ``yaw`` radians."""
    return f"view{min(VIEWS, key=lambda degrees: abs(degrees - abs(np.degrees(yaw))))}"


def parts(region: U8) -> dict[str, Mask]:
    """Where the scored parts of the photographed person are, (H,W) of REGIONS ids, widened by a few pixels."""
    classes, out = MASK_OF_REGION[region], dict[str, Mask]()
    for name, reach in PARTS.items():
        here = classes == list(MASKS).index(name)
        out[name] = ndimage.binary_dilation(here, iterations=reach) if here.any() else here
    return out


def classes_of(region: U8) -> U8:
    """Regions (H,W) -> the most frequent class in each cell, (H/8, W/8); hair as it is outlined, skin between strands
    included."""
    height, width = region.shape
    cells = outlined(MASK_OF_REGION[region]).reshape(height // CELL, CELL, width // CELL, CELL)
    counts = np.stack([(cells == index).sum((1, 3)) for index in range(len(MASKS))])
    return counts.argmax(0).astype(np.uint8)


def score(
    made: Look, truth: Look, region: U8, yaw: float, judge: Perceptual | None, tally: Tally, more: tuple[str, ...] = ()
) -> None:
    """Adds one frame to ``tally``, and to its groups ``more``. ``region`` (H,W) of the photograph; ``judge`` None
    leaves the perceptual part out."""
    anybody = (made.alpha > FAINT) | (truth.alpha > FAINT)
    groups = {"": anybody, **parts(region)}
    views = ("", view_group(yaw), *more)
    error = made.rgb.astype(np.float32) - truth.rgb
    square = np.square(error).mean(2)
    a, b = made.rgb @ LUMA, truth.rgb @ LUMA
    similar = ssim_map(a, b)
    coarse = [(x, gradient_gap(*pair)) for x, pair in _pyramid(a, b, groups)]
    for name, mask in groups.items():
        for view in views:
            if name and view:
                continue
            key = name or view
            tally.add("square", key, float(square[mask].sum()), float(mask.sum()))
            tally.add("ssim", key, float(similar[mask].sum()), float(mask.sum()))
            for masks, (apart, own) in coarse:
                tally.add("gradient", key, float(apart[masks[name]].sum()), float(own[masks[name]].sum()))
    if judge is not None:
        known = {name: mask for name, mask in groups.items() if mask.sum() >= LEAST}
        for name, value in zip(known, judge.between(made.rgb, truth.rgb, list(known.values())), strict=True):
            for view in views if not name else ("",):
                tally.add("perceptual", name or view, value, 1.0)
    _outline(made, truth, region, tally)


def ssim_map(a: F32, b: F32) -> F32:
    """Structural similarity at every pixel of two pictures (H,W), 0..255 (Wang et al. 2004, equation 13)."""
    mean_a, mean_b = _window(a), _window(b)
    var_a, var_b = _window(a * a) - mean_a**2, _window(b * b) - mean_b**2
    both = _window(a * b) - mean_a * mean_b
    high = (2 * mean_a * mean_b + C1) * (2 * both + C2)
    return np.asarray(high / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2)), np.float32)


def gradient_gap(a: F32, b: F32) -> tuple[F32, F32]:
    """|grad a - grad b| and |grad b| at every pixel of (H,W), by forward differences."""
    apart, own = np.zeros_like(a), np.zeros_like(a)
    for axis in (0, 1):
        end = [(0, 0), (0, 0)]
        end[axis] = (0, 1)
        steps = [np.pad(np.diff(x, axis=axis), end) for x in (a, b)]
        apart += np.abs(steps[0] - steps[1])
        own += np.abs(steps[1])
    return apart, own


def flicker(now: U8, before: U8, flow: F32, seen: U8, inside: Mask) -> tuple[float, float]:
    """Sum over ``inside`` of |now - before moved by ``flow``|, and how many pixels that are: where ``seen`` is set.

    now, before (H,W,4) premultiplied u8; flow, seen as engine/render/guidance.py draws them.
    """
    moved = np.empty((4, *now.shape[:2]), np.uint8)
    warp(np.ascontiguousarray(before), flow, seen, moved)
    known = inside & (np.repeat(np.repeat(seen, 2, 0), 2, 1) > 0)
    apart = np.abs(now[..., :3].astype(np.int16) - moved[:3].transpose(1, 2, 0)).mean(2)
    return float(apart[known].sum()), float(known.sum())


def _outline(made: Look, truth: Look, region: U8, tally: Tally) -> None:
    """Alpha and masks."""
    both = (made.alpha >= 255 - FAINT) & (truth.alpha >= 255 - FAINT)
    partly = ((made.alpha > FAINT) | (truth.alpha > FAINT)) & ~both
    apart = np.abs(made.alpha.astype(np.float32) - truth.alpha) / 255.0
    tally.add("alpha", "", float(apart[partly].sum()), float(partly.sum()))
    ours, theirs = made.alpha > 127, truth.alpha > 127
    tally.add("mask_iou", "", float((ours & theirs).sum()), float((ours | theirs).sum()))
    if made.classes is not None:
        wanted = classes_of(np.where(truth.alpha > 127, region, 0).astype(np.uint8))
        for name in ("hair", "hands", "clothes", "skin"):
            index = list(MASKS).index(name)
            ours, theirs = made.classes == index, wanted == index
            tally.add("mask_iou", name, float((ours & theirs).sum()), float((ours | theirs).sum()))


def _window(x: F32) -> F32:
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    return np.asarray(ndimage.correlate1d(ndimage.correlate1d(x, taps, 0), taps, 1))


def _pyramid(a: F32, b: F32, masks: dict[str, Mask]) -> list[tuple[dict[str, Mask], tuple[F32, F32]]]:
    """Masks and both pictures at full, half and quarter size; a pixel of a mask is one that any pixel under it is."""
    levels: list[tuple[dict[str, Mask], tuple[F32, F32]]] = []
    for _ in range(3):
        levels.append((masks, (a, b)))
        a, b = (_halved(x).mean((1, 3)).astype(np.float32) for x in (a, b))
        masks = {name: np.asarray(_halved(mask).any((1, 3))) for name, mask in masks.items()}
    return levels


def _halved(x: NDArray[Any]) -> NDArray[Any]:
    """(H, W) as (H/2, 2, W/2, 2)."""
    height, width = x.shape
    return x[: height // 2 * 2, : width // 2 * 2].reshape(height // 2, 2, width // 2, 2)
