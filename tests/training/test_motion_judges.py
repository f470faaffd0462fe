import numpy as np
import pytest

from engine.motion.frame import ACTION_INDEX
from engine.motion.performance import HEAD_AT, PERFORMANCE
from training.motion_judges import beat_alignment, blinks, diversity, frozen, naturalness, peaks, speed


def alive(frames: int, seed: int) -> np.ndarray:
    """Smooth random motion (T, 96)."""
    noise = np.random.default_rng(seed).normal(size=(frames + 30, PERFORMANCE))
    kernel = np.hanning(15)[:, None] / 20
    return np.stack([np.convolve(row, kernel[:, 0], mode="valid") for row in noise.T], 1)[:frames]


def nodding(times: np.ndarray, frames: int) -> np.ndarray:
    """A head that nods at ``times`` seconds: fastest 40 ms before each."""
    out, clock = alive(frames, 0) * 0.01, np.arange(frames) / 25
    for time in times:
        out[:, HEAD_AT.start] += 0.08 * np.exp(-0.5 * ((clock - time) / 0.06) ** 2)
    return out


def scene(frames: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    times = np.sort(np.random.default_rng(5).uniform(1, frames / 25 - 1, frames // 25))
    return times[np.append(True, np.diff(times) > 0.4)], np.ones(frames, bool)


def test_takes_alike_have_no_diversity_and_different_ones_have() -> None:
    one = alive(100, 1)
    assert max(diversity(np.stack([one, one])).values()) == 0.0
    assert min(diversity(np.stack([one, alive(100, 2)])).values()) > 0.0
    with pytest.raises(ValueError, match="two or more takes"):
        diversity(one[None])


def test_a_head_that_nods_on_stress_is_told_from_one_that_nods_anywhere() -> None:
    times, talk = scene()
    on = beat_alignment([nodding(times, 1500)], [times], [talk])
    off = beat_alignment([nodding(np.random.default_rng(6).uniform(0, 60, len(times)), 1500)], [times], [talk])
    assert on.p_value < 0.01
    assert on.score > on.control + 0.15
    assert off.p_value > 0.01
    assert off.score < on.score


def test_beats_need_speech_and_stress() -> None:
    times, talk = scene()
    with pytest.raises(ValueError, match="no stream"):
        beat_alignment([nodding(times, 1500)], [times], [~talk])
    with pytest.raises(ValueError, match='"head" or "hands"'):
        speed(alive(50, 0), "feet")


def test_peaks_are_where_speed_peaks() -> None:
    found = peaks(np.abs(np.sin(np.arange(200) * np.pi / 25)))
    assert np.allclose(found, np.arange(0.5, 8, 1.0), atol=0.05)


def test_blinks_are_counted() -> None:
    motion = np.zeros((500, PERFORMANCE))
    for start in (20, 100, 300):
        motion[start : start + 3, ACTION_INDEX["eyeBlinkLeft"]] = 1.0
    assert blinks(motion) == 3


def test_shaking_and_freezing_show() -> None:
    calm = alive(500, 3)
    shaking = calm + 0.05 * np.random.default_rng(0).normal(size=calm.shape)
    assert naturalness(calm, alive(500, 4))["head.jerk"] == pytest.approx(1.0, abs=0.3)
    assert naturalness(shaking, calm)["head.jerk"] > 2.0
    still = calm.copy()
    still[100:300] = still[100]
    assert frozen(calm) == 0.0
    assert frozen(still) == pytest.approx(0.4)
