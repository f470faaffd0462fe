"""What the launches of kernels/blend read and write at least once, and how much they compute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_ENTRY: Final = 64  # bytes
_FACE: Final = 4 + 8 + 8 + 12 + 24 + 144 + 4 + 12  # of a see-through face: everything that is known of it


def forget(rows: int, size: tuple[int, int]) -> tuple[int, int]:
    """(bytes, FLOPs) of emptying the layers of ``rows`` pictures of ``size`` (H, W)."""
    return rows * size[0] * size[1] * _ENTRY, 0


def accumulate(counts: Iterable[int], samples: int, fragments: int) -> tuple[int, int]:
    """(bytes, FLOPs): ``counts`` see-through faces of each row, of which half are drawn; ``fragments`` of all rows
    together, each of which looks at the opaque samples and at four texels, and adds to an entry."""
    drawn = sum(counts) // 2
    return drawn * _FACE + fragments * (8 * samples + 32 + 2 * _ENTRY), 130 * fragments
