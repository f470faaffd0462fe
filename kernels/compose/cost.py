"""What each launch of kernels/compose moves and computes at the least: (bytes, operations) for a number of rows."""

from __future__ import annotations


def over(rows: int, pixels: int) -> tuple[int, int]:
    """Picture and background; colours and alpha."""
    return rows * pixels * (4 + 3 + 3 + 1), rows * pixels * 25


def finish(rows: int, height: int, width: int, alpha: bool = False, marked: bool = True) -> tuple[int, int]:
    """Picture, background and field; I420 or NV12, and alpha."""
    pixels = rows * height * width
    return int(pixels * (4 + 3 + 1.5 + alpha + marked)), pixels * (40 + 20 * marked)
