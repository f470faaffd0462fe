"""Dubbing: another mouth, and nothing else another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("PIL")

from engine import avatar as packs
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render.geometric import GeometricRenderer
from engine.tracking.face import FaceFinder
from training.portrait.dubbing import warp
from training.portrait.dubbing.dub import Dubber, _strength
from training.portrait.dubbing.edges import parted
from training.portrait.dubbing.inside import drawn
from training.portrait.dubbing.lips import LOWER, UPPER, Lips, at_times, closed, meeting, mood
from training.portrait.dubbing.track import Follower, Track, TrackError, runs, track

JAW, CLOSE = ACTION_INDEX["jawOpen"], ACTION_INDEX["mouthClose"]
SIDE, COUNT = 360, 10


def film(opening: list[float]) -> list[np.ndarray]:
    """Pictures of an avatar whose mouth opens so far."""
    renderer = GeometricRenderer(packs.load(packs.find("leo", (packs.SHIPPED,))), (SIDE, SIDE), "head")
    state, pictures = renderer.initial_state(), []
    for at, jaw in enumerate(opening):
        motion = Motion.rest()
        motion.face[JAW] = jaw
        motion.head[1] = 0.004 * at
        picture, state = renderer.step(motion, renderer.default_viewpoint(), state)
        pictures.append(picture.rgb.copy())
    return pictures


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return film([0.0, 0.0, 0.05, 0.15, 0.25, 0.25, 0.15, 0.05, 0.0, 0.0])


@pytest.fixture(scope="module")
def seen(pictures: list[np.ndarray]) -> Track:
    follower = Follower()
    return track([follower.step(picture) for picture in pictures], (SIDE, SIDE), follower.others)


def dubbed(seen: Track, pictures: list[np.ndarray], jaw: list[float]) -> list[np.ndarray]:
    faces = np.zeros((len(seen), 52), np.float32)
    faces[:, JAW] = jaw
    dubber = Dubber(seen, faces)
    for at in sorted(dubber.wanted):
        dubber.keep(at, pictures[at])
    return [dubber.step(at, picture) for at, picture in enumerate(pictures)]


def gap(picture: np.ndarray) -> float:
    """Between the lips over the distance of the eyes, as the detector sees it."""
    face = FaceFinder().step(picture)
    assert face is not None
    return float((face.points[14, 1] - face.points[13, 1]) / np.linalg.norm(face.points[33] - face.points[263]))


def test_a_shut_mouth_opens_and_an_open_one_shuts(seen: Track, pictures: list[np.ndarray]) -> None:
    jaw = [0.3, 0.3, 0.3, 0.3, 0.0, 0.0, 0.0, 0.3, 0.3, 0.3]
    after = dubbed(seen, pictures, jaw)
    assert gap(after[1]) > gap(pictures[1]) + 0.05
    assert gap(after[8]) > gap(pictures[8]) + 0.05
    assert gap(after[5]) < 0.35 * gap(pictures[5])
    truth = film([0.3, 0.3])[1]
    assert abs(gap(after[1]) - gap(truth)) < 0.06


def test_the_picture_beyond_the_face_and_the_eyes_stay_to_the_bit(seen: Track, pictures: list[np.ndarray]) -> None:
    after = dubbed(seen, pictures, [0.3] * COUNT)
    for at, (before, now) in enumerate(zip(pictures, after, strict=True)):
        changed = (before != now).any(-1)
        assert changed.any()
        points = seen.pixels[at]
        eyes = int(points[[33, 133, 263, 362], 1].max())
        assert not changed[:eyes].any()
        ring = seen.poses.project(at, warp.ring(seen.neutral))
        low, high = ring.min(0) - 2, ring.max(0) + 2
        rows, columns = np.nonzero(changed)
        assert columns.min() >= low[0] and columns.max() <= high[0] and rows.max() <= high[1]


def test_pictures_without_a_face_pass_through(pictures: list[np.ndarray]) -> None:
    empty = np.full_like(pictures[0], 90)
    shown = [*pictures, empty, empty, *pictures[:3]]
    follower = Follower()
    lost = track([follower.step(picture) for picture in shown], (SIDE, SIDE))
    assert list(np.flatnonzero(~lost.seen)[:2]) == [10, 11]
    after = dubbed(lost, shown, [0.3] * len(shown))
    assert after[10] is shown[10] and after[11] is shown[11]


def test_the_mouth_takes_over_in_a_few_pictures_where_a_face_appears() -> None:
    strength = _strength(np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1], bool))
    assert strength[0] == 1.0 and strength[-1] == 1.0
    assert (strength[6:8] == 0).all() and 0 < strength[8] < strength[9] < 1 and 0 < strength[5] < 1


def test_a_film_that_shows_no_teeth_gets_drawn_ones() -> None:
    still = film([0.0] * 6)
    follower = Follower()
    seen = track([follower.step(picture) for picture in still], (SIDE, SIDE))
    faces = np.zeros((6, 52), np.float32)
    faces[:, JAW] = 0.3
    dubber = Dubber(seen, faces)
    assert dubber.openings == (0, 1)
    with pytest.raises(ValueError, match="were not kept"):
        dubber.step(0, still[0])
    for at in dubber.wanted:
        dubber.keep(at, still[at])
    now = dubber.step(2, still[2])
    middle = Lips(seen, faces).step(2).after[[13, 14]].mean(0).astype(int)
    assert np.abs(now[middle[1], middle[0]].astype(int) - still[2][middle[1], middle[0]]).max() > 20
    view = drawn(-0.07, 0.0, 0.025, 2000.0)
    assert view.picture.max() > 150 and view.jaw is not None and view.jaw < 0


def test_too_few_faces_and_an_unknown_choice_are_said() -> None:
    with pytest.raises(TrackError, match="found in 0 of 7"):
        track([None] * 7, (64, 64))
    with pytest.raises(TrackError, match="largest, left, right"):
        Follower("middle")


def test_of_two_people_the_one_that_is_asked_for_is_followed(pictures: list[np.ndarray]) -> None:
    small = np.ascontiguousarray(pictures[0][::2, ::2])
    both = np.full((SIDE, 2 * SIDE, 3), 120, np.uint8)
    both[:, :SIDE] = pictures[0]
    both[90 : 90 + SIDE // 2, SIDE + 90 : SIDE + 90 + SIDE // 2] = small
    places = {}
    for choice in ("largest", "left", "right"):
        follower = Follower(choice)
        face = follower.step(both)
        assert face is not None and follower.others == 1
        places[choice] = float(face.points[:, 0].mean())
    assert places["left"] == places["largest"] < SIDE < places["right"]


def test_lips_never_cross_and_meet_when_told() -> None:
    points = np.zeros((468, 3))
    points[list(UPPER), 1] = np.linspace(-0.001, 0.002, len(UPPER))
    shut = meeting(points, 0.0)
    assert np.allclose(shut[list(UPPER)], shut[list(LOWER)])
    ajar = meeting(points, 5.0)
    assert (ajar[list(UPPER), 1] >= ajar[list(LOWER), 1] - 1e-12).all()


def test_a_smile_with_teeth_is_shut_at_rest(seen: Track) -> None:
    smile = seen.neutral.copy()
    smile[list(LOWER[1:-1]), 1] -= 0.006
    rest = closed(smile)
    assert np.allclose(rest[list(UPPER), 1], rest[list(LOWER), 1])


def test_motion_is_taken_from_frame_middle_to_picture_middle() -> None:
    faces = np.zeros((5, 52), np.float32)
    faces[:, JAW] = np.arange(5) / 10
    assert np.allclose(at_times(faces, np.arange(5) / 25)[:, JAW], faces[:, JAW])
    fast = at_times(faces, np.arange(12) / 60)
    assert np.all(np.diff(fast[:, JAW]) >= 0) and len(fast) == 12
    assert at_times(faces, np.array([0.0, 9.0]))[1, JAW] == faces[-1, JAW]


def test_the_films_smile_stays_and_its_words_do_not(seen: Track) -> None:
    solved = np.zeros((COUNT, 52))
    solved[:, ACTION_INDEX["mouthSmileLeft"]] = 0.5
    solved[:, JAW] = 0.6
    tape = mood(replace(seen, solved=solved), np.arange(COUNT) / 25)
    assert np.allclose(tape.motion[:, ACTION_INDEX["mouthSmileLeft"]], 0.5) and not tape.motion[:, JAW].any()


def test_a_warp_to_the_same_place_moves_nothing(seen: Track) -> None:
    points = seen.pixels[0].astype(float)
    moved = warp.warp(points, points, seen.poses.project(0, warp.ring(seen.neutral)), (SIDE, SIDE))
    assert moved is not None and not moved.moves.any()


def test_looking_up_at_whole_pixels_gives_them_back() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
    row, column = np.mgrid[:13, :17].astype(np.float32)
    where = np.ascontiguousarray(np.stack([column, row], -1))
    assert np.allclose(warp.look_up(picture, where, np.ones((13, 17), bool)), picture, atol=1e-3)


def test_between_the_lips_is_the_area_of_their_outline() -> None:
    points = np.zeros((468, 2))
    across = np.linspace(10.0, 30.0, len(UPPER))
    arch = np.sin(np.linspace(0, np.pi, len(UPPER)))
    points[list(UPPER)] = np.column_stack([across, 20 - 4 * arch])
    points[list(LOWER)] = np.column_stack([across, 20 + 6 * arch])
    share = warp.between(points, (40, 41))
    assert share.max() == 1.0 and abs(share.sum() - 10 * 20 * 2 / np.pi) < 2.0


def test_lips_are_told_from_teeth(seen: Track, pictures: list[np.ndarray]) -> None:
    found = parted(pictures[4], seen.pixels[4].astype(float), float(seen.poses.scale[4]))
    assert found is not None
    teeth = found.pixels[..., 0] / (found.pixels[..., 1] + 1) < 1.15
    kept = found.lips()[found.behind & teeth]
    assert (kept[:, 0] / kept[:, 1]).mean() > 1.2  # red again where teeth were
    assert (
        parted(pictures[0], seen.pixels[0].astype(float), float(seen.poses.scale[0])) is None
        or not found.doubtful.all()
    )


def test_runs_of_true() -> None:
    assert runs(np.array([0, 1, 1, 0, 1], bool)) == [(1, 3), (4, 5)]


def test_a_face_outside_the_picture_changes_nothing(seen: Track) -> None:
    away = seen.pixels[0].astype(float) + 5000
    assert warp.warp(away, away + 3, away[:36], (SIDE, SIDE)) is None


def test_faces_of_another_length_are_refused(seen: Track) -> None:
    with pytest.raises(ValueError, match="faces must be"):
        Lips(seen, np.zeros((3, 52), np.float32))
