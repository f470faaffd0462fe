"""Guidance planes and the warp: equal to their references on odd sizes, whatever lay in the buffers before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import guidance, texture
from kernels.guidance import beside, reference, shine
from kernels.guidance.shine import TERMS
from kernels.rasterize import Camera, Mesh, Rasterizer
from kernels.warp import FADE, fade, warp
from kernels.warp import reference as warp_reference
from tests.synthetic import ellipsoid

CLASSES = (np.arange(256) % 8).astype(np.uint8)
KINDS = (np.arange(256) % 3).astype(np.uint8)
SIZES = [(46, 62), (34, 30), (2, 40), (40, 2)]


def scene(turn=0.0, shift=0.0, size=(46, 62), distance=1.0):
    """Two balls, one half behind the other, seen from a turned camera: (mesh, points, normals, camera)."""
    parts = [ellipsoid(9, (0.05, 0.0, 0.0), (0.2, 0.25, 0.2)), ellipsoid(7, (-0.15 + shift, 0.05, 0.15), (0.1,) * 3)]
    points, normals = (np.concatenate([p[k] for p in parts]).astype(np.float32) for k in (0, 1))
    faces = np.concatenate([parts[0][2], parts[1][2] + len(parts[0][0])]).astype(np.int32)
    uv = np.concatenate([p[3] for p in parts]).astype(np.float32)
    region = (1 + np.arange(len(faces)) % 3).astype(np.uint8)
    mesh = Mesh(faces, uv, region, np.zeros(len(faces), np.uint8), np.arange(256, dtype=np.uint8))
    c, s = np.cos(turn), np.sin(turn)
    roll = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])  # or else neighbours would be equally far
    rotation = roll @ np.diag([1, -1, -1]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    camera = Camera(rotation.astype(np.float32), np.array([0, 0, distance], np.float32), 1.2 * max(size),
                    (size[1] / 2, size[0] / 2))  # fmt: skip
    return mesh, points, normals, camera


def veiled(mesh):
    """The same with the small ball see-through."""
    layer = np.zeros(len(mesh.faces), np.uint8)
    layer[2 * 9 * 18 - 2 * 18 :] = 1
    return mesh._replace(layer=layer)


def noise_texture(side=32):
    draws = np.random.default_rng(1)
    albedo = draws.integers(0, 256, (side, side, 4)).astype(np.uint8)
    return texture.build(albedo, draws.integers(0, 256, (side, side, 4)).astype(np.uint8))


def lamp():
    """Light that depends on every term of the normal, within limits that are reached."""
    light = np.random.default_rng(2).normal(0, 0.25, (2, 3, TERMS)).astype(np.float32)
    light[..., 0] += 0.8
    light[..., 10], light[..., 11] = 0.3, 1.4
    return light


def poisoned(size):
    out = guidance.allocate(size)
    for array in out:
        array.fill(np.nan if array.dtype == np.float32 else 77)
    return out


def poison(planes, *pasts):
    for array in (
        planes.before,
        planes.row,
        planes.stack,
        planes.gloss,
        planes.span,
        *(array for past in pasts for array in past),
    ):
        array.fill(np.nan if array.dtype == np.float32 else 77)


@pytest.mark.parametrize("size", SIZES)
def test_two_frames_equal_the_reference(size):
    look, previous, old = noise_texture(), None, None
    mesh = veiled(scene(size=size)[0])
    raster = Rasterizer(mesh, size, samples=1)
    planes, before = guidance.Planes(raster, CLASSES, KINDS), None
    for turn, shift in ((0.1, 0.0), (0.16, 0.02)):
        _, points, normals, camera = scene(turn, shift, size)
        now, past, out = np.full_like(points, np.nan), planes.past(), poisoned(size)
        g = raster.draw(points, normals, camera, previous, now)
        poison(planes, past)
        planes.draw(look, lamp(), camera, 1.0, before, past, out)
        hi, lo, flow, depth, mask, z = reference.sample(
            g,
            raster.buffer.winner[..., 0],
            raster.plane,
            raster.detail,
            planes.blended.slot,
            planes.blended.layer,
            planes.hair,
            look,
            lamp(),
            KINDS,
            camera.rotation,
            1.0,
            0.5,
            CLASSES,
        )
        apart = np.abs(out.hi.astype(int) - hi)
        assert (apart > 1).mean() < 4e-3 and (apart > 0).mean() < 0.02  # sixteenths of a texel, rounded in f32
        assert np.abs(out.lo.astype(int) - lo).max() <= 1 and (out.lo != lo).mean() < 0.01
        np.testing.assert_array_equal(out.lo[6], mask)
        np.testing.assert_array_equal(past.mask, mask)
        np.testing.assert_allclose(past.depth, depth, rtol=1e-6)
        np.testing.assert_allclose(planes.before, z, rtol=1e-4)
        np.testing.assert_allclose(out.flow, reference.spread(mask, flow), atol=1e-5)
        wanted = np.zeros_like(mask) if old is None else reference.trust(mask, z, out.flow, *old)
        assert (out.seen != wanted).mean() < 2e-3
        before, old, previous = past, (past.depth.copy(), past.mask.copy()), now
    if min(size) > 2:
        assert 0 < (out.seen[mask > 0] > 0).mean() < 1 and (mask == 0).any() and (mask > 0).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 23), st.integers(1, 23), st.floats(0.0, 1.0), st.integers(0, 99))
def test_flow_beside_the_surface_is_that_of_the_nearest_surface(height, width, share, seed):
    draws = np.random.default_rng(seed)
    mask = (draws.uniform(size=(height, width)) < share).astype(np.uint8)
    flow = draws.normal(size=(2, height, width)).astype(np.float32)
    got = np.where(mask > 0, flow, np.float32(np.nan))
    beside.spread(mask, np.full((height, width), 77, np.int32), np.full((2, width), 77, np.int32), got)
    np.testing.assert_array_equal(got, reference.spread(mask, flow.astype(np.float64)).astype(np.float32))


def test_light_stands_in_the_world_while_the_camera_turns_and_even_light_changes_nothing():
    normal = np.random.default_rng(3).normal(size=(200, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    rotation = scene(turn=0.7)[3].rotation
    turned = np.full_like(lamp(), np.nan)
    shine.turn(lamp(), rotation, turned)
    grey = np.full((3, 200), 100, np.uint8)
    there = reference.shone(grey, lamp()[0], normal.T)
    np.testing.assert_array_equal(reference.shone(grey, turned[0], rotation.astype(np.float64) @ normal.T), there)
    assert there.min() == 30 and there.max() == 140 and len(np.unique(there)) > 40
    np.testing.assert_array_equal(reference.shone(grey, guidance.even()[1], normal.T), grey)


def test_of_four_pixels_the_nearest_surface_is_kept():
    size = (64, 64)
    mesh, points, normals, camera = scene(size=size)
    raster = Rasterizer(mesh, size, samples=1)
    planes, out = guidance.Planes(raster, CLASSES, KINDS), guidance.allocate(size)
    g = raster.draw(points, normals, camera, None, np.empty_like(points))
    past = planes.past()
    planes.draw(noise_texture(), lamp(), camera, 1.0, None, past, out)
    np.testing.assert_array_equal(past.depth, g.depth.reshape(32, 2, 32, 2).min((1, 3)))
    assert ((out.lo[4] > 0) == (g.face.reshape(32, 2, 32, 2).max((1, 3)) >= 0)).all()


def test_what_comes_out_from_behind_is_not_seen_and_what_stays_is():
    size, look = (96, 96), noise_texture()
    mesh, *_ = scene(size=size)
    raster = Rasterizer(mesh, size, samples=1)
    classes = np.minimum(np.arange(256), 1).astype(np.uint8)
    planes, out = guidance.Planes(raster, classes, KINDS), guidance.allocate(size)
    pasts, places = [planes.past(), planes.past()], None
    for step, shift in enumerate((0.15, 0.02)):
        _, points, normals, camera = scene(0.0, shift, size)
        now = np.empty_like(points)
        g = raster.draw(points, normals, camera, places, now)
        planes.draw(look, lamp(), camera, 1.0, pasts[0] if step else None, pasts[step], out)
        places = now
    behind = g.face[::2, ::2] < len(ellipsoid(9, (0,) * 3, (1,) * 3)[2])
    on = g.face[::2, ::2] >= 0
    uncovered = on & behind & (pasts[0].depth < pasts[1].depth - 0.03)
    inner = np.all(
        [np.roll(uncovered, k, axis) for k in (-1, 1) for axis in (0, 1)], 0
    )  # one place beside is given the doubt
    assert inner.sum() > 20 and (out.seen[inner] == 0).all()
    stays = on & behind & np.isclose(pasts[0].depth, pasts[1].depth, atol=1e-3)
    assert stays.sum() > 200 and (out.seen[stays] == 255).mean() > 0.99


def test_a_rasterizer_or_buffers_of_another_kind_are_refused():
    mesh, points, normals, camera = scene()
    with pytest.raises(ValueError, match="one sample a pixel and an even size"):
        guidance.Planes(Rasterizer(mesh, (46, 62), samples=4), CLASSES, KINDS)
    with pytest.raises(ValueError, match="even size"):
        guidance.Planes(Rasterizer(mesh, (47, 62), samples=1), CLASSES, KINDS)
    planes = guidance.Planes(Rasterizer(mesh, (46, 62), samples=1), CLASSES, KINDS)
    with pytest.raises(ValueError, match="hi must be"):
        planes.draw(noise_texture(), lamp(), camera, 1.0, None, planes.past(), guidance.allocate((48, 62)))


@pytest.mark.parametrize("size", [(2, 2), (6, 10), (46, 62), (64, 128)])
def test_warp_equals_its_reference(size):
    draws = np.random.default_rng(0)
    half = (size[0] // 2, size[1] // 2)
    previous = draws.integers(0, 256, (*size, 4)).astype(np.uint8)
    previous[: size[0] // 3] = 0
    flow = (draws.normal(size=(2, *half)) * 9).astype(np.float32)
    flow[0, 0, 0], flow[1, -1, -1], flow[:, -1, 0] = np.nan, np.inf, 1e9
    seen = np.where(draws.uniform(size=half) < 0.8, 255, 0).astype(np.uint8)
    out = np.full((4, *size), 77, np.uint8)
    assert warp(previous, flow, seen, out) is out
    np.testing.assert_array_equal(out, warp_reference.warp(previous, flow, seen))
    assert not out[:, :2, :2].any()


def test_a_picture_that_does_not_move_is_warped_to_itself_and_whole_steps_shift_it():
    previous = np.random.default_rng(0).integers(0, 256, (20, 24, 4)).astype(np.uint8)
    flow, seen, out = (
        np.zeros((2, 10, 12), np.float32),
        np.full((10, 12), 255, np.uint8),
        np.empty((4, 20, 24), np.uint8),
    )
    np.testing.assert_array_equal(warp(previous, flow, seen, out), np.moveaxis(previous, 2, 0))
    flow[0], flow[1] = 3, -2
    np.testing.assert_array_equal(warp(previous, flow, seen, out)[:, 2:, :-3], np.moveaxis(previous, 2, 0)[:, :-2, 3:])


def test_warp_names_what_does_not_fit():
    planes = np.zeros((2, 5, 5), np.float32), np.zeros((5, 5), np.uint8), np.zeros((4, 10, 10), np.uint8)
    with pytest.raises(ValueError, match="previous must be"):
        warp(np.zeros((10, 10, 3), np.uint8), *planes)
    with pytest.raises(ValueError, match="previous must be"):
        warp(np.zeros((11, 10, 4), np.uint8), *planes)


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (64, 50)])
def test_what_was_painted_fades_toward_what_is_known(size):
    draws = np.random.default_rng(0)
    warped, lit = (draws.integers(0, 256, (planes, *size)).astype(np.uint8) for planes in (4, 3))
    warped[:3] = np.minimum(warped[:3], warped[3])
    expected = warp_reference.fade(warped, lit, FADE)
    ours = warped.copy()
    assert fade(ours, lit) is ours
    np.testing.assert_array_equal(ours, expected)
    for _ in range(200):
        fade(ours, lit)
    left = np.abs(ours[:3].astype(int) - np.minimum(lit, ours[3]))  # rounding stops a little short of it
    assert left.max() <= 5 and (ours[3] == warped[3]).all()
    with pytest.raises(ValueError, match="lit must be"):
        fade(ours, lit[:2])
