"""Room: how much of an engine is taken, and whether another session fits, as the scheduler tells whoever opens one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """Who is there and what is left.

    ``sessions`` that are open; ``headroom``: the share of the deadline budget that full quality would leave, 1 while
    idle, 0 or less when there is none. ``refusal``: why another session is not taken, a sentence for people, and
    ``retry_after_s``: after how many seconds to ask again; None while one is.
    """

    sessions: int = 0
    headroom: float = 1.0
    refusal: str | None = None
    retry_after_s: float = 0.0
