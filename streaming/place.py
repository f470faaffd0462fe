"""Where processes run: which cores are whose, and who gives way. Nothing where the system cannot be asked for that."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Final

ENOUGH: Final = 4  # cores, from which on each kind of work gets its own
SHARE: Final = 4  # one core in so many is for media and web
POLITE: Final = 5  # nice of the web process


@dataclass(frozen=True, slots=True)
class Place:
    """``cores`` that a process may use (empty: any), and how far it gives way to others (``nice``, 0 not at all)."""

    cores: tuple[int, ...] = ()
    nice: int = 0


ANYWHERE: Final = Place()


@dataclass(frozen=True, slots=True)
class Places:
    """One for each kind of process."""

    inference: Place = ANYWHERE
    media: Place = ANYWHERE
    web: Place = Place(nice=POLITE)


def plan(cores: tuple[int, ...]) -> Places:
    """Who runs where on ``cores``. On few of them everybody may run anywhere: a core that is kept free for an encoder
    is idle most of the time, and the painter wants it."""
    if len(cores) < ENOUGH:
        return Places()
    count = len(cores) // SHARE
    others, painting = cores[:count], cores[count:]
    return Places(Place(painting), Place(others), Place(others, POLITE))


def cores() -> tuple[int, ...]:
    """Those that this process may use, ascending; none where the system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def take(place: Place) -> None:
    """This process, and all that it starts, goes there. What the system refuses is left as it is."""
    with contextlib.suppress(OSError):
        if place.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, place.cores)
    with contextlib.suppress(OSError):
        if place.nice and hasattr(os, "nice"):
            os.nice(place.nice)
