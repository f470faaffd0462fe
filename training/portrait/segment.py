"""Which pixels of a photograph are hair, skin, clothes, eyes, lips: regions of engine.avatar.REGIONS.

A network (training/portrait/segmenter.py) looks at a square around the face and, when the person reaches beyond it, at
a wider one. A guided filter (He, Sun and Tang 2013) then moves its borders to those of the photograph's own colours,
eyes, lips and brows are drawn from the landmarks, and specks go to what surrounds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.avatar import REGIONS
from engine.backends import ort
from engine.tracking.face import Crop, cut
from training.portrait import framing
from training.portrait.bake import Segments
from training.portrait.face import Found, mirror
from training.portrait.framing import CLASSES, SIDE

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Array = NDArray[Any]
Mask = NDArray[np.bool_]

ASSET: Final = Path(__file__).parent / "assets" / "segments.onnx"
NEAR: Final = 6.0  # units of the face (framing.unit) across the square that is always looked at
WIDEST: Final = 16.0  # and at most across the wider one
WORK: Final = 768  # longer side of the picture at which borders are moved
REACH: Final = 0.09  # units: how far a border may be from where the network saw it
SMOOTH: Final = 4e-4  # variance of colour below which the photograph has no border
PERSON: Final = 64  # alpha from which on a pixel is somebody
LEAST: Final = 0.25  # probability of being theirs at and below which nothing of a pixel is, and the same above
SPECK: Final = 0.04  # square units: smaller patches are specks
HIDDEN: Final = 0.5  # share of the oval around an eye that is covered, above which the eye is hidden
DARK: Final = 0.8  # of the skin's brightness: below, a pixel between the brow's landmarks is hair
PALE: Final = 0.55  # of the skin's brightness: above, and less coloured, a pixel in the mouth is a tooth
BEHIND, FACE, HAIR, SKIN, TORSO, ARMS, HANDS, THINGS = range(len(CLASSES))


@dataclass(frozen=True)
class _Part:
    """The part of a photograph that is worked on: its top left, its size, and picture pixels a working pixel."""

    top: int
    left: int
    height: int
    width: int
    step: float

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns worked on."""
        return max(round(self.height / self.step), 1), max(round(self.width / self.step), 1)


def segments(photo: U8, found: Found, alpha: U8) -> Segments:
    """Regions of the person whose face was ``found`` in ``photo`` (H, W, 3) and whose ``alpha`` (H, W) the matte gave;
    what it holds of other people and of things is taken from the alpha that is returned.

    Raises ValueError when sizes differ or the network is missing.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(f"a picture is (H, W, 3) uint8, got {photo.shape} {photo.dtype}")
    if alpha.shape != photo.shape[:2] or alpha.dtype != np.uint8:
        raise ValueError(f"alpha {alpha.shape} {alpha.dtype} must be uint8 of the photograph's {photo.shape[:2]}")
    part = _part(alpha, found)
    rgb = _resized(photo[part.top : part.top + part.height, part.left : part.left + part.width], part.size)
    cover = _resized(alpha[part.top : part.top + part.height, part.left : part.left + part.width, None], part.size)
    points = (found.points[:, :2] - np.array([part.left, part.top])) / part.step
    chance = _seen(photo, found, alpha, part)
    chance = _to_colours(rgb, chance, max(round(REACH * framing.unit(points)), 1))
    label, own = _cleaned(chance, cover[..., 0] * 255 >= PERSON, points)
    where = np.s_[part.top : part.top + part.height, part.left : part.left + part.width]
    left, regions = np.zeros_like(alpha), np.zeros_like(alpha)
    left[where] = np.rint(alpha[where] * _plane(own, (part.height, part.width)))
    regions[where] = _enlarged(_parts(rgb, label, points), (part.height, part.width))
    regions[left < PERSON] = 0
    return Segments(left, regions)


def warnings(found: Found, regions: U8) -> tuple[str, ...]:
    """What :func:`segments` saw that a likeness will suffer from, in words."""
    out = []
    names = {"accessories": "glasses or another thing", "hair": "hair", "hands": "a hand"}
    kinds = [REGIONS.index(name) for name in names]
    sockets = [framing.filled(_socket(found.points, lid), regions.shape) for lid in framing.LIDS]
    counts = [np.bincount(regions[inside], minlength=len(REGIONS))[kinds] for inside in sockets]
    hidden = [count for count, inside in zip(counts, sockets, strict=True) if count.sum() > HIDDEN * inside.sum()]
    if hidden:
        what = list(names.values())[int(np.argmax(np.sum(hidden, 0)))]
        which = "both eyes are" if len(hidden) == 2 else "an eye is"
        out.append(f"{which} covered by {what}: choose a photograph that shows the eyes")
    return tuple(out)


def _part(alpha: U8, found: Found) -> _Part:
    """Around the person, and around the face in any case."""
    height, width = alpha.shape
    rows, columns = np.flatnonzero((alpha >= PERSON).any(1)), np.flatnonzero((alpha >= PERSON).any(0))
    corners = np.concatenate(
        [found.points[:, :2], [[columns[0], rows[0]], [columns[-1], rows[-1]]]] if len(rows) else [found.points[:, :2]]
    )
    low = np.clip(np.floor(corners.min(0)) - 8, 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 9, low + 1, [width, height]).astype(int)
    tall, wide = int(high[1] - low[1]), int(high[0] - low[0])
    return _Part(int(low[1]), int(low[0]), tall, wide, max(1.0, max(tall, wide) / WORK))


def _seen(photo: U8, found: Found, alpha: U8, part: _Part) -> F32:
    """(classes, h, w) probabilities by the network, of the working pixels."""
    height, width = part.size
    row, column = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    at = np.stack([column * part.step + part.left, row * part.step + part.top], -1).reshape(-1, 2)
    near, far = framing.square(found.points, NEAR), None
    inner = framing.into(near, at).reshape(height, width, 2)
    trust = np.clip((SIDE / 2 - 4 - np.abs(inner - SIDE / 2).max(-1)) / 16, 0, 1).astype(np.float32)
    out = _sampled(_looked(photo, found, alpha, near), inner)
    if (trust < 1).any():
        reach = np.abs(framing.into(near, at[(trust < 1).ravel()]) / SIDE - 0.5).max()
        far = framing.square(found.points, float(np.clip(2 * reach * NEAR, 1.5 * NEAR, WIDEST)))
        outer = _sampled(_looked(photo, found, alpha, far), framing.into(far, at).reshape(height, width, 2))
        out = outer + trust * (out - outer)
    return out


def _looked(photo: U8, found: Found, alpha: U8, crop: Crop) -> F32:
    """(classes, SIDE, SIDE) probabilities in a square of the photograph."""
    step = max(1, int(crop.side / (1.5 * SIDE)))  # averaged down first, so that it is not sampled sparsely
    small = Crop(crop.x / step, crop.y / step, crop.side / step, crop.angle)
    stack = np.concatenate([photo, alpha[..., None]], -1)
    if step > 1:
        height, width = (size // step * step for size in photo.shape[:2])
        blocks = stack[:height, :width].reshape(height // step, step, width // step, step, 4)
        stack = np.rint(blocks.mean((1, 3), dtype=np.float32)).astype(np.uint8)
    inside = cut(np.full((*stack.shape[:2], 3), 255, np.uint8), small, SIDE)[..., 0] / np.float32(255)
    view = cut(stack[..., :3], small, SIDE) / np.float32(255)
    view = np.where(inside[..., None] > 0.5, view, np.float32(0.5))
    person = cut(np.repeat(stack[..., 3:], 3, -1), small, SIDE)[..., 0] / np.float32(255)
    points = found.points.astype(np.float64).copy()
    points[:, :2] = framing.into(crop, points)
    other = points[mirror()]
    other[:, 0] = SIDE - other[:, 0]
    seen = (inside > 0.5).astype(np.float32)
    logits = _told(view, seen, person, points)
    logits += _told(view[:, ::-1], seen[:, ::-1], person[:, ::-1], other)[..., ::-1]  # what is unsure evens out
    chance = np.exp(0.5 * (logits - logits.max(0)))
    return np.asarray(chance / chance.sum(0), np.float32)


def _told(view: F32, inside: F32, person: F32, points: Array) -> F32:
    """Logits (classes, SIDE, SIDE) of what a crop shows."""
    program = _program()
    buffers = program.inputs(1)
    buffers["image"][0] = view.transpose(2, 0, 1)
    buffers["planes"][0] = framing.planes(view, inside, person, points)
    return np.array(program.run(1)["logits"], np.float32)[0]


@cache
def _program() -> ort.OrtProgram:
    return ort.load(ASSET, (1,))


def _sampled(planes: F32, at: Array) -> F32:
    """(C, S, S) bilinear at places (h, w, 2) in its pixels."""
    place = [at[..., 1] - 0.5, at[..., 0] - 0.5]
    return np.stack([ndimage.map_coordinates(plane, place, order=1, mode="nearest") for plane in planes])


def _to_colours(rgb: F32, chance: F32, reach: int) -> F32:
    """Probabilities (C, h, w) as linear functions of the colours around them: a guided filter by (h, w, 3)."""
    size = 2 * reach + 1

    def mean(x: F32) -> F32:
        return np.asarray(ndimage.uniform_filter(x, (*(1,) * (x.ndim - 2), size, size), mode="nearest"), np.float32)

    guide = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    colour = mean(guide)
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    xx, xy, xz, yy, yz, zz = (
        mean(guide[a] * guide[b]) - colour[a] * colour[b] + np.float32(SMOOTH * (a == b)) for a, b in pairs
    )
    inverse = np.stack([
        yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy, xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    ])  # fmt: skip
    inverse /= np.maximum(xx * inverse[0] + xy * inverse[1] + xz * inverse[2], 1e-12)
    rows = ((0, 1, 2), (1, 3, 4), (2, 4, 5))
    out = chance.copy()
    for index in np.flatnonzero(chance.max((1, 2)) > 0.3):
        level = mean(chance[index])
        along = mean(guide * chance[index]) - colour * level
        weights = np.stack([sum(inverse[k] * along[c] for c, k in enumerate(row)) for row in rows])
        offset = level - (weights * colour).sum(0)
        out[index] = (mean(weights) * guide).sum(0) + mean(offset)
    return out


def _cleaned(chance: F32, person: Mask, points: Array) -> tuple[U8, F32]:
    """The likeliest class (h, w) within ``person``, and how much of each pixel is theirs. Specks, faces beside the
    landmarks' oval and hair that begins below the chin go to the nearest patch that is neither; what does not hang
    together with the face is somebody else's."""
    size, oval = framing.unit(points), framing.filled(points[list(framing.OVAL)], person.shape)
    row, column = np.mgrid[: person.shape[0], : person.shape[1]]
    down = points[framing.CHIN] - points[framing.FOREHEAD]
    high = (column - points[framing.CHIN, 0]) * down[0] + (row - points[framing.CHIN, 1]) * down[1] < 0
    label = np.where(person, chance.argmax(0), BEHIND).astype(np.uint8)
    sure = ~person
    for kind in range(len(CLASSES)):
        patches, count = ndimage.label((label == kind) & person)
        if count:
            areas = np.bincount(patches.ravel())
            areas[0] = 0
            large = areas >= SPECK * size * size * (0.25 if kind == THINGS else 1)
            if kind == FACE:
                large &= 2 * np.bincount(patches[oval], minlength=count + 1) > areas
            if kind == HAIR:
                large &= np.bincount(patches[high], minlength=count + 1) > 0
            sure |= large[patches] & (patches > 0)
    if (sure & person).any():
        nearest = ndimage.distance_transform_edt(~(sure & person), return_distances=False, return_indices=True)
        label = np.where(person, label[tuple(nearest)], BEHIND).astype(np.uint8)
    patches, _ = ndimage.label(label != BEHIND)
    faces = np.bincount(patches[label == FACE], minlength=2)
    if faces.sum():
        label[patches != faces.argmax()] = BEHIND
    own = np.clip((1 - chance[BEHIND] - LEAST) / (1 - 2 * LEAST), 0, 1)
    near = ndimage.binary_dilation(label != BEHIND, iterations=max(round(0.03 * size), 1))
    return label, np.where(label != BEHIND, np.maximum(own, 0.5), np.where(near, own, 0)).astype(np.float32)


def _parts(rgb: F32, label: U8, points: Array) -> U8:
    """Regions from classes: eyes, lips, mouth, teeth, brows lie where the landmarks say, if nothing covers them."""
    names = np.array([REGIONS.index(name) for name in CLASSES], np.uint8)
    out, face = names[label], label == FACE
    if not face.any():
        return out
    light = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    skin = float(np.median(light[face]))
    for brow in framing.BROWS:
        out[framing.filled(points[list(brow)], label.shape) & face & (light < DARK * skin)] = REGIONS.index("brows")
    lips, mouth = (framing.filled(points[list(ring)], label.shape) for ring in (framing.LIPS, framing.MOUTH))
    out[lips & face] = REGIONS.index("lips")
    span = rgb.max(-1) - rgb.min(-1)
    tooth = (light > PALE * skin) & (span < 0.8 * float(np.median(span[face])) + 0.04)
    out[mouth & face] = np.where(tooth, REGIONS.index("teeth"), REGIONS.index("mouth"))[mouth & face]
    for lid in framing.LIDS:
        socket = framing.filled(_socket(points, lid), label.shape)
        covered = socket & np.isin(label, (HAIR, HANDS, THINGS))
        if covered.sum() <= HIDDEN * socket.sum():  # else something hides the eye; less than that is paint on lids
            out[covered & (label != HAIR)] = REGIONS.index("face")
            out[framing.filled(points[list(lid)], label.shape) & (label > 0)] = REGIONS.index("eyes")
    return out


def _socket(points: Array, lid: tuple[int, ...]) -> Array:
    """(24, 2) an oval around an eye, a lens of dark glasses or less."""
    ends = points[[lid[0], lid[8]], :2]
    across = (ends[1] - ends[0]) / max(float(np.linalg.norm(ends[1] - ends[0])), 1e-6)
    wide, high = 0.55 * float(np.linalg.norm(ends[1] - ends[0])), 0.15 * framing.unit(points)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]
    down = np.array([-across[1], across[0]])
    return np.asarray(ends.mean(0) + wide * np.cos(angle) * across + high * np.sin(angle) * down)


def _resized(x: Array, size: tuple[int, int]) -> F32:
    """(H, W, C) u8 averaged down to ``size``, in [0, 1]."""
    from PIL import Image

    scaled = (
        x if x.shape[:2] == size else np.asarray(Image.fromarray(x.squeeze()).resize(size[::-1], Image.Resampling.BOX))
    )
    return scaled.reshape(*size, -1).astype(np.float32) / np.float32(255)


def _enlarged(label: U8, size: tuple[int, int]) -> U8:
    """(h, w) at a larger ``size``, borders smoothed."""
    if label.shape == size:
        return label
    best, out = np.full(size, -1.0, np.float32), np.zeros(size, np.uint8)
    for kind in np.unique(label):
        share = _plane((label == kind).astype(np.float32), size)
        out[share > best] = kind
        np.maximum(best, share, out=best)
    return out


def _plane(x: F32, size: tuple[int, int]) -> F32:
    """(h, w) bilinear at a larger ``size``."""
    from PIL import Image

    return x if x.shape == size else np.asarray(Image.fromarray(x).resize(size[::-1], Image.Resampling.BILINEAR))
