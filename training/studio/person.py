"""One studio person: what the engine is given of them, and what is photographed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from engine.avatar import Avatar
from training.bake.identities import Identity

Array = NDArray[Any]


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
