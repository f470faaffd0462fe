"""What each launch of kernels/guidance moves and computes at the least: (bytes, operations) for a number of rows."""

from __future__ import annotations


def drift(rows: int, count: int) -> tuple[int, int]:
    """``count`` blended faces: slots, three corners' places and records, the motion."""
    return rows * count * (4 + 8 + 12 + 3 * (12 + 16) + 12), rows * count * 45


def sample(rows: int, height: int, width: int, covered: float = 0.5, veiled: float = 0.1) -> tuple[int, int]:
    """``covered``: part of the picture with a surface; ``veiled``: with blended faces over it."""
    pixels, half = rows * height * width, rows * height * width // 4
    read = pixels * (4 + 16) + int(covered * pixels) * (1 + 4 + 12 + 8 + 8) + int(veiled * pixels) * 48
    read += int(covered * half) * (8 + 8 + 16)  # flow, winner and its plane, of one pixel in four
    return read + pixels * 6 + half * (7 + 8 + 4 + 4 + 1), int(covered * pixels) * 140 + half * 40


def columns(rows: int, height: int, width: int) -> tuple[int, int]:
    """``height`` and ``width`` of the planes: half the picture's."""
    return rows * height * width * (1 + 2), rows * height * width * 8


def lead(rows: int, height: int, width: int, away: float = 30.0) -> tuple[int, int]:
    """``away``: mean distance of a place to the nearest surface, in pixels of the planes."""
    places = rows * height * width
    return places * (2 + 1 + 4 + 8 + 8 + 4 + 1 + 1), int(places * (8 * away + 60))
