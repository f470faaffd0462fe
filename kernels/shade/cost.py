"""What the launches of kernels/shade read and write at least once, and how much they compute."""

from __future__ import annotations

from collections.abc import Iterable

Cost = tuple[int, int]  # bytes, FLOPs


def map_project(vertices: Iterable[int], side: int) -> Cost:
    """``vertices`` of each row to a map of ``side`` squared texels, which is emptied."""
    rows = list(vertices)
    return sum(rows) * (12 + 8 + 4) + len(rows) * 4 * side * side, 20 * sum(rows)


def map_fill(casters: Iterable[int], side: int) -> Cost:
    """``casters`` of each row, about half of them toward the lamp, over half of the map."""
    rows = list(casters)
    points = len(rows) * side * side // 2
    return sum(rows) * (4 + 12 + 12) + 8 * points, 20 * sum(rows) + 25 * points


def map_blur(rows: int, side: int, radius: int) -> Cost:
    """(2 ``radius`` + 1) squared texels to one, each read once from memory."""
    return rows * side * side * (4 + 8), rows * side * side * 4 * (2 * radius + 1) ** 2


def shade(rows: int, size: tuple[int, int], covered: float = 0.5) -> Cost:
    """``rows`` pictures of ``size`` (H, W), of which the part ``covered`` is lit, four texels a pixel; the layer's
    entries are looked at everywhere."""
    pixels = rows * size[0] * size[1]
    lit = int(pixels * covered)
    return pixels * (4 + 4 + 32 + 3 + 3 + 1) + lit * (4 + 4 + 1 + 12 + 8 + 16 + 32), 420 * lit
