"""The rasterizer in CUDA equals its reference: odd sizes, samples exactly on edges, cut triangles, batches."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import cuda, layout
from kernels.device import Drawn, lens, rasterize
from kernels.nvrtc import ARCHITECTURES
from kernels.rasterize import Rasterizer, cost, reference
from kernels.rasterize.cpu import ROW
from tests.kernels.batch import batch, compiles, emulated
from tests.kernels.test_rasterize import ball, look, soup

NOTHING = dict.fromkeys(layout.struct("rasterize", "Raster").names)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiles(arch):
    compiles("rasterize", arch)


class Scene:
    """A mesh on the device, ready to be drawn."""

    def __init__(self, device, mesh, points, normals, camera, size=(47, 61), samples=4, previous=None):
        self.size, self.samples, self.mesh, self.camera = size, samples, mesh, camera
        self.points, self.unit, self.previous = points, normals, previous
        self.drawn = Drawn(device, Rasterizer(mesh, size, samples))
        self.drawn.posed.put(points)
        self.drawn.normals.put(normals)
        self.drawn.lens.put(lens(camera, 1.0))
        self.before = None if previous is None else device.array(previous)

    def row(self):
        return self.drawn.raster_row(None, self.before)

    def planes(self):
        return {name: plane.get() for name, plane in self.drawn.outputs().items()}

    def place(self):
        return self.drawn.scratch["place"].get()[: len(self.points)]

    def differing(self):
        """How many pixels are not what the reference sees there; how many were compared."""
        pixels = reference.draw(self.mesh, self.points, self.unit, self.camera, self.previous, self.size, self.samples)
        g, flat = self.planes(), {}
        for name, plane in g.items():
            flat[name] = plane if name.startswith("extra") else plane.reshape(*plane.shape[:-2], -1)
        same = [self.same(flat, pixel, surfaces) for pixel, surfaces in enumerate(pixels)]
        assert sum(bool(surfaces) for surfaces in pixels) > 20
        return len(same) - sum(same)

    def same(self, g, pixel, surfaces):
        if not surfaces:
            zero = [g[name][..., pixel] for name in ("region", "normal", "uv_plane", "flow", "coverage", "share")]
            return g["face"][pixel] == -1 and g["depth"][pixel] == np.inf and not any(np.any(part) for part in zero)
        own, others = surfaces[0], surfaces[1:]
        good = g["face"][pixel] == own.face and g["region"][pixel] == self.mesh.region[own.face]
        good = good and np.isclose(g["share"][pixel], own.share)
        good = good and np.isclose(g["coverage"][pixel], sum(seen.share for seen in surfaces))
        good = good and close(own, g["depth"][pixel], g["normal"][:, pixel], g["uv_plane"][:, pixel])
        good = good and np.allclose(g["flow"][:, pixel], own.flow, atol=2e-2)
        rows = range(3 * pixel, 3 * pixel + len(others))
        found = {int(g["extra_face"][row]): row for row in rows} if others else {}
        good = good and sorted(found) == sorted(seen.face for seen in others)
        for seen in others if good else []:
            row = found[seen.face]
            good = good and np.isclose(g["extra_share"][row], seen.share)
            good = good and close(seen, g["extra_depth"][row], g["extra_normal"][row], g["extra_uv"][row])
        return bool(good)


def close(seen, depth, normal, uv):
    good = np.isclose(depth, seen.depth, rtol=1e-3, atol=0)
    return good and np.allclose(normal, seen.normal, atol=5e-3) and np.allclose(uv, seen.uv, atol=5e-3)


def draw(device, scenes):
    table = device.rows("rasterize", "Raster", [scene.row() for scene in scenes])
    vertices, faces = max(scene.drawn.vertices for scene in scenes), max(scene.drawn.faces for scene in scenes)
    rasterize(device, table, vertices, faces, scenes[0].samples, scenes[0].size)
    return scenes


@emulated
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("size", [(47, 61), (32, 33), (1, 40)])
def test_a_ball_equals_the_reference_exactly(size, samples):
    device = cuda.emulated()
    (scene,) = draw(device, [Scene(device, *ball(), look(size=size), size, samples)])
    assert scene.differing() == 0


@emulated
@pytest.mark.parametrize("samples", [1, 4])
def test_a_soup_of_crossing_triangles_equals_the_reference(samples):
    # Where two triangles cross, float32 and float64 may disagree about which is nearer.
    device = cuda.emulated()
    scenes = [Scene(device, *soup(seed), look(), samples=samples) for seed in range(3)]
    for scene in draw(device, scenes):
        assert scene.differing() <= 0.01 * 47 * 61


@emulated
def test_triangles_through_the_near_plane_and_behind_the_camera_equal_the_reference():
    device = cuda.emulated()
    scenes = [Scene(device, *soup(seed, low=-1.0, high=1.2), look(distance=0.6)) for seed in range(2)]
    for scene in draw(device, scenes):
        assert scene.differing() <= 0.04 * 47 * 61
        assert scene.planes()["depth"].min() >= 0.05 - 1e-6


@emulated
def test_flow_points_at_the_previous_picture():
    device, (mesh, points, normals) = cuda.emulated(), ball(16)
    (first,) = draw(device, [Scene(device, mesh, points, normals, look())])
    before = first.place()
    (scene,) = draw(device, [Scene(device, mesh, points + np.float32([0.05, 0, 0]), normals, look(), previous=before)])
    assert scene.differing() == 0


@emulated
def test_rows_of_different_people_and_cameras_are_drawn_as_each_alone_and_padding_is_left_alone():
    device = cuda.emulated()
    made = [(ball(7), look(0.8)), (soup(4, count=11), look(1.2)), (ball(16), look(1.0, focal=90.0)), (ball(), look())]
    alone = [draw(device, [Scene(device, *mesh, camera)])[0].planes() for mesh, camera in made]
    scenes = [Scene(device, *mesh, camera) for mesh, camera in made]
    table = batch(device, "rasterize", "Raster", [scene.row() for scene in scenes])
    rasterize(device, table, max(len(s.points) for s in scenes), max(s.drawn.faces for s in scenes), 4, (47, 61))
    for scene, wanted in zip(scenes[:-1], alone[:-1], strict=True):
        for name, plane in scene.planes().items():
            np.testing.assert_array_equal(plane, wanted[name], err_msg=name)
    for name, plane in (scenes[-1].planes() | {n: a.get() for n, a in scenes[-1].drawn.scratch.items()}).items():
        assert (plane.view(np.uint8) == 0xFF).all(), name


@emulated
def test_one_captured_graph_draws_whoever_is_in_the_table_when_it_is_replayed():
    device = cuda.emulated()
    made = [(ball(7), look(0.8)), (soup(4, count=11), look(1.2))]
    first, second = ([Scene(device, *mesh, camera) for mesh, camera in order] for order in (made, made[::-1]))
    tables = [device.rows("rasterize", "Raster", [scene.row() for scene in scenes]) for scenes in (first, second)]
    most = max(len(scene.points) for scene in first), max(scene.drawn.faces for scene in first)
    stream = device.stream()
    for kernel in ("project", "setup", "fill", "resolve"):
        device.function("rasterize", kernel)  # nothing may be loaded while a stream is captured
    with stream.capture() as kept:
        rasterize(device, tables[0], *most, 4, (47, 61), stream)
    kept[0].launch(stream)
    stream.wait()
    host = device.pinned(tables[1].host.nbytes, np.uint8)
    host[:] = tables[1].host.view(np.uint8)
    stream.upload(tables[0]._base, host)
    kept[0].launch(stream)
    stream.wait()
    for one, other in zip(first, second[::-1], strict=True):
        assert one.differing() <= 0.01 * 47 * 61
        for name, plane in other.planes().items():
            np.testing.assert_array_equal(plane, one.planes()[name], err_msg=name)


@emulated
def test_the_places_of_the_frame_before_may_be_overwritten_by_this_ones():
    device, (mesh, points, normals) = cuda.emulated(), ball(16)
    (scene,) = draw(device, [Scene(device, mesh, points, normals, look())])
    before, moved = scene.place(), points + np.float32([0.05, 0, 0])
    (apart,) = draw(device, [Scene(device, mesh, moved, normals, look(), previous=before)])
    scene.drawn.posed.put(moved)
    scene.before = scene.drawn.scratch["place"]
    draw(device, [scene])
    for name, plane in apart.drawn.planes.items():
        np.testing.assert_array_equal(scene.drawn.planes[name].get(), plane.get(), err_msg=name)
    np.testing.assert_array_equal(scene.place(), apart.place())


@emulated
def test_an_empty_mesh_is_all_background():
    device, points = cuda.emulated(), np.zeros((0, 3), np.float32)
    mesh = soup(0, count=0)[0]
    (scene,) = draw(device, [Scene(device, mesh, points, points, look(), (5, 7))])
    planes = scene.planes()
    assert (planes["face"] == -1).all() and (planes["depth"] == np.inf).all() and not planes["coverage"].any()


@emulated
def test_planes_that_nobody_wants_need_not_be_there():
    device = cuda.emulated()
    scenes = [Scene(device, *ball(), look(), samples=1) for _ in range(2)]
    draw(device, scenes[:1])
    spare = dict.fromkeys(("coverage", "share", "extra_share", "extra_face", "extra_depth", "extra_normal", "extra_uv"))
    table = device.rows("rasterize", "Raster", [scenes[1].row() | spare])
    rasterize(device, table, scenes[1].drawn.vertices, scenes[1].drawn.faces, 1, (47, 61))
    for name in ("depth", "face", "region", "normal", "uv_plane", "flow"):
        np.testing.assert_array_equal(scenes[1].planes()[name], scenes[0].planes()[name])


def covered(corners, size, samples):
    """Which samples (T,H,W,S) the kernel `fill` covers with each triangle (T,3,2), in sub-pixels, drawn alone."""
    device, count, (height, width) = cuda.emulated(), len(corners), size
    plane = np.zeros((2, 3, ROW), np.float32)
    plane[:, 0, 0] = 1
    shared = {
        "triangle": device.array(np.array([[0, 1, 2], [9, 9, 9]], np.int32)), "layer": device.zeros(1, np.uint8),
        "owner": device.array(np.array([0, -1], np.int32)), "plane": device.array(plane), "face_count": 1,
    }  # fmt: skip
    buffers = device.zeros((count, height * samples, width), np.uint64)
    xy = [device.array(np.ascontiguousarray(three, np.int32)) for three in corners]
    rows = [NOTHING | {"vertex_count": 3} | shared | {"xy": xy[t], "buffer": buffers.row(t)} for t in range(count)]
    table = device.rows("rasterize", "Raster", rows)
    device.launch("rasterize", "fill", (1, 1, count), (128,), table, samples, height, width)
    hit = buffers.get().reshape(count, height, samples, width)
    assert np.isin(hit, [0, 0x3F800000 << 32 | 0xFFFFFFFF]).all()
    return np.moveaxis(hit != 0, 2, 3)


def wanted(corners, size, samples):
    """The same by the reference."""
    across, down = reference.OFFSETS[samples]
    row, column = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    x = np.rint((column[..., None] + across) * 256).astype(np.int64)
    y = np.rint((row[..., None] + down) * 256).astype(np.int64)
    out = []
    for three in corners:
        one, two = three[1] - three[0], three[2] - three[0]
        area = one[0] * two[1] - two[0] * one[1]
        out.append(reference.covers(three if area < 0 else three[::-1], x, y, 1) & (area != 0))
    return np.array(out)


@emulated
@pytest.mark.parametrize("samples", [1, 4])
def test_samples_are_covered_by_whole_numbers_alone(samples):
    """Corners and edges on samples, slivers, specks between samples, and triangles far larger than the picture."""
    draws, size = np.random.default_rng(3), (13, 11)
    ties = draws.integers(-4, 110, (60, 3, 2)) * 32  # multiples of the samples' grid
    ties[:20, 1, 1], ties[20:40, 1, 0] = ties[:20, 0, 1], ties[20:40, 0, 0]
    ties[:10, :2, 1] |= 32  # edges along samples, and along centres
    ties[10:20, :2, 1], ties[30:40, :2, 0] = (draws.integers(0, 11, (2, 10, 1)) * 256 + 128).repeat(2, 2)
    fine = draws.integers(-300, 3600, (30, 3, 2))
    specks = draws.integers(0, 2800, (20, 1, 2)) + draws.integers(-90, 90, (20, 3, 2))
    far = draws.integers(-(2**28), 2**28, (60, 3, 2))
    wide = np.stack([draws.integers(-(10**6), 10**6, (20, 3)), draws.integers(0, 13 * 256, (20, 3))], 2)
    corners = np.concatenate([ties, fine, specks, far, wide]).astype(np.int64)
    hit = covered(corners, size, samples)
    np.testing.assert_array_equal(hit, wanted(corners, size, samples))
    assert hit.any((1, 2, 3)).sum() > 60


@emulated
@pytest.mark.parametrize("samples", [1, 4])
def test_the_far_end_of_the_widest_picture_is_as_exact(samples):
    """Columns are estimated in float32 before they are decided."""
    size, draws, count, side = (3, 8192), np.random.default_rng(5), 8, 8192 * 256
    top = np.stack([draws.integers(side - 3000, side + 50, count), -draws.integers(1, 9000, count)], 1)
    end = np.stack([draws.integers(side - 3000, side + 50, count), 768 + draws.integers(1, 9000, count)], 1)
    sides = [np.tile(corner, (count, 1)) for corner in ([side - 6000, 300], [side + 5000, 500])]
    corners = np.concatenate([np.stack([top, end, far], 1) for far in sides])
    hit = covered(corners, size, samples)
    np.testing.assert_array_equal(hit, wanted(corners, size, samples))
    assert hit.any((1, 2, 3)).sum() > 10


def test_cost_counts_every_array_once():
    one = cost.project([(100, 50)], 4, (10, 10))
    assert one == (100 * (12 + 12 + 8 + 12 + 12 + 8 + 48) + 8 * 400, 100 * 40)
    for kernel in (cost.setup, cost.fill, cost.resolve):
        moved, computed = kernel([(100, 50), (100, 50)], 4, (10, 10))
        assert moved == 2 * kernel([(100, 50)], 4, (10, 10))[0] > 0 and computed > 0
