"""The reference of an avatar: what its photographs say about its surface, laid onto the texture atlas.

Every photograph is un-projected by the engine's own rasterizer. Where no photograph saw the surface, its own colour is
lit as the rest was; skin and cloth that turn are lit anew, by their normals (engine/render/relight.py).
Made once an avatar, in less than a second; knows nothing of networks.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS, Avatar
from engine.avatar_reference import GREY, MOST, SIDE, Reference, over_grey
from engine.body.body import Body
from engine.motion.frame import Motion
from engine.render import camera, material, relight, unproject
from engine.render.guidance import Guide, Surface
from engine.render.relight import Seen, carried_on, ids, scattered
from engine.viewpoint import Viewpoint
from kernels import texture
from kernels.jit import Flags
from kernels.rasterize import Rasterizer
from kernels.texture import Texture, to_linear, to_srgb

__all__ = ["Lit", "Reference", "VIEWS", "lit_atlas", "lit_surface", "of", "over_grey", "paint", "reference_planes"]
F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Array = NDArray[Any]
TEXELS: Final = 1024  # side of the lit atlas
PLANE: Final = 128  # side of the reference planes
PLANES: Final = 8
VIEWS: Final = (0.0, np.radians(-50.0), np.radians(50.0))  # yaws of the reference photographs
FRAMING: Final = "upper"
WHITEST: Final = 99.9  # percent: texels that are brighter are cut
SURE: Final = 0.12  # summed weight from which photographs are believed entirely
SLACK: Final = 0.005  # metres: what lies this much behind the nearest surface around begins to be hidden
MARGIN: Final = 4  # pixels from the border of a region until a photograph is trusted entirely
AWAY: Final = 10  # pixels from the mesh's hair from which on hair in a photograph is a beard, and on the skin
# Regions that may be mistaken for one another at a pixel: a photograph is trusted where it shows the mesh's own group.
GROUPS: Final = (
    ("background",), ("face", "neck_ears", "brows", "lips"), ("torso", "arms"), ("hair", "lashes"), ("eyes",),
    ("mouth", "teeth", "tongue"), ("hands",), ("accessories",),
)  # fmt: skip
# Regions that are laid out texel by texel. Others, and texels that several places of the body share (as a left and a
# right sleeve may), take the light alone.
OWN: Final = ("face", "lips", "brows", "neck_ears", "torso", "arms")
_GROUP: Final = np.zeros(256, np.uint8)
for _number, _names in enumerate(GROUPS):
    _GROUP[[REGIONS.index(name) for name in _names]] = _number
_KEPT: Final = 2  # avatars whose layout stays made: it holds 40 MB
_laid: dict[tuple[int, int], tuple[Avatar, _Layout]] = {}  # holding the avatar keeps its id its own
_DECODE: Final = to_linear(np.linspace(0, 1, 1024, dtype=np.float32))
_ENCODE: Final = np.rint(to_srgb(np.linspace(0, 1, 4096, dtype=np.float32)) * 255).astype(np.uint8)


class Lit(NamedTuple):
    """The surface in the reference's light: atlas (N,N,3) u8 sRGB, to be multiplied by the light on each normal, light
    (2,3,TERMS) of skin and cloth as kernels/guidance has it; valid (N,N) u8: how surely a photograph saw it."""

    atlas: U8
    valid: U8
    light: F32


class _Layout(NamedTuple):
    """What an atlas (N,N) is made of, however it is lit: region u8 (0: nothing wears the texel); laid: of a region that
    is laid out texel by texel; own: laid, and of one place alone; base (N,N,3): its colour in even light, linear;
    even: the same to draw with."""

    chart: unproject.Chart
    region: U8
    laid: Flags
    own: Flags
    base: F32
    even: Texture


def of(avatar: Avatar) -> Reference:
    """The avatar's own reference photographs; painted by the geometric renderer when its pack has none."""
    return avatar.reference if avatar.reference is not None else paint(avatar)


def paint(avatar: Avatar, yaws: tuple[float, ...] = VIEWS) -> Reference:
    """Photographs by the geometric renderer, in its own studio light."""
    from engine.render.geometric import GeometricRenderer

    grey = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    renderer = GeometricRenderer(avatar, (SIDE, SIDE), FRAMING, background=grey)
    even = Surface(_layout(avatar, min(TEXELS, avatar.albedo.shape[0])).even)
    guide = Guide(avatar, even, (SIDE, SIDE), FRAMING)
    views = tuple(Viewpoint(yaw=yaw, distance=renderer.framing.distance) for yaw in yaws)
    photos, alphas, regions = [], [], []
    for view in views:
        picture, _ = renderer.step(Motion.rest(), view, renderer.initial_state())
        guide.draw(Motion.rest(), view)
        photos.append(picture.rgb.copy())
        alphas.append(picture.alpha.copy())
        regions.append(_drawn(guide))
    return Reference(np.stack(photos), np.stack(alphas), np.stack(regions), views, FRAMING, Motion.rest())


def lit_atlas(avatar: Avatar, reference: Reference, side: int = TEXELS) -> Lit:
    """The avatar's atlas as the photographs show it, at most ``side`` texels a side (a power of two)."""
    mesh, _ = material.build(avatar)
    side = min(side, avatar.albedo.shape[0])
    guide = Guide(avatar, Surface(_layout(avatar, side).even), (SIDE, SIDE), reference.framing)
    shots = [_look(guide, reference, k) for k in range(len(reference.viewpoints))]
    pose = Body(avatar).pose(reference.motion.clipped())
    chart, region, laid, own, base, _ = _layout(avatar, side)
    place, normal = np.empty((side, side, 3), np.float32), np.empty((side, side, 3), np.float32)
    for values, out in ((pose.vertices, place), (pose.normals, normal)):
        unproject.surface(chart.face, chart.bary, mesh.faces, laid, values, out)
    lights = relight.light(shots)
    shade = lights.at(region, _unit(np.where(own[..., None], normal, relight.FRONT)))
    ratio = shade ** np.float32(relight.GAMMA)
    total, weight = np.zeros((side, side, 3), np.float32), np.zeros((side, side), np.float32)
    alone = normal * own[..., None]
    for shot in shots:
        unproject.collect(place, alone, base, ratio, shot.view, np.float32(SLACK), total, weight)
    observed = np.divide(total, np.maximum(weight, np.float32(1e-6))[..., None], dtype=np.float32)
    sure = _smooth(np.minimum(weight / SURE, 1.0))
    guess = base * ratio * carried_on(observed, base * ratio, sure, scattered(shots, lights, laid & ~own))
    lit = guess + sure[..., None] * (observed - guess)
    bare, scale = to_srgb(np.minimum(lit, 1.0)), [1.0, 1.0]
    for kind in (1, 2):
        rows = relight.KINDS[region] == kind
        if rows.any():
            bare[rows] /= shade[rows]
            scale[kind - 1] = float(np.percentile(bare[rows], WHITEST))  # all of a byte is used
            bare[rows] /= scale[kind - 1]
    atlas = np.rint(255 * np.clip(bare, 0.0, 1.0)).astype(np.uint8)
    return Lit(atlas, np.rint(sure * 255).astype(np.uint8), lights.table((scale[0], scale[1])))


def laid(avatar: Avatar, side: int = TEXELS) -> Flags:
    """(N,N): which texels of the lit atlas somebody wears."""
    return _layout(avatar, min(side, avatar.albedo.shape[0])).region > 0


def lit_surface(avatar: Avatar, lit: Lit, worn: Flags | None = None) -> Surface:
    """The reference as its light and one texture of 8 channels: the atlas's red, green, blue (sRGB, times opacity),
    opacity, valid, gloss, subsurface, strand. ``worn``: what `laid` says, where that is known."""
    side = lit.valid.shape[0]
    albedo = np.dstack([lit.atlas, _mean(avatar.albedo[..., 3:], side)])
    surface = np.dstack([lit.valid, _mean(avatar.surface[..., 1:], side)])
    return Surface(texture.build(albedo, surface, laid(avatar, side) if worn is None else worn), lit.light)


def reference_planes(avatar: Avatar, reference: Reference) -> F32:
    """What the identity encoder reads: (3, 8, 128, 128) float32, one slot a photograph, absent ones all 0.

    Rows: red, green, blue over grey in [0,1]; world normal x, y, z; alpha; 1 (present).
    """
    mesh, _ = material.build(avatar)
    pose = Body(avatar).pose(reference.motion.clipped())
    raster, frame = Rasterizer(mesh, (SIDE, SIDE), samples=1), camera.framing(reference.framing)
    out = np.zeros((MOST, PLANES, PLANE, PLANE), np.float32)
    for k, viewpoint in enumerate(reference.viewpoints):
        lens = camera.camera(viewpoint, frame, (SIDE, SIDE))
        g = raster.draw(pose.vertices, pose.normals, lens, None, np.empty_like(pose.vertices))
        normal = np.einsum("chw,cd->dhw", g.normal, lens.rotation) * (g.face >= 0)
        photo = np.moveaxis(reference.photos[k], 2, 0) / np.float32(255)
        alpha = reference.alphas[k, None] / np.float32(255)
        out[k, :7] = _shrunk(np.concatenate([photo, normal, alpha]).astype(np.float32))
        out[k, 7] = 1.0
    return out


# --- one photograph -------------------------------------------------------------------------------------


def _look(guide: Guide, reference: Reference, k: int) -> Seen:
    """Photograph ``k``, and the mesh as the engine draws it there."""
    viewpoint = reference.viewpoints[k]
    drawn = guide.draw(reference.motion.clipped(), viewpoint)
    lens, g, veil = guide.camera(viewpoint), guide.raster.gbuffer, guide.veil()
    colour = drawn.hi[:3].astype(np.int32) * 1023 // np.maximum(drawn.hi[3], 1)
    base = np.ascontiguousarray(np.moveaxis(_DECODE[np.minimum(colour, 1023)], 0, 2))
    region = _drawn(guide)
    hair = np.isin(region, ids("hair", "lashes")) | (veil > 0)
    same = _same(region, reference.regions[k], reference.alphas[k], hair)
    normal = np.ascontiguousarray(np.einsum("chw,cd->hwd", g.normal, lens.rotation), np.float32)
    place = np.array([lens.focal, *lens.centre], np.float32)
    eye = camera.place(viewpoint, guide.framing).astype(np.float32)
    view = unproject.View(
        _linear(reference.photos[k]),
        base,
        _inside(same),
        _least(g.depth, 1),
        lens.rotation,
        lens.translation,
        place,
        eye,
    )
    return Seen(region, same, g.uv.copy(), normal, view)


def _drawn(guide: Guide) -> U8:
    """The regions (H,W) of what the guide has just drawn, hair and lashes that are blended over the rest included."""
    return np.where(guide.veil() > 128, REGIONS.index("hair"), guide.raster.gbuffer.region).astype(np.uint8)


def _linear(photo: U8) -> F32:
    return to_linear(np.arange(256, dtype=np.float32) / np.float32(255))[photo]


def _unit(normal: F32) -> F32:
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), np.float32(1e-6))


def _encode(linear: F32) -> U8:
    return _ENCODE[np.clip(linear * 4095.0 + 0.5, 0, 4095).astype(np.int32)]


def _same(drawn: U8, photographed: U8, alpha: U8, hair: Flags) -> Flags:
    """Where the photograph shows what the mesh has there, (H,W).

    A beard is hair in the photograph and paint on the mesh; hair that hangs over skin is near ``hair`` of the mesh.
    """
    same = _GROUP[drawn] == _GROUP[photographed]
    beard = np.isin(drawn, ids("face", "lips")) & np.isin(photographed, ids("hair"))
    same |= beard & _least(~hair, AWAY)
    return same & (drawn > 0) & (alpha >= 250)


def _inside(same: Flags) -> F32:
    """How far inside of ``same`` a pixel lies: 0 at the border, 1 from MARGIN pixels on."""
    flags, sure = _least(same, 1), np.zeros(same.shape, np.float32)
    for _ in range(MARGIN):
        flags = _least(flags, 1)
        sure += flags
    return np.square(sure / np.float32(MARGIN))


def _least(values: Array, reach: int) -> Array:
    """The smallest value within ``reach`` pixels across and down, (H,W) of any type; the border counts on and on."""
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    rows = padded[: len(values)].copy()
    for k in range(1, 2 * reach + 1):
        np.minimum(rows, padded[k : k + len(values)], out=rows)
    padded = np.pad(rows, ((0, 0), (reach, reach)), mode="edge")
    out = padded[:, : values.shape[1]].copy()
    for k in range(1, 2 * reach + 1):
        np.minimum(out, padded[:, k : k + values.shape[1]], out=out)
    return out


# --- the atlas ------------------------------------------------------------------------------------------


def _layout(avatar: Avatar, side: int) -> _Layout:
    found = _laid.get((id(avatar), side))
    if found is None:
        mesh, _ = material.build(avatar)
        chart = unproject.chart(mesh, side)
        region = np.where(chart.face >= 0, mesh.region[chart.face], 0).astype(np.uint8)
        laid = np.isin(region, ids(*OWN))
        own = laid & (chart.count <= 1)
        base = _even(avatar, side)
        albedo = np.dstack([_encode(base), _mean(avatar.albedo[..., 3:], side)])
        surface = np.dstack([np.zeros_like(region), _mean(avatar.surface[..., 1:], side)])
        even = texture.build(albedo, surface, region > 0)
        found = _laid[id(avatar), side] = (avatar, _Layout(chart, region, laid, own, base, even))
        while len(_laid) > _KEPT:
            del _laid[next(iter(_laid))]
    return found[1]


def _mean(plane: U8, side: int) -> U8:
    """(S,S,C) averaged down to (side, side, C)."""
    step = plane.shape[0] // side
    total = np.zeros((side, side, plane.shape[2]), np.uint32)
    for y in range(step):
        for x in range(step):
            total += plane[y::step, x::step]
    return np.rint(total / step**2).astype(np.uint8)


def _even(avatar: Avatar, side: int) -> F32:
    """The avatar's own colour times occlusion, (side, side, 3) linear."""
    step = avatar.albedo.shape[0] // side
    total = np.zeros((side, side, 3), np.float32)
    for y in range(step):
        for x in range(step):
            shade = avatar.surface[y::step, x::step, :1].astype(np.float32) * np.float32(1 / 255 / step**2)
            total += _linear(avatar.albedo[y::step, x::step, :3]) * shade
    return total


def _smooth(weight: F32) -> F32:
    return (weight * weight * (3.0 - 2.0 * weight)).astype(np.float32)


def _shrunk(planes: F32) -> F32:
    """(C, 512, 512) averaged to (C, 128, 128)."""
    step = SIDE // PLANE
    return planes.reshape(len(planes), PLANE, step, PLANE, step).mean((2, 4))
