"""The light that photographs were taken in, and what else they say of a surface that none of them shows.

Harmonics of the normal (Ramamoorthi & Hanrahan 2001) for the light, fitted to sRGB values: a surface that turns is lit
anew by them. What is left over between photographs and those is carried on smoothly over the atlas (push-pull, Gortler
et al. 1996, section 3.4), in linear light.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS
from engine.render import unproject
from kernels.jit import Flags

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
LEFT: Final = (0.25, 2.5)  # limits of what photographs show over what was expected
ENOUGH: Final = 60  # pixels that say what light something is in
# Light inside what lids and lips shade, of that on the skin around: measured on five people in 15 lights, mouths open.
DIM: Final = {"eyes": 0.53, "teeth": 0.50, "tongue": 0.38, "mouth": 0.65}
COARSE: Final = 4  # texels of the atlas a cell of the light on what is not laid out texel by texel
CLOTH: Final = ("torso", "arms")
SKIN: Final = ("face", "neck_ears", "lips")
LIT: Final = ((*SKIN, "brows", "hands"), CLOTH)  # regions that are lit by their normals, as skin is and as cloth is
KINDS: Final = np.zeros(256, np.uint8)  # of a region: 1, 2 as in LIT; 0: its light does not turn with it
for _kind, _names in enumerate(LIT):
    KINDS[[REGIONS.index(_name) for _name in _names]] = _kind + 1
GAMMA: Final = 2.2  # light in sRGB values is linear light to the power of 1 / GAMMA, nearly
FRONT: Final = np.array([[0.0, 0.15, 0.99]], np.float32)  # the normal whose light is on what has none of its own
SHOWN: Final = (1, 99.5)  # percent: the darkest and the brightest that light may be
RIDGE: Final = 0.005  # of the light's harmonics, as a share of the pixels


class Seen(NamedTuple):
    """A photograph beside what the engine draws in its place: region (H,W), hair laid over; same (H,W): the
    photograph shows it too; the mesh's uv (2,H,W) and normal (H,W,3) in the world; view.light is the photograph."""

    region: U8
    same: Flags
    uv: F32
    normal: F32
    view: unproject.View


def _harmonics(normal: F32) -> F32:
    """The nine second-order polynomials of a unit normal (..., 3): (..., 9)."""
    x, y, z = np.moveaxis(normal, -1, 0)
    rows = [np.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]
    return np.stack(rows, axis=-1).astype(np.float32)


class Light(NamedTuple):
    """skin, cloth: light by the normal; means (256,3): linear light over even light of the other regions."""

    skin: _Fit
    cloth: _Fit
    means: F32

    def at(self, region: U8, normal: F32) -> F32:
        """Light over even light, in sRGB values, of regions (...) with unit normals (..., 3) in the world; (..., 3)."""
        out = np.asarray(self.means[region] ** np.float32(1 / GAMMA), np.float32)
        for kind, fit in enumerate((self.skin, self.cloth)):
            rows = KINDS[region] == kind + 1
            out[rows] = fit.at(_harmonics(normal[rows]))
        return out

    def table(self, scale: tuple[float, float]) -> F32:
        """What kernels.guidance multiplies with, (2,3,TERMS): skin and cloth, each times its ``scale``."""
        return np.stack([fit.row() * np.float32(by) for fit, by in zip((self.skin, self.cloth), scale, strict=True)])


class _Fit(NamedTuple):
    """Light by the normal: harmonics (9,3), and what it is at least and at most where it was seen, (3,)."""

    weights: F32
    low: F32
    high: F32

    def at(self, basis: F32) -> F32:
        """Light over even light, (n,3), by harmonics of the normals (n,9); never beyond what was seen."""
        return np.clip(basis @ self.weights, self.low, self.high)

    def row(self) -> F32:
        """The same as a polynomial and its limits, (3,TERMS) of kernels/guidance/shine.py."""
        one, x, y, z, xy, yz, zz, xz, xx = self.weights  # zz: of 3 z z - 1; xx: of x x - y y
        nothing = np.zeros_like(zz)
        return np.stack([one - zz, x, y, z, xx, -xx, nothing + 3 * zz, xy, yz, xz, self.low, self.high], axis=1)


_EVEN: Final = _Fit(np.eye(9, 1, dtype=np.float32).repeat(3, axis=1), np.zeros(3, np.float32), np.ones(3, np.float32))


def light(shots: list[Seen]) -> Light:
    """The light that the photographs were taken in."""
    skin, cloth = _fit(shots, SKIN), _fit(shots, CLOTH)
    skin, cloth = skin or cloth or _EVEN, cloth or skin or _EVEN
    means = np.ones((256, 3), np.float32)
    front = skin.at(_harmonics(FRONT))[0] ** np.float32(GAMMA)
    for index, name in enumerate(REGIONS):
        found = _mean_ratio(shots, name)
        means[index] = front * DIM.get(name, 1.0) if found is None else found
    return Light(skin, cloth, means)


def _fit(shots: list[Seen], regions: tuple[str, ...]) -> _Fit | None:
    """The light on ``regions``, by weighted least squares; None when hardly anything of them is seen."""
    normals, grey, share, power = [], [], [], np.float32(1 / GAMMA)
    for shot in shots:
        rows = np.isin(shot.region, ids(*regions)) & (shot.view.trust > 0.5)
        rows[1::2], rows[:, 1::2] = False, False  # a quarter of the pixels says enough
        normals.append(shot.normal[rows])
        base = shot.view.base[rows]
        grey.append(base.mean(1) ** power)
        share.append((shot.view.light[rows] / np.maximum(base, 0.004)) ** power)
    weight, basis = np.concatenate(grey).astype(np.float64), _harmonics(np.concatenate(normals))
    if len(weight) < ENOUGH:
        return None
    heavy = basis * (weight**2)[:, None]  # dark pixels say little
    gram = basis.T @ heavy
    gram[1:, 1:] += RIDGE * float((weight**2).sum()) * np.eye(8)
    weights = np.linalg.solve(gram, heavy.T @ np.concatenate(share)).astype(np.float32)
    low, high = np.percentile(basis @ weights, SHOWN, axis=0).astype(np.float32)
    return _Fit(weights, np.maximum(low, 0.05), high)


def _mean_ratio(shots: list[Seen], name: str) -> F32 | None:
    """Light over even light of one region, (3,); None when it is hardly seen."""
    shown, own, count = np.zeros(3), np.zeros(3), 0
    for shot in shots:
        rows = (shot.region == REGIONS.index(name)) & shot.same  # to its very border, where hair is brightest
        shown += shot.view.light[rows].sum(0)
        own += shot.view.base[rows].sum(0)
        count += int(rows.sum())
    return (shown / np.maximum(own, 1e-3)).astype(np.float32) if count >= ENOUGH else None


def scattered(shots: list[Seen], lights: Light, shared: Flags) -> F32:
    """What photographs show of ``shared`` texels (N,N), over what they would be in the light: cells
    (N/COARSE, N/COARSE, 4) of values (3) times weight, and weight."""
    side, cells = len(shared), len(shared) // COARSE
    total = np.zeros((4, cells * cells))
    for shot in shots:
        view = shot.view
        texel = np.minimum(shot.uv * side, side - 1).astype(np.int32)
        rows = (view.trust > 0.3) & shared[texel[1], texel[0]] & (shot.region != REGIONS.index("hair"))
        if not rows.any():
            continue
        x, y = texel[0][rows], texel[1][rows]
        guess = view.base[rows] * lights.at(shot.region[rows], shot.normal[rows]) ** np.float32(GAMMA)
        left = np.clip(view.light[rows] / np.maximum(guess, 0.003), *LEFT)
        weight = guess.mean(1) + 1e-4  # dark pixels say little
        place = y // COARSE * cells + x // COARSE
        for c in range(3):
            total[c] += np.bincount(place, weight * left[:, c], cells * cells)
        total[3] += np.bincount(place, weight, cells * cells)
    scale = np.minimum(4.0 / max(float(total[3].max()), 1e-9), 1.0 / np.maximum(total[3], 1e-9))
    return np.ascontiguousarray((total * scale).T.reshape(cells, cells, 4), np.float32)


def carried_on(observed: F32, guess: F32, sure: F32, scattered: F32) -> F32:
    """What ``observed`` is of ``guess`` where it was seen, carried on to where it was not; (N,N,3)."""
    left = np.clip(observed / np.maximum(guess, 0.003), *LEFT)
    finest = np.concatenate([left * sure[..., None], sure[..., None]], axis=2).astype(np.float32)
    levels = [finest]
    while levels[-1].shape[0] > 1:
        half = levels[-1].shape[0] // 2
        levels.append(np.empty((half, half, 4), np.float32))
        unproject.pull(levels[-2], levels[-1])
        if half == len(scattered):
            levels[-1] += (1.0 - levels[-1][..., 3:]) * scattered
    top = levels[-1]
    top[..., :3] += 1.0 - top[..., 3:]  # nothing seen at all: 1
    top[..., 3] = 1.0
    for finer, coarser in zip(levels[-2::-1], levels[:0:-1], strict=True):
        unproject.push(coarser, finer)
    return finest[..., :3]


def ids(*names: str) -> list[int]:
    return [REGIONS.index(name) for name in names]
