"""What each launch of kernels/cells moves and computes at the least: (bytes, operations) for a number of rows."""

from __future__ import annotations

PACKED_BYTES = 220 / 16  # of cells, a pixel


def pack(rows: int, height: int, width: int) -> tuple[int, int]:
    """Ten planes of ``height`` x ``width``, eight of half size; cells."""
    pixels = rows * height * width
    return int(pixels * (10 + 8 / 4 + PACKED_BYTES)), pixels * 8


def follow(rows: int, height: int, width: int) -> tuple[int, int]:
    """Six planes and the previous picture, eight planes of half size and the flow; cells."""
    pixels = rows * height * width
    return int(pixels * (6 + 4 + (8 + 8) / 4 + PACKED_BYTES)), pixels * 55


def paint(rows: int, height: int, width: int) -> tuple[int, int]:
    """Residual, shares, gain and eight of a cell's planes; the picture."""
    pixels = rows * height * width
    return int(pixels * (12 + 8 + 12 / 64 + 8 + 4)), pixels * 75


def show(rows: int, height: int, width: int, alpha: bool = False) -> tuple[int, int]:
    """As `paint`; the background and the field; I420 or NV12."""
    pixels = rows * height * width
    moved, done = paint(rows, height, width)
    return int(moved + pixels * (3 + 1 + 1.5 + alpha)), done + pixels * 60
