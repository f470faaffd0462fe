"""Blendshapes, linear blend skinning and vertex normals in plain NumPy: the definition the kernels match.

Sizes: V vertices, F faces, M moving vertices, A actions, N bones. A bone is a (3, 4) affine matrix that
takes a rest position to its posed position. Source: Lewis, Cordner and Fong 2000, eq. 1 (skeleton subspace
deformation) after a linear sum of action offsets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int = NDArray[np.int32]


def blend(rest: Float, move_index: Int, deltas: Float, weights: Float) -> Float:
    """Adds ``weights`` (A,) times ``deltas`` (A, M, 3) to the rows ``move_index`` (M,) of ``rest`` (V, 3)."""
    shaped = rest.copy()
    shaped[move_index] += np.einsum("a,amc->mc", weights, deltas)
    return shaped


def skin(shaped: Float, index: NDArray[np.uint8], weight: Float, bones: Float) -> Float:
    """Linear blend skinning. shaped (V, 3), index and weight (V, 4), bones (N, 3, 4) -> (V, 3), metres."""
    matrix = np.einsum("vk,vkij->vij", weight, bones[index])
    return np.einsum("vij,vj->vi", matrix[:, :, :3], shaped) + matrix[:, :, 3]


def rotate(vectors: Float, index: NDArray[np.uint8], weight: Float, bones: Float) -> Float:
    """Turns rest directions (V, 3) with the skinning and makes them unit length again."""
    turned = np.einsum("vk,vkij,vj->vi", weight, bones[index][..., :3], vectors)
    return turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)


def normals(vertices: Float, faces: Int, weld: Int) -> Float:
    """Area-weighted vertex normals, (V, 3). ``weld`` (V,) names the vertex that stands for each one, so that
    the two sides of a texture seam get one normal. A vertex of no face gets zero."""
    corner = vertices[faces]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = np.zeros(vertices.shape, np.float64)
    for side in range(3):
        np.add.at(total, weld[faces[:, side]], cross)
    unit = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
    return unit[weld].astype(np.float32)


def axis_angle(vector: NDArray[Any]) -> NDArray[np.float64]:
    """Rodrigues' formula: the (3, 3) rotation by ``vector`` (3,) radians."""
    angle = float(np.linalg.norm(vector))
    x, y, z = np.asarray(vector, np.float64) / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def forward_kinematics(parent: Int, pivot: NDArray[Any], local: NDArray[Any], neck: int, share: NDArray[Any]) -> Float:
    """Posed bones (N, 3, 4) from ``local`` (N, 6): axis-angle about the pivot, then translation (metres).

    Parents come before children. ``share`` (3,) is turned at bone ``neck`` before its own rotation.
    """
    bones = np.zeros((len(parent), 4, 4))
    for n in range(len(parent)):
        turn = axis_angle(local[n, :3])
        if n == neck:
            turn = turn @ axis_angle(share)
        matrix = np.eye(4)
        matrix[:3, :3] = turn
        matrix[:3, 3] = pivot[n] + local[n, 3:] - turn @ pivot[n]
        bones[n] = matrix if parent[n] < 0 else bones[parent[n]] @ matrix
    return bones[:, :3].astype(np.float32)
