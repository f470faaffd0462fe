"""What the launches of kernels/rasterize read and write at least once, and how much they compute.

``sizes``: vertices and faces of each row; ``samples`` a pixel; ``size`` (H, W). About half of the faces look at the
camera and are DRAWN; a pixel is covered by DEEP of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Cost = tuple[int, int]  # bytes, FLOPs
DRAWN: Final = 0.5
DEEP: Final = 1.5
_RECORD: Final = 48
_PLANE: Final = 144


def project(sizes: Iterable[tuple[int, int]], samples: int, size: tuple[int, int]) -> Cost:
    """Vertices, normals, uv, previous in; place, xy, record out; the buffer emptied."""
    rows = list(sizes)
    vertices, points = sum(v for v, _ in rows), len(rows) * samples * size[0] * size[1]
    return vertices * (12 + 12 + 8 + 12 + 12 + 8 + _RECORD) + 8 * points, 40 * vertices


def setup(sizes: Iterable[tuple[int, int]], samples: int, size: tuple[int, int]) -> Cost:
    """Faces and their corners in; triangles and planes of those drawn out."""
    rows = list(sizes)
    vertices, faces = sum(v for v, _ in rows), sum(f for _, f in rows)
    drawn = int(DRAWN * faces)
    read = vertices * (12 + 8 + _RECORD) + faces * (12 + 1)
    return read + 8 * faces + drawn * (4 + 12 + _PLANE + 4), 20 * faces + 200 * drawn


def fill(sizes: Iterable[tuple[int, int]], samples: int, size: tuple[int, int]) -> Cost:
    """Triangles in; the buffer read and written where they are, taken as the whole picture. Integer operations of the
    edges count as FLOPs."""
    rows = list(sizes)
    vertices, faces = sum(v for v, _ in rows), sum(f for _, f in rows)
    drawn, points = int(DRAWN * faces), len(rows) * samples * size[0] * size[1]
    return 8 * vertices + faces * (1 + 8) + drawn * (12 + 20) + 16 * points, int(DEEP * points) * 25


def resolve(sizes: Iterable[tuple[int, int]], samples: int, size: tuple[int, int]) -> Cost:
    """The buffer and the planes of the triangles drawn in; the G-buffer out, as if no pixel were shared."""
    rows = list(sizes)
    faces, pixels = sum(f for _, f in rows), len(rows) * size[0] * size[1]
    seen = 4 + 4 + 1 + 12 + 8 + 8 + 4 + 4
    return pixels * (8 * samples + seen) + int(DRAWN * faces) * (_PLANE + 4 + 1), 60 * pixels
