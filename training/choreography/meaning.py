"""Which gesture a phrase calls for: by what its words mean, not by which words they are.

A word that is near a carrier word of the vocabulary's example phrases is a candidate; the phrase around it must be
near the same meaning's examples. Nearness is the cosine of sentence embeddings (engine/motion/semantics.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.motion.semantics import SemanticEncoder
from engine.motion.wordpiece import words as tokens
from training.choreography.sayings import SAYINGS, SELDOM
from training.choreography.stage import Meant
from training.speech.phones import HOPS_PER_SECOND, Word

Array = NDArray[Any]
CANDIDATE: Final = 0.55  # cosine of a word with a carrier
THRESHOLD: Final = 0.52  # of the mean of word and phrase
AROUND: Final = 2  # words on either side that make the phrase
CLOSEST: Final = 1.3  # seconds between two meanings
_MUTE = (
    "i a an the and of to in on at by or as is am are was were be been it its that he she his her him their they them "
    "s t isn for with from but so if do does did has have had will would can could there's"
)
MUTE: Final = frozenset(_MUTE.split())  # words that mean nothing by themselves


class Match(NamedTuple):
    """Word number ``word`` of a sentence calls for the gesture ``name``; ``score`` is a cosine."""

    word: int
    name: str
    score: float


class Chooser:
    """Finds meanings in sentences. Raises ValueError when the sentence encoder is not installed."""

    def __init__(self, encoder: SemanticEncoder | None = None) -> None:
        self.encoder = encoder or SemanticEncoder()
        phrases = [(name, phrase) for name in SAYINGS for phrase in SAYINGS[name]]
        self.names = list(SAYINGS)
        self._owner = np.array([self.names.index(name) for name, _ in phrases])
        self._phrases = self.encoder.embed([phrase.lower() for _, phrase in phrases])
        carriers = [
            (name, word) for name, phrase in phrases for word in phrase.split() if len(word) > 1 and word.isupper()
        ]
        self._carrier_owner = np.array([self.names.index(name) for name, _ in carriers])
        self._carriers = self.encoder.embed([word.lower() for _, word in carriers])
        self._word = lru_cache(maxsize=50_000)(self._near_carriers)
        self._text = lru_cache(maxsize=20_000)(lambda text: self.encoder.encode(text))
        self._found = lru_cache(maxsize=20_000)(self._search)

    def sentence(self, text: str, words: Sequence[Word], stresses: Array) -> tuple[Array | None, tuple[Meant, ...]]:
        """The meaning (32,) of ``text`` and its gestures, each on its word's stress; None and () without words."""
        if not tokens(text):
            return None, ()
        matches = self.matches([word.text for word in words]) if words else []
        return self._text(text), placed(matches, words, stresses)

    def matches(self, words: Sequence[str]) -> list[Match]:
        """Meanings in a row of words, best first."""
        return self._found(tuple(words))

    def _near_carriers(self, word: str) -> tuple[tuple[int, float], ...]:
        """(meaning, cosine) of the meanings that a word alone may carry."""
        if word in MUTE or not tokens(word):
            return ()
        near = self._carriers @ self.encoder.embed([word])[0]
        best = np.full(len(self.names), -1.0)
        np.maximum.at(best, self._carrier_owner, near)
        return tuple((int(i), float(best[i])) for i in np.flatnonzero(best > CANDIDATE))

    def _search(self, words: tuple[str, ...]) -> list[Match]:
        out = []
        for index, word in enumerate(words):
            candidates = self._word(word)
            if not candidates:
                continue
            around = " ".join(words[max(index - AROUND, 0) : index + AROUND + 1])
            near = self._phrases @ self.encoder.embed([around])[0]
            phrase = np.full(len(self.names), -1.0)
            np.maximum.at(phrase, self._owner, near)
            for meaning, alone in candidates:
                score = 0.5 * (alone + float(phrase[meaning]))
                if score > THRESHOLD:
                    out.append(Match(index, self.names[meaning], score))
        return sorted(out, key=lambda m: (-m.score * SELDOM.get(m.name, 1.0) ** 0.25, m.word))


def placed(matches: Sequence[Match], words: Sequence[Word], stresses: Array) -> tuple[Meant, ...]:
    """The best matches that do not crowd each other, at the strongest stress in the word or in its first third."""
    rows = np.asarray(stresses, float).reshape(-1, 2)
    out: list[Meant] = []
    for match in matches:
        start, stop = (edge / HOPS_PER_SECOND for edge in words[match.word][:2])
        inside = rows[(rows[:, 0] >= start - 0.02) & (rows[:, 0] <= stop)]
        time = float(inside[inside[:, 1].argmax(), 0]) if len(inside) else start + 0.33 * (stop - start)
        if all(abs(time - other.time) >= CLOSEST for other in out):
            out.append(Meant(round(time, 3), match.name))
    return tuple(sorted(out))
