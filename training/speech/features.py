"""What a sentence sounds like beyond its phones: loudness, pitch, and how much each stressed syllable stands out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import HOP, SAMPLE_RATE
from training.speech.align import words as english_words
from training.speech.persona import pitch as pitch_track
from training.speech.phones import HOPS_PER_SECOND, PHONES, Span, Word
from training.speech.pronounce import pronounce
from training.speech.tools import MissingPackage

Array = NDArray[np.float32]
LEXICON: Final = Path("/usr/share/festival/dicts/cmu/cmudict-0.4.out")
FLOOR_DB: Final = -80.0
WINDOW: Final = SAMPLE_RATE // 40  # 25 ms
VOWELS: Final = frozenset(i for i, name in enumerate(PHONES) if name[0] in "AEIOU")
# Words that carry grammar more than meaning: seldom accented, whatever the dictionary says.
_FUNCTION: Final = (
    "a an the and or but nor so if as than that this these those of to in on at by for from with into about i you he "
    "she it we they me him her us them my your his its our their is am are was were be been being has have had do does "
    "did will would shall should can could may might must not there it's i'm don't what who which when"
)
FUNCTION_WORDS: Final = frozenset(_FUNCTION.split())


def loudness(pcm: NDArray[np.int16]) -> Array:
    """Level in dB of full scale (hops,), over 25 ms about the centre of each 10 ms hop, not below -80."""
    hops = pcm.size // HOP
    power = np.concatenate([[0.0], np.cumsum((pcm.astype(np.float64) / 32768.0) ** 2)])
    centre = np.arange(hops) * HOP + HOP // 2
    first, last = np.maximum(centre - WINDOW // 2, 0), np.minimum(centre + WINDOW // 2, pcm.size)
    mean = (power[last] - power[first]) / np.maximum(last - first, 1)
    return np.maximum(10 * np.log10(np.maximum(mean, 1e-12)), FLOOR_DB).astype(np.float32)


def pitch(pcm: NDArray[np.int16]) -> Array:
    """F0 in Hz (hops,), 0 where there is no voice. Raises MissingPackage without pyworld."""
    hops = pcm.size // HOP
    track = pitch_track(pcm.astype(np.float32) / 32768.0, 1000 / HOPS_PER_SECOND)[:hops]
    return np.pad(track, (0, hops - track.size)).astype(np.float32)


@cache
def _lexicon() -> dict[str, tuple[int, ...]]:
    """Word -> stress (0 or 1) of each syllable, from Festival's CMU dictionary; the first entry of a word holds."""
    if not LEXICON.is_file():
        raise MissingPackage(f"no stress dictionary at {LEXICON}: install the Debian package festlex-cmu")
    out: dict[str, tuple[int, ...]] = {}
    for line in LEXICON.read_text(encoding="latin-1").splitlines():
        entry = re.match(r'\("([^"]+)"', line)
        if entry:
            stress = re.findall(r"\([a-z ]+\) (\d)\)", line)
            out.setdefault(entry[1], tuple(map(int, stress)))
    return out


def lexical_stress(text: str, language: str) -> dict[str, tuple[int, ...]]:
    """Stress of the vowels of each word of ``text``, as dictionaries have it: 1 primary, 2 secondary, 0 none."""
    if language == "en":
        return {word: _lexicon().get(word, (1,)) for word in english_words(text)}
    return {word.text: word.stress for word in pronounce(text, language)}


def stresses(
    spans: Sequence[Span], words: Sequence[Word], loud: Array, f0: Array, text: str, language: str = "en"
) -> NDArray[np.float32]:
    """Stressed syllables (n, 2): the time of the vowel's loudest hop in seconds, and its prominence, 0-1.

    Prominence adds what accents are made of (Terken 1991; Kochanski et al. 2005): loudness, length and pitch against
    the rest of the sentence; half a step of each is worth about the same. A word of grammar counts less.
    """
    lexical = lexical_stress(text, language)
    vowels = [s for s in spans if s.phone in VOWELS]
    voiced = f0[f0 > 0]
    if not vowels or not voiced.size:
        return np.zeros((0, 2), np.float32)
    middle = float(np.log2(np.median(voiced)))
    usual = float(np.median([s.stop - s.start for s in vowels]))
    peak = float(np.median([_peak(loud, s)[1] for s in vowels]))
    rows = []
    for word in words:
        inside = [s for s in vowels if word.start <= s.start < word.stop]
        marks = _fitted(lexical.get(word.text, (1,)), len(inside))
        for span, mark in zip(inside, marks, strict=True):
            if not mark:
                continue
            hop, level = _peak(loud, span)
            tone = f0[max(span.start - 2, 0) : span.stop + 2]
            rise = float(np.log2(tone.max())) - middle if (tone > 0).any() else 0.0
            score = (level - peak) / 5 + np.log2((span.stop - span.start) / usual) + rise / 0.3
            score -= (1.6 if word.text in FUNCTION_WORDS else 0.0) + (0.7 if mark == 2 else 0.0)
            rows.append(((hop + 0.5) / HOPS_PER_SECOND, 1 / (1 + np.exp(-score))))
    return np.array(rows, np.float32).reshape(-1, 2)


def _peak(loud: Array, span: Span) -> tuple[int, float]:
    inside = loud[span.start : max(span.stop, span.start + 1)]
    return (span.start + int(inside.argmax()), float(inside.max())) if inside.size else (span.start, FLOOR_DB)


def _fitted(stress: Sequence[int], vowels: int) -> list[int]:
    """A dictionary's stresses on the vowels the aligner found, which now and then are one more or one less."""
    if len(stress) == vowels or not vowels or not stress:
        return list(stress)[:vowels] + [0] * (vowels - len(stress))
    main = round((max(range(len(stress)), key=lambda i: stress[i] == 1)) * (vowels - 1) / max(len(stress) - 1, 1))
    return [int(i == main) for i in range(vowels)]
