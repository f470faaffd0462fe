"""What is seen between the lips: teeth and tongue of the film's own pictures, or drawn ones where it shows none.

A view into a mouth is a picture with a place for every point of the face's frame. Teeth above stay with the head, teeth
below go with the jaw, and what lies between is stretched; so one view serves a whole word, and nothing in it flickers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from engine import avatar as packs
from engine.body.body import Body
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render import material
from kernels.jit import F32, U8
from kernels.rasterize import Camera, Rasterizer
from kernels.shade import Shader
from training.portrait.dubbing.edges import parted
from training.portrait.dubbing.lips import LOWER, UPPER, Lips, Mouth, deltas
from training.portrait.dubbing.track import Track, runs
from training.portrait.dubbing.warp import look_up

F64 = NDArray[np.float64]
Array = NDArray[Any]

OPEN: Final = 0.6  # millimetres between the lips from which on something is seen between them
WIDE: Final = 2.5  # and from which on a picture of the film is worth keeping as a view
ENOUGH: Final = 0.6  # of a word's widest opening that a view must show
VIEWS: Final = 16  # pictures of the film that are kept, at most
TURNED: Final = 0.5  # radians of difference in the head's turn beyond which a view shows the wrong side
DEEP: Final = -6e-3  # metres behind the lips' edge: where teeth are
BITE: Final = (-3.2e-3, -0.5e-3)  # metres above the resting lips: edges of people's upper and lower teeth
MODEL_BITE: Final = (2.3e-3, 7.0e-3)  # and of the drawn ones
TEETH: Final = (0.4, 0.9)  # of the way from the upper lip to the lower: between them a view of the film is stretched
STEP: Final = 0.4e-3  # metres: least height in which a view goes over from the head to the jaw
SKIN: Final = (164, 0, 37, 267, 205, 425, 50, 280)  # landmarks whose surroundings tell how bright a picture is
EYELIDS: Final = ((33, 160, 158, 133, 153, 144), (263, 387, 385, 362, 380, 373))
# The drawn mouth: of which avatar, how far open, its picture's size, pixels a metre, what it is centred on.
MODEL: Final = "ada"
MODEL_JAW: Final = 0.4
MODEL_SIZE: Final = (288, 384)
MODEL_SCALE: Final = 3900.0
MODEL_LIPS: Final = -0.0725  # metres: height of its resting lips
TOOTH: Final = 190.0  # brightness of its teeth in full light
FADES: Final = 0.014  # metres behind the teeth in which its light falls to a third


@dataclass(frozen=True)
class View:
    """A look into an open mouth: picture (h, w, 3) sRGB 0 to 255 without the lips; place (2, 3): metres (x, y, 1) of
    the face's frame to its pixels; lips (2,) metres: heights of the upper and of the lower lip's edge in it;
    light (3,) of the face about it; jaw: metres that the chin is down, of the drawn one, which is in nobody's shade."""

    picture: F32
    place: F64
    lips: F64
    light: F64
    jaw: float | None = None


@dataclass(frozen=True)
class Word:
    """A run of pictures with the mouth open, [first, last), and which picture's view it is seen in: -1 the drawn."""

    first: int
    last: int
    view: int


@dataclass(frozen=True)
class Piece:
    """A part of a picture: picture (h, w, 3) from ``corner`` (x, y), with all landmarks."""

    picture: U8
    corner: Array

    @staticmethod
    def of(picture: U8, points: F64) -> Piece:
        """That with the landmarks (468, 2) in it, pixels."""
        height, width = picture.shape[:2]
        low = np.clip(np.floor(points.min(0)).astype(int) - 2, 0, [width - 2, height - 2])
        high = np.clip(np.ceil(points.max(0)).astype(int) + 3, low + 2, [width, height])
        return Piece(picture[low[1] : high[1], low[0] : high[0]].copy(), low)


class Inside:
    """The views that the words of a track ask for. ``keep`` their pictures first, then ``paint``."""

    def __init__(self, track: Track, lips: Lips, spoken: list[Word]) -> None:
        self._track = track
        self._of = np.full(len(track), -1)
        for word in spoken:
            self._of[word.first : word.last] = word.view
        self._wanted = {word.view for word in spoken}
        self._views: dict[int, View] = {}
        rest = lips.resting[list(UPPER)]
        self._height, self._depth = float(rest[3:8, 1].mean()), float(rest[3:8, 2].mean()) + DEEP
        self._middle, self._half = float(rest[[0, -1], 0].mean()), 0.5 * float(rest[-1, 0] - rest[0, 0])
        self._white: list[F64] = []
        scale = float(np.median(track.poses.scale[track.seen]))
        self._drawn = drawn(self._height, self._middle, self._half, scale)

    def keep(self, at: int, piece: Piece, eyes: bool) -> None:
        """Takes what picture ``at`` shows between its lips, if a word wants it; with ``eyes``, also how white they are,
        which is how white drawn teeth will be."""
        points = self._track.pixels[at] - piece.corner
        if eyes and (white := eye_white(piece.picture, points)) is not None:
            self._white.append(np.maximum(white, _light(piece.picture, points).mean()))
        if at in self._wanted:
            axes, shift = self._place(at)
            view = _seen(piece.picture, points, axes, shift - piece.corner, float(self._track.poses.scale[at]))
            if view is not None:
                self._views[at] = view

    def paint(self, at: int, picture: U8, mouth: Mouth, corner: tuple[int, int], size: tuple[int, int]) -> F32:
        """(h, w, 3) of a rectangle at ``corner`` (x, y) of picture ``at``, as it would be without lips."""
        view = self._views.get(int(self._of[at]))
        if view is None:
            view = self._drawn
            light = np.clip(self._whiteness() / TOOTH, 0.3, 1.15)
        else:
            light = np.clip(_light(picture, mouth.before) / view.light, 0.7, 1.4)
        axes, shift = self._place(at)
        row, column = np.mgrid[: size[0], : size[1]]
        pixel = np.stack([column + corner[0] + 0.5, row + corner[1] + 0.5], -1)
        x, y = np.moveaxis((pixel - shift) @ np.linalg.inv(axes).T, -1, 0)
        spot = np.stack([x, self._height_in(view, y, at, mouth), np.ones_like(x)], -1) @ view.place.T - 0.5
        out = look_up(view.picture, spot.astype(np.float32), np.ones(size, np.bool_)) * light.astype(np.float32)
        if view.jaw is not None:
            out *= self._shade(x, y, at, mouth)
        return np.asarray(np.clip(out, 0, 255), np.float32)

    def _height_in(self, view: View, y: F64, at: int, mouth: Mouth) -> F64:
        """Heights in a view for heights ``y`` in picture ``at``: in the drawn one teeth above stay with the head, teeth
        below with the jaw; in the film's own they stay with the lips, which are surer than any measure of a jaw."""
        if view.jaw is not None:
            top, bottom = self._height + BITE[0], self._height + BITE[1] + float(mouth.jaw[1])
            up, low = MODEL_BITE[0] - BITE[0], MODEL_BITE[1] - BITE[1] + view.jaw - float(mouth.jaw[1])
        else:
            own = edges(mouth.after, *self._place(at))
            (up, low), gap = view.lips - own, own[0] - own[1]
            top, bottom = own[0] - TEETH[0] * gap, own[0] - TEETH[1] * gap
        return np.asarray(y + up + np.clip((top - y) / max(top - bottom, STEP), 0.0, 1.0) * (low - up))

    def _place(self, at: int) -> tuple[F64, F64]:
        return self._track.poses.plane(at, self._depth)

    def _whiteness(self) -> F64:
        white = np.median(self._white, axis=0) if self._white else np.full(3, 0.85 * TOOTH)
        return np.asarray(0.5 * white + 0.5 * white.mean())  # eyes are redder than teeth

    def _shade(self, x: F64, y: F64, at: int, mouth: Mouth) -> F32:
        """(h, w, 1) what the lips leave of the light: less right under the upper one, and toward the corners."""
        axes, shift = self._place(at)
        edge = (mouth.after[list(UPPER)] - shift) @ np.linalg.inv(axes).T
        under = np.interp(x, edge[:, 0], edge[:, 1]) - y
        below = np.clip(under / 4e-3, 0.0, 1.0)
        aside = np.clip(np.abs(x - self._middle) / max(self._half, 1e-3), 0.0, 1.2)
        return np.asarray(((0.8 + 0.2 * below) * (1.0 - 0.5 * aside**3))[..., None], np.float32)


def words(track: Track, lips: Lips) -> list[Word]:
    """The runs of open mouth, and for each the picture whose open mouth is most like its widest."""
    gaps = np.array([lips.gap(at) if track.seen[at] else 0.0 for at in range(len(track))])
    shown = np.array([lips.shown(at) if track.seen[at] else (0.0, 0.0) for at in range(len(track))])
    yaw = np.arctan2(track.poses.turn[:, 2, 0], track.poses.turn[:, 2, 2])
    known = _chosen(shown, yaw)
    found = []
    for first, last in runs(gaps > OPEN):
        peak = first + int(np.argmax(gaps[first:last]))
        width = lips.width(peak)
        best, least = -1, np.inf
        for one in known:
            if shown[one, 0] < ENOUGH * gaps[peak] or abs(yaw[one] - yaw[peak]) > TURNED:
                continue
            more = shown[one, 0] - gaps[peak]
            cost = max(more, -3 * more) + 0.3 * abs(shown[one, 1] - width) + 20.0 * abs(yaw[one] - yaw[peak])
            if cost < least:
                best, least = int(one), cost
        found.append(Word(first, last, best))
    return found


def _chosen(shown: F64, yaw: F64) -> Array:
    """At most VIEWS pictures with an open mouth, as different as can be: each the farthest from those before."""
    open_ = np.flatnonzero(shown[:, 0] > WIDE)
    if len(open_) <= VIEWS:
        return open_
    place = np.column_stack([shown[open_], 20.0 * yaw[open_]])
    picked = [int(np.argmax(shown[open_, 0]))]
    apart = np.full(len(open_), np.inf)
    while len(picked) < VIEWS:
        apart = np.minimum(apart, np.linalg.norm(place - place[picked[-1]], axis=1))
        picked.append(int(np.argmax(apart)))
    return open_[picked]


def _seen(picture: U8, points: F64, axes: F64, shift: F64, scale: float) -> View | None:
    """The view that a picture with an open mouth gives, without its lips; None when it shows nothing."""
    mouth = parted(picture, points, scale)
    if mouth is None:
        return None
    place = np.column_stack([axes, shift - mouth.corner])
    return View(mouth.mouth(), place, edges(points, axes, shift), _light(picture, points))


def _light(picture: U8, points: F64) -> F64:
    """(3,) mean colour of the skin about the mouth, for comparison with that of another picture of the same person."""
    reach = max(int(0.03 * np.linalg.norm(points[33] - points[263])), 1)
    height, width = picture.shape[:2]
    total = []
    for x, y in points[list(SKIN)]:
        column, row = int(np.clip(x, reach, width - reach - 1)), int(np.clip(y, reach, height - reach - 1))
        total.append(picture[row - reach : row + reach + 1, column - reach : column + reach + 1].mean((0, 1)))
    return np.maximum(np.median(total, axis=0), 4.0)


def eye_white(picture: U8, points: F64) -> F64 | None:
    """(3,) colour of the brightest fifth between the lids; None when the eyes are shut or out of the picture."""
    found = []
    for lids in EYELIDS:
        edge = points[list(lids)]
        low, high = np.floor(edge.min(0)).astype(int), np.ceil(edge.max(0)).astype(int) + 1
        tall, wide = edge[[4, 5], 1].mean() - edge[[1, 2], 1].mean(), np.linalg.norm(edge[3] - edge[0])
        if tall < 0.18 * wide or low.min() < 0 or high[0] > picture.shape[1] or high[1] > picture.shape[0]:
            continue
        inner = picture[low[1] : high[1], low[0] : high[0]].reshape(-1, 3).astype(np.float64)
        bright = inner.sum(1)
        found.append(inner[bright >= np.percentile(bright, 88)].mean(0))
    return np.mean(found, axis=0) if found else None


def drawn(height: float, middle: float, half: float, sight: float) -> View:
    """The drawn mouth, for a person whose resting lips are at ``height``, about ``middle``, ``half`` as wide (metres in
    the face's frame), seen at about ``sight`` pixels a metre."""
    picture, jaw, own_half = _model()
    blur = 0.45 * float(np.sqrt(max((MODEL_SCALE / sight) ** 2 - 1.0, 0.0)))
    picture = np.stack([gaussian_filter(picture[..., k], blur) for k in range(3)], -1)
    wider = float(np.clip(half / own_half, 0.8, 1.25))
    scale = MODEL_SCALE / wider
    centre = np.array([0.5 * MODEL_SIZE[1], 0.5 * MODEL_SIZE[0]])
    place = np.array([[scale, 0.0, centre[0] - scale * middle], [0.0, -scale, centre[1] + scale * height]])
    return View(picture, place, np.zeros(2), np.full(3, 1.0), jaw * wider)


@cache
def _model() -> tuple[F32, float, float]:
    """Teeth, gums and tongue of an avatar of ours with its jaw down, seen from the front without lips; how far its chin
    is down; half its mouth's width."""
    avatar = packs.load(packs.find(MODEL, (packs.SHIPPED,)))
    mesh, look = material.build(avatar)
    kept = np.isin(mesh.region, [packs.REGIONS.index(name) for name in ("mouth", "teeth", "tongue")])
    part = mesh._replace(
        faces=np.ascontiguousarray(mesh.faces[kept]), region=np.ascontiguousarray(mesh.region[kept]),
        layer=np.ascontiguousarray(mesh.layer[kept]),
    )  # fmt: skip
    raster = Rasterizer(part, MODEL_SIZE)
    shader = Shader(raster, look._replace(strand=look.strand[kept]), np.zeros((*MODEL_SIZE, 3), np.uint8))
    motion = Motion.rest()
    motion.face[ACTION_INDEX["jawOpen"]] = MODEL_JAW
    pose = Body(avatar).pose(motion)
    turn = np.diag([1.0, -1.0, -1.0]).astype(np.float32)
    target = np.array([0.0, MODEL_LIPS, 0.03], np.float32)
    eye = target + np.array([0.0, 0.0, 1.0], np.float32)
    lens = Camera(turn, -turn @ eye, MODEL_SCALE, (0.5 * MODEL_SIZE[1], 0.5 * MODEL_SIZE[0]))
    g = raster.draw(pose.vertices, pose.normals, lens, None, np.empty_like(pose.vertices))
    rgb, alpha = np.zeros((*MODEL_SIZE, 3), np.uint8), np.zeros(MODEL_SIZE, np.uint8)
    shader.draw(pose.vertices, lens, target, 1.0, rgb, alpha)
    depth = np.where(g.face >= 0, g.depth, 1.2)
    behind = np.maximum(depth - np.percentile(depth[g.face >= 0], 5) - 0.012, 0.0)
    picture = rgb * np.exp(-behind / FADES)[..., None]
    chin = MODEL_JAW * float(deltas()[ACTION_INDEX["jawOpen"], [152, 175, 199, 200], 1].mean())
    return np.ascontiguousarray(picture, np.float32), chin, 0.0245


def edges(points: F64, axes: F64, shift: F64) -> F64:
    """(2,) metres in the face's frame: heights of the inner edges of landmarks' upper and lower lip."""
    middle = np.stack([points[list(UPPER[4:7])].mean(0), points[list(LOWER[4:7])].mean(0)])
    return np.asarray(((middle - shift) @ np.linalg.inv(axes).T)[:, 1])
