"""Makes training/portrait/assets/basis.safetensors: heads of the prior as numbers, and where landmarks lie on them.

    python -m training.portrait.make_basis [--photographs FOLDER]

Heads: anny is asked for some hundred random people, dressed in the resting face that is baked into everybody, and
a quadratic in the phenotypes is laid through what local changes leave. Landmarks: training/portrait/places.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track
from safetensors import safe_open
from safetensors.numpy import save_file

from engine.motion.frame import ACTIONS
from training.bake import head, original, prior
from training.bake.identities import IDENTITIES
from training.bake.prior import EYE_L, EYE_R, Person
from training.bake.rig import fit_sphere
from training.portrait import places
from training.portrait.basis import FILE, LABELS, PHENOTYPES, REST, fixed, terms, usual
from training.studio.people import TRAIN

Array = NDArray[Any]
SAMPLES: Final = 420
KEPT_BACK: Final = 40  # of them, to say how good the basis is
HALF: Final = 0.5  # strength at which local changes are measured
RIDGE: Final = 0.3

app = typer.Typer(add_completion=False, help=__doc__)


def phenotypes(dice: np.random.Generator) -> Array:
    """(8,) of somebody, spread a little wider than the studio's people."""
    gender = dice.choice([dice.uniform(0.0, 0.15), dice.uniform(0.85, 1.0), dice.uniform(0.0, 1.0)])
    shares = dice.dirichlet([0.5, 0.5, 0.7])
    age, muscle, weight = dice.uniform(0.64, 1.0), dice.normal(0.48, 0.14), dice.normal(0.45, 0.17)
    body = np.clip([muscle, weight, dice.normal(0.5, 0.15), dice.normal(0.66, 0.13)], 0.05, 0.98)
    return np.array([gender, age, *body, *shares[:2]])


def person(phenotype: Array, local: dict[str, float]) -> Person:
    """Somebody as they are baked: the prior's shape with the resting face. Raises BakeError without anny."""
    given = named(phenotype)
    return head.resting(original.sample(given, fixed(given["gender"]) | local), replace(IDENTITIES["ada"], rest=REST))


def named(phenotype: Array) -> dict[str, float]:
    """The prior's own names and values of phenotypes (8,)."""
    values = {name: float(np.clip(value, 0.0, 1.0)) for name, value in zip(PHENOTYPES, phenotype, strict=True)}
    rest = max(1.0 - values["african"] - values["asian"], 0.0)
    return values | {"caucasian": rest, "cupsize": 0.4, "firmness": 0.55}


def points(one: Person, vertex: Array) -> Array:
    """(P, 3): the head's skin, then the centres of the eyeballs."""
    return np.concatenate([one.rest[vertex], [fit_sphere(one.rest[ball])[0] for ball in (EYE_L, EYE_R)]])


def heads(samples: int = SAMPLES, seed: int = 0) -> dict[str, Array]:
    """What does not concern landmarks, and how far it is off in metres: "error" (KEPT_BACK,)."""
    groups = prior.template()[2]
    skin = groups["body"].faces[head.islands()["head"]]
    vertex, local_faces = np.unique(skin, return_inverse=True)
    dice = np.random.default_rng(seed)
    middle = np.array([0.5, 0.75, 0.5, 0.5, 0.5, 0.66, 0.2, 0.2])
    plain = dict.fromkeys(LABELS, 0.0)
    base = points(_bare(middle, plain), vertex)
    up, down = (
        np.stack([
            (points(_bare(middle, plain | {label: sign * HALF}), vertex) - base) / HALF
            for label in track(LABELS, f"local changes {sign:+.0f}")
        ])
        for sign in (1.0, -1.0)
    )  # fmt: skip
    rows: list[Array] = []
    locals_: list[Array] = []
    found: list[Array] = []
    actions: list[Array] = []
    for _ in track(range(samples), "people"):
        who = phenotypes(dice)
        mean, deviation = usual(who[0])
        local = np.clip(mean + 1.5 * deviation * dice.normal(size=len(mean)), -0.95, 0.95)
        one = person(who, dict(zip(LABELS, local.tolist(), strict=True)))
        rows.append(terms(who))
        locals_.append(local)
        found.append(points(one, vertex))
        if len(actions) < KEPT_BACK:
            actions.append(one.deltas[:, vertex])
    x, y = np.stack(locals_), np.stack(found)
    left = y - np.einsum("nl,lpc->npc", np.maximum(x, 0), up) - np.einsum("nl,lpc->npc", np.maximum(-x, 0), down)
    table = np.concatenate([np.stack(rows), x], axis=1)
    used = slice(KEPT_BACK, None)
    pull = np.diag(np.r_[np.full(rows[0].size, 1e-3), np.full(x.shape[1], RIDGE)])
    answer = np.linalg.solve(
        table[used].T @ table[used] + pull, table[used].T @ left[used].reshape(samples - KEPT_BACK, -1)
    )
    error = np.linalg.norm((table @ answer).reshape(left.shape)[:KEPT_BACK] - left[:KEPT_BACK], axis=2).mean(1)
    more = answer[rows[0].size :].reshape(up.shape)
    moves = np.concatenate([np.mean(actions, axis=0), np.zeros((len(ACTIONS), 2, 3))], axis=1)
    return {
        "vertex": vertex.astype(np.int32), "faces": local_faces.reshape(-1, 3).astype(np.int32),
        "region": head._regions("head", head.islands()["head"]),
        "phenotype": answer[: rows[0].size].reshape(-1, *base.shape).astype(np.float32),
        "up": (up + more).astype(np.float16), "down": (down - more).astype(np.float16),
        "actions": moves.astype(np.float16), "error": error,
    }  # fmt: skip


def _bare(phenotype: Array, local: dict[str, float]) -> Person:
    """As the prior has somebody, without the resting face."""
    given = named(phenotype)
    return original.sample(given, fixed(given["gender"]) | local)


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="File to write.")] = FILE,
    photographs: Annotated[Path, typer.Option(help="Folder of studio portraits, made when empty.")] = Path(
        "data/portrait"
    ),
    count: Annotated[int, typer.Option(help="People to photograph.")] = 60,
) -> None:
    """Writes the basis: some minutes for the heads, some more for the portraits when there are none yet."""
    from training.portrait.sitting import sights

    tensors = heads()
    error = 1e3 * tensors.pop("error")
    people = np.linspace(TRAIN.start, TRAIN.stop - 1, count).astype(int).tolist()
    typer.echo(f"heads: {error.mean():.2f} mm mean error on people kept back, {error.max():.2f} the worst")
    seen = sights(people, photographs)
    corner, share = places.landmarks(seen, tensors["faces"])
    noise, together = places.errors(seen, corner, share)
    with safe_open(FILE, "numpy") as stored:
        mirror = stored.get_tensor("mirror")  # the detector's own symmetry, which nothing here changes
    tensors |= {
        "corner": corner.astype(np.int16), "share": share.astype(np.float32), "noise": noise.astype(np.float32),
        "together": together.astype(np.float16), "mirror": mirror,
    }  # fmt: skip
    partial = out.with_name(f".{out.name}.partial")
    whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(whole, partial, metadata={"labels": ",".join(LABELS)})
    partial.replace(out)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    app()
