"""Room: how much of an engine is taken, and whether another session fits. What the scheduler tells whoever opens one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """Who is there and what is left.

    ``sessions`` that are open; ``headroom``: the share of the deadline budget that is left, 1 while idle, 0 or less when
    there is none. ``refusal``: why another session is not taken, a sentence for people; None when it is. Then it may be
    asked again after ``retry_after_s`` seconds.
    """

    sessions: int = 0
    headroom: float = 1.0
    refusal: str | None = None
    retry_after_s: float = 0.0
