"""Skin of head, neck and hands: which faces to keep, the resting face, and where it lies in the atlas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS
from engine.motion.frame import ACTION_INDEX, R
from training.bake import atlas, mesh, prior
from training.bake.identities import Identity
from training.bake.mesh import Part
from training.bake.prior import Constants, Person
from training.bake.rig import Rig, fit_sphere
from training.bake.simplify import merged, merges

Array = NDArray[Any]
PLACES = {
    "head": atlas.HEAD, "mouth": atlas.MOUTH, "trunk": atlas.NECK, "hand_l": atlas.HAND, "hand_r": atlas.HAND,
    "arm_l": atlas.ARM, "arm_r": atlas.ARM,
}  # fmt: skip
LID_ACTIONS = ("cheekSquint", "eyeSquint", "eyeWide", "eyeBlink", "eyeLookDown", "eyeLookUp", "eyeLookIn", "eyeLookOut")
LID_THICKNESS = 0.0006  # metres of lid over the eyeball, at least
LID_OVERLAP = 0.0008  # metres the closed lids press into each other
SLEEVE = 0.185  # metres from the middle, on the template, where an arm begins
CHEST = -0.45  # metres: skin of the trunk below this height is never shown
THINNING = 2  # version of the thinning kept on disk
KEPT = 0.36  # share of the triangles that stay where thinning is allowed
CORNER_OVERLAP = 0.0009  # and further toward the corners, which a smile opens
LIP_OVERLAP = 0.0005  # metres the resting lips press into each other: no gap from any view


@cache
def islands() -> dict[str, Array]:
    """Faces of the body group by texture island: head, mouth, socket_l .., torso, hand_l ..

    The torso is given again as the trunk above the waist, arm_l and arm_r.
    """
    import scipy.sparse as sparse
    from scipy.sparse.csgraph import connected_components

    points, uv, groups = prior.template()
    faces, uv_faces = groups["body"].faces, groups["body"].uv_faces
    edges = np.concatenate([uv_faces[:, [0, 1]], uv_faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (len(uv), len(uv)))
    label = connected_components(graph, directed=False)[1][uv_faces[:, 0]]
    out: dict[str, Array] = {}
    for island in np.unique(label):
        rows = np.flatnonzero(label == island)
        corner = points[faces[rows]].reshape(-1, 3)
        low, high = corner.min(0), corner.max(0)
        if low[1] < -1.3 and high[1] < -1.2:
            continue  # feet
        if high[1] < -0.2:
            name = "hand_l" if low[0] > 0 else "hand_r"
        elif low[1] < -1.0:
            name = "torso"
        elif high[1] > 0.1:
            name = "head"
        else:
            name = "mouth" if low[0] < -0.02 and high[0] > 0.02 else "socket_l" if low[0] > 0 else "socket_r"
        out[name] = rows
    middle = points[faces[out["torso"]]].mean(1)
    arm = np.abs(middle[:, 0]) > SLEEVE
    out["trunk"] = out["torso"][~arm & (middle[:, 1] > CHEST)]
    out["arm_l"], out["arm_r"] = (out["torso"][arm & (side * middle[:, 0] > 0)] for side in (1, -1))
    return out


def resting(person: Person, identity: Identity) -> Person:
    """The person with the identity's resting expression and closed lips baked into the rest shape."""
    weights = np.zeros(len(ACTION_INDEX), np.float32)
    for name, weight in identity.rest.items():
        weights[ACTION_INDEX[name]] = weight
    still = np.concatenate([prior.EYE_L, prior.EYE_R])
    shift = np.einsum("a,anc->nc", weights, person.deltas)
    shift[still] = 0.0
    rest = person.rest + shift
    rest = rest + _close_lips(rest, person)
    # What is already in the rest shape must not be added again: full weight still means the full action.
    deltas = person.deltas * (1.0 - weights)[:, None, None]
    for side in ("Left", "Right"):
        blink = deltas[ACTION_INDEX[f"eyeBlink{side}"]]
        blink *= _lids_meet(rest, blink, 1.0 if side == "Left" else -1.0)[:, None]
    rest, deltas = _clear_eyes(rest.astype(np.float32), deltas)
    return replace(person, rest=rest, deltas=deltas)


def _lids_meet(rest: Array, blink: Array, side: float) -> Array:
    """(N,) how much of the prior's blink closes this person's eye: some lids stay open under it, others go too far."""
    edge = lid_edge()
    edge = edge[side * rest[edge, 0] > 0]
    drop = -blink[edge, 1]
    upper, lower = edge[drop > 0.30 * drop.max()], edge[drop < 0.15 * drop.max()]
    upper, lower = (rows[np.argsort(rest[rows, 0])] for rows in (upper, lower))
    line = np.interp(rest[upper, 0], rest[lower, 0], rest[lower, 1] + blink[lower, 1])
    share = (rest[upper, 1] - line + LID_OVERLAP) / -blink[upper, 1]
    most = share[-blink[upper, 1] > 0.45 * drop.max()].max()  # the corners, which hardly move, say little
    share = np.convolve(np.pad(np.minimum(share, most), 2, mode="edge"), np.full(5, 0.2), mode="valid")
    return np.interp(rest[:, 0], rest[upper, 0], np.clip(0.5 * (share + most), 0.85, 1.4))


def _clear_eyes(rest: Array, deltas: Array) -> tuple[Array, Array]:
    """Keeps lid skin off the eyeballs, at rest and under each lid action: a strong squint sank the lid into them.

    Squint and cheek are also cleared together, as a smile uses both.
    """
    rest, deltas = rest.copy(), deltas.copy()
    for side, ball in (("Left", prior.EYE_L), ("Right", prior.EYE_R)):
        centre, radius = fit_sphere(rest[ball])
        distance = np.linalg.norm(rest[: prior.BODY] - centre, axis=1)
        near = np.flatnonzero((distance > radius) & (distance < radius + 0.012))

        def lift(points: Array, centre: Array = centre, least: float = radius + LID_THICKNESS) -> Array:
            offset = points - centre
            size = np.linalg.norm(offset, axis=1, keepdims=True)
            return offset / size * np.clip(least - size, 0.0, None)

        cheek = deltas[ACTION_INDEX[f"cheekSquint{side}"]]
        for name in LID_ACTIONS:
            action = deltas[ACTION_INDEX[f"{name}{side}"]]
            with_cheek = cheek[near] if name == "eyeSquint" else 0.0
            action[near] += lift(rest[near] + action[near] + with_cheek)
    return rest, deltas


def lid_edge() -> Array:
    """Template vertices of both eye openings' edges, next to the eyeball."""
    _, _, groups = prior.template()
    faces = groups["body"].faces
    sockets = np.concatenate([islands()["socket_l"], islands()["socket_r"]])
    return np.intersect1d(faces[islands()["head"]], faces[sockets])


def lip_seam() -> Array:
    """Template vertices on the line where the lips' skin meets the inner mouth."""
    _, _, groups = prior.template()
    faces = groups["body"].faces
    return np.intersect1d(faces[islands()["head"]], faces[islands()["mouth"]])


def lower_share(person: Person) -> Array:
    """(N,) 1 where a vertex goes all the way with the jaw, 0 where it stays: tells lower lip from upper."""
    drop = -person.deltas[ACTION_INDEX["jawOpen"], :, 1]
    return np.clip(drop / np.percentile(drop[lip_seam()], 95), 0.0, 1.0)


def _close_lips(rest: Array, person: Person) -> Array:
    """Brings the lips together: the gap along the seam, shared by both lips, fading away from the line."""
    seam, share = lip_seam(), lower_share(person)
    upper, lower = seam[share[seam] < 0.4], seam[share[seam] > 0.6]
    upper, lower = upper[np.argsort(rest[upper, 0])], lower[np.argsort(rest[lower, 0])]
    x = np.abs(rest[:, 0])
    high = np.interp(rest[:, 0], rest[upper, 0], rest[upper, 1])
    low = np.interp(rest[:, 0], rest[lower, 0], rest[lower, 1])
    corner = np.abs(rest[seam, 0]).max()
    inside = np.clip((corner + 0.003 - x) / 0.004, 0.0, 1.0)
    overlap = LIP_OVERLAP + CORNER_OVERLAP * np.clip(x / corner * 3 - 2, 0.0, 1.0)
    gap = (high - low + overlap) * inside
    depth = np.interp(rest[:, 0], rest[lower, 0], rest[lower, 2])
    line = np.where(share > 0.5, low, high)
    away = (rest[:, 1] - line) ** 2 + (0.6 * (rest[:, 2] - depth)) ** 2
    fade = np.exp(-away / 0.0075**2) * (x < corner + 0.004)
    move = np.zeros_like(rest)
    move[:, 1] = gap * fade * np.where(share > 0.5, 0.55, -0.45) * np.clip(np.abs(share - 0.5) * 6, 0, 1)
    move[prior.BODY :] = 0.0
    return move


@cache
def lip_residual(same: Constants) -> Array:
    """(8, N, 3): principal mouth shape changes that the 52 actions cannot make, one standard deviation each."""
    near = np.flatnonzero(np.abs(same.deltas[:, : prior.BODY]).max((0, 2)) > 1e-4)
    actions = same.deltas[:, near].reshape(len(same.deltas), -1).astype(float)
    basis = np.linalg.svd(actions, full_matrices=False)
    span = basis[2][basis[1] > 1e-3 * basis[1][0]]
    shapes = same.shapes[:, near].reshape(len(same.shapes), -1).astype(float)
    rest = shapes - (shapes @ span.T) @ span
    # Shape changes drawn with strength of standard deviation 0.35: what people's mouths differ by.
    _, size, direction = np.linalg.svd(0.35 * rest / np.sqrt(len(shapes)), full_matrices=False)
    out = np.zeros((R, same.deltas.shape[1], 3), np.float32)
    out[:, near] = (size[:R, None] * direction[:R]).reshape(R, -1, 3)
    return out


def skin_part(person: Person, rig: Rig, hidden: Array, scalp_shown: bool) -> Part:
    """Head, inner mouth, neck and hands in one piece, with fewer triangles on hands and under the hair.

    ``hidden`` (N,) bool: vertices that cloth covers. ``scalp_shown``: keep every triangle of the skull.
    """
    whole, into = whole_skin(), _thinning(scalp_shown)
    shown = ~hidden[whole.vertex[whole.faces]].any(1) | (whole.region == REGIONS.index("mouth"))
    faces, region = whole.faces[shown], whole.region[shown]
    present = np.zeros(len(into), bool)
    present[faces] = True
    into = np.where(present[into], into, np.arange(len(into)))  # merged into skin that is gone: stays
    few, left = merged(faces, into)
    _, same, count = np.unique(np.sort(whole.vertex[few], axis=1), axis=0, return_inverse=True, return_counts=True)
    single = count[same.ravel()] == 1  # two faces back to back across a texture seam enclose nothing
    used, local = mesh.compact(few[single], len(into))
    vertex, coordinate = whole.vertex[used], whole.coordinate[used]
    return Part(
        name="skin", rest=person.rest[vertex].astype(float), faces=local, uv=whole.uv[used],
        region=region[left][single], weight=rig.weights(person, vertex), paint=person.template[vertex].astype(float),
        weld=mesh.first_of(vertex), deltas=person.deltas[:, vertex], residual=lip_residual(person.same)[:, vertex],
        channel={"vertex": vertex, "mpfb": prior.template()[1][coordinate]},
    )  # fmt: skip


@dataclass(frozen=True)
class Whole:
    """All skin that a pack may show, of the template: n vertices split at texture seams, f faces."""

    vertex: Array  # (n,) of the template
    coordinate: Array  # (n,) texture coordinate of the template
    uv: Array  # (n, 2) place in the atlas
    faces: Array  # (f, 3)
    region: Array  # (f,)


@cache
def whole_skin() -> Whole:
    """Head, inner mouth, neck, arms and hands of the template, laid out in the atlas."""
    _, uv, groups = prior.template()
    body, island = groups["body"], islands()
    place, rows, region = np.zeros_like(uv), [], []
    for name, rect in PLACES.items():
        faces = island[name]
        used = np.unique(body.uv_faces[faces])
        unit = atlas.fit(uv[used], turn=name in ("head", "arm_l", "arm_r"))
        if name in ("hand_r", "arm_r"):
            unit[:, 0] = 1.0 - unit[:, 0]  # both sides share one painting
        place[used] = rect.place(unit)
        rows.append(faces)
        region.append(_regions(name, faces))
    kept = np.concatenate(rows)
    vertex, coordinate, local = mesh.unify(body.faces[kept], body.uv_faces[kept])
    return Whole(vertex, coordinate, place[coordinate], local, np.concatenate(region))


@cache
def _thinning(scalp_shown: bool) -> Array:
    """(n,) the vertex that each vertex of ``whole_skin()`` is merged into: what the prior's file knows, or thin()."""
    return prior.kept(thinning_name(scalp_shown), lambda: thin(scalp_shown))


def thinning_name(scalp_shown: bool) -> str:
    """What an answer of thin() is kept as."""
    return f"thin-v{THINNING}-{'bare' if scalp_shown else 'hair'}"


def thin(scalp_shown: bool) -> Array:
    """(n,) the vertex that each vertex of ``whole_skin()`` is merged into, found on the template in ten seconds.

    Torso, face and whatever an action moves stay as they are.
    """
    whole, points = whole_skin(), prior.template()[0]
    place = points[whole.vertex].astype(float)
    hands, inside = (np.zeros(len(place), bool) for _ in range(2))
    hands[whole.faces[whole.region == REGIONS.index("hands")]] = True
    inside[whole.faces[whole.region == REGIONS.index("mouth")]] = True
    still = np.abs(prior.constants().deltas[:, whole.vertex]).max((0, 2)) < 1e-5
    removable = hands | (inside & (place[:, 2] < -0.012))
    if not scalp_shown:
        skull = (place[:, 1] > 0.085) | ((place[:, 2] < -0.075) & (place[:, 1] > -0.02))
        removable |= skull & still & ~hands
    fewer = round(KEPT * np.isin(whole.faces, np.flatnonzero(removable)).any(1).sum())
    return merges(place, whole.faces, removable, len(whole.faces) - fewer)


def from_template(
    person: Person, rig: Rig, name: str, faces: Array, uv_faces: Array, uv: Array, residual: Array | None
) -> Part:
    """A part made of template faces; ``uv`` is the atlas place of every texture coordinate."""
    vertex, coordinate, local = mesh.unify(faces, uv_faces)
    return Part(
        name=name, rest=person.rest[vertex].astype(float), faces=local, uv=uv[coordinate],
        region=np.zeros(len(local), np.uint8), weight=rig.weights(person, vertex),
        paint=person.template[vertex].astype(float), weld=mesh.first_of(vertex),
        deltas=person.deltas[:, vertex], residual=None if residual is None else residual[:, vertex],
        channel={"vertex": vertex, "mpfb": prior.template()[1][coordinate]},
    )  # fmt: skip


def _regions(island: str, faces: Array) -> Array:
    """Region id of each face: for the head face, lips or neck_ears, from the prior's painted masks."""
    name = {"mouth": "mouth", "hand_l": "hands", "hand_r": "hands", "arm_l": "arms", "arm_r": "arms"}.get(
        island, "neck_ears"
    )
    region = np.full(len(faces), REGIONS.index(name), np.uint8)
    if island != "head":
        return region
    points, uv, groups = prior.template()
    middle = uv[groups["body"].uv_faces[faces]].mean(1)
    row, column = ((1 - middle[:, 1]) * 2047).astype(int), (middle[:, 0] * 2047).astype(int)
    place = points[groups["body"].faces[faces]].mean(1)
    ears = prior.mask("ears")[row, column] > 0.5
    front = ((prior.mask("face")[row, column] > 0.5) | (place[:, 2] > -0.02)) & ~ears & (place[:, 1] > -0.125)
    region[front] = REGIONS.index("face")
    region[prior.mask("lips")[row, column] > 0.5] = REGIONS.index("lips")
    return region
