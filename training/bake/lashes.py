"""Lashes: the prior's strips, which its lid actions already move, laid out from root to tip."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.bake import atlas, prior
from training.bake.atlas import Rect
from training.bake.head import from_template
from training.bake.mesh import Part
from training.bake.prior import Person
from training.bake.rig import Rig

Array = NDArray[Any]
UPPER = Rect(atlas.LASH.x, atlas.LASH.y, atlas.LASH.width, 72)
LOWER = Rect(atlas.LASH.x, atlas.LASH.y + 72, atlas.LASH.width, 48)


def lash_parts(person: Person, rig: Rig) -> list[Part]:
    """Four blended strips; u runs from the inner to the outer corner, v from the lid to the tips."""
    _, uv, groups = prior.template()
    parts = []
    for side in "lr":
        for kind, rect in (("1", LOWER), ("2", UPPER)):
            group = groups[f"helper-{side}-eyelashes-{kind}"]
            unit = strip_layout(side, kind)[1]
            place = np.zeros((len(uv), 2), np.float32)
            place[group.uv_faces] = rect.place(unit[group.faces].reshape(-1, 2)).reshape(*group.faces.shape, 2)
            part = from_template(person, rig, f"lash_{side}{kind}", group.faces, group.uv_faces, place, None)
            part.layer = 1
            parts.append(part.with_region("lashes"))
    return parts


@cache
def strip_layout(side: str, kind: str) -> tuple[Array, Array]:
    """(template faces (f, 3) of a strip, unit coordinates (V, 2) of the template's vertices on it)."""
    from scipy.spatial import cKDTree

    points, _, groups = prior.template()
    lid = cKDTree(points[: prior.BODY])
    faces = groups[f"helper-{side}-eyelashes-{kind}"].faces
    vertices = np.unique(faces)
    away = lid.query(points[vertices])[0]
    across = np.abs(points[vertices, 0])
    unit = np.zeros((len(points), 2))
    unit[vertices, 0] = (across - across.min()) / np.ptp(across)
    low, high = np.percentile(away, [25, 96])
    unit[vertices, 1] = np.clip((away - low) / (high - low), 0.0, 1.0)
    return faces, unit


def lash_roots(kind: str) -> Array:
    """Template points (n, 3), both eyes, densely along the line where the upper ("2") or lower ("1") lashes grow."""
    from scipy.spatial import cKDTree

    points, _, groups = prior.template()
    lid = cKDTree(points[: prior.BODY])
    lines = []
    for side in "lr":
        vertices = np.unique(groups[f"helper-{side}-eyelashes-{kind}"].faces)
        away = lid.query(points[vertices])[0]
        root = points[vertices[away <= np.percentile(away, 45)]].astype(float)
        root = root[np.argsort(root[:, 0])]
        steps = np.linspace(0, len(root) - 1, 400)
        lines.append(np.stack([np.interp(steps, np.arange(len(root)), column) for column in root.T], axis=1))
    return np.concatenate(lines)
