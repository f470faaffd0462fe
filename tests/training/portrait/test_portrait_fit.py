"""The fit: it finds again what it was shown, keeps within what people look like, and its derivatives are right."""

from dataclasses import replace

import numpy as np
import pytest

from engine import avatar as packs
from engine.avatar_reference import SIDE
from engine.motion.frame import ACTION_INDEX
from engine.render import camera
from engine.render.reference import FRAMING
from engine.tracking.solve import _procrustes
from training.portrait import basis, face, places, retake
from training.portrait import fit as fitting
from training.portrait.face import Found

BASIS = basis.load()


def person(seed, yaw=0.1, smile=0.6):
    """A Fit that is the truth: landmarks where its own head has them."""
    rng = np.random.default_rng(seed)
    mean, deviation = basis.usual(0.95)
    turn = fitting._rotation(np.array([0.05, yaw, 0.03]))
    lens = fitting.Lens(turn, np.array([260.0, 240.0]), 1100.0, 1 / 0.8, np.array([256.0, 256.0]))
    actions = np.zeros(52)
    actions[[ACTION_INDEX["mouthSmileLeft"], ACTION_INDEX["mouthSmileRight"]]] = smile
    true = fitting.Fit(
        np.r_[0.95, fitting.USUAL[:, 0]], mean + deviation * rng.normal(size=len(mean)), actions,
        np.array([0.1, -0.05]), lens, 0.0, np.zeros((478, 2)), np.zeros((478, 2)),
    )  # fmt: skip
    reached = fitting._reached(true, BASIS)
    return replace(true, landmarks=reached, reached=reached)


def found(true):
    points = np.c_[true.landmarks, np.zeros(478)]
    return Found(points, np.zeros(478), 1.0, true.lens.yaw, 0.0, 0.0)


def apart(one, other):
    """Mean distance once one is moved, turned and scaled onto the other: a photograph tells no sizes."""
    scale, turn, shift = _procrustes(one, other, np.ones(len(one)))
    return np.linalg.norm(scale * one @ turn.T + shift - other, axis=1).mean()


@pytest.mark.parametrize(("seed", "yaw"), [(0, 0.12), (1, -0.3)])
def test_a_head_is_found_again_from_its_landmarks(seed, yaw):
    true = person(seed, yaw)
    calls = []
    fit = fitting.fit(found(true), (512, 512), report=lambda at, of: calls.append((at, of)))
    assert np.median(fit.errors) < 0.006
    assert abs(fit.lens.yaw - true.lens.yaw) < 0.04
    face_rows = np.unique(BASIS.corner)
    average = BASIS.points(np.r_[0.95, fitting.USUAL[:, 0]], basis.usual(0.95)[0])
    off = [apart(head[face_rows], true.resting()[face_rows]) for head in (fit.resting(), average)]
    assert off[0] < 0.9 * off[1]  # nearer to the truth than the average face
    assert calls[-1][0] == calls[-1][1]
    smile = fit.actions[ACTION_INDEX["mouthSmileLeft"]]
    assert smile > 0.3


def test_a_stated_lens_sets_the_distance():
    true = person(2)
    fit = fitting.fit(found(true), (512, 512), focal=true.lens.focal)
    assert fit.lens.focal == pytest.approx(true.lens.focal, rel=0.05)
    assert fit.lens.distance == pytest.approx(0.8, rel=0.12)


def test_derivatives_are_those_of_the_residuals():
    true = person(3)
    prior = fitting._Prior(0.95, None)
    prior.seen(BASIS, true.lens.yaw)
    at = replace(true, local=true.local + 0.013, actions=np.full(52, 0.2))
    rows, here = fitting._residuals(at, found(true), BASIS, prior, slopes=True)
    tiny = 1e-6
    for unknown in [0, 1, 7, 9, 30, 95, 120, *range(prior.size - 9, prior.size)]:
        step = np.zeros(prior.size)
        step[unknown] = tiny
        _, there = fitting._residuals(prior.moved(at, step), found(true), BASIS, prior, slopes=False)
        slope = (there - here) / tiny
        # Where eyes look at rest hangs on where they are, a little: that term is left out.
        assert np.abs(slope - rows[:, unknown]).max() < 1e-2 * max(np.abs(slope).max(), 1.0), unknown


def test_fitted_values_stay_within_their_bounds():
    true = person(4, smile=1.0)
    points = found(true).points.copy()
    points[:468, :2] += np.random.default_rng(0).normal(0, 2.0, (468, 2))
    fit = fitting.fit(replace(found(true), points=points), (512, 512))
    assert (fit.actions >= 0).all() and (fit.actions <= 1).all()
    assert np.abs(fit.local).max() <= fitting.STRONGEST
    phenotype, local = fit.identity()
    assert all(0 <= value <= 1 for value in phenotype.values()) and set(basis.LABELS) <= set(local)


def test_landmarks_that_are_no_face_are_refused():
    points = np.random.default_rng(1).uniform(100, 400, (478, 3))
    with pytest.raises(ValueError, match="no head explains"):
        fitting.fit(Found(points, np.zeros(478), 1.0, 0.0, 0.0, 0.0), (512, 512))


def test_the_terms_of_phenotypes_and_their_slopes():
    at = np.array([0.3, 0.7, 0.4, 0.5, 0.6, 0.5, 0.1, 0.4])
    slopes = basis.terms_slope(at)
    for k in range(8):
        step = np.eye(8)[k] * 1e-6
        assert np.allclose((basis.terms(at + step) - basis.terms(at - step)) / 2e-6, slopes[k], atol=1e-6)


def test_places_of_landmarks_are_found_from_photographs():
    rng = np.random.default_rng(2)
    head = rng.uniform(-1, 1, (40, 3)) * [1, 1, 0.3]
    head[[7, 9]] = [[-0.5, 0, 0], [0.5, 0, 0]]
    faces = np.array([[a, b, c] for a, b, c in rng.integers(0, 40, (90, 3)) if len({a, b, c}) == 3])
    truth = faces[rng.integers(0, len(faces), 468)]
    truth[33], truth[263] = [7, 1, 2], [9, 1, 2]
    share = rng.dirichlet([1, 1, 1], 468)
    share[[33, 263]] = [1, 0, 0]
    sights = []
    for yaw in np.radians(np.linspace(-40, 40, 27)):
        seen = head * (1 + 0.2 * rng.normal(size=(40, 1)))
        seen[[7, 9]] = head[[7, 9]]
        flat = (seen @ fitting._rotation(np.array([0.0, yaw, 0.0])).T)[:, :2] * 100
        sights.append(places.Sight(flat, np.einsum("kc,kcd->kd", share, flat[truth]), float(yaw)))
    corner, found_share = places.landmarks(sights, faces)
    for sight in sights[::5]:
        points, shares = places.between(corner, found_share, sight.yaw)
        off = np.linalg.norm(np.einsum("kc,kcd->kd", shares, sight.seen[points]) - sight.landmarks, axis=1)
        assert np.median(off) / sight.apart < 0.01
    noise, together = places.errors(sights, corner, found_share)
    assert noise.shape == (468, 2) and together.shape == (places.TOGETHER, 468, 2) and (noise >= places.LEAST).all()


def test_a_photograph_by_the_engines_own_camera_stays_as_it_is():
    avatar = packs.load(packs.find("ada"))
    frame = camera.framing(FRAMING)
    middle = np.array([0.5 * SIDE, 0.5 * SIDE])
    distance = frame.distance + frame.target[2]  # from the camera to between the eyes, along its axis
    focal = 0.5 * SIDE / np.tan(0.5 * frame.field)
    origin = middle + focal / distance * np.array([-frame.target[0], frame.target[1]])
    lens = fitting.Lens(np.eye(3), origin, focal / distance, 1 / distance, middle)
    zeros = np.zeros((478, 2))
    fit = fitting.Fit(np.zeros(8), np.zeros(81), np.zeros(52), np.zeros(2), lens, 0.0, zeros, zeros)
    y, x = np.mgrid[:SIDE, :SIDE]
    photo = np.stack([x / 2, y / 2, np.full_like(x, 90)], -1).astype(np.uint8)
    own = avatar.reference
    reference = retake.retake(avatar, photo, fit, np.full((SIDE, SIDE), 255, np.uint8), own.regions[0])
    inside = own.regions[0] > 0
    inside[:4] = inside[-4:] = False
    off = np.abs(reference.photos[0].astype(int) - photo)[inside]
    assert off.max() <= 2 and (reference.regions[0] == own.regions[0])[inside].mean() > 0.98
    with pytest.raises(ValueError, match="must be the photograph's"):
        retake.retake(avatar, photo, fit, np.zeros((4, 4), np.uint8), own.regions[0])


def test_turns_and_their_axes():
    turn = np.array([0.2, -0.5, 0.1])
    assert np.allclose(retake.axis_angle(fitting._rotation(turn)), turn)


def test_a_mirrored_landmark_mirrors_back():
    other = face.mirror()
    assert (other[other] == np.arange(478)).all() and other[33] == 263 and other[61] == 291 and other[13] == 13


def test_no_face_is_said_and_bad_pictures_are_refused():
    with pytest.raises(face.FaceError, match="no face was found"):
        face.find(np.full((160, 200, 3), 128, np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        face.find(np.zeros((160, 200, 3)))
