"""The photographer's labels against the engine's guidance, large enough that a pixel of edge is little of a region."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from engine import avatar
from engine.avatar import REGIONS
from engine.body.body import Body
from engine.motion.frame import Motion
from engine.render import camera, material
from engine.viewpoint import Viewpoint
from kernels.rasterize import Rasterizer

moderngl = pytest.importorskip("moderngl")

from training.bake.identities import IDENTITIES  # noqa: E402
from training.studio import gl  # noqa: E402
from training.studio.person import StudioPerson  # noqa: E402
from training.studio.photograph import Photographer  # noqa: E402

from .test_photograph import LIGHT, PLACE, overlap  # noqa: E402

SIZE = (400, 320)


@pytest.fixture(scope="module")
def person() -> StudioPerson:
    pack = avatar.load(avatar.find("ada"))
    return StudioPerson(0, IDENTITIES["ada"], pack, pack, np.zeros((64, 64), np.float32))


@pytest.fixture(scope="module")
def photographer() -> Iterator[Photographer]:
    try:
        made = Photographer(SIZE)
    except gl.GlError as error:
        pytest.skip(str(error))
    yield made
    made.release()


@pytest.mark.parametrize("yaw", [-0.9, 0.0, 0.6])
def test_labels_lie_where_the_engines_guidance_lies(
    person: StudioPerson, photographer: Photographer, yaw: float
) -> None:
    """Without strands: in guidance they are a blended layer of its own, which has no label."""
    solid = person.avatar.layer == 0
    pack = dataclasses.replace(
        person.avatar, faces=person.avatar.faces[solid], region=person.avatar.region[solid],
        layer=person.avatar.layer[solid],
    )  # fmt: skip
    frame = camera.framing("head")
    lens = camera.camera(Viewpoint(yaw, 0.0, frame.distance), frame, SIZE)
    pose = Body(pack).pose(Motion.rest())
    photographer.load(dataclasses.replace(person, avatar=pack, fine=pack))
    shot = photographer.shoot(pose.vertices, pose.normals, lens, LIGHT, PLACE)
    mesh, _ = material.build(pack)
    guidance = Rasterizer(mesh, SIZE).draw(pose.vertices, pose.normals, lens, None, np.zeros_like(pose.vertices))
    for name in ("face", "torso", "neck_ears", "hair"):
        mine, theirs = shot.region == REGIONS.index(name), guidance.region == REGIONS.index(name)
        assert overlap(mine, theirs) > 0.96, name
        here, there = (np.argwhere(mask).mean(0) for mask in (mine, theirs))
        assert np.abs(here - there).max() < 0.01 * SIZE[1], name  # centres of mass
    assert (shot.region == guidance.region).mean() > 0.985
    assert abs(shot.alpha / 255.0 - guidance.coverage).mean() < 0.01
