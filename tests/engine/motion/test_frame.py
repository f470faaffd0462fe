import numpy as np
import pytest

from engine.motion.frame import ACTIONS, CHANNELS, JOINTS, SIZE, Motion


def test_the_action_table_is_arkit() -> None:
    assert len(ACTIONS) == len(set(ACTIONS)) == 52
    assert ACTIONS[0] == "eyeBlinkLeft" and ACTIONS[17] == "jawOpen" and ACTIONS[-1] == "tongueOut"
    assert len(JOINTS) == 12


def test_pack_and_unpack_are_inverse() -> None:
    flat = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
    assert np.array_equal(Motion.unpack(flat).pack(), flat)


def test_a_packed_motion_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        Motion.unpack(np.zeros(SIZE + 1, np.float32))


def test_clipping_makes_any_numbers_safe_to_paint() -> None:
    flat = np.random.default_rng(1).normal(0, 100, SIZE).astype(np.float32)
    flat[::7] = np.nan
    motion = Motion.unpack(flat).clipped()
    for channel in CHANNELS:
        values = getattr(motion, channel.name)
        assert np.isfinite(values).all() and values.min() >= channel.low and values.max() <= channel.high
