"""English sentences to speak, from the Debian package ``fortunes``. The text itself is never shipped."""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import Path

from training.speech.align import MissingPackage, dictionary, words

FORTUNES = Path("/usr/share/games/fortunes")
WORDS_LOW, WORDS_HIGH = 3, 18
HELD_OUT_SHARE = 0.05  # of the sentences, for validation, the same ones for every voice


def sentences(folder: Path = FORTUNES) -> list[str]:
    """Every clean sentence whose words are all in the dictionary, sorted. Raises MissingPackage without them."""
    files = [path for path in sorted(folder.glob("*")) if "." not in path.name and path.is_file()]
    if not files:
        raise MissingPackage(f"no text in {folder}: install the Debian package fortunes")
    found = {line for path in files for line in _sentences(path.read_text(encoding="utf-8", errors="ignore"))}
    return sorted(found)


def _sentences(page: str) -> list[str]:
    out = []
    for quote in page.split("\n%\n"):
        body = " ".join(re.split(r"\n?\t+--", quote)[0].split())
        for sentence in re.split(r"(?<=[.!?])\s+", body):
            spoken = words(sentence)
            if not WORDS_LOW <= len(spoken) <= WORDS_HIGH or "--" in sentence:
                continue
            if re.search(r"[^A-Za-z,.'!? -]", sentence) or not all(word in dictionary() for word in spoken):
                continue
            out.append(sentence.strip())
    return out


def held_out(sentence: str) -> bool:
    """Whether a sentence belongs to validation: a property of its words alone, so no voice trains on it."""
    digest = hashlib.sha256(" ".join(words(sentence)).encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def script(voice: str, validation: bool, seed: int, pool: list[str]) -> list[str]:
    """The order in which ``voice`` reads its half of ``pool``; another voice has another order."""
    lines = [sentence for sentence in pool if held_out(sentence) == validation]
    random.Random(f"{seed}/{voice}/{validation}").shuffle(lines)
    return lines
