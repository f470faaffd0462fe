"""What a launch of kernels/bones reads and writes, and how much it computes."""

from __future__ import annotations

from collections.abc import Iterable


def bones(counts: Iterable[int]) -> tuple[int, int]:
    """(bytes, FLOPs, in double) of a launch; ``counts``: bones of each row."""
    posed = list(counts)
    return sum(4 * (104 + 60) + n * (160 + 48) for n in posed), sum(n * 150 for n in posed)
