"""What a launch of kernels/act reads and writes, and how much it computes."""

from __future__ import annotations


def act(rows: int) -> tuple[int, int]:
    """(bytes, FLOPs) of ``rows`` sessions' frame, nothing set by hand."""
    rules, manners, networks, out = 4 * 52 + 12 + 2 * 104 + 11, 13, 52 + 2 + 96, 2 * 104 + 1
    return 4 * (rules + rows * (manners + networks + out)), rows * (52 * 12 + 104 * 4)
