"""Speech to score lips on, with the truth: phones by forced alignment. Never trained on.

``asterisk``: real prompts of one woman (Debian packages, CC-BY-SA-3.0). ``librivox``: a novel, read (BSD-2 package).
``language``: Asterisk prompts in four languages no training voice speaks; their phones come from espeak-ng's
pronunciation and an English acoustic model, so trust their closures, not their vowels (docs/model_cards/speech.md).
``tts``: Harvard sentences (IEEE 1969) in two flite voices, one of which no training corpus holds.
Alignments are kept in data/prompts, so that a set is read in a second the next time.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import wave
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME, HOP, SAMPLE_RATE
from training.speech.align import ENGLISH, Aligned, align, dictionary, forget, words
from training.speech.phones import Span, Word
from training.speech.pronounce import tokens
from training.speech.tools import MissingPackage
from training.speech.voices import VOICES, require, synthesize

SOUNDS: Final = Path("/usr/share/asterisk/sounds")
DOCS: Final = Path("/usr/share/doc")
LIBRIVOX: Final = Path("/usr/share/pocketsphinx/test/data/librivox")
KEPT: Final = Path(__file__).parents[1] / "data" / "prompts"
G722_BYTES_PER_SECOND: Final = 8000
REGRESSION_SIZE: Final = 45  # long prompts, in the order of their names: few enough for every change
LANGUAGE_SIZE: Final = 60

HARVARD: Final = (
    "The birch canoe slid on the smooth planks.", "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.", "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.", "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.", "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.", "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.", "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.", "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.", "A pot of tea helps to pass the evening.",
)  # fmt: skip
TTS_VOICES: Final = ("flite_kal", "flite_rms")  # the first is held out of every corpus


class _Speaker(NamedTuple):
    folder: str  # of the sound package
    package: str  # code of the Debian package
    espeak: str  # language the words are pronounced in


LANGUAGES: Final = {
    "es": _Speaker("es_MX_f_Allison", "es", "es-419"),
    "fr": _Speaker("fr_CA_f_June", "fr", "fr"),
    "it": _Speaker("it_IT_m_Carlo", "it", "it"),
    "ru": _Speaker("ru_RU_f_IvrvoiceRU", "ru", "ru"),
}
_ENGLISH: Final = _Speaker("en_US_f_Allison", "en", ENGLISH)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One recording: pcm (samples,) float32 at 16 kHz, and what is said in it."""

    name: str
    text: str
    pcm: NDArray[np.float32]
    spans: list[Span]
    words: list[Word] = field(default_factory=list)

    @property
    def silence(self) -> float:
        """Share of the recording in which nothing is said."""
        spoken = sum(span.stop - span.start for span in self.spans if span.phone)
        return 1 - spoken * HOP / max(self.pcm.size, 1)


class _Recording(NamedTuple):
    name: str
    text: str
    pcm: NDArray[np.float32]


def asterisk(full: bool) -> Iterator[Prompt]:
    """Prompts of three words and more; without ``full``, the 45 longer ones that every change is held against.

    Raises MissingPackage without the Debian packages.
    """
    chosen = []
    for key, path, text in _catalogue(_ENGLISH):
        spoken = words(text)
        if re.search(r"[\d\[(#*@]", text) or len(spoken) < 3 or not all(w in dictionary() for w in spoken):
            continue
        if full or (len(spoken) >= 8 and path.stat().st_size >= 2.5 * G722_BYTES_PER_SECOND):
            chosen.append((key, path, text))
    sound = (_Recording(key.replace("/", "_"), text, _g722(path)) for key, path, text in chosen)
    yield from _aligned("asterisk_full" if full else "asterisk", sound, ENGLISH, None if full else REGRESSION_SIZE)


def language(code: str) -> Iterator[Prompt]:
    """The longest prompts of one of LANGUAGES, in the order of their names, 60 of them.

    Raises ValueError for another code, MissingPackage without the Debian packages.
    """
    if code not in LANGUAGES:
        raise ValueError(f"unknown language {code!r}; known: {', '.join(LANGUAGES)}")
    speaker = LANGUAGES[code]
    rows = [
        row for row in _catalogue(speaker) if len(tokens(row[2])) >= 3 and not re.search(r"[\d\[(<#*@/]|\.\.", row[2])
    ]
    longest = sorted(rows, key=lambda row: -len(tokens(row[2])))[: LANGUAGE_SIZE + 10]
    sound = (_Recording(f"{code}_{key.replace('/', '_')}", text, _g722(path)) for key, path, text in sorted(longest))
    yield from _aligned(code, sound, speaker.espeak, LANGUAGE_SIZE)


def librivox() -> Iterator[Prompt]:
    """Five sentences of a novel, 25 s. Raises MissingPackage without the Debian package."""
    transcript = LIBRIVOX / "transcription"
    if not transcript.is_file():
        raise MissingPackage("no read speech: install the Debian package pocketsphinx-testdata")
    rows = []
    for line in transcript.read_text(encoding="utf-8").splitlines():
        found = re.fullmatch(r"<s>(.*)</s>\s*\((.+)\)\s*", line)
        if found:
            rows.append(_Recording(found[2][-4:], found[1].strip(), _wav(LIBRIVOX / f"{found[2]}.wav")))
    yield from _aligned("librivox", rows, ENGLISH)


def tts() -> Iterator[Prompt]:
    """Harvard sentences in synthetic voices. Raises MissingPackage without flite."""
    voices = [voice for voice in VOICES if voice.name in TTS_VOICES]
    require(voices)
    rows = []
    for voice in voices:
        for line, (samples, rate) in zip(HARVARD, synthesize(voice, HARVARD, random.Random(0)), strict=True):
            if rate != SAMPLE_RATE:
                raise ValueError(f"{voice.name} speaks at {rate} Hz, expected {SAMPLE_RATE}")
            quiet = np.zeros(SAMPLE_RATE // 5, np.float32)
            loud = samples * (0.7 / max(float(np.abs(samples).max()), 1e-3))
            sound = np.concatenate([quiet, loud, quiet]).astype(np.float32)
            rows.append(_Recording(f"{voice.name} {line}", line, sound))
    yield from _aligned("tts", rows, ENGLISH)


def _catalogue(speaker: _Speaker) -> list[tuple[str, Path, str]]:
    """(name, sound file, text) of every prompt, sorted by name."""
    code, folder = speaker.package, SOUNDS / speaker.folder
    texts = DOCS / f"asterisk-core-sounds-{code}" / f"core-sounds-{code}.txt.gz"
    if not texts.is_file() or not folder.is_dir():
        raise MissingPackage(f"no test speech: install the Debian packages asterisk-core-sounds-{code} (its text) and "
                             f"asterisk-core-sounds-{code}-g722 (its sound)")  # fmt: skip
    rows = []
    with gzip.open(texts, "rt", encoding="utf-8-sig", errors="replace") as lines:
        for line in lines:
            key, colon, text = line.strip().partition(":")
            path = folder / f"{key.strip()}.g722"
            if colon and not key.startswith(";") and path.is_file():
                rows.append((key.strip(), path, text.strip()))
    return sorted(rows)


def _g722(path: Path) -> NDArray[np.float32]:
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768.0


def _wav(path: Path) -> NDArray[np.float32]:
    with wave.open(str(path), "rb") as file:
        if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (SAMPLE_RATE, 2, 1):
            raise ValueError(f"{path}: expected 16-bit mono at {SAMPLE_RATE} Hz")
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768.0


def _aligned(name: str, recordings: Iterable[_Recording], spoken: str, count: int | None = None) -> list[Prompt]:
    """The first ``count`` recordings that can be aligned. The aligner adapts from one recording to the next, so the
    alignments are kept for the whole set, and only as long as all of its sound and text stays the same."""
    said = [(one, (np.clip(one.pcm, -1, 1) * 32767).astype(np.int16)) for one in recordings]
    mark = f"{zlib.crc32(repr([(one.name, one.text) for one, _ in said]).encode()):08x} {spoken} {count}"
    mark += f" {zlib.crc32(b''.join(raw.tobytes() for _, raw in said)):08x}"
    kept = _kept(name, mark)
    if kept is None:
        forget()
        kept = {}
        for one, raw in said:
            aligned = align(raw, one.text, spoken)
            if aligned is not None:
                kept[one.name] = aligned
            if len(kept) == count:
                break
        _keep(name, mark, kept)
    padded = ((one, np.pad(one.pcm, (0, -one.pcm.size % FRAME))) for one, _ in said if one.name in kept)
    return [Prompt(one.name, one.text, pcm, *kept[one.name]) for one, pcm in padded]


def _kept(name: str, mark: str) -> dict[str, Aligned] | None:
    try:
        content = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
        if content["mark"] != mark:
            return None
        return {
            one: Aligned([Span(*row) for row in spans], [Word(*row) for row in said])
            for one, (spans, said) in content["aligned"].items()
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(name: str, mark: str, aligned: dict[str, Aligned]) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    temporary = KEPT / f"{name}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps({"mark": mark, "aligned": aligned}), encoding="utf-8")
    os.replace(temporary, KEPT / f"{name}.json")
