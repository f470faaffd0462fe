"""Casual consonants: a DH becomes a stop and a V loses its friction, without a telltale of its own."""

import numpy as np
import pytest

from engine.clock import HOP, SAMPLE_RATE
from training.speech import consonants
from training.speech.consonants import casual
from training.speech.phones import PHONES, Span

HOPS = 60


def spoken(phone: str, start: int = 20, stop: int = 28) -> tuple[np.ndarray, list[Span]]:
    """A hissing vowel with one phone in it, in the range of int16."""
    time = np.arange(HOPS * HOP) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 40))
    hiss = np.random.default_rng(0).normal(size=time.size) * 0.3
    return (3000 * (voice + hiss)).astype(np.float32), [Span(start, stop, PHONES.index(phone))]


def band(x: np.ndarray, low: float, high: float) -> float:
    power = np.abs(np.fft.rfft(x)) ** 2
    hertz = np.fft.rfftfreq(x.size, 1 / SAMPLE_RATE)
    return float(power[(hertz >= low) & (hertz < high)].sum())


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consonants, "STOPPED_SHARE", 1.0)
    monkeypatch.setattr(consonants, "SOFT_SHARE", 1.0)


@pytest.mark.parametrize(("phone", "above"), [("DH", 1500), ("V", 4000)])
def test_the_high_end_of_the_phone_goes_and_the_rest_stays(phone: str, above: float) -> None:
    pcm, spans = spoken(phone)
    said = casual(pcm, spans, np.random.default_rng(1))
    inside = slice(21 * HOP, 26 * HOP)
    assert band(said[inside], above, 8000) < 0.1 * band(pcm[inside], above, 8000)
    np.testing.assert_array_equal(said[: 20 * HOP], pcm[: 20 * HOP])
    np.testing.assert_array_equal(said[31 * HOP :], pcm[31 * HOP :])
    assert said.dtype == np.float32 and said.size == pcm.size


def test_a_stopped_dh_keeps_a_floor_of_noise_as_any_stop_does() -> None:
    pcm, spans = spoken("DH")
    said = casual(pcm, spans, np.random.default_rng(1))
    assert band(said[21 * HOP : 26 * HOP], 6000, 8000) >= 0.2 * 5 * HOP * consonants.FLOOR**2 * 5 * HOP * 0.25


@pytest.mark.parametrize("phone", ["P", "N", "TH", "AA", "SIL"])
def test_other_phones_are_left_alone(phone: str) -> None:
    pcm, spans = spoken(phone)
    np.testing.assert_array_equal(casual(pcm, spans, np.random.default_rng(1)), pcm)


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (59, 60), (57, 70), (10, 10)])
def test_phones_at_the_edges_or_without_length_do_no_harm(start: int, stop: int) -> None:
    pcm, spans = spoken("DH", start, stop)
    said = casual(pcm, spans, np.random.default_rng(1))
    assert said.size == pcm.size and np.isfinite(said).all()
    assert casual(pcm, [], np.random.default_rng(1)) is not pcm
