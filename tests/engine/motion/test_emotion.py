import math

import numpy as np
import pytest

from engine.motion.condition import (
    CONDITION,
    KNOWN_AT,
    LISTENING_AT,
    LOOKAHEAD_AT,
    SEMANTIC,
    SEMANTIC_AT,
    SPEAKING_AT,
    condition,
)
from engine.motion.emotion import (
    EMOTIONS,
    EXPRESSION_TABLE,
    INTENSITIES,
    expression,
    lip_gain,
)
from engine.motion.frame import ACTION_INDEX


def test_neutral_and_intensity_zero_change_nothing() -> None:
    for name in EMOTIONS:
        assert not expression(name, 0.0).any() and (lip_gain(name, 0.0) == 1.0).all()
    assert not expression("neutral", 1.0).any() and (lip_gain("neutral", 1.0) == 1.0).all()


def test_every_two_emotions_are_far_apart_on_the_face_even_when_mild() -> None:
    faces = [expression(name, INTENSITIES["mild"]) for name in EMOTIONS]
    for i, one in enumerate(faces):
        for other in faces[:i]:
            assert np.linalg.norm(one - other) > 0.25


def test_weights_and_gains_are_sane() -> None:
    assert EXPRESSION_TABLE.min() >= 0.0 and EXPRESSION_TABLE.max() <= 1.0
    for name in EMOTIONS:
        assert lip_gain(name, 1.0).min() >= 0.1 and lip_gain(name, 1.0).max() <= 2.0
    assert lip_gain("sad", 1.0)[0] < 1.0 < lip_gain("angry", 1.0)[0]


def test_contempt_is_one_sided_and_nothing_else_is() -> None:
    left = [ACTION_INDEX[n] for n in ACTION_INDEX if n.endswith("Left") and n[:-4] + "Right" in ACTION_INDEX]
    for name in EMOTIONS:
        row = expression(name, 1.0)
        one_sided = any(row[k] != row[ACTION_INDEX[list(ACTION_INDEX)[k][:-4] + "Right"]] for k in left)
        assert one_sided == (name == "contempt")


@pytest.mark.parametrize(("emotion", "intensity"), [("joy", 0.5), ("happy", -0.1), ("happy", 1.1), ("sad", math.nan)])
def test_bad_emotions_are_refused(emotion: str, intensity: float) -> None:
    with pytest.raises(ValueError, match="emotion"):
        expression(emotion, intensity)
    with pytest.raises(ValueError, match="emotion"):
        condition(emotion, intensity)


def test_condition_puts_everything_in_its_place() -> None:
    meaning = np.linspace(-1, 1, SEMANTIC)
    row = condition("sad", 0.65, speaking=1.0, style=(0.1, 0.2, 0.3, 0.4), meaning=meaning, lookahead=1)
    assert row.shape == (CONDITION,) and row.dtype == np.float32
    assert row[EMOTIONS.index("sad")] == np.float32(0.65) and row[:8].sum() == np.float32(0.65)
    assert row[SPEAKING_AT] == 1.0 and row[LISTENING_AT] == 0.0 and row[LOOKAHEAD_AT] == 0.5 and row[KNOWN_AT] == 1.0
    np.testing.assert_allclose(row[SEMANTIC_AT], meaning, atol=1e-6)
    np.testing.assert_allclose(row[9:13], (0.1, 0.2, 0.3, 0.4), atol=1e-6)
    assert condition()[SEMANTIC_AT].sum() == 0.0 == condition()[KNOWN_AT]


def test_bad_conditions_are_refused() -> None:
    for bad in ({"style": (0.5,) * 3}, {"style": (0.5, 0.5, 0.5, 2.0)}, {"lookahead": 3}, {"meaning": np.zeros(31)},
                {"meaning": np.full(SEMANTIC, np.nan)}):  # fmt: skip
        with pytest.raises(ValueError):
            condition(**bad)  # type: ignore[arg-type]
