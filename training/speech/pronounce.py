"""How a sentence of any language is said, in our ARPAbet: espeak-ng's phonemes, each as the phone of the nearest
sound whose lips look alike (a rounded front vowel becomes UH, the Spanish b between vowels V, for it does not close).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

from training.speech.tools import run

# Longest first. Length, palatalisation, aspiration, tone and nasality are dropped before the look-up.
_TWO: Final = {
    "tʃ": "CH", "tɕ": "CH", "dʒ": "JH", "dʑ": "JH", "tʂ": "CH", "dʐ": "JH", "ts": "T S", "dz": "D Z", "pf": "P F",
    "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY", "ɔʏ": "OY", "ɔø": "OY", "ɪɹ": "IH R",
}  # fmt: skip
_ONE: Final = {
    "p": "P", "b": "B", "m": "M", "ɱ": "M", "f": "F", "v": "V", "ʋ": "V", "β": "V", "ɸ": "F", "t": "T", "d": "D",
    "ʈ": "T", "ɖ": "D", "c": "T", "ɟ": "D", "k": "K", "g": "G", "ɡ": "G", "q": "K", "ɣ": "G", "ɢ": "G", "ʔ": "",
    "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "ɕ": "SH", "ʑ": "ZH", "ʂ": "SH", "ʐ": "ZH", "θ": "TH", "ð": "DH",
    "x": "HH", "χ": "HH", "h": "HH", "ɦ": "HH", "ħ": "HH", "ç": "HH", "ʁ": "HH", "ʀ": "R", "l": "L", "ɫ": "L",
    "ɭ": "L", "ɬ": "L", "ʎ": "L Y", "r": "R", "ɾ": "D", "ɽ": "D", "ɹ": "R", "ɻ": "R", "ř": "R ZH", "n": "N", "ɳ": "N",
    "ɲ": "N Y", "ʝ": "Y", "ɧ": "SH", "ɺ": "D", "ŋ": "NG", "ɴ": "NG", "j": "Y", "w": "W", "ɥ": "W", "ɰ": "G",
    "i": "IY", "ɪ": "IH", "ɨ": "IH", "ᵻ": "IH", "ɯ": "IH", "y": "UW", "ʏ": "UH", "e": "EH", "ɛ": "EH", "ø": "UH",
    "œ": "UH", "ɵ": "UH", "ə": "AH", "ɐ": "AH", "ɘ": "AH", "ɤ": "AH", "ʌ": "AH", "ɜ": "ER", "ɚ": "ER", "a": "AA",
    "ɑ": "AA", "ɒ": "AO", "æ": "AE", "ɔ": "AO", "o": "AO", "u": "UW", "ʊ": "UH", "ʉ": "UW",
}  # fmt: skip
_VOWELS: Final = frozenset("iɪɨᵻɯyʏeɛøœɵəɐɘɤʌɜɚaɑɒæɔouʊʉ")
_STRESS: Final = {"ˈ": 1, "ˌ": 2}


class Pronounced(NamedTuple):
    """One word: how it is written, its phones, and the stress (0, 1, 2) of each of its vowels."""

    text: str
    phones: tuple[str, ...]
    stress: tuple[int, ...]


def arpabet(ipa: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Phones and vowel stresses of one word's IPA; marks and signs without a sound are skipped.

    Raises ValueError on a letter that is in no table.
    """
    phones: list[str] = []
    stresses: list[int] = []
    pending = 0
    letters = unicodedata.normalize("NFD", ipa).replace("r\u030c", "ř").replace("c\u0327", "ç")
    letters = "".join(c for c in letters if c in _STRESS or unicodedata.category(c) in ("Ll", "Lo"))
    at = 0
    while at < len(letters):
        if letters[at] in _STRESS:
            pending = _STRESS[letters[at]]
            at += 1
            continue
        size = 2 if letters[at : at + 2] in _TWO else 1
        sound = letters[at : at + size]
        if size == 1 and sound not in _ONE:
            raise ValueError(f"no phone for {sound!r} (U+{ord(sound):04X}) in {ipa!r}")
        phones += (_TWO if size == 2 else _ONE)[sound].split()
        if sound[0] in _VOWELS:
            stresses.append(pending)
            pending = 0
        at += size
    return tuple(phones), tuple(stresses)


def tokens(text: str) -> list[str]:
    """The words of a sentence of any script, lower case, without punctuation."""
    kept = "".join(c if c.isalpha() or unicodedata.category(c).startswith("M") or c in "'\u2019" else " " for c in text)
    return [word for word in (token.strip("'\u2019") for token in kept.lower().split()) if word]


@lru_cache(maxsize=4096)
def pronounce(text: str, language: str) -> tuple[Pronounced, ...]:
    """Every word of ``text`` as an espeak-ng voice of ``language`` says it in that sentence.

    Raises MissingPackage without espeak-ng.
    """
    written = tokens(text)
    spoken = _ipa(" ".join(written), language)
    if len(spoken) != len(written):  # espeak-ng ran words together: ask for each of them by itself
        spoken = ["".join(_ipa(word, language)) for word in written]
    return tuple(Pronounced(word, *arpabet(ipa)) for word, ipa in zip(written, spoken, strict=True))


@lru_cache(maxsize=65536)
def _ipa(text: str, language: str) -> list[str]:
    said = run(["espeak-ng", "-q", "--ipa", "-v", language, "--", text])
    return re.sub(r"\([a-z-]+\)", "", said).split()  # (en): espeak-ng says when it borrows another language
