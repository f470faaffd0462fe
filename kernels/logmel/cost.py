"""What a launch of kernels/logmel reads and writes, and how much it computes."""

from __future__ import annotations


def decimate(rows: int) -> tuple[int, int]:
    """(bytes, FLOPs) of ``rows`` voices' 40 ms."""
    return 4 * (rows * (1920 + 640 + 2 * 96) + 97), rows * 2 * 640 * 97


def logmel(rows: int, weights: int = 474) -> tuple[int, int]:
    """(bytes, FLOPs) of ``rows`` voices' 40 ms; ``weights``: of all filters together."""
    tables = 400 + 512 + 80 + 81 + weights
    butterflies, untangled, filtered = 2 * 9 * 256 * 10, 2 * 257 * 12, 4 * (2 * weights + 80 * 3)
    return 4 * (rows * (640 + 2 * 240 + 320) + tables), rows * (2 * 2 * 400 + butterflies + untangled + filtered)
