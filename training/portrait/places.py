"""Where on the skin each of the 468 landmarks lies: the place whose picture the detector's answers lie nearest to.

Studio people are photographed (training/portrait/sitting.py), the detector looks at them, and for every landmark all
places of the head are tried against all photographs. Outlines slide over the skin as a head turns, so each of
YAWS has places of its own. That lips part and lids close in some of the photographs tells upper from lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.tracking.face import EYES, MESH

F64 = NDArray[np.float64]
Array = NDArray[Any]
YAWS: Final = np.radians([-30.0, 0.0, 30.0])  # of the camera: where landmarks are looked up
WIDTH: Final = np.radians(13.0)  # how far from a yaw photographs still count for it
CUT: Final = 0.05  # of the eyes' distance: residuals beyond are outliers
TOGETHER: Final = 48  # ways in which landmarks err together
LEAST: Final = 0.003  # of the eyes' distance that a landmark errs alone, at least
WIDEST: Final = np.radians(48.0)  # yaws beyond say nothing about errors
NEAREST: Final = 6  # vertices whose triangles are tried


@dataclass(frozen=True)
class Sight:
    """One photograph of a head: its vertices (N, 2) in pixels (NaN: not in that mesh), the detector's landmarks
    (468, 2) in pixels, the yaw in radians that the camera sees the head from, and how ``common`` such a face is."""

    seen: F64
    landmarks: F64
    yaw: float
    common: float = 1.0

    @property
    def apart(self) -> float:
        """Pixels between the outer corners of the eyes."""
        return float(np.linalg.norm(self.landmarks[EYES[1]] - self.landmarks[EYES[0]]))


def landmarks(sights: Sequence[Sight], faces: Array) -> tuple[Array, F64]:
    """corner (3, 468, 3) and share (3, 468, 3) of a Basis from photographs; faces (F, 3) of the N."""
    seen = np.stack([s.seen / s.apart for s in sights]).astype(np.float32)
    wanted = np.stack([s.landmarks / s.apart for s in sights]).astype(np.float32)
    yaw = np.array([s.yaw for s in sights])
    known = np.asarray(np.isfinite(seen).all((0, 2)))
    usable = faces[known[faces].all(1)]
    seen = np.nan_to_num(seen, nan=1e3)
    corner, share = np.zeros((len(YAWS), MESH, 3), np.int32), np.zeros((len(YAWS), MESH, 3))
    for place, middle in enumerate(YAWS):
        trust = np.exp(-0.5 * ((yaw - middle) / WIDTH) ** 2)
        rows = np.flatnonzero(trust > 0.05)
        if len(rows) < 8:
            raise ValueError(f"{len(rows)} photographs from about {np.degrees(middle):.0f} degrees, 8 are needed")
        for k in range(MESH):
            found = _place(seen[rows], wanted[rows, k], trust[rows], usable)
            corner[place, k], share[place, k] = found
    return corner, share


def errors(sights: Sequence[Sight], corner: Array, share: F64) -> tuple[F64, F64]:
    """noise (468, 2) and together (TOGETHER, 468, 2) of a Basis: how the detector errs about the places of landmarks.

    Along the line between the eyes, and over their distance.
    """
    rows, trust = [], []
    for sight in sights:
        if abs(sight.yaw) > WIDEST:
            continue
        points, shares = between(corner, share, sight.yaw)
        eyes = (sight.landmarks[EYES[1]] - sight.landmarks[EYES[0]]) / sight.apart
        upright = np.array([[eyes[0], -eyes[1]], [eyes[1], eyes[0]]]) / sight.apart
        off = (sight.landmarks - np.einsum("kc,kcd->kd", shares, sight.seen[points])) @ upright
        if np.isfinite(off).all():
            rows.append(off.ravel())
            trust.append(sight.common / max(1.0, float(np.sqrt(np.square(off).mean())) / CUT))
    table, weight = np.array(rows), np.array(trust)
    whole = (table * weight[:, None]).T @ table / weight.sum()
    size, direction = (part[..., ::-1] for part in np.linalg.eigh(whole))
    some = direction[:, :TOGETHER] * np.sqrt(np.maximum(size[:TOGETHER], 0.0))
    alone = np.sqrt(np.maximum(np.diag(whole) - np.square(some).sum(1), LEAST**2))
    return alone.reshape(MESH, 2), some.T.reshape(-1, MESH, 2)


def between(corner: Array, share: F64, yaw: float) -> tuple[Array, F64]:
    """Points (468, 6) and their shares (468, 6) under the landmarks of a face seen from ``yaw`` radians."""
    at = float(np.clip(np.interp(yaw, YAWS, np.arange(len(YAWS))), 0, len(YAWS) - 1 - 1e-9))
    low = int(at)
    part = at - low
    return (
        np.concatenate([corner[low], corner[low + 1]], axis=1),
        np.concatenate([(1 - part) * share[low], part * share[low + 1]], axis=1),
    )


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
