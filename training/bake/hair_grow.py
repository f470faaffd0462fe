"""Hair grown strand by strand: combed over the head, pulled down by its weight, gathered in locks, waved, curled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from training.bake.brush import ease
from training.bake.hair_field import Field, lookup

Array = NDArray[Any]
Each = Any  # a number, or an array with one for each strand
STEP: Final = 0.004  # metres of growth a step
CLEAR: Final = 0.0008  # metres every strand stays off the skin
UPRIGHT: Final = 0.07  # metres of hair that can stand by itself
COLLAR: Final = -0.065  # metres below the eyes: what faces up under this is collar or shoulder
SHOULDER: Final = -0.115  # metres below the eyes: under this, hair lies on the body rather than the head
RIDGE: Final = -0.090  # metres behind the eyes: the line over the shoulders


@dataclass
class Growth:
    """What n strands do. Lengths in metres; every array (n,) or (n, 3); numbers are broadcast by ``fill``."""

    root: Array
    normal: Array  # (n, 3) of the scalp
    comb: Array  # (n, 3) where they are combed to
    length: Array
    stand: Each = 0.0  # 0 lying .. 1 upright at the root
    droop: Each = 1.0  # 0 weightless .. 1 falls where the comb lets go
    held: Each = 0.08  # metres along a strand the comb holds it
    lift: Each = 0.006  # metres over the scalp it rises to
    swell: Each = 0.03  # metres of length it takes to rise there
    stiff: Each = 0.80  # share of its direction a strand keeps each step
    end: Each = -9.0  # height where it is cut
    tuck: Each = 0.0  # how much its last third turns in
    veil: Each = 9.0  # how far forward it may hang beside the face
    goal: Array | None = None  # (n, 3) where it is gathered, instead of falling

    def __post_init__(self) -> None:
        for name in ("length", "stand", "droop", "held", "lift", "swell", "stiff", "end", "tuck", "veil"):
            setattr(self, name, np.array(np.broadcast_to(getattr(self, name), len(self.root)), float))


def grow(growth: Growth, field: Field, points: int) -> tuple[Array, Array]:
    """Grows all strands: (curves (n, points, 3) at ``along``, their lengths (n,))."""
    steps = int(np.ceil(float(np.max(growth.length)) / STEP)) + 1
    path = np.empty((len(growth.root), steps + 1, 3))
    reach = np.empty(len(growth.root))
    goal = np.full((len(growth.root), 3), np.nan) if growth.goal is None else growth.goal
    _grow(
        field.grid, _tight(growth.root), _tight(growth.normal), _tight(growth.comb), _tight(goal), growth.length,
        growth.stand, growth.droop, growth.held, growth.lift, growth.swell, growth.stiff, growth.end, growth.tuck,
        growth.veil, path, reach,
    )  # fmt: skip
    return resample(path, reach / STEP, points), reach


def _tight(values: Array) -> Array:
    return np.ascontiguousarray(values, float)


def along(points: int) -> Array:
    """How far (points,) along a strand its points lie: hair bends most where it leaves the scalp."""
    return np.asarray(np.linspace(0, 1, points) ** 1.25)


def resample(path: Array, last: Array, points: int) -> Array:
    """Curves (n, points, 3) over steps 0 .. ``last`` (n,) of paths (n, steps, 3), closer near the root."""
    at = along(points) * last[:, None]
    low = np.minimum(at.astype(int), path.shape[1] - 2)
    part = (at - low)[..., None]
    rows = np.arange(len(path))[:, None]
    return np.asarray(path[rows, low] * (1 - part) + path[rows, low + 1] * part)


@numba.njit(cache=True)
def _grow(
    grid: Array, root: Array, normal: Array, comb: Array, goal: Array, length: Array, stand: Array, droop: Array,
    held: Array, lift: Array, swell: Array, stiff: Array, end: Array, tuck: Array, veil: Array, path: Array,
    reach: Array,
) -> None:  # fmt: skip
    steps = path.shape[1] - 1
    for n in range(len(root)):
        p, d, want, out = root[n].copy(), np.zeros(3), np.zeros(3), normal[n].copy()
        path[n, 0] = p
        reach[n] = length[n]
        falling = 0.0
        gathered = goal[n, 0] == goal[n, 0]
        for i in range(steps):
            s = i * STEP
            if s >= length[n]:
                for k in range(i, steps):
                    path[n, k + 1] = p
                break
            away, gx, gy, gz = lookup(grid, p[0], p[1], p[2])
            if i > 0:
                size = max(np.sqrt(gx * gx + gy * gy + gz * gz), 1e-6)
                out[0], out[1], out[2] = gx / size, gy / size, gz / size
            fall = droop[n] * min(max((s - 0.5 * held[n]) / held[n], 0.0), 1.0)
            up = stand[n] * max(1.0 - 0.75 * s / min(length[n], UPRIGHT), 0.0)
            target = lift[n] * min(s / swell[n], 1.0) ** 0.7
            over = comb[n, 0] * out[0] + comb[n, 1] * out[1] + comb[n, 2] * out[2]
            cling = (1 - up) * (1 - fall) * min(max(1.5 - (away - target) / 0.03, 0.0), 1.0)
            for c in range(3):  # along the head; where the comb points off it, only weight is left
                want[c] = (comb[n, c] - cling * over * out[c]) * (1 - fall)
            want[1] -= max(fall, droop[n] * cling * max(over, 0.0) ** 2)
            if veil[n] < 1.0 and SHOULDER + 0.02 < p[1] < 0.05:  # off the face
                want[2] -= 1.2 * min(max((p[2] - veil[n]) / 0.02, 0.0), 1.0)
            if gathered:
                for c in range(3):
                    want[c] = goal[n, c] - p[c]
                size = max(np.sqrt(want[0] ** 2 + want[1] ** 2 + want[2] ** 2), 1e-6)
                if size < 0.012 or (size < 0.03 and want[0] * d[0] + want[1] * d[1] + want[2] * d[2] < 0):
                    reach[n] = max(s, STEP)
                    for k in range(i, steps):
                        path[n, k + 1] = p
                    break
                for c in range(3):
                    want[c] /= size
            late = s / length[n] - 0.66
            if tuck[n] != 0.0 and late > 0:
                for c in range(3):
                    want[c] -= tuck[n] * late * 3 * out[c] * (0.35 if c == 1 else 1.0)
            inward = want[0] * out[0] + want[1] * out[1] + want[2] * out[2]
            near = away < target + 0.02
            if near and inward < 0:
                for c in range(3):
                    want[c] -= inward * out[c]
            push = min(max((target - away) / 0.014, -0.6 * (1 - fall)), 0.8) if near else 0.0
            for c in range(3):
                want[c] = want[c] * (1 - up) + up * normal[n, c] + push * out[c]
            landed = p[1] < SHOULDER or (p[1] < COLLAR and out[1] > 0.3)
            if landed and away < target + 0.03:  # before or behind the shoulder, not along it
                beyond = min(max(abs(p[0]) - 0.070, 0.0), 0.05) * (1 if p[0] > 0 else -1)
                want[0] = 0.3 * want[0] - 12.0 * beyond
                want[2] += 0.7 if p[2] > RIDGE else -0.7
            size = max(np.sqrt(want[0] ** 2 + want[1] ** 2 + want[2] ** 2), 1e-6)
            if near:  # rising and sinking die out at once, or strands would bob along
                size_out = d[0] * out[0] + d[1] * out[1] + d[2] * out[2]
                for c in range(3):
                    d[c] -= 0.6 * (1 - up) * size_out * out[c]
            keep = 0.0 if i == 0 else stiff[n]
            for c in range(3):
                d[c] = keep * d[c] + (1 - keep) * want[c] / size
            size = max(np.sqrt(d[0] ** 2 + d[1] ** 2 + d[2] ** 2), 1e-6)
            for c in range(3):
                d[c] /= size
                p[c] += STEP * d[c]
            away, gx, gy, gz = lookup(grid, p[0], p[1], p[2])
            least = min(CLEAR, 0.5 * target + 0.0003)
            if away < least:
                size = max(np.sqrt(gx * gx + gy * gy + gz * gz), 1e-6)
                p[0] += (least - away) * gx / size
                p[1] += (least - away) * gy / size
                p[2] += (least - away) * gz / size
            path[n, i + 1] = p
            falling = p[1] - path[n, i, 1]
            if p[1] < end[n] and falling < 0:
                reach[n] = s + STEP
                for k in range(i + 1, steps):
                    path[n, k + 1] = p
                break


def frames(curves: Array) -> tuple[Array, Array, Array]:
    """(tangents, two unit directions across), each (n, points, 3)."""
    tangent = np.gradient(curves, axis=1)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=2, keepdims=True), 1e-9)
    one = np.empty_like(tangent)
    side = np.cross(tangent[:, 0], [0.31, 0.27, 0.91])
    for k in range(curves.shape[1]):  # carried along each strand, so that it never flips
        side = side - (side * tangent[:, k]).sum(1, keepdims=True) * tangent[:, k]
        side = side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
        one[:, k] = side
    return tangent, one, np.cross(tangent, one)


def gather(curves: Array, size: float, strength: Array | float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Pulls strands into locks about ``size`` metres apart: (curves, lock number of each).

    Strands belong together when they leave and travel together, so that no lock spans a parting.
    """
    from scipy.spatial import cKDTree

    count = len(curves)
    feature = np.concatenate([curves[:, 0], 0.6 * curves[:, curves.shape[1] // 2], 0.5 * curves[:, -1]], axis=1)
    spread = float(np.prod(np.sort(np.ptp(curves[:, 0], axis=0))[1:])) * 1.8
    heads = generator.choice(count, min(count, max(12, int(spread / size**2))), replace=False)
    lock = cKDTree(feature[heads]).query(feature)[1]
    s = along(curves.shape[1])[None, :, None]
    pull = np.broadcast_to(np.asarray(strength, float).reshape(-1, 1, 1), (count, 1, 1)) * ease(s, 0.05, 0.9) * s**0.4
    return curves + pull * (curves[heads][lock] - curves), lock


def wave(
    curves: Array, reach: Array, lock: Array, amount: Array | float, length: float, generator: np.random.Generator,
    coil: bool = False, start: float = 0.03, outward: Array | None = None,
) -> Array:  # fmt: skip
    """Waves or coils strands: ``amount`` metres wide, one turn every ``length``, each lock in step.

    With ``outward`` (n, points, 3) hair lies on the head: it swings along it rather than away from it.
    """
    locks = int(lock.max()) + 1
    phase = generator.uniform(0, 2 * np.pi, locks)[lock] + generator.normal(0, 0.45, len(curves))
    pitch = length * generator.uniform(0.85, 1.2, locks)[lock]
    hand = np.where(generator.random(locks) < 0.5, -1.0, 1.0)[lock]
    way = along(curves.shape[1])[None] * reach[:, None]
    angle = (hand[:, None] * 2 * np.pi * way / pitch[:, None] + phase[:, None])[..., None]
    size = np.broadcast_to(np.asarray(amount, float).reshape(-1, 1), (len(curves), 1)) * ease(way, 0.0, start)
    tangent, one, two = frames(curves)
    rise = 1.0
    if outward is not None:
        one = np.cross(tangent, outward)
        one = one / np.maximum(np.linalg.norm(one, axis=2, keepdims=True), 0.3)
        two, rise = outward, 0.5 if coil else 0.2
    swing = np.cos(angle) * one + rise * np.sin(angle if coil else angle + 0.6) * two
    return np.asarray(curves + size[..., None] * swing)


def roughen(curves: Array, reach: Array, amount: float, wild: float, generator: np.random.Generator) -> Array:
    """Every strand strays a little, and a share ``wild`` of them a lot more: no two hairs lie alike."""
    s = along(curves.shape[1])[None, :, None]
    _, one, two = frames(curves)
    size = amount * np.where(generator.random(len(curves)) < wild, 4.0, 1.0)[:, None, None] * reach[:, None, None] / 0.1
    size = np.minimum(size, 0.014)
    a, b = generator.normal(0, 1, (2, len(curves), 1, 1))
    ripple = generator.normal(0, 0.4, (2, len(curves), 1, 1)) * np.sin(2 * np.pi * s * 1.3 + 6 * a)
    return np.asarray(curves + size * (s**1.6 * (a * one + b * two) + s * (ripple[0] * one + ripple[1] * two)))
