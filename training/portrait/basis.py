"""What heads can look like: the prior as a basis that NumPy evaluates in milliseconds, and where landmarks lie on it.

The parametric human itself takes seconds to load and knows 19,158 vertices; a fit asks for a head a hundred times. So
its head is kept here as numbers (training/portrait/make_basis.py): a quadratic in the phenotypes, local changes of
either sign, and the 52 actions. Coordinates are the engine's: metres, origin between the eyes, arms hanging.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from engine.motion.frame import K
from engine.tracking.face import MESH
from training.portrait.places import YAWS, between
from training.studio.faces import CHANGES, STRENGTH

F64 = NDArray[np.float64]
Array = NDArray[Any]
FILE: Final = Path(__file__).parent / "assets" / "basis.safetensors"
# Phenotypes that shape a head; the prior's "caucasian" is what african and asian leave, the rest shape bodies.
PHENOTYPES: Final = ("gender", "age", "muscle", "weight", "height", "proportions", "african", "asian")
MIDDLE: Final = np.array([0.5, 0.78, 0.48, 0.45, 0.5, 0.66, 0.2, 0.25])  # what the quadratic is written around
BEHIND: Final = ("ear-", "neck-", "head-back-")  # changes that landmarks of a face say nothing about
FIXED: Final = {name: one for name, one in CHANGES.items() if name.startswith(BEHIND)}
FREE: Final = {name: one for name, one in CHANGES.items() if name not in FIXED}
LABELS: Final = tuple(
    label for name, one in FREE.items() for label in ((f"l-{name}", f"r-{name}") if one.pair else (name,))
)
# The resting face that is baked into everybody: attentive, a little friendly (the mean of training.studio.people).
REST: Final = {
    "mouthSmileLeft": 0.20, "mouthSmileRight": 0.20, "cheekSquintLeft": 0.10, "cheekSquintRight": 0.10,
    "eyeBlinkLeft": 0.02, "eyeBlinkRight": 0.02, "browInnerUp": 0.07,
}  # fmt: skip
# Of the errors that landmarks share. They were measured on studio people; the detector learned from real ones, whose
# features it should place better.
TOGETHER: Final = 0.6


@dataclass(frozen=True)
class Basis:
    """N vertices of the head's skin, then two eyeball centres: P = N + 2 points. L = len(LABELS).

    vertex (N,) of the prior's template; faces (F, 3) into the N; region (F,) of engine.avatar.REGIONS;
    phenotype (Q, P, 3), up and down (L, P, 3) metres at strength 1 and -1, actions (52, P, 3);
    corner (3, 468, 3) and share (3, 468, 3): under each landmark a place on the skin, for each of YAWS;
    noise (468, 2) and together (M, 468, 2): what the landmark detector errs by, over the distance of the eyes and along
    the line between them; each landmark alone, and as many together, one deviation each.
    """

    vertex: Array
    faces: Array
    region: Array
    phenotype: F64
    up: F64
    down: F64
    actions: F64
    corner: Array
    share: F64
    noise: F64
    together: F64

    def points(self, phenotype: F64, local: F64) -> F64:
        """The resting head (P, 3) of phenotypes (8,) and local changes (L,)."""
        out = np.tensordot(terms(phenotype), self.phenotype, 1)
        out += np.tensordot(np.maximum(local, 0.0), self.up, 1) + np.tensordot(np.maximum(-local, 0.0), self.down, 1)
        return np.asarray(out)

    def slopes(self, phenotype: F64, local: F64) -> tuple[F64, F64]:
        """How points change with each phenotype (8, P, 3) and each local change (L, P, 3)."""
        side = np.where((local >= 0)[:, None, None], self.up, -self.down)
        return np.tensordot(terms_slope(phenotype), self.phenotype, 1), side

    @cached_property
    def doubt(self) -> F64:
        """(936, 936) W that makes the detector's errors alike and independent: W e for errors e (468, 2), flat."""
        some = TOGETHER * self.together.reshape(len(self.together), -1)
        whole = np.diag(np.square(self.noise).ravel()) + some.T @ some
        return np.asarray(np.linalg.inv(np.linalg.cholesky(whole)))

    def under(self, yaw: float) -> tuple[Array, F64]:
        """Points (468, 6) and their shares (468, 6) under the landmarks of a face seen from ``yaw`` radians."""
        return between(self.corner, self.share, yaw)


def terms(phenotype: F64) -> F64:
    """(Q,) constant, linear and quadratic terms of phenotypes (8,)."""
    x = phenotype - MIDDLE
    row, column = np.triu_indices(len(x))
    return np.concatenate([[1.0], x, x[row] * x[column]])


def terms_slope(phenotype: F64) -> F64:
    """(8, Q) derivative of :func:`terms`."""
    x, count = phenotype - MIDDLE, len(phenotype)
    row, column = np.triu_indices(count)
    out = np.zeros((count, 1 + count + len(row)))
    out[:, 1 : 1 + count] = np.eye(count)
    quadratic = 1 + count + np.arange(len(row))
    np.add.at(out, (row, quadratic), x[column])
    np.add.at(out, (column, quadratic), x[row])
    return out


def usual(gender: float) -> tuple[F64, F64]:
    """Mean and deviation (L,) of the free local changes: those of the studio's people, for a gender in [0, 1]."""
    lean = 2.0 * gender - 1.0
    rows = [(one.mean + lean * one.woman, one.deviation) for one in FREE.values() for _ in range(1 + one.pair)]
    mean, deviation = np.array(rows).T
    return mean, STRENGTH * deviation


def fixed(gender: float) -> dict[str, float]:
    """The local changes no landmark tells: everybody has their mean."""
    lean = 2.0 * gender - 1.0
    return {
        label: round(one.mean + lean * one.woman, 4)
        for name, one in FIXED.items()
        for label in ((f"l-{name}", f"r-{name}") if one.pair else (name,))
    }


@cache
def load() -> Basis:
    """The basis that comes with this package. Raises ValueError when it is missing, broken or of another version."""
    advice = "reinstall visavis, or: python -m training.portrait.make_basis"
    try:
        with safe_open(FILE, "numpy") as stored:
            about = stored.metadata() or {}
        tensors = load_file(FILE)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{FILE}: no basis of heads ({error}); {advice}") from error
    if about.get("labels") != ",".join(LABELS) or "corner" not in tensors:
        raise ValueError(f"{FILE}: a basis of other faces than training.studio.faces has; {advice}")
    read = {
        n: tensors[n].astype(np.float64) for n in ("phenotype", "up", "down", "actions", "share", "noise", "together")
    }
    whole: dict[str, Array] = {n: tensors[n].astype(np.int32) for n in ("vertex", "faces", "corner")}
    found = Basis(**whole, region=tensors["region"], **read)
    assert len(found.actions) == K and found.corner.shape == (len(YAWS), MESH, 3)
    return found
