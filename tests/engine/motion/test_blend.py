import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.motion.blend import CLOSE, JAW, MOUTH, blend, closure_of
from engine.motion.emotion import EMOTIONS, expression
from engine.motion.frame import ACTION_INDEX, K
from engine.motion.lips import lip_gap

NONE = np.zeros(K, np.float32)
FACES = hnp.arrays(np.float32, K, elements=st.floats(0, 1, width=32))


def lips(closure: float, **weights: float) -> np.ndarray:
    """Lips as the network composes them: mouthClose takes away its share of the gap."""
    face = np.zeros(K, np.float32)
    for name, weight in weights.items():
        face[ACTION_INDEX[name]] = weight
    face[CLOSE] = closure * (float(lip_gap(face)) + 0.8) / 34.8
    return face


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_closure_stays_shut_under_every_expression(emotion: str) -> None:
    said = lips(1.0, jawOpen=0.15, mouthFunnel=0.1)
    for contact in (None, np.array([1.0, 0.0], np.float32)):
        for level in (0.0, 0.5, 1.0):
            face = blend(said, expression(emotion, 1.0), level=level, contact=contact)
            assert lip_gap(face) < 0.05


def test_lips_alone_come_through_as_they_are() -> None:
    for closure in (0.0, 0.4, 1.0):
        said = lips(closure, jawOpen=0.4, mouthStretchLeft=0.3)
        assert closure_of(said) == pytest.approx(closure, abs=1e-5)
        np.testing.assert_allclose(blend(said, NONE, level=1.0), said, atol=1e-6)


def test_an_expression_keeps_less_of_the_mouth_and_none_of_the_jaw_while_speaking() -> None:
    surprised = expression("surprised", 1.0)
    silent, speaking = blend(NONE, surprised, level=0.0), blend(NONE, surprised, level=1.0)
    np.testing.assert_allclose(silent, surprised, atol=1e-6)
    assert speaking[JAW] == 0.0
    assert speaking[ACTION_INDEX["mouthFunnel"]] == pytest.approx(0.45 * surprised[ACTION_INDEX["mouthFunnel"]])
    assert (speaking[~MOUTH] == surprised[~MOUTH]).all()


def test_an_interruption_shuts_a_mouth_that_is_wide_open() -> None:
    said = lips(0.0, jawOpen=0.8, mouthLowerDownLeft=0.5)
    gaps = [float(lip_gap(blend(said, expression("surprised", 1.0), level=1.0, hush=h))) for h in np.linspace(0, 1, 11)]
    assert gaps[0] > 20 and gaps[-1] < 0.05 and (np.diff(gaps) < 0).all()


def test_an_action_set_by_hand_wins_over_lips_and_expression() -> None:
    share, weight = np.zeros(K, np.float32), np.zeros(K, np.float32)
    share[JAW], weight[JAW] = 1.0, 0.6
    face = blend(lips(1.0, jawOpen=0.1), NONE, level=1.0, share=share, weight=weight)
    assert face[JAW] == pytest.approx(0.6) and lip_gap(face) > 15


@settings(deadline=None)
@given(said=FACES, felt=FACES, level=st.floats(0, 1), hush=st.floats(0, 1), contact=st.none() | st.floats(0, 1))
def test_any_blend_is_a_face(said: np.ndarray, felt: np.ndarray, level: float, hush: float, contact) -> None:
    touch = None if contact is None else np.array([contact, 1 - contact], np.float32)
    face = blend(said, felt, level=level, hush=hush, contact=touch)
    assert face.shape == (K,) and face.dtype == np.float32
    assert np.isfinite(face).all() and face.min() >= 0.0 and face.max() <= 1.0


def test_nan_does_not_get_through() -> None:
    bad = NONE.copy()
    bad[3] = np.nan
    assert np.isfinite(blend(bad, bad, level=1.0)).all()
