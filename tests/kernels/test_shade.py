"""Shading, textures, the shadow map and the blended layer: each equal to its reference, on odd sizes."""

from __future__ import annotations

import numpy as np
import pytest

from engine.render import material
from engine.render.camera import FRAMINGS, camera
from engine.viewpoint import Viewpoint
from kernels import texture
from kernels.blend import reference as blend_reference
from kernels.rasterize import Rasterizer
from kernels.shade import Shader, cpu, light, reference
from kernels.shade.light import LANES, RUN, Scene
from kernels.texture import Paint
from tests.synthetic import make_avatar

SIZE = (61, 47)


@pytest.fixture(scope="module")
def drawn():
    """A rasterized synthetic avatar and a shader for it, half turned, every shader buffer poisoned."""
    avatar = make_avatar()
    mesh, look = material.build(avatar)
    raster = Rasterizer(mesh, SIZE)
    shader = Shader(raster, look, np.full((*SIZE, 3), 90, np.uint8))
    for array in (shader.canvas, shader.lane, shader.shadow.moment, shader.shadow.line, shader.blended.layer):
        array.fill(np.nan)
    view = camera(Viewpoint(0.4, 0.1, 1.05), FRAMINGS["head"], SIZE)
    normals = avatar.rest_normal.astype(np.float32)
    raster.draw(avatar.rest, normals, view, None, np.empty_like(avatar.rest))
    rgb, alpha = np.full((*SIZE, 3), 7, np.uint8), np.full(SIZE, 7, np.uint8)
    shader.draw(avatar.rest, view, np.array([0, -0.1, -0.06], np.float32), 1.05, rgb, alpha)
    return avatar, raster, shader, view, rgb, alpha


def scene_of(shader, view):
    """The scene that ``shader.draw`` lit, rebuilt from its parts."""
    lamps, up = shader.lights.seen_by(view.rotation)
    world = shader.shadow.to_map(shader.lights.lamps[0, :3], np.array([0, -0.1, -0.06], np.float32)).astype(np.float64)
    turn = world[:, :3] @ view.rotation.T
    to_light = np.concatenate([turn, (world[:, 3] - turn @ view.translation)[:, None]], 1).astype(np.float32)
    lens = np.array([1 / view.focal, *view.centre], np.float32)
    lane, texel = np.zeros((LANES, RUN), np.float32), np.zeros((2, RUN), np.uint64)
    ambient, exposure = shader.lights.ambient, np.float32(shader.lights.exposure)
    return Scene(lens, to_light, shader.shadow.moment, lamps, ambient, up, exposure, lane, texel)


def test_fetch_equals_the_reference_at_every_level():
    draws = np.random.default_rng(1)
    image = [draws.integers(0, 256, (64, 64, 4)).astype(np.uint8) for _ in range(2)]
    made = texture.build(*image)
    assert len(made.start) == 7
    u, v = draws.uniform(-0.1, 1.1, (2, 300)).astype(np.float32)
    for level in range(9):
        expected = reference.fetch(made, u, v, level)
        for i in range(len(u)):
            even, odd = texture.fetch(made, u[i], v[i], level)
            got = [texture.channel(np.uint64(half), k) for k in range(4) for half in (even, odd)]
            # A coordinate that rounds to the other side of a sixteenth moves the value by at most a sixteenth.
            np.testing.assert_allclose(got, expected[i], atol=0.07)
            assert np.mean(np.abs(np.array(got) - expected[i])) < 0.02


def test_a_flat_texture_is_the_same_at_every_level():
    albedo, surface = np.full((32, 32, 4), (200, 100, 50, 255), np.uint8), np.full((32, 32, 4), 77, np.uint8)
    made = texture.build(albedo, surface)
    assert np.unique(made.texels).size == 1
    assert bytes(made.texels[:1].astype("<u8").tobytes()) == bytes([200, 100, 50, 255, 77, 77, 77, 77])


def test_a_mip_level_does_not_bleed_the_colour_of_clear_texels():
    albedo = np.zeros((2, 2, 4), np.uint8)
    albedo[0, 0] = (255, 255, 255, 255)
    top = texture.build(albedo, np.zeros((2, 2, 4), np.uint8)).texels[-1:].astype("<u8").tobytes()
    assert top[3] == 64
    assert abs(top[0] - 64) <= 1  # white at a quarter of alpha, times alpha


@pytest.mark.parametrize("shape", [(3, 3, 4), (4, 8, 4), (4, 4, 3)])
def test_a_texture_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match="power of two|must be"):
        texture.build(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


def test_light_equals_the_reference():
    draws = np.random.default_rng(2)
    count = 333

    def unit(n):
        return n / np.linalg.norm(n, axis=1, keepdims=True)

    place = draws.uniform((-0.3, -0.3, 0.8), (0.3, 0.3, 1.4), (count, 3))
    normal = unit(draws.normal(size=(count, 3)) + (0, 0, -1.5))
    tangent, colour = unit(draws.normal(size=(count, 3))), draws.uniform(size=(count, 3))
    rest = draws.uniform(size=(6, count))
    rest[3] = rest[3] > 0.5
    points = reference.Points(place, normal, tangent, colour, *rest)
    lamps = np.concatenate([unit(draws.normal(size=(3, 3))), draws.uniform(0.2, 1.2, (3, 3))], 1)
    lane = np.full((LANES, RUN), np.nan, np.float32)
    scene = Scene(
        np.array([1e-3, 0, 0], np.float32), np.zeros((3, 4), np.float32), np.zeros((2, 2, 2), np.float32),
        lamps.astype(np.float32), np.array([[0.3, 0.2, 0.1], [0.1, 0.2, 0.3]], np.float32),
        np.array([0, -1, 0], np.float32), np.float32(1.2), lane, np.zeros((2, RUN), np.uint64),
    )  # fmt: skip
    view = -place / np.linalg.norm(place, axis=1, keepdims=True)
    rows = [*normal.T, *view.T, *colour.T, np.ones(count), *rest, *tangent.T]
    order = ["NX", "NY", "NZ", "VX", "VY", "VZ", "RED", "GREEN", "BLUE", "ALPHA", "AO", "GLOSS", "SSS", "STRAND",
             "LIT", "OPEN", "TX", "TY", "TZ"]  # fmt: skip
    for name, row in zip(order, rows, strict=True):
        lane[getattr(light, name), :count] = row
    light.light(count, scene)
    got = lane[light.OUT : light.OUT + 3, :count].T
    np.testing.assert_allclose(got, reference.light(points, scene), atol=2e-3)
    assert np.isnan(lane[light.OUT, count:]).all()


def test_the_canvas_equals_the_reference(drawn):
    _, raster, shader, view, _, _ = drawn
    g, scene = raster.gbuffer, scene_of(shader, view)
    paint = shader.paint(view)
    opened = np.ones(SIZE)
    for y, x in np.argwhere(shader.material.cavity[g.region] != 0):
        opened[y, x] = opening_of(g.region, paint, x, y, g.depth[y, x])
    expected = reference.pixels(g, paint, scene, opened)
    canvas = np.full_like(shader.canvas, np.nan)
    bare = np.full(SIZE, -1, np.int32)
    cpu.shade_pixels(g, paint, scene, bare, shader.blended.layer, np.empty(RUN, np.int64), canvas)
    assert np.isnan(canvas[g.share == 0]).all()  # nothing to say, nothing written
    different = np.abs(canvas - expected).max(-1)[g.share > 0]
    # A coordinate that rounds to the other sixteenth of a texel shows where the paint has an edge, nowhere else.
    assert (different > 3e-3).mean() < 0.02
    assert different.max() < 0.2


def opening_of(region, paint: Paint, x, y, z):
    """Count the rows of the same cavity above, then the parabola from the floor to 1."""
    own = paint.cavity[region[y, x]]
    reach, floor, steps = paint.reach[own] / z, paint.floor[own], 0
    while steps < int(reach) + 1 and y - steps - 1 >= 0 and paint.cavity[region[y - steps - 1, x]] >> 1 == own >> 1:
        steps += 1
    part = min(steps / reach, 1.0)
    return floor + (1 - floor) * part * (2 - part)


def test_extras_complete_the_pixels_they_share(drawn):
    _, raster, shader, view, _, _ = drawn
    g, count = raster.gbuffer, raster.extra_count
    assert count > 20
    total = g.share.astype(np.float64).ravel()
    np.add.at(total, g.extras.pixel[:count], g.extras.share[:count])
    np.testing.assert_allclose(total, g.coverage.ravel(), atol=1e-6)


def test_the_blended_layer_equals_the_reference(drawn):
    _, raster, shader, view, _, _ = drawn
    paint = shader.paint(view)
    shader.blended.draw(raster, paint, 1.05)
    entries, touched = blend_reference.accumulate(raster, paint, 1.05)
    slot = shader.blended.slot
    assert touched.sum() > 200
    assert (touched != (slot >= 0)).sum() <= 3  # alpha within rounding of the threshold
    both = touched & (slot >= 0)
    got, expected = shader.blended.layer[slot[both]], entries[both]
    np.testing.assert_allclose(got[:, 15], expected[:, 15], atol=0.03)
    mean, wanted = got[:, :15] / got[:, 13:14], expected[:, :15] / expected[:, 13:14]
    assert np.percentile(np.abs(mean - wanted), 99) < 0.02


def test_the_blended_layer_forgets_the_previous_frame(drawn):
    _, raster, shader, view, _, _ = drawn
    paint = shader.paint(view)
    first = shader.blended.draw(raster, paint, 1.05)
    before = shader.blended.slot >= 0
    assert shader.blended.draw(raster, paint, 1.05) == first
    np.testing.assert_array_equal(before, shader.blended.slot >= 0)


def test_the_shadow_map_holds_blurred_distances(drawn):
    avatar, _, shader, _, _, _ = drawn
    shadow = shader.shadow
    aim = np.array([0, -0.1, -0.06], np.float32)
    to_map = shadow.to_map(shader.lights.lamps[0, :3], aim)
    moment = shadow.draw(avatar.rest, to_map)
    distance = np.where(shadow.nearness > 0, 1.0 - shadow.nearness, 1.0).astype(np.float64)
    padded = np.pad(distance, shadow.radius, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * shadow.radius + 1,) * 2)
    np.testing.assert_allclose(moment[..., 0], windows.mean((2, 3)), atol=1e-4)
    np.testing.assert_allclose(moment[..., 1], (windows**2).mean((2, 3)), atol=1e-4)
    # The nearest point to the lamp is lit; the one behind the head is not.
    x, y, d = to_map[:, :3] @ aim + to_map[:, 3]
    assert (x, y) == pytest.approx((shadow.size / 2, shadow.size / 2), abs=0.01) and abs(d) < 1e-5
    inside, behind = light.lit_part(moment, x, y, np.float32(-0.5)), light.lit_part(moment, x, y, np.float32(0.5))
    assert inside == 1 and behind < 0.05


def test_the_picture_is_background_where_nothing_is_and_opaque_inside(drawn):
    _, raster, shader, _, rgb, alpha = drawn
    nothing = (raster.gbuffer.coverage == 0) & (shader.blended.slot < 0)
    assert nothing.any()
    assert (rgb[nothing] == 90).all() and (alpha[nothing] == 0).all()
    assert (alpha[raster.gbuffer.coverage == 1] == 255).all()


def test_a_background_of_the_wrong_size_is_refused(drawn):
    _, raster, shader, _, _, _ = drawn
    with pytest.raises(ValueError, match="background must be"):
        Shader(raster, shader.material, np.zeros((3, 3, 3), np.uint8))


def test_what_no_face_wears_does_not_bleed_over_a_seam_at_any_level():
    draws = np.random.default_rng(4)
    albedo, surface = draws.integers(0, 256, (64, 64, 4)).astype(np.uint8), np.zeros((64, 64, 4), np.uint8)
    used = np.zeros((64, 64), bool)
    used[5:38, 9:50] = True
    albedo[used] = (10, 200, 30, 255)
    made = texture.build(albedo, surface, used)
    assert np.unique(made.texels).size == 1
