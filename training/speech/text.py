"""Sentences to speak. English and four more from the Debian fortunes, the rest from translated program messages.

None of this text is shipped. Spanish, French, Italian and Russian are not here: they are for testing.
"""

from __future__ import annotations

import gettext
import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from training.speech.align import ENGLISH, dictionary, words
from training.speech.pronounce import tokens
from training.speech.tools import MissingPackage

FORTUNES: Final = Path("/usr/share/games/fortunes")
LOCALES: Final = Path("/usr/share/locale")
FOREIGN_FORTUNES: Final = {"pt-br": "brasil", "cs": "cs", "de": "de", "pl": "pl"}  # language -> file or folder
FORTUNES_PACKAGE: Final = {"en": "fortunes", "pt-br": "fortunes-br", "cs": "fortunes-cs", "de": "fortunes-de",
                           "pl": "fortunes-pl"}  # fmt: skip
MESSAGES: Final = {"fi": "fi", "ca": "ca", "hi": "hi", "te": "te", "mr": "mr", "sv": "sv", "nl": "nl", "tr": "tr"}
LANGUAGES: Final = ("en", *FOREIGN_FORTUNES, *MESSAGES)
WORDS_LOW, WORDS_HIGH = 3, 18
LETTERS_HIGH = 110  # of a foreign sentence
HELD_OUT_SHARE = 0.05  # of the sentences, for validation, the same ones for every voice
# Letters a language is written in; a sentence with any other is left out (a foreign name, a bad encoding).
ALPHABET: Final = {
    "pt-br": "a-záâãàçéêíóôõú", "cs": "a-záčďéěíňóřšťúůýž", "de": "a-zäöüß", "pl": "a-pr-uwyząćęłńóśźż",
    "fi": "a-zäö", "ca": "a-zàçèéíïòóúü·", "hi": "\u0900-\u097f", "mr": "\u0900-\u097f", "te": "\u0c00-\u0c7f",
    "sv": "a-zåäö", "nl": "a-zëïéö", "tr": "a-zçğıöşüâ",
}  # fmt: skip


def sentences(language: str = ENGLISH, folder: Path = FORTUNES, locales: Path = LOCALES) -> list[str]:
    """Every clean sentence of a language, sorted. English ones have all their words in the aligner's dictionary.

    Raises MissingPackage without the text, ValueError for a language that is not in LANGUAGES.
    """
    if language not in LANGUAGES:
        raise ValueError(f"no text in language {language!r}; there is {', '.join(LANGUAGES)}")
    if language in MESSAGES:
        pages = list(_messages(locales / MESSAGES[language]))
        missing = f"no translated messages in {locales / MESSAGES[language]}"
    else:
        pages = list(_fortunes(folder, language))
        missing = f"no text in {folder}: install the Debian package {FORTUNES_PACKAGE[language]}"
    if not pages:
        raise MissingPackage(missing)
    pick = _english if language == ENGLISH else lambda page: _foreign(page, language)
    return sorted({line for page in pages for line in pick(page)})


def _fortunes(folder: Path, language: str) -> Iterator[str]:
    place = folder / FOREIGN_FORTUNES.get(language, "")
    files = [place] if place.is_file() else sorted(place.glob("*")) if place.is_dir() else []
    for path in files:
        foreign = language == ENGLISH and path.name in FOREIGN_FORTUNES.values()
        if "." not in path.name and path.is_file() and not foreign:
            data = path.read_bytes()
            try:
                page = data.decode("utf-8", errors="ignore" if language == ENGLISH else "strict")
            except UnicodeDecodeError:
                page = data.decode("iso-8859-2" if language in ("cs", "pl") else "latin-1")
            yield from _quotes(page)


def _quotes(page: str) -> Iterator[str]:
    for quote in page.split("\n%\n"):
        yield " ".join(re.split(r"\n?\t+--", quote)[0].split())


def _messages(folder: Path) -> Iterator[str]:
    for path in sorted((folder / "LC_MESSAGES").glob("*.mo")):
        with path.open("rb") as file:
            try:
                catalogue = gettext.GNUTranslations(file)
            except (OSError, UnicodeDecodeError, ValueError):
                continue  # not a catalogue, or in a legacy encoding: other files will do
        for text in catalogue._catalog.values():  # type: ignore[attr-defined]
            if isinstance(text, str):
                yield " ".join(text.replace("_", "").replace("&", "").split())


def _english(body: str) -> Iterator[str]:
    for sentence in re.split(r"(?<=[.!?])\s+", body):
        spoken = words(sentence)
        if not WORDS_LOW <= len(spoken) <= WORDS_HIGH or "--" in sentence:
            continue
        if re.search(r"[^A-Za-z,.'!? -]", sentence) or not all(word in dictionary() for word in spoken):
            continue
        yield sentence.strip()


def _foreign(body: str, language: str) -> Iterator[str]:
    for sentence in re.split(r"(?<=[.!?\u0964])\s+", body):
        sentence = sentence.split("--")[0].strip(" -")
        if not WORDS_LOW <= len(tokens(sentence)) <= WORDS_HIGH or len(sentence) > LETTERS_HIGH:
            continue
        if re.fullmatch(rf"[{ALPHABET[language]},.'!?\u0964 -]+", sentence.lower()):
            yield sentence


def held_out(sentence: str) -> bool:
    """Whether a sentence belongs to validation: a property of its words alone, so no voice trains on it."""
    spoken = words(sentence) if sentence.isascii() else tokens(sentence)
    digest = hashlib.sha256(" ".join(spoken).encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def script(voice: str, validation: bool, seed: int, pool: list[str]) -> list[str]:
    """The order in which ``voice`` reads its half of ``pool``; another voice has another order."""
    lines = [sentence for sentence in pool if held_out(sentence) == validation]
    random.Random(f"{seed}/{voice}/{validation}").shuffle(lines)
    return lines
