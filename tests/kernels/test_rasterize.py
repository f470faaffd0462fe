"""The rasterizer: equal to its reference on odd sizes, watertight, clipped, and never reading what it did not write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.rasterize import Camera, Mesh, Rasterizer, cpu, fill, reference
from tests.synthetic import ellipsoid

MATERIAL = np.arange(256, dtype=np.uint8)


def look(distance=1.0, size=(47, 61), focal=60.0):
    return Camera(
        np.diag([1, -1, -1]).astype(np.float32),
        np.array([0, 0, distance], np.float32),
        focal,
        (size[1] / 2, size[0] / 2),
    )


def mesh_of(faces, vertices, uv=None, layer=None, region=None):
    faces = np.asarray(faces, np.int32).reshape(-1, 3)
    count = len(faces)
    return Mesh(
        faces,
        np.zeros((len(vertices), 2), np.float32) if uv is None else uv.astype(np.float32),
        np.ones(count, np.uint8) if region is None else np.asarray(region, np.uint8),
        np.zeros(count, np.uint8) if layer is None else np.asarray(layer, np.uint8),
        MATERIAL,
    )


def ball(rings=9, radii=(0.2, 0.25, 0.2), centre=(0.01, -0.02, 0.0)):
    points, normals, faces, uv = ellipsoid(rings, centre, radii)
    region = 1 + np.arange(len(faces)) % 3
    return mesh_of(faces, points, uv, region=region), points.astype(np.float32), normals.astype(np.float32)


def soup(seed, count=40, low=-0.5, high=0.5):
    draws = np.random.default_rng(seed)
    points = draws.uniform(low, high, (count * 3, 3)).astype(np.float32)
    normals = draws.normal(size=points.shape)
    normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
    mesh = mesh_of(np.arange(count * 3), points, draws.uniform(size=(count * 3, 2)), region=draws.integers(1, 4, count))
    return mesh, points, normals


def drawn(mesh, points, normals, camera, size, samples=4, previous=None):
    """The rasterizer with every buffer poisoned first, so that unwritten memory shows."""
    raster = Rasterizer(mesh, size, samples)
    for array in (raster.plane, raster.record, *raster.gbuffer[:-1], *raster.gbuffer.extras):
        array.fill(np.nan if array.dtype == np.float32 else 77)
    now = np.full_like(points, np.nan)
    raster.draw(points, normals, camera, previous, now)
    return raster, now


def same_as_reference(mesh, points, normals, camera, size, samples, previous=None, differing=0.0):
    raster, _ = drawn(mesh, points, normals, camera, size, samples, previous)
    pixels = reference.draw(mesh, points, normals, camera, previous, size, samples)
    g, extras, missed, compared = raster.gbuffer, raster.gbuffer.extras, 0, 0
    for pixel, surfaces in enumerate(pixels):
        y, x = divmod(pixel, size[1])
        if not surfaces:
            missed += g.coverage[y, x] != 0 or g.face[y, x] != -1 or g.region[y, x] != 0 or g.depth[y, x] != np.inf
            continue
        own = surfaces[0]
        shares = [seen.share for seen in surfaces]
        rows = np.flatnonzero(extras.pixel[: raster.extra_count] == pixel)
        same = g.face[y, x] == own.face and np.isclose(g.coverage[y, x], sum(shares)) and len(rows) == len(shares) - 1
        same = same and sorted(extras.face[rows]) == sorted(seen.face for seen in surfaces[1:])
        same = same and g.region[y, x] == mesh.region[own.face] and g.share[y, x] == pytest.approx(own.share)
        same = same and g.depth[y, x] == pytest.approx(own.depth, rel=1e-3)
        for plane, wanted, slack in ((g.normal, own.normal, 5e-3), (g.uv, own.uv, 5e-3), (g.flow, own.flow, 2e-2)):
            same = same and np.allclose(plane[:, y, x], wanted, atol=slack)
        compared += same
        missed += not same
    assert missed <= differing * len(pixels)
    assert compared > 20
    return raster


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("size", [(47, 61), (32, 33), (1, 40)])
def test_a_ball_equals_the_reference_exactly(size, samples):
    mesh, points, normals = ball()
    same_as_reference(mesh, points, normals, look(size=size), size, samples)


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_soup_of_crossing_triangles_equals_the_reference(seed, samples):
    # Where two triangles cross, float32 and float64 may disagree about which is nearer; and a triangle seen edge-on
    # turns one step of the snapping grid into centimetres of depth. A handful of samples.
    mesh, points, normals = soup(seed)
    same_as_reference(mesh, points, normals, look(), (47, 61), samples, differing=0.01)


@pytest.mark.parametrize("seed", range(2))
def test_triangles_through_the_near_plane_and_behind_the_camera_equal_the_reference(seed):
    mesh, points, normals = soup(seed, low=-1.0, high=1.2)
    raster = same_as_reference(mesh, points, normals, look(distance=0.6), (47, 61), 4, differing=0.04)
    assert raster.gbuffer.depth.min() >= 0.05 - 1e-6


def test_flow_points_at_the_previous_picture():
    mesh, points, normals = ball(16)
    size, camera = (64, 64), look(size=(64, 64))
    _, before = drawn(mesh, points, normals, camera, size)
    raster, _ = drawn(mesh, points + np.float32([0.05, 0, 0]), normals, camera, size, previous=before)
    g = raster.gbuffer
    whole = g.coverage == 1
    expected = -0.05 * camera.focal / g.depth
    np.testing.assert_allclose(g.flow[0][whole], expected[whole], atol=2e-2)
    np.testing.assert_allclose(g.flow[1][whole], 0, atol=2e-2)
    same_as_reference(mesh, points + np.float32([0.05, 0, 0]), normals, camera, size, 4, previous=before)


def test_nothing_moves_when_nothing_moved():
    mesh, points, normals = ball(16)
    raster, _ = drawn(mesh, points, normals, look(), (47, 61))
    assert np.abs(raster.gbuffer.flow).max() < 0.01


@pytest.mark.parametrize("samples", [1, 4])
def test_a_closed_mesh_has_no_holes_and_is_hit_once(samples):
    """Front and back of a closed ball cover exactly the same samples, with one hit each."""
    mesh, points, normals = ball(21)
    size = (97, 89)
    inside_out = mesh._replace(faces=np.ascontiguousarray(mesh.faces[:, ::-1]))
    hits = []
    for side in (mesh, inside_out):
        raster, _ = drawn(side, points, normals, look(size=size, focal=150.0), size, samples)
        hits.append(count_hits(raster))
    np.testing.assert_array_equal(hits[0], hits[1])
    assert hits[0].max() == 1
    inside = hits[0].min(-1)
    assert inside[30:60, 25:60].all()


def count_hits(raster):
    """How many triangles cover each sample, drawing them one at a time."""
    hits = np.zeros(raster.buffer.nearness.shape, np.int64)
    for t in range(raster.count):
        one = np.ascontiguousarray(raster.triangle[t : t + 1])
        hits += covered_by(raster.xy, raster.plane[t : t + 1], one, hits.shape)
    return hits


def covered_by(xy, plane, triangle, shape):
    """Samples (H,W,S) that one triangle covers."""
    nearness, winner, code = np.zeros(shape, np.float32), np.full(shape, -1, np.int32), np.zeros(1, np.int32)
    extent = np.full((shape[0], 2), (shape[1], 0), np.int32)
    if shape[2] == 4:
        fill.fill4(xy, plane, triangle, code, 1, nearness, winner, extent)
    else:
        fill.fill(xy, plane, triangle, code, 1, nearness.reshape(shape[:2]), winner.reshape(shape[:2]), extent)
    columns = np.arange(shape[1])
    outside = (columns < extent[:, :1]) | (columns >= extent[:, 1:])
    assert (winner[outside] == -1).all()
    covered = winner >= 0
    fill.clear(nearness, winner, extent)
    assert (winner == -1).all() and (nearness == 0).all() and (extent == (shape[1], 0)).all()
    return covered


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-40, 1500), st.integers(-40, 1500)), min_size=4, max_size=4, unique=True),
    st.sampled_from([1, 4]),
)
def test_two_triangles_that_share_an_edge_split_the_samples_between_them(corners, samples):
    """Any quadrilateral, snapped to the grid and corners on samples included: no sample twice, none between."""
    xy = np.array(corners, np.int32) * 2
    record = np.ones((4, 12), np.float32)
    a, b, c, d = (np.int64(p) for p in xy)
    opposite = side_of(a, b, c) * side_of(a, b, d) < 0
    if not opposite:
        return
    hits = np.zeros((12, 12, samples), np.int64)
    for corner in (2, 3):
        triangle = np.array([[0, 1, corner]], np.int32)
        plane, detail = np.zeros((1, 3, cpu.ROW), np.float32), np.zeros(1, np.float32)
        cpu.planes(triangle, np.zeros(1, np.int32), 1, xy, record, 1, np.ones(1, np.float32), plane, detail)
        hits += covered_by(xy, plane, triangle, hits.shape)
    assert hits.max(initial=0) <= 1
    across, down = reference.OFFSETS[samples]
    row, column = np.meshgrid(np.arange(12), np.arange(12), indexing="ij")
    x = np.rint((column[..., None] + across) * 4096).astype(np.int64)
    y = np.rint((row[..., None] + down) * 4096).astype(np.int64)
    on_edge = covered_by_edge(xy[0], xy[1], x, y)
    assert (hits[on_edge] == 1).all()


def side_of(a, b, point):
    return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])


def covered_by_edge(a, b, x, y):
    """Samples strictly inside the shared edge: one of its two triangles must own them."""
    a, b = np.int64(a) * 16, np.int64(b) * 16
    on_line = (b[0] - a[0]) * (y - a[1]) == (b[1] - a[1]) * (x - a[0])
    along = (x - a[0]) * (b[0] - a[0]) + (y - a[1]) * (b[1] - a[1])
    return on_line & (along > 0) & (along < ((b - a) ** 2).sum())


def test_degenerate_triangles_draw_nothing():
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [0, 0, 0]], np.float32)
    raster, _ = drawn(
        mesh_of([[0, 1, 2], [0, 0, 1], [0, 3, 1]], points), points, np.ones_like(points), look(), (47, 61)
    )
    assert raster.count == 0
    assert not raster.gbuffer.coverage.any()


def test_an_empty_mesh_is_all_background():
    points = np.zeros((0, 3), np.float32)
    raster, _ = drawn(mesh_of(np.zeros((0, 3)), points), points, points, look(), (5, 7))
    g = raster.gbuffer
    assert (g.face == -1).all() and (g.depth == np.inf).all() and not g.coverage.any() and raster.extra_count == 0
    for plane in (g.normal, g.uv, g.flow, g.share):
        assert not plane.any()


def test_a_mesh_behind_the_camera_is_not_seen():
    mesh, points, normals = ball()
    raster, _ = drawn(mesh, points + np.float32([0, 0, 3]), normals, look(), (47, 61))
    assert not raster.gbuffer.coverage.any()


def test_blended_faces_are_kept_apart_and_seen_from_both_sides():
    mesh, points, normals = ball()
    raster, _ = drawn(mesh._replace(layer=np.ones(len(mesh.faces), np.uint8)), points, normals, look(), (47, 61))
    assert raster.count == 0 and not raster.gbuffer.coverage.any()
    assert raster.blended_count > 0.9 * len(mesh.faces)


def test_a_second_picture_does_not_remember_the_first():
    mesh, points, normals = ball()
    raster, now = drawn(mesh, points, normals, look(), (47, 61))
    far = points + np.float32([0.3, 0.1, 0])
    raster.draw(far, normals, look(), None, now)
    fresh, _ = drawn(mesh, far, normals, look(), (47, 61))
    for old, new in zip(raster.gbuffer[:-1], fresh.gbuffer[:-1], strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": np.zeros((2, 3), np.int64)}, "mesh.faces must be"),
        ({"faces": np.full((144, 3), 99999, np.int32)}, "points at vertex 99999"),
        ({"layer": np.zeros(3, np.uint8)}, "mesh.layer must be"),
    ],
)
def test_a_mesh_that_does_not_fit_together_is_refused(change, message):
    mesh, _, _ = ball()
    mesh = mesh._replace(**change)
    if "layer" not in change:
        count = len(mesh.faces)
        mesh = mesh._replace(region=np.zeros(count, np.uint8), layer=np.zeros(count, np.uint8))
    with pytest.raises(ValueError, match=message):
        Rasterizer(mesh, (16, 16))


def test_wrong_arguments_are_named():
    mesh, points, normals = ball()
    with pytest.raises(ValueError, match="samples must be 1 or 4"):
        Rasterizer(mesh, (16, 16), 3)
    with pytest.raises(ValueError, match="picture size"):
        Rasterizer(mesh, (0, 16))
    raster = Rasterizer(mesh, (16, 16))
    with pytest.raises(ValueError, match="vertices must be"):
        raster.draw(points[1:], normals, look(), None, np.zeros_like(points))
    with pytest.raises(ValueError, match="normals must be .* float32"):
        raster.draw(points, normals.astype(np.float64), look(), None, np.zeros_like(points))
