"""Where on the skin each of the 468 landmarks lies: the place whose picture the detector's answers lie nearest to.

Studio people are photographed (training/portrait/sitting.py), the detector looks at them, and for every landmark all
places of the head are tried against all photographs. Outlines slide over the skin as a head turns, so each of
basis.YAWS has places of its own. That lips part and lids close in some of the photographs tells upper from lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.tracking.face import MESH
from training.portrait.basis import YAWS

F64 = NDArray[np.float64]
Array = NDArray[Any]
WIDTH: Final = np.radians(13.0)  # how far from a yaw photographs still count for it
CUT: Final = 0.05  # of the eyes' distance: residuals beyond are outliers
NEAREST: Final = 6  # vertices whose triangles are tried


@dataclass(frozen=True)
class Sight:
    """One photograph of a head: its vertices (N, 2) in pixels (NaN: not in that mesh), the detector's landmarks
    (468, 2) in pixels, pixels between the eyes, and the yaw in radians that the camera sees the head from."""

    seen: F64
    landmarks: F64
    apart: float
    yaw: float


def landmarks(sights: Sequence[Sight], faces: Array) -> tuple[Array, F64, F64]:
    """corner (3, 468, 3), share (3, 468, 3) and noise (468,) of a Basis from photographs; faces (F, 3) of the N."""
    seen = np.stack([s.seen / s.apart for s in sights]).astype(np.float32)
    wanted = np.stack([s.landmarks / s.apart for s in sights]).astype(np.float32)
    yaw = np.array([s.yaw for s in sights])
    known = np.isfinite(seen).all((0, 2))
    usable = faces[known[faces].all(1)]
    seen = np.nan_to_num(seen, nan=1e3)
    corner, share = np.zeros((len(YAWS), MESH, 3), np.int32), np.zeros((len(YAWS), MESH, 3))
    left = np.zeros((len(sights), MESH))
    for place, middle in enumerate(YAWS):
        trust = np.exp(-0.5 * ((yaw - middle) / WIDTH) ** 2)
        rows = np.flatnonzero(trust > 0.05)
        if len(rows) < 8:
            raise ValueError(f"{len(rows)} photographs from about {np.degrees(middle):.0f} degrees, 8 are needed")
        for k in range(MESH):
            found = _place(seen[rows], wanted[rows, k], trust[rows], usable)
            corner[place, k], share[place, k] = found
            at = np.einsum("c,ncd->nd", share[place, k], seen[rows][:, corner[place, k]])
            near = np.abs(yaw[rows] - middle) <= 0.5 * (YAWS[1] - YAWS[0])
            left[rows[near], k] = np.linalg.norm(at - wanted[rows, k], axis=1)[near]
    noise = np.sqrt(np.mean(np.minimum(left, 2 * CUT) ** 2, axis=0) / 2)
    return corner, share, noise


def _place(seen: Array, wanted: Array, trust: F64, faces: Array) -> tuple[Array, F64]:
    """The triangle (3,) and the place on it (3,) that lie nearest to what the detector says in all photographs.

    seen (n, N, 2), wanted (n, 2), both over the distance of the eyes; trust (n,).
    """
    apart = np.square(seen - wanted[:, None]).sum(2)
    cost = trust @ (apart / (apart + CUT**2))  # Geman and McClure: what is far off hardly counts
    best = np.argsort(cost)[:NEAREST]
    doubt = trust / np.square(apart[:, best[0]] / CUT**2 + 1.0)
    found, lowest = (faces[0], np.array([1.0, 0.0, 0.0])), np.inf
    for face in faces[np.isin(faces, best).any(1)]:
        a, b, c = (seen[:, v].astype(np.float64) for v in face)
        columns = np.stack([b - a, c - a], axis=2).reshape(-1, 2)  # (n * 2, 2)
        weight = np.repeat(doubt, 2)[:, None]
        gram = columns.T @ (weight * columns) + 1e-9 * np.eye(2)
        u, v = np.linalg.solve(gram, columns.T @ (weight[:, 0] * (wanted - a).ravel()))
        share = np.clip([1.0 - u - v, u, v], 0.0, None)
        share /= share.sum()
        off = np.square(share[0] * a + share[1] * b + share[2] * c - wanted).sum(1)
        score = float(trust @ (off / (off + CUT**2)))
        if score < lowest:
            found, lowest = (face, share), score
    return found
