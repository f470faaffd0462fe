"""The same as ``reference`` in numba, one thread, without an allocation: every output is an argument."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int = NDArray[np.int32]
_jit = numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")


@_jit
def blend(rest: Float, move_index: Int, deltas: Float, weights: Float, moved: Float, out: Float) -> None:
    """deltas (A, 3 M) row by row; ``moved`` (3 M,) is scratch; ``out`` (V, 3). A zero weight costs nothing."""
    size = deltas.shape[1]
    for j in range(size):
        moved[j] = 0.0
    for a in range(deltas.shape[0]):
        weight = weights[a]
        if weight != 0.0:
            row = deltas[a]
            for j in range(size):
                moved[j] += weight * row[j]
    for i in range(rest.shape[0]):
        out[i, 0] = rest[i, 0]
        out[i, 1] = rest[i, 1]
        out[i, 2] = rest[i, 2]
    for m in range(move_index.shape[0]):
        i = move_index[m]
        out[i, 0] += moved[3 * m]
        out[i, 1] += moved[3 * m + 1]
        out[i, 2] += moved[3 * m + 2]


@_jit
def skin(vertices: Float, index: NDArray[np.uint8], weight: Float, bones: Float) -> None:
    """Skins ``vertices`` (V, 3) in place. index and weight (V, 4), bones (N, 3, 4)."""
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        a = b = c = np.float32(0.0)
        for k in range(4):
            w = weight[i, k]
            if w > 0.0:
                m = bones[index[i, k]]
                a += w * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
                b += w * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
                c += w * (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3])
        vertices[i, 0], vertices[i, 1], vertices[i, 2] = a, b, c


@_jit
def rotate(rows: Int, vectors: Float, index: NDArray[np.uint8], weight: Float, bones: Float, out: Float) -> None:
    """Turns rest directions ``vectors`` (len(rows), 3) with the skinning into ``out[rows]``, unit length."""
    for j in range(rows.shape[0]):
        i = rows[j]
        x, y, z = vectors[j, 0], vectors[j, 1], vectors[j, 2]
        a = b = c = np.float32(0.0)
        for k in range(4):
            w = weight[i, k]
            if w > 0.0:
                m = bones[index[i, k]]
                a += w * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z)
                b += w * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z)
                c += w * (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z)
        scale = np.float32(1.0) / max(np.sqrt(a * a + b * b + c * c), np.float32(1e-12))
        out[i, 0], out[i, 1], out[i, 2] = a * scale, b * scale, c * scale


@_jit
def normals(vertices: Float, faces: Int, weld: Int, total: Float, out: Float) -> None:
    """Area-weighted normals into ``out`` (V, 3). faces (F, 3); ``total`` (V, 3) is scratch."""
    total[:] = 0.0
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, z0 = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        ax, ay, az = vertices[j, 0] - x0, vertices[j, 1] - y0, vertices[j, 2] - z0
        bx, by, bz = vertices[k, 0] - x0, vertices[k, 1] - y0, vertices[k, 2] - z0
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for corner in range(3):
            w = weld[faces[f, corner]]
            total[w, 0] += nx
            total[w, 1] += ny
            total[w, 2] += nz
    for v in range(out.shape[0]):
        w = weld[v]
        x, y, z = total[w, 0], total[w, 1], total[w, 2]
        scale = np.float32(1.0) / max(np.sqrt(x * x + y * y + z * z), np.float32(1e-20))
        out[v, 0], out[v, 1], out[v, 2] = x * scale, y * scale, z * scale


@_jit
def axis_angle(x: float, y: float, z: float, out: NDArray[np.float64]) -> None:
    """Rodrigues' formula: the rotation by the vector (x, y, z) radians into ``out`` (3, 3)."""
    angle = np.sqrt(x * x + y * y + z * z)
    s = np.sin(angle) / angle if angle > 1e-9 else 1.0
    c = (1.0 - np.cos(angle)) / (angle * angle) if angle > 1e-9 else 0.5
    out[0, 0], out[0, 1], out[0, 2] = 1.0 - c * (y * y + z * z), c * x * y - s * z, c * x * z + s * y
    out[1, 0], out[1, 1], out[1, 2] = c * x * y + s * z, 1.0 - c * (x * x + z * z), c * y * z - s * x
    out[2, 0], out[2, 1], out[2, 2] = c * x * z - s * y, c * y * z + s * x, 1.0 - c * (x * x + y * y)


@_jit
def forward_kinematics(
    parent: NDArray[np.int64],
    pivot: NDArray[np.float64],
    local: NDArray[np.float64],
    neck: int,
    share: NDArray[np.float64],
    out: Float,
) -> None:
    """Posed bones (N, 3, 4) from ``local`` (N, 6): axis-angle about the pivot, then translation (metres).

    Parents come before children. ``share`` (3,) is turned at bone ``neck`` before its own rotation.
    """
    turn, extra, at = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    axis_angle(share[0], share[1], share[2], extra)
    for n in range(parent.shape[0]):
        axis_angle(local[n, 0], local[n, 1], local[n, 2], turn)
        if n == neck:
            for i in range(3):
                x, y, z = turn[i, 0], turn[i, 1], turn[i, 2]
                for j in range(3):
                    turn[i, j] = x * extra[0, j] + y * extra[1, j] + z * extra[2, j]
        for i in range(3):
            x, y, z = turn[i, 0] * pivot[n, 0], turn[i, 1] * pivot[n, 1], turn[i, 2] * pivot[n, 2]
            at[i] = pivot[n, i] + local[n, 3 + i] - x - y - z
        p = parent[n]
        for i in range(3):
            if p < 0:
                for j in range(3):
                    out[n, i, j] = turn[i, j]
                out[n, i, 3] = at[i]
            else:
                x, y, z = out[p, i, 0], out[p, i, 1], out[p, i, 2]
                for j in range(3):
                    out[n, i, j] = x * turn[0, j] + y * turn[1, j] + z * turn[2, j]
                out[n, i, 3] = x * at[0] + y * at[1] + z * at[2] + out[p, i, 3]
