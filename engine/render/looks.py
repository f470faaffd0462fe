"""Looks: what an avatar's photographs say of it, kept on disk from one start to the next: the lit atlas and the code.

To work it out takes more than a second of a core, which whoever is painted just then would feel. Kept only of the
avatars that come with visavis: nothing of anybody else's face lies anywhere but in their own pack.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from engine.avatar import Avatar
from engine.backends import kept
from engine.render import reference
from engine.render.network import ASSETS, F32, Network
from engine.render.reference import Lit
from kernels.jit import Flags

OWN: Final = ASSETS / "avatars"
ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ("engine", "kernels")  # whatever changes in them may change the result
Look = tuple[Lit, Flags, F32]


def look(avatar: Avatar, network: Network) -> Look:
    """The lit atlas of ``avatar``, which of its texels are worn (N,N), and the code (CODE,) ``network`` has for it.
    Where nothing can be kept it is made anew. Raises ValueError when the network is missing or broken."""
    pack = avatar.meta.path
    folder = kept.folder("looks") if pack is not None and pack.parent == OWN else None
    if folder is None or pack is None:
        return _made(avatar, network)
    key = {
        "avatar": _digest(pack.iterdir()),
        "network": _digest(network.path.parent.glob(f"{network.path.stem}_identity*")),
        "runtime": f"{network.backend} {network.precision} {np.__version__}",
        "code": _code(),
    }
    path = kept.place(folder, key, f"-{pack.name}.look")
    data = kept.read(path, key)
    if data is not None:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return Lit(*(arrays[name] for name in Lit._fields)), arrays["worn"], arrays["code"]
    lit, worn, code = _made(avatar, network)
    file = io.BytesIO()
    np.savez(file, worn=worn, code=code, **lit._asdict())
    older = {*folder.glob(f"*-{pack.name}.look")} - {path}  # of other versions
    kept.write(path, key, file.getvalue())
    for one in older:
        one.unlink(missing_ok=True)
    return lit, worn, code


def _made(avatar: Avatar, network: Network) -> Look:
    photographs = reference.of(avatar)
    code = network.identity(reference.reference_planes(avatar, photographs))
    lit = reference.lit_atlas(avatar, photographs)
    return lit, reference.laid(avatar, len(lit.valid)), code


@lru_cache(1)
def _code() -> str:
    return _digest(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))


def _digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file():
            whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
