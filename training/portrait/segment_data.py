"""Studio portraits made to look like anybody's photographs, with the truth of which pixel is what.

The studio's people are few and tidy. So a crop is bent, coloured anew part by part, given bare shoulders, hats, dark
glasses and things in front, put before anything, and then spoilt as cameras and phones spoil pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from training.portrait import framing
from training.portrait.framing import SIDE
from training.portrait.spoil import LUMA, bars, blurred, doubted, lit, noise, taken

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Array = NDArray[Any]
Rng = np.random.Generator
FACE, HAIR, SKIN, TORSO, ARMS, HANDS, THINGS = range(1, 8)
NEAR, FAR = 4.5, 16.0  # units of the face across a crop
IGNORED: Final = 255


@dataclass(frozen=True)
class Portrait:
    """rgb (S, S, 3), label (S, S) of CLASSES, alpha (S, S), all u8; points (478, 3) of the detector in its pixels."""

    rgb: U8
    label: U8
    alpha: U8
    points: F32


@dataclass(frozen=True)
class Example:
    """rgb (3, SIDE, SIDE) in [0, 1] as the mask's network takes it, inside and person (SIDE, SIDE) in [0, 1],
    points (478, 3) in its pixels, label (SIDE, SIDE) of CLASSES or IGNORED."""

    rgb: F32
    inside: F32
    person: F32
    points: F32
    label: U8


def read(folder: Path) -> list[Portrait]:
    """All portraits in the .npz files of a folder (make_segmenter writes them). Raises ValueError without any."""
    kinds, out = framing.table(), list[Portrait]()
    for path in sorted(folder.glob("[0-9c]*.npz")):
        with np.load(path) as kept:
            rgb, region, alpha, points = (kept[name] for name in ("rgb", "region", "alpha", "points"))
        labels = [
            _smooth(np.where(cover > 100, kinds[own], 0).astype(np.uint8))
            for cover, own in zip(alpha, region, strict=True)
        ]
        out += [Portrait(*row) for row in zip(rgb, labels, alpha, points, strict=True)]
    if not out:
        raise ValueError(
            f"{folder} holds no portraits: make some with python -m training.portrait.make_segmenter shoot"
        )
    return out


def _smooth(label: U8) -> U8:
    """Strands over skin are hair where they lie close, skin where they are few: nobody labels single strands."""
    hair, bare = label == HAIR, (label == FACE) | (label == SKIN)
    near = ndimage.uniform_filter(hair.astype(np.float32), 9)
    dense = near > 0.45 * np.maximum(near + ndimage.uniform_filter(bare.astype(np.float32), 9), 1e-3)
    out = label.copy()
    out[bare & dense] = HAIR
    face = ndimage.uniform_filter((label == FACE).astype(np.float32), 15)
    skin = ndimage.uniform_filter((label == SKIN).astype(np.float32), 15)
    thin = hair & ~dense
    out[thin] = np.where(face > skin, FACE, SKIN)[thin]
    return out


class Studio:
    """Examples without end from portraits; ``plain`` ones are only cropped."""

    def __init__(self, portraits: Sequence[Portrait], plain: bool = False) -> None:
        self.portraits, self.plain = portraits, plain

    def draw(self, rng: Rng, side: float | None = None) -> Example:
        """One example, ``side`` units of the face wide or any."""
        who = self._any(rng)
        low, high = (NEAR, 8.0) if rng.random() < 0.6 else (6.0, FAR)
        room = 1.25 * who.rgb.shape[0] / framing.unit(who.points)  # units across the whole picture, and some more
        side = side or float(np.exp(rng.uniform(np.log(min(low, max(room, 3.5))), np.log(min(high, max(room, 4.0))))))
        rgb, label, alpha, inside, points = _cropped(who, rng, side, self.plain)
        person = alpha
        if not self.plain:
            rgb = _clothed(rgb, label, points, rng)
            rgb = _grown(rgb, label, alpha, points, rng) if rng.random() < 0.4 else rgb
            rgb = _recoloured(rgb, label, rng)
            rgb = lit(rgb, rng) if rng.random() < 0.5 else rgb
            rgb, others = self._placed(rgb, alpha, side, rng)
            rgb = _covered(rgb, label, points, rng)
            rgb = taken(rgb, rng)
            person = np.maximum(alpha, label == THINGS).astype(np.float32)
            person = doubted(np.maximum(person, others) if rng.random() < 0.6 else person, rng)
        rgb = np.where(inside[..., None] > 0.5, rgb, 0.5)
        label[inside < 0.5] = IGNORED
        if not self.plain:
            size = framing.unit(points)
            points[:, :2] += size * (rng.normal(0, 0.015, 2) + rng.normal(0, 0.008, (len(points), 2)))
        return Example(np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32), inside, person * inside, points, label)

    def _any(self, rng: Rng) -> Portrait:
        return self.portraits[int(rng.integers(len(self.portraits)))]

    def _placed(self, rgb: F32, alpha: F32, side: float, rng: Rng) -> tuple[F32, F32]:
        """Before something else, or beside somebody: the picture, and where others are in it."""
        draw, others = rng.random(), np.zeros_like(alpha)
        if draw < 0.15:
            return rgb, others
        if draw < 0.45:
            behind = self._patch(rng)
        elif draw < 0.6:
            behind = np.broadcast_to(rng.uniform(0, 1, 3).astype(np.float32), rgb.shape) + 0.1 * noise(rng, 3, 2)
        else:
            behind = 0.5 + rng.uniform(0.1, 0.5) * noise(rng, 3, int(rng.choice([2, 4, 8, 32, 96])))
            behind = 0.7 * behind + 0.3 * self._patch(rng)
        if rng.random() < 0.3:
            bars(behind := np.array(behind, np.float32), rng, rng.uniform(0.3, 1.0))
        for _ in range(int(rng.choice(3, p=[0.6, 0.3, 0.1]))):  # somebody else
            other, _, cover, within, _ = _cropped(self._any(rng), rng, side * float(rng.uniform(0.75, 1.3)), False)
            shift = int(rng.choice([-1, 1]) * rng.uniform(1.2, 4.5) / side * SIDE)
            shift = int(np.clip(shift, 1 - SIDE, SIDE - 1)) or 1
            cover = np.roll(cover * within, shift, 1)[..., None]
            if shift > 0:
                cover[:, :shift] = 0
            else:
                cover[:, shift:] = 0
            behind = behind * (1 - cover) + np.roll(other, shift, 1) * cover
            others = np.maximum(others, cover[..., 0])
        if rng.random() < 0.4:
            behind = blurred(np.array(behind, np.float32), float(rng.uniform(1, 6)))
        cover = np.clip(alpha * 1.1 - 0.1, 0, 1)[..., None]
        return np.asarray(np.clip(rgb * cover + np.clip(behind, 0, 1) * (1 - cover), 0, 1), np.float32), others

    def _patch(self, rng: Rng) -> F32:
        """A piece of some portrait, of any part, at any size."""
        source = self._any(rng).rgb
        size = int(rng.integers(60, source.shape[0]))
        top, left = rng.integers(0, source.shape[0] - size + 1, 2)
        part = torch.from_numpy(source[top : top + size, left : left + size].astype(np.float32) / 255)
        part = torch.rot90(part, int(rng.integers(4)), (0, 1))
        whole = F.interpolate(part.permute(2, 0, 1)[None], (SIDE, SIDE), mode="bilinear", antialias=False)
        tint = rng.uniform(0.5, 1.4, 3).astype(np.float32)
        return np.clip(whole[0].permute(1, 2, 0).numpy() * tint, 0, 1)


def _cropped(who: Portrait, rng: Rng, side: float, plain: bool) -> tuple[F32, U8, F32, F32, F32]:
    """rgb, label, alpha, inside and points of a square around the face, bent beside it unless plain."""
    crop = framing.square(who.points, side)
    mirrored = False
    if not plain:
        shift = rng.normal(0, 0.035 * crop.side, 2)
        mirrored = bool(rng.random() < 0.5)
        crop = type(crop)(crop.x + shift[0], crop.y + shift[1], crop.side, crop.angle + rng.normal(0, 0.07))
    row, column = (np.mgrid[:SIDE, :SIDE] + 0.5).astype(np.float32)
    points = who.points.copy()
    points[:, :2] = framing.into(crop, who.points)
    places = np.stack([column, row], -1)
    if not plain and rng.random() < 0.7:
        eyes, size = points[[33, 263], :2].mean(0), framing.unit(points)
        off = np.hypot(column - eyes[0], (row - eyes[1] - 0.4 * size) / 1.2) / size
        free = np.clip(off - 0.85, 0, 1)[..., None]
        bend = rng.uniform(0, 0.35) * noise(rng, 2, int(rng.integers(2, 6))) + rng.uniform(0, 0.05) * noise(rng, 2, 40)
        places = places + free * bend * size
    at = framing.out_of(crop, places.reshape(-1, 2)).reshape(SIDE, SIDE, 2)
    height, width = who.label.shape
    grid = torch.from_numpy((at / np.array([width, height]) * 2 - 1).astype(np.float32))[None]
    stack = np.concatenate([who.rgb, who.alpha[..., None]], -1).transpose(2, 0, 1)[None]
    soft = F.grid_sample(torch.from_numpy(stack.astype(np.float32) / 255), grid, "bilinear", "border", False)[0]
    hard = torch.from_numpy(who.label[None, None].astype(np.float32))
    label = F.grid_sample(hard, grid, "nearest", "border", False)[0, 0].numpy().astype(np.uint8)
    picture = soft.permute(1, 2, 0).numpy()
    inside = np.asarray(((at >= 0) & (at < [width, height])).all(-1), np.float32)
    rgb, alpha = np.ascontiguousarray(picture[..., :3]), np.ascontiguousarray(picture[..., 3])
    if mirrored:
        rgb, alpha, inside = (np.ascontiguousarray(x[:, ::-1]) for x in (rgb, alpha, inside))
        label = np.ascontiguousarray(label[:, ::-1])
        points = points[_mirror()]
        points[:, 0] = SIDE - points[:, 0]
    return rgb, label, alpha, inside, points


def _mirror() -> Array:
    from training.portrait.face import mirror

    return mirror()


def _clothed(rgb: F32, label: U8, points: F32, rng: Rng) -> F32:
    """Low necklines, bare shoulders and arms: cloth that becomes skin. High collars and scarves: the other way."""
    neck, size = points[152, :2], framing.unit(points)
    row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    bare = np.zeros(label.shape, bool)
    if rng.random() < 0.3:
        wide, deep = rng.uniform(0.8, 2.8) * size, rng.uniform(1.0, 2.6) * size
        power = rng.uniform(1.0, 3.0)
        bare |= (label == TORSO) & (
            np.abs((column - neck[0]) / wide) ** power + np.abs((row - neck[1]) / deep) ** power < 1
        )
    if rng.random() < 0.3:
        bare |= label == ARMS
    if rng.random() < 0.1:  # strapless, or straps
        line = neck[1] + rng.uniform(1.0, 1.8) * size
        bare |= np.isin(label, (TORSO, ARMS)) & (row < line)
    own = (label == SKIN) | (label == FACE)
    if rng.random() < 0.15:
        line = neck[1] + rng.uniform(-0.1, 0.5) * size + 0.1 * size * noise(rng, 1, 3)[..., 0]
        high = (label == SKIN) & (row > line)
        rgb = np.where(high[..., None], _stuff(rng) * (0.3 + (rgb @ LUMA)[..., None]), rgb).clip(0, 1)
        label[high] = TORSO
        own &= ~high
    if not bare.any() or own.sum() < 50:
        return rgb
    light = rgb @ LUMA
    tone = np.median(rgb[own], axis=0) * rng.uniform(0.85, 1.15)
    soft = blurred(light[..., None], rng.uniform(1.5, 4))[..., 0]
    shade = np.clip(soft / max(float(np.median(soft[bare])), 0.02), 0.4, 1.6) ** rng.uniform(0.3, 0.9)
    skin = np.clip(shade[..., None] * tone + 0.02 * noise(rng, 3, 24), 0, 1)
    label[bare] = SKIN
    return np.where(bare[..., None], skin, rgb).astype(np.float32)


def _grown(rgb: F32, label: U8, alpha: F32, points: F32, rng: Rng) -> F32:
    """More hair than the studio has: fuller, longer, over the shoulders, into the forehead. Label, alpha too."""
    hair = label == HAIR
    if hair.sum() < 100:
        return rgb
    size, eyes = framing.unit(points), points[[33, 263], :2].mean(0)
    row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    more = hair.copy()
    if rng.random() < 0.5:  # longer: what hangs down beside the face
        length = max(int(rng.uniform(0.3, 3.0) * size), 2)
        hanging = ndimage.maximum_filter1d(hair, 2 * length + 1, axis=0)
        hanging &= np.roll(np.maximum.accumulate(hair, 0), 1, 0) & (row > eyes[1] - 0.2 * size)
        ragged = 0.25 * noise(rng, 1, int(rng.integers(4, 30)))[..., 0]
        more |= hanging & (np.abs(column - eyes[0]) / size + ragged > rng.uniform(0.62, 0.85))
    thick = rng.uniform(0, 0.45) * size * np.clip(0.5 + noise(rng, 1, int(rng.integers(2, 24)))[..., 0], 0, 2)
    near = ndimage.distance_transform_edt(~more) < thick
    core = framing.filled((points[list(framing.OVAL), :2] - eyes) * rng.uniform(0.8, 1.02) + eyes, label.shape)
    more |= near
    more &= hair | ~(core & (label == FACE))
    fresh = more & ~hair & ~np.isin(label, (HANDS, THINGS))
    across, along = int(rng.integers(20, 100)), int(rng.integers(2, 20))
    small = torch.from_numpy(rng.normal(0, 0.6, (1, 1, along + 1, across + 1)).astype(np.float32))
    streaks = F.interpolate(small, (SIDE, SIDE), mode="bicubic", align_corners=True)[0, 0].numpy()
    sway = (8 * noise(rng, 1, 3)[..., 0]).astype(int)
    streaks = streaks[row.astype(int), np.clip(column.astype(int) + sway, 0, SIDE - 1)]
    tone = np.median(rgb[hair], axis=0) * np.clip(1 + rng.uniform(0.2, 0.7) * streaks, 0.2, 2.5)[..., None]
    soft = blurred(fresh[..., None].astype(np.float32), 0.7)
    label[fresh] = HAIR
    np.maximum(alpha, soft[..., 0], out=alpha)
    return np.clip(rgb + soft * (tone - rgb), 0, 1).astype(np.float32)


def _recoloured(rgb: F32, label: U8, rng: Rng) -> F32:
    """Every part in other colours."""
    out = rgb.copy()
    for part, chance in (((HAIR,), 0.75), ((TORSO, ARMS), 0.8), ((FACE, SKIN, HANDS), 0.6), ((THINGS,), 0.5)):
        where = np.isin(label, part)
        if not where.any() or rng.random() > chance:
            continue
        own = rgb[where]
        middle = np.median(own, axis=0)
        if part[0] == FACE:
            tint = np.exp(rng.normal(0, 0.12, 3) + rng.normal(0, 0.25))
            out[where] = np.clip(own, 1e-4, 1) ** np.exp(rng.normal(0, 0.15)) * tint
            continue
        if part[0] == HAIR:
            bright = np.exp(rng.uniform(np.log(0.03), np.log(0.9)))
            wanted = bright * np.clip(rng.normal([1.1, 0.9, 0.66], [0.1, 0.1, 0.2]), 0.3, 1.4)
            if rng.random() < 0.06:
                wanted = rng.uniform(0, 0.9, 3)  # dyed
            detail = (own - middle) @ LUMA / max(float(middle @ LUMA), 0.05)
            streaks = noise(rng, 1, int(rng.choice([6, 20, 60])))[where][:, 0] * rng.uniform(0, 0.3)
            gain = np.clip(1 + rng.uniform(0.3, 1.0) * detail + streaks, 0.05, 3.5)[:, None]
            out[where] = gain * wanted + rng.uniform(0, 0.15) * np.clip(detail, 0, 1)[:, None]
            continue
        wanted = rng.uniform(0.02, 0.95, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.01, 0.98))
        gain = (own @ LUMA)[:, None] / max(float(middle @ LUMA), 0.05)
        out[where] = wanted * np.clip(gain, 0.2, 2.5) ** rng.uniform(0.4, 1.2)
        if part[0] == TORSO and rng.random() < 0.35:
            bars(out, rng, rng.uniform(0.4, 1.0), where)
        if part[0] == TORSO and rng.random() < 0.25:
            out[where] += (0.25 * noise(rng, 3, int(rng.choice([8, 24, 80]))))[where]
    cloth = (label == TORSO) | (label == ARMS)
    if rng.random() < 0.35 and cloth.any():  # another cloth over it, or a pattern as large as itself
        shape = noise(rng, 1, int(rng.integers(1, 8)))[..., 0] > rng.uniform(-0.5, 0.8)
        other = _stuff(rng)
        if rng.random() < 0.5:  # of the colour of skin or hair
            like = np.isin(label, (FACE, SKIN) if rng.random() < 0.5 else (HAIR,))
            other = np.asarray(0.3 * other - 0.1 + np.median(out[like], axis=0) if like.any() else other, np.float32)
        light = np.clip((rgb @ LUMA) / max(float(np.median((rgb @ LUMA)[cloth])), 0.05), 0.3, 2.0)[..., None]
        out = np.asarray(np.where((shape & cloth)[..., None], other * light, out), np.float32)
    return np.clip(out, 0, 1).astype(np.float32)


def _covered(rgb: F32, label: U8, points: F32, rng: Rng) -> F32:
    """Hats, dark glasses, hands and things in front."""
    size, eyes = framing.unit(points), points[[33, 263], :2]
    row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    chin = points[152, :2]
    out = rgb
    if rng.random() < 0.08:  # dark glasses
        for lid in framing.LIDS:
            middle = points[list(lid), :2].mean(0) + [0, 0.04 * size]
            power, wide, high = rng.uniform(2, 4), rng.uniform(0.22, 0.3) * size, rng.uniform(0.15, 0.26) * size
            lens = np.abs((column - middle[0]) / wide) ** power + np.abs((row - middle[1]) / high) ** power < 1
            tint = rng.uniform(0, 0.25, 3) + 0.1 * noise(rng, 1, 2)
            share = rng.uniform(0.8, 1.0)
            out = np.where(lens[..., None], tint * share + out * (1 - share), out)
            label[lens] = THINGS
    if rng.random() < 0.08:  # a hat: everything above a line over the brows
        up = points[10, :2] - chin
        up /= max(float(np.linalg.norm(up)), 1e-6)
        high = (column - eyes[:, 0].mean()) * up[0] + (row - eyes[:, 1].mean()) * up[1]
        aside = np.abs((column - eyes[:, 0].mean()) * up[1] - (row - eyes[:, 1].mean()) * up[0])
        low, tall = rng.uniform(0.35, 0.8) * size, rng.uniform(1.3, 2.0) * size
        hat = (high > low - 0.2 * size * np.cos(aside / size)) & (aside < (0.95 + 0.2 * rng.random()) * size)
        hat &= (high / tall) ** 4 + (aside / (1.1 * size)) ** 4 < 1
        out = np.where(hat[..., None], _stuff(rng), out)
        label[hat] = THINGS
    if rng.random() < 0.15:  # something in front, of any shape
        shape = noise(rng, 1, int(rng.integers(2, 6)))[..., 0] + rng.uniform(-1.2, -0.3)
        spot = rng.uniform(0, SIDE, 2)
        shape -= (np.hypot(column - spot[0], row - spot[1]) / (rng.uniform(0.3, 1.2) * size)) ** 2 - 1
        thing = (shape > 0) & (label > 0)
        out = np.where(thing[..., None], _stuff(rng), out)
        label[thing] = THINGS
    if rng.random() < 0.1 and (label == FACE).sum() > 50:  # a finger or an arm: a bar of skin
        tone = np.median(rgb[label == FACE], axis=0) * rng.uniform(0.8, 1.2)
        angle, spot = rng.uniform(0, np.pi), chin + rng.normal(0, 0.9, 2) * size
        along = (column - spot[0]) * np.cos(angle) + (row - spot[1]) * np.sin(angle)
        across = ((row - spot[1]) * np.cos(angle) - (column - spot[0]) * np.sin(angle)) / size
        broad = rng.uniform(0.08, 0.45)
        bar = (np.abs(across) < broad) & (along > 0) & (row > chin[1] - rng.uniform(0, 1.2) * size) & (label > 0)
        light = np.sqrt(np.clip(1 - (across / broad) ** 2, 0.05, 1)) * rng.uniform(0.8, 1.1)
        out = np.where(bar[..., None], light[..., None] * tone, out)
        label[bar] = HANDS
    return np.clip(out, 0, 1).astype(np.float32)


def _stuff(rng: Rng) -> F32:
    base = rng.uniform(0, 1, 3).astype(np.float32) * rng.uniform(0.1, 1) + 0.15 * noise(rng, 3, 4)
    base = np.array(np.broadcast_to(base, (SIDE, SIDE, 3)), np.float32)
    if rng.random() < 0.3:
        bars(base, rng, 0.6)
    return base
