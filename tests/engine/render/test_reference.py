"""The reference: photographs land on the atlas where their surface is, and what nobody saw is lit like the rest."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest

from engine.avatar import REGIONS, Avatar
from engine.motion.frame import Motion
from engine.render import material, reference, unproject
from engine.render.guidance import Guide, Surface
from engine.render.reference import Lit, Reference, lit_atlas, lit_surface, of, paint, reference_planes
from kernels.guidance import even
from tests.synthetic import make_avatar

FACE, HAIR = REGIONS.index("face"), REGIONS.index("hair")


@cache
def person() -> Avatar:
    """The synthetic avatar with a pattern painted all over."""
    avatar = make_avatar()
    albedo = avatar.albedo.copy()
    y, x = np.mgrid[: albedo.shape[0], : albedo.shape[1]]
    wave = (30 * np.sin(x / 6.0) * np.sin(y / 9.0)).astype(int)[..., None]
    albedo[..., :3] = np.clip(albedo[..., :3].astype(int) + wave, 8, 247)
    return dataclasses.replace(avatar, albedo=albedo)


@cache
def painted() -> Reference:
    return paint(person())


def drawn(lit: Lit, view: int) -> tuple[np.ndarray, Guide]:
    """The lit atlas on the mesh, from where photograph ``view`` was taken: (H,W,3), and the guide."""
    shots = painted()
    guide = Guide(person(), lit_surface(person(), lit), (512, 512), shots.framing)
    return np.moveaxis(guide.draw(shots.motion, shots.viewpoints[view]).hi[:3], 0, 2).astype(int), guide


@pytest.mark.parametrize("view", [0, 1, 2])
def test_the_lit_atlas_on_the_mesh_looks_like_the_photographs(view: int) -> None:
    lit = lit_atlas(person(), painted())
    picture, guide = drawn(lit, view)
    inside = guide.raster.gbuffer.region == FACE
    inside = reference._least(inside, 7)  # well inside
    apart = np.abs(picture - painted().photos[view].astype(int)).max(2)[inside]
    assert inside.sum() > 2000
    assert np.median(apart) <= 6 and np.percentile(apart, 90) <= 24


def test_a_photograph_in_even_light_gives_the_pack_s_own_colours_also_where_nobody_saw() -> None:
    """Everything lit alike: front and back of the face are the albedo times occlusion."""
    avatar = dataclasses.replace(person(), surface=_surface(person(), occlusion=255))
    side = avatar.albedo.shape[0]
    guide = Guide(avatar, Surface(reference._layout(avatar, side).even), (512, 512), "upper")
    shots = painted().first(1)
    plain = guide.draw(shots.motion, shots.viewpoints[0])
    photo = np.moveaxis(plain.hi[:3], 0, 2)[None].copy()
    alpha = plain.hi[3][None].copy()
    region = np.where(guide.veil() > 128, HAIR, guide.raster.gbuffer.region).astype(np.uint8)[None]
    lit = lit_atlas(avatar, dataclasses.replace(shots, photos=photo, alphas=alpha, regions=region))
    layout = reference._layout(avatar, side)
    face = layout.region == FACE
    apart = np.abs(lit.atlas * lit.light[0, :, 0] - avatar.albedo[..., :3])[face]
    assert (lit.valid[face] == 0).mean() > 0.3  # the back of the head
    assert np.median(apart) <= 3 and np.percentile(apart, 95) <= 14


def test_a_head_that_turns_is_lit_as_photographs_of_the_turned_head_would_be() -> None:
    """Photographed at rest in a known light from one side, drawn with the head turned toward it."""
    side = person().albedo.shape[0]
    light = even()
    light[..., 0], light[..., 1], light[..., 2], light[..., 10] = 0.6, 0.3, 0.1, 0.2  # from +x, and a little from above
    truth = Guide(person(), Surface(reference._layout(person(), side).even, light), (512, 512), "upper")
    shots, photos, alphas, regions = painted(), [], [], []
    for view in shots.viewpoints:
        hi = truth.draw(shots.motion, view).hi
        photos.append(np.moveaxis(hi[:3], 0, 2).copy())
        alphas.append(hi[3].copy())
        regions.append(reference._drawn(truth))
    taken = dataclasses.replace(shots, photos=np.stack(photos), alphas=np.stack(alphas), regions=np.stack(regions))
    found = lit_surface(person(), lit_atlas(person(), taken))
    turned = Motion.rest()
    turned.head[1] = 0.7
    guide = Guide(person(), found, (512, 512), "upper")
    wanted = truth.draw(turned, shots.viewpoints[0]).hi[:3].astype(int)
    face = reference._least(truth.raster.gbuffer.region == FACE, 4)
    apart = np.abs(guide.draw(turned, shots.viewpoints[0]).hi[:3].astype(int) - wanted)[:, face]
    at_rest = np.abs(truth.draw(shots.motion, shots.viewpoints[0]).hi[:3].astype(int) - wanted)[:, face]
    assert face.sum() > 2000 and np.median(apart) <= 4 < 8 <= np.median(at_rest)


def test_hair_that_hangs_over_skin_in_a_photograph_does_not_stay_on_the_skin() -> None:
    shots = painted()
    photos, regions = shots.photos.copy(), shots.regions.copy()
    strand = (slice(None), slice(110, 150), slice(240, 262))  # over the forehead
    photos[strand], regions[strand] = (0, 255, 0), REGIONS.index("accessories")
    lit = lit_atlas(person(), dataclasses.replace(shots, photos=photos, regions=regions))
    picture, guide = drawn(lit, 0)
    face = guide.raster.gbuffer.region == FACE
    green = (picture[..., 1] > picture[..., 0] + 40) & face
    assert face[110:150, 240:262].mean() > 0.5 and green.sum() == 0
    kept = lit_atlas(person(), dataclasses.replace(shots, photos=photos))  # the same green, said to be skin, is taken
    assert ((drawn(kept, 0)[0][..., 1] > drawn(kept, 0)[0][..., 0] + 40) & face).sum() > 200


def test_more_photographs_see_more() -> None:
    one, three = lit_atlas(person(), painted().first(1)), lit_atlas(person(), painted())
    assert (three.valid > 128).sum() > 1.3 * (one.valid > 128).sum()
    assert (one.valid > 200)[three.valid < 100].sum() < 50  # none forgets what another saw


def test_planes_have_three_slots_and_absent_photographs_are_empty() -> None:
    planes = reference_planes(person(), painted().first(1))
    assert planes.shape == (3, 8, 128, 128) and planes.dtype == np.float32
    assert not planes[1:].any() and (planes[0, 7] == 1).all()
    seen = planes[0, 6] > 0.99
    np.testing.assert_allclose(planes[0, :3][:, ~(planes[0, 6] > 0)], 128 / 255, atol=0.01)
    length = np.linalg.norm(planes[0, 3:6][:, seen], axis=0)
    assert seen.mean() > 0.1 and np.median(length) > 0.95


def test_a_pack_without_photographs_is_painted_one_with_them_is_not() -> None:
    assert len(of(person()).viewpoints) == 3
    own = painted().first(2)
    assert of(dataclasses.replace(person(), reference=own)) is own


def test_the_texture_brings_opacity_and_validity_in_their_channels() -> None:
    lit = lit_atlas(person(), painted())
    texture = lit_surface(person(), lit).texture
    side = lit.valid.shape[0]
    top = texture.texels[: side * side].reshape(side, side)
    worn = reference._layout(person(), side).region > 0
    np.testing.assert_array_equal((top >> np.uint64(32) & np.uint64(255))[worn], lit.valid[worn])
    np.testing.assert_array_equal((top >> np.uint64(24) & np.uint64(255))[worn], person().albedo[..., 3][worn])


def test_pull_and_push_keep_what_is_known_and_fill_the_rest_from_around() -> None:
    rng = np.random.default_rng(0)
    known = (rng.random((32, 32)) < 0.2).astype(np.float32)
    value = np.full((32, 32, 3), 0.7, np.float32) + 0.1 * known[..., None]
    levels = [np.concatenate([value * known[..., None], known[..., None]], axis=2)]
    first = levels[0].copy()
    while len(levels[-1]) > 1:
        half = len(levels[-1]) // 2
        levels.append(np.full((half, half, 4), np.nan, np.float32))
        unproject.pull(levels[-2], levels[-1])
    for finer, coarser in zip(levels[-2::-1], levels[:0:-1], strict=True):
        unproject.push(coarser, finer)
    np.testing.assert_array_equal(levels[0][known > 0][:, :3], first[known > 0][:, :3])
    np.testing.assert_allclose(levels[0][..., :3], 0.8, atol=1e-5)  # every known value is 0.8


def test_texels_that_two_places_share_are_counted() -> None:
    mesh, _ = material.build(make_avatar())
    corners = mesh.uv[mesh.faces]
    side = corners[:, 1:] - corners[:, :1]
    large = int(np.abs(side[:, 0, 0] * side[:, 1, 1] - side[:, 0, 1] * side[:, 1, 0]).argmax())
    again = {name: np.append(getattr(mesh, name), getattr(mesh, name)[[large]], axis=0)
             for name in ("faces", "region", "layer")}  # fmt: skip
    double = mesh._replace(**again)
    single, twice = unproject.chart(mesh, 256), unproject.chart(double, 256)
    rows, columns = np.nonzero(twice.count != single.count)
    assert len(rows) > 3 and (single.face[rows, columns] == large).all()
    np.testing.assert_array_equal(twice.count[rows, columns], single.count[rows, columns] + 1)


def _surface(avatar: Avatar, occlusion: int) -> np.ndarray:
    surface = avatar.surface.copy()
    surface[..., 0] = occlusion
    return surface
