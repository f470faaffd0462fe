"""The photographer on the shipped avatar: labels, edges, determinism, errors. Needs EGL; skips without it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest

from engine import avatar
from engine.avatar import REGIONS
from engine.body.body import Body
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render import camera
from engine.viewpoint import Viewpoint
from kernels.rasterize import Camera

moderngl = pytest.importorskip("moderngl")

from training.bake.identities import IDENTITIES  # noqa: E402
from training.studio import figure, gl, lights, places  # noqa: E402
from training.studio.person import StudioPerson  # noqa: E402
from training.studio.photograph import Photographer, Shot  # noqa: E402

SIZE = (160, 128)  # taller than wide: a mix-up of the axes shows
LIGHT, PLACE = lights.sample(3, "studio"), places.sample(4, "room")
BACK = places.Place("plain", 0, (0.02, 0.9, 0.02), 0.02)  # a green that no person wears


@pytest.fixture(scope="module")
def person() -> StudioPerson:
    pack = avatar.load(avatar.find("ada"))
    return StudioPerson(0, IDENTITIES["ada"], pack, pack, np.zeros((64, 64), np.float32))


@pytest.fixture(scope="module")
def photographer(person: StudioPerson) -> Iterator[Photographer]:
    try:
        made = Photographer(SIZE)
    except gl.GlError as error:
        pytest.skip(str(error))
    made.load(person)
    yield made
    made.release()


def view(yaw: float = 0.0, zoom: float = 1.0, framing: str = "head") -> Camera:
    frame = camera.framing(framing)
    found = camera.camera(Viewpoint(yaw, 0.0, frame.distance), frame, SIZE)
    return found._replace(focal=found.focal * zoom)


def moved(**weights: float) -> Motion:
    motion = Motion.rest()
    for name, weight in weights.items():
        motion.face[ACTION_INDEX[name]] = weight
    return motion


def shoot(photographer: Photographer, person: StudioPerson, motion: Motion, lens: Camera,
          place: places.Place = PLACE) -> Shot:  # fmt: skip
    pose = Body(person.fine).pose(motion)
    return photographer.shoot(pose.vertices, pose.normals, lens, LIGHT, place)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def test_labels_follow_a_turned_and_shifted_camera(photographer: Photographer, person: StudioPerson) -> None:
    lens = view(0.3)
    shifted = lens._replace(centre=(lens.centre[0] + 20, lens.centre[1] - 9))
    here, there = (shoot(photographer, person, Motion.rest(), c).region for c in (lens, shifted))
    assert overlap(here[30:100, 30:90] == 1, there[21:91, 50:110] == 1) > 0.99


def test_alpha_is_whole_inside_soft_at_edges_and_nothing_outside(
    photographer: Photographer, person: StudioPerson
) -> None:
    shot = shoot(photographer, person, Motion.rest(), view())
    skin = np.isin(shot.region, [REGIONS.index(name) for name in ("face", "lips", "torso")])
    assert (shot.alpha[skin] >= 254).mean() > 0.9
    assert (shot.alpha[:8] == 0).all()
    assert ((shot.alpha > 20) & (shot.alpha < 235)).any()
    assert not ((shot.alpha == 0) & (shot.region != 0)).any()


def test_the_same_inputs_give_the_same_bits(photographer: Photographer, person: StudioPerson) -> None:
    first = shoot(photographer, person, moved(jawOpen=0.4), view(0.2))
    shoot(photographer, person, Motion.rest(), view(-0.5), BACK)
    second = shoot(photographer, person, moved(jawOpen=0.4), view(0.2))
    for name in ("rgb", "alpha", "region"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name


@pytest.mark.parametrize(
    "weights", [{}, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, {"mouthClose": 0.1, "jawOpen": 0.1}]
)
def test_nothing_behind_shows_through_the_face(
    photographer: Photographer, person: StudioPerson, weights: dict[str, float]
) -> None:
    shot = shoot(photographer, person, moved(**weights), view(zoom=2.2), BACK)
    face = shot.alpha[40:120, 34:94]
    assert (face == 255).all()


def test_closed_lids_hide_the_eyes(photographer: Photographer, person: StudioPerson) -> None:
    eye = REGIONS.index("eyes")
    opened = shoot(photographer, person, Motion.rest(), view(zoom=2.0))
    closed = shoot(photographer, person, moved(eyeBlinkLeft=1.0, eyeBlinkRight=1.0), view(zoom=2.0))
    assert (closed.region == eye).sum() < 0.06 * (opened.region == eye).sum()


def test_eyes_are_darker_than_a_lamp(photographer: Photographer, person: StudioPerson) -> None:
    shot = shoot(photographer, person, Motion.rest(), view(zoom=2.0))
    skin, eye = (shot.rgb[shot.region == REGIONS.index(name)].mean() for name in ("face", "eyes"))
    assert eye < skin


def test_every_mood_exposes_a_face_well(photographer: Photographer, person: StudioPerson) -> None:
    pose = Body(person.fine).pose(Motion.rest())
    for number, mood in enumerate(lights.MOODS):
        shot = photographer.shoot(pose.vertices, pose.normals, view(), lights.sample(number, mood), PLACE)
        face = shot.rgb[shot.region == REGIONS.index("face")].astype(float)
        assert 90 < face.mean() < 215, mood
        assert (face.max(1) >= 254).mean() < 0.06, mood  # burnt out


def test_the_key_casts_a_shadow(photographer: Photographer, person: StudioPerson) -> None:
    pose = Body(person.fine).pose(Motion.rest())
    lit = []
    for side in (-1.0, 1.0):
        key = lights.Lamp(lights.aim(side * 75, 10), (2.0, 2.0, 2.0), 0.1)
        light = lights.Light(**{**vars(LIGHT), "key": key})
        picture = photographer.shoot(pose.vertices, pose.normals, view(), light, PLACE)
        face = picture.region == REGIONS.index("face")
        left = face & (np.arange(SIZE[1]) < SIZE[1] // 2)
        lit.append(picture.rgb[left].mean() / picture.rgb[face & ~left].mean())
    assert lit[0] > 1.15 > 0.87 > lit[1]


def test_a_sleeve_is_lit_as_cloth_and_a_bare_arm_as_skin(person: StudioPerson) -> None:
    arms = REGIONS.index("arms")
    sleeve = figure.grouped(person.fine)[1]
    faces = {group.label: group.length for group in sleeve if group.label % 16 == arms}
    assert faces[figure.CLOTHED + arms] > 5 * faces.get(figure.BARE + arms, 0)  # a wrist may show at the cuff
    flesh = person.fine.surface.copy()
    flesh[..., 2] = 180
    bare = figure.grouped(dataclasses.replace(person.fine, surface=flesh))[1]
    assert {group.label for group in bare if group.label % 16 == arms} == {figure.BARE + arms}


def test_the_plate_is_what_the_picture_shows_behind(photographer: Photographer, person: StudioPerson) -> None:
    lens = view(0.4)
    shot = shoot(photographer, person, Motion.rest(), lens)
    plate = photographer.plate(lens, LIGHT, PLACE)
    assert np.array_equal(shot.rgb[shot.alpha == 0], plate[shot.alpha == 0])


def test_a_room_turns_with_the_viewer_and_paper_does_not(photographer: Photographer) -> None:
    room = [photographer.plate(view(yaw), LIGHT, PLACE).astype(int) for yaw in (0.0, 0.6)]
    paper = [photographer.plate(view(yaw), LIGHT, places.sample(4, "gradient")).astype(int) for yaw in (0.0, 0.6)]
    assert np.abs(room[0] - room[1]).mean() > 2.0
    assert np.abs(paper[0] - paper[1]).max() == 0


def test_lights_and_places_survive_json() -> None:
    for number in range(12):
        light, place = lights.sample(number), places.sample(number)
        assert lights.Light.from_json(json.loads(json.dumps(light.to_json()))) == light
        assert places.Place.from_json(json.loads(json.dumps(place.to_json()))) == place
        assert light == lights.sample(number) and place == places.sample(number)


def test_harmonics_give_the_light_of_a_uniform_room() -> None:
    sky = np.full((32, 64, 3), 0.7, np.float32)
    for normal in np.eye(3):
        assert np.allclose(lights.irradiance(lights.harmonics(sky), normal), 0.7, atol=2e-3)


def test_a_wrong_size_a_wrong_mesh_and_nobody_are_refused(photographer: Photographer, person: StudioPerson) -> None:
    with pytest.raises(ValueError, match="picture size must be within 16..4096, got 8x128"):
        Photographer((8, 128))
    pose = Body(person.fine).pose(Motion.rest())
    with pytest.raises(ValueError, match="vertices must be"):
        photographer.shoot(pose.vertices[:-1], pose.normals, view(), LIGHT, PLACE)
    with pytest.raises(ValueError, match="mood must be one of"):
        lights.sample(0, "disco")
    with pytest.raises(ValueError, match="kind must be one of"):
        places.sample(0, "moon")


def test_missing_egl_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: object) -> None:
        raise Exception("libEGL.so.1 not loaded")

    monkeypatch.setattr(moderngl, "create_context", broken)
    with pytest.raises(gl.GlError, match="libegl1"):
        gl.open_context()
