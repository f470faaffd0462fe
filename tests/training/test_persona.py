from importlib.util import find_spec

import numpy as np
import pytest

from engine.clock import SAMPLE_RATE
from training.speech.persona import PITCH_HZ, Persona, _warped, convert, personas, pitch

needs_world = pytest.mark.skipif(find_spec("pyworld") is None, reason="pyworld is not installed")
PLAIN = Persona("x", 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)


def vowel(hz: float, seconds: float = 1.0) -> np.ndarray:
    """A pulse train through three resonances, like an open vowel."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    out = np.zeros(time.size)
    for k in range(1, int(7000 / hz)):
        gain = sum(1 / (1 + ((k * hz - f) / w) ** 2) for f, w in ((700, 80), (1200, 90), (2600, 120)))
        out += gain * np.sin(2 * np.pi * k * hz * time)
    return (0.5 * out / np.abs(out).max()).astype(np.float32)


def centre(x: np.ndarray) -> float:
    """Where the first two resonances are: centre of the spectrum between 300 and 2000 Hz."""
    power = np.abs(np.fft.rfft(x * np.hanning(x.size))) ** 2
    hz = np.fft.rfftfreq(x.size, 1 / SAMPLE_RATE)
    band = (hz > 300) & (hz < 2000)
    return float((power[band] * hz[band]).sum() / power[band].sum())


def test_personas_are_the_same_every_time_and_sane() -> None:
    for voice in ("flite_slt", "kokoro_af_heart", "festival_mv"):
        made = personas(voice, 4)
        assert made == personas(voice, 4) and made[:2] == personas(voice, 2)
        assert [p.name for p in made] == ["a", "b", "c", "d"]
        assert (made[0].pitch > 1) != (made[1].pitch > 1)  # one up, one down
        for p in made:
            assert 0.6 <= p.pitch <= 1.8 and 0.82 <= p.formants <= 1.22 and 0.8 <= p.tempo <= 1.25


def test_warping_moves_a_peak_by_the_factor() -> None:
    spectra = np.exp(-(((np.arange(513) - 200) / 10.0) ** 2))[None].repeat(2, 0) + 1e-9
    for factor in (0.85, 1.0, 1.2):
        assert _warped(spectra, factor)[0].argmax() == pytest.approx(200 * factor, abs=1)


@needs_world
def test_pitch_formants_and_tempo_move_apart() -> None:
    x = vowel(140.0)
    voiced = pitch(x, 10.0)
    assert np.median(voiced[voiced > 0]) == pytest.approx(140, rel=0.01)
    higher = convert(x, Persona("h", 1.4, 1.0, 1.0, 1.0, 0.0, 0.0), np.random.default_rng(0))
    shorter = convert(x, Persona("s", 1.0, 1.0, 1.2, 1.0, 0.0, 0.0), np.random.default_rng(0))
    faster = convert(x, Persona("f", 1.0, 1.0, 1.0, 1.25, 0.0, 0.0), np.random.default_rng(0))
    f0 = {name: pitch(y, 10.0) for name, y in (("h", higher), ("s", shorter), ("f", faster))}
    median = {name: np.median(track[track > 0]) for name, track in f0.items()}
    assert median["h"] == pytest.approx(196, rel=0.02)
    assert median["s"] == pytest.approx(140, rel=0.02) and median["f"] == pytest.approx(140, rel=0.02)
    assert centre(shorter) > 1.1 * centre(x) and centre(higher) == pytest.approx(centre(x), rel=0.1)
    assert faster.size == pytest.approx(x.size / 1.25, rel=0.01) and shorter.size == pytest.approx(x.size, rel=0.01)


@needs_world
def test_pitch_stays_where_people_speak() -> None:
    low = convert(vowel(90.0), Persona("l", 0.6, 1.0, 1.0, 1.0, 0.0, 0.0), np.random.default_rng(0))
    track = pitch(low, 10.0)
    assert np.median(track[track > 0]) == pytest.approx(PITCH_HZ[0], rel=0.03)


@needs_world
@pytest.mark.parametrize("x", [np.zeros(8000, np.float32), np.zeros(100, np.float32)])
def test_silence_stays_silent_and_finite(x: np.ndarray) -> None:
    said = convert(x, PLAIN, np.random.default_rng(0))
    assert np.isfinite(said).all() and np.abs(said).max(initial=0.0) < 1e-3
    assert (pitch(x, 10.0) == 0).all()
