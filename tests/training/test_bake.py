"""The bake's tools, and one person's geometry where the prior is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

pytest.importorskip("scipy", reason="baking needs scipy: pip install visavis[train]")

from training.bake import atlas, brush, mesh, occlusion
from training.bake.identities import IDENTITIES
from training.bake.simplify import merged, merges

needs_prior = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the prior 'anny' is not installed: pip install visavis[train]"
)


def sphere(rings: int = 12, sectors: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """A closed unit sphere without duplicate vertices."""
    angle = np.linspace(0, np.pi, rings + 1)[1:-1].repeat(sectors)
    turn = np.tile(np.arange(sectors) * 2 * np.pi / sectors, rings - 1)
    ball = np.stack([np.sin(angle) * np.cos(turn), np.cos(angle), np.sin(angle) * np.sin(turn)], axis=1)
    points = np.concatenate([[[0, 1.0, 0]], ball, [[0, -1.0, 0]]])
    around, last = np.arange(sectors), len(points) - 1
    top = np.stack([np.zeros(sectors, int), 1 + (around + 1) % sectors, 1 + around], axis=1)
    low = last - sectors
    bottom = np.stack([np.full(sectors, last), low + around, low + (around + 1) % sectors], axis=1)
    middle = mesh.grid_faces(rings - 1, sectors, closed=True)[:, ::-1] + 1
    return points, np.concatenate([top, middle, bottom]).astype(np.int32)


def test_clip_cuts_exactly_at_zero_and_keeps_a_clean_edge() -> None:
    points, faces = sphere()
    kept, (cut,), _ = mesh.clip(faces, points[:, 1] - 0.3, [points])
    assert cut[kept][..., 1].min() > 0.3 - 1e-9
    used, compact = mesh.compact(kept, len(cut))
    loops = mesh.boundary_loops(compact)
    assert len(loops) == 1
    np.testing.assert_allclose(cut[used][loops[0]][:, 1], 0.3, atol=1e-9)


def test_flatten_keeps_edge_lengths_without_turning_a_triangle_over() -> None:
    points, faces = sphere(24, 32)
    half = faces[(points[faces][..., 2] > 0.15).all(1)]
    used, local = mesh.compact(half, len(points))
    flat = mesh.flatten(points[used], local, points[used][:, :2])
    a, b, c = (flat[local[:, k]] for k in range(3))
    turned = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    assert (np.sign(turned) == np.sign(turned[0])).all()
    length = np.linalg.norm(points[used][local[:, 0]] - points[used][local[:, 1]], axis=1)
    before = np.linalg.norm(points[used][local[:, 0], :2] - points[used][local[:, 1], :2], axis=1)
    error = np.abs(np.linalg.norm(a - b, axis=1) / length - 1)
    assert error.mean() < 0.5 * np.abs(before / length - 1).mean()


def test_simplify_reaches_its_target_and_leaves_a_closed_surface() -> None:
    points, faces = sphere(14, 18)
    few, _ = merged(faces, merges(points, faces, np.ones(len(points), bool), 200))
    assert len(few) <= 200
    edges = np.sort(np.concatenate([few[:, [0, 1]], few[:, [1, 2]], few[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    volume = np.einsum("fc,fc->", points[few[:, 0]], np.cross(points[few[:, 1]], points[few[:, 2]])) / 6
    assert abs(volume) > 0.9 * 4.0
    assert len({frozenset(face) for face in few.tolist()}) == len(few)


def test_simplify_leaves_vertices_that_may_not_go() -> None:
    points, faces = sphere(10, 14)
    stays = points[:, 1] > 0
    few, _ = merged(faces, merges(points, faces, ~stays, 180))
    assert set(np.flatnonzero(stays)) <= set(few.ravel().tolist())


def test_unify_gives_one_vertex_for_each_place_and_texture_coordinate() -> None:
    faces, uv_faces = np.array([[0, 1, 2], [2, 1, 3]]), np.array([[0, 1, 2], [4, 1, 3]])
    vertex, coordinate, local = mesh.unify(faces, uv_faces)
    np.testing.assert_array_equal(vertex[local], faces)
    np.testing.assert_array_equal(coordinate[local], uv_faces)
    assert len(vertex) == 5
    weld = mesh.first_of(vertex)
    assert (vertex[weld] == vertex).all() and (weld[weld] == weld).all()


def test_rasterise_interpolates_and_grows_past_the_border() -> None:
    uv = np.array([[0.2, 0.2], [0.8, 0.2], [0.2, 0.8]])
    values, covered = atlas.rasterise(uv, np.array([[0, 1, 2]]), uv, size=64)
    grid = (np.arange(64) + 0.5) / 64
    inside = (grid[None] > 0.2) & (grid[:, None] > 0.2) & (grid[None] + grid[:, None] < 1.0)
    assert covered[inside].all() and covered.sum() > inside.sum()
    np.testing.assert_allclose(values[inside][:, 0], np.broadcast_to(grid[None], (64, 64))[inside], atol=1e-5)


def test_rects_do_not_overlap() -> None:
    taken = np.zeros((atlas.SIZE, atlas.SIZE), int)
    for rect in (atlas.HEAD, atlas.HAIR, atlas.CLOTH, atlas.NECK, atlas.HAND, atlas.MOUTH, atlas.TONGUE, atlas.TEETH,
                 atlas.EYE, atlas.LASH, atlas.TRIM):  # fmt: skip
        assert rect.window(taken).shape == (rect.height, rect.width)
        rect.window(taken)[:] += 1
    assert taken.max() == 1


def test_noise_is_the_same_for_the_same_seed_and_stays_in_range() -> None:
    points = np.random.default_rng(0).normal(0, 1, (500, 3))
    one, two = brush.noise(points, 30, 3, seed=4), brush.noise(points, 30, 3, seed=4)
    np.testing.assert_array_equal(one, two)
    assert one.min() >= 0 and one.max() <= 1 and one.std() > 0.05
    assert np.abs(one - brush.noise(points, 30, 3, seed=5)).max() > 0.1


def test_srgb_and_linear_are_inverse() -> None:
    values = np.arange(256) / 255
    np.testing.assert_array_equal(brush.srgb(brush.linear(values)), np.arange(256))


def test_a_stroke_covers_its_curve_and_fades_to_nothing_outside() -> None:
    canvas = np.zeros((40, 60), np.float32)
    one = np.ones(1)
    brush.strokes(canvas, np.array([[5, 20]]), np.array([[30, 20]]), np.array([[55, 20]]), 4 * one, one)
    assert canvas[20, 8:34].min() > 0.9 and canvas[:14].max() == 0 and canvas.max() <= 1


def test_a_point_in_a_box_sees_less_sky_than_one_on_top() -> None:
    points, faces = sphere()
    places = np.array([[0, 0, 0], [0, 1.001, 0]])
    seen = occlusion.visibility(places, np.array([[0, 1.0, 0], [0, 1.0, 0]]), points, faces, np.zeros(3), 1.3)
    assert seen[0] < 0.02 and seen[1] > 0.95


@needs_prior
@pytest.mark.slow
@pytest.mark.parametrize("name", IDENTITIES)
def test_a_persons_lips_are_closed_and_every_bone_comes_after_its_parent(
    name: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.bake import head, prior
    from training.bake.rig import Rig

    monkeypatch.setattr(prior, "CACHE", tmp_path)
    identity = IDENTITIES[name]
    person = head.resting(prior.sample(identity.phenotype, identity.local), identity)
    seam = head.lip_seam()
    middle = seam[np.abs(person.rest[seam, 0]) < 0.002]
    assert np.ptp(person.rest[middle, 1]) < 0.0008
    rig = Rig(person)
    assert (rig.parent[1:] >= 0).all() and (rig.parent < np.arange(len(rig.parent))).all()
    weights = rig.weights(person, np.arange(prior.BODY))
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-5)
    again = prior.sample(identity.phenotype, identity.local)
    np.testing.assert_array_equal(again.same.shapes, person.same.shapes)


def test_without_the_prior_the_bake_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from training.bake import original

    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(original.BakeError, match=r"pip install visavis\[train\]"):
        original._anny()


def test_subdivide_rounds_a_sphere_and_leaves_no_gap() -> None:
    points, faces = sphere()
    more, rounded, (copied,) = mesh.subdivide(faces, points, [points], points[:, 0] > -0.3)
    edges = np.sort(np.concatenate([more[:, [0, 1]], more[:, [1, 2]], more[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert len(more) > 2 * len(faces) and len(copied) == len(rounded)
    new = slice(len(points), None)
    flat, curved = (np.abs(np.linalg.norm(x[new], axis=1) - 1).max() for x in (copied, rounded))
    assert curved < 0.6 * flat
    outward = (mesh.face_normals(rounded, more) * rounded[more].mean(1)).sum(1)
    assert (np.sign(outward) == np.sign((mesh.face_normals(points, faces) * points[faces].mean(1)).sum(1)[0])).all()


def test_unfold_smooths_a_fold_and_nothing_else() -> None:
    points, faces = sphere(20, 24)
    crumpled = points.copy()
    crumpled[200] = points[203]  # over its neighbours
    calm = mesh.unfold(crumpled, faces)
    assert np.linalg.norm(calm[200] - points[200]) < 0.5 * np.linalg.norm(points[203] - points[200])
    far = points @ points[200] < 0.3
    np.testing.assert_array_equal(calm[far], points[far])
