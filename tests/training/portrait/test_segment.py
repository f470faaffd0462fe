"""Regions of a picture: parts lie where they are, nothing lies outside the person, and what hides the eyes is named."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from engine import avatar as packs
from engine.avatar import REGIONS
from engine.motion.frame import Motion
from engine.render.geometric import GeometricRenderer
from training.portrait import framing, segment
from training.portrait.bake import Segments
from training.portrait.face import Found, find
from training.portrait.framing import CLASSES

NAMED = {name: index for index, name in enumerate(REGIONS)}


@cache
def taken(side: int = 512) -> tuple[np.ndarray, np.ndarray, Found]:
    """Somebody before a wall: picture, alpha, and the face that is found."""
    y, x = np.mgrid[:side, :side]
    wall = np.stack([150 + 20 * np.sin(x / 40), 140 + y / 12, np.full(x.shape, 120)], -1).astype(np.uint8)
    renderer = GeometricRenderer(packs.load(packs.find("mei")), (side, side), "upper", background=wall)
    picture, _ = renderer.step(Motion.rest(), renderer.default_viewpoint(), renderer.initial_state())
    return picture.rgb.copy(), picture.alpha.copy(), find(picture.rgb)


@cache
def told() -> Segments:
    return segment.segments(*(taken()[k] for k in (0, 2, 1)))


def test_parts_of_a_person_lie_where_they_are() -> None:
    photo, alpha, found = taken()
    regions = told().regions
    assert regions.shape == photo.shape[:2] and regions.dtype == np.uint8
    assert (regions[alpha < segment.PERSON] == 0).all() and (regions[alpha > 250] > 0).mean() > 0.98
    points = found.points[:, :2]
    column, row = points[[50, 280]].astype(int).T  # cheeks
    assert (regions[row, column] == NAMED["face"]).all()
    for lid in framing.LIDS:
        x, y = points[list(lid)].mean(0).astype(int)
        assert regions[y, x] == NAMED["eyes"]
    x, y = points[[0, 13]].mean(0).astype(int)
    assert regions[y, x] == NAMED["lips"]
    unit = framing.unit(found.points)
    above = (points[10] - [0, 0.5 * unit]).astype(int)
    below = (points[152] + [0, 1.9 * unit]).astype(int)
    assert regions[above[1], above[0]] == NAMED["hair"] and regions[below[1], below[0]] == NAMED["torso"]
    assert (told().alpha <= alpha).all() and (told().alpha[alpha > 250] > 200).mean() > 0.98


def test_a_picture_twice_as_large_has_the_same_regions() -> None:
    photo, alpha, found = taken()
    twice = replace(found, points=found.points * 2)
    large = segment.segments(photo.repeat(2, 0).repeat(2, 1), twice, alpha.repeat(2, 0).repeat(2, 1)).regions
    same = large[::2, ::2] == told().regions
    assert same[alpha > segment.PERSON].mean() > 0.95


def test_a_tilted_picture_has_the_same_regions() -> None:
    photo, alpha, found = taken()
    points = found.points.copy()
    points[:, :2] = np.stack([points[:, 1], 512 - points[:, 0]], -1)
    turned = segment.segments(np.rot90(photo).copy(), replace(found, points=points), np.rot90(alpha).copy()).regions
    same = np.rot90(turned, -1) == told().regions
    assert same[alpha > segment.PERSON].mean() > 0.95


def test_what_covers_the_eyes_is_named() -> None:
    _, _, found = taken()
    regions = told().regions.copy()
    assert segment.warnings(found, regions) == ()
    x, y = found.points[list(framing.LIDS[0]), :2].mean(0).astype(int)
    regions[y - 25 : y + 25, x - 40 : x + 40] = NAMED["hair"]
    assert "an eye is covered by hair" in segment.warnings(found, regions)[0]
    for lid in framing.LIDS:
        x, y = found.points[list(lid), :2].mean(0).astype(int)
        regions[y - 25 : y + 25, x - 40 : x + 40] = NAMED["accessories"]
    assert "both eyes are covered by glasses" in segment.warnings(found, regions)[0]


def test_wrong_sizes_are_refused() -> None:
    photo, alpha, found = taken()
    with pytest.raises(ValueError, match="alpha"):
        segment.segments(photo, found, alpha[:-1])
    with pytest.raises(ValueError, match="a picture is"):
        segment.segments(photo.astype(np.float32), found, alpha)


def test_borders_move_to_the_colours() -> None:
    rgb = np.zeros((61, 83, 3), np.float32)
    rgb[:, 40:] = (0.8, 0.3, 0.2)
    chance = np.zeros((2, 61, 83), np.float32)
    chance[1, :, 44:] = 1  # four pixels off
    chance[0] = 1 - chance[1]
    moved = segment._to_colours(rgb, chance, 9)
    assert (moved.argmax(0)[:, 45:] == 1).all() and (moved.argmax(0)[:, :39] == 0).all()
    assert (moved.argmax(0)[10:50, 41] == 1).mean() > 0.9


def test_specks_become_what_surrounds_them_and_only_one_face_stays() -> None:
    chance = np.zeros((len(CLASSES), 80, 100), np.float32)
    hair, face, torso = (CLASSES.index(name) for name in ("hair", "face", "torso"))
    chance[torso] = 0.1
    chance[hair, :30] = chance[face, 30:50, 20:60] = chance[face, 60:75, 80:95] = 0.9
    chance[face, 10:13, 10:13] = 0.95
    person = np.ones((80, 100), bool)
    person[:, :5] = False
    chance[0, 70:75, 5:8] = chance[0, :, 97] = 0.99
    chance[hair, 62:70, 30:45] = 0.9  # and hair below the chin
    points = np.zeros((478, 2))
    angle = np.linspace(0, 2 * np.pi, len(framing.OVAL), endpoint=False)
    points[list(framing.OVAL)] = np.stack([40 + 22 * np.sin(angle), 40 - 12 * np.cos(angle)], -1)
    points[[33, 263]] = [(25, 38), (55, 38)]
    label, own = segment._cleaned(chance, person, points)
    assert (label[70:75, 5:8] == torso).all() and (label[62:70, 30:45] == torso).all()
    assert (label[:, 97:] == 0).all() and (own[:, 98:] == 0).all() and (own[:, 10:90] >= 0.5).all()
    assert (label[:, :5] == 0).all() and (label[8:15, 8:15] == hair).all()
    assert (label[32:48, 22:58] == face).all() and (label[62:73, 82:93] == torso).all()
