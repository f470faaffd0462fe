"""Shading in CUDA equals its reference: made-up G-buffers of every kind of pixel, and the shadow map, row by row."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from kernels import cuda, layout
from kernels.cuda import blocks
from kernels.device import struct
from kernels.nvrtc import ARCHITECTURES
from kernels.rasterize import Camera
from kernels.rasterize import reference as raster_reference
from kernels.rasterize.resolve import Extras, GBuffer
from kernels.shade import STUDIO, cost, reference
from kernels.shade.light import Scene
from kernels.shade.shadow import FAR
from kernels.texture import Paint, to_linear, to_srgb
from tests.kernels.batch import batch, compiles, emulated
from tests.kernels.test_guidance import noise_texture
from tests.kernels.test_rasterize import ball
from tests.kernels.test_shade import opening_of

SIZE, FACES, SIDE = (13, 19), 24, 21
STEPS = 4096
NOTHING = dict.fromkeys(layout.struct("shade", "Shade").names)
STRUCTS = {"texture": np.zeros((), layout.struct("shade", "Texture"))}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiles(arch):
    compiles("shade", arch)


def unit(values, axis=0):
    return (values / np.linalg.norm(values, axis=axis, keepdims=True)).astype(np.float32)


def made(seed):
    """A picture's G-buffer with everything there is, what it wears and in which light; no mesh behind it."""
    draws, (height, width) = np.random.default_rng(seed), SIZE
    share = draws.choice(np.float32([0, 0.25, 0.5, 1]), SIZE, p=[0.2, 0.1, 0.2, 0.5])
    others = np.where(share < 0.5, draws.integers(0, 3, SIZE), draws.integers(0, 2, SIZE)) * (share > 0) * (share < 1)
    face, region = draws.integers(0, FACES, SIZE).astype(np.int32), draws.integers(0, 8, FACES).astype(np.uint8)
    region[: FACES // 2] = 5
    normal = unit(draws.normal(size=(3, *SIZE)) - np.array([0, 0, 1.5])[:, None, None])
    depth, uv = draws.uniform(0.9, 1.2, SIZE), draws.uniform(size=(2, *SIZE))
    pixel = np.repeat(np.arange(height * width), others.ravel())
    row = 3 * pixel + np.concatenate([np.arange(count) for count in others.ravel()] or [[]]).astype(np.int64)
    count = len(pixel)
    part = np.full(count, 0.25, np.float32)
    extras = Extras(pixel.astype(np.int32), part, draws.integers(0, FACES, count).astype(np.int32),
                    draws.uniform(0.9, 1.2, count).astype(np.float32),
                    unit(draws.normal(size=(3, count)) - np.array([[0], [0], [1.5]])),
                    draws.uniform(size=(2, count)).astype(np.float32))  # fmt: skip
    coverage = (share + 0.25 * others).astype(np.float32)
    g = GBuffer(depth.astype(np.float32), face, region[face], normal, uv.astype(np.float32),
                np.zeros((2, *SIZE), np.float32), coverage, share, extras)  # fmt: skip
    entry = draws.uniform(0.1, 0.9, (*SIZE, 16)).astype(np.float32)
    entry[..., 7:10] = unit(draws.normal(size=(*SIZE, 3)) - (0, 0, 1.5), -1)
    entry[..., 10:13], entry[..., 14] = unit(draws.normal(size=(*SIZE, 3)), -1), draws.uniform(0.9, 1.2, SIZE)
    entry[..., 13], entry[..., 15] = 1, draws.choice([-0.5, -3, -9, -19.5], SIZE)
    entry *= np.append(np.full(15, draws.uniform(0.5, 30)), 1).astype(np.float32)
    entry[draws.random(SIZE) < 0.6] = 0
    look, cavity = noise_texture(16 << seed), np.array([0, 2, 4, 5, 0, 0, 4, 0], np.uint8)
    reach, floor = np.zeros(8, np.float32), np.ones(8, np.float32)
    reach[[2, 4, 5]], floor[[2, 4, 5]] = (4.5, 6.2, 2.9), (0.38, 0.35, 0.72)
    paint = Paint(look, unit(draws.normal(size=(FACES, 3)), 1), draws.uniform(-6, -1, FACES).astype(np.float32),
                  np.float32(np.log2(look.side)), region, np.pad(cavity, (0, 248)), reach, floor)  # fmt: skip
    distance = draws.uniform(0.2, 0.9, (SIDE, SIDE))
    moment = np.stack([distance, distance**2 + draws.uniform(0, 0.02, distance.shape)], 2).astype(np.float32)
    to_light = draws.normal(0, 0.3, (3, 4)).astype(np.float32)
    to_light[:2] *= SIDE
    to_light[:2, 3] += SIDE / 2
    view = Camera(unit(draws.normal(size=(3, 3)), 1), np.zeros(3, np.float32), 40.0, (width / 2, height / 2))
    lamps, up = STUDIO.seen_by(view.rotation)
    lens = np.array([1 / view.focal, *view.centre], np.float32)
    nothing = np.empty((0, 0), np.float32)
    scene = Scene(lens, to_light, moment, lamps, STUDIO.ambient, up, np.float32(1.1), nothing, nothing)
    behind = draws.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    return SimpleNamespace(g=g, row=row, entry=entry, paint=paint, scene=scene, behind=behind)


def wanted(made):
    """Picture (H,W,3) and alpha (H,W), by the reference's formulas."""
    g, paint, scene, entry = made.g, made.paint, made.scene, made.entry.astype(np.float64)
    opened = np.ones(SIZE)
    for y, x in np.argwhere(paint.cavity[g.region] != 0):
        opened[y, x] = opening_of(g.region, paint, x, y, g.depth[y, x])
    canvas, e = reference.pixels(g, paint, scene, opened), g.extras
    for k in range(len(e.pixel)):
        y, x = divmod(int(e.pixel[k]), SIZE[1])
        share = np.zeros(SIZE, np.float32)
        share[y, x] = e.share[k]
        region = paint.region[e.face[k]]
        alone = (e.depth[k], e.face[k], region, e.normal[:, k], e.uv[:, k], np.zeros(2), 1.0)
        flat = (np.broadcast_to(np.asarray(value)[..., None, None], (*np.shape(value), *SIZE)) for value in alone)
        one = GBuffer(*flat, share, e)
        half = 0.5 + 0.5 * paint.floor[paint.cavity[region]]
        canvas += reference.pixels(one, paint, scene, np.full(SIZE, half))
    through = 1 - g.coverage.astype(np.float64)
    decode = to_linear(np.arange(256, dtype=np.float32) / np.float32(255))
    sums = canvas + through[..., None] * decode[made.behind]
    rows, columns = np.nonzero(entry[..., 13])
    e = entry[rows, columns]
    mean, (over, cx, cy) = e / e[:, 13:14], scene.lens.astype(np.float64)
    ray = np.stack([(columns + 0.5 - cx) * over, (rows + 0.5 - cy) * over, np.ones(len(rows))], 1)
    place, normal = ray * mean[:, 14:15], e[:, 7:10] / np.linalg.norm(e[:, 7:10], axis=1, keepdims=True)
    points = reference.Points(place, normal, e[:, 10:13], mean[:, :3], *mean[:, 3:7].T,
                              reference.shadow(place, normal, scene), np.ones(len(rows)))  # fmt: skip
    clear = np.exp2(e[:, 15:])
    sums[rows, columns] = sums[rows, columns] * clear + (1 - clear) * reference.light(points, scene)
    through[rows, columns] *= clear[:, 0]
    return np.rint(to_srgb(np.minimum(sums, 1)) * 255), (1 - through) * 255


def row_of(device, made):
    """Struct Shade of one picture, and what it points to."""
    g, paint, count = made.g, made.paint, 3 * SIZE[0] * SIZE[1]
    spread = {name: np.full((count, *np.shape(value)[:-1]), np.nan, value.dtype) if value.dtype == np.float32
              else np.full(count, 10**6, np.int32) for name, value in g.extras._asdict().items()}  # fmt: skip
    for name, value in g.extras._asdict().items():
        spread[name][made.row] = value.T
    frame = np.zeros((), layout.struct("shade", "Scene"))
    for name in ("lens", "to_light", "lamps", "ambient", "up", "exposure"):
        frame[name] = getattr(made.scene, name).reshape(frame[name].shape)
    frame["reach"], frame["open"] = paint.reach, paint.floor
    steps = np.linspace(0, 1, STEPS, dtype=np.float32)
    arrays = {
        **{f"extra_{name}": spread[name] for name in ("share", "face", "depth", "normal", "uv")},
        **{name: getattr(g, name) for name in ("depth", "face", "region", "normal", "coverage", "share")},
        "uv_plane": g.uv, "moment": made.scene.moment, "tangent": paint.tangent, "detail": paint.detail,
        "face_region": paint.region, "cavity": paint.cavity, "scene": frame, "background": made.behind,
        "layer": made.entry, "encode": np.rint(to_srgb(steps) * 255).astype(np.uint8),
        "decode": to_linear(np.arange(256, dtype=np.float32) / np.float32(255)),
    }  # fmt: skip
    there = {name: device.array(np.ascontiguousarray(value)) for name, value in arrays.items()}
    texels, start = device.array(paint.texture.texels), device.array(paint.texture.start)
    fields = {"texels": texels, "start": start, "levels": len(paint.texture.start), "side": paint.texture.side}
    out = {"rgb": device.empty((*SIZE, 3), np.uint8), "alpha": device.empty(SIZE, np.uint8)}
    numbers = {"bias": float(paint.bias), "steps": STEPS, "vertex_count": 0, "caster_count": 0}
    row = NOTHING | there | out | numbers | {"texture": struct("shade", "Texture", fields)}
    return SimpleNamespace(row=row, kept=(texels, start), **out)


@emulated
def test_every_kind_of_pixel_equals_the_reference():
    device, frames = cuda.emulated(), [made(seed) for seed in range(3)]
    there = [row_of(device, frame) for frame in [*frames, frames[0]]]
    table = batch(device, "shade", "Shade", [one.row for one in there])
    grid = (blocks(SIZE[1], 16), blocks(SIZE[0], 16), len(there))
    device.launch("shade", "shade", grid, (16, 16), table, SIDE, *SIZE)
    for frame, one in zip(frames, there, strict=False):
        picture, alpha = wanted(frame)
        rgb, seen = one.rgb.get().astype(int), frame.g.share
        bare = (seen == 0) & (frame.entry[..., 13] == 0)
        assert bare.any() and ((seen > 0) & (frame.g.coverage > seen)).any()
        np.testing.assert_array_equal(rgb[bare], frame.behind[bare])
        assert np.abs(one.alpha.get() - alpha).max() <= 1
        # A coordinate that rounds to the other sixteenth of a texel shows in a noise of colours.
        assert np.mean(np.abs(rgb - picture) > 2) < 0.02
        assert np.abs(rgb - picture).max() < 40
    assert (there[-1].rgb.get() == 255).all() and (there[-1].alpha.get() == 255).all()


def distances(points, faces, to_map, side):
    """Distance (M,M) from the lamp's plane of what it sees; FAR where it sees nothing."""
    place = points.astype(np.float64) @ to_map[:, :3].T.astype(np.float64) + to_map[:, 3]
    xy, triangles = np.rint(place[:, :2] * 256).astype(np.int64), []
    for number, face in enumerate(faces):
        corner = xy[face]
        one, two = corner[1] - corner[0], corner[2] - corner[0]
        if one[0] * two[1] - two[0] * one[1] < 0:
            triangles.append(raster_reference.Triangle(number, corner, FAR - place[face, 2:]))
    nearness, _ = raster_reference.fill(triangles, (side, side), 1)
    return FAR - nearness[..., 0]


@emulated
@pytest.mark.parametrize("radius", [0, 2])
def test_the_shadow_map_holds_blurred_distances(radius):
    device, rows, expected, kept = cuda.emulated(), [], [], []
    for number, rings in enumerate((9, 5, 7)):
        mesh, points, _ = ball(rings, centre=(0.05 * number, 0, 0))
        turn = unit(np.random.default_rng(number).normal(size=(3, 3)), 1)
        turn[1] = unit(np.cross(turn[2], turn[0]))
        turn[0] = np.cross(turn[1], turn[2])
        to_map = np.concatenate([turn * [[40], [40], [1]], [[SIDE / 2], [SIDE / 2], [0]]], 1).astype(np.float32)
        frame = np.zeros((), layout.struct("shade", "Scene"))
        frame["to_map"] = to_map.ravel()
        casters = np.flatnonzero(mesh.region != 2).astype(np.int32)
        there = {"vertices": points, "faces": mesh.faces, "casters": casters, "scene": frame}
        there = {name: device.array(value) for name, value in there.items()}
        empty = {"map_xy": ((len(points), 2), np.int32), "nearness": (len(points), np.float32),
                 "map": ((SIDE, SIDE), np.uint32), "moment": ((SIDE, SIDE, 2), np.float32)}  # fmt: skip
        there |= {name: device.empty(*kind) for name, kind in empty.items()}
        numbers = {"vertex_count": len(points), "caster_count": len(casters), "bias": 0.0, "steps": 2}
        rows.append(NOTHING | STRUCTS | there | numbers)
        kept.append(there["moment"])
        near = np.pad(distances(points, mesh.faces[casters], to_map, SIDE), radius, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(near, (2 * radius + 1,) * 2)
        expected.append(np.stack([windows.mean((2, 3)), (windows**2).mean((2, 3))], 2))
    table = batch(device, "shade", "Shade", rows)
    vertices, casters = max(row["vertex_count"] for row in rows), max(row["caster_count"] for row in rows)
    device.launch("shade", "map_project", (blocks(vertices, 256), 1, 3), (256,), table, SIDE)
    device.launch("shade", "map_fill", (blocks(casters, 128), 1, 3), (128,), table, SIDE)
    device.launch("shade", "map_blur", (2, 2, 3), (16, 16), table, SIDE, radius)
    for moment, right in zip(kept[:-1], expected, strict=False):
        assert (right[..., 0] < FAR).mean() > 0.2
        np.testing.assert_allclose(moment.get(), right, atol=2e-4)
    assert np.isnan(kept[-1].get()).all()


def test_cost_is_that_of_the_pictures():
    assert cost.map_project([10, 20], 4) == (30 * 24 + 128, 600)
    assert cost.map_blur(2, 4, 1)[0] == 2 * 16 * 12
    assert cost.shade(2, (8, 8), 0.0) == (128 * 47, 0)
    assert cost.map_fill([10], 4)[0] == 280 + 64
