"""What each launch of kernels/yuv moves and computes at the least: (bytes, operations) for a number of rows."""

from __future__ import annotations


def convert(rows: int, height: int, width: int) -> tuple[int, int]:
    """Three bytes a pixel in, one and a half out."""
    pixels = rows * height * width
    return int(pixels * 4.5), pixels * 16
