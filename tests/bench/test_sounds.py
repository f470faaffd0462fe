import numpy as np
import pytest

from bench.sounds import at_8khz, in_babble, in_noise, pink, still_sounds


def power(x: np.ndarray) -> float:
    return float((x.astype(np.float64) ** 2).mean())


def band(x: np.ndarray, low: float, high: float) -> float:
    spectrum, frequency = np.abs(np.fft.rfft(x)) ** 2, np.fft.rfftfreq(x.size, 1 / 16000)
    return float(spectrum[(frequency >= low) & (frequency < high)].sum())


def test_pink_noise_has_the_same_power_in_every_octave() -> None:
    noise = pink(1 << 17, np.random.default_rng(0))
    octaves = [band(noise, f, 2 * f) for f in (125, 500, 2000)]
    assert power(noise) == pytest.approx(1, rel=0.01) and max(octaves) / min(octaves) < 1.15


@pytest.mark.parametrize("db", [0.0, 10.0])
def test_noise_and_babble_lie_so_far_below_the_voice(db: float) -> None:
    voice = 0.1 * np.sin(np.arange(32000) / 7).astype(np.float32)
    others = [np.random.default_rng(i).normal(size=20000 + i).astype(np.float32) for i in range(3)]
    for mixed in (in_noise("a", voice, db), in_babble(voice, others, db)):
        assert 10 * np.log10(power(voice) / power(mixed - voice)) == pytest.approx(db, abs=0.2)


def test_noise_of_a_name_is_always_the_same_and_never_clips() -> None:
    voice = np.sign(np.sin(np.arange(16000) / 9)).astype(np.float32)
    assert np.array_equal(in_noise("a", voice, 0), in_noise("a", voice, 0))
    assert not np.array_equal(in_noise("a", voice, 0), in_noise("b", voice, 0))
    assert np.abs(in_noise("a", voice, 0)).max() <= 0.99 + 1e-6


def test_an_8_khz_line_keeps_time_and_cuts_above_4_khz() -> None:
    noise = np.random.default_rng(0).normal(size=16001).astype(np.float32)
    narrow = at_8khz(noise)
    assert narrow.size == noise.size
    assert band(narrow, 4300, 8000) < 1e-3 * band(narrow, 0, 3700)
    assert np.corrcoef(narrow, noise)[0, 1] > 0.6  # the same moments


def test_still_sounds_are_as_loud_as_their_names() -> None:
    sounds = still_sounds()
    assert not sounds["silence"].any()
    assert 10 * np.log10(power(sounds["noise_50db"])) == pytest.approx(-50, abs=0.2)
