"""Hair as geometry: an opaque lofted volume, its fading edges, and strand cards above it.

Every surface is a grid whose columns are strands from root to tip, so texture v runs along the hair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import atlas, mesh
from training.bake.atlas import Rect
from training.bake.identities import Identity
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig
from training.bake.scalp import Scalp

Array = NDArray[Any]
SHEET: Final = Rect(atlas.HAIR.x, atlas.HAIR.y, 448, atlas.HAIR.height)  # the volume's strands
INNER: Final = Rect(atlas.HAIR.x + 448, atlas.HAIR.y, 64, atlas.HAIR.height)  # its dark inside
CARDS: Final = Rect(atlas.HAIR.x + 512, atlas.HAIR.y, 256, atlas.HAIR.height)
CARD_KINDS: Final = 5  # the last one is a wisp of a few hairs
CROP_RECEDE: Final = 0.002  # metres a man's hairline lies higher at the temples
Strand = Callable[[Array, Array, float], Array]  # (a (n,), t (n,), lift) -> points (n, 3)


def hair_parts(person: Person, rig: Rig, identity: Identity, seed: int) -> list[Part]:
    """All hair of a person, opaque parts first."""
    generator = np.random.default_rng([seed, 11])
    return STYLES[identity.style](person, rig, generator)


def ease(x: Array | float, low: float, high: float) -> Array:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((np.asarray(x, float) - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _ramp(x: Array | float) -> Array:
    """max(x, 0) with a rounded corner, so that strands bend rather than break."""
    return 0.5 * (np.asarray(x) + np.sqrt(np.asarray(x) ** 2 + 0.05))


class _Loft:
    """A strand function sampled once on a fine grid and smoothed: no corner of the formula survives."""

    def __init__(self, strand: Strand, a: tuple[float, float], t: tuple[float, float], smooth: int) -> None:
        across, along = np.linspace(*a, 97), np.linspace(*t, 73)
        grid_t, grid_a = np.meshgrid(along, across, indexing="ij")
        points = strand(grid_a.ravel(), grid_t.ravel(), 0.0).reshape(73, 97, 3)
        for _ in range(smooth):
            points[1:-1] = 0.5 * points[1:-1] + 0.25 * (points[:-2] + points[2:])
            points[:, 1:-1] = 0.5 * points[:, 1:-1] + 0.25 * (points[:, :-2] + points[:, 2:])
        out = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
        out /= np.maximum(np.linalg.norm(out, axis=2, keepdims=True), 1e-12)
        facing = (out * (points - np.array([0.0, 0.0, -0.082]))).sum()
        self._grid = np.concatenate([points, out * np.sign(facing)], axis=2)
        self._a, self._t = a, t

    def both(self, a: Array, t: Array) -> tuple[Array, Array]:
        """(points, unit normals) at ``a`` and ``t`` (n,)."""
        rows, columns = self._grid.shape[:2]
        y = np.clip((t - self._t[0]) / (self._t[1] - self._t[0]), 0, 1) * (rows - 1.001)
        x = np.clip((a - self._a[0]) / (self._a[1] - self._a[0]), 0, 1) * (columns - 1.001)
        j, i = y.astype(int), x.astype(int)
        v, u = (y - j)[:, None], (x - i)[:, None]
        grid = self._grid
        value = (grid[j, i] * (1 - u) + grid[j, i + 1] * u) * (1 - v) + (
            grid[j + 1, i] * (1 - u) + grid[j + 1, i + 1] * u
        ) * v
        normal = value[:, 3:]
        return value[:, :3], normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)

    def __call__(self, a: Array, t: Array, lift: float) -> Array:
        points, normal = self.both(a, t)
        return points + lift * normal


# --- a chin-length bob with a side parting -------------------------------------------------------------


class _Bob:
    """Strands of one side: ``a`` from the front edge (0) round to the back (1), ``t`` from root to tip."""

    def __init__(self, scalp: Scalp, side: float) -> None:
        self.scalp, self.side = scalp, side
        self.front = self._direction([0.021, 0.0715, 0.018])
        self.crown = self._direction([0.012, 0.100, -0.118])

    def _direction(self, point: list[float]) -> Array:
        offset = np.array(point) * self.scalp.scale - self.scalp.centre
        return offset / np.linalg.norm(offset)

    def __call__(self, a: Array, t: Array, lift: float) -> Array:
        along = ease(a, 0.0, 0.62)[:, None]
        root = (1 - along) * self.front + along * self.crown
        root = root / np.linalg.norm(root, axis=1, keepdims=True)
        azimuth = np.radians(62.0 + 122.0 * np.sign(a) * np.abs(a) ** 0.85)
        s = np.clip(t / 0.50 - _ramp(t / 0.50 - 1.0), 0.0, 1.0)
        root_azimuth = np.arctan2(root[:, 0], root[:, 2])
        root_height = np.arcsin(np.clip(root[:, 1], -1, 1))
        turn = self.side * azimuth - root_azimuth
        turn = np.where(self.side * turn < 0, turn + self.side * 2 * np.pi, turn)
        turn = np.where(np.abs(turn) > 1.25 * np.pi, turn - self.side * 2 * np.pi, turn)
        level = np.radians(-6.0)
        lead = s ** (0.62 + 0.5 * ease(a, 0.25, 0.8))
        bearing = root_azimuth + turn * lead
        height = root_height + (level - root_height) * s**1.35
        # Over the top the path is a straight blend of directions: bearings are meaningless near the pole.
        polar = np.stack([np.sin(bearing) * np.cos(height), np.sin(height), np.cos(bearing) * np.cos(height)], axis=1)
        goal = np.stack([np.sin(self.side * azimuth), np.full(len(a), np.tan(level)), np.cos(self.side * azimuth)], 1)
        straight = (1 - s[:, None]) * root + s[:, None] * goal / np.linalg.norm(goal, axis=1, keepdims=True)
        mix = ease(a, 0.05, 0.35)[:, None]
        direction = (1 - mix) * polar + mix * straight / np.linalg.norm(straight, axis=1, keepdims=True)
        locks = np.sin(2 * np.pi * (5.0 * a + 0.35 * np.sin(4.0 * t + 9 * a))) * ease(t, 0.10, 0.7)
        locks = locks + 0.5 * np.sin(2 * np.pi * (11.0 * a + 0.6 * t)) * ease(t, 0.45, 0.95)
        body = (0.0004 + 0.0140 * ease(a, 0.0, 0.24)) * ease(s, 0.06, 0.50) + 0.0016
        body = body + 0.0022 * (1 - ease(s, 0.10, 0.40)) + 0.0012 * ease(a, 0.0, 0.10)
        points = self.scalp.lift(direction, body + lift + 0.0016 * locks)
        return self._hang(points, a, t, azimuth, lift, locks)

    def _hang(self, points: Array, a: Array, t: Array, azimuth: Array, lift: float, locks: Array) -> Array:
        """Below the ears the strands fall, widen a little, and turn in at the tips."""
        fall = _ramp((t - 0.50) / 0.50) - _ramp(-1.0)
        tip = -0.124 * self.scalp.scale + 0.004 * ease(a, 0.3, 1.0)
        out = points - self.scalp.centre
        reach = np.hypot(out[:, 0], out[:, 2])
        widen = 0.010 * np.sin(np.pi * np.clip(fall, 0, 1) * 0.8) - 0.022 * ease(fall, 0.55, 1.1)
        widen = widen - 0.022 * ease(fall, 0.1, 1.0) * ease(a, 0.55, 1.0)
        grown = (reach + widen * ease(fall, 0.0, 0.2) + 0.0012 * locks * fall) / np.maximum(reach, 1e-6)
        hung = points.copy()
        hung[:, 0] = self.scalp.centre[0] + out[:, 0] * grown
        hung[:, 2] = self.scalp.centre[2] + out[:, 2] * grown
        hung[:, 1] = points[:, 1] + (tip - points[:, 1]) * fall
        return hung


def _bob(person: Person, rig: Rig, generator: np.random.Generator) -> list[Part]:
    scalp = Scalp(person)
    solid, edges, cards = [], [], []
    for side in (1.0, -1.0):
        strand = _Loft(_Bob(scalp, side), (-0.14, 1.08), (0.0, 1.08), smooth=5)
        sheet = _sheet(strand, 41, 22, (0.0, 1.0), (0.0, 1.0), SHEET, rig, flip=side < 0)
        core, edge = _split_edges(sheet, columns=41)
        solid += [_inner(strand, rig, flip=side < 0), core]
        edges.append(edge)
        for _ in range(30):  # locks over the volume and past its lower edge
            cards.append(
                _card(strand, rig, generator, a=generator.random(), width=generator.uniform(0.06, 0.11),
                      start=generator.uniform(0.25, 0.60), stop=generator.uniform(0.96, 1.07),
                      lift=generator.uniform(0.0005, 0.0024), rows=9)
            )  # fmt: skip
        for _ in range(7):  # locks that frame the face
            cards.append(
                _card(strand, rig, generator, a=generator.uniform(-0.045, 0.03), width=generator.uniform(0.03, 0.06),
                      start=generator.uniform(0.05, 0.35), stop=generator.uniform(0.85, 1.05),
                      lift=generator.uniform(0.0005, 0.0020), rows=10)
            )  # fmt: skip
        for _ in range(26):  # baby hair along the forehead, wisps beside the cheek
            start = generator.uniform(0.0, 0.45)
            cards.append(
                _card(strand, rig, generator, a=generator.uniform(-0.085, 0.012), width=generator.uniform(0.03, 0.055),
                      start=start, stop=min(start + generator.uniform(0.2, 0.5), 1.0),
                      lift=generator.uniform(0.0002, 0.0012), rows=7, kind=CARD_KINDS - 1)
            )  # fmt: skip
    return [*solid, *edges, *cards]


# --- a short crop, combed forward and up ----------------------------------------------------------------


class _Crop:
    """Strands radiate from the crown: ``a`` is the angle around it in turns, ``t`` runs to the hairline."""

    def __init__(self, scalp: Scalp) -> None:
        self.scalp = scalp
        crown = np.array([0.006, 0.098, -0.125]) * scalp.scale - scalp.centre
        self.crown = crown / np.linalg.norm(crown)
        self.right = np.cross([0.0, 0.0, 1.0], self.crown)
        self.right /= np.linalg.norm(self.right)
        self.ahead = np.cross(self.crown, self.right) * -1.0
        turns = np.linspace(0, 1, 97)
        self._turns, self._reach = turns, np.array([self._hairline(turn) for turn in turns])

    def _direction(self, a: Array, angle: Array) -> Array:
        turn = 2 * np.pi * a
        out = np.cos(turn)[:, None] * self.ahead + np.sin(turn)[:, None] * self.right
        return np.cos(angle)[:, None] * self.crown + np.sin(angle)[:, None] * out

    def _hairline(self, turn: float) -> float:
        """Angle from the crown at which a ray meets the hairline."""
        angle = np.linspace(0.3, 2.6, 160)
        points = self.scalp.lift(self._direction(np.full(len(angle), turn), angle), 0.0)
        outside = np.flatnonzero(self.scalp.depth(points) < 0)
        return float(angle[outside[0]]) if len(outside) else float(angle[-1])

    def volume(self, direction: Array, t: Array) -> Array:
        """Thickness of the hair: full on top, close at the sides, fading at the line."""
        up = direction[:, 1]
        front = ease(direction[:, 2], 0.1, 0.6) * ease(up, 0.25, 0.6)
        return (0.0030 + 0.0090 * ease(up, 0.12, 0.72) + 0.0060 * front) * ease(t, 0.95, 0.70) + 0.0007

    def __call__(self, a: Array, t: Array, lift: float) -> Array:
        reach = np.interp(a % 1.0, self._turns, self._reach)
        direction = self._direction(a, t * reach * 0.962)
        rough = np.sin(2 * np.pi * 11 * a + 7 * t) * np.sin(9 * np.pi * t + 23 * a)
        rough = rough + 0.8 * np.sin(2 * np.pi * 5 * a + 11 * t)
        return self.scalp.lift(direction, self.volume(direction, t) + lift + 0.0012 * rough * ease(t, 1.0, 0.7))


def _crop(person: Person, rig: Rig, generator: np.random.Generator) -> list[Part]:
    scalp = Scalp(person, recede=CROP_RECEDE)
    strand = _Crop(scalp)
    sheet = _sheet(strand, 57, 18, (0.0, 1.0), (0.0, 1.0), SHEET, rig, flip=False)
    core, edge = _split_edges(sheet, columns=57, sides=False, tip=0.93)
    tufts = [tuft for tuft in (_tuft(strand, rig, generator) for _ in range(640)) if tuft is not None]
    return [core, edge, *tufts]


def _tuft(crop: _Crop, rig: Rig, generator: np.random.Generator) -> Part | None:
    """A short card that stands up from the volume and bends over: back at the front, forward and aside on top."""
    a, t = np.array([generator.random()]), np.array([np.sqrt(generator.random()) * 0.97])
    root = crop(a, t, -0.003)[0]
    out = root - crop.scalp.centre
    out /= np.linalg.norm(out)
    top = float(ease(out[1], 0.24, 0.66))
    if t[0] > 0.50 + 0.47 * top:
        return None  # nothing stands off the close sides, least of all over the ears
    front = float(ease(out[2], 0.05, 0.50)) * top
    comb = crop(a, t + 0.03, 0.0)[0] - crop(a, t - 0.03, 0.0)[0]
    comb /= np.linalg.norm(comb)
    ahead = np.array([-0.60, 0.15, 0.50 - 0.95 * front])
    sweep = ahead * top + comb * (1.1 - 1.0 * top) + generator.normal(0, 0.16, 3)
    sweep -= (sweep @ out) * out * 0.9
    sweep /= np.linalg.norm(sweep)
    length = (0.012 + 0.020 * top + 0.004 * front) * generator.uniform(0.7, 1.2)
    stand = (0.08 + 0.34 * top + 0.16 * front) * generator.uniform(0.5, 1.25)
    s = np.linspace(0, 1, 4)[:, None]
    spine = root + length * (s * sweep * (1 - 0.25 * stand) + out * stand * (s - 0.62 * s**2))
    across = np.cross(out, sweep)
    across /= np.linalg.norm(across)
    width = (0.0042 + 0.0020 * top) * generator.uniform(0.7, 1.3)
    shape = np.sin(np.pi * np.clip(0.25 + 0.60 * s, 0, 1))
    points = np.stack([spine - across * width * shape, spine + across * width * shape], axis=1).reshape(-1, 3)
    normal = np.stack([out - 0.15 * across + 0.2 * sweep * s, out + 0.15 * across + 0.2 * sweep * s], axis=1)
    return _ribbon("tuft", points, normal.reshape(-1, 3), generator, rig, short=True)


# --- grids and cards -------------------------------------------------------------------------------------


def _sheet(
    strand: Strand, columns: int, rows: int, a: tuple[float, float], t: tuple[float, float], rect: Rect, rig: Rig,
    flip: bool, lift: float = 0.0,
) -> Part:  # fmt: skip
    """A lofted grid of strands with smooth normals of its own."""
    across, along = np.linspace(*a, columns), np.linspace(*t, rows)
    grid_t, grid_a = np.meshgrid(along, across, indexing="ij")
    points = strand(grid_a.ravel(), grid_t.ravel(), lift)
    faces = mesh.grid_faces(rows, columns)
    if flip:
        faces = faces[:, ::-1]
    unit = np.stack([(grid_a.ravel() - a[0]) / (a[1] - a[0]), grid_t.ravel()], axis=1)
    return Part(
        name="hair", rest=points, faces=faces, uv=rect.place(unit), region=np.zeros(0, np.uint8),
        weight=_weights(rig, points), paint=np.c_[unit, np.zeros(len(unit))],
        normal=mesh.vertex_normals(points, faces),
    ).with_region("hair")  # fmt: skip


def _inner(strand: Strand, rig: Rig, flip: bool) -> Part:
    """The dark inside of hanging hair, seen past the cheek and from below."""
    return _sheet(strand, 22, 12, (0.02, 1.0), (0.34, 0.975), INNER, rig, flip=not flip, lift=-0.0060)


def _split_edges(sheet: Part, columns: int, sides: bool = True, tip: float = 0.86) -> tuple[Part, Part]:
    """(opaque middle, alpha-blended front edge and tips) of a sheet."""
    import dataclasses

    place = sheet.paint[sheet.faces].max(1)
    low = sheet.paint[sheet.faces].min(1)
    fading = place[:, 1] > tip
    if sides:
        fading |= low[:, 0] < 1.5 / columns
    out = []
    lap = low[:, 0] < 2.5 / columns if sides else np.zeros(len(low), bool)
    lap |= place[:, 1] > tip - 0.05  # the blended part reaches under the opaque one: no seam between them
    for rows, layer in ((~fading, 0), (fading | lap, 1)):
        keep, faces = mesh.compact(sheet.faces[rows], len(sheet.rest))
        out.append(
            dataclasses.replace(
                sheet, rest=sheet.rest[keep] + 0.0003 * layer * sheet.normal[keep], faces=faces, uv=sheet.uv[keep], weight=sheet.weight[keep],
                paint=sheet.paint[keep], normal=sheet.normal[keep], region=sheet.region[rows], layer=layer,
            )
        )  # fmt: skip
    return out[0], out[1]


def _card(
    strand: _Loft, rig: Rig, generator: np.random.Generator, *, a: float, width: float, start: float, stop: float,
    lift: float, rows: int, kind: int | None = None,
) -> Part:  # fmt: skip
    """A long narrow ribbon that follows the strands just above the volume, with the volume's normals."""
    t = np.linspace(start, stop, rows)
    drift = generator.normal(0, 0.012) * np.linspace(0, 1, rows) ** 2
    taper = 1.0 - 0.45 * np.linspace(0, 1, rows) ** 2
    left, right = (strand(a + drift + sign * width * taper / 2, t, 0.0) for sign in (-1, 1))
    out = strand.both(a + drift, t)[1]
    rise = lift * ease(np.linspace(0, 1, rows), 0.0, 0.25) - 0.0004
    points = np.stack([left, right], axis=1) + (rise[:, None] * out)[:, None]
    points[:, 1] += generator.normal(0, 0.0006) * out  # one side a little prouder, as locks overlap
    side = right - left
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    normal = np.stack([out - 0.16 * side, out + 0.16 * side], axis=1)
    return _ribbon("card", points.reshape(-1, 3), normal.reshape(-1, 3), generator, rig, short=False, kind=kind)


def _ribbon(
    name: str, points: Array, normal: Array, generator: np.random.Generator, rig: Rig, short: bool,
    kind: int | None = None,
) -> Part:
    rows = len(points) // 2
    kind = int(generator.integers(CARD_KINDS - 1)) if kind is None else kind
    mirror = generator.random() < 0.5
    u = np.tile([0.0, 1.0] if not mirror else [1.0, 0.0], rows)
    u = (kind + 0.04 + 0.92 * u) / CARD_KINDS
    v = np.repeat(np.linspace(0.55 if short else 0.0, 1.0, rows), 2)
    faces = mesh.grid_faces(rows, 2)
    return Part(
        name=name, rest=points, faces=faces, uv=CARDS.place(np.stack([u, v], axis=1)),
        region=np.zeros(0, np.uint8), weight=_weights(rig, points), paint=np.c_[u, v, np.zeros(len(u))], layer=1,
        normal=normal / np.linalg.norm(normal, axis=1, keepdims=True),
    ).with_region("hair")  # fmt: skip


def _weights(rig: Rig, points: Array) -> Array:
    """Hair goes with the head; low tips lag a little with the neck."""
    weight = rig.rigid(len(points), "head")
    low = 0.30 * ease(-points[:, 1], 0.05, 0.13)
    weight[:, rig.index["head"]] -= low
    weight[:, rig.index["neck"]] += low
    return weight


STYLES: Final[dict[str, Callable[[Person, Rig, np.random.Generator], list[Part]]]] = {"bob": _bob, "crop": _crop}
