"""What the launches of kernels/skin read and write, and how much they compute. ``sizes``: of each row's body."""

from __future__ import annotations

from collections.abc import Iterable

# Read once of each vertex: rest, place among the moving, bones and their shares; and what is written.
_VERTEX = 12 + 4 + 4 + 16 + 12


def skin(sizes: Iterable[tuple[int, int]], shapes: float = 60.0) -> tuple[int, int]:
    """(bytes, FLOPs) of poses with (V, M) vertices and moving ones; ``shapes``: how many move a vertex, on average."""
    rows = list(sizes)
    moved = sum(m for _, m in rows) * shapes
    return int(sum(v for v, _ in rows) * _VERTEX + 6 * moved), int(sum(v for v, _ in rows) * 4 * 24 + 6 * moved)


def normals(sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """(bytes, FLOPs) of bodies with (V, F) vertices and faces, none with a fixed normal."""
    rows = list(sizes)
    bytes_ = sum(v * (12 + 4 + 4 + 1 + 12) + 3 * f * 12 for v, f in rows)
    return bytes_, sum(3 * f * 18 + v * 9 for v, f in rows)
