from importlib.util import find_spec

import numpy as np
import pytest

from training.speech.features import FLOOR_DB, LEXICON, _fitted, lexical_stress, loudness, pitch, stresses
from training.speech.phones import PHONE_INDEX, Span, Word

needs_world = pytest.mark.skipif(find_spec("pyworld") is None, reason="pyworld is not installed")
needs_lexicon = pytest.mark.skipif(not LEXICON.is_file(), reason="festlex-cmu is not installed")


def test_loudness_is_the_level_of_each_hop() -> None:
    pcm = np.concatenate([np.zeros(3200), 3276.8 * np.sqrt(2) * np.sin(np.arange(3200) / 3), [7] * 50]).astype(np.int16)
    got = loudness(pcm)
    assert got.shape == (40,) and (got[:15] == FLOOR_DB).all() and np.abs(got[25:35] + 20).max() < 0.7
    assert loudness(np.zeros(0, np.int16)).size == loudness(np.zeros(159, np.int16)).size == 0


@needs_world
def test_pitch_has_one_value_a_hop_and_none_in_silence() -> None:
    time = np.arange(16000) / 16000
    tone = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20))
    pcm = np.concatenate([np.zeros(8000), 6000 * tone, np.zeros(77)]).astype(np.int16)
    got = pitch(pcm)
    assert got.shape == (pcm.size // 160,) and (got[:40] == 0).all() and np.abs(got[60:140] - 120).max() < 3


@needs_lexicon
def test_the_louder_longer_higher_syllable_stands_out() -> None:
    """MO-ther, the MA-ker: the second is accented, and the dictionary leaves "the" alone."""
    names = ["M", "AH", "DH", "ER", "DH", "AH", "M", "EY", "K", "ER"]
    lengths = [5, 8, 5, 6, 3, 6, 6, 16, 6, 6]
    edges = np.concatenate([[10], 10 + np.cumsum(lengths)])
    spans = [Span(int(a), int(b), PHONE_INDEX[n]) for a, b, n in zip(edges, edges[1:], names, strict=False)]
    words = [Word(10, 34, "mother"), Word(34, 43, "the"), Word(43, 77, "maker")]
    loud, f0 = np.full(90, -30.0, np.float32), np.full(90, 120.0, np.float32)
    loud[49:65], f0[49:65] = -22.0, 150.0
    got = stresses(spans, words, loud, f0, "Mother, the maker.")
    assert got.shape == (2, 2) and 0.15 <= got[0, 0] < 0.23 and 0.49 <= got[1, 0] < 0.65
    assert got[1, 1] > 0.85 and 0.3 < got[0, 1] < 0.8
    silent = stresses(spans, words, loud, np.zeros(90, np.float32), "Mother, the maker.")
    assert silent.shape == (0, 2)


@needs_lexicon
def test_dictionary_stress() -> None:
    assert lexical_stress("Computer about zxqwv", "en") == {"computer": (0, 1, 0), "about": (0, 1), "zxqwv": (1,)}


def test_a_stress_pattern_fits_the_vowels_that_were_found() -> None:
    assert _fitted((0, 1, 0), 3) == [0, 1, 0]
    assert _fitted((0, 1, 0), 2) in ([0, 1], [1, 0])
    assert _fitted((1, 0), 0) == [] and _fitted((), 2) == [0, 0]
    assert _fitted((0, 0, 1), 4) == [0, 0, 0, 1]
