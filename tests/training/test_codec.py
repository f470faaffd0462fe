import numpy as np
import pytest

from engine.clock import SAMPLE_RATE
from training.speech.codec import CODECS, available, transmitted


def talk(size: int) -> np.ndarray:
    """Speech-like sound: harmonics of a gliding voice in bursts, with gaps."""
    time = np.arange(size) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / SAMPLE_RATE
    voice = sum(np.sin(k * phase) * np.exp(-((k * 120 - 600) ** 2) / 4e5) for k in range(1, 25))
    gate = np.convolve(np.sin(2 * np.pi * 2.3 * time) > -0.3, np.ones(160) / 160, "same")
    return (0.1 * voice * gate).astype(np.float32)


def envelope(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.convolve(x**2, np.ones(320) / 320, "same"))


@pytest.mark.parametrize("name", list(CODECS))
def test_speech_comes_through_on_time(name: str) -> None:
    if name not in available():
        pytest.skip(f"this PyAV has no {name}")
    x = talk(2 * SAMPLE_RATE + 77)
    for bit_rate in CODECS[name].bit_rates[:: max(1, len(CODECS[name].bit_rates) - 1)]:
        y = transmitted(x, name, bit_rate)
        assert y.dtype == np.float32 and y.shape == x.shape and np.isfinite(y).all()
        assert not np.array_equal(x, y)
        lags = range(-200, 201, 8)
        match = [np.corrcoef(envelope(x)[400:-400], np.roll(envelope(y), -lag)[400:-400])[0, 1] for lag in lags]
        assert abs(lags[int(np.argmax(match))]) <= 80, "more than 5 ms late or early"
        assert max(match) > 0.9


def test_a_narrow_codec_cuts_at_4_khz() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    power = np.abs(np.fft.rfft(transmitted(noise, "mulaw", 64_000))) ** 2
    assert power[4300:].sum() < 0.01 * power[:3500].sum()


def test_silence_and_nothing() -> None:
    for name in available():
        quiet = transmitted(np.zeros(5000, np.float32), name, CODECS[name].bit_rates[0])
        assert quiet.shape == (5000,) and np.abs(quiet).max() < 0.01
        assert transmitted(np.zeros(0, np.float32), name, CODECS[name].bit_rates[0]).size == 0


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(ValueError, match="smoke.*opus"):
        transmitted(np.zeros(10, np.float32), "smoke", 1)
