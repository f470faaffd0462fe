"""Forced alignment of a known sentence with its audio (pocketsphinx, offline, 10 ms grid).

The acoustic model is English. Other languages are aligned by it too, each phone as the nearest English one
(``pronounce.py``); docs/model_cards/speech.md says how far their times can be trusted.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.speech.phones import PHONE_INDEX, Span, Word
from training.speech.pronounce import pronounce
from training.speech.tools import MissingPackage

if TYPE_CHECKING:
    from pocketsphinx import Decoder

ENGLISH = "en"


class Aligned(NamedTuple):
    """Phones and words of one recording."""

    spans: list[Span]
    words: list[Word]


def words(text: str) -> list[str]:
    """The words of ``text`` as the dictionary spells them: lower case, letters and inner apostrophes."""
    cleaned = re.sub(r"[^a-z' ]+", " ", text.lower().replace("\u2019", "'"))
    return [word for word in (token.strip("'") for token in cleaned.split()) if word]


def _sphinx_path(name: str) -> str:
    try:
        from pocketsphinx import get_model_path
    except ImportError as error:
        raise MissingPackage("forced alignment needs pocketsphinx: pip install pocketsphinx==5.1.1") from error
    return str(get_model_path(name))


@cache
def dictionary() -> frozenset[str]:
    """Every word the aligner can pronounce (the CMU dictionary pocketsphinx ships)."""
    with open(_sphinx_path("en-us/cmudict-en-us.dict"), encoding="utf-8") as lines:
        return frozenset(line.split(maxsplit=1)[0] for line in lines if line.strip())


@cache
def _decoder() -> Decoder:
    model, lexicon = _sphinx_path("en-us/en-us"), _sphinx_path("en-us/cmudict-en-us.dict")
    from pocketsphinx import Decoder

    # Wide beams: the text is known, so a pruned true path costs a sentence and saves nothing.
    return Decoder(hmm=model, dict=lexicon, lm=None, loglevel="FATAL", bestpath=False,
                   beam=1e-90, pbeam=1e-90, wbeam=1e-80)  # fmt: skip


def forget() -> None:
    """Drops what the aligner adapted to (its running cepstral mean), so that what follows is repeatable."""
    _decoder.cache_clear()


def align(pcm: NDArray[np.int16], text: str, language: str = ENGLISH) -> Aligned | None:
    """Phones and words of ``text`` in ``pcm`` (samples,) at 16 kHz, or None when they cannot be matched.

    Raises ValueError when an English word is not in the dictionary or a foreign one cannot be pronounced.
    """
    decoder, raw = _decoder(), np.ascontiguousarray(pcm, np.int16).tobytes()
    keys = _english(text) if language == ENGLISH else _foreign(decoder, text, language)
    decoder.set_align_text(" ".join(keys))
    _decode(decoder, raw)
    if decoder.hyp() is None:
        return None
    decoder.set_alignment()
    _decode(decoder, raw)
    alignment = decoder.get_alignment()
    if alignment is None:
        return None
    spans, found = [], []
    for entry in alignment:
        if not entry.name.startswith(("<", "[", "+")):
            spelled = re.sub(r"\(\d+\)$", "", entry.name).partition(":")
            found.append(Word(entry.start, entry.start + entry.duration, spelled[2] or spelled[0]))
        spans += [Span(p.start, p.start + p.duration, PHONE_INDEX.get(p.name.rstrip("012"), 0)) for p in entry]
    return Aligned(spans, found)


def _english(text: str) -> list[str]:
    unknown = [word for word in words(text) if word not in dictionary()]
    if unknown:
        raise ValueError(f"not in the pronunciation dictionary: {', '.join(unknown)}")
    return words(text)


def _foreign(decoder: Decoder, text: str, language: str) -> list[str]:
    """Teaches the decoder the words of ``text``, each under a key no English word has."""
    keys = []
    for word in pronounce(text, language):
        if word.phones:
            phones = " ".join(word.phones)
            key = f"{language}.{phones.replace(' ', '_')}:{word.text}"
            if decoder.lookup_word(key) is None:
                decoder.add_word(key, phones, True)
            keys.append(key)
    if not keys:
        raise ValueError(f"nothing to pronounce in {text!r} ({language})")
    return keys


def _decode(decoder: Decoder, raw: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(raw, full_utt=True)
    decoder.end_utt()
