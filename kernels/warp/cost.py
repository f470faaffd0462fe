"""What each launch of kernels/warp moves and computes at the least: (bytes, operations) for a number of rows."""

from __future__ import annotations


def warp(rows: int, height: int, width: int) -> tuple[int, int]:
    """Pictures of ``height`` x ``width``, all of them seen."""
    pixels = rows * height * width
    return pixels * (4 + 4) + pixels // 4 * (8 + 1), pixels * 35


def fade(rows: int, pixels: int) -> tuple[int, int]:
    """Four planes and three, of which three are written."""
    return rows * pixels * (4 + 3 + 3), rows * pixels * 15
