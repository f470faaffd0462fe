"""Fewer triangles where they are not seen: half-edge collapse that keeps the remaining vertices as they are."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def merges(points: Array, faces: Array, removable: Array, target: int) -> Array:
    """(n,) the vertex that each vertex becomes when ``removable`` ones go until <= ``target`` faces are left.

    A vertex is merged into the neighbour that costs least in quadric error (Garland and Heckbert 1997);
    open edges stay. No attribute is touched: texture, weights and face actions remain valid.
    """
    mesh = _Mesh(points.astype(float), faces, removable)
    into_of = np.arange(len(points))
    heap = [(*mesh.best(v), v) for v in np.flatnonzero(mesh.free).tolist()]
    heap = [entry for entry in heap if entry[1] >= 0]
    heapq.heapify(heap)
    while heap and mesh.alive > target:
        cost, into, vertex = heapq.heappop(heap)
        if not mesh.free[vertex]:
            continue
        now, best = mesh.best(vertex)
        if best < 0:
            continue
        if now > cost + 1e-18 or best != into:
            heapq.heappush(heap, (now, best, vertex))
            continue
        into_of[vertex] = into
        for touched in mesh.collapse(vertex, into):
            if mesh.free[touched]:
                cost, best = mesh.best(touched)
                if best >= 0:
                    heapq.heappush(heap, (cost, best, touched))
    while (into_of != into_of[into_of]).any():  # a vertex may have been merged into one that was merged later
        into_of = into_of[into_of]
    return into_of


def merged(faces: Array, into: Array) -> tuple[Array, Array]:
    """(faces (f', 3) left of (f, 3) when every vertex v becomes ``into[v]``, which of the old ones (f,) they are)."""
    few = into[faces]
    left = (few[:, 0] != few[:, 1]) & (few[:, 1] != few[:, 2]) & (few[:, 2] != few[:, 0])
    return np.asarray(few[left], np.int32), left


class _Mesh:
    def __init__(self, points: Array, faces: Array, removable: Array) -> None:
        self.points = points
        self.faces: list[list[int] | None] = faces.tolist()
        self.alive = len(faces)
        self.around: list[set[int]] = [set() for _ in points]
        self.quadric = np.zeros((len(points), 4, 4))
        for number, face in enumerate(faces.tolist()):
            plane = self._plane(face)
            for v in face:
                self.around[v].add(number)
                self.quadric[v] += np.outer(plane, plane)
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        unique, count = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
        self.free = removable.copy()
        self.free[unique[count != 2].ravel()] = False

    def _plane(self, face: list[int]) -> Array:
        a, b, c = self.points[face]
        normal = np.cross(b - a, c - a)
        area = np.linalg.norm(normal)
        normal = normal / max(area, 1e-18)
        return np.append(normal, -normal @ a) * np.sqrt(0.5 * area)

    def ring(self, vertex: int) -> set[int]:
        faces = (self.faces[f] for f in self.around[vertex])
        return {v for face in faces if face is not None for v in face} - {vertex}

    def best(self, vertex: int) -> tuple[float, int]:
        """(cost, neighbour) of the cheapest legal merge of ``vertex``, or (inf, -1)."""
        ring = self.ring(vertex)
        out = (float("inf"), -1)
        for into in ring:
            place = np.append(self.points[into], 1.0)
            length = self.points[into] - self.points[vertex]
            cost = float(place @ self.quadric[vertex] @ place) + 1e-4 * float(length @ length) ** 2
            if cost < out[0] and len(ring & self.ring(into)) == 2 and not self._flips(vertex, into):
                out = (cost, into)
        return out

    def _flips(self, vertex: int, into: int) -> bool:
        """Would the merge turn a face over, or lay one face back to back on another?"""
        there = {frozenset(self.faces[f] or ()) for f in self.around[into]}
        for number in self.around[vertex]:
            face = self.faces[number]
            if face is None or into in face:
                continue
            moved = [into if v == vertex else v for v in face]
            if frozenset(moved) in there:
                return True
            before, after = self._plane(face)[:3], self._plane(moved)[:3]
            sizes = float(np.linalg.norm(before)) * float(np.linalg.norm(after))
            if before @ after < 0.3 * max(sizes, 1e-18):
                return True
        return False

    def collapse(self, vertex: int, into: int) -> set[int]:
        ring = self.ring(vertex)
        for number in list(self.around[vertex]):
            face = self.faces[number]
            if face is None:
                continue
            if into in face:
                self.faces[number] = None
                self.alive -= 1
                for v in face:
                    self.around[v].discard(number)
            else:
                self.faces[number] = [into if v == vertex else v for v in face]
                self.around[into].add(number)
        self.quadric[into] += self.quadric[vertex]
        self.around[vertex].clear()
        self.free[vertex] = False
        return ring
