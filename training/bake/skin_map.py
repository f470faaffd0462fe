"""What lies where on the skin: masks, zones and distances of every texel, on the template, the same for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.bake import atlas, head, mesh, prior
from training.bake.brush import bump, ease, sample
from training.bake.lashes import lash_roots

Array = NDArray[Any]
EYE: Final = 0.0308  # metres from the middle to an eye's centre, template
# Creases as lines (x, y) in metres, seen from the front; mirrored.
NASOLABIAL: Final = ((0.0150, -0.0400), (0.0195, -0.0460), (0.0240, -0.0540), (0.0290, -0.0640), (0.0315, -0.0730))
MARIONETTE: Final = ((0.0275, -0.0720), (0.0300, -0.0800), (0.0310, -0.0900))
TEAR_TROUGH: Final = ((0.0155, -0.0090), (0.0215, -0.0165), (0.0290, -0.0200), (0.0370, -0.0200))
FROWN: Final = ((0.0070, 0.0080), (0.0062, 0.0160), (0.0072, 0.0260))


@dataclass(frozen=True)
class SkinMap:
    """All texels (n) that skin covers, and values of the m of them that lie on the front: face and throat.

    Masks and zones are in [0, 1], distances in metres.
    """

    covered: Array  # (SIZE, SIZE) bool
    place: Array  # (n, 3) template position
    lips: Array  # (n,)
    lids: Array  # (n,)
    ears: Array  # (n,)
    inside: Array  # (n,) of the mouth
    palm: Array  # (n,) the inner side of hands
    face: Array  # (m,) which of the n are on the front
    front: Array  # (m, 3) their template positions
    zone: dict[str, Array]  # (m,) each


@cache
def skin_map() -> SkinMap:
    """Computed once a process, about three seconds."""
    whole, points = head.whole_skin(), prior.template()[0]
    place = points[whole.vertex]
    normal = mesh.vertex_normals(place.astype(float), whole.faces, mesh.first_of(whole.vertex))
    hand = np.zeros(len(place))
    hand[whole.faces[whole.region == head.REGIONS.index("hands")]] = 1.0
    values = np.c_[place, prior.template()[1][whole.coordinate], hand * normal[:, 1]]
    under, covered = atlas.rasterise(whole.uv, whole.faces, values)
    texel = under[covered]
    place, mpfb = np.ascontiguousarray(texel[:, :3]), texel[:, 3:5]
    lips, lids, ears, inside = (_mask(name, mpfb) for name in ("lips", "eyelids", "ears", "inside-mouth"))
    face = np.flatnonzero((place[:, 2] > -0.050) & (place[:, 1] > -0.24) & (np.abs(place[:, 0]) < 0.085))
    return SkinMap(
        covered, place, lips, lids, ears, ease(inside, 0.25, 0.75), ease(-texel[:, 5], 0.15, 0.6), face,
        place[face],
        {name: zone.astype(np.float32) for name, zone in _zones(place[face], lips[face], lids[face]).items()},
    )  # fmt: skip


def _zones(place: Array, lips: Array, lids: Array) -> dict[str, Array]:
    x, y, z = place.T
    side = np.abs(x)
    front = ease(z, -0.035, -0.005) * (1 - ease(-y, 0.112, 0.125))
    cheek = bump(side, EYE * 1.30, 0.020) * bump(y, -0.036, 0.019) * front
    nose = bump(side, 0.0, 0.014) * bump(y, -0.043, 0.013) * ease(z, 0.018, 0.03)
    lash = _near(lash_roots("2"), place, 0.014)
    above = ease(y + 0.22 * np.clip(side - EYE, 0, None), 0.0025, 0.0055) * front
    return {
        "front": front,
        "cheek": cheek,
        "nose": nose,
        "bridge": bump(side, 0, 0.03) * bump(y, -0.03, 0.02) * front,
        "chin": bump(side, 0.0, 0.016) * bump(y, -0.098, 0.012) * front,
        "forehead": bump(y, 0.052, 0.022) * front * ease(-side, -0.062, -0.040),
        "under_eye": bump(side, EYE * 0.92, 0.016) * bump(y, -0.0155, 0.0062) * front,
        "socket": bump(side, EYE, 0.019) * bump(y, 0.003, 0.0125) * front,
        "rim": bump(side, EYE, 0.017) * bump(y, 0.0, 0.0085) * lids,
        "nostril": bump(side, 0.0105, 0.007) * bump(y, -0.0495, 0.005) * front,
        "wing": bump(side, 0.0185, 0.007) * bump(y, -0.0145, 0.008) * front,
        "mouth": bump(side, 0.0, 0.030) * bump(y, -0.068, 0.016) * front,
        "seam": bump(y, -0.0662, 0.0022) * (side < 0.024),
        "lower_lip": ease(-y, 0.0655, 0.0680) * lips,
        "beard": _beard(side, y, z, lips),
        "moustache": bump(y, -0.0585, 0.0048) * bump(side, 0.0, 0.022) * front,
        "throat": ease(-y, 0.110, 0.125),
        "lash_upper": np.exp(-((lash / 0.0016) ** 2)),
        "lash_lower": np.exp(-((_near(lash_roots("1"), place, 0.006) / 0.0010) ** 2)),
        "lid_crease": _lid_crease(side, lash, above),
        "upper_lid": above * ease(-lash, -0.0075, -0.0045),
        "lid_edge": np.exp(-((_near(prior.template()[0][head.lid_edge()], place, 0.01) / 0.0022) ** 2)),
        "nasolabial": _crease(side, y, NASOLABIAL, front),
        "marionette": _crease(side, y, MARIONETTE, front),
        "tear": _crease(side, y, TEAR_TROUGH, front),
        "frown": _crease(side, y, FROWN, front),
    }


def _mask(name: str, mpfb: Array) -> Array:
    """A painted mask of the prior, looked up at its own texture coordinates."""
    from scipy.ndimage import gaussian_filter

    soft = gaussian_filter(prior.mask(name), 2.2 if name == "lips" else 4.0)
    return sample(soft, mpfb[:, 0] * 2047, (1 - mpfb[:, 1]) * 2047)


def _near(points: Array, place: Array, limit: float) -> Array:
    """(m,) distance to the nearest of ``points``, 1 beyond ``limit``."""
    from scipy.spatial import cKDTree

    return np.minimum(cKDTree(points).query(place, distance_upper_bound=limit)[0], 1.0)


def _crease(side: Array, y: Array, line: tuple[tuple[float, float], ...], front: Array) -> Array:
    """(m,) signed distance in metres to a crease seen from the front, positive outward; it grows toward both ends."""
    best, sign, at = np.ones(len(side)), np.ones(len(side)), np.zeros(len(side))
    for k, ((ax, ay), (bx, by)) in enumerate(zip(line[:-1], line[1:], strict=True)):
        dx, dy = bx - ax, by - ay
        t = np.clip(((side - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        away = np.hypot(side - ax - t * dx, y - ay - t * dy)
        nearer = away < best
        best = np.where(nearer, away, best)
        sign = np.where(nearer, np.sign((side - ax) * -dy + (y - ay) * dx), sign)
        at = np.where(nearer, (k + t) / (len(line) - 1), at)
    inner = ease(at, -0.12, 0.30) * ease(-at, -1.12, -0.70)
    return np.asarray(np.where(front > 0.2, (best + 0.004 * (1 - inner)) * sign, 1.0), np.float32)


def _lid_crease(side: Array, lash: Array, above: Array) -> Array:
    """(m,) distance in metres to the fold of the upper lid, growing where the fold runs out."""
    from_eye = np.abs(side - EYE)
    return np.asarray(
        np.where(above > 0.02, np.abs(lash - 0.0054) + 0.004 * (1 - ease(-from_eye, -0.0165, -0.009)), 1.0)
    )


def _beard(side: Array, y: Array, z: Array, lips: Array) -> Array:
    """Where a beard would grow: chin, jaw, upper lip, sideburns and a little of the neck."""
    jaw = ease(-y, 0.056, 0.078) * ease(y, -0.150, -0.120) * ease(z, -0.085, -0.060)
    cheek_line = ease(-y - 0.35 * side, 0.030, 0.048)
    moustache = bump(y, -0.0585, 0.0048) * bump(side, 0.0, 0.022) * 1.1
    burn = bump(z, -0.058, 0.012) * ease(-y, -0.015, 0.01) * ease(y, -0.09, -0.06) * ease(side, 0.055, 0.062)
    soul = 1 - 0.55 * bump(side, 0.011, 0.006) * bump(y, -0.081, 0.006)
    grown = np.maximum(np.maximum(jaw * cheek_line, moustache), burn) * soul
    return np.asarray(np.clip(grown, 0, 1) * (1 - ease(lips, 0.1, 0.5)))
