"""Fitting a head to the landmarks of one photograph: who it is, how the head is held, what the face does, the camera.

Maximum a posteriori by damped Gauss and Newton with analytic derivatives: landmarks err as the detector was measured to
err on studio people, shapes vary as people do, faces are mostly at rest, and photographs are taken from about a metre.
Sizes in metres follow from the prior: one photograph does not tell them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import ACTION_INDEX, ACTIONS
from engine.tracking.face import EYES, LEFT_IRIS, MESH, RIGHT_IRIS
from training.portrait.basis import LABELS, PHENOTYPES, Basis, load, terms, terms_slope, usual
from training.portrait.face import Found

F64 = NDArray[np.float64]
Array = NDArray[Any]
Report = Callable[[int, int], None]

ROUNDS: Final = 30
STARTS: Final = (0.05, 0.96)  # of the gender: a man's face and a woman's are tried, and the likelier one stays
SPREAD: Final = 1.5  # people's local changes over those of the studio's people, who are nearer the average
SIDES: Final = 0.06  # deviation between the two halves of a face
# Mean and deviation of basis.PHENOTYPES but the gender, and their bounds.
USUAL: Final = np.array([[0.77, 0.10], [0.48, 0.12], [0.45, 0.14], [0.5, 0.12], [0.66, 0.10], [0.2, 0.3], [0.25, 0.3]])
LEAST: Final = np.array([0.0, 0.60, 0.05, 0.05, 0.1, 0.2, 0.0, 0.0])
MOST: Final = np.array([1.0, 1.0, 0.95, 0.98, 0.9, 0.98, 1.0, 1.0])
STEP: Final = math.radians(2.0)  # of the yaw that landmarks are looked up for
SEX: Final = 0.05
STRONGEST: Final = 0.95  # of a local change
UNSEEN: Final = ("tongueOut", "cheekPuff", "jawForward", "mouthDimple", "eyeLook")  # landmarks hardly tell these
ACTED: Final = tuple(name for name in ACTIONS if not name.startswith(UNSEEN))
UNEVEN: Final = 0.12  # deviation between the two sides of a face
ACTIVE: Final = 0.22  # deviation of an action
DISTANCE: Final = (math.log(1.0), 0.45)  # logarithm of metres from which people are photographed, its deviation
LENS: Final = 0.06  # how far a lens's stated focal length may be off, as a logarithm
PUPIL: Final = 0.0122  # metres from the middle of an eyeball to its iris
GAZE: Final = 0.25  # deviation of the gaze, radians
IRIS: Final = 0.012  # what irises err by, over the distance of the eyes
VIEWER: Final = np.array([0.0, 0.0, 0.85])  # where eyes look at rest: training.bake.eyes
FLIP: Final = np.array([1.0, -1.0])  # pictures have y down


@dataclass(frozen=True)
class Lens:
    """A pinhole camera before a head whose origin lies between the eyes: ``turn`` (3, 3) head to camera (x right, y up,
    z toward the camera), ``origin`` (2,) pixels where the head's origin is seen, ``scale`` pixels a metre there,
    ``nearness`` 1 / metres from the camera to the origin, ``centre`` (2,) pixels of the optical axis."""

    turn: F64
    origin: F64
    scale: float
    nearness: float
    centre: F64

    @property
    def distance(self) -> float:
        """Metres from the camera to between the eyes, along the optical axis."""
        return 1.0 / self.nearness

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.scale / self.nearness

    @property
    def yaw(self) -> float:
        """Radians: how far to the head's left the camera stands; 0 when the face looks into it."""
        return math.atan2(self.turn[2, 0], self.turn[2, 2])

    def project(self, points: F64) -> F64:
        """Pixels (n, 2) of points (n, 3) of the head, metres."""
        seen = points @ self.turn.T
        flat = self.origin - self.centre + self.scale * seen[:, :2] * [1.0, -1.0]
        return np.asarray(self.centre + flat / (1.0 - self.nearness * seen[:, 2:]))


@dataclass(frozen=True)
class Fit:
    """What one photograph says: phenotype (8,), local (L,), actions (52,) over the resting face, gaze (2,) radians,
    the camera, and its cost (half the sum of squared deviations). ``landmarks`` (478, 2) pixels as detected,
    ``reached`` (478, 2) where the fitted head has them (irises: the centres alone)."""

    phenotype: F64
    local: F64
    actions: F64
    gaze: F64
    lens: Lens
    cost: float
    landmarks: F64
    reached: F64

    def resting(self, basis: Basis | None = None) -> F64:
        """The head at rest (P, 3)."""
        return (basis or load()).points(self.phenotype, self.local)

    def acting(self, basis: Basis | None = None) -> F64:
        """The head as it is in the photograph (P, 3), in its own frame."""
        basis = basis or load()
        return np.asarray(self.resting(basis) + np.tensordot(self.actions, basis.actions, 1))

    @property
    def errors(self) -> F64:
        """(468,) how far the fitted head's landmarks are from the detected ones, over the distance of the eyes."""
        apart = np.linalg.norm(self.landmarks[33] - self.landmarks[263])
        return np.asarray(np.linalg.norm(self.landmarks - self.reached, axis=1)[:MESH] / apart)

    def identity(self) -> tuple[dict[str, float], dict[str, float]]:
        """(phenotype, local) by the prior's names, as training.bake.identities.Identity wants them."""
        from training.portrait.basis import fixed

        given = {name: round(float(value), 4) for name, value in zip(PHENOTYPES, self.phenotype, strict=True)}
        rest = {
            "caucasian": round(max(1 - given["african"] - given["asian"], 0.0), 4),
            "cupsize": 0.4,
            "firmness": 0.55,
        }
        local = {name: round(float(value), 4) for name, value in zip(LABELS, self.local, strict=True)}
        return given | rest, fixed(given["gender"]) | local


def fit(found: Found, size: tuple[int, int], focal: float | None = None, report: Report = lambda at, of: None) -> Fit:
    """The head in a picture of ``size`` (H, W). ``focal``: pixels, when the camera has told; ``report(done, of)``.

    A tenth of a second to a few seconds. Raises ValueError when nothing plausible explains the landmarks.
    """
    basis, tries = load(), []
    total = len(STARTS) * ROUNDS
    for number, gender in enumerate(STARTS):

        def tell(at: int, number: int = number) -> None:
            report(number * ROUNDS + at, total)

        tries.append(_descend(_start(found, size, gender), found, basis, gender, focal, tell))
    best = min(tries, key=lambda one: one.cost)
    report(total, total)
    if not np.isfinite(best.cost) or np.median(best.errors) > 0.08:
        raise ValueError(
            f"no head explains this face: its features are {100 * np.median(best.errors):.0f} % of the eyes' distance "
            "off; choose a photograph with an uncovered face seen from the front"
        )
    return best


def _start(found: Found, size: tuple[int, int], gender: float) -> Fit:
    mean, _ = usual(gender)
    lens = _first_lens(found, size)
    reached = np.zeros((len(found.points), 2))
    return Fit(
        np.r_[gender, USUAL[:, 0]], mean, np.zeros(len(ACTIONS)), np.zeros(2), lens, np.inf, found.points[:, :2],
        reached,
    )  # fmt: skip


def _first_lens(found: Found, size: tuple[int, int]) -> Lens:
    cy, sy, cp, sp = math.cos(-found.yaw), math.sin(-found.yaw), math.cos(found.pitch), math.sin(found.pitch)
    cr, sr = math.cos(-found.roll), math.sin(-found.roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    eyes = found.points[[33, 133, 263, 362], :2]
    scale = found.apart / (0.088 * max(cy, 0.5))
    height, width = size
    return Lens(about_z @ about_x @ about_y, eyes.mean(0), scale, 1.0, np.array([0.5 * width, 0.5 * height]))


def _descend(
    at: Fit, found: Found, basis: Basis, gender: float, focal: float | None, tell: Callable[[int], None]
) -> Fit:
    """Gauss and Newton with bounds: what stands at a bound and wants beyond it is left out of a step."""
    prior = _Prior(gender, focal)
    damping = 1e-2
    unknown, wanted = _residuals(at, found, basis, prior, slopes=True)
    at = replace(at, cost=_cost(wanted))
    for turn in range(ROUNDS):
        tell(turn)
        gram, pull = unknown.T @ unknown, unknown.T @ wanted
        free = ~prior.stuck(at, pull)
        better = False
        for _ in range(6):
            step = np.zeros(len(pull))
            inner = gram[np.ix_(free, free)] + damping * np.diag(np.diag(gram)[free] + 1e-9)
            step[free] = -np.linalg.solve(inner, pull[free])
            new = prior.moved(at, step)
            _, after = _residuals(new, found, basis, prior, slopes=False)
            new = replace(new, cost=_cost(after))
            if new.cost < at.cost:
                better = True
                break
            damping *= 6.0
        if not better:
            break
        gain = at.cost - new.cost
        at, damping = new, max(damping / 4.0, 1e-6)
        unknown, wanted = _residuals(at, found, basis, prior, slopes=True)
        at = replace(at, cost=_cost(wanted))
        if gain < 1e-4 * at.cost:
            break
    return replace(at, reached=_reached(at, basis))


def _cost(residual: F64) -> float:
    return float(0.5 * residual @ residual)


class _Prior:
    """Who is likely: deviations of every unknown, and the ways between a Fit and a step.

    Unknowns in order: phenotype, local, actions (ACTED), gaze, turn (3), origin (2), log scale, log nearness.
    """

    def __init__(self, gender: float, focal: float | None) -> None:
        mean, deviation = usual(gender)
        self.centre = np.r_[gender, USUAL[:, 0], mean]
        self.deviation = np.r_[SEX, USUAL[:, 1], SPREAD * deviation]
        self.acted = np.array([ACTION_INDEX[name] for name in ACTED])
        self.focal = focal
        self._seen: dict[int, _Seen] = {}
        counts = np.cumsum([0, len(PHENOTYPES), len(LABELS), len(ACTED), 2, 3, 2, 1, 1]).tolist()
        self.parts = [slice(a, b) for a, b in zip(counts, counts[1:], strict=False)]
        self.size = counts[-1]
        left = [place for place, name in enumerate(LABELS) if name.startswith("l-")]
        self.pairs = np.array([[place, LABELS.index("r-" + LABELS[place][2:])] for place in left])
        both = [name.removesuffix("Left") for name in ACTED if name.endswith("Left")]
        self.sides = np.array([[ACTED.index(f"{name}{side}") for side in ("Left", "Right")] for name in both])
        self.sides = self.sides[[not name.endswith(("mouth", "jaw")) for name in both]]
        self._rows = self._constant()

    def seen(self, basis: Basis, yaw: float) -> _Seen:
        """The basis as it is seen from about ``yaw``."""
        key = round(yaw / STEP)
        if key not in self._seen:
            self._seen[key] = _Seen.of(basis, key * STEP, self.acted)
        return self._seen[key]

    def residuals(self, at: Fit, slopes: bool) -> tuple[F64, F64]:
        """Rows (n, size) and values (n,) of what is unlikely about ``at``."""
        who = np.r_[at.phenotype, at.local]
        a, b = self.pairs.T
        acts = at.actions[self.acted]
        values = np.concatenate([
            (who - self.centre) / self.deviation, acts / ACTIVE, at.gaze / GAZE,
            (at.local[a] - at.local[b]) / (1.4 * SIDES), (acts[self.sides[:, 0]] - acts[self.sides[:, 1]]) / UNEVEN,
            [(-math.log(at.lens.nearness) - DISTANCE[0]) / DISTANCE[1] if self.focal is None
             else math.log(at.lens.focal / self.focal) / LENS],
        ])  # fmt: skip
        return (self._rows if slopes else np.zeros((0, self.size))), values

    def _constant(self) -> F64:
        """The slopes (n, size) of :meth:`residuals`, which are the same everywhere."""
        local, acts = self.parts[1].start, self.parts[2].start
        rows = [
            np.eye(local + len(LABELS), self.size) / self.deviation[:, None],
            self._of(2) / ACTIVE,
            self._of(3) / GAZE,
        ]
        for pairs, first, deviation in ((self.pairs, local, 1.4 * SIDES), (self.sides, acts, UNEVEN)):
            row = np.zeros((len(pairs), self.size))
            row[np.arange(len(pairs)), first + pairs[:, 0]] = 1.0 / deviation
            row[np.arange(len(pairs)), first + pairs[:, 1]] = -1.0 / deviation
            rows.append(row)
        last = np.zeros((1, self.size))
        last[0, -2:] = (0.0, -1.0 / DISTANCE[1]) if self.focal is None else (1.0 / LENS, -1.0 / LENS)
        return np.concatenate([*rows, last])

    def _of(self, part: int) -> F64:
        where = self.parts[part]
        return np.eye(where.stop - where.start, self.size, where.start)

    def stuck(self, at: Fit, pull: F64) -> NDArray[np.bool_]:
        """Unknowns (size,) at a bound that ``pull`` (the cost's slope) holds there."""
        out = np.zeros(self.size, bool)
        acts = at.actions[self.acted]
        for part, values, low, high in (
            (0, at.phenotype, LEAST, MOST), (1, at.local, -STRONGEST, STRONGEST), (2, acts, 0.0, 1.0),
        ):  # fmt: skip
            slope = pull[self.parts[part]]
            out[self.parts[part]] = ((values <= low) & (slope > 0)) | ((values >= high) & (slope < 0))
        return out

    def moved(self, at: Fit, step: F64) -> Fit:
        """``at`` moved by a step of the unknowns, within the bounds."""
        who, local, acts, gaze, turn, origin, size, near = (step[part] for part in self.parts)
        phenotype = np.clip(at.phenotype + who, LEAST, MOST)
        phenotype[6:] /= max(phenotype[6:].sum(), 1.0)
        actions = at.actions.copy()
        actions[self.acted] = np.clip(actions[self.acted] + acts, 0.0, 1.0)
        lens = Lens(
            _rotation(turn) @ at.lens.turn, at.lens.origin + origin,
            at.lens.scale * math.exp(float(np.clip(size[0], -1, 1))),
            float(np.clip(at.lens.nearness * math.exp(float(np.clip(near[0], -1, 1))), 0.05, 4.5)), at.lens.centre,
        )  # fmt: skip
        return replace(
            at, phenotype=phenotype, local=np.clip(at.local + local, -STRONGEST, STRONGEST), actions=actions,
            gaze=np.clip(at.gaze + gaze, -0.7, 0.7), lens=lens,
        )  # fmt: skip


@dataclass(frozen=True)
class _Seen:
    """A basis at the landmarks of a face seen from one yaw, then at the middles of the eyeballs: (.., 470, 3) each."""

    phenotype: F64
    up: F64
    down: F64
    actions: F64

    @staticmethod
    def of(basis: Basis, yaw: float, acted: Array) -> _Seen:
        corner, share = basis.under(yaw)

        def places(table: F64) -> F64:
            skin = np.zeros((*table.shape[:-2], MESH, 3))
            for c in range(corner.shape[1]):
                skin += share[:, c, None] * table[..., corner[:, c], :]
            return np.concatenate([skin, table[..., -2:, :]], axis=-2)

        return _Seen(places(basis.phenotype), places(basis.up), places(basis.down), places(basis.actions[acted]))


def _residuals(at: Fit, found: Found, basis: Basis, prior: _Prior, slopes: bool) -> tuple[F64, F64]:
    """Rows (n, size) and values (n,) of everything, in deviations; without ``slopes`` the rows are empty."""
    lens, seen = at.lens, prior.seen(basis, at.lens.yaw)
    changes = np.where((at.local >= 0)[:, None, None], seen.up, -seen.down)
    points = np.tensordot(terms(at.phenotype), seen.phenotype, 1) + np.tensordot(at.local, changes, 1)
    points += np.tensordot(at.actions[prior.acted], seen.actions, 1)
    look, look_slope = _gaze(points[-2:], at.gaze)
    points[-2:] += look
    turned = points @ lens.turn.T
    depth = 1.0 / (1.0 - lens.nearness * turned[:, 2:])
    flat = lens.origin - lens.centre + lens.scale * turned[:, :2] * FLIP
    landmarks = found.points[[*range(MESH), LEFT_IRIS, RIGHT_IRIS], :2]
    eyes = (found.points[EYES[1], :2] - found.points[EYES[0], :2]) / found.apart
    upright = np.array([[eyes[0], -eyes[1]], [eyes[1], eyes[0]]]) / found.apart
    off = (lens.centre + flat * depth - landmarks) @ upright
    unlikely_rows, unlikely = prior.residuals(at, slopes)
    values = np.r_[basis.doubt @ off[:MESH].ravel(), off[MESH:].ravel() / IRIS, unlikely]
    if not slopes:
        return np.zeros((0, prior.size)), values
    gaze_slope = np.zeros((2, len(points), 3))
    gaze_slope[:, -2:] = look_slope
    spin = [np.cross(axis, turned) for axis in np.eye(3)]
    shape = np.concatenate(
        [np.tensordot(terms_slope(at.phenotype), seen.phenotype, 1), changes, seen.actions, gaze_slope]
    )
    moved = np.concatenate([shape @ lens.turn.T, spin])
    slope = lens.scale * moved[..., :2] * FLIP * depth + flat * depth**2 * lens.nearness * moved[..., 2:]
    shift = np.broadcast_to(np.eye(2)[:, None], (2, len(points), 2)) * depth
    bigger = lens.scale * turned[:, :2] * FLIP * depth
    nearer = flat * depth**2 * lens.nearness * turned[:, 2:]
    rows = np.concatenate([slope, shift, bigger[None], nearer[None]]) @ upright
    skin, irises = (part.reshape(prior.size, -1).T for part in (rows[:, :MESH], rows[:, MESH:]))
    return np.concatenate([basis.doubt @ skin, irises / IRIS, unlikely_rows]), values


def _gaze(centres: F64, gaze: F64) -> tuple[F64, F64]:
    """Offsets (2, 3) from the eyeballs' centres to the irises, and their slopes (2, 2, 3) by yaw and pitch."""
    ahead = VIEWER - centres
    ahead *= PUPIL / np.linalg.norm(ahead, axis=1, keepdims=True)

    def turned(yaw: float, pitch: float) -> F64:
        out: F64 = ahead @ _rotation(np.array([-pitch, yaw, 0.0])).T
        return out

    tiny = 1e-4
    here = turned(*gaze)
    slopes = [(turned(gaze[0] + tiny, gaze[1]) - here) / tiny, (turned(gaze[0], gaze[1] + tiny) - here) / tiny]
    return here, np.stack(slopes)


def _reached(at: Fit, basis: Basis) -> F64:
    corner, share = basis.under(at.lens.yaw)
    head = at.acting(basis)
    out = at.landmarks.copy()
    out[:MESH] = at.lens.project(np.einsum("kc,kci->ki", share, head[corner]))
    balls = head[-2:]
    out[[LEFT_IRIS, RIGHT_IRIS]] = at.lens.project(balls + _gaze(balls, at.gaze)[0])
    return out


def _rotation(turn: F64) -> F64:
    """(3, 3) of axis-angle (3,)."""
    angle = float(np.linalg.norm(turn))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = turn / angle
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * skew + (1 - math.cos(angle)) * skew @ skew)
