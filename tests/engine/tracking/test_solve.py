import numpy as np
import pytest

from engine.motion.frame import ACTION_INDEX, Motion
from engine.motion.lips import lip_gap
from engine.tracking.face import Face
from engine.tracking.smooth import OneEuro
from engine.tracking.solve import Solver

from .scene import ACTIONS, FPS, SIZE, faces, motions

COUNT = 100


@pytest.fixture(scope="module")
def pair() -> tuple[list[Motion], list[Motion]]:
    """What Ada did, whose face the basis was not made from, and what was read off her pictures."""
    seen = [face for face in faces("ada", COUNT) if face is not None]
    assert len(seen) == COUNT
    solver = Solver()
    solver.calibrate(seen, SIZE)
    return motions(COUNT), [solver.step(face, SIZE, index / FPS) for index, face in enumerate(seen)]


def alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def action(tracks: list[Motion], name: str) -> np.ndarray:
    return np.array([motion.face[ACTION_INDEX[name]] for motion in tracks])


def test_head_and_eyes_follow(pair: tuple[list[Motion], list[Motion]]) -> None:
    true, read = (
        np.stack([np.concatenate([m.head[:3] + m.joints[:2].sum(0), m.gaze]) for m in motion]) for motion in pair
    )
    for column, least in enumerate((0.95, 0.98, 0.93, 0.85, 0.6)):
        assert alike(true[:, column], read[:, column]) > least
    assert np.abs(true[:, 1] - read[:, 1]).max() < 0.2


@pytest.mark.parametrize(
    ("name", "least"),
    [("jawOpen", 0.75), ("mouthSmileLeft", 0.75), ("mouthSmileRight", 0.7), ("browInnerUp", 0.45),
     ("eyeBlinkLeft", 0.7), ("eyeBlinkRight", 0.75)],
)  # fmt: skip
def test_actions_follow(pair: tuple[list[Motion], list[Motion]], name: str, least: float) -> None:
    assert alike(action(pair[0], name), action(pair[1], name)) > least


def test_the_mouth_opens_as_far_and_shuts(pair: tuple[list[Motion], list[Motion]]) -> None:
    true, read = (np.array([float(lip_gap(motion.face)) for motion in tracks]) for tracks in pair)
    assert alike(true, read) > 0.9
    assert read[true < 0.3].mean() < 1.5


def test_every_blink_is_seen(pair: tuple[list[Motion], list[Motion]]) -> None:
    true, read = (action(tracks, "eyeBlinkLeft") for tracks in pair)
    for start in np.flatnonzero((true[1:] >= 0.5) & (true[:-1] < 0.5)):
        assert read[start : start + 6].max() > 0.7
    assert set(ACTIONS) <= set(ACTION_INDEX)


def test_a_still_face_gives_a_still_motion() -> None:
    face = faces("ada", COUNT)[0]
    assert face is not None
    solver = Solver()
    rng = np.random.default_rng(0)
    shaky = [Face(face.points + rng.normal(0, 0.15, face.points.shape).astype(np.float32), 1.0) for _ in range(30)]
    solver.calibrate(shaky, SIZE)
    rows = np.stack([solver.step(f, SIZE, k / FPS).pack() for k, f in enumerate(shaky)])
    assert np.isfinite(rows).all()
    assert np.abs(np.diff(rows[5:, 62:65], axis=0)).max() < np.radians(0.8)
    assert rows[5:, :52].max() < 0.35


def test_a_step_before_calibration_and_a_calibration_without_faces_are_refused() -> None:
    face = faces("ada", COUNT)[0]
    assert face is not None
    with pytest.raises(ValueError, match="calibrate"):
        Solver().step(face, SIZE, 0.0)
    with pytest.raises(ValueError, match="no face"):
        Solver().calibrate([], SIZE)


def test_the_filter_is_steady_when_slow_and_quick_when_fast() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.02, 200)
    quiet = OneEuro(1.0, 2.0)
    still = np.array([quiet.step(np.array([v]), k / 25)[0] for k, v in enumerate(noise)])
    assert still[50:].std() < 0.5 * noise.std()
    quick = OneEuro(1.0, 2.0)
    jump = [quick.step(np.array([float(k >= 20) * 5]), k / 25)[0] for k in range(40)]
    assert jump[23] > 4.0
    assert quick.step(np.array([9.0]), 0.0)[0] == jump[-1]  # time does not go back
