"""WordPiece: text to token numbers as uncased BERT models read it (Devlin et al. 2019; vocabulary Apache-2.0)."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Final

VOCABULARY: Final = Path(__file__).parent.parent / "assets" / "wordpieces.txt"
LONGEST_WORD: Final = 100  # letters; longer ones are unknown
CJK: Final = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAFF))


class WordPiece:
    """Tokens of a text, the longest known piece first. Raises ValueError when the vocabulary is missing."""

    def __init__(self, path: Path = VOCABULARY) -> None:
        if not path.is_file():
            raise ValueError(f"{path}: no vocabulary; reinstall visavis")
        self._ids = {word: index for index, word in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1])}
        missing = {"[UNK]", "[CLS]", "[SEP]"} - set(self._ids)
        if missing:
            raise ValueError(f"{path}: not a WordPiece vocabulary, it lacks {', '.join(sorted(missing))}")
        self._pieces = lru_cache(maxsize=20_000)(self._split)

    def encode(self, text: str, longest: int) -> list[int]:
        """Token numbers between [CLS] and [SEP], at most ``longest`` with them."""
        inside = [piece for word in words(text) for piece in self._pieces(word)]
        return [self._ids["[CLS]"], *inside[: longest - 2], self._ids["[SEP]"]]

    def _split(self, word: str) -> tuple[int, ...]:
        if len(word) > LONGEST_WORD:
            return (self._ids["[UNK]"],)
        out, start = [], 0
        while start < len(word):
            stop = len(word)
            while stop > start and ("##" if start else "") + word[start:stop] not in self._ids:
                stop -= 1
            if stop == start:
                return (self._ids["[UNK]"],)
            out.append(self._ids[("##" if start else "") + word[start:stop]])
            start = stop
        return tuple(out)


def words(text: str) -> list[str]:
    """Lower-case words without accents; every punctuation mark and CJK character is a word of its own."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    spaced = []
    for c in plain:
        code = ord(c)
        if code in (0, 0xFFFD) or (unicodedata.category(c) in ("Cc", "Cf") and c not in "\t\n\r"):
            continue
        alone = _punctuation(c) or any(low <= code <= high for low, high in CJK)
        spaced.append(f" {c} " if alone else c)
    return "".join(spaced).split()


def _punctuation(c: str) -> bool:
    return c in "$+<=>^`|~" or unicodedata.category(c).startswith("P")
