"""What each launch of kernels/watermark moves and computes at the least: (bytes, operations) for a number of rows."""

from __future__ import annotations


def mark(rows: int, height: int, width: int) -> tuple[int, int]:
    """Luma in and out, and the field."""
    pixels = rows * height * width
    return pixels * 3, pixels * 20
