"""The plan: what is given up, step by step, when frames would come too late; and what each step is thought to save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

KINDS: Final = ("steps", "size", "rate")
SCALES: Final = (0.75, 0.5)
MARGIN: Final = 0.1  # of the capacity: quality comes back only where so much less than the bound is needed then
FIXED: Final = 0.45  # share of a full frame's cost that no step of the plan saves: sound, motion, body, coding


@dataclass(frozen=True, slots=True)
class Rung:
    """One quality. ``level`` counts from 0, the full one; ``steps`` of denoising, 0: as configured; ``scale`` of the
    picture's sides before it is enlarged again; one picture in ``every`` frames, the others repeat it."""

    level: int = 0
    steps: int = 0
    scale: float = 1.0
    every: int = 1


FULL: Final = Rung()


@dataclass(frozen=True, slots=True)
class Plan:
    """Rungs from full quality down. ``admit``: the lowest one that a session may be put on to make room for another.

    ``ratios``: what a painted frame is thought to cost on each rung, as a share of a full one, before it was measured.
    """

    rungs: tuple[Rung, ...] = (FULL,)
    ratios: tuple[float, ...] = (1.0,)
    admit: int = 0

    def __post_init__(self) -> None:
        if not self.rungs or len(self.rungs) != len(self.ratios) or not 0 <= self.admit < len(self.rungs):
            raise ValueError(f"a plan needs a ratio for each rung, and an admission rung among them: {self}")
        if any(later > earlier for earlier, later in pairwise(self.shares)):
            raise ValueError(f"a lower rung must not cost more than a higher one: {self.shares}")

    @property
    def shares(self) -> tuple[float, ...]:
        """What a second costs on each rung, as a share of a full one; frames that repeat a picture count as nothing."""
        return tuple(ratio / rung.every for ratio, rung in zip(self.ratios, self.rungs, strict=True))


def make(
    kinds: Sequence[str] = KINDS, admit: str = "size", *, steps: Sequence[int] = (), scales: Sequence[float] = SCALES,
    rate: bool = True,
) -> Plan:  # fmt: skip
    """The plan that gives up ``kinds`` in their order, and newcomers' room at the end of kind ``admit`` ("full": none).

    ``steps``: the numbers of denoising steps that can be had, fewer than configured, descending, behind the configured
    one; ``scales``, ``rate``: what else this renderer can do. Raises ValueError for an unknown kind.
    """
    for kind in (*kinds, *(() if admit == "full" else (admit,))):
        if kind not in KINDS:
            raise ValueError(f'what is given up is one of {", ".join(KINDS)}, got "{kind}"')
    configured, rungs, admitted = (steps[0] if steps else 1), [FULL], 0
    for kind in kinds:
        rungs += [
            replace(rung, level=len(rungs) + k) for k, rung in enumerate(_below(rungs[-1], kind, steps, scales, rate))
        ]
        admitted = len(rungs) - 1 if kind == admit else admitted
    ratios = [FIXED + (1 - FIXED) * (rung.steps or configured) / configured * rung.scale**2 for rung in rungs]
    if admit != "full" and admit not in kinds:
        admitted = 0
    return Plan(tuple(rungs), tuple(ratios), admitted)


def _below(above: Rung, kind: str, steps: Sequence[int], scales: Sequence[float], rate: bool) -> list[Rung]:
    """The rungs that giving up ``kind`` puts under ``above``; their levels are still to be set."""
    if kind == "steps":
        return [replace(above, steps=count) for count in steps[1:]]
    if kind == "size":
        return [replace(above, scale=scale) for scale in scales]
    return [replace(above, every=2)] if rate else []
