import shutil

import pytest

from training.speech.phones import PHONES
from training.speech.pronounce import _ONE, _TWO, arpabet, pronounce, tokens

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def test_every_sound_maps_to_phones_we_have() -> None:
    for phones in [*_ONE.values(), *_TWO.values()]:
        assert set(phones.split()) <= set(PHONES) - {"SIL"}


def test_ipa_becomes_phones_and_the_stress_of_each_vowel() -> None:
    assert arpabet("bambˈiːno") == (("B", "AA", "M", "B", "IY", "N", "AO"), (0, 1, 0))
    assert arpabet("ˈt͡ʃa\u0303o") == (("CH", "AA", "AO"), (1, 0))
    assert arpabet("ˌøːpfˈaɪ") == (("UH", "P", "F", "AY"), (2, 1))
    assert arpabet("") == ((), ())


def test_a_letter_without_a_sound_is_an_error_that_shows_it() -> None:
    with pytest.raises(ValueError, match=r"U\+0398|U\+03B8.*|no phone"):
        arpabet("aΩa".lower())


def test_words_of_any_script_lose_their_punctuation() -> None:
    assert tokens("¡Hola, «señor»! L'été… नमस्ते।") == ["hola", "señor", "l'été", "नमस्ते"]


@needs_espeak
def test_spanish_closes_its_lips_for_p_and_m_but_not_for_a_soft_b() -> None:
    said = {word.text: word.phones for word in pronounce("El papá come una haba.", "es")}
    assert said["papá"] == ("P", "AA", "P", "AA") and "B" not in said["haba"] and "V" in said["haba"]


@needs_espeak
def test_one_pronunciation_a_word_also_where_espeak_runs_words_together() -> None:
    text = "out of the blue to be"
    assert [word.text for word in pronounce(text, "en-us")] == text.split()
