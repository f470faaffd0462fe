"""One studio person: what the engine is given of them, and what is photographed. Built once, kept on disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.avatar import FIELDS, Avatar
from training.bake.identities import Identity
from training.bake.prior import Sampler

Array = NDArray[Any]
CACHE = Path("data/studio/people")
KEEP = 100  # people kept on disk, about 40 MB each; the oldest go first
SHARED = ("albedo", "surface", "background", "preview")  # the same in both avatars: kept once


@dataclass(frozen=True)
class StudioPerson:
    """Somebody with a number. Both avatars have the same bones, so one Motion poses both alike.

    ``avatar`` is the pack: the engine draws guidance from it. ``fine`` is photographed: the same skin, eyes and
    clothes, vertex for vertex, with dense strands for hair, brows, lashes and beard. ``height`` (S, S) float32 in
    metres is the relief of the fine atlas: pores, wrinkles, knit.
    """

    number: int
    identity: Identity
    avatar: Avatar
    fine: Avatar
    height: Array


def build(number: int, cached: bool = True) -> StudioPerson:
    """The person with this number, the same for ever: from the disk, or baked in a few seconds.

    What is kept on disk belongs to one version of the code that bakes: after an edit people are baked anew.
    """
    from training.studio.people import sample

    identity = sample(number)
    folder = CACHE / code_version() / f"{number:06d}"
    if cached and folder.exists():
        return _read(folder, number, identity)
    from training.bake.make import bake_both

    person = StudioPerson(number, identity, *bake_both(identity, number, sample=_shapes()))
    if cached:
        _write(folder, person)
    return person


def _shapes() -> Sampler:
    """Whom the shape of a body is asked of: anny, or where it is not installed the copy of it that we ship, which is
    true to hundredths of a millimetre but not to the bit."""
    from training.bake import original, prior

    return original.sample if find_spec("anny") else prior.sample


@cache
def code_version() -> str:
    """A short digest of the source that decides what a person looks like, and "p" for shapes of our copy of anny."""
    here = Path(__file__)
    digest = hashlib.sha256()
    who = [here.with_name(f"{name}.py") for name in ("people", "faces", "tones")]
    for path in [*sorted((here.parents[1] / "bake").glob("*.py")), here, *who]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12] + ("" if find_spec("anny") else "p")


def _write(folder: Path, person: StudioPerson) -> None:
    """Whole or not at all; whoever is first wins when two processes bake the same person."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name in ("avatar", "fine"):
            one = getattr(person, name)
            np.savez(
                partial / f"{name}.npz", bones=np.array(one.bones), **{f.name: getattr(one, f.name) for f in FIELDS}
            )
        shared = {name: getattr(person.fine, name) for name in SHARED}
        np.savez(partial / "shared.npz", height=person.height.astype(np.float16), **shared)
        os.replace(partial, folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        if not folder.exists():
            raise
    kept = sorted(CACHE.glob("*/[0-9]*"), key=lambda path: path.stat().st_mtime)
    for old in kept[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)


def _read(folder: Path, number: int, identity: Identity) -> StudioPerson:
    from training.bake.make import meta

    with np.load(folder / "shared.npz") as stored:
        shared = {name: stored[name] for name in SHARED}
        height = stored["height"].astype(np.float32)

    def avatar(name: str) -> Avatar:
        with np.load(folder / f"{name}.npz") as stored:
            arrays = {f.name: stored[f.name] for f in FIELDS}
            return Avatar(meta=meta(identity, number), bones=tuple(stored["bones"].tolist()), **arrays, **shared)

    return StudioPerson(number, identity, avatar("avatar"), avatar("fine"), height)
